#include "pg/lineage.h"

#include "pg/cells.h"

struct error *lineage_partitions(struct pg_conn *source, struct arena *a, struct partition **out, unsigned *out_n)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading which tables are partitions",
                 "SELECT i.inhrelid::text, i.inhparent::text FROM pg_catalog.pg_inherits i"
                 "  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid"
                 " WHERE c.relispartition AND c.relkind IN ('r', 'p') ORDER BY i.inhrelid",
                 NULL, 0, &rows));
    struct partition *partitions = arena_alloc(a, (rows.n_rows + 1) * sizeof *partitions);
    for (unsigned i = 0; i < rows.n_rows; i++)
        partitions[i] = (struct partition){cell_u32(rows.rows[i][0]), cell_u32(rows.rows[i][1])};
    *out = partitions;
    *out_n = rows.n_rows;
    return NULL;
}

struct error *lineage_of_extensions(struct pg_conn *source, struct arena *a, uint32_t **out, unsigned *out_n)
{
    struct pg_rows rows;

    TRY(pg_query(source, a, "reading which tables belong to extensions",
                 "SELECT c.oid::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_depend d ON d.objid = c.oid"
                 "   AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e'"
                 " WHERE c.relkind IN ('r', 'p') ORDER BY c.oid",
                 NULL, 0, &rows));
    uint32_t *oids = arena_alloc(a, (rows.n_rows + 1) * sizeof *oids);
    for (unsigned i = 0; i < rows.n_rows; i++)
        oids[i] = cell_u32(rows.rows[i][0]);
    *out = oids;
    *out_n = rows.n_rows;
    return NULL;
}
