#include "pg/forced_security.h"

#include "base/log.h"
#include "pg/cells.h"

#define IS_HELD_TO_POLICIES \
    "(SELECT NOT (rolsuper OR rolbypassrls) FROM pg_catalog.pg_roles WHERE rolname = current_user)"

/* Names of the tables that the source forces, as an array. */
MUST_USE static struct error *read_forced(struct pg_conn *source, struct arena *a, const struct chosen *chosen,
                                          const char **out_names)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading which tables force row security",
                 "SELECT n.nspname, c.relname, c.oid::text FROM pg_class c JOIN pg_namespace n ON n.oid = "
                 "c.relnamespace WHERE c.relforcerowsecurity ORDER BY c.oid",
                 NULL, 0, &rows));
    chosen_filter_rows(chosen, &rows, 2);
    const char **names = arena_alloc(a, (rows.n_rows + 1U) * sizeof *names);
    for (unsigned r = 0; r < rows.n_rows; r++)
        names[r] = pg_quote_name(a, rows.rows[r][0], rows.rows[r][1]);
    *out_names = rows.n_rows == 0 ? NULL : pg_text_array(a, names, rows.n_rows);
    return NULL;
}

/* Of these tables those that are forced on the target, or are not. */
MUST_USE static struct error *find(struct pg_conn *target, struct arena *a, const char *names, bool are_forced,
                                   struct pg_rows *out)
{
    const char *params[] = {names, are_forced ? "true" : "false"};

    return pg_query(
        target, a, "reading which tables force row security",
        "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p') AND "
        "c.relforcerowsecurity = $2::boolean AND c.oid IN (SELECT to_regclass(n) FROM unnest($1::text[]) n) "
        "AND (NOT $2::boolean OR " IS_HELD_TO_POLICIES ") ORDER BY c.oid",
        params, COUNT_OF(params), out);
}

struct error *forced_security_lift(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "forced row security");
    const char *names = NULL;
    struct pg_rows tables;

    TRY(read_forced(source, scratch, chosen, &names));
    if (names == NULL)
        return NULL;
    TRY(find(target, scratch, names, true, &tables));
    for (unsigned r = 0; r < tables.n_rows; r++)
        TRY(pg_execute_format(target, "not forcing row security on us",
                              "ALTER TABLE ONLY %s NO FORCE ROW LEVEL SECURITY", tables.rows[r][0]));
    if (tables.n_rows > 0)
        log_info(
            "row security is forced on %u table%s: on the target only when the synchronization is stopped, its user "
            "would be held to the policies",
            tables.n_rows, tables.n_rows == 1 ? "" : "s");
    return NULL;
}

struct error *forced_security_restore(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen,
                                      struct left_out *left_out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "forced row security");
    const char *names = NULL;
    struct pg_rows tables;

    TRY(read_forced(source, scratch, chosen, &names));
    if (names == NULL)
        return NULL;
    TRY(find(target, scratch, names, false, &tables));
    for (unsigned r = 0; r < tables.n_rows; r++) {
        const char *statement =
            arena_printf(scratch, "ALTER TABLE ONLY %s FORCE ROW LEVEL SECURITY", tables.rows[r][0]);
        struct error *err = pg_execute(target, "forcing row security", statement);

        if (err != NULL && (error_kind(err) != ERROR_CONFIG || pg_conn_is_broken(target)))
            return err;
        if (err != NULL)
            left_out_tell(left_out, statement, error_message(err));
        error_free(err);
    }
    return NULL;
}

struct error *forced_security_before(struct pg_conn *target, struct arena *a, const char **out_before)
{
    struct pg_rows rows;

    TRY(pg_query(target, a, "reading which tables force row security",
                 "SELECT coalesce((SELECT pg_catalog.array_agg(oid) FROM pg_catalog.pg_class WHERE "
                 "relforcerowsecurity), '{}')::pg_catalog.text WHERE " IS_HELD_TO_POLICIES,
                 NULL, 0, &rows));
    *out_before = rows.n_rows == 0 ? NULL : rows.rows[0][0];
    return NULL;
}

struct error *forced_security_after(struct pg_conn *target, struct arena *a, const char *before)
{
    struct pg_rows tables;

    if (before == NULL)
        return NULL;
    TRY(pg_query(target, a, "reading which tables force row security",
                 "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN "
                 "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relforcerowsecurity AND c.oid <> ALL "
                 "($1::pg_catalog.oid[])",
                 &before, 1, &tables));
    for (unsigned r = 0; r < tables.n_rows; r++)
        TRY(pg_execute_format(target, "not forcing row security on us",
                              "ALTER TABLE ONLY %s NO FORCE ROW LEVEL SECURITY", tables.rows[r][0]));
    return NULL;
}
