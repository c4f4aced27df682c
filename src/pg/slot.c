#include "pg/slot.h"

#include "base/clock.h"
#include "pg/error.h"

enum {
    FIRST_NOTICE_MS = 5000,
    NOTICE_EVERY_MS = 30000,
    DROP_TRIES_MS = 30000,
    DROP_PAUSE_MS = 100,
};

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

/* ---- creating ---- */

/*
 * Whoever writes now, and what was prepared and not ended: the consistent point comes after all of them. A standby does not know them, and
 * its primary writes them down every 15 s only where it was written to.
 */
static const char waiting_sql[] =
    "SELECT CASE WHEN pg_is_in_recovery() THEN 'the primary to write down which transactions run there, and for these"
    " to end; SELECT pg_log_standby_snapshot() on the primary hastens it'"
    " ELSE 'transactions that run on the source: ' || string_agg(w.line, '; ' ORDER BY w.started) END FROM ("
    "  SELECT coalesce(xact_start, query_start) AS started,"
    "         format('pid %s (%s, %s s, %s): %s', pid, coalesce(nullif(application_name, ''), usename::text),"
    "                coalesce(extract(epoch FROM clock_timestamp() - xact_start)::bigint, 0), state,"
    "                left(regexp_replace(query, '\\s+', ' ', 'g'), 80)) AS line"
    "    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
    "  UNION ALL"
    "  SELECT prepared, format('prepared transaction \"%s\" of %s in database %s', gid, owner, database)"
    "    FROM pg_prepared_xacts) w";

/* The diagnosis may fail, the slot's creation does not depend on it. */
static void tell_waiting(const struct pg_slot_create_options *o)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "slot");
    char *what = NULL;

    if (o->observer == NULL || o->waiting == NULL)
        return;
    CLEANUP(error_free)
    struct error *err =
        pg_query_text(o->observer, scratch, "reading what the slot waits for", waiting_sql, NULL, 0, &what);
    if (err == NULL && what != NULL)
        o->waiting(o->self, what);
}

/* Until the server has answered; the transactions it waits for are told now and then. */
MUST_USE static struct error *await_creation(struct pg_conn *replication, const struct pg_slot_create_options *o)
{
    PGconn *pg = pg_conn_handle(replication);
    int64_t tell_us = clock_now_us() + (int64_t)FIRST_NOTICE_MS * 1000;
    int64_t deadline_us = o->timeout_ms == 0 ? INT64_MAX : clock_now_us() + (int64_t)o->timeout_ms * 1000;

    TRY(pg_conn_flush(replication));
    while (PQisBusy(pg)) {
        int64_t left_us = tell_us - clock_now_us();
        bool ready;

        if (clock_now_us() > deadline_us)
            return error_hint(error_new(ERROR_TRANSIENT, "it was not made within %d s", o->timeout_ms / 1000),
                              "It waits for transactions that run; on a standby also for the primary to write them "
                              "down, which SELECT pg_log_standby_snapshot() there hastens.");
        if (left_us <= 0) {
            tell_waiting(o);
            tell_us = clock_now_us() + (int64_t)NOTICE_EVERY_MS * 1000;
            continue;
        }
        if (deadline_us - clock_now_us() < left_us)
            left_us = deadline_us - clock_now_us();
        TRY(pg_conn_wait(replication, false, (int)(left_us / 1000) + 1, &ready));
        if (PQconsumeInput(pg) == 0)
            return pg_error(pg, NULL, "connection lost");
    }
    return NULL;
}

MUST_USE static struct error *read_created(struct pg_conn *replication, struct arena *a, const char *what,
                                           struct pg_slot_created *out)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;
    PGresult *end = NULL;

    TRY(pg_conn_result(replication, &result));
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return pg_error(pg_conn_handle(replication), result, what);
    /* slot_name, consistent_point, snapshot_name, output_plugin */
    struct pg_slot_created created = {.snapshot = arena_strdup(a, PQgetvalue(result, 0, 2))};
    if (!lsn_parse(PQgetvalue(result, 0, 1), &created.consistent_point))
        return error_new(ERROR_BUG, "%s: the server answered with consistent point \"%s\"", what,
                         PQgetvalue(result, 0, 1));
    TRY(pg_conn_result(replication, &end));
    PQclear(end);
    *out = created;
    return NULL;
}

