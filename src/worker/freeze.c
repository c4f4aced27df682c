#include "worker/freeze.h"

#include <unistd.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "control/json.h"
#include "pg/catalog.h"

enum {
    FORMAT_VERSION = 1,
    END_SESSIONS_MS = 15000,
    LOOK_AGAIN_MS = 20,
    LOCK_TIMEOUT_MS = 10000,
    TABLES_A_STATEMENT = 500,
};

/* Other people's sessions in this database; ours name themselves. */
#define OTHER_SESSIONS                                                                                      \
    "pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND pid <> pg_backend_pid()" \
    " AND backend_type = 'client backend' AND application_name NOT LIKE 'pgtide %'"

/* ---- the record ---- */

static char *record_path(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/cutover", folder);
}

static const char *member(struct arena *a, const json_t *document, const char *name)
{
    const char *text = json_string_value(json_object_get(document, name));

    return text == NULL ? NULL : arena_strdup(a, text);
}

struct error *freeze_read(struct arena *a, const char *folder, struct freeze_record **out_record)
{
    const char *path = record_path(a, folder);
    char *text = NULL;
    size_t length = 0;
    json_error_t where;

    *out_record = NULL;
    TRY(file_read(a, path, &text, &length));
    if (text == NULL)
        return NULL;
    CLEANUP(json_decref) json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    if (document == NULL || json_integer_value(json_object_get(document, "version")) != FORMAT_VERSION)
        return error_hint(error_new(ERROR_DATA, "could not read the record of a cutover, file \"%s\"", path),
                          "It was damaged or written by another version. Look whether the source database has "
                          "default_transaction_read_only set (\\drds in psql), then remove the file.");
    struct freeze_record *record = ARENA_NEW(a, struct freeze_record);
    *record = (struct freeze_record){
        .task = member(a, document, "task"),
        .is_frozen = json_is_true(json_object_get(document, "is_frozen")),
        .before = member(a, document, "before"),
        .is_ending = json_is_true(json_object_get(document, "is_ending")),
        .is_completed = json_is_true(json_object_get(document, "is_completed")),
    };
    *out_record = record;
    return NULL;
}

struct error *freeze_write(const char *folder, const struct freeze_record *record)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "cutover record");
    CLEANUP(json_decref)
    json_t *document = json_pack("{s:i, s:s*, s:b, s:s*, s:b, s:b}", "version", FORMAT_VERSION, "task", record->task,
                                 "is_frozen", (int)record->is_frozen, "before", record->before, "is_ending",
                                 (int)record->is_ending, "is_completed", (int)record->is_completed);
    char *text = document == NULL ? NULL : json_dumps(document, JSON_INDENT(2));

    if (text == NULL)
        return error_new(ERROR_BUG, "the record of a cutover cannot be written as JSON");
    struct error *err = file_replace(record_path(scratch, folder), text, strlen(text));
    free(text);
    return err;
}

struct error *freeze_lock(struct arena *a, const char *folder, const char *pair, struct file_lock **out_lock)
{
    char *holder = NULL;

    TRY(file_lock_take(a, arena_printf(a, "%s/cutover.lock", folder), arena_printf(a, "pid %d", (int)getpid()),
                       out_lock, &holder));
    if (*out_lock != NULL)
        return NULL;
    return error_new(ERROR_CONFIG, "a cutover of %s is at work in another process: %s", pair, holder);
}

/* ---- the read-only default ---- */

/* The database's own setting, not one of a role in it. NULL: none. */
MUST_USE static struct error *read_setting(struct pg_conn *c, struct arena *a, char **out_value)
{
    static const char sql[] =
        "SELECT (SELECT pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') + 1)"
        "          FROM pg_catalog.pg_db_role_setting s, LATERAL pg_catalog.unnest(s.setconfig) setting"
        "         WHERE s.setdatabase = d.oid AND s.setrole = 0 AND setting LIKE "
        "'default\\_transaction\\_read\\_only=%')"
        "  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

    return pg_query_text(c, a, "reading the database's default_transaction_read_only", sql, NULL, 0, out_value);
}

static char *setting_sql(struct arena *a, const struct pg_endpoint *source, const char *value)
{
    const char *database = pg_quote_identifier(a, pg_endpoint_database(source));

    return value == NULL ? arena_printf(a, "ALTER DATABASE %s RESET default_transaction_read_only", database)
                         : arena_printf(a, "ALTER DATABASE %s SET default_transaction_read_only = %s", database,
                                        pg_quote_literal(a, value));
}

