/*
 * The running sync's part of a cutover (worker/cutover.h): whether the source was written to behind a marker.
 *
 * (C2) The fence is the position of a marker that was written when nobody was to write any more. What is beyond it may hold
 * markers and heartbeats, but no change of rows: then the position of the end is known, and a stop loses nothing. A stop that was
 * asked for with a fence looks again when everything is applied, and refuses when there was a change: the sync goes on following.
 *
 * fence_set and fence_look are the control server's, fence_lets_stop is the orchestrator's.
 */
#pragma once

#include <jansson.h>

#include "worker/task.h"

/* From the "fence" of a request to stop, a position; a request without one takes the fence away. ERROR_USAGE when it is none. */
MUST_USE struct error *fence_set(struct task *t, const json_t *request);

/* {"pid", "applied", "durable", "last_change", "stop_refused"}: positions or null, and whether the last stop was refused. New reference. */
MUST_USE struct error *fence_look(struct task *t, json_t **out_reply);

/* Everything up to the stop is applied. False: refused, and nothing is asked for any more. */
bool fence_lets_stop(struct task *t);
