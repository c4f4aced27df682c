#include "base/buffer.h"
#include "base/counted.h"
#include "pg/cells.h"
#include "pg/precheck_context.h"
#include "pg/schema.h"
#include "pg/schema_roles.h"
#include "pg/sql.h"

enum {
    OLDEST_MAJOR = 10,
    NEWEST_MAJOR = 18,
    SESSIONS_BESIDES = 6, /* control, guard, monitor and what reconnects before the old one is gone */
};

/* ---- reaching it ---- */

/* A session on a database that every server has, for one that is to be created. */
static struct error *connect_elsewhere(struct precheck *p, struct pg_connect_options options, struct pg_conn **out)
{
    static const char *const databases[] = {"postgres", "template1"};
    CLEANUP(error_free) struct error *first = NULL;

    for (size_t i = 0; i < COUNT_OF(databases); i++) {
        const struct pg_endpoint *other = pg_endpoint_with_database(p->a, p->options->target, databases[i]);
        struct error *err = pg_connect(other, options, out);

        if (err == NULL || error_kind(err) == ERROR_CANCELLED)
            return err;
        if (first == NULL)
            first = err;
        else
            error_free(err);
    }
    return TAKE(first);
}

static struct error *check_creating(struct precheck *p, struct check_item *item, const char *description)
{
    const char *database = pg_endpoint_database(p->options->target);
    char *may_create;

    TRY(pg_query_text(p->target, p->a, "reading the rights of the user",
                      "SELECT (rolcreatedb OR rolsuper)::text FROM pg_roles WHERE rolname = current_user", NULL, 0,
                      &may_create));
    if (cell_bool(may_create)) {
        if (item->result == CHECK_PASSED)
            item_is(p, item, CHECK_PASSED, "%s; database \"%s\" does not exist and will be created", description,
                    database);
        return NULL;
    }
    item_is(p, item, CHECK_FAILED, "database \"%s\" does not exist and user \"%s\" may not create it", database,
            pg_endpoint_user(p->options->target));
    item_fix(p, item, ON_TARGET,
             arena_printf(p->a, "CREATE DATABASE %s TEMPLATE template0;", pg_quote_identifier(p->a, database)));
    return NULL;
}

struct error *check_target_reachable(struct precheck *p, struct check_item *item)
{
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;
    struct pg_connect_options options = {.application_name = "pgtide check", .stop = p->options->stop};
    bool exists = false;

    TRY(pg_database_exists(p->options->target, p->options->stop, &exists));
    p->target_was_reached = true;
    if (exists)
        TRY(pg_connect(p->options->target, options, &c));
    else
        TRY(connect_elsewhere(p, options, &c));
    TRY(catalog_server(c, p->a, &p->target_facts));
    p->target_is_missing = !exists;
    p->target = TAKE(c);
    char *description;
    TRY(precheck_describe(p, p->target, &p->target_facts, &description));
    if (!exists)
        return check_creating(p, item, description);
    if (p->source != NULL && strcmp(p->source_facts.system_identifier, p->target_facts.system_identifier) == 0 &&
        p->source_facts.database_oid == p->target_facts.database_oid) {
        item_is(p, item, CHECK_FAILED, "source and target are the same database");
        return NULL;
    }
    if (item->result == CHECK_PASSED)
        item_is(p, item, CHECK_PASSED, "%s", description);
    return NULL;
}

/* ---- versions and programs ---- */

struct error *check_versions(struct precheck *p, struct check_item *item)
{
    int source = p->source_facts.version_number / 10000;
    int target = p->target_facts.version_number / 10000;

    if (source < OLDEST_MAJOR || target < OLDEST_MAJOR)
        item_is(p, item, CHECK_FAILED, "source %d and target %d: servers before %d are not supported", source, target,
                OLDEST_MAJOR);
    else if (target < source)
        item_is(p, item, CHECK_ALARM,
                "target %d is older than source %d: what only the newer one knows cannot be restored", target, source);
    else if (target > NEWEST_MAJOR)
        item_is(p, item, CHECK_ALARM, "source %d and target %d: versions after %d are not tested", source, target,
                NEWEST_MAJOR);
    else
        item_is(p, item, CHECK_PASSED, "source %s, target %s", p->source_facts.version, p->target_facts.version);
    return NULL;
}

