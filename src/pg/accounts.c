#include "pg/accounts.h"

#include <strings.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/secret.h"
#include "pg/cells.h"
#include "pg/schema_roles.h"
#include "pg/sql.h"

enum { MEMBERSHIP_OPTIONS_SINCE = 160000, CREATES_LIKE_ITSELF_SINCE = 160000 };

enum role_cell {
    ROLE_NAME,
    ROLE_SUPERUSER,
    ROLE_REPLICATION,
    ROLE_BYPASSRLS,
    ROLE_LOGIN,
    ROLE_CREATEDB,
    ROLE_ATTRIBUTES,
};

enum statement_cell {
    STATEMENT_TEXT,
    STATEMENT_ROLE,
    STATEMENT_GROUP,
};

/* ---- who comes along ---- */

/*
 * Roles that managed services make for themselves: a name in whole, or (…*) all that begin so, where the service lets nobody else use such
 * names. A user's own "azure_app" is none of them.
 */
static const struct {
    const char *name;
    const char *provider;
} reserved[] = {
    {"rds_*", "Amazon RDS"},
    {"rdsadmin", "Amazon RDS"},
    {"rdsrepladmin", "Amazon RDS"},
    {"rdstopmgr", "Amazon RDS"},
    {"rdsproxyadmin", "Amazon RDS"},
    {"rdswriteforwarduser", "Amazon RDS"},
    {"cloudsql*", "Google Cloud SQL"},
    {"alloydbadmin", "Google AlloyDB"},
    {"alloydbsuperuser", "Google AlloyDB"},
    {"alloydbagent", "Google AlloyDB"},
    {"alloydbreplica", "Google AlloyDB"},
    {"alloydbmetadata", "Google AlloyDB"},
    {"alloydbimportexport", "Google AlloyDB"},
    {"alloydbiamuser", "Google AlloyDB"},
    {"alloydbiamgroupuser", "Google AlloyDB"},
    {"azure_pg_admin", "Azure Database"},
    {"azure_superuser", "Azure Database"},
    {"azuresu", "Azure Database"},
    {"root", "Huawei Cloud RDS"},
    {"rdsmetric", "Huawei Cloud RDS"},
    {"rdsbackup", "Huawei Cloud RDS"},
    {"rdsrepl", "Huawei Cloud RDS"},
    {"rdsproxy", "Huawei Cloud RDS"},
    {"avnadmin", "Aiven"},
    {"_aiven", "Aiven"},
    {"supabase_*", "Supabase"},
    {"doadmin", "DigitalOcean"},
    {"_dodb", "DigitalOcean"},
};

static bool is_named(const char *role, const char *name)
{
    size_t length = strcspn(name, "*");

    return strncasecmp(role, name, length) == 0 && (name[length] == '*' || role[length] == '\0');
}

static const char *provider_of(const char *role)
{
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (is_named(role, reserved[i].name))
            return reserved[i].provider;
    return NULL;
}

/* What the target's user may do. */
struct creator {
    struct role_list roles;
    bool may_create;
    bool may_give_createdb;
    bool can_read_passwords; /* on the source */
};

static const char *why_not(struct arena *a, const struct creator *by, char *const *cell)
{
    const char *provider = provider_of(cell[ROLE_NAME]);

    if (strncmp(cell[ROLE_NAME], "pg_", 3) == 0)
        return "a system role of PostgreSQL";
    if (role_find(&by->roles, cell[ROLE_NAME]) != NULL)
        return "exists on the target, where it is left as it is";
    if (provider != NULL)
        return arena_printf(a, "reserved by %s", provider);
    return cell_bool(cell[ROLE_SUPERUSER]) ? "a superuser: rights over the whole server are raised on no target" : NULL;
}

static const char *join(struct arena *a, const char *list, const char *item)
{
    return list == NULL ? item : arena_printf(a, "%s, %s", list, item);
}

static struct account account_of(struct arena *a, const struct creator *by, char *const *cell)
{
    bool logs_in = cell_bool(cell[ROLE_LOGIN]), wants_createdb = cell_bool(cell[ROLE_CREATEDB]);
    struct account x = {.name = cell[ROLE_NAME], .remark = why_not(a, by, cell)};

    x.is_carried = x.remark == NULL;
    if (!x.is_carried)
        return x;
    x.has_password = logs_in && by->can_read_passwords;
    x.loses_login = logs_in && !by->can_read_passwords;
    if (cell_bool(cell[ROLE_REPLICATION]))
        x.remark = join(a, x.remark, "comes without REPLICATION");
    if (cell_bool(cell[ROLE_BYPASSRLS]))
        x.remark = join(a, x.remark, "comes without BYPASSRLS");
    if (wants_createdb && !by->may_give_createdb)
        x.remark = join(a, x.remark, "comes without CREATEDB, which the target's user may not give");
    if (x.loses_login)
        x.remark = join(a, x.remark, "its password cannot be read: comes without LOGIN");
    x.attributes = arena_printf(a, "%s %s %s", cell[ROLE_ATTRIBUTES],
                                wants_createdb && by->may_give_createdb ? "CREATEDB" : "NOCREATEDB",
                                logs_in && !x.loses_login ? "LOGIN" : "NOLOGIN");
    return x;
}

