/*
 * What pg/statement and its checks (pg/statement_check) share: the text in the making. For these two only.
 */
#pragma once

#include "pg/statement.h"

struct builder {
    const struct statement_form *form;
    struct buffer *sql;
    struct buffer *types; /* uint32_t each */
    unsigned n_params;
};

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
