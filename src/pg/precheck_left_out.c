/*
 * What is no object and stays behind for want of rights on the target: named beforehand, as roles are in the lists of accounts. What concerns
 * roles that are missing there is told by check_roles.
 */
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/database.h"
#include "pg/precheck_context.h"
#include "pg/schema_roles.h"
#include "pg/sql.h"

enum left_out_cell { LEFT_OUT_TEXT, LEFT_OUT_KIND, LEFT_OUT_NAME };

struct list {
    unsigned n;
    const char **texts;
};

/* Default privileges of a role can be set by its members; a role that we make is ours. One that is missing is told elsewhere. */
static bool may_act_for(const struct role_list *roles, const char *role)
{
    const struct role *there = role_find(roles, role);

    return there == NULL || there->is_ours;
}

static bool lacks_role(const struct precheck *p, const struct role_list *roles, const char *role)
{
    const struct account *made = account_find(&p->accounts, role);

    return role_find(roles, role) == NULL && (made == NULL || !made->is_carried);
}

/* Of those that come. */
static bool is_of_others(const struct precheck *p, const char *extension)
{
    for (unsigned i = 0; p->chosen != NULL && i < p->chosen->n_extensions; i++)
        if (strcmp(p->chosen->extensions[i], extension) == 0)
            return false;
    return p->chosen != NULL;
}