MUST_USE static struct error *creator_read(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                           struct creator *out)
{
    struct pg_rows user;
    char *can_read = NULL;

    TRY(schema_roles_read(target, a, &out->roles));
    TRY(pg_query(
        target, a, "reading what the user may do",
        "SELECT rolsuper::text, rolcreatedb::text, rolcreaterole::text FROM pg_roles WHERE rolname = current_user",
        NULL, 0, &user));
    TRY(pg_query_text(source, a, "asking whether passwords can be read",
                      "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')::text", NULL, 0, &can_read));
    bool is_superuser = user.n_rows > 0 && cell_bool(user.rows[0][0]);
    out->may_create = is_superuser || (user.n_rows > 0 && cell_bool(user.rows[0][2]));
    out->may_give_createdb = is_superuser || pg_conn_version(target) < CREATES_LIKE_ITSELF_SINCE ||
                             (user.n_rows > 0 && cell_bool(user.rows[0][1]));
    out->can_read_passwords = cell_bool(can_read);
    return NULL;
}

static int by_name(const void *left, const void *right)
{
    const struct account *l = left, *r = right;

    return strcmp(l->name, r->name);
}

const struct account *account_find(const struct account_list *l, const char *name)
{
    const struct account wanted = {.name = name};

    return l->n == 0 ? NULL : bsearch(&wanted, l->accounts, l->n, sizeof wanted, by_name);
}

/*
 * Roles of the target whose members can raise themselves, by SET ROLE, to what is raised on no target. Read before any membership is
 * made: as none of them takes a member, the roles that are made do not become such.
 */
MUST_USE static struct error *mighty_read(struct pg_conn *target, struct arena *a, struct pg_rows *out)
{
    return pg_query(
        target, a, "reading the roles with rights over the whole server",
        "SELECT g.rolname FROM pg_roles g WHERE EXISTS (SELECT FROM pg_roles m WHERE (m.rolsuper OR "
        "m.rolreplication OR m.rolbypassrls) AND (m.oid = g.oid OR NOT g.rolsuper AND pg_has_role(g.oid, m.oid, "
        "'MEMBER')))",
        NULL, 0, out);
}

/* NULL: the membership may be made. `list`: roles that are about to be made; NULL when they are there. */
static const char *why_no_member(const struct role_list *roles, const struct pg_rows *mighty,
                                 const struct account_list *list, const char *group)
{
    const struct account *made = list == NULL ? NULL : account_find(list, group);

    if (made != NULL && made->is_carried)
        return NULL;
    if (role_find(roles, group) == NULL)
        return "it does not exist on the target";
    for (unsigned r = 0; r < mighty->n_rows; r++)
        if (strcmp(mighty->rows[r][0], group) == 0)
            return "its members have rights over the whole server there, which are raised on no target";
    return NULL;
}

/* What a role is on the source and will not be on the target belongs to what is said about it beforehand. */
MUST_USE static struct error *note_memberships(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                               const struct creator *by, struct account_list *list)
{
    struct pg_rows mighty, members;

    TRY(mighty_read(target, a, &mighty));
    TRY(pg_query(source, a, "reading memberships of roles",
                 "SELECT DISTINCT m.rolname::text COLLATE \"C\", g.rolname::text COLLATE \"C\" FROM pg_auth_members a "
                 "JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid ORDER BY 1, 2",
                 NULL, 0, &members));
    for (unsigned r = 0; r < members.n_rows; r++) {
        const char *group = members.rows[r][1];
        const struct account *found = account_find(list, members.rows[r][0]);
        const char *reason = why_no_member(&by->roles, &mighty, list, group);

        if (found == NULL || !found->is_carried || reason == NULL)
            continue;
        struct account *x = &list->accounts[found - list->accounts];
        x->remark = join(a, x->remark, arena_printf(a, "is made no member of \"%s\": %s", group, reason));
    }
    return NULL;
}

struct error *accounts_read(struct pg_conn *source, struct pg_conn *target, struct arena *a, struct account_list *out)
{
    struct creator by;
    struct pg_rows rows;

    TRY(creator_read(source, target, a, &by));
    TRY(pg_query(source, a, "reading the roles", sql_accounts, NULL, 0, &rows));
    struct account *accounts = arena_alloc(a, (rows.n_rows + 1U) * sizeof *accounts);
    struct account_list list = {.n = rows.n_rows, .accounts = accounts, .may_create = by.may_create};
    for (unsigned r = 0; r < rows.n_rows; r++) {
        accounts[r] = account_of(a, &by, rows.rows[r]);
        list.n_carried += accounts[r].is_carried;
        list.n_without_login += accounts[r].loses_login;
    }
    TRY(note_memberships(source, target, a, &by, &list));
    *out = list;
    return NULL;
}

