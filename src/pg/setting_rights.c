#include "pg/setting_rights.h"

#include <ctype.h>
#include <string.h>

#include "pg/cells.h"

enum { PARAMETER_RIGHTS_SINCE = 150000, SETTING_MAX = 256 };

struct error *setting_rights_read(struct pg_conn *target, struct arena *a, struct setting_rights *out)
{
    bool has_grants = pg_conn_version(target) >= PARAMETER_RIGHTS_SINCE;
    char *is_superuser = NULL;

    TRY(pg_query_text(target, a, "reading what the user may do",
                      "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user", NULL, 0, &is_superuser));
    out->is_superuser = cell_bool(is_superuser);
    /* Two are not shown. What a server does not know may have been granted all the same. */
    return pg_query(target, a, "reading which settings the user may set",
                    arena_printf(a,
                                 "SELECT x.name, bool_or(x.may)::text FROM (SELECT lower(name), context IN ('user', "
                                 "'backend')%s FROM pg_settings UNION ALL VALUES ('role', true), "
                                 "('session_authorization', true)%s) AS x(name, may) GROUP BY x.name ORDER BY x.name "
                                 "COLLATE \"C\"",
                                 has_grants ? " OR has_parameter_privilege(name, 'SET')" : "",
                                 has_grants ? " UNION ALL SELECT parname, has_parameter_privilege(parname, 'SET') "
                                              "FROM pg_parameter_acl"
                                            : ""),
                    NULL, 0, &out->rows);
}

static int compare_name(const void *key, const void *member)
{
    char *const *row = *(char **const *)member;

    return strcmp(key, row[0]);
}

const char *setting_refusal(const struct setting_rights *r, const char *setting)
{
    char name[SETTING_MAX];
    size_t length = 0;

    for (; length < sizeof name - 1 && setting[length] != '\0'; length++)
        name[length] = (char)tolower((unsigned char)setting[length]);
    name[length] = '\0';
    char **const *found = r->rows.n_rows == 0 ? NULL
                                              : bsearch(name, (const void *)r->rows.rows, r->rows.n_rows,
                                                        sizeof *r->rows.rows, compare_name);

    if (found == NULL && strchr(name, '.') == NULL)
        return "the target knows no such setting, or does not show it to its user";
    if (r->is_superuser || (found != NULL && cell_bool((*found)[1])))
        return NULL;
    return found == NULL ? "the target does not know it, so only a superuser or who was granted SET on it may set it"
                         : "only a superuser or who was granted SET on it may set it";
}
