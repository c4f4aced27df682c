#include "pg/account_reader.h"

#include <string.h>

#include "pg/sql.h"

enum { PARAMETER_RIGHTS_SINCE = 150000, MEMBERSHIP_OPTIONS_SINCE = 160000 };

static bool knows_options(const struct pg_conn *c)
{
    return pg_conn_version(c) >= MEMBERSHIP_OPTIONS_SINCE;
}

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
    TRY(pg_query(server, a, "reading rights on parameters", sql_accounts_parameters, &params[1], 1, &rights));
    insert(a, out, &rights);
    return NULL;
}

bool account_is_systems(const char *role)
{
    return strncmp(role, "pg_", 3) == 0;
}