/* (R1) A second freeze must not take the first one's setting for what was there before. */
MUST_USE static struct error *set_read_only(struct freeze *f, struct pg_conn *session)
{
    if (!f->record.is_frozen) {
        char *before = NULL;

        TRY(read_setting(session, f->arena, &before));
        f->record.before = before;
        f->record.is_frozen = true;
    }
    TRY(freeze_write(f->folder, &f->record));
    FAULT_POINT("freeze.recorded");
    TRY(pg_execute(session, "making the source's transactions read-only by default",
                   setting_sql(f->arena, f->source, "on")));
    FAULT_POINT("freeze.read_only");
    return NULL;
}

/* ---- sessions ---- */

/* Those that began before `since` (a timestamp as text): their settings are of that time. */
MUST_USE static struct error *end_sessions(struct pg_conn *session, struct arena *a, const char *since, unsigned *out_n)
{
    char *n = NULL;

    TRY(pg_query_text(session, a, "ending the source's sessions",
                      "SELECT count(pg_catalog.pg_terminate_backend(pid))::text"
                      "  FROM " OTHER_SESSIONS " AND backend_start <= $1::timestamptz",
                      &since, 1, &n));
    *out_n = n == NULL ? 0 : (unsigned)strtoul(n, NULL, 10);
    return NULL;
}

MUST_USE static struct error *end_all_sessions(struct freeze *f, struct pg_conn *session)
{
    int64_t deadline_us = clock_now_us() + (int64_t)END_SESSIONS_MS * 1000;
    char *frozen_at = NULL;

    TRY(pg_query_text(session, f->arena, "reading the source's clock", "SELECT pg_catalog.clock_timestamp()::text",
                      NULL, 0, &frozen_at));
    TRY(end_sessions(session, f->arena, frozen_at, &f->n_ended));
    for (unsigned n = f->n_ended; n > 0;) {
        if (clock_now_us() > deadline_us)
            return error_hint(
                error_new(ERROR_TRANSIENT, "%u sessions on the source did not end within %d s", n,
                          END_SESSIONS_MS / 1000),
                "pg_stat_activity shows them. One that waits for its disk or in an extension's code cannot "
                "be ended from outside.");
        if (stop_wait_ms(f->stop, LOOK_AGAIN_MS))
            return stop_check(f->stop);
        TRY(end_sessions(session, f->arena, frozen_at, &n));
    }
    FAULT_POINT("freeze.sessions_ended");
    return NULL;
}

/* ---- locks ---- */

/* Rights for LOCK … IN SHARE MODE before 16: any of UPDATE, DELETE, TRUNCATE. Room: the lock table is shared by all sessions. */
MUST_USE static struct error *judge_locks(struct freeze *f, struct pg_conn *session, const struct catalog *catalog)
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        "         WHERE c.relkind = 'r' AND c.relpersistence = 'p'"
        "           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgtide')"
        "           AND NOT pg_catalog.has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'))::text,"
        "       (pg_catalog.current_setting('max_locks_per_transaction')::bigint"
        "         * pg_catalog.current_setting('max_connections')::bigint / 2)::text";
    struct pg_rows rows;

    TRY(pg_query(session, f->arena, "asking whether tables may be locked", sql, NULL, 0, &rows));
    if (strcmp(rows.rows[0][0], "0") != 0)
        f->why_not_locked = arena_printf(f->arena, "the user may not lock %s of the tables", rows.rows[0][0]);
    else if (catalog->n_tables > strtoull(rows.rows[0][1], NULL, 10))
        f->why_not_locked =
            arena_printf(f->arena, "%u tables are too many for max_locks_per_transaction", catalog->n_tables);
    return NULL;
}

MUST_USE static struct error *lock_tables(struct freeze *f, const struct catalog *catalog)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    CLEANUP(arena_free) struct arena *scratch = arena_new(f->arena, "lock");

    TRY(pg_execute_format(f->locker, "beginning to lock", "BEGIN; SET LOCAL lock_timeout = %d", LOCK_TIMEOUT_MS));
    for (unsigned i = 0; i < catalog->n_tables;) {
        unsigned in_statement = 0;

        buffer_clear(sql);
        for (; i < catalog->n_tables && in_statement < TABLES_A_STATEMENT; i++) {
            const struct catalog_table *t = &catalog->tables[i];

            if (t->persistence != 'p')
                continue;
            buffer_printf(sql, "%s%s", in_statement == 0 ? "LOCK TABLE " : ", ",
                          pg_quote_name(scratch, t->schema, t->name));
            in_statement++;
        }
        if (in_statement == 0)
            break;
        buffer_append_text(sql, " IN SHARE MODE");
        TRY(pg_execute(f->locker, "locking the source's tables against writes", buffer_text(sql)));
        f->n_locked += in_statement;
    }
    return NULL;
}

