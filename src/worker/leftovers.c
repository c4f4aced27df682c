/* "pgtide slots": what pgtide left behind on a server, in all of its databases. */
#include <glob.h>

#include "pg/conn.h"
#include "pg/ddl_capture.h"
#include "pg/state.h"
#include "worker/task_folder.h"
#include "worker/worker.h"

enum { ID_LENGTH = 12 };

struct search {
    struct arena *arena;
    struct stop *stop;
    const struct pg_endpoint *server;
    const char *state_dir;
    bool gc, force;
    struct leftover *found;
    unsigned n, capacity;
};

static struct leftover *add_leftover(struct search *s, const char *kind, const char *database, const char *name,
                                     const char *detail)
{
    if (s->n == s->capacity) {
        unsigned capacity = s->capacity == 0 ? 16 : 2 * s->capacity;
        struct leftover *grown = arena_alloc(s->arena, capacity * sizeof *grown);

        if (s->n > 0)
            memcpy(grown, s->found, s->n * sizeof *grown);
        s->found = grown;
        s->capacity = capacity;
    }
    struct leftover *l = &s->found[s->n++];
    *l = (struct leftover){.kind = kind, .database = database, .name = name, .detail = detail};
    return l;
}

/* Whether a state folder on this machine belongs to the task with this id: then its sync can go on, and needs its slot. */
MUST_USE static struct error *find_folder(struct search *s, const char *id, bool *out_found)
{
    glob_t folders = {0};
    struct error *err = NULL;

    *out_found = false;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the main thread alone looks for leftovers */
    if (glob(arena_printf(s->arena, "%s/*/task", s->state_dir), GLOB_NOSORT, NULL, &folders) != 0)
        return NULL;
    for (size_t i = 0; i < folders.gl_pathc && err == NULL && !*out_found; i++) {
        struct task_record *record = NULL;
        char *folder = arena_strdup(s->arena, folders.gl_pathv[i]);

        folder[strlen(folder) - strlen("/task")] = '\0';
        err = task_record_read(s->arena, folder, &record);
        *out_found = err == NULL && record != NULL && !record->is_completed && strcmp(record->id, id) == 0;
    }
    globfree(&folders);
    return err;
}

/* "pgtide_0f3a…" and "pgtide_0f3a…_inserts" carry the id of the task that made them. */
static const char *id_in_name(struct arena *a, const char *name)
{
    const char *id = name + strlen("pgtide_");

    return strlen(id) < ID_LENGTH ? id : arena_printf(a, "%.*s", ID_LENGTH, id);
}

static bool may_remove(const struct search *s, const struct leftover *l)
{
    return s->gc && !l->in_use && (s->force || !l->resumable);
}

/* Removing is tried for each; what could not be removed says why and does not stop the others. Takes `outcome`. */
static void note_removal(struct search *s, struct leftover *l, struct error *outcome)
{
    CLEANUP(error_free) struct error *err = outcome;

    l->removed = err == NULL;
    if (err != NULL)
        l->problem = arena_strdup(s->arena, error_message(err));
}

static void remove_by(struct search *s, struct pg_conn *conn, struct leftover *l, const char *sql)
{
    if (may_remove(s, l))
        note_removal(s, l, pg_execute(conn, "removing what pgtide left behind", sql));
}

MUST_USE static struct error *search_slots(struct search *s, struct pg_conn *conn)
{
    struct pg_rows rows;

    TRY(pg_query(conn, s->arena, "listing replication slots",
                 "SELECT slot_name::text, coalesce(database::text, ''), active::text,"
                 "       coalesce(pg_size_pretty(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN"
                 "           pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)), 'no WAL')"
                 "  FROM pg_replication_slots WHERE slot_name::text LIKE 'pgtide\\_%' ORDER BY 1",
                 NULL, 0, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        char **row = rows.rows[i];
        bool active = strcmp(row[2], "true") == 0;
        struct leftover *l =
            add_leftover(s, "replication slot", row[1], row[0],
                         arena_printf(s->arena, "%s, keeps %s of WAL", active ? "active" : "inactive", row[3]));

        l->in_use = active;
        TRY(find_folder(s, id_in_name(s->arena, l->name), &l->resumable));
        remove_by(s, conn, l,
                  arena_printf(s->arena, "SELECT pg_drop_replication_slot(%s)", pg_quote_literal(s->arena, l->name)));
    }
    return NULL;
}

static bool slot_in_use(const struct search *s, const char *id)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->found[i].in_use && strcmp(id_in_name(s->arena, s->found[i].name), id) == 0)
            return true;
    return false;
}