struct error *check_pg_dump(struct precheck *p, struct check_item *item)
{
    struct schema_programs programs;

    if (!precheck_copies(p)) {
        item_is(p, item, CHECK_PASSED, "not needed: the structure is not copied");
        return NULL;
    }
    TRY(schema_find_programs(p->a, p->source_facts.version_number / 10000, p->options->stop, &programs));
    item_is(p, item, CHECK_PASSED, "\"%s\" is of version %d", programs.pg_dump, programs.major);
    return NULL;
}

/* ---- rights and settings ---- */

/* Superuser, or since 15 a right of its own; a provider's role may have it in another way, so it is simply tried. */
static struct error *may_replicate_role(struct precheck *p, bool *out)
{
    struct error *err = pg_execute(p->target, "trying session_replication_role",
                                   "BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK");

    *out = err == NULL;
    if (err == NULL)
        return NULL;
    if (error_kind(err) != ERROR_CONFIG)
        return err;
    error_free(err);
    return pg_execute(p->target, "ending a try", "ROLLBACK");
}

/* All that is missing at once: who has to ask somebody for rights asks once. */
struct error *check_target_privileges(struct precheck *p, struct check_item *item)
{
    const char *user = pg_quote_identifier(p->a, p->target_facts.user);
    CLEANUP(buffer_free) struct buffer *reason = buffer_new();
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    bool may_replicate = false;
    char *may_create;

    bool makes_tables = precheck_copies(p) && p->options->sync->if_not_empty == NOT_EMPTY_REFUSE;

    /* What acts on rows is made at the end then (worker/full), if it is we who make the tables. */
    TRY(may_replicate_role(p, &may_replicate));
    TRY(pg_query_text(p->target, p->a, "reading the rights on the database",
                      "SELECT has_database_privilege(current_database(), 'CREATE')::text", NULL, 0, &may_create));
    if (!may_replicate && !makes_tables) {
        buffer_append_text(reason,
                           "set session_replication_role, so that triggers and foreign keys would fire for what "
                           "was done on the source already");
        if (p->target_facts.version_number >= 150000)
            buffer_printf(fix, "GRANT SET ON PARAMETER session_replication_role TO %s;\n", user);
        else
            buffer_printf(fix, "ALTER ROLE %s SUPERUSER; -- before 15 there is no smaller right for it\n", user);
    }
    if (!cell_bool(may_create) && !p->target_is_missing) {
        buffer_printf(reason, "%screate schemas in the database", reason->length == 0 ? "" : "; nor ");
        buffer_printf(fix, "GRANT CREATE ON DATABASE %s TO %s;\n", pg_quote_identifier(p->a, p->target_facts.database),
                      user);
    }
    if (reason->length == 0) {
        item_is(p, item, CHECK_PASSED, "user \"%s\" has all rights it needs%s", p->target_facts.user,
                may_replicate
                    ? ""
                    : "; it may not set session_replication_role, so triggers, rules and foreign keys are made at "
                      "the end, by pgtide stop or cutover");
        return NULL;
    }
    item_is(p, item, CHECK_FAILED, "user \"%s\" may not %s", p->target_facts.user, buffer_text(reason));
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}

struct error *check_target_settings(struct precheck *p, struct check_item *item)
{
    const struct sync_options *sync = p->options->sync;
    unsigned needed = sync->jobs + sync->lanes + SESSIONS_BESIDES;
    char *used;

