/*
 * What the checks of pg/precheck share: sessions, facts, and ways to say what came out. Only for precheck*.c. One
 * thread.
 */
#pragma once

#include "pg/accounts.h"
#include "pg/catalog.h"
#include "pg/chosen.h"
#include "pg/precheck.h"

/* What a session says of itself. Filled by the checks of sessions; `started` is NULL before. */
struct session_facts {
    const char *started;     /* of the server: seconds, tells servers of one system identifier apart */
    const char *lc_monetary; /* as an application has it, like those below */
    const char *time_zone;
    const char *utc_offsets; /* of that zone in winter and summer */
    const char *read_only;
    bool lc_monetary_is_carried; /* ALTER DATABASE … SET: comes along with the structure */
    bool time_zone_is_carried;
};

struct precheck {
    struct arena *a;
    const struct precheck_options *options;
    struct pg_conn *source; /* NULL when it could not be reached */
    struct pg_conn *target; /* a session on another database of the server when ours is missing */
    struct server_facts source_facts;
    struct server_facts target_facts; /* of the database that the session is on */
    struct catalog catalog;           /* of the source, what is chosen */
    unsigned n_tables;                /* of the source, chosen or not */
    struct chosen *chosen;            /* NULL: the whole database */
    struct session_facts source_session;
    struct session_facts target_session;
    bool target_is_missing;
    bool source_was_reached; /* now, or before a connection was lost: an address that leads to a server */
    bool target_was_reached;
    const char *loss; /* what the network did; NULL: nothing that would have to be tried again */
    bool is_lost; /* a session was lost: nothing can be said; else another one did not come about, while ours live */
    struct account_list accounts; /* those that are carried; empty without --accounts */
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

/* A statement for --fix: nothing that restarts, interrupts or takes away. One, or one for each object. */
void item_repair(struct precheck *p, struct check_item *item, enum check_side side, const char *sql);
void item_repair_each(struct precheck *p, struct check_item *item, enum check_side side, const char *before,
                      const char *after);

/* Those of `wanted` that are (or are not) in `have`, by their first columns; both sorted bytewise by it. */
struct pg_rows precheck_select(struct precheck *p, const struct pg_rows *wanted, const struct pg_rows *have,
                               bool is_common);

bool precheck_follows(const struct precheck *p); /* changes are to be applied */
bool precheck_copies(const struct precheck *p);  /* structure and rows are to be copied */

extern precheck_function check_source_reachable, check_source_wal_level, check_source_slots, check_accounts,
    check_source_senders, check_source_privileges, check_source_standby, check_replica_identity, check_unlogged,
    check_large_objects, check_foreign_tables, check_tablespaces, check_reserved_schema, check_source_ddl,
    check_source_truncate, check_long_transactions, check_source_locks;
extern precheck_function check_selected_objects, check_dependencies;
extern precheck_function check_target_reachable, check_versions, check_target_privileges, check_target_empty,
    check_encoding, check_extensions, check_roles, check_target_settings, check_pg_dump;
/* precheck_session.c */
extern precheck_function check_source_tls, check_target_tls, check_source_sessions, check_target_sessions,
    check_source_replication, check_time_zone, check_lc_monetary;

/* What Test Connection says of a session that came about: server, role, user, latency. */
MUST_USE struct error *precheck_describe(struct precheck *p, struct pg_conn *c, const struct server_facts *facts,
                                         char **out_text);

/* precheck_shapes.c */
extern precheck_function check_row_security, check_generated_identity, check_partitions, check_superuser_objects,
    check_libraries, check_long_rows, check_output_plugin;
/* precheck_left_out.c */
extern precheck_function check_left_out;
/* precheck_room.c */
extern precheck_function check_wal_keep, check_sender_timeout, check_target_disk, check_target_limits;
/* precheck_fit.c */
extern precheck_function check_extension_versions, check_collation, check_block_size, check_target_writers,
    check_target_objects;
