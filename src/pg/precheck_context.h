/*
 * What the checks of pg/precheck share: sessions, facts, and ways to say what came out. Only for precheck*.c. One
 * thread.
 */
#pragma once

#include "pg/catalog.h"
#include "pg/precheck.h"

struct precheck {
    struct arena *a;
    const struct precheck_options *options;
    struct pg_conn *source; /* NULL when it could not be reached */
    struct pg_conn *target; /* a session on another database of the server when ours is missing */
    struct server_facts source_facts;
    struct server_facts target_facts; /* of the database that the session is on */
    struct catalog catalog;           /* of the source */
    bool target_is_missing;
};

enum check_side {
    ON_SOURCE,
    ON_TARGET,
};

/*
 * An error that a check returns makes its item FAILED with that message. The item comes as PASSED with an empty
 * reason.
 */
typedef struct error *precheck_function(struct precheck *p, struct check_item *item);

PRINTF(4, 5)
void item_is(struct precheck *p, struct check_item *item, enum check_result result, const char *fmt, ...);

/* The first column of the rows, or the name of each table that `is_meant`. They set objects and n_objects. */
void item_objects_from_rows(struct precheck *p, struct check_item *item, const struct pg_rows *rows);
void item_objects_from_tables(struct precheck *p, struct check_item *item,
                              bool (*is_meant)(const struct catalog_table *t));

/* One line for each object listed, its name between `before` and `after`. */
void item_fix_each(struct precheck *p, struct check_item *item, enum check_side side, const char *before,
                   const char *after);

/* `fix` is what to run or to set there; the side is told before it. */
void item_fix(struct precheck *p, struct check_item *item, enum check_side side, const char *fix);

bool precheck_follows(const struct precheck *p); /* changes are to be applied */
bool precheck_copies(const struct precheck *p);  /* structure and rows are to be copied */

extern precheck_function check_source_reachable, check_source_wal_level, check_source_slots, check_source_senders,
    check_source_privileges, check_source_standby, check_replica_identity, check_unlogged, check_large_objects,
    check_foreign_tables, check_tablespaces, check_source_ddl, check_long_transactions, check_source_locks;
extern precheck_function check_target_reachable, check_versions, check_target_privileges, check_target_empty,
    check_encoding, check_extensions, check_roles, check_target_settings, check_pg_dump;
