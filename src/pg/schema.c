#include "pg/schema.h"

#include <glob.h>
#include <limits.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/cells.h"
#include "pg/endpoint_options.h"
#include "pg/firing.h"
#include "pg/publication.h"
#include "pg/sql.h"
#include "sys/child.h"
#include "sys/file.h"

/* ---- programs ---- */

/* The major version that a program tells, or 0 when it cannot be run: "pg_dump (PostgreSQL) 15.20 (Debian …)". */
static struct error *major_of(struct arena *a, const char *program, const struct stop *stop, int *out_major)
{
    const char *const argv[] = {program, "--version", NULL};
    struct child_result result;
    struct error *err = child_run(a, (struct child_options){.argv = argv, .stop = stop}, &result);

    *out_major = 0;
    if (err != NULL && error_kind(err) == ERROR_CANCELLED)
        return err;
    if (err != NULL) {
        error_free(err); /* not there or not executable: not a candidate */
        return NULL;
    }
    const char *version = strstr(result.output, "(PostgreSQL) ");
    if (result.exit_status == 0 && version != NULL)
        *out_major = (int)strtol(version + strlen("(PostgreSQL) "), NULL, 10);
    return NULL;
}

/* Takes a pair when both programs are there, of one version, and newer than what we have. */
static struct error *consider(struct arena *a, const char *pg_dump, const char *pg_restore, const struct stop *stop,
                              struct schema_programs *best)
{
    int dump_major, restore_major;

    if (pg_dump == NULL || pg_restore == NULL || access(pg_dump, X_OK) != 0 || access(pg_restore, X_OK) != 0)
        return NULL;
    TRY(major_of(a, pg_dump, stop, &dump_major));
    TRY(major_of(a, pg_restore, stop, &restore_major));
    if (dump_major == restore_major && dump_major > best->major)
        *best = (struct schema_programs){.pg_dump = pg_dump, .pg_restore = pg_restore, .major = dump_major};
    return NULL;
}

static struct error *consider_folder(struct arena *a, const char *folder, const struct stop *stop,
                                     struct schema_programs *best)
{
    return consider(a, arena_printf(a, "%s/pg_dump", folder), arena_printf(a, "%s/pg_restore", folder), stop, best);
}

static void globfree_cleanup_(glob_t *g)
{
    globfree(g);
}

/* Debian's wrapper chooses one of the folders, by the local cluster; to ask it, Perl is started each time. */
static bool is_wrapper(const char *program)
{
    char target[PATH_MAX];
    ssize_t length = readlink(program, target, sizeof target - 1);

    if (length <= 0)
        return false;
    target[length] = '\0';
    return strstr(target, "pg_wrapper") != NULL;
}

MUST_USE static struct error *consider_path(struct arena *a, const struct stop *stop, struct schema_programs *best)
{
    const char *pg_dump = child_find(a, "pg_dump");

    if (pg_dump == NULL || is_wrapper(pg_dump))
        return NULL;
    return consider(a, pg_dump, child_find(a, "pg_restore"), stop, best);
}

static struct error *look_everywhere(struct arena *a, const struct stop *stop, struct schema_programs *best)
{
    CLEANUP(globfree) glob_t folders = {.gl_pathc = 0};

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the pattern has no ~, which alone would read the environment */
    if (glob("/usr/lib/postgresql/*/bin", GLOB_NOSORT, NULL, &folders) == 0)
        for (size_t i = 0; i < folders.gl_pathc; i++)
            TRY(consider_folder(a, folders.gl_pathv[i], stop, best));
    return consider_path(a, stop, best);
}

struct error *schema_find_programs(struct arena *a, int least_major, const struct stop *stop,
                                   struct schema_programs *out)
{
    const char *only = getenv("PGTIDE_PG_BINDIR"); /* NOLINT(concurrency-mt-unsafe): nobody here calls setenv */
    struct schema_programs best = {.major = 0};

    if (only != NULL && only[0] != '\0')
        TRY(consider_folder(a, only, stop, &best));
    else
        TRY(look_everywhere(a, stop, &best));

