#include "pg/conflict_log.h"

#include "pg/sql.h"

MUST_USE static struct error *log_exists(struct pg_conn *target, struct arena *a, bool *out)
{
    char *name;

    TRY(pg_query_text(target, a, "looking for the conflict log", "SELECT to_regclass('pgtide.conflict')::text", NULL, 0,
                      &name));
    *out = name != NULL;
    return NULL;
}

struct error *conflict_log_read(struct pg_conn *target, const char *task, const char *table,
                                struct error *(*take)(void *self, const char *document), void *self)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "conflict log"), *page = arena_new(a, "page");
    const char *last = "0";
    bool exists = false;
    struct pg_rows rows;

    TRY(log_exists(target, a, &exists));
    if (!exists)
        return NULL;
    do {
        const char *params[] = {task, last, table};

        arena_reset(page);
        TRY(pg_query(target, page, "reading the conflict log", sql_conflicts, params, COUNT_OF(params), &rows));
        for (unsigned i = 0; i < rows.n_rows; i++)
            TRY(take(self, rows.rows[i][1]));
        if (rows.n_rows > 0)
            last = arena_strdup(a, rows.rows[rows.n_rows - 1][0]);
    } while (rows.n_rows > 0);
    return NULL;
}
