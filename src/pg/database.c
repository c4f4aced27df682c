#include "pg/database.h"

#include "base/log.h"
#include "pg/cells.h"
#include "pg/copy.h"
#include "pg/schema_roles.h"
#include "pg/setting_rights.h"
#include "pg/sql.h"

/* Of an error that only says that we may not. */
MUST_USE static struct error *tolerate(struct left_out *left_out, struct error *err, const char *statement)
{
    if (err == NULL || error_kind(err) != ERROR_CONFIG)
        return err;
    left_out_tell(left_out, statement, error_message(err));
    error_free(err);
    return NULL;
}

/* ---- properties ---- */

enum property_cell { PROPERTY_STATEMENT, PROPERTY_ROLE, PROPERTY_SETTING, PROPERTY_GRANTOR };

/* What a statement needs on the target. */
struct property_rights {
    struct role_list roles;
    struct setting_rights settings;
    bool owns_database; /* or will make it */
};

MUST_USE static struct error *rights_read(struct pg_conn *target, struct arena *a, const char *database,
                                          struct property_rights *out)
{
    char *is_foreign = NULL;

    TRY(schema_roles_read(target, a, &out->roles));
    TRY(setting_rights_read(target, a, &out->settings));
    TRY(pg_query_text(target, a, "asking whose the database is",
                      "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND NOT pg_has_role(current_user, "
                      "datdba, 'USAGE'))::text",
                      &database, 1, &is_foreign));
    out->owns_database = !cell_bool(is_foreign);
    return NULL;
}

static bool will_be_made(const struct account_list *made, const char *role)
{
    const struct account *x = made == NULL ? NULL : account_find(made, role);

    return x != NULL && x->is_carried;
}

static bool lacks_role(const struct property_rights *by, const struct account_list *made, const char *role)
{
    return role != NULL && role_find(&by->roles, role) == NULL && !will_be_made(made, role);
}

/* NULL: it can be run. */
static const char *why_not(struct arena *a, const struct property_rights *by, const struct account_list *made,
                           char *const *cell)
{
    const char *role = cell[PROPERTY_ROLE], *setting = cell[PROPERTY_SETTING];
    const struct role *there = role == NULL ? NULL : role_find(&by->roles, role);

    if (lacks_role(by, made, role))
        return arena_printf(a, "role \"%s\" does not exist on the target", role);
    if (setting != NULL && there != NULL && !there->may_be_altered)
        return arena_printf(a, "the target's user may not alter role \"%s\"", role);
    if ((role == NULL || setting == NULL) && !by->owns_database)
        return "the target's user does not own the database";
    return setting == NULL ? NULL : setting_refusal(&by->settings, setting);
}

/* In the name of who granted it; only a superuser can, others grant as the owner. */
static void grant_for(struct arena *a, const struct property_rights *by, char **cell)
{
    const char *grantor = cell[PROPERTY_GRANTOR];

    if (grantor != NULL && by->settings.is_superuser && role_find(&by->roles, grantor) != NULL)
        cell[PROPERTY_STATEMENT] = arena_printf(a, "SET SESSION AUTHORIZATION %s; %s; RESET SESSION AUTHORIZATION",
                                                pg_quote_identifier(a, grantor), cell[PROPERTY_STATEMENT]);
}

static const char *not_in_its_name(struct arena *a, const struct property_rights *by, const struct account_list *made,
                                   char *const *cell)
{
    const char *grantor = cell[PROPERTY_GRANTOR];

    if (grantor == NULL || by->settings.is_superuser || lacks_role(by, made, grantor))
        return NULL;
    return arena_printf(a, "SET SESSION AUTHORIZATION %s", pg_quote_identifier(a, grantor));
}

struct error *database_properties_read(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                       const char *database, const struct account_list *made,
                                       struct database_properties *out)
{
    struct property_rights by;
    struct pg_rows rows;

    TRY(rights_read(target, a, database, &by));
    TRY(pg_query(source, a, "reading the properties of the database", sql_database_properties, &database, 1, &rows));
    for (unsigned r = 0; r < rows.n_rows; r++)
        grant_for(a, &by, rows.rows[r]);
    out->properties = arena_alloc(a, (rows.n_rows + 1U) * sizeof *out->properties);
    for (out->n = 0; out->n < rows.n_rows; out->n++)
        out->properties[out->n] = (struct database_property){
            .statement = rows.rows[out->n][PROPERTY_STATEMENT],
            .left_out = why_not(a, &by, made, rows.rows[out->n]),
            .lacks_role = lacks_role(&by, made, rows.rows[out->n][PROPERTY_ROLE]),
            .not_in_its_name = not_in_its_name(a, &by, made, rows.rows[out->n]),
        };
    return NULL;
}