    if (best.major == 0)
        return error_hint(
            error_new(ERROR_CONFIG, "cannot copy the structure: pg_dump and pg_restore were not found"),
            "Install the package postgresql-client-%d or newer, or set PGTIDE_PG_BINDIR to the folder with "
            "both programs.",
            least_major);
    if (best.major < least_major)
        return error_hint(
            error_new(ERROR_CONFIG,
                      "cannot copy the structure: \"%s\" is of version %d and refuses a server of version %d",
                      best.pg_dump, best.major, least_major),
            "Install the package postgresql-client-%d or newer, or set PGTIDE_PG_BINDIR to the folder with "
            "both programs.",
            least_major);
    *out = best;
    return NULL;
}

/* ---- the dump ---- */

static const char *file_in(struct arena *a, const char *folder, const char *name)
{
    return arena_printf(a, "%s/%s", folder, name);
}

/* What the program said last: the reason stands there. */
static const char *last_words(const char *errors)
{
    size_t length = strlen(errors);
    size_t shown = length > 1500 ? 1500 : length;

    return errors + length - shown;
}

/* All that is known of why a program failed is what it said: libpq's sentences, and those of a server that ends sessions. */
static bool is_lost_connection(const char *errors)
{
    static const char *const sentences[] = {
        "server closed the connection unexpectedly",
        "could not receive data from server",
        "could not send data to server",
        "SSL connection has been closed unexpectedly",
        "Connection refused",
        "terminating connection due to administrator command",
        "the database system is starting up",
        "the database system is shutting down",
        "terminating connection because of crash of another server process",
        "the database system is in recovery mode",
    };

    for (size_t i = 0; i < COUNT_OF(sentences); i++)
        if (strstr(errors, sentences[i]) != NULL)
            return true;
    return false;
}

/* NOLINTNEXTLINE(readability-function-size): what, how, where to, and until when */
static struct error *run(struct arena *a, const char *what, const char *const *argv, const char *variable,
                         const char *stdout_path, const struct stop *stop)
{
    /*
     * The password is in a file named by the conninfo; one in the environment would come first, and may be the other
     * side's.
     */
    const char *const environment[] = {"PGPASSWORD=", "LC_ALL=C", variable, NULL};
    struct child_result result;

    TRY(child_run(
        a, (struct child_options){.argv = argv, .environment = environment, .stdout_path = stdout_path, .stop = stop},
        &result));
    if (result.exit_status == 0)
        return NULL;
    enum error_kind kind = is_lost_connection(last_words(result.errors)) ? ERROR_TRANSIENT : ERROR_CONFIG;
    return error_hint(
        error_new(kind, "%s: \"%s\" ended with status %d: %s", what, argv[0], result.exit_status,
                  last_words(result.errors)),
        "The structure is read by pg_dump with the source user: it needs SELECT on all tables and sequences, "
        "and no other session may hold a table locked exclusively.");
}

/*
 * Quotes in the script must mean what our reader takes them for (standard_conforming_strings), PGCLIENTENCODING may name
 * what the server does not know, and the session must be known as ours.
 */
static char *conninfo_for_dump(struct arena *a, const struct schema_dump_options *o, const char *conninfo)
{
    const char *options = pg_endpoint_option(o->source, "options");
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_printf(text, "%s client_encoding='' application_name='%s' options='", conninfo,
                  o->application_name == NULL ? "pgtide dump" : o->application_name);
    for (const char *p = options == NULL ? "" : options; *p != '\0'; p++) {
        if (*p == '\\' || *p == '\'')
            buffer_append_char(text, '\\');
        buffer_append_char(text, *p);
    }
    buffer_append_text(text, " -c standard_conforming_strings=on'");
    return arena_strdup(a, buffer_text(text));
}

static struct error *run_pg_dump(struct arena *a, const struct schema_dump_options *o)
{
    struct pg_program_login login;

    TRY(pg_endpoint_for_program(a, o->source, o->folder, &login));
    const char *const fixed[] = {
        o->programs->pg_dump,
        "--format=custom",
        "--schema-only",
        "--no-subscriptions",
        "--no-tablespaces",
        "--no-password",
        "--exclude-schema=pgtide",
        arena_printf(a, "--encoding=%s", o->encoding),
        arena_printf(a, "--snapshot=%s", o->snapshot),
        arena_printf(a, "--file=%s", file_in(a, o->folder, "archive")),
        arena_printf(a, "--dbname=%s", conninfo_for_dump(a, o, login.conninfo)),
    };
    const char **argv = arena_alloc(a, (COUNT_OF(fixed) + o->n_leave_out + 2UL) * sizeof *argv);
    size_t n = COUNT_OF(fixed);

