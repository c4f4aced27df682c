#include "worker/selecting.h"

#include <stdlib.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/log.h"

enum { FILE_VERSION = 1 };

static void json_release_cleanup_(json_t **j)
{
    json_decref(*j);
}

/* ---- options ---- */

static bool is_given(const struct sync_options *options)
{
    return options->select != NULL || options->select_from != NULL;
}

MUST_USE static struct error *add_file(struct arena *a, struct selection_rules *rules, const char *file)
{
    char *text = NULL;
    size_t length = 0;

    TRY(file_read(a, file, &text, &length));
    if (text == NULL)
        return error_new(ERROR_USAGE, "option \"--select-from\": there is no file \"%s\"", file);
    return selection_add_file(a, rules, file, text, length);
}

struct error *selecting_parse(struct arena *a, const struct sync_options *options, struct selection **out)
{
    struct selection_rules rules = {.n = 0};

    *out = NULL;
    if (!is_given(options))
        return options->with_dependencies
                   ? error_new(ERROR_USAGE, "option \"--with-dependencies\" needs \"--select\" or \"--select-from\"")
                   : NULL;
    if (options->select_from != NULL)
        TRY(add_file(a, &rules, options->select_from));
    for (const char *const *text = options->select; text != NULL && *text != NULL; text++)
        TRY(selection_add_list(a, &rules, *text, "option \"--select\""));
    *out = selection_new(a, &rules);
    return NULL;
}

/* ---- the file ---- */

static const char *path_of(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/selection", folder);
}

/* Those that are there. */
static struct selected list_of(struct arena *a, const struct chosen *chosen)
{
    struct selected list = {
        .oids = arena_alloc(a, (chosen->n_relations + 1UL) * sizeof *list.oids),
        .schemas = arena_alloc(a, (chosen->n_relations + 1UL) * sizeof *list.schemas),
        .names = arena_alloc(a, (chosen->n_relations + 1UL) * sizeof *list.names),
    };

    for (unsigned i = 0; i < chosen->n_relations; i++) {
        const struct chosen_relation *r = &chosen->relations[i];

        if (!r->is_chosen)
            continue;
        list.oids[list.n] = r->oid;
        list.schemas[list.n] = r->schema;
        list.names[list.n++] = r->name;
    }
    return list;
}

/* By oid: those of `before`, by the names that they had, and the others of `now`. NULL: a name is not valid UTF-8. */
static json_t *relations_of(const struct selected *before, const struct selected *now)
{
    json_t *all = json_array();
    unsigned i = 0, k = 0, n = 0;

    while (i < before->n || k < now->n) {
        bool takes_before = k == now->n || (i < before->n && before->oids[i] <= now->oids[k]);
        const struct selected *from = takes_before ? before : now;
        unsigned at = takes_before ? i : k;
        uint32_t oid = from->oids[at];

        json_array_append_new(all, json_pack("[I, s, s]", (json_int_t)oid, from->schemas[at], from->names[at]));
        n++;
        i += i < before->n && before->oids[i] == oid;
        k += k < now->n && now->oids[k] == oid;
    }
    if (json_array_size(all) == n)
        return all;
    json_decref(all);
    return NULL;
}

MUST_USE static struct error *write_file(const char *folder, const struct selected *before, const struct selected *now)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "selection");
    CLEANUP(json_release)
    json_t *document =
        json_pack("{s:i, s:s, s:b, s:o}", "version", FILE_VERSION, "rules", now->rules, "with_dependencies",
                  (int)now->with_dependencies, "relations", relations_of(before, now));

    if (document == NULL)
        return error_new(ERROR_CONFIG, "could not write down the selection: a name in it is not valid UTF-8");
    char *text = json_dumps(document, JSON_COMPACT);
    if (text == NULL)
        return error_new(ERROR_TRANSIENT, "out of memory");
    struct error *err = file_replace(path_of(scratch, folder), text, strlen(text));
    free(text);
    return err;
}

static bool take_relation(struct arena *a, const json_t *entry, struct selected *s)
{
    const char *schema = json_string_value(json_array_get(entry, 1)),
               *name = json_string_value(json_array_get(entry, 2));
    uint32_t oid = (uint32_t)json_integer_value(json_array_get(entry, 0));

    if (schema == NULL || name == NULL || oid == 0 || (s->n > 0 && s->oids[s->n - 1] >= oid))
        return false;
    s->oids[s->n] = oid;
    s->schemas[s->n] = arena_strdup(a, schema);
    s->names[s->n++] = arena_strdup(a, name);
    return true;
}

static bool take_document(struct arena *a, const json_t *document, struct selected *s)
{
    const char *rules = json_string_value(json_object_get(document, "rules"));
    const json_t *relations = json_object_get(document, "relations");
    size_t n = json_array_size(relations);

    if (json_integer_value(json_object_get(document, "version")) != FILE_VERSION || rules == NULL || n == 0)
        return false;
    *s = (struct selected){
        .rules = arena_strdup(a, rules),
        .with_dependencies = json_is_true(json_object_get(document, "with_dependencies")),
        .oids = arena_alloc(a, n * sizeof *s->oids),
        .schemas = arena_alloc(a, n * sizeof *s->schemas),
        .names = arena_alloc(a, n * sizeof *s->names),
    };
    for (size_t i = 0; i < n; i++)
        if (!take_relation(a, json_array_get(relations, i), s))
            return false;
    return true;
}

