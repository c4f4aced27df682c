#include "pg/ddl_capture.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "pg/sql.h"

enum {
    REMOVE_TRIES_MS = 30000,
    REMOVE_PAUSE_MS = 200,
};

char *ddl_capture_table(struct arena *a, const char *task)
{
    return arena_printf(a, "ddl_%s", task);
}

/* The id is hexadecimal digits: it needs no quotes wherever the text has it. */
static void append_for_task(struct buffer *sql, const char *text, const char *task)
{
    for (; *text != '\0'; text++)
        if (*text == '@')
            buffer_append_text(sql, task);
        else
            buffer_append_char(sql, *text);
}

/* *out_stamp: of whoever installed it; NULL when it is not whole, or has none. */
MUST_USE static struct error *look(struct pg_conn *source, struct arena *a, const char *task, bool *out_whole,
                                   const char **out_stamp)
{
    static const char sql[] = "SELECT count(*)::text, min(obj_description(p.oid, 'pg_proc'))"
                              "  FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid"
                              " WHERE evtname LIKE '!pgtide\\_' || $1 || '\\_%' AND evtenabled = 'A'"
                              "   AND to_regclass('pgtide.ddl_' || $1) IS NOT NULL";
    struct pg_rows rows;

    TRY(pg_query(source, a, "looking for the capture of DDL", sql, &task, 1, &rows));
    *out_whole = strcmp(rows.rows[0][0], "4") == 0;
    *out_stamp = *out_whole ? rows.rows[0][1] : NULL;
    return NULL;
}

enum rule_part { RULE_EXCLUDES, RULE_SCHEMA, RULE_NAME, RULE_PARTS };

static const char *part_of(const struct selection_like *rule, enum rule_part part)
{
    switch (part) {
    case RULE_EXCLUDES:
        return rule->excludes ? "true" : "false";
    case RULE_SCHEMA:
        return rule->schema;
    case RULE_NAME:
    case RULE_PARTS:
        break;
    }
    return rule->name;
}

static const char *array_of(struct arena *a, const struct selection_like *rules, unsigned n, enum rule_part part)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (unsigned i = 0; i < n; i++) {
        buffer_append_text(text, i == 0 ? "{\"" : "\",\"");
        for (const char *p = part_of(&rules[i], part); *p != '\0'; p++) {
            if (*p == '"' || *p == '\\')
                buffer_append_char(text, '\\');
            buffer_append_char(text, *p);
        }
    }
    buffer_append_text(text, n == 0 ? "{}" : "\"}");
    return arena_strdup(a, buffer_text(text));
}

MUST_USE static struct error *tell_rules(struct pg_conn *source, struct arena *a, const char *task,
                                         const struct selection *rules)
{
    CLEANUP(buffer_free) struct buffer *fill = buffer_new();
    struct selection_like *likes = NULL;
    unsigned n = selection_likes(a, rules, &likes);
    const char *params[RULE_PARTS];
    struct pg_rows ignored;

    for (unsigned part = 0; part < RULE_PARTS; part++)
        params[part] = array_of(a, likes, n, part);
    append_for_task(fill, sql_ddl_rules, task);
    return pg_query(source, a, "telling the capture of DDL the rules", buffer_text(fill), params, RULE_PARTS, &ignored);
}

struct error *ddl_capture_select(struct pg_conn *source, const char *task, const struct ddl_choice *choice)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "capture of DDL");
    CLEANUP(buffer_free) struct buffer *script = buffer_new();
    CLEANUP(buffer_free) struct buffer *fill = buffer_new();
    const char *params[] = {chosen_oids(scratch, choice->chosen), choice->with_publications ? "true" : "false"};
    struct pg_rows ignored;

    append_for_task(script, sql_ddl_selection, task);
    TRY(pg_execute(source, "telling the capture of DDL what is selected", buffer_text(script)));
    TRY(tell_rules(source, scratch, task, choice->rules));
    append_for_task(fill, sql_ddl_chosen, task);
    return pg_query(source, scratch, "telling the capture of DDL what is selected", buffer_text(fill), params,
                    COUNT_OF(params), &ignored);
}