    memcpy(argv, fixed, sizeof fixed);
    if (!o->with_publications)
        argv[n++] = "--no-publications";
    for (unsigned i = 0; i < o->n_leave_out; i++)
        argv[n++] = arena_printf(a, "--exclude-table=%s", o->leave_out[i]);
    struct error *err = run(a, "dumping the structure of the source", argv, login.environment, NULL, o->stop);

    for (size_t i = 0; i < COUNT_OF(login.files); i++) {
        struct error *removing = login.files[i] == NULL ? NULL : file_remove(login.files[i]);

        if (err == NULL)
            err = removing;
        else
            error_free(removing);
    }
    return err;
}

static struct error *write_section(struct arena *a, const struct schema_dump_options *o, const char *section,
                                   const char *name)
{
    const char *archive = file_in(a, o->folder, "archive");
    const char *option = arena_printf(a, "--section=%s", section);
    const char *const script[] = {o->programs->pg_restore,
                                  "--verbose",
                                  option,
                                  arena_printf(a, "--file=%s/%s.sql", o->folder, name),
                                  archive,
                                  NULL};
    const char *const list[] = {o->programs->pg_restore, "--list", option, archive, NULL};

    TRY(run(a, "writing the structure's script", script, NULL, NULL, o->stop));
    return run(a, "listing the structure's entries", list, NULL, arena_printf(a, "%s/%s.list", o->folder, name),
               o->stop);
}

struct error *schema_unreadable_tables(struct pg_conn *source, struct arena *a, struct pg_rows *out)
{
    unsigned kept = 0;

    TRY(pg_query(source, a, "reading which tables may be read", sql_unreadable, NULL, 0, out));
    for (unsigned r = 0; r < out->n_rows; r++)
        if (cell_char(out->rows[r][2]) != 'S')
            out->rows[kept++] = out->rows[r];
    out->n_rows = kept;
    return NULL;
}

struct error *schema_dump(struct arena *a, struct schema_dump_options options)
{
    static const char marker[] = "all files in this folder are complete\n";

    TRY(folder_remove(options.folder));
    TRY(folder_make(options.folder));
    TRY(run_pg_dump(a, &options));
    TRY(write_section(a, &options, "pre-data", "pre"));
    FAULT_POINT("schema.between_sections");
    TRY(write_section(a, &options, "post-data", "post"));
    return file_replace(file_in(a, options.folder, "complete"), marker, strlen(marker));
}

static const struct entry *publication_in(const struct script *script, const struct entry *e)
{
    if (e->kind == ENTRY_PUBLICATION)
        return e;
    for (unsigned i = 0; i < e->n_dependencies; i++) {
        const struct entry *about = script_find(script, e->dependencies[i]);

        if (about != NULL && about->kind == ENTRY_PUBLICATION)
            return about;
    }
    return NULL;
}

const struct entry *schema_publication_of(const struct schema *schema, const struct entry *e)
{
    return publication_in(&schema->post, e);
}

/* Event triggers and publications have no schema that pg_dump could leave out. */
static void leave_out_ours(struct script *script)
{
    for (unsigned i = 0; i < script->n_entries; i++) {
        struct entry *e = &script->entries[i];
        const struct entry *publication = publication_in(script, e);

        if ((e->kind == ENTRY_EVENT_TRIGGER && strstr(e->name, "!pgtide_") != NULL) ||
            (publication != NULL && pg_publication_is_ours(publication->name)))
            e->n_statements = 0;
    }
}

static struct error *load_section(struct arena *a, const char *folder, const char *name, struct script *out)
{
    CLEANUP(arena_free) struct arena *files = arena_new(NULL, "structure files");
    char *list, *text;
    size_t list_length, text_length;

    TRY(file_read(files, arena_printf(files, "%s/%s.list", folder, name), &list, &list_length));
    TRY(file_read(files, arena_printf(files, "%s/%s.sql", folder, name), &text, &text_length));
    if (list == NULL || text == NULL)
        return error_new(ERROR_CONFIG, "reading the structure: a file of \"%s\" is missing in \"%s\"", name, folder);
    if (strlen(text) != text_length || strlen(list) != list_length)
        return error_new(ERROR_DATA, "reading the structure: \"%s\" in \"%s\" holds a NUL byte", name, folder);
    struct error *err = schema_script_parse(a, list, text, out);
    if (err == NULL) {
        leave_out_ours(out);
        firing_leave_out(out);
    }
    return err == NULL ? NULL : error_wrap(err, "reading \"%s/%s.sql\"", folder, name);
}

