#include "worker/drift.h"

#include "base/buffer.h"
#include "base/log.h"
#include "pg/cells.h"
#include "pg/structure.h"
#include "worker/selecting.h"

enum { SHOWN = 10, FIELDS = 4 };

static const char item[] = "structure-drift";

/* Control characters that no name has. */
static const char field_end = '\x1f', record_end = '\x1e';

static const char *path_of(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/structure", folder);
}

/* ---- the file: the fingerprint, then an entry a record ---- */

MUST_USE static struct error *write_file(struct arena *a, const char *folder, const char *fingerprint,
                                         const struct structure *s)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_printf(text, "%s%c", fingerprint, record_end);
    for (unsigned i = 0; i < s->n; i++) {
        const struct structure_entry *e = &s->entries[i];

        buffer_printf(text, "%s%c%s%c%s%c%s%c", e->key, field_end, e->parent, field_end, e->name, field_end,
                      e->definition, record_end);
    }
    return file_replace(path_of(a, folder), text->bytes, text->length);
}

/* The text up to `end`, which becomes its end; NULL when there is none. */
static char *take_until(char **at, char end)
{
    char *text = *at, *stop = strchr(text, end);

    if (stop == NULL)
        return NULL;
    *stop = '\0';
    *at = stop + 1;
    return text;
}

/* *out_fingerprint is NULL when there is no file. */
MUST_USE static struct error *read_file(struct arena *a, const char *folder, char **out_fingerprint,
                                        struct structure *out)
{
    char *text = NULL, *record;
    size_t length, n = 0;

    *out_fingerprint = NULL;
    TRY(file_read(a, path_of(a, folder), &text, &length));
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < length; i++)
        n += text[i] == record_end;
    *out = (struct structure){.entries = arena_alloc(a, (n + 1) * sizeof *out->entries)};
    *out_fingerprint = take_until(&text, record_end);
    while ((record = take_until(&text, record_end)) != NULL) {
        char *fields[FIELDS] = {NULL};

        for (unsigned f = 0; f + 1 < FIELDS && (f == 0 || fields[f - 1] != NULL); f++)
            fields[f] = take_until(&record, field_end);
        if (fields[FIELDS - 2] == NULL)
            return error_new(ERROR_DATA, "file \"%s\" cannot be read", path_of(a, folder));
        out->entries[out->n++] = (struct structure_entry){fields[0], fields[1], fields[2], record};
    }
    return NULL;
}

/* ---- what is selected ---- */

static int by_oid(const void *left, const void *right)
{
    const uint32_t *l = left, *r = right;

    return (*l > *r) - (*l < *r);
}

/* Types of the chosen tables' columns, of arrays their elements. */
MUST_USE static struct error *read_types(struct pg_conn *source, struct arena *a, const struct chosen *chosen,
                                         uint32_t **out_oids, unsigned *out_n)
{
    static const char sql[] = "SELECT DISTINCT coalesce(nullif(t.typelem, 0), t.oid)::text FROM pg_attribute a "
                              "JOIN pg_type t ON t.oid = a.atttypid "
                              "WHERE a.attnum > 0 AND a.attrelid IN (SELECT unnest($1::oid[]))";
    const char *oids = chosen_oids(a, chosen);
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading the types of selected tables", sql, &oids, 1, &rows));
    uint32_t *types = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *types);
    for (unsigned r = 0; r < rows.n_rows; r++)
        types[r] = cell_u32(rows.rows[r][0]);
    qsort(types, rows.n_rows, sizeof *types, by_oid);
    *out_oids = types;
    *out_n = rows.n_rows;
    return NULL;
}

/* All of the structure that concerns the task. Keys begin with a letter and an oid: of a table, or (e) of a type. *out_chosen NULL: all. */
MUST_USE static struct error *read_source(const struct task *t, struct pg_conn *source, struct arena *a,
                                          struct structure *out, struct chosen **out_chosen)
{
    struct chosen *chosen = NULL, *by_rules = NULL;
    struct selection *rules = NULL;
    uint32_t *types = NULL;
    unsigned n_types = 0, kept = 0;

    TRY(structure_read(source, a, out));
    TRY(selecting_now(t, source, a, &chosen));
    *out_chosen = chosen;
    if (chosen == NULL)
        return NULL;
    TRY(selecting_rules(t, a, &rules));
    TRY(chosen_resolve(source, a, rules, t->selects_dependencies, &by_rules));
    TRY(read_types(source, a, chosen, &types, &n_types));
    for (unsigned i = 0; i < out->n; i++) {
        const char *key = out->entries[i].key;
        uint32_t oid = cell_u32(key + 1);
        bool is_ours = key[0] == 'e' ? n_types > 0 && bsearch(&oid, types, n_types, sizeof oid, by_oid) != NULL
                                     : chosen_has(chosen, oid) || chosen_has(by_rules, oid);

        if (is_ours)
            out->entries[kept++] = out->entries[i];
    }
    out->n = kept;
    return NULL;
}

/* ---- what is different ---- */