struct error *database_properties_copy(struct pg_conn *source, struct pg_conn *target, struct left_out *left_out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "database properties");
    const char *database = pg_endpoint_database(pg_conn_endpoint(target));
    struct database_properties all;

    TRY(database_properties_read(source, target, scratch, database, NULL, &all));
    for (unsigned i = 0; i < all.n; i++) {
        const struct database_property *x = &all.properties[i];

        if (x->left_out != NULL) {
            left_out_tell(left_out, x->statement, x->left_out);
            continue;
        }
        if (x->not_in_its_name != NULL)
            left_out_tell(left_out, x->not_in_its_name, "only a superuser can grant in the name of another role");
        TRY(tolerate(left_out, pg_execute(target, "setting a property of the database", x->statement), x->statement));
    }
    return NULL;
}

struct error *database_owner_read(struct pg_conn *source, struct pg_conn *target, struct arena *a, const char *database,
                                  const struct account_list *made, struct database_property *out)
{
    struct role_list roles;
    char *owner = NULL;

    TRY(pg_query_text(source, a, "reading who owns the database",
                      "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()", NULL, 0,
                      &owner));
    TRY(schema_roles_read(target, a, &roles));
    const struct role *role = role_find(&roles, owner);
    *out = (struct database_property){
        .statement = arena_printf(a, "ALTER DATABASE %s OWNER TO %s", pg_quote_identifier(a, database),
                                  pg_quote_identifier(a, owner)),
        .lacks_role = role == NULL && !will_be_made(made, owner),
    };
    if (out->lacks_role)
        out->left_out = arena_printf(a, "role \"%s\" does not exist on the target", owner);
    else if (role != NULL && !role->is_ours && !roles.user_is_superuser)
        out->left_out = arena_printf(a, "role \"%s\" is none that we may become on the target", owner);
    return NULL;
}

struct error *database_give(struct pg_conn *source, struct pg_conn *maintenance, const char *database,
                            struct left_out *left_out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "database owner");
    struct database_property owner;

    TRY(database_owner_read(source, maintenance, scratch, database, NULL, &owner));
    if (owner.left_out == NULL)
        return tolerate(left_out, pg_execute(maintenance, "giving the database to its owner", owner.statement),
                        owner.statement);
    left_out_tell(left_out, owner.statement, owner.left_out);
    return NULL;
}

/* ---- configuration tables ---- */

enum config_column {
    CONFIG_SCHEMA,
    CONFIG_NAME,
    CONFIG_CONDITION,
    CONFIG_EXTENSION,
    CONFIG_KIND,
};

MUST_USE static struct error *copy_sequence(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                            const char *name)
{
    struct pg_rows value;

    TRY(pg_query(source, a, "reading a sequence of an extension",
                 arena_printf(a, "SELECT last_value::text, is_called::text FROM %s", name), NULL, 0, &value));
    return pg_execute_format(target, "setting a sequence of an extension",
                             "SELECT pg_catalog.setval(%s::regclass, %s, %s)", pg_quote_literal(a, name),
                             value.rows[0][0], value.rows[0][1]);
}

MUST_USE static struct error *copy_rows(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                        const char *name, const char *condition)
{
    char *columns = NULL;
    uint64_t rows = 0;
    struct copy_outcome outcome = {.rows = &rows};

    TRY(pg_query_text(source, a, "reading the columns of a configuration table",
                      "SELECT coalesce(string_agg(quote_ident(attname), ', ' ORDER BY attnum), '') FROM pg_attribute "
                      "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
                      &name, 1, &columns));
    const struct copy_statement statement = {
        .name = name,
        .out_sql = arena_printf(a, "COPY (SELECT %s FROM %s %s) TO STDOUT", columns, name, condition),
        .in_sql = arena_printf(a, "COPY %s (%s) FROM STDIN", name, columns),
    };
    TRY(pg_execute_format(target, "emptying a configuration table", "DELETE FROM %s %s", name, condition));
    return copy_pump(source, target, &statement, 1, (struct copy_watch){0}, &outcome);
}