/* An extension comes with its comment: only one that was changed is left out. */
MUST_USE static struct error *has_comment(struct precheck *p, const char *text, bool *out)
{
    char *is_there = NULL;

    TRY(pg_query_text(
        p->target, p->a, "reading comments of extensions",
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE format('comment of extension \"%s\": %s', "
        "name, comment) = $1)::text",
        &text, 1, &is_there));
    *out = cell_bool(is_there);
    return NULL;
}

MUST_USE static struct error *comes_along(struct precheck *p, const struct role_list *roles, char *const *cell,
                                          bool *out)
{
    const char *kind = cell[LEFT_OUT_KIND], *name = cell[LEFT_OUT_NAME];

    if (strcmp(kind, "comment") == 0) {
        *out = is_of_others(p, name);
        return *out ? NULL : has_comment(p, cell[LEFT_OUT_TEXT], out);
    }
    *out = name != NULL &&
           (lacks_role(p, roles, name) || (strcmp(kind, "default privileges") == 0 && may_act_for(roles, name)));
    return NULL;
}

/* For who is no superuser. */
MUST_USE static struct error *add_of_plain_user(struct precheck *p, struct list *list)
{
    struct role_list roles;
    struct pg_rows rows;
    const char *oids = chosen_oids(p->a, p->chosen);

    TRY(schema_roles_read(p->target, p->a, &roles));
    TRY(pg_query(p->source, p->a, "reading what only a superuser could set", sql_plain_left_out, &oids, 1, &rows));
    const char **texts = arena_alloc(p->a, (list->n + rows.n_rows + 1U) * sizeof *texts);
    for (unsigned i = 0; i < list->n; i++)
        texts[i] = list->texts[i];
    list->texts = texts;
    for (unsigned r = 0; r < rows.n_rows; r++) {
        bool comes = false;

        TRY(comes_along(p, &roles, rows.rows[r], &comes));
        if (!comes)
            texts[list->n++] = rows.rows[r][LEFT_OUT_TEXT];
    }
    return NULL;
}

MUST_USE static struct error *add_of_database(struct precheck *p, struct list *list)
{
    struct database_properties all;

    TRY(database_properties_read(p->source, p->target, p->a, pg_endpoint_database(p->options->target), &p->accounts,
                                 &all));
    list->texts = arena_alloc(p->a, (all.n + 1U) * sizeof *list->texts);
    for (unsigned i = 0; i < all.n; i++)
        if (all.properties[i].left_out != NULL && !all.properties[i].lacks_role)
            list->texts[list->n++] =
                arena_printf(p->a, "%s: %s", all.properties[i].statement, all.properties[i].left_out);
    return NULL;
}

/* Whoever makes a database owns it: a fact, and no alarm. */
MUST_USE static struct error *owner_remark(struct precheck *p, const char **out)
{
    struct database_property owner;

    *out = "";
    if (!p->target_is_missing)
        return NULL;
    TRY(database_owner_read(p->source, p->target, p->a, pg_endpoint_database(p->options->target), &p->accounts,
                            &owner));
    if (owner.left_out != NULL)
        *out =
            arena_printf(p->a, "; the database will belong to user \"%s\": %s", p->target_facts.user, owner.left_out);
    return NULL;
}

static void append(struct precheck *p, struct list *list, const struct pg_rows *rows)
{
    const char **texts = arena_alloc(p->a, (list->n + rows->n_rows + 1U) * sizeof *texts);

    for (unsigned i = 0; i < list->n; i++)
        texts[i] = list->texts[i];
    for (unsigned r = 0; r < rows->n_rows; r++)
        texts[list->n + r] = rows->rows[r][0];
    *list = (struct list){.n = list->n + rows->n_rows, .texts = texts};
}

/* Those of the source that the target has, too: of a selection they are left as they are. */
MUST_USE static struct error *read_taken(struct precheck *p, struct pg_rows *out)
{
    char *names = NULL;

    *out = (struct pg_rows){.n_columns = 1};
    if (p->chosen == NULL || p->target_is_missing || p->options->sync->if_not_empty != NOT_EMPTY_REFUSE)
        return NULL;
    TRY(pg_query_text(p->target, p->a, "reading the names of publications",
                      "SELECT array_agg(pubname)::text FROM pg_publication", NULL, 0, &names));
    const char *params[] = {names == NULL ? "{}" : names, chosen_oids(p->a, p->chosen)};
    return pg_query(p->source, p->a, "reading which publications the target has",
                    "SELECT 'publication ' || quote_ident(pubname) || ': the target has another one of that name' FROM "
                    "pg_publication p WHERE pubname = ANY ($1::name[]) AND NOT puballtables AND EXISTS (SELECT FROM "
                    "pg_publication_rel WHERE prpubid = p.oid AND prrelid = ANY ($2::oid[])) ORDER BY pubname",
                    params, COUNT_OF(params), out);
}

/* *out: how many lines. */
MUST_USE static struct error *add_of_publications(struct precheck *p, struct list *list, unsigned *out)
{
    struct pg_rows rows, taken;

    *out = 0;
    if (!p->options->sync->with_publications)
        return NULL;
    const char *params[] = {chosen_oids(p->a, p->chosen), arena_printf(p->a, "%d", p->target_facts.version_number),
                            p->target_facts.user_is_superuser ? "true" : "false"};
    TRY(pg_query(p->source, p->a, "reading what of publications the target does not take", sql_publications_left_out,
                 params, COUNT_OF(params), &rows));
    append(p, list, &rows);
    TRY(read_taken(p, &taken));
    append(p, list, &taken);
    *out = rows.n_rows + taken.n_rows;
    return NULL;
}

/* Whom a database sends its changes to, and whose it takes, is a matter of its server: publications are a choice, subscriptions are none. */
MUST_USE static struct error *replication_remark(struct precheck *p, const char **out)
{
    bool with_publications = p->options->sync->with_publications;
    const char *param = with_publications ? "true" : "false";
    char *names = NULL;

    *out = "";
    if (p->chosen != NULL)
        return NULL;
    TRY(pg_query_text(
        p->source, p->a, "reading publications and subscriptions",
        "SELECT string_agg(kind || quote_ident(name), ', ' ORDER BY kind, name COLLATE \"C\") FROM (SELECT "
        "'publication ', pubname::text FROM pg_publication WHERE NOT $1::boolean AND pubname !~ '^pgtide_' UNION ALL "
        "SELECT 'subscription ', subname::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid AND "
        "d.datname = current_database()) AS x(kind, name)",
        &param, 1, &names));
    if (names != NULL)
        *out = arena_printf(p->a,
                            with_publications
                                ? "; subscriptions are not carried: %s"
                                : "; publications (unless --with-publications is given) and subscriptions are not "
                                  "carried: %s",
                            names);
    return NULL;
}

static const char *summary_of(struct precheck *p, unsigned n_others, unsigned n_publications)
{
    const char *others = n_others == 0
                             ? ""
                             : arena_printf(p->a, "%s not be set on the target by user \"%s\" and will be as %s there",
                                            counted(p->a, n_others, "thing may", "things may"), p->target_facts.user,
                                            agreeing(n_others, "it is", "they are"));

    return n_publications == 0 ? others
                               : arena_printf(p->a, "%s%s%s left out", others, n_others == 0 ? "" : "; ",
                                              counted(p->a, n_publications, "publication or part of one is",
                                                      "publications or parts of them are"));
}

struct error *check_left_out(struct precheck *p, struct check_item *item)
{
    struct list list = {.n = 0};
    const char *owner = NULL, *replication = NULL;
    unsigned n_publications = 0;

    if (!precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "nothing is copied");
        return NULL;
    }
    TRY(owner_remark(p, &owner));
    TRY(replication_remark(p, &replication));
    if (p->chosen == NULL) /* what is the database's is no part of a selection */
        TRY(add_of_database(p, &list));
    if (!p->target_facts.user_is_superuser)
        TRY(add_of_plain_user(p, &list));
    TRY(add_of_publications(p, &list, &n_publications));
    item->objects = list.texts;
    item->n_objects = list.n;
    if (list.n == 0)
        item_is(p, item, CHECK_PASSED, "nothing%s%s", owner, replication);
    else
        item_is(p, item, CHECK_ALARM, "%s%s%s", summary_of(p, list.n - n_publications, n_publications), owner,
                replication);
    return NULL;
}
