#include "pg/account_reader.h"

#include <string.h>

#include "pg/sql.h"

enum { MEMBERSHIP_OPTIONS_SINCE = 160000 };

static bool knows_options(const struct pg_conn *c)
{
    return pg_conn_version(c) >= MEMBERSHIP_OPTIONS_SINCE;
}

struct error *accounts_of(struct pg_conn *server, const struct pg_conn *other, struct arena *a,
                          enum account_order order, struct pg_rows *out)
{
    const char *params[] = {
        knows_options(server) && knows_options(other) ? "true" : "false",
        order == ACCOUNTS_TO_MAKE ? "true" : "false",
    };

    return pg_query(server, a, "reading the roles", sql_accounts, params, COUNT_OF(params), out);
}

bool account_is_systems(const char *role)
{
    return strncmp(role, "pg_", 3) == 0;
}