struct error *pg_slot_create(struct pg_conn *replication, struct arena *a, const struct pg_slot_create_options *options,
                             struct pg_slot_created *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "slot");
    const char *what = arena_printf(scratch, "creating replication slot \"%s\"", options->name);
    const char *sql = arena_printf(
        scratch, "CREATE_REPLICATION_SLOT %s %s LOGICAL %s %s", pg_quote_identifier(scratch, options->name),
        options->is_temporary ? "TEMPORARY" : "", options->plugin == NULL ? "pgoutput" : options->plugin,
        pg_conn_version(replication) >= 150000 ? "(SNAPSHOT 'export')" : "EXPORT_SNAPSHOT");

    if (PQsendQuery(pg_conn_handle(replication), sql) != 1)
        return pg_error(pg_conn_handle(replication), NULL, what);
    struct error *err = await_creation(replication, options);
    if (err != NULL)
        return error_wrap(err, "%s", what);
    return read_created(replication, a, what, out);
}

/* ---- the catalog meanwhile ---- */

struct error *pg_catalog_mark(struct pg_conn *source, struct arena *a, char **out_mark)
{
    return pg_query_text(source, a, "reading the source's next transaction number",
                         "SELECT (txid_snapshot_xmax(txid_current_snapshot()) & 4294967295)::text", NULL, 0, out_mark);
}

/* What decoding looks at. What a DROP removed is still there for the older catalog, so only new versions of rows count. */
static const char changed_sql[] =
    "WITH lasting AS ("
    "  SELECT c.oid, c.xmin FROM pg_catalog.pg_class c WHERE c.relpersistence <> 't'),"
    " changed AS ("
    "  SELECT xmin FROM lasting"
    "  UNION ALL SELECT x.xmin FROM pg_catalog.pg_attribute x JOIN lasting l ON l.oid = x.attrelid"
    "  UNION ALL SELECT x.xmin FROM pg_catalog.pg_index x JOIN lasting l ON l.oid = x.indexrelid"
    "  UNION ALL SELECT x.xmin FROM pg_catalog.pg_enum x"
    "  UNION ALL SELECT x.xmin FROM pg_catalog.pg_type x JOIN pg_catalog.pg_namespace n ON n.oid = x.typnamespace"
    "             WHERE n.nspname !~ '^pg_(toast_)?temp_')"
    "SELECT (EXISTS (SELECT FROM changed WHERE age(xmin) <= age($1::xid)))::text";

struct error *pg_catalog_changed_since(struct pg_conn *source, struct arena *a, const char *mark, bool *out_changed)
{
    char *changed = NULL;

    TRY(pg_query_text(source, a, "looking whether the source's catalog changed", changed_sql, &mark, 1, &changed));
    *out_changed = changed != NULL && strcmp(changed, "true") == 0;
    return NULL;
}

/* ---- reading ---- */

enum facts_column {
    FACTS_NAME,
    FACTS_PLUGIN,
    FACTS_DATABASE,
    FACTS_PID,
    FACTS_RESTART,
    FACTS_CONFIRMED,
    FACTS_STATUS,
    FACTS_RETAINED,
};

/* wal_status is new in 13. On a standby there is no insert position; what was replayed is the nearest. */
#define FACTS_SQL                                                                                                \
    "SELECT s.slot_name::text, coalesce(s.plugin::text, ''), s.database::text, coalesce(s.active_pid, 0)::text," \
    "       coalesce(s.restart_lsn, '0/0')::text, coalesce(s.confirmed_flush_lsn, '0/0')::text,"                 \
    "       coalesce(to_jsonb(s) ->> 'wal_status', ''),"                                                         \
    "       greatest(0, coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"                    \
    "                                 ELSE pg_current_wal_insert_lsn() END - s.restart_lsn, 0))::text"           \
    "  FROM pg_replication_slots s"

static struct pg_slot_facts facts_from_row(char *const *row)
{
    struct pg_slot_facts facts = {
        .name = row[FACTS_NAME],
        .plugin = row[FACTS_PLUGIN],
        .database = row[FACTS_DATABASE],
        .active_pid = (int)strtol(row[FACTS_PID], NULL, 10),
        .wal_status = row[FACTS_STATUS],
        .retained_bytes = strtoull(row[FACTS_RETAINED], NULL, 10),
    };

    lsn_parse(row[FACTS_RESTART], &facts.restart);
    lsn_parse(row[FACTS_CONFIRMED], &facts.confirmed);
    return facts;
}

