#include "pg/set_aside.h"

#include "base/fault.h"
#include "pg/sql.h"

enum aside_cell { ASIDE_TABLE, ASIDE_NAME, ASIDE_DEFINITION, ASIDE_COMMENT };

MUST_USE static struct error *take_one(struct pg_conn *target, struct arena *a, const char *task, char *const *cell)
{
    const char *on =
        arena_printf(a, "%s ADD CONSTRAINT %s %s", cell[ASIDE_TABLE], cell[ASIDE_NAME], cell[ASIDE_DEFINITION]);
    const char *params[] = {task, arena_printf(a, "ALTER TABLE %s", on)};
    struct pg_rows none;

    if (cell[ASIDE_COMMENT] != NULL)
        params[1] = arena_printf(a, "%s; COMMENT ON CONSTRAINT %s ON %s IS %s", params[1], cell[ASIDE_NAME],
                                 cell[ASIDE_TABLE], cell[ASIDE_COMMENT]);
    TRY(pg_query(target, a, "writing down a constraint", "INSERT INTO pgtide.aside (task, statement) VALUES ($1, $2)",
                 params, COUNT_OF(params), &none));
    return pg_execute_format(target, "setting a constraint aside", "ALTER TABLE %s DROP CONSTRAINT %s",
                             cell[ASIDE_TABLE], cell[ASIDE_NAME]);
}

/* What a table had besides what it inherited is to be taken when that is gone. */
MUST_USE static struct error *take_all(struct pg_conn *target, struct arena *a, const char *task, const char *names,
                                       unsigned *out_n)
{
    struct pg_rows rows;

    *out_n = 0;
    do {
        TRY(pg_query(target, a, "looking for constraints that are not valid", sql_set_aside, &names, 1, &rows));
        for (unsigned r = 0; r < rows.n_rows; r++)
            TRY(take_one(target, a, task, rows.rows[r]));
        *out_n += rows.n_rows;
    } while (rows.n_rows > 0);
    return NULL;
}

/* Last taken, first put back: a table's own before the one of its parent, which then finds it there. */
MUST_USE static struct error *put_all(struct pg_conn *target, struct arena *a, const char *task)
{
    struct pg_rows rows;

    TRY(pg_query(target, a, "reading which constraints are set aside",
                 "SELECT statement FROM pgtide.aside WHERE task = $1 ORDER BY id DESC", &task, 1, &rows));
    for (unsigned r = 0; r < rows.n_rows; r++)
        TRY(pg_execute(target, "putting a constraint back", rows.rows[r][0]));
    return pg_execute_format(target, "forgetting constraints that are back", "DELETE FROM pgtide.aside WHERE task = %s",
                             pg_quote_literal(a, task));
}

/* (P5) pg_execute would report a COMMIT that is answered by an error. */
MUST_USE static struct error *end(struct pg_conn *target, struct error *err, const char *what)
{
    if (err == NULL)
        return pg_execute(target, what, "COMMIT");
    if (!pg_conn_is_broken(target))
        error_free(pg_execute(target, what, "ROLLBACK")); /* the first error says why */
    return error_wrap(err, "%s", what);
}

struct error *set_aside_take(struct pg_conn *target, const char *task, const char *const *names, unsigned n_names,
                             unsigned *out_n)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "set aside");

    TRY(pg_execute(target, "beginning a transaction", "BEGIN"));
    struct error *err = take_all(target, scratch, task, pg_text_array(scratch, names, n_names), out_n);
    return end(target, err, "setting constraints aside that are not valid");
}

struct error *set_aside_put_back(struct pg_conn *target, const char *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "set aside");

    TRY(pg_execute(target, "beginning a transaction", "BEGIN"));
    struct error *err = put_all(target, scratch, task);
    FAULT_POINT("set_aside.before_commit");
    return end(target, err, "putting constraints back that were set aside");
}