    if (p->target_facts.is_in_recovery) {
        item_is(p, item, CHECK_FAILED, "the target is a standby and takes no writes; use its primary");
        return NULL;
    }
    TRY(pg_query_text(p->target, p->a, "counting sessions",
                      "SELECT (count(*) + current_setting('superuser_reserved_connections')::int)::text "
                      "FROM pg_stat_activity WHERE datname IS NOT NULL",
                      NULL, 0, &used));
    if (cell_u32(used) + needed <= p->target_facts.max_connections) {
        item_is(p, item, CHECK_PASSED, "%s room in max_connections = %u",
                counted(p->a, needed, "more session has", "more sessions have"), p->target_facts.max_connections);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM, "%s needed and max_connections is %u, with %s in use or reserved",
            counted(p->a, needed, "more session is", "more sessions are"), p->target_facts.max_connections, used);
    item_fix(p, item, ON_TARGET,
             arena_printf(p->a,
                          "ALTER SYSTEM SET max_connections = %u; -- then restart the target, or use fewer --jobs",
                          cell_u32(used) + needed));
    return NULL;
}

/* ---- what has to fit ---- */

struct error *check_encoding(struct precheck *p, struct check_item *item)
{
    const char *source = p->source_facts.encoding, *target = p->target_facts.encoding;

    if (p->target_is_missing)
        item_is(p, item, CHECK_PASSED, "the database is created with encoding %s", source);
    else if (strcmp(source, target) == 0)
        item_is(p, item, CHECK_PASSED, "both are %s", source);
    else if (strcmp(source, "SQL_ASCII") == 0)
        item_is(
            p, item, CHECK_ALARM,
            "the source is SQL_ASCII, so its bytes may mean anything; those that are not valid %s are refused by the "
            "target",
            target);
    else if (strcmp(target, "UTF8") == 0)
        item_is(p, item, CHECK_PASSED, "%s is converted to UTF8", source);
    else
        item_is(p, item, CHECK_FAILED, "the source is %s, and not all its characters exist in %s of the target", source,
                target);
    if (item->result == CHECK_FAILED)
        item_fix(
            p, item, ON_TARGET,
            arena_printf(p->a, "CREATE DATABASE ... TEMPLATE template0 ENCODING %s;", pg_quote_literal(p->a, source)));
    return NULL;
}

static int by_first_cell(const void *left, const void *right)
{
    char **const *l = left, **const *r = right;

    return strcmp((*l)[0], (*r)[0]);
}

static struct pg_rows sorted_texts(struct precheck *p, const char *const *texts, unsigned n)
{
    struct pg_rows rows = {.n_columns = 1, .n_rows = n};

    rows.rows = arena_alloc(p->a, (n + 1UL) * sizeof *rows.rows);
    for (unsigned i = 0; i < n; i++) {
        rows.rows[i] = arena_alloc(p->a, sizeof *rows.rows[i]);
        rows.rows[i][0] = arena_strdup(p->a, texts[i]);
    }
    if (n > 0)
        qsort((void *)rows.rows, n, sizeof *rows.rows, by_first_cell);
    return rows;
}

/* Those that what is chosen needs. */
static struct pg_rows names_of_extensions(struct precheck *p)
{
    return sorted_texts(p, p->chosen->extensions, p->chosen->n_extensions);
}

struct error *check_extensions(struct precheck *p, struct check_item *item)
{
    struct pg_rows wanted, have;

    if (p->chosen != NULL)
        wanted = names_of_extensions(p);
    else
        TRY(pg_query(p->source, p->a, "reading the list of extensions",
                     "SELECT extname FROM pg_extension ORDER BY extname::text COLLATE \"C\"", NULL, 0, &wanted));
    TRY(pg_query(p->target, p->a, "reading which extensions are available",
                 "SELECT name FROM pg_available_extensions ORDER BY name::text COLLATE \"C\"", NULL, 0, &have));
    struct pg_rows missing = precheck_select(p, &wanted, &have, false);
    item_objects_from_rows(p, item, &missing);
    if (missing.n_rows == 0)
        item_is(p, item, CHECK_PASSED, wanted.n_rows == 1 ? "the only one is available" : "all %u are available",
                wanted.n_rows);
    else
        item_is(p, item, CHECK_FAILED, "%s not available on the target: install what %s in on its machine",
                counted(p->a, missing.n_rows, "extension is", "extensions are"),
                agreeing(missing.n_rows, "it comes", "they come"));
    return NULL;
}

