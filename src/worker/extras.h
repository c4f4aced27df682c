/*
 * What belongs to a database besides its tables and their structure: large objects, rows of extensions' configuration tables,
 * materialized views, the database's own properties. None of it is in the change stream: it is copied at full, and what changed since
 * once more at the normal end.
 */
#pragma once

#include "worker/task.h"

/* After the structure, before the rows: under the slot's snapshot where it is still there. */
MUST_USE struct error *extras_copy(struct task *t);

/* After the rows and indexes: --populate-matviews. */
MUST_USE struct error *extras_populate(struct task *t);

/* At the normal end, everything else being applied. */
MUST_USE struct error *extras_finish(struct task *t, struct pg_conn *source, struct pg_conn *target);
