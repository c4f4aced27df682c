/* Whether a selection says what somebody may have meant, and holds what it needs. */
#include "pg/precheck_context.h"

#include "base/counted.h"

enum { NEAREST_FOR = 5 };

static const char *describe(struct precheck *p, const struct selection_complaint *complaint, bool looks_for_nearest)
{
    const struct selection_rule *rule = complaint->rule;
    const char *nearest = looks_for_nearest && !complaint->matched ? chosen_nearest(p->a, p->chosen, rule) : NULL;
    const char *said = arena_printf(p->a, "%s (%s)", rule->text, rule->where);

    if (complaint->matched)
        return arena_printf(p->a, "%s: rules after it choose all that it leaves out", said);
    return nearest == NULL ? said : arena_printf(p->a, "%s: did you mean %s?", said, nearest);
}

/* A name that is not there is a mistake; so may be what leaves out nothing, or it may be there for the future. */
struct error *check_selected_objects(struct precheck *p, struct check_item *item)
{
    const struct chosen *c = p->chosen;
    unsigned n_missing = 0;

    if (c == NULL) {
        item_is(p, item, CHECK_PASSED, "the whole database is synchronized");
        return NULL;
    }
    const char **objects = arena_alloc(p->a, (c->n_complaints + 1UL) * sizeof *objects);
    for (unsigned i = 0; i < c->n_complaints; i++) {
        objects[i] = describe(p, &c->complaints[i], i < NEAREST_FOR);
        n_missing += !c->complaints[i].rule->excludes;
    }
    item->objects = objects;
    item->n_objects = c->n_complaints;
    if (n_missing > 0)
        item_is(p, item, CHECK_FAILED,
                "%u of the rules match%s no table, view, materialized view, sequence or foreign table", n_missing,
                n_missing == 1 ? "es" : "");
    else if (c->n_chosen == 0)
        item_is(p, item, CHECK_FAILED, "the rules choose none of %s",
                counted(p->a, c->n_relations, "object", "objects"));
    else if (c->n_complaints > 0)
        item_is(p, item, CHECK_ALARM, "%s out nothing; %u of %s selected",
                counted(p->a, c->n_complaints, "rule leaves", "rules leave"), c->n_chosen,
                counted(p->a, c->n_relations, "object is", "objects are"));
    else
        item_is(p, item, CHECK_PASSED, "%u of %s selected, %s with rows%s", c->n_chosen,
                counted(p->a, c->n_relations, "object is", "objects are"),
                counted(p->a, p->catalog.n_tables, "table", "tables"),
                c->n_added == 0 ? "" : arena_printf(p->a, "; %u of them because others need them", c->n_added));
    return NULL;
}

static const char *rule_of(struct precheck *p, const struct chosen_relation *r)
{
    return selection_exact(p->a, r->schema, r->name);
}

/* A foreign key can be left out; nothing else of what is named here can. */
struct error *check_dependencies(struct precheck *p, struct check_item *item)
{
    const struct chosen *c = p->chosen;
    unsigned n_hard = 0;
    bool is_left_out = false;

    if (c == NULL || c->n_lacks == 0) {
        item_is(p, item, CHECK_PASSED,
                c == NULL ? "the whole database is synchronized" : "nothing that they need is missing");
        return NULL;
    }
    const char **objects = arena_alloc(p->a, (c->n_lacks + 1UL) * sizeof *objects);
    for (unsigned i = 0; i < c->n_lacks; i++) {
        const struct chosen_lack *lack = &c->lacks[i];

        objects[i] = arena_printf(p->a, "%s needs %s: %s", rule_of(p, lack->by), rule_of(p, lack->needed), lack->what);
        n_hard += !lack->is_foreign_key;
        is_left_out = is_left_out || lack->needed->verdict == SELECTION_LEFT_OUT;
    }
    item->objects = objects;
    item->n_objects = c->n_lacks;
    if (n_hard > 0)
        item_is(p, item, CHECK_FAILED, "%s a selected object needs one that is not selected",
                counted(p->a, c->n_lacks, "time", "times"));
    else
        item_is(
            p, item, CHECK_ALARM, "%s not selected; if you accept, %s left out on the target",
            counted(p->a, c->n_lacks, "foreign key refers to a table that is", "foreign keys refer to tables that are"),
            agreeing(c->n_lacks, "this key is", "these keys are"));
    item->fix =
        is_left_out
            ? "-- select them too: with a rule for each (a rule leaves some of them out), or with --with-dependencies"
            : "-- select them too: with --with-dependencies, or with a rule for each";
    return NULL;
}
