#include "pg/schema_roles.h"

#include "pg/cells.h"
#include "pg/schema_script.h"

static int by_name(const void *left, const void *right)
{
    const struct role *l = left, *r = right;

    return strcmp(l->name, r->name);
}

const struct role *role_find(const struct role_list *l, const char *name)
{
    struct role wanted = {.name = name};

    return l->n == 0 ? NULL : bsearch(&wanted, l->roles, l->n, sizeof wanted, by_name);
}

struct error *schema_roles_read(struct pg_conn *target, struct arena *a, struct role_list *out)
{
    /* Since 16 membership alone does not allow SET ROLE, and so not OWNER TO either. */
    const char *right = pg_conn_version(target) >= 160000 ? "SET" : "MEMBER";
    struct pg_rows answer;

    TRY(pg_query(target, a, "reading the roles",
                 "SELECT r.rolname, pg_has_role(current_user, r.oid, $1)::text, me.rolsuper::text, "
                 "(me.rolsuper OR NOT r.rolsuper AND (x.is_admin OR x.makes_all))::text, "
                 "(me.rolsuper OR NOT r.rolsuper AND (r.oid = me.oid OR x.is_admin AND me.rolcreaterole OR "
                 "x.makes_all))::text FROM pg_roles r, pg_roles me, LATERAL (SELECT pg_has_role(current_user, r.oid, "
                 "'MEMBER WITH ADMIN OPTION'), me.rolcreaterole AND current_setting('server_version_num')::int < "
                 "160000) AS x(is_admin, makes_all) WHERE me.rolname = current_user",
                 &right, 1, &answer));
    struct role *roles = arena_alloc(a, (answer.n_rows + 1U) * sizeof *roles);
    for (unsigned r = 0; r < answer.n_rows; r++)
        roles[r] = (struct role){.name = answer.rows[r][0],
                                 .is_ours = cell_bool(answer.rows[r][1]),
                                 .may_be_granted = cell_bool(answer.rows[r][3]),
                                 .may_be_altered = cell_bool(answer.rows[r][4])};
    qsort(roles, answer.n_rows, sizeof *roles, by_name);
    *out = (struct role_list){
        .n = answer.n_rows,
        .roles = roles,
        .user_is_superuser = answer.n_rows > 0 && cell_bool(answer.rows[0][2]),
    };
    return NULL;
}

static bool is_word(const struct token *t, const char *word)
{
    return t->kind == TOKEN_WORD && strcmp(t->text, word) == 0;
}

static bool is_symbol(const struct token *t, char c)
{
    return t->kind == TOKEN_SYMBOL && t->text[0] == c;
}

static bool begins(const struct token *tokens, const char *const *words)
{
    for (unsigned i = 0; words[i] != NULL; i++)
        if (!is_word(&tokens[i], words[i])) /* the end is no word */
            return false;
    return true;
}

#define BEGINS(tokens, ...) begins((tokens), (const char *const[]){__VA_ARGS__, NULL})

static const char *missing(const struct role_list *l, struct arena *a, const struct token *role)
{
    if (is_word(role, "public") || role_find(l, role->text) != NULL)
        return NULL;
    return arena_printf(a, "role \"%s\" does not exist on the target", role->text);
}

/* A list of roles from `at` on: "bob, \"Al\"" up to what is no role. */
static const char *missing_in_list(const struct role_list *l, struct arena *a, const struct token *at)
{
    for (;; at += 2) {
        if (is_word(at, "group"))
            at++;
        if (at->kind != TOKEN_WORD && at->kind != TOKEN_IDENTIFIER)
            return NULL;
        const char *reason = missing(l, a, at);
        if (reason != NULL || !is_symbol(&at[1], ','))
            return reason;
    }
}

/*
 * The token after the last such word that stands in no parentheses; NULL when there is none. Both words are reserved.
 */