struct error *ddl_capture_install(struct pg_conn *source, const char *task, bool with_publications, bool *out_was_whole)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "capture of DDL");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    const char *found = NULL;

    append_for_task(sql, sql_ddl_install, task);
    append_for_task(sql,
                    with_publications ? "COMMENT ON TABLE pgtide.ddl_@ IS 'with publications';"
                                      : "COMMENT ON TABLE pgtide.ddl_@ IS NULL;",
                    task);
    const char *stamp = arena_printf(scratch, "pgtide %016" PRIx64, hash_bytes(sql->bytes, sql->length, 0));
    TRY(look(source, scratch, task, out_was_whole, &found));
    if (found != NULL && strcmp(found, stamp) == 0)
        return NULL; /* to write it again would have each session of the source read its catalog anew */
    buffer_printf(sql, "comment on function pgtide.on_ddl_%s() is '%s';", task, stamp);
    return pg_execute(source, "installing the capture of DDL (event triggers)", buffer_text(sql));
}

/* Whose transactions keep the table from being dropped: those that ran DDL and have not ended. */
MUST_USE static struct error *read_holders(struct pg_conn *source, struct arena *a, const char *task, char **out)
{
    static const char sql[] = "SELECT string_agg(DISTINCT CASE WHEN s.pid IS NULL THEN 'a prepared transaction'"
                              "         ELSE format('pid %s (%s, %s)', s.pid, coalesce(nullif(application_name, ''), "
                              "usename::text), state) END, '; ')"
                              "  FROM pg_locks l LEFT JOIN pg_stat_activity s ON s.pid = l.pid"
                              " WHERE l.relation = to_regclass('pgtide.ddl_' || $1)::oid AND l.granted AND l.pid IS "
                              "DISTINCT FROM pg_backend_pid()"
                              "   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

    *out = NULL;
    TRY(pg_query_text(source, a, "reading who has run DDL", sql, &task, 1, out));
    if (*out == NULL)
        *out = arena_strdup(a, "somebody");
    return NULL;
}

/* The triggers are gone, so nothing but what runs already can be in the way. */
MUST_USE static struct error *drop_table_patiently(struct pg_conn *source, const char *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "capture of DDL");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    int64_t deadline_us = clock_now_us() + (int64_t)REMOVE_TRIES_MS * 1000;
    char *holders = NULL;

    append_for_task(sql, sql_ddl_remove, task);
    for (;;) {
        CLEANUP(error_free)
        struct error *err = pg_execute(source, "removing the table of the capture of DDL", buffer_text(sql));

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT || pg_conn_is_broken(source))
            return TAKE(err);
        if (holders == NULL) {
            TRY(read_holders(source, scratch, task, &holders));
            log_info("the table of the capture of DDL is removed when transactions that ran DDL end: %s", holders);
        }
        if (clock_now_us() > deadline_us)
            return error_new(ERROR_CONFIG,
                             "table \"pgtide.ddl_%s\" is still in use after %d s by a transaction that ran DDL: %s",
                             task, REMOVE_TRIES_MS / 1000, holders);
        bool ready; /* nothing comes; it is the pause that counts, and stop */
        TRY(pg_conn_wait(source, false, REMOVE_PAUSE_MS, &ready));
    }
}

struct error *ddl_capture_remove(struct pg_conn *source, const char *task)
{
    CLEANUP(buffer_free) struct buffer *disarm = buffer_new();

    append_for_task(disarm, sql_ddl_disarm, task);
    struct error *err = pg_execute(source, "removing the capture of DDL (event triggers)", buffer_text(disarm));
    if (err != NULL)
        return error_hint(
            err,
            "Until they are removed each DDL on the source writes into a table that nobody reads. As a superuser "
            "there: "
            "DROP EVENT TRIGGER \"!pgtide_%s_start\", \"!pgtide_%s_end\", \"!pgtide_%s_drop\", \"!pgtide_%s_rewrite\"; "
            "DROP TABLE pgtide.ddl_%s.",
            task, task, task, task, task);
    err = drop_table_patiently(source, task);
    return err == NULL
               ? NULL
               : error_hint(err, "The event triggers are gone, so it costs nothing but its name. Run the same command "
                                 "again when that transaction has ended, or as a superuser there: DROP SCHEMA pgtide "
                                 "CASCADE.");
}
