#include <inttypes.h>

#include "base/buffer.h"
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/precheck_context.h"
#include "pg/publication.h"
#include "pg/sql.h"

enum { TRUNCATE_SENT_SINCE = 110000, DECODES_ON_STANDBYS_SINCE = 160000 };

struct error *check_source_reachable(struct precheck *p, struct check_item *item)
{
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;
    struct pg_connect_options options = {.application_name = "pgtide check", .stop = p->options->stop};

    TRY(pg_connect(p->options->source, options, &c));
    p->source_was_reached = true;
    TRY(catalog_server(c, p->a, &p->source_facts));
    TRY(catalog_read(c, p->a, &p->catalog));
    p->n_tables = p->catalog.n_tables;
    if (p->options->selection != NULL) {
        TRY(chosen_resolve(c, p->a, p->options->selection, p->options->sync->with_dependencies, &p->chosen));
        chosen_filter_catalog(p->chosen, &p->catalog);
    }
    char *description;
    TRY(precheck_describe(p, c, &p->source_facts, &description));
    if (item->result == CHECK_PASSED)
        item_is(p, item, CHECK_PASSED, "%s; %s", description, counted(p->a, p->n_tables, "table", "tables"));
    p->source = TAKE(c);
    return NULL;
}

struct error *check_source_wal_level(struct precheck *p, struct check_item *item)
{
    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return NULL;
    }
    if (strcmp(p->source_facts.wal_level, "logical") == 0) {
        item_is(p, item, CHECK_PASSED, "wal_level is logical");
        return NULL;
    }
    item_is(p, item, CHECK_FAILED, "wal_level is %s: changes cannot be decoded", p->source_facts.wal_level);
    item_fix(p, item, ON_SOURCE, "ALTER SYSTEM SET wal_level = logical; -- then restart the source");
    return NULL;
}

/* One more of something that has a limit; on a standby snapshots are taken by a second slot. */
static void check_room(struct precheck *p, struct check_item *item, const char *setting, unsigned used, unsigned max)
{
    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return;
    }
    unsigned needed = p->source_facts.is_in_recovery ? 2 : 1;

    if (used + needed <= max) {
        item_is(p, item, CHECK_PASSED, "%u of %u in use", used, max);
        return;
    }
    item_is(p, item, CHECK_FAILED, "%s is %u and %u are in use; %u more %s needed", setting, max, used, needed,
            needed == 1 ? "is" : "are");
    item_fix(p, item, ON_SOURCE,
             arena_printf(p->a, "ALTER SYSTEM SET %s = %u; -- then restart the source", setting, used + 5));
}

struct error *check_source_slots(struct precheck *p, struct check_item *item)
{
    check_room(p, item, "max_replication_slots", p->source_facts.replication_slots_used,
               p->source_facts.max_replication_slots);
    return NULL;
}

struct error *check_source_senders(struct precheck *p, struct check_item *item)
{
    check_room(p, item, "max_wal_senders", p->source_facts.wal_senders_used, p->source_facts.max_wal_senders);
    return NULL;
}

/*
 * pg_dump locks every table in one transaction. A lock table is never exactly full at its setting; it is the order
 * that matters.
 */
struct error *check_source_locks(struct precheck *p, struct check_item *item)
{
    uint64_t room = (uint64_t)p->source_facts.max_locks_per_transaction * p->source_facts.max_connections;

    if (p->n_tables < room) {
        item_is(p, item, CHECK_PASSED, "%s, room for about %" PRIu64 " locks",
                counted(p->a, p->n_tables, "table", "tables"), room);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM, "pg_dump locks %s at once, and there is room for about %" PRIu64 " locks",
            counted(p->a, p->n_tables, "table", "tables"), room);
    item_fix(p, item, ON_SOURCE,
             arena_printf(p->a, "ALTER SYSTEM SET max_locks_per_transaction = %u; -- then restart the source",
                          2 * p->n_tables / p->source_facts.max_connections + 64));
    return NULL;
}

/* ---- privileges ---- */

enum {
    GRANTS_LISTED = 50,
    /* Columns of unreadable.sql */
    GRANT = 3,
    LOCKED_SCHEMA = 4,
    SCHEMA = 5,
};