struct error *selecting_read(struct arena *a, const char *folder, struct selected **out)
{
    const char *path = path_of(a, folder);
    struct selected *selected = ARENA_NEW(a, struct selected);
    char *text = NULL;
    size_t length = 0;

    TRY(file_read(a, path, &text, &length));
    CLEANUP(json_release) json_t *document = text == NULL ? NULL : json_loadb(text, length, 0, NULL);
    if (document == NULL || !take_document(a, document, selected))
        return error_hint(
            error_new(ERROR_DATA, "could not read the task's selection: file \"%s\" is %s", path,
                      text == NULL ? "missing" : "damaged"),
            "Without it nobody knows what was selected. Remove what is left with \"pgtide stop --force\", and "
            "begin anew.");
    *out = selected;
    return NULL;
}

/* ---- a task ---- */

MUST_USE static struct error *write_now(const struct task *t, const struct chosen *chosen,
                                        const struct selected *before)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "selection");
    struct selected now = list_of(scratch, chosen);

    now.rules = t->selection_rules;
    now.with_dependencies = t->selects_dependencies;
    return write_file(t->folder, before, &now);
}

struct error *selecting_begin(struct task *t, const struct selection *selection, struct chosen *chosen)
{
    t->record->is_selected = selection != NULL;
    if (selection == NULL)
        return NULL;
    if (chosen == NULL || chosen->n_chosen == 0)
        return error_new(ERROR_CONFIG, "the selection chooses nothing");
    t->chosen = chosen;
    t->selection_rules = selection_text(t->arena, selection);
    t->selects_dependencies = t->options->with_dependencies;
    t->n_selected = chosen->n_chosen;
    log_info("selected: %u of %u tables, views, materialized views, sequences and foreign tables", chosen->n_chosen,
             chosen->n_relations);
    return write_now(t, chosen, &(struct selected){.n = 0});
}

bool selecting_is_same(struct arena *a, const struct sync_options *options, const struct selection *selection,
                       const struct selected *selected)
{
    return selected != NULL && options->with_dependencies == selected->with_dependencies &&
           strcmp(selection_text(a, selection), selected->rules) == 0;
}

static struct error *another(const char *begun_with)
{
    return error_hint(
        error_new(ERROR_CONFIG, "this synchronization was begun with %s", begun_with),
        "Leave --select, --select-from and --with-dependencies out to go on with it, or give the same ones. Another "
        "selection needs a \"pgtide stop\" and a new start.");
}

struct error *selecting_compare(struct task *t)
{
    struct selection *selection = NULL;
    struct selected *selected = NULL;

    TRY(selecting_parse(t->arena, t->options, &selection));
    if (!t->record->is_selected)
        return selection == NULL ? NULL : another("the whole database, not a selection");
    TRY(selecting_read(t->arena, t->folder, &selected));
    if (selection != NULL && !selecting_is_same(t->arena, t->options, selection, selected))
        return another("another selection");
    t->selected = selected;
    t->selection_rules = selected->rules;
    t->selects_dependencies = selected->with_dependencies;
    t->n_selected = selected->n;
    return NULL;
}

MUST_USE static struct error *restore(struct pg_conn *source, struct arena *a, const struct task_record *record,
                                      struct chosen_before before, struct chosen **out)
{
    before.task = record->has_ddl ? record->id : NULL;
    return chosen_restore(source, a, &before, out);
}

struct error *selecting_restore(struct task *t, struct pg_conn *source)
{
    if (t->selected == NULL)
        return NULL;
    return restore(source, t->arena, t->record, (struct chosen_before){t->selected->n, t->selected->oids, NULL},
                   &t->chosen);
}

struct error *selecting_now(const struct task *t, struct pg_conn *source, struct arena *a, struct chosen **out)
{
    *out = NULL;
    if (t->chosen == NULL)
        return NULL;
    return restore(source, a, t->record, (struct chosen_before){t->chosen->n_chosen, t->chosen->oids, NULL}, out);
}

struct error *selecting_of(const struct task_record *record, const char *folder, struct pg_conn *source,
                           struct arena *a, struct chosen **out)
{
    struct selected *selected = NULL;

    *out = NULL;
    if (record == NULL || !record->is_selected)
        return NULL;
    TRY(selecting_read(a, folder, &selected));
    return restore(source, a, record, (struct chosen_before){selected->n, selected->oids, NULL}, out);
}

struct error *selecting_rules(const struct task *t, struct arena *a, struct selection **out)
{
    struct selection_rules rules = {.n = 0};

    TRY(selection_add_text(a, &rules, t->selection_rules, "the task's selection"));
    *out = selection_new(a, &rules);
    return NULL;
}