/* ---- making them ---- */

/* Under a savepoint: what the user may not do is left out, and the transaction goes on. */
MUST_USE static struct error *try_statement(struct pg_conn *target, const char *statement, const char *shown)
{
    TRY(pg_execute(target, "a savepoint", "SAVEPOINT pgtide"));
    struct error *err = pg_execute(target, "making a role", statement);
    if (err == NULL)
        return pg_execute(target, "a savepoint", "RELEASE pgtide");
    if (error_kind(err) != ERROR_CONFIG || pg_conn_is_broken(target))
        return err;
    log_warn("left out \"%s\": %s", shown, error_message(err));
    error_free(err);
    return pg_execute(target, "a savepoint", "ROLLBACK TO pgtide");
}

/* NULL: it has none. The arena is the caller's to wipe of it. */
MUST_USE static struct error *password_read(struct pg_conn *source, struct arena *a, const char *role,
                                            struct secret **out)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading the stored password of a role",
                 "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1", &role, 1, &rows));
    char *verifier = rows.n_rows == 0 ? NULL : rows.rows[0][0];
    if (verifier == NULL)
        return NULL;
    *out = secret_new(verifier);
    explicit_bzero(verifier, strlen(verifier));
    return NULL;
}

/* The statement holds the verifier only while it is sent. */
MUST_USE static struct error *give_password(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                            const struct account *x)
{
    CLEANUP(secret_free) struct secret *verifier = NULL;
    const char *name = pg_quote_identifier(a, x->name);

    TRY(password_read(source, a, x->name, &verifier));
    if (verifier == NULL)
        return NULL;
    char *literal = pg_quote_literal(a, secret_reveal(verifier));
    char *statement = arena_printf(a, "ALTER ROLE %s PASSWORD %s", name, literal);
    struct error *err = try_statement(target, statement, arena_printf(a, "ALTER ROLE %s PASSWORD …", name));
    explicit_bzero(literal, strlen(literal));
    explicit_bzero(statement, strlen(statement));
    return err;
}

/* Who is no superuser may give objects to a role only as its member. */
MUST_USE static struct error *make_role(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                        const struct account *x, bool by_superuser)
{
    const char *name = pg_quote_identifier(a, x->name);

    TRY(pg_execute_format(target, "making a role", "CREATE ROLE %s %s", name, x->attributes));
    if (x->has_password)
        TRY(give_password(source, target, a, x));
    if (!by_superuser) {
        const char *statement = arena_printf(a, "GRANT %s TO CURRENT_USER", name);

        TRY(try_statement(target, statement, statement));
    }
    log_info("made role \"%s\" on the target%s%s", x->name, x->remark == NULL ? "" : ": ",
             x->remark == NULL ? "" : x->remark);
    return NULL;
}

MUST_USE static struct error *make_all(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                       const struct account_list *list)
{
    const char *has_options = pg_conn_version(target) >= MEMBERSHIP_OPTIONS_SINCE ? "true" : "false";
    struct role_list roles;
    struct pg_rows statements, mighty;

    TRY(schema_roles_read(target, a, &roles));
    for (unsigned i = 0; i < list->n; i++)
        if (list->accounts[i].is_carried)
            TRY(make_role(source, target, a, &list->accounts[i], roles.user_is_superuser));
    FAULT_POINT("accounts.made");
    TRY(schema_roles_read(target, a, &roles));
    TRY(mighty_read(target, a, &mighty));
    TRY(pg_query(source, a, "reading memberships and settings of roles", sql_account_statements, &has_options, 1,
                 &statements));
    for (unsigned r = 0; r < statements.n_rows; r++) {
        char **cell = statements.rows[r];
        const struct account *x = account_find(list, cell[STATEMENT_ROLE]);

        if (x == NULL || !x->is_carried)
            continue;
        const char *reason =
            cell[STATEMENT_GROUP] == NULL ? NULL : why_no_member(&roles, &mighty, NULL, cell[STATEMENT_GROUP]);

        if (reason != NULL)
            log_warn("left out \"%s\": role \"%s\": %s", cell[STATEMENT_TEXT], cell[STATEMENT_GROUP], reason);
        else
            TRY(try_statement(target, cell[STATEMENT_TEXT], cell[STATEMENT_TEXT]));
    }
    return NULL;
}

struct error *accounts_carry(struct pg_conn *source, struct pg_conn *target, unsigned *out_n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "accounts");
    struct account_list list;

    TRY(accounts_read(source, target, scratch, &list));
    *out_n = list.n_carried;
    if (list.n_carried == 0)
        return NULL;
    TRY(pg_execute(target, "beginning a transaction", "BEGIN"));
    struct error *err = make_all(source, target, scratch, &list);
    if (err == NULL)
        return pg_execute(target, "committing the roles", "COMMIT");
    if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, "giving the roles up", "ROLLBACK")); /* the first error says why */
    return error_wrap(err, "making roles on the target");
}