MUST_USE static struct error *read_target(struct task *t, struct arena *a, struct structure *out)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_target(t, "structure", t->stop, &target));
    return structure_read(target, a, out);
}

static bool has_name(const struct structure *s, const char *name)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->entries[i].name, name) == 0)
            return true;
    return false;
}

static const char *name_of(const struct structure *s, const char *key)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->entries[i].key, key) == 0)
            return s->entries[i].name;
    return "";
}

/* What was read of both sides, to judge changes by. */
struct sight {
    struct task *task;
    struct pg_conn *source;
    struct chosen *chosen;  /* NULL: all */
    struct structure now;   /* the source's */
    struct structure there; /* the target's */
};

/* A new table that the target has, and whose rows come, is as it should be. */
MUST_USE static struct error *look_at_new_table(const struct sight *s, struct arena *a, struct structure_change *change,
                                                bool *out_is_fine)
{
    const char *publication = s->task->is_test_decoding ? NULL : s->task->record->publication;
    bool is_published = true;

    *out_is_fine = false;
    if (s->chosen != NULL && !chosen_has(s->chosen, cell_u32(change->key + 1))) {
        change->what =
            arena_printf(a, "%s; a rule chooses it, but where DDL is not carried it is not followed", change->what);
        return NULL;
    }

    TRY(structure_is_published(s->source, a, publication, change->key, &is_published));
    if (!is_published)
        change->what = arena_printf(a, "%s, and publication \"%s\" does not have it, so its rows do not come",
                                    change->what, publication);
    *out_is_fine = is_published && has_name(&s->there, name_of(&s->now, change->key));
    return NULL;
}

/* Leaves in the list what somebody must do something about. */
MUST_USE static struct error *weed(const struct sight *s, struct arena *a, struct structure_change *changes,
                                   unsigned *n)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < *n; i++) {
        bool is_fine = false;

        if (changes[i].is_new_table)
            TRY(look_at_new_table(s, a, &changes[i], &is_fine));
        if (!is_fine)
            changes[kept++] = changes[i];
    }
    *n = kept;
    return NULL;
}

static const char *list(struct arena *a, const struct structure_change *changes, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < n && i < SHOWN; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : "; ", changes[i].what);
    if (n > SHOWN)
        buffer_printf(b, "; and %u more", n - SHOWN);
    return arena_strdup(a, buffer_text(b));
}

static bool is_accepted(const struct task *t)
{
    for (const char *const *accepted = t->options->accept; *accepted != NULL; accepted++)
        if (strcmp(*accepted, item) == 0)
            return true;
    return false;
}

MUST_USE static struct error *judge(struct task *t, struct arena *a, const struct structure_change *changes, unsigned n,
                                    bool may_accept)
{
    if (n == 0) {
        log_info(t->chosen == NULL ? "the source's structure was changed, and the target's in the same way"
                                   : "the source's structure was changed; of what is selected the target has it all");
        return NULL;
    }
    if (may_accept && is_accepted(t)) {
        log_warn("accepted: the source's structure was changed, and the target's was not: %s", list(a, changes, n));
        return NULL;
    }
    return error_hint(
        error_new(ERROR_CONFIG, "the source's structure was changed, which is not carried here: %s",
                  list(a, changes, n)),
        "Nothing is lost. Do the same on the target, then run the same command again. What cannot be had in this way, "
        "rows of tables that are not published, needs a new start (\"pgtide stop --force\", then \"pgtide sync\"), or "
        "is left out: --accept %s.",
        item);
}

MUST_USE static struct error *compare(struct task *t, struct pg_conn *source, struct arena *a, const char *fingerprint,
                                      const struct structure *before, bool may_accept)
{
    struct sight sight = {.task = t, .source = source};
    unsigned n = 0;

    TRY(read_source(t, source, a, &sight.now, &sight.chosen));
    TRY(read_target(t, a, &sight.there));
    struct structure_change *changes = structure_changes(a, before, &sight.now, &sight.there, &n);
    TRY(weed(&sight, a, changes, &n));
    TRY(judge(t, a, changes, n, may_accept));
    return write_file(a, t->folder, fingerprint, &sight.now);
}

struct error *drift_remember(struct task *t, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "structure");
    struct structure now = {0};
    struct chosen *chosen = NULL;
    char *fingerprint = NULL;

    TRY(structure_fingerprint(source, a, &fingerprint));
    TRY(read_source(t, source, a, &now, &chosen));
    return write_file(a, t->folder, fingerprint, &now);
}

struct error *drift_check(struct task *t, struct pg_conn *source, bool may_accept)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "structure");
    struct structure before = {0};
    char *was = NULL, *is = NULL;

    if (t->record->has_ddl)
        return NULL;
    TRY(read_file(a, t->folder, &was, &before));
    if (was == NULL)
        return drift_remember(t, source);
    TRY(structure_fingerprint(source, a, &is));
    if (strcmp(was, is) == 0)
        return NULL;
    return compare(t, source, a, is, &before, may_accept);
}

struct error *drift_forget(const char *folder)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "structure");

    return file_remove(path_of(a, folder));
}
