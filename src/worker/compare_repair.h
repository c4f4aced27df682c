/*
 * The repair of one table: statements are gathered while its rows are compared, then executed in one transaction on the target.
 *
 * Gathered in temporary files, because there may be ten million: deletions first, then updates, then insertions, so that no row
 * stands in the way of another one that takes its unique value. Triggers and foreign keys do not act where our session may
 * set session_replication_role; elsewhere they do. All or nothing. One thread.
 */
#pragma once

#include "base/error.h"
#include "pg/conn.h"

struct repair;

enum repair_step {
    REPAIR_DELETE,
    REPAIR_UPDATE,
    REPAIR_INSERT,
    REPAIR_STEP_COUNT,
};

MUST_USE struct error *repair_open(struct repair **out_repair);
void repair_close(struct repair *r);
DEFINE_CLEANUP(struct repair, repair_close);

/* The statement has no semicolon in its end. */
MUST_USE struct error *repair_add(struct repair *r, enum repair_step step, const char *statement);

uint64_t repair_n(const struct repair *r);

/* ERROR_DATA when a statement touched another number of rows than one. `target` must not be inside a transaction. */
MUST_USE struct error *repair_run(struct repair *r, struct pg_conn *target, const char *table);
