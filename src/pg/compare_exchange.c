#include "pg/compare_exchange.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "pg/sql.h"

#define STAGE "pg_temp.pgtide_repair"

/* -1: the source has no such column */
static int place_in_plan(const struct compare_plan *p, const char *name)
{
    for (unsigned i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ", a, b": what can be written of the target's columns. */
static const char *written(struct arena *a, const struct compare_plan *p)
{
    CLEANUP(buffer_free) struct buffer *list = buffer_new();

    for (unsigned i = 0; i < p->target->n_columns; i++)
        if (!p->target->columns[i].is_generated)
            buffer_printf(list, ", %s", pg_quote_identifier(a, p->target->columns[i].name));
    return arena_strdup(a, buffer_text(list));
}

static bool has_identity(const struct compare_table *t)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        if (t->columns[i].is_identity)
            return true;
    return false;
}

bool compare_exchange_takes_all(const struct compare_plan *p)
{
    for (unsigned i = 0; i < p->target->n_columns; i++)
        if (!p->target->columns[i].is_generated && place_in_plan(p, p->target->columns[i].name) < 0)
            return false;
    return p->has_key;
}

char *compare_exchange_prepare(struct arena *a, const struct compare_plan *p)
{
    return arena_printf(
        a,
        "CREATE TEMPORARY TABLE pgtide_repair ON COMMIT DROP AS"
        " SELECT tableoid AS pgtide_table, ctid AS pgtide_place, true AS pgtide_is_new%s FROM %s WHERE false",
        written(a, p), p->from_target);
}

/* As it is to be: without the target's row (`t`) all of the source's, else what differs. */
static void append_values(struct arena *a, struct buffer *sql, const struct compare_plan *p, char *const *s,
                          char *const *t)
{
    for (unsigned i = 0; i < p->target->n_columns; i++) {
        const struct compare_column *c = &p->target->columns[i];
        int at = place_in_plan(p, c->name);

        if (c->is_generated)
            continue;
        if (t != NULL && (at < 0 || !compare_plan_column_differs(p, (unsigned)at, s, t)))
            buffer_printf(sql, ", %s", pg_quote_identifier(a, c->name));
        else
            buffer_printf(sql, ", %s", compare_plan_literal(a, s[PLAN_FIRST_COLUMN + at]));
    }
}

char *compare_exchange_stage(struct arena *a, const struct compare_plan *p, char *const *source_cells,
                             char *const *target_cells)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    buffer_append_text(sql, "INSERT INTO " STAGE " SELECT ");
    buffer_append_text(sql, target_cells == NULL ? "NULL, NULL" : "tableoid, ctid");
    buffer_append_text(sql, source_cells == NULL ? ", false" : ", true");
    if (source_cells != NULL)
        append_values(a, sql, p, source_cells, target_cells);
    if (target_cells != NULL)
        buffer_printf(sql, " FROM %s WHERE %s LIMIT 1", p->from_target, compare_plan_where(a, p, target_cells));
    return arena_strdup(a, buffer_text(sql));
}

/* Nobody analyzes a temporary table but its session; unmeasured it would be joined as one of a thousand rows. */
char *compare_exchange_measure(struct arena *a)
{
    return arena_strdup(a, "ANALYZE " STAGE);
}

/* The count is asked before the first row is put in, and cannot be known before the last one is out. */
char *compare_exchange_fill(struct arena *a, const struct compare_plan *p)
{
    const char *columns = written(a, p);

    columns += strspn(columns, ", ");
    return arena_printf(a,
                        "WITH gone AS (DELETE FROM %s AS t USING " STAGE " AS s"
                        " WHERE t.tableoid = s.pgtide_table AND t.ctid = s.pgtide_place RETURNING 1)"
                        " INSERT INTO %s (%s)%s SELECT %s FROM " STAGE
                        " WHERE pgtide_is_new AND (SELECT count(*) FROM gone) = (SELECT count(pgtide_place) FROM " STAGE
                        ")",
                        p->from_target, pg_quote_name(a, p->target->schema, p->target->name), columns,
                        has_identity(p->target) ? " OVERRIDING SYSTEM VALUE" : "", columns);
}

struct error *compare_exchange_check(struct pg_conn *target, const struct compare_plan *p)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "repair");
    const char *table = arena_printf(scratch, "%" PRIu32, p->target->oid);
    char *keys = NULL;

    TRY(pg_query_text(target, scratch, "looking for foreign keys that act", sql_compare_acting_keys, &table, 1, &keys));
    if (keys == NULL)
        return NULL;
    return error_hint(
        error_new(ERROR_DATA,
                  "rows of table \"%s\" stand in each other's way (unique values that have changed places), so they "
                  "have to be "
                  "taken out and put in again, and that would act on other rows by %s",
                  p->title, keys),
        "Run it as a user of the target who may set session_replication_role: then foreign keys do not act.");
}
