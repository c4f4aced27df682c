#include "pg/ddl_capture.h"

#include "base/buffer.h"
#include "pg/sql.h"

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

MUST_USE static struct error *is_whole(struct pg_conn *source, struct arena *a, const char *task, bool *out_whole)
{
    static const char sql[] = "SELECT count(*)::text FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid"
                              " WHERE evtname LIKE '!pgtide\\_' || $1 || '\\_%' AND evtenabled = 'A'"
                              "   AND to_regclass('pgtide.ddl_' || $1) IS NOT NULL";
    char *n = NULL;

    TRY(pg_query_text(source, a, "looking for the capture of DDL", sql, &task, 1, &n));
    *out_whole = strcmp(n, "4") == 0;
    return NULL;
}

struct error *ddl_capture_select(struct pg_conn *source, const char *task, const struct chosen *chosen)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "capture of DDL");
    CLEANUP(buffer_free) struct buffer *script = buffer_new();
    CLEANUP(buffer_free) struct buffer *fill = buffer_new();
    const char *oids = chosen_oids(scratch, chosen);
    struct pg_rows ignored;

    append_for_task(script, sql_ddl_selection, task);
    TRY(pg_execute(source, "telling the capture of DDL what is selected", buffer_text(script)));
    append_for_task(fill, sql_ddl_chosen, task);
    return pg_query(source, scratch, "telling the capture of DDL what is selected", buffer_text(fill), &oids, 1,
                    &ignored);
}

struct error *ddl_capture_install(struct pg_conn *source, const char *task, bool *out_was_whole)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "capture of DDL");
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    TRY(is_whole(source, scratch, task, out_was_whole));
    append_for_task(sql, sql_ddl_install, task);
    return pg_execute(source, "installing the capture of DDL (event triggers)", buffer_text(sql));
}

struct error *ddl_capture_remove(struct pg_conn *source, const char *task)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    append_for_task(sql, sql_ddl_remove, task);
    struct error *err = pg_execute(source, "removing the capture of DDL (event triggers)", buffer_text(sql));
    if (err == NULL)
        return NULL;
    return error_hint(
        err,
        "Until they are removed each DDL on the source writes into a table that nobody reads. As a superuser there: "
        "DROP EVENT TRIGGER \"!pgtide_%s_start\", \"!pgtide_%s_end\", \"!pgtide_%s_drop\", \"!pgtide_%s_rewrite\"; "
        "DROP TABLE pgtide.ddl_%s.",
        task, task, task, task, task);
}
