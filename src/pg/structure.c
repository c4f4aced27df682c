#include "pg/structure.h"

#include "pg/cells.h"
#include "pg/sql.h"

struct error *structure_read(struct pg_conn *conn, struct arena *a, struct structure *out)
{
    struct pg_rows rows;

    TRY(pg_query(conn, a, "reading the structure",
                 arena_printf(a, "SELECT * FROM (%s) AS s (key, parent, name, definition) ORDER BY key COLLATE \"C\"",
                              sql_structure),
                 NULL, 0, &rows));
    out->entries = arena_alloc(a, ((size_t)rows.n_rows + 1) * sizeof *out->entries);
    out->n = rows.n_rows;
    for (unsigned i = 0; i < rows.n_rows; i++) {
        char **row = rows.rows[i];

        out->entries[i] = (struct structure_entry){
            .key = row[0], .parent = row[1], .name = row[2], .definition = row[3] == NULL ? "" : row[3]};
    }
    return NULL;
}

struct error *structure_fingerprint(struct pg_conn *conn, struct arena *a, char **out_text)
{
    const char *sql =
        arena_printf(a,
                     "SELECT count(*) || ' ' || coalesce(sum(('x' || left(md5(s::text), 15))::bit(60)::bigint), 0)"
                     "  FROM (%s) AS s (key, parent, name, definition)",
                     sql_structure);

    return pg_query_text(conn, a, "looking whether the structure has changed", sql, NULL, 0, out_text);
}

struct error *structure_is_published(struct pg_conn *conn, struct arena *a, const char *publication, const char *key,
                                     bool *out_is_published)
{
    static const char sql[] =
        "WITH RECURSIVE below (oid) AS (SELECT substr($2, 3)::oid UNION SELECT inhrelid FROM pg_inherits JOIN below ON "
        "inhparent = below.oid)"
        "SELECT NOT EXISTS (SELECT FROM below JOIN pg_class c ON c.oid = below.oid JOIN pg_namespace n ON n.oid = "
        "c.relnamespace"
        "  WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND NOT EXISTS (SELECT FROM pg_publication_tables p"
        "    WHERE p.pubname = $1 AND p.schemaname = n.nspname AND p.tablename = c.relname))";
    const char *params[] = {publication, key};
    struct pg_rows rows;

    *out_is_published = true;
    if (publication == NULL)
        return NULL;
    TRY(pg_query(conn, a, "looking whether a table is published", sql, params, 2, &rows));
    *out_is_published = cell_bool(rows.rows[0][0]);
    return NULL;
}