/* (G4) by the pump; (P5) pg_execute would report a COMMIT that is answered by an error. */
MUST_USE static struct error *copy_config_table(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                                char **cell)
{
    const char *name = pg_quote_name(a, cell[CONFIG_SCHEMA], cell[CONFIG_NAME]);

    if (cell_char(cell[CONFIG_KIND]) == 'S')
        return copy_sequence(source, target, a, name);
    TRY(pg_execute(target, "beginning a transaction", "BEGIN"));
    struct error *err = copy_rows(source, target, a, name, cell[CONFIG_CONDITION]);
    if (err == NULL)
        return pg_execute(target, "committing a configuration table", "COMMIT");
    if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, "giving a configuration table up", "ROLLBACK")); /* the first error says why */
    return error_wrap(err, "copying configuration table %s of extension \"%s\"", name, cell[CONFIG_EXTENSION]);
}

struct error *database_config_tables_copy(struct pg_conn *source, struct pg_conn *target)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "configuration tables");
    struct pg_rows tables;

    TRY(pg_query(source, scratch, "reading the configuration tables of extensions", sql_config_tables, NULL, 0,
                 &tables));
    for (unsigned r = 0; r < tables.n_rows; r++)
        TRY(copy_config_table(source, target, scratch, tables.rows[r]));
    return NULL;
}

static bool is_one_of(const char *const *names, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

MUST_USE static struct error *is_filled(struct pg_conn *target, struct arena *a, char **cell, bool *out)
{
    char *filled = NULL;

    TRY(pg_query_text(target, a, "looking at a configuration table",
                      arena_printf(a, "SELECT EXISTS (SELECT FROM %s %s)::text",
                                   pg_quote_name(a, cell[CONFIG_SCHEMA], cell[CONFIG_NAME]), cell[CONFIG_CONDITION]),
                      NULL, 0, &filled));
    *out = cell_bool(filled);
    return NULL;
}

struct error *database_config_tables_fill(struct pg_conn *source, struct pg_conn *target, const char *const *extensions,
                                          unsigned n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "configuration tables");
    struct pg_rows tables;

    TRY(pg_query(source, scratch, "reading the configuration tables of extensions", sql_config_tables, NULL, 0,
                 &tables));
    for (unsigned r = 0; r < tables.n_rows; r++) {
        char **cell = tables.rows[r];
        bool filled = false;

        if (cell_char(cell[CONFIG_KIND]) == 'S' || !is_one_of(extensions, n, cell[CONFIG_EXTENSION]))
            continue;
        TRY(is_filled(target, scratch, cell, &filled));
        if (filled)
            log_info("configuration table \"%s\" of extension \"%s\" has rows on the target: it is left as it is",
                     cell[CONFIG_NAME], cell[CONFIG_EXTENSION]);
        else
            TRY(copy_config_table(source, target, scratch, cell));
    }
    return NULL;
}

/* ---- materialized views ---- */

MUST_USE static struct error *populate(struct pg_conn *target, struct arena *a, const char *name,
                                       struct left_out *left_out)
{
    char *is_waiting = NULL;

    TRY(pg_query_text(target, a, "looking at a materialized view",
                      "SELECT (NOT coalesce(bool_or(relispopulated), true))::text FROM pg_class "
                      "WHERE oid = to_regclass($1) AND relkind = 'm'",
                      &name, 1, &is_waiting));
    if (!cell_bool(is_waiting))
        return NULL;
    log_info("populating materialized view %s", name);
    /* What its owner may not read (any more) cannot be refreshed on the source either. */
    const char *statement = arena_printf(a, "REFRESH MATERIALIZED VIEW %s", name);
    return tolerate(left_out,
                    pg_execute_format(target, "populating a materialized view", "%s; ANALYZE %s", statement, name),
                    statement);
}

struct error *database_matviews_populate(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen,
                                         struct left_out *left_out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "materialized views");
    struct pg_rows views;

    /* A policy means for the view's owner here what it means on the source. */
    TRY(pg_execute(target, "preparing to populate materialized views", "SET row_security = on"));
    TRY(pg_query(source, scratch, "reading the materialized views", sql_matviews, NULL, 0, &views));
    chosen_filter_rows(chosen, &views, 2);
    for (unsigned r = 0; r < views.n_rows; r++) {
        const char *name = pg_quote_name(scratch, views.rows[r][0], views.rows[r][1]);
        struct error *err = populate(target, scratch, name, left_out);

        if (err != NULL)
            return error_wrap(err, "materialized view %s", name);
    }
    return NULL;
}
