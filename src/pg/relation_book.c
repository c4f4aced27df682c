#include "pg/relation_book.h"

#include "pg/cells.h"
#include "pg/conn.h"
#include "pg/sql.h"

struct pg_relation_book {
    struct pg_relation_book_options options;
    struct pg_conn *conn;
};

enum book_column {
    BOOK_OID,
    BOOK_IS_CARRIED,
    BOOK_IDENTITY,
    BOOK_NAME,
    BOOK_TYPE,
    BOOK_TYPMOD,
    BOOK_IN_IDENTITY,
    BOOK_GENERATED,
};

/* A row for each column; a table without columns has one whose name is NULL. */
static void take_rows(struct arena *a, const struct pg_rows *rows, struct described_relation *out)
{
    *out = (struct described_relation){
        .oid = cell_u32(rows->rows[0][BOOK_OID]),
        .is_carried = cell_bool(rows->rows[0][BOOK_IS_CARRIED]),
        .identity = cell_identity(rows->rows[0][BOOK_IDENTITY]),
        .columns = arena_alloc(a, rows->n_rows * sizeof *out->columns),
    };
    for (unsigned i = 0; i < rows->n_rows; i++) {
        char *const *row = rows->rows[i];

        if (row[BOOK_NAME] == NULL)
            continue;
        out->columns[out->n_columns++] = (struct described_column){
            .name = row[BOOK_NAME],
            .type = cell_u32(row[BOOK_TYPE]),
            .typmod = cell_int(row[BOOK_TYPMOD]),
            .in_identity = cell_bool(row[BOOK_IN_IDENTITY]),
            .is_generated = cell_bool(row[BOOK_GENERATED]),
        };
    }
}

MUST_USE static struct error *ensure_session(struct pg_relation_book *b)
{
    return pg_conn_keep(b->options.endpoint,
                        (struct pg_connect_options){.application_name = b->options.application_name,
                                                    .encoding = b->options.encoding,
                                                    .stop = b->options.stop},
                        &b->conn);
}

static struct error *describe(void *self, struct arena *a, const char *schema, const char *name, bool *out_exists,
                              struct described_relation *out)
{
    struct pg_relation_book *b = self;
    const char *const params[] = {schema, name};
    struct pg_rows rows;

    TRY(ensure_session(b));
    TRY(pg_query(b->conn, a, arena_printf(a, "reading the columns of table \"%s\".\"%s\" of the source", schema, name),
                 sql_describe_relation, params, COUNT_OF(params), &rows));
    *out_exists = rows.n_rows > 0;
    if (rows.n_rows > 0)
        take_rows(a, &rows, out);
    return NULL;
}

struct pg_relation_book *pg_relation_book_new(struct arena *a, struct pg_relation_book_options options)
{
    struct pg_relation_book *b = ARENA_NEW(a, struct pg_relation_book);

    b->options = options;
    return b;
}

struct relation_book pg_relation_book_port(struct pg_relation_book *b)
{
    return (struct relation_book){.describe = describe, .self = b};
}

void pg_relation_book_close(struct pg_relation_book *b)
{
    if (b != NULL)
        pg_conn_close(TAKE(b->conn));
}
