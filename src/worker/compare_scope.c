#include "worker/compare_scope.h"

#include "worker/task_folder.h"

static struct compare_scope scope_in(struct arena *a)
{
    return (struct compare_scope){.names = name_set_new(a), .partial = name_set_new(a)};
}

/* Those that are chosen, and the partitioned tables above those that are not. */
static void add_chosen(struct compare_scope *scope, const struct chosen *c)
{
    for (unsigned i = 0; i < c->n_relations; i++) {
        const struct chosen_relation *r = &c->relations[i];

        if (r->is_chosen)
            name_set_add(scope->names, r->schema, r->name);
        for (const struct chosen_relation *above = r; !r->is_chosen && above != NULL && above->parent != 0;) {
            above = chosen_find(c, above->parent);
            if (above != NULL && above->is_chosen)
                name_set_add(scope->partial, above->schema, above->name);
        }
    }
}

static void close_scope(struct compare_scope *scope)
{
    name_set_close(scope->names);
    name_set_close(scope->partial);
}

/* Both sides have counted: what matched on neither is a mistake. */
MUST_USE static struct error *judge_rules(struct arena *a, const struct selection *selection,
                                          const struct chosen *source)
{
    struct selection_complaint *complaints;
    unsigned n = selection_complaints(a, selection, &complaints);

    for (unsigned i = 0; i < n; i++) {
        const struct selection_rule *rule = complaints[i].rule;

        if (rule->excludes)
            continue;
        const char *nearest = chosen_nearest(a, source, rule);
        struct error *err =
            error_new(ERROR_CONFIG, "rule %s (%s) matches nothing on either side", rule->text, rule->where);
        return nearest == NULL ? err : error_hint(err, "Did you mean %s?", nearest);
    }
    return NULL;
}

MUST_USE static struct error *by_rules(struct arena *a, struct selection *selection, bool with_dependencies,
                                       struct pg_conn *source, struct pg_conn *target, struct compare_scope *out)
{
    struct chosen *on_source = NULL, *on_target = NULL;

    TRY(chosen_resolve(source, a, selection, with_dependencies, &on_source));
    TRY(chosen_resolve(target, a, selection, with_dependencies, &on_target));
    TRY(judge_rules(a, selection, on_source));
    struct compare_scope scope = scope_in(a);
    add_chosen(&scope, on_source);
    add_chosen(&scope, on_target);
    close_scope(&scope);
    *out = scope;
    return NULL;
}

MUST_USE static struct error *by_task(struct arena *a, const struct task_record *record,
                                      const struct selected *selected, struct pg_conn *source,
                                      struct compare_scope *out)
{
    const struct chosen_before before = {selected->n, selected->oids, record->has_ddl ? record->id : NULL};
    struct chosen *chosen = NULL;

    TRY(chosen_restore(source, a, &before, &chosen));
    struct compare_scope scope = scope_in(a);
    add_chosen(&scope, chosen);
    for (unsigned i = 0; i < selected->n; i++)
        name_set_add(scope.names, selected->schemas[i], selected->names[i]);
    close_scope(&scope);
    scope.is_of_task = true;
    *out = scope;
    return NULL;
}

MUST_USE static struct error *find_relations(struct compare_sides *sides, const struct sync_options *options,
                                             const struct task_record *record, struct pg_conn *source,
                                             struct pg_conn *target, struct compare_scope *out)
{
    struct selection *selection = NULL;
    struct selected *selected = NULL;

    *out = (struct compare_scope){0};
    TRY(selecting_parse(sides->arena, options, &selection));
    if (record != NULL && record->is_selected)
        TRY(selecting_read(sides->arena, sides->folder, &selected));
    if (selection != NULL && !selecting_is_same(sides->arena, options, selection, selected))
        return by_rules(sides->arena, selection, options->with_dependencies, source, target, out);
    if (selected == NULL)
        return NULL;
    return by_task(sides->arena, record, selected, source, out);
}

struct error *compare_scope_find(struct compare_sides *sides, const struct sync_options *options,
                                 struct pg_conn *source, struct pg_conn *target, struct compare_scope *out)
{
    struct task_record *record = NULL;

    TRY(task_record_read(sides->arena, sides->folder, &record));
    TRY(find_relations(sides, options, record, source, target, out));
    out->with_publications = options->with_publications || (record != NULL && record->has_publications);
    return NULL;
}
