/*
 * The statements of apply: SQL text and parameters, from the plan of a table and the rows of a batch. Pure: no session, no I/O.
 *
 * A statement depends on its key alone (plan, shape, number of rows for VALUES lists, state of each column): equal keys have equal
 * SQL and parameter types, so a session prepares each once. Values become parameters as they are (A3): a single value in
 * its own format, a column of many as one array parameter of the column's type, binary (header and elements, array_recv) or
 * text ("{…}", array_in) as the values are. No value ever gets into the text of a statement.
 *
 * Not thread-safe; memory is the arena's or the buffer's that the caller gives.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "pg/deferred_key.h"
#include "pg/target_table.h"
#include "ports/target.h"

enum statement_shape {
    SHAPE_SINGLE, /* one row, one parameter a value */
    SHAPE_VALUES, /* a list of VALUES, one parameter a value: for types that cannot go through unnest (F12) */
    SHAPE_UNNEST, /* one array parameter a column, any number of rows */
    SHAPE_REPLACE, /* one row: DELETE … RETURNING, then INSERT with what it held; for changes that UPDATE may not make */
    SHAPE_COUNT,
};

/* What is done with which rows: a batch, or a slice of it. Rows as in struct batch: alike column by column but for NULL. */
struct statement_input {
    const struct target_table *table;
    enum batch_op op;
    enum statement_shape shape;
    const struct batch_row *rows;
    unsigned n_rows;
    const struct deferred_key *check; /* not NULL: nothing is written; asserts that what was is alone with this key */
    bool
        asserts; /* any other number of rows than n_rows is an error of the server, division_by_zero. Not for SHAPE_REPLACE */
    bool is_range; /* as in struct batch; for SHAPE_UNNEST */
};

/* With `check`: how many of the `n` rows that are left one statement takes; none at all when n is 0: then it looks at the whole table. */
enum statement_shape statement_check_choose(const struct statement_input *in, unsigned n, unsigned *out_rows);

enum statement_use {
    USE_MATCH,  /* finds the row: a key column, or without a key a column of the old row */
    USE_SET,    /* gets a new value */
    USE_VERIFY, /* must have this value already: GENERATED ALWAYS AS IDENTITY, which UPDATE may not set */
    USE_INSERT,
};

/* A column that takes part, and from which of the row's two arrays its values come. */
struct statement_field {
    const struct column_plan *column;
    uint16_t index; /* into batch_row.key for USE_MATCH, else into batch_row.row */
    uint8_t use;
    bool is_null;    /* a match without a parameter: IS NULL (F13) */
    bool is_foreign; /* declared as another type than the target's, and cast */
    bool is_binary;  /* what has bytes is binary */
};

struct statement_form {
    struct statement_input input;
    const struct table_plan *plan;
    unsigned n_fields;
    const struct statement_field *fields;
    bool
        is_range; /* the rows between the first key and the last are read and joined: to be planned without nested loops */
};

/* Lives in `a`; points to the rows. */
struct statement_form statement_form(struct arena *a, const struct statement_input *in);

/* Writes the key to `out`, which is cleared before. Equal bytes, equal statement. */
void statement_key(struct buffer *out, const struct statement_form *form);

struct statement_sql {
    char *text;
    unsigned n_params;
    uint32_t *types; /* oids on the target */
};

/* In `a`. */
struct statement_sql statement_build(struct arena *a, const struct statement_form *form);

/* Parameters in the order of statement_sql.types, as PQsendQueryPrepared takes them. Reused from call to call. */
struct statement_params {
    unsigned n;
    unsigned capacity;
    const char **values; /* NULL for SQL NULL; point to the rows or into `data` */
    int *lengths;
    int *formats;    /* 0 text, 1 binary */
    size_t *offsets; /* into `data`, until everything is there */
    size_t bytes;    /* of all values */
    struct buffer *data;
};

RETURNS_NONNULL struct statement_params *statement_params_new(void);
void statement_params_free(struct statement_params *p);
DEFINE_CLEANUP(struct statement_params, statement_params_free);

/* The rows must live as long as the parameters are used. ERROR_DATA when one is too large for the protocol (1 GiB). */
MUST_USE struct error *statement_bind(const struct statement_form *form, struct statement_params *out);

/* One by one, for statements made elsewhere: statement_params_clear, any number of add, statement_params_finish. */
void statement_params_clear(struct statement_params *p);
void statement_params_add(struct statement_params *p, const struct value *v);
void statement_params_add_text(struct statement_params *p, const char *text); /* NULL for SQL NULL */
MUST_USE struct error *statement_params_finish(struct statement_params *p);

/* `"c" = $1`, exactly the same value and not only an equal one: with types whose equality is wider, compared as text too. */
void statement_append_same(struct buffer *sql, const struct column_plan *column, const char *left, const char *right);

/* The shape for the next rows of a batch, and how many of the `n` that are left it takes. */
enum statement_shape statement_choose(const struct batch *batch, unsigned n, unsigned *out_rows);

/* COPY for an INSERT batch: possible when all its values have one format and the types of both sides are the same. */
enum copy_format {
    COPY_IMPOSSIBLE,
    COPY_BINARY,
    COPY_TEXT,
};
enum copy_format statement_copy_format(const struct batch *batch);
char *statement_copy_sql(struct arena *a, const struct batch *batch, enum copy_format format);

/* Appends rows from *next on, at least one, until `out` holds `limit` bytes; *next is then the first that is left. */
void statement_copy_encode(struct buffer *out, const struct batch *batch, enum copy_format format, unsigned *next,
                           size_t limit);
