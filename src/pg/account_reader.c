#include "pg/account_reader.h"

#include <string.h>

#include "pg/sql.h"

enum { PARAMETER_RIGHTS_SINCE = 150000, MEMBERSHIP_OPTIONS_SINCE = 160000 };

static bool knows_options(const struct pg_conn *c)
{
    return pg_conn_version(c) >= MEMBERSHIP_OPTIONS_SINCE;
}

/* As rows of accounts.sql. A right that everybody has belongs to no role; nothing makes it on a server that others use, too. */
static const char parameter_rights[] =
    "WITH given AS (SELECT r.rolname, p.parname, g.privilege_type AS what, bool_or(g.is_grantable) AS on_by"
    "                 FROM pg_catalog.pg_parameter_acl p"
    "                CROSS JOIN aclexplode(p.paracl) g"
    "                 LEFT JOIN pg_roles r ON r.oid = g.grantee"
    "                WHERE g.grantee <> 10" /* whoever made the server may do everything anyway */
    "                GROUP BY 1, 2, 3)"
    "SELECT 'parameter', format('%s on %s', coalesce(quote_ident(rolname), 'public'), parname) AS identity,"
    "       string_agg(what || CASE WHEN on_by THEN ' with grant option' ELSE '' END, ', ' ORDER BY what),"
    "       rolname::text,"
    "       string_agg('GRANT ' || what || ' ON PARAMETER ' || parname || ' TO ' || quote_ident(rolname) ||"
    "                  CASE WHEN on_by THEN ' WITH GRANT OPTION' ELSE '' END, '; ' ORDER BY what),"
    "       parname, NULL, NULL, NULL, NULL, NULL, NULL"
    "  FROM given"
    " GROUP BY rolname, parname"
    " ORDER BY CASE WHEN $1::boolean THEN rolname::text END COLLATE \"C\","
    "          format('%s on %s', coalesce(quote_ident(rolname), 'public'), parname) COLLATE \"C\"";

/* Behind the rows of kinds that come before it. */
static void insert(struct arena *a, struct pg_rows *all, const struct pg_rows *more)
{
    char ***rows = arena_alloc(a, (all->n_rows + more->n_rows + 1U) * sizeof *rows);
    unsigned i = 0, n = 0;

    for (; i < all->n_rows && strcmp(all->rows[i][ACCOUNT_KIND], "parameter") < 0; i++)
        rows[n++] = all->rows[i];
    for (unsigned k = 0; k < more->n_rows; k++)
        rows[n++] = more->rows[k];
    for (; i < all->n_rows; i++)
        rows[n++] = all->rows[i];
    all->rows = rows;
    all->n_rows = n;
}

struct error *accounts_of(struct pg_conn *server, const struct pg_conn *other, struct arena *a,
                          enum account_order order, struct pg_rows *out)
{
    const char *params[] = {
        knows_options(server) && knows_options(other) ? "true" : "false",
        order == ACCOUNTS_TO_MAKE ? "true" : "false",
    };
    struct pg_rows rights;

    TRY(pg_query(server, a, "reading the roles", sql_accounts, params, COUNT_OF(params), out));
    if (pg_conn_version(server) < PARAMETER_RIGHTS_SINCE || pg_conn_version(other) < PARAMETER_RIGHTS_SINCE)
        return NULL;
    TRY(pg_query(server, a, "reading rights on parameters", parameter_rights, &params[1], 1, &rights));
    insert(a, out, &rights);
    return NULL;
}

bool account_is_systems(const char *role)
{
    return strncmp(role, "pg_", 3) == 0;
}
