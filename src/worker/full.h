/*
 * The full phases: structure, rows and indexes, and, once the stream has passed the newest gate, the remaining objects.
 *
 * Each goes on where an earlier run was: what is done is in the target's state.
 */
#pragma once

#include "worker/task.h"

/* Structure, rows, indexes and constraints. Afterwards every table has its gate: t->relations, t->consistent_lsn. */
MUST_USE struct error *full_copy(struct task *t);

/*
 * Foreign keys, triggers, rules, policies and all else that pg_dump restores after the data, while changes are being applied. On a target
 * where our sessions may not be replicas, triggers and foreign keys would act on what is applied: they are left for full_finish.
 */
MUST_USE struct error *full_objects(struct task *t);

/* The stream has ended: what full_objects left. */
MUST_USE struct error *full_finish(struct task *t);