struct error *schema_load_pre(struct arena *a, const char *folder, struct schema *out, bool *out_found)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(a, "structure marker");
    struct schema schema = {.pre_arena = NULL};
    char *marker;
    size_t length;

    TRY(file_read(scratch, file_in(scratch, folder, "complete"), &marker, &length));
    *out_found = marker != NULL;
    if (marker == NULL)
        return NULL;
    schema.pre_arena = arena_new(a, "structure before the data");
    TRY(load_section(schema.pre_arena, folder, "pre", &schema.pre));
    *out = schema;
    return NULL;
}

struct error *schema_load_post(struct arena *a, const char *folder, struct schema *schema)
{
    return load_section(a, folder, "post", &schema->post);
}

static int by_oid(const void *left, const void *right)
{
    const struct schema_table *l = left, *r = right;

    return (l->oid > r->oid) - (l->oid < r->oid);
}

static void remember_extensions(struct arena *a, struct schema *schema)
{
    const struct script *pre = &schema->pre;
    unsigned n = 0;

    for (unsigned i = 0; i < pre->n_entries; i++)
        n += strcmp(pre->entries[i].type, "EXTENSION") == 0;
    schema->extensions = arena_alloc(a, (n + 1UL) * sizeof(char *));
    for (unsigned i = 0; i < pre->n_entries; i++)
        if (strcmp(pre->entries[i].type, "EXTENSION") == 0)
            schema->extensions[schema->n_extensions++] = arena_strdup(a, pre->entries[i].name);
}

void schema_forget_pre(struct arena *a, struct schema *schema)
{
    const struct script *pre = &schema->pre;
    const struct schema_table *before = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < pre->n_entries; i++)
        n += pre->entries[i].kind == ENTRY_TABLE;
    schema->tables = arena_alloc(a, (n + 1UL) * sizeof *schema->tables);
    for (unsigned i = 0; i < pre->n_entries; i++) {
        const struct entry *e = &pre->entries[i];
        struct schema_table *t = &schema->tables[schema->n_tables];

        if (e->kind != ENTRY_TABLE)
            continue;
        bool is_shared = before != NULL && strcmp(before->schema, e->schema) == 0;
        *t = (struct schema_table){.oid = e->oid,
                                   .id = e->id,
                                   .schema = is_shared ? before->schema : arena_strdup(a, e->schema),
                                   .name = arena_strdup(a, e->name)};
        before = t;
        schema->n_tables++;
    }
    qsort(schema->tables, schema->n_tables, sizeof *schema->tables, by_oid);
    remember_extensions(a, schema);
    schema->pre = (struct script){.n_entries = 0};
    arena_free(TAKE(schema->pre_arena));
}

const struct schema_table *schema_table_find(const struct schema *schema, uint32_t oid)
{
    const struct schema_table wanted = {.oid = oid};

    return bsearch(&wanted, schema->tables, schema->n_tables, sizeof wanted, by_oid);
}

/* ---- what the entries belong to ---- */

struct entry_key {
    uint32_t catalog;
    uint32_t oid;
    struct entry *entry;
};

static int by_key(const void *left, const void *right)
{
    const struct entry_key *l = left, *r = right;

    if (l->catalog != r->catalog)
        return l->catalog < r->catalog ? -1 : 1;
    return (l->oid > r->oid) - (l->oid < r->oid);
}

static void fill_entry(struct entry *e, char **cell)
{
    e->table_oid = cell_u32(cell[2]);
    e->table_is_partitioned = cell_bool(cell[3]);
    e->is_unique = cell_bool(cell[4]);
    e->is_identity = cell_bool(cell[5]);
    e->index_bytes = cell_u64(cell[6]);
}

/*
 * An index is attached to its parent's: it belongs to the table of the smaller one, which has rows if any of both
 * has.
 */