static const struct token *after_last(const struct token *tokens, unsigned n, const char *one, const char *other)
{
    const struct token *found = NULL;
    unsigned depth = 0;

    for (unsigned i = 0; i < n; i++) {
        depth += is_symbol(&tokens[i], '(');
        depth -= depth > 0 && is_symbol(&tokens[i], ')');
        if (depth == 0 && (is_word(&tokens[i], one) || is_word(&tokens[i], other)))
            found = &tokens[i + 1];
    }
    return found;
}

/* ALTER … OWNER TO role; */
static const char *owner_reason(const struct role_list *l, struct arena *a, const struct token *tokens, unsigned n)
{
    if (n < 5 || !is_word(&tokens[n - 4], "owner") || !is_word(&tokens[n - 3], "to"))
        return NULL;
    const struct token *owner = &tokens[n - 2];
    const char *reason = missing(l, a, owner);
    if (reason != NULL || l->user_is_superuser)
        return reason;
    const struct role *role = role_find(l, owner->text);
    if (role == NULL || role->is_ours)
        return NULL;
    return arena_printf(a, "we may not give it to role \"%s\" on the target", owner->text);
}

static const char *grant_reason(const struct role_list *l, struct arena *a, const struct token *tokens, unsigned n)
{
    const struct token *list = after_last(tokens, n, "to", "from");

    return list == NULL ? NULL : missing_in_list(l, a, list);
}

/* ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA s GRANT SELECT ON TABLES TO al; */
static const char *default_privileges_reason(const struct role_list *l, struct arena *a, const struct token *tokens,
                                             unsigned n)
{
    const struct token *for_role = &tokens[3];
    const char *reason = NULL;

    if (is_word(for_role, "for"))
        reason = missing_in_list(l, a, for_role + 2);
    if (reason == NULL && is_word(for_role, "for") && !l->user_is_superuser) {
        const struct role *role = role_find(l, for_role[2].text);

        if (role != NULL && !role->is_ours)
            reason = arena_printf(a, "we may not act for role \"%s\" on the target", role->name);
    }
    return reason != NULL ? reason : grant_reason(l, a, tokens, n);
}

/* CREATE POLICY p ON t FOR SELECT TO bob USING (…); */
static const char *policy_reason(const struct role_list *l, struct arena *a, const struct token *tokens, unsigned n)
{
    const struct token *list = after_last(tokens, n, "to", "to");

    return list == NULL ? NULL : missing_in_list(l, a, list);
}

static const char *session_reason(struct role_filter *f, struct arena *a, const struct token *role)
{
    const char *reason = missing(f->roles, a, role);

    f->is_skipping = reason != NULL;
    if (reason == NULL && !f->roles->user_is_superuser)
        reason = "only a superuser can grant in the name of another role";
    return reason;
}

const char *role_filter_reason(struct role_filter *f, struct arena *a, const char *statement)
{
    unsigned n;
    const struct token *tokens = statement_tokens(a, statement, &n);

    if (BEGINS(tokens, "reset", "session", "authorization")) {
        bool was_skipping = f->is_skipping;
        f->is_skipping = false;
        return was_skipping ? "what it belongs to was left out" : NULL;
    }
    if (f->is_skipping)
        return "it is granted by a role that does not exist on the target";
    if (BEGINS(tokens, "set", "session", "authorization"))
        return session_reason(f, a, &tokens[3]);
    if (BEGINS(tokens, "alter", "default", "privileges"))
        return default_privileges_reason(f->roles, a, tokens, n);
    if (BEGINS(tokens, "alter"))
        return owner_reason(f->roles, a, tokens, n);
    if (BEGINS(tokens, "grant") || BEGINS(tokens, "revoke"))
        return grant_reason(f->roles, a, tokens, n);
    if (BEGINS(tokens, "create", "policy"))
        return policy_reason(f->roles, a, tokens, n);
    if (BEGINS(tokens, "create", "user", "mapping", "for"))
        return missing(f->roles, a, &tokens[4]);
    if (BEGINS(tokens, "comment", "on", "extension") && !f->roles->user_is_superuser)
        return "comments on extensions need their owner";
    return NULL;
}
