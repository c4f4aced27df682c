/*
 * DDL of the source, run in the lane's transaction. For pg/target and its exact path alone.
 *
 * A change of a TABLE_DDL table is one row of the source's pgtide.ddl_<task> (sql/ddl_install.sql).
 */
#pragma once

#include "pg/target_session.h"

/*
 * target_ops.ddl. As the role and with the settings that the source ran it under; both are put back. ERROR_DATA when the statement
 * is not known, or the target refuses it. ERROR_TRANSIENT also for locks that are not free within ten seconds.
 */
MUST_USE struct error *target_ddl(void *self, struct arena *a, const struct row_change *change, const char *instead);

/* (A4) The decision to leave a statement out, or to run another in its place, as target_ops.conflict. */
MUST_USE struct error *target_ddl_conflict(struct pg_target *t, const struct conflict *conflict, const char *policy);
