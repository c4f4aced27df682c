#include "pg/orphans.h"

#include <inttypes.h>
#include <stdlib.h>

#include "pg/sql.h"

struct error *orphans_find(struct pg_conn *source, struct pg_conn *target, struct arena *a, uint32_t key_oid,
                           bool *out_found, struct orphans *out)
{
    const char *params[] = {arena_printf(a, "%" PRIu32, key_oid)};
    struct pg_rows key, rows;

    TRY(pg_query(source, a, "describing a foreign key", sql_orphans, params, COUNT_OF(params), &key));
    *out_found = key.n_rows == 1;
    if (key.n_rows == 0)
        return NULL;

    const char *select = key.rows[0][2];
    TRY(pg_query(target, a, "looking for rows that break a foreign key",
                 arena_printf(a, "SELECT count(*)::text, min(q::text) FROM (%s) q", select), NULL, 0, &rows));
    *out = (struct orphans){
        .table = key.rows[0][0],
        .referenced = key.rows[0][1],
        .select = select,
        .rows = strtoull(rows.rows[0][0], NULL, 10),
        .example = rows.rows[0][1],
    };
    return NULL;
}