MUST_USE static struct error *take_locks(struct freeze *f, struct pg_conn *session)
{
    struct catalog catalog;

    f->n_locked = 0;
    TRY(catalog_read(session, f->arena, &catalog));
    TRY(judge_locks(f, session, &catalog));
    if (f->why_not_locked != NULL) {
        log_warn("the source's tables are not locked, the marker has to prove that nobody writes: %s",
                 f->why_not_locked);
        return NULL;
    }
    TRY(pg_connect(f->source, (struct pg_connect_options){.application_name = "pgtide cutover lock", .stop = f->stop},
                   &f->locker));
    struct error *err = lock_tables(f, &catalog);
    return err == NULL
               ? NULL
               : error_hint(err, "A transaction that runs on the source, or an autovacuum against wraparound, keeps a "
                                 "table. pg_locks and pg_stat_activity show it; then run the same command again.");
}

struct error *freeze_begin(struct freeze *f, struct pg_conn *session)
{
    TRY(set_read_only(f, session));
    TRY(end_all_sessions(f, session));
    TRY(take_locks(f, session));
    FAULT_POINT("freeze.locked");
    return NULL;
}

struct error *freeze_check(struct freeze *f)
{
    if (f->locker == NULL)
        return NULL;
    return pg_execute(f->locker, "looking whether the source's tables are locked still", "SELECT");
}

void freeze_release_locks(struct freeze *f)
{
    pg_conn_close(TAKE(f->locker));
}

/* ---- undo ---- */

MUST_USE static struct error *put_back(struct arena *a, const struct pg_endpoint *source, const char *sql)
{
    CLEANUP(pg_conn_close) struct pg_conn *session = NULL;
    char *now = NULL;
    unsigned n = 0;

    TRY(pg_connect(source, (struct pg_connect_options){.application_name = "pgtide cutover undo"}, &session));
    TRY(pg_execute(session, "putting the source's default_transaction_read_only back", sql));
    TRY(pg_query_text(session, a, "reading the source's clock", "SELECT pg_catalog.clock_timestamp()::text", NULL, 0,
                      &now));
    /* They began under the freeze and would stay read-only for their life; all earlier ones were ended then. */
    return end_sessions(session, a, now, &n);
}

struct error *freeze_undo(struct arena *a, struct pg_endpoint *source, const char *folder, struct freeze_record *record)
{
    if (!record->is_frozen)
        return NULL;
    const char *sql = setting_sql(a, source, record->before);
    struct error *err = put_back(a, source, sql);

    if (err != NULL)
        return error_hint(
            error_wrap(err, "the source is still frozen: new sessions cannot write"),
            "Run \"pgtide cutover SOURCE TARGET --undo\" when the source can be reached, or there by hand: %s;", sql);
    record->is_frozen = false;
    record->before = NULL;
    record->is_ending = false;
    record->is_completed = false; /* whoever wrote since then did not write to the target */
    FAULT_POINT("freeze.put_back");
    TRY(freeze_write(folder, record));
    log_info("the source may be written to again: its default_transaction_read_only is as it was before the freeze");
    return NULL;
}

/* ---- rights ---- */

struct error *freeze_missing_right(struct pg_conn *session, struct arena *a, const char **out_missing)
{
    static const char sql[] =
        "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'a primary: this server is a standby'"
        "            WHEN NOT pg_catalog.pg_has_role(d.datdba, 'USAGE')"
        "              THEN pg_catalog.format('GRANT %I TO %I', pg_catalog.pg_get_userbyid(d.datdba), current_user)"
        "            WHEN NOT pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')"
        "              THEN pg_catalog.format('GRANT pg_signal_backend TO %I', current_user) END"
        "  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";
    char *missing = NULL;

    TRY(pg_query_text(session, a, "asking whether the user may freeze the source", sql, NULL, 0, &missing));
    *out_missing = missing;
    return NULL;
}
