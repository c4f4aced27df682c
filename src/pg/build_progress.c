#include "pg/build_progress.h"

#include "pg/cells.h"
#include "pg/sql.h"

struct error *build_progress_read(struct pg_conn *c, struct arena *a, struct build_progress **out, unsigned *out_n)
{
    enum { INDEXES_FROM = 120000, STATISTICS_FROM = 130000 };
    const char *sql = sql_build_progress;
    struct pg_rows rows;

    *out_n = 0;
    if (pg_conn_version(c) < INDEXES_FROM)
        return NULL;
    if (pg_conn_version(c) >= STATISTICS_FROM)
        sql = arena_printf(a, "%s UNION ALL\n%s", sql_build_progress, sql_build_progress_statistics);
    TRY(pg_query(c, a, "asking how far indexes are", sql, NULL, 0, &rows));
    struct build_progress *all = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *all);
    for (unsigned i = 0; i < rows.n_rows; i++)
        all[i] = (struct build_progress){.pid = cell_int(rows.rows[i][0]), .thousandths = cell_u32(rows.rows[i][1])};
    *out = all;
    *out_n = rows.n_rows;
    return NULL;
}
