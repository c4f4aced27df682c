/*
 * What pg/statement shares with its checks (pg/statement_check), parameters (pg/statement_params) and COPY (pg/statement_copy): the text in the
 * making, and whose values are whose. For these alone.
 */
#pragma once

#include "pg/statement.h"

struct builder {
    const struct statement_form *form;
    struct buffer *sql;
    struct buffer *types; /* uint32_t each */
    unsigned n_params;
};

static inline const struct value *statement_value(const struct batch_row *row, const struct statement_field *field)
{
    return field->use == USE_MATCH ? &row->key[field->index] : &row->row[field->index];
}

/* The first value that tells the state of its column in all rows; a NULL when there is no other. */
const struct value *statement_telling_value(const struct statement_input *in, const struct statement_field *field);

/* False when the column takes no part: the source sent no value for it. */
bool statement_fill_field(const struct statement_input *in, struct statement_field *field);

/* Field i of the row in hand: a parameter, or a column of the list `v` that holds all rows. */
void statement_append_value(struct builder *b, unsigned i, unsigned param);

/* `unnest($1, $2) AS v(c1, c2)`, `(VALUES ($1, $2), ($3, $4)) AS v(c1, c2)` */
void statement_append_rows(struct builder *b);

/* Parameters of a single row, numbered once, before the text that uses them. */
unsigned *statement_number_params(struct arena *a, struct builder *b);

/* A statement with `check`. */
unsigned statement_check_fill(const struct statement_input *in, struct statement_field *fields);
void statement_check_build(struct arena *a, struct builder *b);