MUST_USE static struct error *search_publications(struct search *s, struct pg_conn *conn, const char *database)
{
    struct pg_rows rows;

    TRY(pg_query(conn, s->arena, "listing publications",
                 "SELECT pubname::text, CASE WHEN puballtables THEN 'for all tables' ELSE 'for chosen tables' END"
                 "  FROM pg_publication WHERE pubname::text LIKE 'pgtide\\_%' ORDER BY 1",
                 NULL, 0, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        struct leftover *l = add_leftover(s, "publication", database, rows.rows[i][0], rows.rows[i][1]);
        const char *id = id_in_name(s->arena, l->name);

        l->in_use = slot_in_use(s, id);
        TRY(find_folder(s, id, &l->resumable));
        remove_by(s, conn, l, arena_printf(s->arena, "DROP PUBLICATION %s", pg_quote_identifier(s->arena, l->name)));
    }
    return NULL;
}

/* Event triggers that tell of DDL: "!pgtide_0f3a…_end" and its like, one entry a task. */
MUST_USE static struct error *search_captures(struct search *s, struct pg_conn *conn, const char *database)
{
    struct pg_rows rows;

    TRY(pg_query(
        conn, s->arena, "listing event triggers",
        "SELECT substr(evtname::text, 9, 12) FROM pg_event_trigger WHERE evtname::text LIKE '!pgtide\\_%' UNION "
        "SELECT substr(c.relname::text, 5) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'pgtide' AND c.relkind = 'r' AND c.relname::text ~ '^ddl_[0-9a-f]{12}$' ORDER BY 1",
        NULL, 0, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        const char *id = rows.rows[i][0];
        struct leftover *l = add_leftover(s, "capture of DDL", database, arena_printf(s->arena, "pgtide_%s", id),
                                          "event triggers and a table");

        l->in_use = slot_in_use(s, id);
        TRY(find_folder(s, id, &l->resumable));
        if (!may_remove(s, l))
            continue;
        note_removal(s, l, ddl_capture_remove(conn, id));
    }
    return NULL;
}

/* The schema on a target, one entry a task that has its state in it. */
MUST_USE static struct error *search_schema(struct search *s, struct pg_conn *conn, const char *database)
{
    char *exists = NULL;
    struct pg_rows rows;

    TRY(pg_query_text(conn, s->arena, "looking for schema \"pgtide\"", "SELECT to_regclass('pgtide.task')::text", NULL,
                      0, &exists));
    if (exists == NULL)
        return NULL;
    TRY(pg_query(conn, s->arena, "reading schema \"pgtide\"",
                 "SELECT task, (SELECT count(*) FROM pg_stat_activity"
                 "               WHERE application_name LIKE 'pgtide ' || task || ' %')::text FROM pgtide.task",
                 NULL, 0, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        const char *id = rows.rows[i][0];
        struct leftover *l = add_leftover(s, "state in schema \"pgtide\"", database, id,
                                          "positions and gates of a synchronization to here");

        l->in_use = strcmp(rows.rows[i][1], "0") != 0;
        TRY(find_folder(s, id, &l->resumable));
        if (may_remove(s, l))
            note_removal(s, l, state_drop(conn, id));
    }
    if (rows.n_rows > 0)
        return NULL;
    struct leftover *empty = add_leftover(s, "state in schema \"pgtide\"", database, "pgtide", "tables without a task");
    if (may_remove(s, empty))
        note_removal(s, empty, state_drop(conn, ""));
    return NULL;
}

MUST_USE static struct error *open_database(struct search *s, const char *database, struct pg_conn **out_conn)
{
    return pg_connect(pg_endpoint_with_database(s->arena, s->server, database),
                      (struct pg_connect_options){.application_name = "pgtide slots", .stop = s->stop}, out_conn);
}

MUST_USE static struct error *search_database(struct search *s, const char *database)
{
    CLEANUP(pg_conn_close) struct pg_conn *session = NULL;

    TRY(open_database(s, database, &session));
    TRY(search_captures(s, session, database));
    TRY(search_publications(s, session, database));
    return search_schema(s, session, database);
}

/* The others are looked into all the same. */
static void add_unknown(struct search *s, const char *database, const struct error *err)
{
    struct leftover *l = add_leftover(s, "database", NULL, database, NULL);

    l->is_unknown = true;
    l->problem = arena_strdup(s->arena, error_message(err));
}

MUST_USE static struct error *search_databases(struct search *s, struct pg_conn *conn)
{
    struct pg_rows rows;

    TRY(pg_query(conn, s->arena, "listing databases",
                 "SELECT datname::text FROM pg_database"
                 " WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') ORDER BY 1",
                 NULL, 0, &rows));
    for (unsigned i = 0; i < rows.n_rows; i++) {
        struct error *err = search_database(s, rows.rows[i][0]);

        if (err != NULL && error_kind(err) == ERROR_CANCELLED)
            return err;
        if (err != NULL)
            add_unknown(s, rows.rows[i][0], err);
        error_free(err);
    }
    return NULL;
}

struct error *worker_slots(const char *conninfo, struct slots_options options, struct arena *a, struct stop *stop,
                           struct leftover **out_leftovers, unsigned *out_n)
{
    struct search s = {
        .arena = a, .stop = stop, .state_dir = options.state_dir, .gc = options.gc, .force = options.force};
    struct pg_endpoint *server = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;

    TRY(pg_endpoint_parse(a, "server", conninfo, &server));
    s.server = server;
    TRY(open_database(&s, pg_endpoint_database(server), &conn));
    TRY(search_slots(&s, conn));
    TRY(search_databases(&s, conn));
    *out_leftovers = s.found;
    *out_n = s.n;
    return NULL;
}