/* Schemas once each: the rows are sorted by them. With many tables their schema is granted as a whole. */
static void grant_reading(struct precheck *p, struct check_item *item, const struct pg_rows *rows)
{
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    const char *user = pg_quote_identifier(p->a, p->source_facts.user), *schema = "";

    for (unsigned r = 0; r < rows->n_rows; r++) {
        char **row = rows->rows[r];
        bool is_new = strcmp(row[SCHEMA], schema) != 0;

        schema = row[SCHEMA];
        if (is_new && row[LOCKED_SCHEMA][0] != '\0') {
            buffer_printf(fix, "GRANT USAGE ON SCHEMA %s TO %s;\n", schema, user);
            item_repair(p, item, ON_SOURCE, arena_printf(p->a, "GRANT USAGE ON SCHEMA %s TO %s", schema, user));
        }
        if (row[GRANT][0] == '\0')
            continue;
        if (rows->n_rows <= GRANTS_LISTED)
            buffer_printf(fix, "GRANT %s TO %s;\n", row[GRANT], user);
        else if (is_new)
            buffer_printf(fix,
                          "GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s;\nGRANT SELECT ON ALL SEQUENCES IN SCHEMA %s "
                          "TO %s;\n",
                          schema, user, schema, user);
        item_repair(p, item, ON_SOURCE, arena_printf(p->a, "GRANT %s TO %s", row[GRANT], user));
    }
    item_fix(p, item, ON_SOURCE, buffer_text(fix));
}

static struct error *check_reading(struct precheck *p, struct check_item *item, bool *out_passed)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "reading which tables may be read", sql_unreadable, NULL, 0, &rows));
    chosen_filter_rows(p->chosen, &rows, 1);
    *out_passed = rows.n_rows == 0;
    if (*out_passed)
        return NULL;
    item_is(p, item, CHECK_FAILED, "user \"%s\" may not read %s", p->source_facts.user,
            counted(p->a, rows.n_rows, "table or sequence", "tables or sequences"));
    item_objects_from_rows(p, item, &rows);
    grant_reading(p, item, &rows);
    return NULL;
}

/* Without the right to make a publication the changes are read all the same, by test_decoding: REPLICATION is enough. */
static struct error *check_publishing(struct precheck *p, struct check_item *item)
{
    bool may_publish = p->options->sync->publication != NULL;

    if (!may_publish)
        TRY(pg_publication_may_be_made(p->source, p->chosen, &may_publish));
    if (may_publish)
        item_is(p, item, CHECK_PASSED, "user \"%s\" has all rights it needs", p->source_facts.user);
    else if (p->source_facts.is_in_recovery)
        item_is(p, item, CHECK_PASSED,
                "user \"%s\" has all rights it needs; on a standby no publication can be made, so changes are read as "
                "text with test_decoding, which is slower (name one that was made on the primary with --publication to "
                "avoid that)",
                p->source_facts.user);
    else
        item_is(p, item, CHECK_PASSED,
                "user \"%s\" has all rights it needs; it cannot make a publication, so changes are read as text with "
                "test_decoding, which is slower (name a publication of a superuser with --publication to avoid that)",
                p->source_facts.user);
    return NULL;
}

struct error *check_source_privileges(struct precheck *p, struct check_item *item)
{
    bool passed = false;

    if (precheck_follows(p) && !p->source_facts.user_may_replicate) {
        item_is(p, item, CHECK_FAILED, "user \"%s\" has not the attribute REPLICATION", p->source_facts.user);
        item_fix(p, item, ON_SOURCE,
                 arena_printf(p->a, "ALTER ROLE %s REPLICATION;", pg_quote_identifier(p->a, p->source_facts.user)));
        return NULL;
    }
    if (precheck_copies(p)) {
        TRY(check_reading(p, item, &passed));
        if (!passed)
            return NULL;
    }
    if (precheck_follows(p))
        return check_publishing(p, item);
    item_is(p, item, CHECK_PASSED, "user \"%s\" has all rights it needs", p->source_facts.user);
    return NULL;
}

/* ---- facts ---- */

/* Where it gets its WAL from, in words; "" when that cannot be seen. */
static struct error *find_sender(struct precheck *p, const char **out)
{
    static const char sql[] = "SELECT max(' of ' || (to_jsonb(r) ->> 'sender_host') || ':' || (to_jsonb(r) ->> "
                              "'sender_port')) FROM pg_stat_wal_receiver r WHERE pid IS NOT NULL";
    char *sender = NULL;

    TRY(pg_query_text(p->source, p->a, "asking where the standby gets its WAL from", sql, NULL, 0, &sender));
    *out = sender == NULL ? "" : sender;
    return NULL;
}