static void resolve_attachment(const struct script *script, struct entry *e)
{
    for (unsigned d = 0; d < e->n_dependencies; d++) {
        const struct entry *part = script_find(script, e->dependencies[d]);

        if (part == NULL || part->table_oid == 0 || (e->table_oid != 0 && part->table_is_partitioned))
            continue;
        e->table_oid = part->table_oid;
        e->table_is_partitioned = part->table_is_partitioned;
        e->is_identity = part->is_identity;
    }
}

struct error *schema_is_gone(struct pg_conn *source, const struct entry *e, bool *out_is_gone)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "dropped object");
    const char *class = arena_printf(scratch, "%u", e->catalog);
    const char *oid = arena_printf(scratch, "%u", e->oid);
    char *catalog = NULL, *is_gone = NULL;

    TRY(pg_query_text(source, scratch, "looking for an object", "SELECT $1::oid::regclass::text", &class, 1, &catalog));
    TRY(pg_query_text(source, scratch, "looking for an object",
                      arena_printf(scratch, "SELECT (NOT EXISTS (SELECT FROM %s WHERE oid = $1::oid))::text", catalog),
                      &oid, 1, &is_gone));
    *out_is_gone = cell_bool(is_gone);
    return NULL;
}

/* A materialized view is no table here: its indexes come with the other objects. Few are dropped: there is no index by dump id. */
static bool adopt(const struct schema *schema, struct entry *e)
{
    for (unsigned i = 0; i < schema->n_tables; i++)
        for (unsigned d = 0; d < e->n_dependencies; d++) {
            if (schema->tables[i].id != e->dependencies[d])
                continue;
            e->table_oid = schema->tables[i].oid;
            e->is_gone = true;
            return true;
        }
    return false;
}

unsigned schema_adopt_dropped(struct schema *schema)
{
    const struct script *post = &schema->post;
    unsigned n = 0;

    for (unsigned i = 0; i < post->n_entries; i++) {
        struct entry *e = &post->entries[i];

        if (e->table_oid != 0 || (e->kind != ENTRY_INDEX && e->kind != ENTRY_CONSTRAINT))
            continue;
        n += adopt(schema, e);
    }
    for (unsigned i = 0; i < post->n_entries && n > 0; i++)
        if (post->entries[i].kind == ENTRY_INDEX_ATTACH)
            resolve_attachment(post, &post->entries[i]);
    return n;
}

struct error *schema_resolve(struct pg_conn *source, struct arena *a, struct schema *schema)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(a, "entries and tables");
    CLEANUP(buffer_free) struct buffer *catalogs = buffer_new();
    CLEANUP(buffer_free) struct buffer *oids = buffer_new();
    const struct script *post = &schema->post;
    struct entry_key *keys = arena_alloc(scratch, (post->n_entries + 1U) * sizeof *keys);
    unsigned n = 0;
    struct pg_rows answer;

    for (unsigned i = 0; i < post->n_entries; i++) {
        struct entry *e = &post->entries[i];

        if (e->oid == 0)
            continue;
        buffer_printf(catalogs, "%c%u", n == 0 ? '{' : ',', e->catalog);
        buffer_printf(oids, "%c%u", n == 0 ? '{' : ',', e->oid);
        keys[n++] = (struct entry_key){.catalog = e->catalog, .oid = e->oid, .entry = e};
    }
    if (n == 0)
        return NULL;
    buffer_append_char(catalogs, '}');
    buffer_append_char(oids, '}');
    qsort(keys, n, sizeof *keys, by_key);

    const char *params[] = {buffer_text(catalogs), buffer_text(oids)};
    TRY(pg_query(source, scratch, "reading which table each index and constraint belongs to", sql_entry_tables, params,
                 COUNT_OF(params), &answer));
    for (unsigned r = 0; r < answer.n_rows; r++) {
        struct entry_key wanted = {.catalog = cell_u32(answer.rows[r][0]), .oid = cell_u32(answer.rows[r][1])};
        const struct entry_key *key = bsearch(&wanted, keys, n, sizeof wanted, by_key);

        if (key != NULL)
            fill_entry(key->entry, answer.rows[r]);
    }
    for (unsigned i = 0; i < post->n_entries; i++)
        if (post->entries[i].kind == ENTRY_INDEX_ATTACH)
            resolve_attachment(post, &post->entries[i]);
    return NULL;
}
