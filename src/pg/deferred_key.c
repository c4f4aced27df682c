#include "pg/deferred_key.h"

#include "pg/cells.h"
#include "pg/sql.h"

/* sql/target_deferred.sql */
enum deferred_column {
    DEFERRED_OID,
    DEFERRED_NAME,
    DEFERRED_TABLE,
    DEFERRED_PREDICATE,
    DEFERRED_EXPRESSION,
    DEFERRED_COLUMN,
    DEFERRED_OPERATOR,
    DEFERRED_NULLS_EQUAL,
    DEFERRED_TABLES,
};

static const char *listed(struct arena *a, const char *list, const char *separator, const char *item)
{
    return arena_printf(a, "%s%s%s", list, *list == '\0' ? "" : separator, item);
}

static const char *exclusion(struct arena *a, const struct deferred_key *key, unsigned n, const char *operator)
{
    if (!key->nulls_are_equal)
        return arena_printf(a, "a.pgtide_%u %s b.pgtide_%u", n, operator, n);
    return arena_printf(a, "(a.pgtide_%u %s b.pgtide_%u OR (a.pgtide_%u IS NULL AND b.pgtide_%u IS NULL))", n, operator,
                        n, n, n);
}

static void add_column(struct arena *a, struct deferred_key *key, char *const *row, unsigned n)
{
    const char *expression = row[DEFERRED_EXPRESSION];

    key->columns = listed(a, key->columns, ", ", expression);
    key->values = listed(a, key->values, ", ", arena_printf(a, "a.pgtide_%u", n));
    key->source = listed(a, key->source, ", ", arena_printf(a, "(%s) AS pgtide_%u", expression, n));
    key->excludes = listed(a, key->excludes, " AND ", exclusion(a, key, n, row[DEFERRED_OPERATOR]));
    if (row[DEFERRED_COLUMN] != NULL)
        key->names[key->n_names++] = row[DEFERRED_COLUMN];
}

static struct deferred_key new_key(struct arena *a, char *const *row, unsigned columns_max)
{
    return (struct deferred_key){
        .name = row[DEFERRED_NAME],
        .table = row[DEFERRED_TABLE],
        .columns = "",
        .values = "",
        .source = "SELECT tableoid AS pgtide_o, ctid AS pgtide_p",
        .predicate = row[DEFERRED_PREDICATE],
        .excludes = "",
        .names = (void *)arena_alloc(a, columns_max * sizeof(char *)),
        .nulls_are_equal = cell_bool(row[DEFERRED_NULLS_EQUAL]),
    };
}

struct error *deferred_keys_read(struct pg_conn *conn, struct arena *a, uint32_t table, struct deferred_keys *out)
{
    const char *params[] = {arena_printf(a, "%u", table)};
    const char *last = "";
    struct pg_rows rows;
    unsigned n = 0;

    TRY(pg_query(conn, a, "reading deferrable constraints", sql_target_deferred, params, 1, &rows));
    struct deferred_key *keys = arena_alloc(a, (rows.n_rows + 1UL) * sizeof *keys);
    *out = (struct deferred_keys){.keys = keys};
    for (unsigned i = 0; i < rows.n_rows; i++, n++) {
        char *const *row = rows.rows[i];

        if (strcmp(row[DEFERRED_OID], last) != 0) {
            keys[out->n++] = new_key(a, row, rows.n_rows);
            n = 0;
        }
        last = row[DEFERRED_OID];
        out->tables = row[DEFERRED_TABLES];
        add_column(a, &keys[out->n - 1], row, n + 1);
    }
    return NULL;
}

void deferred_key_append_rows(struct buffer *sql, const struct deferred_key *key, const char *further)
{
    buffer_printf(sql, "(%s%s FROM %s", key->source, further, key->table);
    if (key->predicate != NULL)
        buffer_printf(sql, " WHERE %s", key->predicate);
    buffer_append_char(sql, ')');
}

void deferred_key_append_others(struct buffer *sql, const struct deferred_key *key, const char *further)
{
    buffer_append_text(sql, " JOIN ");
    deferred_key_append_rows(sql, key, further);
    buffer_printf(sql, " AS b ON %s AND (b.pgtide_o, b.pgtide_p) <> (a.pgtide_o, a.pgtide_p)", key->excludes);
}
