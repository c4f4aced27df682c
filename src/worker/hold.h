/*
 * Applying stands still while receiving goes on: paused by the operator, or held at a change that could not be applied
 * (--on-stop hold) until the operator has decided about it.
 *
 * A pause is remembered in the state folder, so that the next start is paused as well: whoever rests a target does not want it
 * written to because a process died. Being held needs no memory of its own: the next start comes to the same change.
 *
 * The follower waits in hold_wait; every other function is for any thread.
 */
#pragma once

#include <jansson.h>

#include "worker/task.h"

/* Whether the pair is paused; of the folder alone, for a start and for commands without a running sync. */
MUST_USE struct error *pause_read(const char *folder, bool *out_is_paused);

/* Lifts a remembered pause; a missing one is fine. Whoever holds the state folder's lock may. */
MUST_USE struct error *pause_forget(const char *folder);

/* The running sync's: remembered first, then in force. */
MUST_USE struct error *pause_set(struct task *t, bool is_paused);

/*
 * Says so and waits; false when nobody decided and the sync ends: stopped by its user, or by "pgtide stop", which cannot be done with
 * what is not applied.
 */
bool hold_wait(struct task *t, const struct error *cause);

/* Why it is held, in `a`; NULL when it is not. */
const char *hold_cause(struct task *t, struct arena *a);

/* Applying was interrupted by what mends itself, as a target that is down; NULL: it goes on again. */
void hold_retry(struct task *t, const char *cause);

/* Why nothing is applied just now, in `a`; NULL when there is no reason. */
const char *hold_problem(struct task *t, struct arena *a);

/* ERROR_CONFIG when it is paused or held, naming the cause: for what would wait for changes to be applied. */
MUST_USE struct error *hold_refuse(struct task *t);

/* {"choice", "instead"}: recorded (worker/stopped.h) and then carried out. ERROR_CONFIG when it is not held. */
MUST_USE struct error *hold_decide(struct task *t, const json_t *request);

/* That request. New reference. */
json_t *hold_request(struct resume_decision decision);