/* What it has decoded needs rows of the catalog that the primary keeps only where it is told so. */
static struct error *check_following(struct precheck *p, struct check_item *item)
{
    const char *sender = "", *slot = NULL;
    struct pg_rows rows;

    TRY(find_sender(p, &sender));
    if (p->source_facts.version_number < DECODES_ON_STANDBYS_SINCE) {
        item_is(p, item, CHECK_FAILED,
                "the source is a standby%s: it can be copied (--type full) and compared, but not followed: before "
                "PostgreSQL 16 a standby cannot decode changes",
                sender);
        item_fix(p, item, ON_SOURCE, "-- give the address of the primary as SOURCE, or add --type full");
        return NULL;
    }
    TRY(pg_query(p->source, p->a, "reading what the standby tells its primary",
                 "SELECT current_setting('hot_standby_feedback'), current_setting('primary_slot_name')", NULL, 0,
                 &rows));
    slot = rows.rows[0][1];
    if (strcmp(rows.rows[0][0], "on") != 0) {
        item_is(p, item, CHECK_FAILED,
                "the source is a standby%s, and its hot_standby_feedback is off: the primary would remove rows of its "
                "catalog that decoding needs, and the standby would then invalidate the slot",
                sender);
        item_fix(p, item, ON_SOURCE,
                 "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); -- on the standby");
        return NULL;
    }
    item_is(
        p, item, CHECK_PASSED,
        "it is a standby%s: what it has replayed is copied and followed, without DDL and heartbeats; its slot waits "
        "until the primary writes down which transactions run there, every 15 s when it is written to (SELECT "
        "pg_log_standby_snapshot() on the primary hastens it)%s",
        sender,
        slot[0] != '\0' ? ""
                        : "; primary_slot_name is not set: while the standby is away from its primary the slot can "
                          "become invalid, and the copy would have to be made again");
    return NULL;
}

static struct error *describe_standby(struct precheck *p, struct check_item *item)
{
    const char *sender = "";
    struct pg_rows rows;

    TRY(find_sender(p, &sender));
    TRY(pg_query(p->source, p->a, "reading how the standby treats long queries",
                 "SELECT current_setting('hot_standby_feedback'), current_setting('max_standby_streaming_delay')", NULL,
                 0, &rows));
    bool has_feedback = strcmp(rows.rows[0][0], "on") == 0;
    const char *delay = rows.rows[0][1];
    if (has_feedback || strcmp(delay, "-1") == 0)
        item_is(p, item, CHECK_PASSED, "it is a standby%s: what it has replayed is copied, and its queries may be long",
                sender);
    else
        item_is(
            p, item, CHECK_PASSED,
            "it is a standby%s: what it has replayed is copied; hot_standby_feedback is off, so it may cancel what has "
            "read for longer than max_standby_streaming_delay = %s: that is read again, and tables that are not "
            "copied by then show a later moment; hot_standby_feedback = on there avoids it",
            sender, delay);
    return NULL;
}

struct error *check_source_standby(struct precheck *p, struct check_item *item)
{
    if (!p->source_facts.is_in_recovery) {
        item_is(p, item, CHECK_PASSED, "the source is a primary");
        return NULL;
    }
    return precheck_follows(p) ? check_following(p, item) : describe_standby(p, item);
}

static bool lacks_identity(const struct catalog_table *t)
{
    return t->persistence == 'p' && !t->has_usable_identity;
}

struct error *check_replica_identity(struct precheck *p, struct check_item *item)
{
    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "not needed for a full synchronization alone");
        return NULL;
    }
    item_objects_from_tables(p, item, lacks_identity);
    if (item->n_objects == 0) {
        item_is(p, item, CHECK_PASSED, "all tables have one");
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "%s no replica identity; published as others are, their UPDATE and DELETE would fail on the "
            "source; if you accept, only their INSERT and TRUNCATE are followed and their other changes are not",
            counted(p->a, item->n_objects, "table has", "tables have"));
    item_fix_each(p, item, ON_SOURCE, "ALTER TABLE ", " REPLICA IDENTITY FULL;");
    item_repair_each(p, item, ON_SOURCE, "ALTER TABLE ", " REPLICA IDENTITY FULL");
    return NULL;
}

static bool is_unlogged(const struct catalog_table *t)
{
    return t->persistence == 'u';
}