struct error *pg_slot_read(struct pg_conn *source, struct arena *a, const char *name, bool *out_exists,
                           struct pg_slot_facts *out)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, arena_printf(a, "reading replication slot \"%s\"", name),
                 FACTS_SQL " WHERE s.slot_name = $1", &name, 1, &rows));
    *out_exists = rows.n_rows > 0;
    if (rows.n_rows > 0)
        *out = facts_from_row(rows.rows[0]);
    return NULL;
}

struct error *pg_slot_list(struct pg_conn *source, struct arena *a, struct pg_slot_facts **out_slots, unsigned *out_n)
{
    const char *prefix = PG_SLOT_PREFIX;
    struct pg_rows rows;

    TRY(pg_query(source, a, "listing replication slots",
                 FACTS_SQL " WHERE left(s.slot_name::text, length($1)) = $1 ORDER BY s.slot_name", &prefix, 1, &rows));
    struct pg_slot_facts *slots = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *slots);
    for (unsigned i = 0; i < rows.n_rows; i++)
        slots[i] = facts_from_row(rows.rows[i]);
    *out_slots = slots;
    *out_n = rows.n_rows;
    return NULL;
}

/* ---- dropping ---- */

/* Ends the session that holds the slot when it is one of ours. */
MUST_USE static struct error *end_reader(struct pg_conn *source, struct arena *a, const char *name, int pid)
{
    const char *params[] = {arena_printf(a, "%d", pid)};
    struct pg_rows rows;

    TRY(pg_query(source, a, arena_printf(a, "ending the reader of replication slot \"%s\"", name),
                 "SELECT application_name::text, left(application_name, 7) = 'pgtide ',"
                 "       CASE WHEN left(application_name, 7) = 'pgtide ' THEN pg_terminate_backend(pid) END"
                 "  FROM pg_stat_activity WHERE pid = $1::int",
                 params, 1, &rows));
    if (rows.n_rows == 0 || strcmp(rows.rows[0][1], "t") == 0)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "replication slot \"%s\" is read by pid %d (\"%s\"), which is not ours",
                                name, pid, rows.rows[0][0]),
                      "End that session, then drop the slot.");
}

/* Tries once. *out_gone is false when it is still in use. */
MUST_USE static struct error *drop_once(struct pg_conn *source, struct arena *a, const char *name, bool *out_gone)
{
    struct pg_slot_facts facts;
    bool exists;
    struct pg_rows rows;

    TRY(pg_slot_read(source, a, name, &exists, &facts));
    *out_gone = !exists;
    if (!exists)
        return NULL;
    if (facts.active_pid != 0)
        return end_reader(source, a, name, facts.active_pid);
    struct error *err = pg_query(source, a, arena_printf(a, "dropping replication slot \"%s\"", name),
                                 "SELECT pg_drop_replication_slot($1)", &name, 1, &rows);
    *out_gone = err == NULL;
    /* 55006: somebody took it since we looked. A session that is lost is not that. */
    if (err != NULL && error_kind(err) == ERROR_TRANSIENT && !pg_conn_is_broken(source)) {
        error_free(err);
        return NULL;
    }
    return err;
}

MUST_USE static struct error *drop_patiently(struct pg_conn *source, struct arena *a, const char *name)
{
    int64_t deadline_us = clock_now_us() + (int64_t)DROP_TRIES_MS * 1000;
    bool gone;

    for (;;) {
        arena_reset(a);
        TRY(drop_once(source, a, name, &gone));
        if (gone)
            return NULL;
        if (clock_now_us() > deadline_us)
            return error_new(ERROR_TRANSIENT, "replication slot \"%s\" is still in use after %d s", name,
                             DROP_TRIES_MS / 1000);
        bool ready; /* nothing comes; it is the pause that counts, and stop */
        TRY(pg_conn_wait(source, false, DROP_PAUSE_MS, &ready));
    }
}

struct error *pg_slot_drop(struct pg_conn *source, const char *name)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "slot");
    struct error *err = drop_patiently(source, scratch, name);

    if (err == NULL)
        return NULL;
    return error_hint(err,
                      "While the slot exists the source keeps all WAL from now on, until its disk is full. Remove it "
                      "there: SELECT pg_drop_replication_slot('%s'); or run \"pgtide slots gc\".",
                      name);
}