/* Those that are new among what the rules choose now, behind those that are known, which are older. */
static uint32_t *join(struct arena *a, const struct chosen *known, const struct chosen *now, unsigned *out_n)
{
    uint32_t *oids = arena_alloc(a, (known->n_chosen + now->n_chosen + 1UL) * sizeof *oids);
    unsigned i = 0, k = 0, n = 0;

    while (i < known->n_chosen || k < now->n_chosen) {
        bool takes_known = k == now->n_chosen || (i < known->n_chosen && known->oids[i] <= now->oids[k]);
        uint32_t oid = takes_known ? known->oids[i] : now->oids[k];

        i += i < known->n_chosen && known->oids[i] == oid;
        k += k < now->n_chosen && now->oids[k] == oid;
        oids[n++] = oid;
    }
    *out_n = n;
    return oids;
}

struct error *selecting_grow(struct task *t, struct pg_conn *source, bool *out_has_grown)
{
    struct selection *selection = NULL;
    struct chosen *now = NULL;
    unsigned n = 0;

    TRY(selecting_rules(t, t->arena, &selection));
    TRY(chosen_resolve(source, t->arena, selection, t->selects_dependencies, &now));
    const uint32_t *oids = join(t->arena, t->chosen, now, &n);
    *out_has_grown = n > t->chosen->n_chosen;
    if (!*out_has_grown)
        return NULL;
    TRY(restore(source, t->arena, t->record, (struct chosen_before){n, oids, NULL}, &t->chosen));
    t->n_selected = t->chosen->n_chosen;
    return write_now(t, t->chosen, t->selected != NULL ? t->selected : &(struct selected){.n = 0});
}

struct error *selecting_save(const struct task *t, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "selection");
    struct selected *before = NULL;
    struct chosen *chosen = NULL;

    if (!t->record->has_ddl || t->chosen == NULL)
        return NULL;
    TRY(selecting_read(scratch, t->folder, &before));
    TRY(selecting_now(t, source, scratch, &chosen));
    return write_now(t, chosen, before);
}

/* Our own publication holds what was chosen and the partitions that it gets, and nothing else. */
struct error *selecting_takes(const struct task *t, uint32_t oid, bool *out_takes)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    *out_takes =
        t->chosen == NULL || chosen_has(t->chosen, oid) || (t->record->owns_publication && !t->is_test_decoding);
    if (*out_takes)
        return NULL;
    TRY(task_connect_source(t, "selection", t->stream_stop, &source));
    return chosen_has_above(source, t->chosen, oid, out_takes);
}

/* ---- names ---- */

struct whole_name {
    const char *schema;
    const char *name;
};

struct name_set {
    struct arena *arena;
    unsigned n, room;
    struct whole_name *names; /* sorted once it is closed */
};

static int by_name(const void *left, const void *right)
{
    const struct whole_name *l = left, *r = right;
    int order = strcmp(l->schema, r->schema);

    return order != 0 ? order : strcmp(l->name, r->name);
}

struct name_set *name_set_new(struct arena *a)
{
    struct name_set *s = ARENA_NEW(a, struct name_set);

    s->arena = a;
    return s;
}

void name_set_add(struct name_set *s, const char *schema, const char *name)
{
    if (s->n == s->room) {
        struct whole_name *before = s->names;

        s->room = s->room == 0 ? 64 : s->room * 2;
        s->names = arena_alloc(s->arena, s->room * sizeof *s->names);
        if (s->n > 0)
            memcpy(s->names, before, s->n * sizeof *before);
    }
    s->names[s->n++] = (struct whole_name){schema, name};
}

void name_set_close(struct name_set *s)
{
    if (s->n > 0)
        qsort(s->names, s->n, sizeof *s->names, by_name);
}

bool name_set_has(const struct name_set *s, const char *schema, const char *name)
{
    const struct whole_name wanted = {schema, name};

    return s == NULL || (s->n > 0 && bsearch(&wanted, s->names, s->n, sizeof wanted, by_name) != NULL);
}

static bool takes_name(const void *self, uint32_t oid, const char *schema, const char *name)
{
    (void)oid;
    return name_set_has(self, schema, name);
}

struct relation_filter name_set_filter(const struct name_set *s)
{
    return s == NULL ? (struct relation_filter){0} : (struct relation_filter){.takes = takes_name, .self = s};
}

static const char *as_array(struct arena *a, const struct name_set *s, bool of_schemas)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_append_char(text, '{');
    for (unsigned i = 0; i < s->n; i++) {
        buffer_append_text(text, i == 0 ? "\"" : ",\"");
        for (const char *p = of_schemas ? s->names[i].schema : s->names[i].name; *p != '\0'; p++) {
            if (*p == '"' || *p == '\\')
                buffer_append_char(text, '\\');
            buffer_append_char(text, *p);
        }
        buffer_append_char(text, '"');
    }
    buffer_append_char(text, '}');
    return arena_strdup(a, buffer_text(text));
}

struct name_arrays name_set_arrays(struct arena *a, const struct name_set *s)
{
    if (s == NULL)
        return (struct name_arrays){0};
    return (struct name_arrays){.schemas = as_array(a, s, true), .names = as_array(a, s, false)};
}
