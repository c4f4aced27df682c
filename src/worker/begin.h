/*
 * The beginning of a sync: prepared, the stream's threads started, everything copied.
 *
 * Until then a lost server is answered as its own restart is (G2): everything is let go, and found again as a new process would find it.
 * Finished tables stay, others get a new snapshot and a new gate; where nothing was copied yet, slot, snapshot and dump are made anew.
 * Afterwards each thread has its own patience.
 *
 * Of the orchestrator alone.
 */
#pragma once

#include "worker/task.h"

MUST_USE struct error *begin_and_copy(struct task *t);

/* Asks the stream's threads to end and waits for them; their errors went to task_fail. */
void begin_end_stream(struct task *t);
