/*
 * Tables that the source altered after the structure was dumped and before their rows were copied.
 *
 * Their rows have another shape than the target's table, and the statements that altered them are in the stream, to be run on the
 * target: rows copied before would be converted twice, or not fit. So the stream is applied up to a mark, these tables' own rows left
 * out; then the target's tables are what the source's were at the mark, and their rows are copied with a gate of their own (G2). What
 * was altered again since waits for another round.
 */
#pragma once

#include "worker/task.h"

/* `oids` ascending; t->relations are the gates of all others. In the orchestrator's thread, before the feeder is started for good. */
MUST_USE struct error *latecomers_copy(struct task *t, uint32_t *oids, unsigned n);
