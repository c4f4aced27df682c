#include "pg/source_row.h"

#include "base/buffer.h"
#include "pg/conn.h"
#include "pg/error.h"

enum { LARGE_BYTES = 16 * 1024 * 1024 };

struct pg_source_rows {
    struct pg_source_rows_options options;
    struct pg_conn *conn;
};

struct pg_source_rows *pg_source_rows_new(struct arena *a, struct pg_source_rows_options options)
{
    struct pg_source_rows *r = ARENA_NEW(a, struct pg_source_rows);

    r->options = options;
    return r;
}

void pg_source_rows_close(struct pg_source_rows *r)
{
    if (r != NULL)
        pg_conn_close(TAKE(r->conn));
}

MUST_USE static struct error *connected(struct pg_source_rows *r)
{
    return pg_conn_keep(r->options.endpoint,
                        (struct pg_connect_options){.application_name = r->options.application_name,
                                                    .encoding = r->options.encoding,
                                                    .stop = r->options.stop},
                        &r->conn);
}

/* What libpq wants of the key: values travel as they came, in their own format (A3). */
struct key_params {
    Oid *types;
    const char **bytes;
    int *lengths, *formats;
};

static struct key_params key_params(struct arena *a, const struct row_change *change)
{
    const struct target_table *table = change->table;
    struct key_params p = {
        .types = arena_alloc(a, table->n_key * sizeof *p.types),
        .bytes = arena_alloc(a, table->n_key * sizeof *p.bytes),
        .lengths = arena_alloc(a, table->n_key * sizeof *p.lengths),
        .formats = arena_alloc(a, table->n_key * sizeof *p.formats),
    };

    for (unsigned i = 0; i < table->n_key; i++) {
        const struct value *v = &change->row.key[i];

        p.types[i] = table->relation->columns[table->key[i]].type;
        p.lengths[i] = (int)v->length;
        p.formats[i] = v->state == VALUE_BINARY;
        p.bytes[i] = value_has_bytes(v) ? memcpy(arena_alloc(a, v->length + 1UL), v->bytes, v->length) : NULL;
    }
    return p;
}

/* Rows of inheritance children are others' rows; those of partitions are the parent's. */
static const char *statement(struct arena *a, const struct row_change *change)
{
    const struct target_table *table = change->table;
    const struct stream_relation *relation = table->relation;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    for (unsigned i = 0; i < relation->n_columns; i++)
        buffer_printf(sql, "%s%s", i == 0 ? "SELECT " : ", ", pg_quote_identifier(a, relation->columns[i].name));
    buffer_printf(sql,
                  " FROM %s WHERE (tableoid = %u::pg_catalog.oid OR EXISTS (SELECT FROM pg_catalog.pg_class "
                  "WHERE oid = %u::pg_catalog.oid AND relkind = 'p'))",
                  pg_quote_name(a, relation->schema, relation->name), relation->oid, relation->oid);
    for (unsigned i = 0; i < table->n_key; i++)
        buffer_printf(sql, " AND %s = $%u", pg_quote_identifier(a, relation->columns[table->key[i]].name), i + 1);
    return arena_strdup(a, buffer_text(sql));
}

static const struct value *row_of(struct arena *a, const PGresult *rows, unsigned n)
{
    struct value *row = arena_alloc(a, (n + 1UL) * sizeof *row);

    for (unsigned i = 0; i < n; i++) {
        if (PQgetisnull(rows, 0, (int)i))
            continue; /* zeros are a NULL */
        row[i] = (struct value){.state = VALUE_TEXT, .length = (uint32_t)PQgetlength(rows, 0, (int)i), .has_nul = true};
        row[i].bytes = memcpy(arena_bytes(a, row[i].length + 1UL), PQgetvalue(rows, 0, (int)i), row[i].length + 1UL);
    }
    return row;
}

MUST_USE static struct error *take_result(struct arena *a, const PGresult *result, const struct row_change *change,
                                          const struct value **out_row)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return error_new(pg_error_kind(PQresultErrorField(result, PG_DIAG_SQLSTATE)), "%s",
                         PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) == NULL
                             ? "the session is lost"
                             : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
    if (PQntuples(result) > 1)
        return error_new(ERROR_DATA, "the source has %d such rows", PQntuples(result));
    *out_row = PQntuples(result) == 0 ? NULL : row_of(a, result, change->table->relation->n_columns);
    return NULL;
}

MUST_USE static struct error *ask(struct pg_source_rows *r, struct arena *a, const struct row_change *change,
                                  const struct value **out_row)
{
    struct key_params p = key_params(a, change);
    PGresult *result = NULL, *end = NULL;

    if (PQsendQueryParams(pg_conn_handle(r->conn), statement(a, change), (int)change->table->n_key, p.types, p.bytes,
                          p.lengths, p.formats, 0) == 0)
        return error_new(ERROR_TRANSIENT, "%s", PQerrorMessage(pg_conn_handle(r->conn)));
    TRY(pg_conn_flush(r->conn));
    TRY(pg_conn_result(r->conn, &result));
    struct error *err = pg_conn_result(r->conn, &end); /* of the command */
    PQclear(end);
    if (PQresultMemorySize(result) > LARGE_BYTES) /* libpq never gives back what it read it into */
        pg_conn_close(TAKE(r->conn));
    if (err == NULL)
        err = take_result(a, result, change, out_row);
    PQclear(result);
    return err;
}

static struct error *fetch(void *self, struct arena *a, const struct row_change *change, const struct value **out_row)
{
    struct pg_source_rows *r = self;
    struct error *err = connected(r);

    if (err == NULL)
        err = ask(r, a, change, out_row);
    if (err == NULL)
        return NULL;
    pg_conn_close(TAKE(r->conn)); /* whatever is left of the answer goes with it */
    return error_wrap(err, "fetching a row of table \"%s.%s\" from the source", change->table->relation->schema,
                      change->table->relation->name);
}

struct source_rows pg_source_rows_port(struct pg_source_rows *r)
{
    return (struct source_rows){.fetch = fetch, .self = r};
}