struct error *check_unlogged(struct precheck *p, struct check_item *item)
{
    char *temporary;

    TRY(pg_query_text(p->source, p->a, "counting temporary tables",
                      "SELECT count(*)::text FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence = 't'", NULL,
                      0, &temporary));
    const char *besides = cell_u32(temporary) == 0
                              ? ""
                              : arena_printf(p->a, "; %s temporary tables belong to sessions and stay", temporary);
    item_objects_from_tables(p, item, is_unlogged);
    if (item->n_objects > 0 && p->source_facts.is_in_recovery) {
        item_is(p, item, CHECK_FAILED, "%s: a standby has none of their rows%s",
                counted(p->a, item->n_objects, "unlogged table", "unlogged tables"), besides);
        item_fix(p, item, ON_SOURCE, "-- give the address of the primary as SOURCE, or leave them out: --select '!…'");
        return NULL;
    }
    if (item->n_objects == 0 || !precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "%s%s", item->n_objects == 0 ? "there are none" : "they are copied", besides);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM, "%s copied once; later changes are not in the WAL%s",
            counted(p->a, item->n_objects, "unlogged table is", "unlogged tables are"), besides);
    item_fix_each(p, item, ON_SOURCE, "ALTER TABLE ", " SET LOGGED;");
    return NULL;
}

struct error *check_large_objects(struct precheck *p, struct check_item *item)
{
    char *n;
    struct pg_rows unreadable;

    if (p->chosen != NULL) {
        item_is(p, item, CHECK_PASSED, "they belong to the whole database and are not part of a selection");
        return NULL;
    }
    TRY(pg_query_text(p->source, p->a, "counting large objects", "SELECT count(*)::text FROM pg_largeobject_metadata",
                      NULL, 0, &n));
    TRY(pg_query(p->source, p->a, "reading which large objects may be read", sql_large_objects_unreadable, NULL, 0,
                 &unreadable));
    item_objects_from_rows(p, item, &unreadable);
    if (cell_u64(n) == 0) {
        item_is(p, item, CHECK_PASSED, "there are none");
    } else if (unreadable.n_rows > 0 && precheck_copies(p)) {
        item_is(p, item, CHECK_FAILED, "user \"%s\" may not read %u of %s", p->source_facts.user, unreadable.n_rows,
                counted(p->a, cell_u64(n), "large object", "large objects"));
        item_fix_each(p, item, ON_SOURCE, "GRANT SELECT ON LARGE OBJECT ",
                      arena_printf(p->a, " TO %s;", pg_quote_identifier(p->a, p->source_facts.user)));
    } else if (precheck_follows(p)) {
        item_is(p, item, CHECK_ALARM,
                "%s copied; changes are not in the stream: what differs is copied again when the "
                "synchronization is stopped, so stop writing to them before that",
                counted(p->a, cell_u64(n), "large object is", "large objects are"));
    } else {
        item_is(p, item, CHECK_PASSED, "%s copied", counted(p->a, cell_u64(n), "is", "are"));
    }
    return NULL;
}

struct error *check_foreign_tables(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "reading the list of foreign tables",
                 "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text FROM pg_class c "
                 "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' ORDER BY 1",
                 NULL, 0, &rows));
    chosen_filter_rows(p->chosen, &rows, 1);
    item_objects_from_rows(p, item, &rows);
    if (rows.n_rows == 0)
        item_is(p, item, CHECK_PASSED, "there are none");
    else
        item_is(p, item, CHECK_ALARM,
                "%s: definitions are copied, rows are not; the target must reach the same "
                "servers, and passwords in user mappings come along",
                counted(p->a, rows.n_rows, "foreign table", "foreign tables"));
    return NULL;
}

/* Whatever is in it is taken for ours everywhere else. A source may be the target or the source of another synchronization. */
struct error *check_reserved_schema(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "looking into schema \"pgtide\"",
                 "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::text FROM pg_class c "
                 "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'pgtide' "
                 "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') "
                 "AND c.relname NOT IN ('task', 'lane', 'lane_table', 'relation', 'done', 'aside', 'conflict') "
                 "AND c.relname !~ '^(ddl|chosen)_[0-9a-f]{12}$' ORDER BY 1",
                 NULL, 0, &rows));
    item_objects_from_rows(p, item, &rows);
    if (rows.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, "there is nothing");
        return NULL;
    }
    item_is(
        p, item, CHECK_ALARM,
        "schema \"pgtide\" is where pgtide keeps its own: %s in it would be neither copied nor followed nor compared",
        counted(p->a, rows.n_rows, "relation", "relations"));
    item_fix_each(p, item, ON_SOURCE, "ALTER TABLE ", " SET SCHEMA public; -- or another schema");
    return NULL;
}