/* Superusers own everything; others can give objects only to roles that they may become. */
static bool cannot_be_given_to(const struct role_list *roles, const struct role *role, const char *is_owner)
{
    return cell_bool(is_owner) && !roles->user_is_superuser && !role->is_ours;
}

struct error *check_accounts(struct precheck *p, struct check_item *item)
{
    struct account_list *l = &p->accounts;
    unsigned n = 0;

    if (!p->options->sync->with_accounts) {
        item_is(p, item, CHECK_PASSED, "roles are not carried; --accounts carries them");
        return NULL;
    }
    TRY(accounts_read(p->source, p->target, p->a, l));
    const char **lines = arena_alloc(p->a, (l->n + 1U) * sizeof *lines);
    struct check_account *accounts = arena_alloc(p->a, (l->n + 1U) * sizeof *accounts);
    for (unsigned carried = 2; carried-- > 0;)
        for (unsigned i = 0; i < l->n; i++) {
            const struct account *x = &l->accounts[i];

            if (x->is_carried != (carried == 1))
                continue;
            accounts[n] = (struct check_account){.name = x->name, .is_carried = x->is_carried, .remark = x->remark};
            lines[n++] = arena_printf(p->a, "%s %s%s%s", pg_quote_identifier(p->a, x->name),
                                      x->is_carried ? "can be synchronized" : "cannot be synchronized",
                                      x->remark == NULL ? "" : ": ", x->remark == NULL ? "" : x->remark);
        }
    item->objects = lines;
    item->n_objects = n;
    item->accounts = accounts;
    item->n_accounts = n;
    if (l->n_carried > 0 && !l->may_create) {
        item_is(p, item, CHECK_FAILED, "user \"%s\" may not make roles on the target", p->target_facts.user);
        item_fix(p, item, ON_TARGET,
                 arena_printf(p->a, "ALTER ROLE %s CREATEROLE; -- or leave out --accounts",
                              pg_quote_identifier(p->a, p->target_facts.user)));
        return NULL;
    }
    /* Else it could give no object to them. */
    const char *member = l->n_carried == 0 || p->target_facts.user_is_superuser
                             ? ""
                             : arena_printf(p->a, "; user \"%s\" becomes a member of %s", p->target_facts.user,
                                            agreeing(l->n_carried, "it", "each of them"));
    if (l->n_without_login == 0) {
        item_is(p, item, CHECK_PASSED, "%s made on the target, %s not%s",
                counted(p->a, l->n_carried, "role is", "roles are"), counted(p->a, l->n - l->n_carried, "is", "are"),
                member);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "%s made on the target, %u of them without LOGIN because user \"%s\" may not read passwords; %s not made%s",
            counted(p->a, l->n_carried, "role is", "roles are"), l->n_without_login, p->source_facts.user,
            counted(p->a, l->n - l->n_carried, "is", "are"), member);
    item_fix(p, item, ON_SOURCE,
             arena_printf(p->a,
                          "GRANT SELECT ON pg_catalog.pg_authid TO %s; -- or give the roles passwords on the target",
                          pg_quote_identifier(p->a, p->source_facts.user)));
    return NULL;
}

static bool will_be_made(const struct precheck *p, const char *role)
{
    const struct account *x = account_find(&p->accounts, role);

    return x != NULL && x->is_carried;
}

struct error *check_roles(struct precheck *p, struct check_item *item)
{
    const char *user = p->target_facts.user;
    CLEANUP(buffer_free) struct buffer *fix = buffer_new();
    const char *oids = chosen_oids(p->a, p->chosen);
    struct role_list roles;
    struct pg_rows used, concerned = {.n_columns = 1};
    unsigned n_missing = 0;

