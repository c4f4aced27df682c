/*
 * The full phases: structure, rows and indexes, and, once the stream has passed the newest gate, the remaining objects.
 *
 * Each goes on where an earlier run was: what is done is in the target's state.
 */
#pragma once

#include "worker/task.h"

/*
 * An earlier run has brought everything to its end (state_is_whole): then full_copy and full_objects look at nothing again. What else they
 * would have asked the source for is read by the session that prepares the start.
 */
MUST_USE struct error *full_find_whole(struct task *t, struct pg_conn *source);

/* Structure, rows, indexes and constraints. Afterwards every table has its gate: t->relations, t->consistent_lsn. */
MUST_USE struct error *full_copy(struct task *t);

/*
 * Where DDL is carried: what pg_dump restores after the data is made, as it was dumped, before the first statement of the source is run,
 * which may drop or alter it. What has to wait for the rows of one moment, and on a target where our sessions may not be
 * replicas what would act on rows, is left for full_objects.
 */
MUST_USE struct error *full_objects_before_ddl(struct task *t);

/*
 * Foreign keys, triggers, rules, policies and all else that pg_dump restores after the data, while changes are being applied. On a target
 * where our sessions may not be replicas, triggers and foreign keys would act on what is applied: they are left for full_finish.
 */
MUST_USE struct error *full_objects(struct task *t);

/* For the progress: what there will be to do for full_objects, by entry's is_of_copy, is_made and table_bytes. */
void full_objects_weigh(struct task *t);

/* The stream has ended: what full_objects left. */
MUST_USE struct error *full_finish(struct task *t);

/* t->schema_target, where it is not there yet. */
MUST_USE struct error *full_open_schema_target(struct task *t);

/* (G2) The gates of what is copied by now: t->relations, t->consistent_lsn. */
MUST_USE struct error *full_read_gates(struct task *t);

/*
 * Copies the tables with these oids (ascending), which are on the target as they are on the source. Those that transactions from
 * `altered_since` on have altered are left: they come back in `oids`.
 */
MUST_USE struct error *full_copy_late(struct task *t, uint64_t altered_since, uint32_t *oids, unsigned *n_oids);

/* --no-indexes leaves out what only makes reading faster, and what would attach it. */
bool full_leaves_out(const struct task *t, const struct schema *schema, const struct entry *e);
