#include "pg/schema_select.h"

#include <string.h>

#include "base/macros.h"

enum { CLASS_RELATION = 1259 /* pg_class */ };

enum role {
    ROLE_NEEDED,   /* comes when something that is kept needs it */
    ROLE_RELATION, /* chosen or not */
    ROLE_ATTACHED, /* belongs to something */
};

static const struct {
    const char *type;
    enum role role;
} roles[] = {
    {"TABLE", ROLE_RELATION},
    {"VIEW", ROLE_RELATION},
    {"MATERIALIZED VIEW", ROLE_RELATION},
    {"SEQUENCE", ROLE_RELATION},
    {"FOREIGN TABLE", ROLE_RELATION},
    {"TABLE ATTACH", ROLE_ATTACHED},
    {"SEQUENCE OWNED BY", ROLE_ATTACHED},
    {"DEFAULT", ROLE_ATTACHED},
    {"CONSTRAINT", ROLE_ATTACHED},
    {"CHECK CONSTRAINT", ROLE_ATTACHED},
    {"FK CONSTRAINT", ROLE_ATTACHED},
    {"INDEX", ROLE_ATTACHED},
    {"INDEX ATTACH", ROLE_ATTACHED},
    {"STATISTICS", ROLE_ATTACHED},
    {"TRIGGER", ROLE_ATTACHED},
    {"RULE", ROLE_ATTACHED},
    {"POLICY", ROLE_ATTACHED},
    {"ROW SECURITY", ROLE_ATTACHED},
    {"MATERIALIZED VIEW DATA", ROLE_ATTACHED},
    {"COMMENT", ROLE_ATTACHED},
    {"SECURITY LABEL", ROLE_ATTACHED},
    {"ACL", ROLE_ATTACHED},
    {"USER MAPPING", ROLE_ATTACHED},
    {"PUBLICATION TABLE", ROLE_ATTACHED},
};

struct choice {
    struct schema *schema;
    const struct schema_choice *by;
    bool *kept_pre;
    bool *kept_post;
};

static enum role role_of(const struct entry *e)
{
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (strcmp(roles[i].type, e->type) == 0)
            return roles[i].role;
    return ROLE_NEEDED;
}

/* A publication of somebody's would get tables that it never had. */
bool schema_entry_is_shared(const struct entry *e)
{
    return role_of(e) == ROLE_NEEDED && e->kind != ENTRY_PUBLICATION;
}

static const struct entry *find(const struct choice *c, int id)
{
    const struct entry *e = script_find(&c->schema->pre, id);

    return e != NULL ? e : script_find(&c->schema->post, id);
}

/* Where it is kept that an entry is. */
static bool *kept_of(const struct choice *c, const struct entry *e)
{
    const struct script *pre = &c->schema->pre, *post = &c->schema->post;

    if (pre->n_entries > 0 && e >= pre->entries && e < pre->entries + pre->n_entries)
        return &c->kept_pre[e - pre->entries];
    return &c->kept_post[e - post->entries];
}

/* With whatever it needs that is neither a relation nor belongs to one. */
static void keep(const struct choice *c,
                 const struct entry *e) /* NOLINT(misc-no-recursion): an archive has no cycles */
{
    bool *kept = kept_of(c, e);

    if (*kept)
        return;
    *kept = true;
    for (unsigned i = 0; i < e->n_dependencies; i++) {
        const struct entry *needed = find(c, e->dependencies[i]);

        if (needed != NULL && role_of(needed) == ROLE_NEEDED)
            keep(c, needed);
    }
}

/* All relations that it belongs to or is about are there; where there are none, all that it is about. */
static bool belongs(const struct choice *c, const struct entry *e)
{
    unsigned n_owners = 0, n_owners_kept = 0, n_others = 0, n_others_kept = 0;

    for (unsigned i = 0; i < e->n_dependencies; i++) {
        const struct entry *needed = find(c, e->dependencies[i]);

        if (needed == NULL)
            continue;
        bool is_kept = *kept_of(c, needed);
        if (role_of(needed) == ROLE_NEEDED) {
            n_others++;
            n_others_kept += is_kept;
        } else {
            n_owners++;
            n_owners_kept += is_kept;
        }
    }
    if (n_owners > 0)
        return n_owners_kept == n_owners;
    return n_others > 0 && n_others_kept == n_others;
}

static bool is_to_be_kept(const struct choice *c, const struct entry *e)
{
    switch (role_of(e)) {
    case ROLE_RELATION:
        return e->catalog == CLASS_RELATION && c->by->is_chosen(c->by->self, e->oid);
    case ROLE_ATTACHED:
        return belongs(c, e);
    case ROLE_NEEDED:
        break;
    }
    return false;
}

static bool keep_more(const struct choice *c, const struct script *script)
{
    bool any = false;

    for (unsigned i = 0; i < script->n_entries; i++) {
        const struct entry *e = &script->entries[i];

        if (*kept_of(c, e) || !is_to_be_kept(c, e))
            continue;
        keep(c, e);
        any = true;
    }
    return any;
}

/* ---- publications ---- */

static void tell(const struct choice *c, const struct entry *e, const char *reason)
{
    for (unsigned i = 0; i < e->n_statements; i++)
        left_out_tell(c->by->left_out, e->statements[i], reason);
}

/* On the target "all tables" would be those of others, too, and what a schema holds is nobody's choice. */
static void tell_member(const struct choice *c, const struct entry *e)
{
    const struct entry *publication = schema_publication_of(c->schema, e);
    bool is_of_schema = strcmp(e->type, "PUBLICATION TABLE") != 0;

    if (publication == NULL || *kept_of(c, e))
        return;
    if (is_of_schema && !*kept_of(c, publication))
        tell(c, publication, "it is of whole schemas, and only some tables are selected");
    if (is_of_schema)
        tell(c, e, "it publishes a whole schema, and only some tables are selected");
    else if (*kept_of(c, publication))
        tell(c, e, "the table is not selected");
}

static void tell_publications(const struct choice *c)
{
    const struct script *post = &c->schema->post;

    for (unsigned i = 0; i < post->n_entries; i++) {
        const struct entry *e = &post->entries[i];

        if (e->kind == ENTRY_PUBLICATION_MEMBER)
            tell_member(c, e);
        else if (e->kind == ENTRY_PUBLICATION && e->n_statements > 0 &&
                 strstr(e->statements[0], " FOR ALL TABLES") != NULL)
            tell(c, e, "it publishes all tables, and only some are selected");
    }
}

void schema_select(struct schema *schema, const struct schema_choice *choice)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "selected structure");
    struct choice c = {
        .schema = schema,
        .by = choice,
        .kept_pre = arena_alloc(scratch, (schema->pre.n_entries + 1UL) * sizeof(bool)),
        .kept_post = arena_alloc(scratch, (schema->post.n_entries + 1UL) * sizeof(bool)),
    };
    bool goes_on = true;

    /* What belongs to something that only came by need is found in the next round: a few are enough for all. */
    while (goes_on) {
        goes_on = keep_more(&c, &schema->pre);
        goes_on = keep_more(&c, &schema->post) || goes_on;
    }
    tell_publications(&c);
    script_keep(&schema->pre, c.kept_pre);
    script_keep(&schema->post, c.kept_post);
}