struct error *check_tablespaces(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;
    const char *oids = chosen_oids(p->a, p->chosen);

    TRY(pg_query(
        p->source, p->a, "reading which tablespaces are used",
        "SELECT DISTINCT quote_ident(s.spcname) FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace "
        "LEFT JOIN pg_index i ON i.indexrelid = c.oid "
        "WHERE s.spcname <> 'pg_global' AND c.relkind IN ('r', 'p', 'i', 'I', 'm') "
        "AND ($1::oid[] IS NULL OR coalesce(i.indrelid, c.oid) IN (SELECT unnest($1::oid[]))) ORDER BY 1",
        &oids, 1, &rows));
    item_objects_from_rows(p, item, &rows);
    if (rows.n_rows == 0)
        item_is(p, item, CHECK_PASSED, "only the database's own tablespace is used");
    else
        item_is(p, item, CHECK_ALARM, "objects are in %s; on the target all go to the default one",
                counted(p->a, rows.n_rows, "other tablespace", "other tablespaces"));
    return NULL;
}

struct error *check_source_ddl(struct precheck *p, struct check_item *item)
{
    if (!precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "structure and rows are of one snapshot");
        return NULL;
    }
    if (!p->options->sync->with_ddl) {
        item_is(p, item, CHECK_PASSED, "DDL is not carried, as asked for with --no-ddl");
        return NULL;
    }
    if (p->source_facts.is_in_recovery) {
        item_is(p, item, CHECK_ALARM,
                "on a standby no event triggers can be made, so DDL that is run on its primary while the "
                "synchronization follows is not carried: when the structure has changed, the task stops and names it");
        item_fix(p, item, ON_SOURCE,
                 "-- give the primary as SOURCE, or run the same DDL on the target by hand first, or use --no-ddl");
        return NULL;
    }
    if (p->source_facts.user_is_superuser) {
        item_is(
            p, item, CHECK_PASSED,
            "DDL%s is carried: event triggers of ours tell of it on the source until the synchronization is stopped",
            p->chosen == NULL ? "" : " that concerns what is selected");
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "user \"%s\" is no superuser and may not make event triggers, so DDL that is run on the source while the "
            "synchronization follows is not carried: when a change meets a table that does not fit, the task stops and "
            "names it",
            p->source_facts.user);
    item_fix(p, item, ON_SOURCE,
             "-- connect as a superuser, or run the same DDL on the target by hand first, or use --no-ddl");
    return NULL;
}

struct error *check_source_truncate(struct precheck *p, struct check_item *item)
{
    unsigned dml = p->options->sync->dml;
    bool is_wanted = precheck_follows(p) && (dml == 0 || (dml & DML_TRUNCATE) != 0);

    if (!is_wanted || p->source_facts.version_number >= TRUNCATE_SENT_SINCE) {
        item_is(p, item, CHECK_PASSED, is_wanted ? "it does" : "not needed");
        return NULL;
    }
    item_is(
        p, item, CHECK_ALARM,
        "PostgreSQL 10 does not send TRUNCATE: a table that is truncated while the synchronization follows keeps its "
        "former rows on the target; use DELETE there, or compare before you switch");
    return NULL;
}

struct error *check_long_transactions(struct precheck *p, struct check_item *item)
{
    struct pg_rows rows;

    TRY(pg_query(p->source, p->a, "reading the list of old transactions", sql_long_transactions, NULL, 0, &rows));
    item_objects_from_rows(p, item, &rows);
    if (rows.n_rows == 0 || !precheck_follows(p)) {
        item_is(p, item, CHECK_PASSED, "no writing transaction is older than 5 minutes, none is prepared");
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "%s older than 5 minutes, or prepared and left for 10 seconds; the replication slot "
            "cannot be made before %s",
            counted(p->a, rows.n_rows, "writing transaction is", "writing transactions are"),
            agreeing(rows.n_rows, "it ends", "they end"));
    item_fix(p, item, ON_SOURCE,
             "SELECT pg_terminate_backend(PID); -- or ROLLBACK PREPARED 'GID'; only when nobody needs them any more");
    return NULL;
}