    TRY(pg_query(p->source, p->a, "reading which roles own or are granted something", sql_roles_used, &oids, 1, &used));
    TRY(schema_roles_read(p->target, p->a, &roles));
    concerned.rows = arena_alloc(p->a, (used.n_rows + 1U) * sizeof *concerned.rows);
    for (unsigned r = 0; r < used.n_rows; r++) {
        const struct role *role = role_find(&roles, used.rows[r][0]);
        char *name = pg_quote_identifier(p->a, used.rows[r][0]);

        if (role == NULL ? will_be_made(p, used.rows[r][0]) : !cannot_be_given_to(&roles, role, used.rows[r][1]))
            continue;
        n_missing += role == NULL;
        used.rows[r][0] = name;
        concerned.rows[concerned.n_rows++] = used.rows[r];
        if (role == NULL)
            buffer_printf(fix, "CREATE ROLE %s;\n", name);
        else
            buffer_printf(fix, "GRANT %s TO %s;\n", name, pg_quote_identifier(p->a, user));
    }
    item_objects_from_rows(p, item, &concerned);
    if (concerned.n_rows == 0) {
        item_is(p, item, CHECK_PASSED, used.n_rows == 1 ? "the only one exists" : "all %u exist", used.n_rows);
        return NULL;
    }
    item_is(p, item, CHECK_ALARM,
            "%s not exist on the target, and to %s user \"%s\" may not give objects; what they own will "
            "belong to \"%s\", and what missing ones are granted is left out",
            counted(p->a, n_missing, "role does", "roles do"),
            counted(p->a, concerned.n_rows - n_missing, "other", "others"), user, user);
    item_fix(p, item, ON_TARGET, buffer_text(fix));
    return NULL;
}

/* ---- the target's content ---- */

/* Where nothing is copied each table of the source has to be there. */
MUST_USE static struct error *check_target_has_tables(struct precheck *p, struct check_item *item)
{
    struct pg_rows wanted, have;

    if (p->target_is_missing) {
        item_is(p, item, CHECK_FAILED,
                "the database is not there; with --type incremental nothing is copied, so it has to be");
        return NULL;
    }
    TRY(pg_query(p->source, p->a, "reading the names of tables", sql_table_names, NULL, 0, &wanted));
    chosen_filter_rows(p->chosen, &wanted, 1);
    TRY(pg_query(p->target, p->a, "reading the names of tables", sql_table_names, NULL, 0, &have));
    struct pg_rows missing = precheck_select(p, &wanted, &have, false);
    item_objects_from_rows(p, item, &missing);
    if (missing.n_rows == 0)
        item_is(p, item, CHECK_PASSED,
                "all tables are there, as --type incremental needs; whether they are equal \"pgtide compare\" tells");
    else
        item_is(p, item, CHECK_FAILED,
                "%s not there; with --type incremental nothing is copied: bring structure and rows over before",
                counted(p->a, missing.n_rows, "table is", "tables are"));
    return NULL;
}

struct error *check_target_empty(struct precheck *p, struct check_item *item)
{
    bool may_exist = p->options->sync->if_not_empty != NOT_EMPTY_REFUSE;
    const char *with_publications = p->options->sync->with_publications ? "true" : "false";
    struct pg_rows wanted, have;

    if (!precheck_copies(p))
        return check_target_has_tables(p, item);
    if (p->target_is_missing) {
        item_is(p, item, CHECK_PASSED, "the database is created");
        return NULL;
    }
    TRY(pg_query(p->source, p->a, "reading the names of objects", sql_objects, &with_publications, 1, &wanted));
    chosen_filter_rows(p->chosen, &wanted, 1);
    TRY(pg_query(p->target, p->a, "reading the names of objects", sql_objects, &with_publications, 1, &have));
    struct pg_rows common = precheck_select(p, &wanted, &have, true);
    item_objects_from_rows(p, item, &common);
    if (common.n_rows == 0)
        item_is(p, item, CHECK_PASSED,
                wanted.n_rows == 1 ? "the only name is not taken" : "none of the %u names is taken", wanted.n_rows);
    else if (may_exist)
        item_is(p, item, CHECK_PASSED, "%s as %s (--if-not-empty)",
                counted(p->a, common.n_rows, "object exists already and stays", "objects exist already and stay"),
                agreeing(common.n_rows, "it is", "they are"));
    else
        item_is(p, item, CHECK_FAILED,
                "%s on the target; use an empty database, or --if-not-empty merge or "
                "truncate to write into its tables",
                counted(p->a, common.n_rows, "object of the same name exists", "objects of the same names exist"));
    return NULL;
}
