#include "pg/firing.h"

#include <string.h>

#include "base/log.h"

enum { TABLE, WHAT, NAME, HOW, COLUMNS };

static const char of_source[] =
    "SELECT format('%I.%I', n.nspname, c.relname), what, name, CASE enabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, "
    "       c.oid::text"
    "  FROM (SELECT tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
    "        UNION ALL SELECT ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite WHERE ev_type <> '1')"
    "       AS f (relation, what, name, enabled)"
    "  JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE enabled IN ('A', 'R') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
    "                                                AND d.objid = c.oid AND d.deptype = 'e')"
    " ORDER BY c.oid, what, name";

/* Of these those that are enabled in one of the ways $5 on the target. */
static const char of_target[] =
    "SELECT t, what, quote_ident(name), how"
    "  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS f (t, what, name, how)"
    " WHERE CASE what WHEN 'TRIGGER' THEN (SELECT tgenabled FROM pg_trigger"
    "                                       WHERE tgrelid = to_regclass(t) AND tgname = name AND NOT tgisinternal)"
    "                 ELSE (SELECT ev_enabled FROM pg_rewrite WHERE ev_class = to_regclass(t) AND rulename = name)"
    "       END = ANY ($5::\"char\"[])";

/* ---- in the structure ---- */

static bool lets_fire(const char *statement)
{
    static const char *const ways[] = {" ENABLE ALWAYS TRIGGER ", " ENABLE REPLICA TRIGGER ", " ENABLE ALWAYS RULE ",
                                       " ENABLE REPLICA RULE "};

    if (strncmp(statement, "ALTER ", strlen("ALTER ")) != 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(ways); i++)
        if (strstr(statement, ways[i]) != NULL)
            return true;
    return false;
}

void firing_leave_out(struct script *script)
{
    for (unsigned i = 0; i < script->n_entries; i++) {
        struct entry *e = &script->entries[i];
        unsigned kept = 0;

        if (e->kind != ENTRY_TRIGGER && e->kind != ENTRY_RULE)
            continue;
        for (unsigned k = 0; k < e->n_statements; k++)
            if (!lets_fire(e->statements[k]))
                e->statements[kept++] = e->statements[k];
        e->n_statements = kept;
    }
}

/* ---- on the servers ---- */

MUST_USE static struct error *read_source(struct pg_conn *source, struct arena *a, struct pg_rows *out)
{
    return pg_query(source, a, "reading which triggers and rules fire for replicas", of_source, NULL, 0, out);
}

MUST_USE static struct error *find(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                   const struct chosen *chosen, const char *ways, struct pg_rows *out)
{
    const char *params[COLUMNS + 1] = {[COLUMNS] = ways};
    struct pg_rows rows;

    *out = (struct pg_rows){.n_rows = 0};
    TRY(read_source(source, a, &rows));
    chosen_filter_rows(chosen, &rows, COLUMNS);
    if (rows.n_rows == 0)
        return NULL;
    for (unsigned column = 0; column < COLUMNS; column++) {
        const char **cells = arena_alloc(a, rows.n_rows * sizeof *cells);

        for (unsigned r = 0; r < rows.n_rows; r++)
            cells[r] = rows.rows[r][column];
        params[column] = pg_text_array(a, cells, rows.n_rows);
    }
    return pg_query(target, a, "reading which triggers and rules fire for replicas", of_target, params,
                    COUNT_OF(params), out);
}

struct error *firing_lift(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "triggers that fire");
    struct pg_rows found;

    TRY(find(source, target, scratch, chosen, "{A,R}", &found));
    for (unsigned r = 0; r < found.n_rows; r++)
        TRY(pg_execute_format(target, "keeping a trigger or rule from firing for us",
                              "ALTER TABLE ONLY %s ENABLE %s %s", found.rows[r][TABLE], found.rows[r][WHAT],
                              found.rows[r][NAME]));
    return NULL;
}

struct error *firing_restore(struct pg_conn *source, struct pg_conn *target, const struct chosen *chosen,
                             struct left_out *left_out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "triggers that fire");
    struct pg_rows found;

    TRY(find(source, target, scratch, chosen, "{O}", &found));
    for (unsigned r = 0; r < found.n_rows; r++) {
        const char *statement = arena_printf(scratch, "ALTER TABLE ONLY %s ENABLE %s %s %s", found.rows[r][TABLE],
                                             found.rows[r][HOW], found.rows[r][WHAT], found.rows[r][NAME]);
        struct error *err = pg_execute(target, "letting a trigger or rule fire for replicas", statement);

        if (err != NULL && (error_kind(err) != ERROR_CONFIG || pg_conn_is_broken(target)))
            return err;
        if (err != NULL)
            left_out_tell(left_out, statement, error_message(err));
        error_free(err);
    }
    return NULL;
}

struct error *firing_is_there(struct pg_conn *source, bool *out_is)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "triggers that fire");
    struct pg_rows rows;

    TRY(read_source(source, scratch, &rows));
    *out_is = rows.n_rows > 0;
    return NULL;
}
