#include "pg/accounts.h"

#include <strings.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/secret.h"
#include "pg/account_reader.h"
#include "pg/cells.h"
#include "pg/schema_roles.h"
#include "pg/setting_rights.h"

enum { CREATES_LIKE_ITSELF_SINCE = 160000 };

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
    struct setting_rights settings;
    bool may_create;
    bool may_give_createdb;
    bool can_read_passwords; /* on the source */
};

static const char *why_not(struct arena *a, const struct creator *by, char *const *cell)
{
    const char *provider = provider_of(cell[ACCOUNT_ROLE]);

    if (account_is_systems(cell[ACCOUNT_ROLE]))
        return "a system role of PostgreSQL";
    if (role_find(&by->roles, cell[ACCOUNT_ROLE]) != NULL)
        return "exists on the target, where it is left as it is";
    if (provider != NULL)
        return arena_printf(a, "reserved by %s", provider);
    return cell_bool(cell[ACCOUNT_SUPERUSER]) ? "a superuser: rights over the whole server are raised on no target"
                                              : NULL;
}

static const char *join(struct arena *a, const char *list, const char *item)
{
    return list == NULL ? item : arena_printf(a, "%s, %s", list, item);
}

static struct account account_of(struct arena *a, const struct creator *by, char *const *cell)
{
    bool logs_in = cell_bool(cell[ACCOUNT_LOGIN]), wants_createdb = cell_bool(cell[ACCOUNT_CREATEDB]);
    struct account x = {.name = cell[ACCOUNT_ROLE], .remark = why_not(a, by, cell)};

