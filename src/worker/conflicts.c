#include "worker/conflicts.h"

#include "base/buffer.h"
#include "control/json.h"
#include "pg/conflict_log.h"
#include "worker/stopped.h"

static const char *path_of(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/conflicts", folder);
}

/* JSON is in UTF-8, whatever the databases are in. */
MUST_USE static struct error *connect(const struct pg_endpoint *target, const char *name, const struct stop *stop,
                                      struct pg_conn **out_conn)
{
    return pg_connect(target, (struct pg_connect_options){.application_name = name, .encoding = "UTF8", .stop = stop},
                      out_conn);
}

static struct error *take_line(void *self, const char *document)
{
    buffer_append_text(self, document);
    buffer_append_char(self, '\n');
    return NULL;
}

struct error *conflicts_export(const struct task *t)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "conflicts");
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    CLEANUP(buffer_free) struct buffer *lines = buffer_new();

    TRY(connect(t->target, task_session_name(a, t, "conflicts"), t->stop, &target));
    TRY(conflict_log_read(target, t->record->id, NULL, take_line, lines));
    return lines->length == 0 ? NULL : file_replace(path_of(a, t->folder), lines->bytes, lines->length);
}

struct error *conflicts_forget(const char *folder)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "conflicts");

    return file_remove(path_of(a, folder));
}

/* ---- pgtide conflicts ---- */

struct listing {
    json_t *conflicts;
    const char *table; /* NULL: all */
};

static bool is_of_table(const json_t *conflict, const char *table)
{
    const char *name = json_string_value(json_object_get(conflict, "table"));
    const char *dot = name == NULL ? NULL : strchr(name, '.');

    return table == NULL || (name != NULL && strcmp(name, table) == 0) || (dot != NULL && strcmp(dot + 1, table) == 0);
}

/* What a database without an encoding calls text may be none: then it is shown as one text, not as members. */
static struct error *take_conflict(void *self, const char *document)
{
    struct listing *l = self;
    json_error_t ignored;
    json_t *conflict = json_loads(document, 0, &ignored);

    if (conflict == NULL)
        conflict = json_pack("{s:o}", "text", json_text(document));
    if (is_of_table(conflict, l->table))
        json_array_append_new(l->conflicts, conflict);
    else
        json_decref(conflict);
    return NULL;
}

MUST_USE static struct error *read_export(struct arena *a, const char *folder, struct listing *l)
{
    char *text = NULL, *rest = NULL;
    size_t length = 0;

    TRY(file_read(a, path_of(a, folder), &text, &length));
    for (char *line = text == NULL ? NULL : strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        TRY(take_conflict(l, line));
    return NULL;
}

MUST_USE static struct error *read_target(const struct pg_endpoint *endpoint, const char *task, const struct stop *stop,
                                          struct listing *l)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(connect(endpoint, "pgtide conflicts", stop, &target));
    return conflict_log_read(target, task, l->table, take_conflict, l);
}

static json_t *stop_document(const struct stopped *s)
{
    if (!s->is_stopped)
        return json_null();
    return json_pack("{s:o, s:o, s:b, s:o, s:I, s:o}", "at", json_text(s->at), "statement",
                     json_text(s->stop.statement), "ddl", s->stop.is_ddl, "cause", json_text(s->cause), "xid",
                     (json_int_t)s->stop.xid, "lsn", json_lsn(s->stop.place.commit));
}

struct error *worker_conflicts(const struct sync_options *options, const char *table, struct stop *stop,
                               json_t **out_document)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "conflicts");
    struct pg_endpoint *source = NULL, *target = NULL;
    struct task_record *record = NULL;
    struct stopped stopped;

    TRY(pg_endpoint_parse(a, "source", options->source, &source));
    TRY(pg_endpoint_parse(a, "target", options->target, &target));
    const char *folder = task_folder_path(a, options->state_dir, pg_endpoint_key(source), pg_endpoint_key(target));
    TRY(task_record_read(a, folder, &record));
    if (record == NULL)
        return error_hint(error_new(ERROR_CONFIG, "nothing is known of a sync of %s to %s", pg_endpoint_name(source),
                                    pg_endpoint_name(target)),
                          "Is --state-dir the one the sync uses?");
    TRY(stopped_read(a, folder, &stopped));

    CLEANUP(json_decref) json_t *conflicts = json_array();
    struct listing l = {.conflicts = conflicts, .table = table};
    if (!record->is_completed)
        TRY(read_target(target, record->id, stop, &l));
    if (json_array_size(conflicts) == 0) /* a stop has removed the log, or is about to */
        TRY(read_export(a, folder, &l));
    *out_document = json_pack("{s:O, s:o}", "conflicts", conflicts, "stopped", stop_document(&stopped));
    return NULL;
}
