/*
 * The normal end: sequences exact, and everything that pgtide made on either side removed.
 *
 * (R1) The task file says "stopping" before the first removal, so that a kill in between is finished by the next call, and
 * "completed" after the last one. What could not be removed is named with what it costs.
 */
#pragma once

#include "worker/task.h"

/* Everything is applied and the stream's threads have ended. */
MUST_USE struct error *finish_run(struct task *t);

/* What is left to do after a kill during finish_run: removing. Needs no t->state. */
MUST_USE struct error *finish_again(struct task *t);

/* Removes whatever can be reached, applies nothing. An error that names what is left, when something is. */
MUST_USE struct error *finish_by_force(struct task *t);

/* The sequences alone, as they are on the source now. */
MUST_USE struct error *finish_sequences(struct task *t);