    x.is_carried = x.remark == NULL;
    if (!x.is_carried)
        return x;
    x.has_password = logs_in && by->can_read_passwords;
    x.loses_login = logs_in && !by->can_read_passwords;
    if (cell_bool(cell[ACCOUNT_REPLICATION]))
        x.remark = join(a, x.remark, "comes without REPLICATION");
    if (cell_bool(cell[ACCOUNT_BYPASSRLS]))
        x.remark = join(a, x.remark, "comes without BYPASSRLS");
    if (wants_createdb && !by->may_give_createdb)
        x.remark = join(a, x.remark, "comes without CREATEDB, which the target's user may not give");
    if (x.loses_login)
        x.remark = join(a, x.remark, "its password cannot be read: comes without LOGIN");
    x.attributes = arena_printf(a, "%s %s %s", cell[ACCOUNT_ATTRIBUTES],
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
    TRY(setting_rights_read(target, a, &out->settings));
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

/* NULL: the membership may be made. */
static const char *why_no_member(const struct creator *by, const struct pg_rows *mighty,
                                 const struct account_list *list, const char *group)
{
    const struct account *made = account_find(list, group);

    if (made != NULL && made->is_carried)
        return NULL;
    const struct role *there = role_find(&by->roles, group);
    if (there == NULL)
        return "it does not exist on the target";
    for (unsigned r = 0; r < mighty->n_rows; r++)
        if (strcmp(mighty->rows[r][0], group) == 0)
            return "its members have rights over the whole server there, which are raised on no target";
    return there->may_be_granted ? NULL : "the target's user may not grant it (it needs ADMIN OPTION)";
}

/* What a role is on the source and will not be on the target belongs to what is said about it beforehand. */
static void judge_statement(struct arena *a, const struct creator *by, const struct pg_rows *mighty, char *const *cell,
                            struct account_list *list)
{
    const struct account *found = cell[ACCOUNT_ROLE] == NULL ? NULL : account_find(list, cell[ACCOUNT_ROLE]);
    const char *subject = cell[ACCOUNT_SUBJECT], *reason = NULL, *what = "";

    if (found == NULL || !found->is_carried || cell[ACCOUNT_STATEMENT] == NULL)
        return;
    struct account *x = &list->accounts[found - list->accounts];
    if (strcmp(cell[ACCOUNT_KIND], "membership") == 0) {
        reason = why_no_member(by, mighty, list, subject);
        what = "is made no member of";
    } else if (strcmp(cell[ACCOUNT_KIND], "setting") == 0) {
        reason = setting_refusal(&by->settings, subject);
        what = "comes without the setting";
    } else if (strcmp(cell[ACCOUNT_KIND], "parameter") == 0) {
        reason = by->roles.user_is_superuser ? NULL : "only a superuser may give that right";
        what = "comes without the right to set";
    }
    if (reason != NULL)
        x->remark = join(a, x->remark, arena_printf(a, "%s \"%s\": %s", what, subject, reason));
    list->statements[list->n_statements++] =
        (struct account_statement){.text = cell[ACCOUNT_STATEMENT], .left_out = reason};
}

MUST_USE static struct error *judge_statements(struct pg_conn *target, struct arena *a, const struct creator *by,
                                               const struct pg_rows *rows, struct account_list *list)
{
    struct pg_rows mighty;

    TRY(mighty_read(target, a, &mighty));
    list->statements = arena_alloc(a, (rows->n_rows + 1U) * sizeof *list->statements);
    for (unsigned r = 0; r < rows->n_rows; r++)
        judge_statement(a, by, &mighty, rows->rows[r], list);
    return NULL;
}

struct error *accounts_read(struct pg_conn *source, struct pg_conn *target, struct arena *a, struct account_list *out)
{
    struct creator by;
    struct pg_rows rows;

    TRY(creator_read(source, target, a, &by));
    TRY(accounts_of(source, target, a, ACCOUNTS_TO_MAKE, &rows));
    struct account_list list = {
        .accounts = arena_alloc(a, (rows.n_rows + 1U) * sizeof *list.accounts),
        .may_create = by.may_create,
    };
    for (unsigned r = 0; r < rows.n_rows; r++) {
        if (strcmp(rows.rows[r][ACCOUNT_KIND], "role") != 0)
            continue;
        struct account *x = &list.accounts[list.n++];
        *x = account_of(a, &by, rows.rows[r]);
        list.n_carried += x->is_carried;
        list.n_without_login += x->loses_login;
    }
    TRY(judge_statements(target, a, &by, &rows, &list));
    *out = list;
    return NULL;
}

/* ---- making them ---- */

/* Under a savepoint: what the user may not do is left out, and the transaction goes on. */
MUST_USE static struct error *try_statement(struct pg_conn *target, const char *statement, const char *shown,
                                            struct left_out *left_out)
{
    TRY(pg_execute(target, "a savepoint", "SAVEPOINT pgtide"));
    struct error *err = pg_execute(target, "making a role", statement);
    if (err == NULL)
        return pg_execute(target, "a savepoint", "RELEASE pgtide");
    if (error_kind(err) != ERROR_CONFIG || pg_conn_is_broken(target))
        return err;
    left_out_tell(left_out, shown, error_message(err));
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
                                            const struct account *x, struct left_out *left_out)
{
    CLEANUP(secret_free) struct secret *verifier = NULL;
    const char *name = pg_quote_identifier(a, x->name);

    TRY(password_read(source, a, x->name, &verifier));
    if (verifier == NULL)
        return NULL;
    char *literal = pg_quote_literal(a, secret_reveal(verifier));
    char *statement = arena_printf(a, "ALTER ROLE %s PASSWORD %s", name, literal);
    struct error *err = try_statement(target, statement, arena_printf(a, "ALTER ROLE %s PASSWORD …", name), left_out);
    explicit_bzero(literal, strlen(literal));
    explicit_bzero(statement, strlen(statement));
    return err;
}

/* Who is no superuser may give objects to a role only as its member. */
MUST_USE static struct error *make_role(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                        const struct account *x, bool by_superuser, struct left_out *left_out)
{
    const char *name = pg_quote_identifier(a, x->name);

    TRY(pg_execute_format(target, "making a role", "CREATE ROLE %s %s", name, x->attributes));
    if (x->has_password)
        TRY(give_password(source, target, a, x, left_out));
    if (!by_superuser) {
        const char *statement = arena_printf(a, "GRANT %s TO CURRENT_USER", name);

        TRY(try_statement(target, statement, statement, left_out));
    }
    log_info("made role \"%s\" on the target%s%s", x->name, x->remark == NULL ? "" : ": ",
             x->remark == NULL ? "" : x->remark);
    return NULL;
}

MUST_USE static struct error *make_all(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                       const struct account_list *list, struct left_out *left_out)
{
    struct role_list roles;

    TRY(schema_roles_read(target, a, &roles));
    for (unsigned i = 0; i < list->n; i++)
        if (list->accounts[i].is_carried)
            TRY(make_role(source, target, a, &list->accounts[i], roles.user_is_superuser, left_out));
    FAULT_POINT("accounts.made");
    for (unsigned i = 0; i < list->n_statements; i++) {
        const struct account_statement *x = &list->statements[i];

        if (x->left_out != NULL)
            left_out_tell(left_out, x->text, x->left_out);
        else
            TRY(try_statement(target, x->text, x->text, left_out));
    }
    return NULL;
}

struct error *accounts_carry(struct pg_conn *source, struct pg_conn *target, struct left_out *left_out, unsigned *out_n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "accounts");
    struct account_list list;

    TRY(accounts_read(source, target, scratch, &list));
    *out_n = list.n_carried;
    if (list.n_carried == 0)
        return NULL;
    TRY(pg_execute(target, "beginning a transaction", "BEGIN"));
    struct error *err = make_all(source, target, scratch, &list, left_out);
    if (err == NULL)
        return pg_execute(target, "committing the roles", "COMMIT");
    if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, "giving the roles up", "ROLLBACK")); /* the first error says why */
    return error_wrap(err, "making roles on the target");
}
