#include "pg/foreign_keys.h"

#include "pg/cells.h"

#define KEYS                                                                                                       \
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(r.relname), c.conname, c.oid::text, c.convalidated::text" \
    "  FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace"   \
    " WHERE c.contype = 'f' AND "

static struct foreign_key read_key(char *const *row)
{
    return (struct foreign_key){
        .table = row[0], .name = row[1], .oid = cell_u32(row[2]), .is_valid = cell_bool(row[3])};
}

struct error *foreign_keys_unchecked(struct pg_conn *conn, struct arena *a, struct foreign_key **out, unsigned *out_n)
{
    struct pg_rows rows;

    TRY(pg_query(conn, a, "looking for foreign keys that are not valid",
                 KEYS "NOT c.convalidated AND coalesce(to_jsonb(c) ->> 'conparentid', '0') = '0'", NULL, 0, &rows));
    struct foreign_key *keys = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *keys);
    for (unsigned i = 0; i < rows.n_rows; i++)
        keys[i] = read_key(rows.rows[i]);
    *out = keys;
    *out_n = rows.n_rows;
    return NULL;
}

struct error *foreign_keys_find(struct pg_conn *conn, struct arena *a, const char *table, const char *name,
                                bool *out_found, struct foreign_key *out)
{
    const char *params[] = {table, name};
    struct pg_rows rows;

    TRY(pg_query(conn, a, "looking for a foreign key", KEYS "c.conrelid = to_regclass($1) AND c.conname = $2", params,
                 COUNT_OF(params), &rows));
    *out_found = rows.n_rows == 1;
    if (*out_found)
        *out = read_key(rows.rows[0]);
    return NULL;
}

const char *foreign_key_validation(struct arena *a, const struct foreign_key *key)
{
    return arena_printf(a, "ALTER TABLE %s VALIDATE CONSTRAINT %s", key->table, pg_quote_identifier(a, key->name));
}

struct error *foreign_keys_validate(struct pg_conn *conn, struct arena *a, const struct foreign_key *key)
{
    return pg_execute(conn, "checking a foreign key", foreign_key_validation(a, key));
}
