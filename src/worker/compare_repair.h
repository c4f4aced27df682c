/*
 * The repair of one table: statements are gathered while its rows are compared, then executed in one transaction on the target.
 *
 * Gathered in temporary files, because there may be ten million: deletions first, then updates, then insertions, so that no row
 * stands in the way of another one that takes its unique value. Where rows that are changed stand in each other's way the repair says so, and is
 * to be gathered again, REPAIR_AT_ONCE (pg/compare_exchange.h). Triggers and foreign keys do not act where our session may
 * set session_replication_role; elsewhere they do. All or nothing. One thread.
 */
#pragma once

#include "base/error.h"
#include "pg/compare_plan.h"
#include "pg/conn.h"

struct repair;

enum repair_order {
    REPAIR_ONE_BY_ONE, /* rows that are changed are updated */
    REPAIR_AT_ONCE,    /* all rows that differ are taken out, and put in as they are to be, by one statement */
    REPAIR_INSERTIONS, /* nothing is done but to insert rows that are missing, for others to refer to */
};

struct repair_way {
    enum repair_order order;
    bool has_insertions; /* REPAIR_INSERTIONS was done */
};

/* Why it failed, where that can be mended. */
enum repair_obstacle {
    REPAIR_NO_OBSTACLE,
    REPAIR_NOT_ONE_BY_ONE,    /* another row has a value that may be there once, or it may only be inserted */
    REPAIR_REFERENCE_MISSING, /* a foreign key: another table has to be repaired first */
};

MUST_USE struct error *repair_open(struct repair_way way, struct repair **out_repair);
void repair_close(struct repair *r);
DEFINE_CLEANUP(struct repair, repair_close);

/* A row that differs: cells as in compare_plan.h, NULL where it is missing. `a` is for the call. */
MUST_USE struct error *repair_add(struct repair *r, struct arena *a, const struct compare_plan *p,
                                  char *const *source_cells, char *const *target_cells);

uint64_t repair_n(const struct repair *r);

/*
 * ERROR_DATA when a statement touched another number of rows than it should, or the target refuses one; nothing is changed then.
 * `target` must not be inside a transaction.
 */
MUST_USE struct error *repair_run(struct repair *r, struct pg_conn *target, const struct compare_plan *plan);

/* After repair_run failed. */
enum repair_obstacle repair_obstacle(const struct repair *r);
