/* Whether rows that were written are alone with a deferrable key: one question for all of a batch. */
#include "pg/statement_build.h"

/* The row is found by the key that it has now; where the table has none, by what the constraint says of it. */
static unsigned fill_by_key(const struct statement_input *in, struct statement_field *fields)
{
    const struct table_plan *plan = in->table->handle;
    bool is_old_key = in->op == BATCH_UPDATE;
    unsigned n = 0;

    for (unsigned i = 0; i < in->table->n_key; i++) {
        unsigned column = in->table->key[i];

        fields[n] = (struct statement_field){.column = &plan->columns[column],
                                             .index = (uint16_t)(is_old_key ? i : column),
                                             .use = is_old_key ? USE_MATCH : USE_INSERT};
        n += statement_fill_field(in, &fields[n]);
    }
    return n;
}

static bool is_named(const struct deferred_key *key, const char *column)
{
    for (unsigned i = 0; i < key->n_names; i++)
        if (strcmp(key->names[i], column) == 0)
            return true;
    return false;
}

static unsigned fill_by_constraint(const struct statement_input *in, struct statement_field *fields)
{
    const struct table_plan *plan = in->table->handle;
    unsigned n = 0;

    for (unsigned i = 0; i < plan->n_columns; i++) {
        fields[n] = (struct statement_field){.column = &plan->columns[i], .index = (uint16_t)i, .use = USE_INSERT};
        if (is_named(in->check, in->table->relation->columns[i].name) && plan->columns[i].is_written &&
            plan->columns[i].equals != NULL)
            n += statement_fill_field(in, &fields[n]);
    }
    return n;
}

unsigned statement_check_fill(const struct statement_input *in, struct statement_field *fields)
{
    if (in->n_rows == 0)
        return 0;
    return in->table->mode == TABLE_KEYED ? fill_by_key(in, fields) : fill_by_constraint(in, fields);
}

enum statement_shape statement_check_choose(const struct statement_input *in, unsigned n, unsigned *out_rows)
{
    struct statement_input all = *in;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "shape of a check");

    *out_rows = n;
    if (n <= 1)
        return SHAPE_SINGLE;
    all.n_rows = n;
    struct statement_form form = statement_form(a, &all);
    for (unsigned i = 0; i < form.n_fields; i++) {
        const struct column_plan *c = form.fields[i].column;

        if (!c->is_unnestable || c->array_type == 0 || (c->foreign_type != 0 && c->foreign_array_type == 0))
            *out_rows = 1;
    }
    return *out_rows == 1 || form.n_fields == 0 ? SHAPE_SINGLE : SHAPE_UNNEST;
}

/* The columns by which `a` is found, beside those of the constraint. */
static const char *further_columns(struct arena *a, const struct statement_form *form)
{
    const char *further = "";

    for (unsigned i = 0; i < form->n_fields; i++)
        further = arena_printf(a, "%s, %s AS pgtide_m%u", further, form->fields[i].column->name, i + 1);
    return further;
}

static void append_match(struct builder *b, unsigned i, const unsigned *numbers)
{
    const struct statement_form *form = b->form;
    const char *equals = form->fields[i].column->equals;
    bool nulls_are_equal = form->input.table->mode != TABLE_KEYED && form->input.check->nulls_are_equal;

    buffer_printf(b->sql, "%sa.pgtide_m%u %s ", nulls_are_equal ? "(" : "", i + 1, equals == NULL ? "=" : equals);
    statement_append_value(b, i, numbers == NULL ? 0 : numbers[i]);
    if (!nulls_are_equal)
        return;
    buffer_printf(b->sql, " OR (a.pgtide_m%u IS NULL AND ", i + 1);
    statement_append_value(b, i, numbers == NULL ? 0 : numbers[i]);
    buffer_append_text(b->sql, " IS NULL))");
}

void statement_check_build(struct arena *a, struct builder *b)
{
    const struct statement_form *form = b->form;
    bool is_list = form->input.shape == SHAPE_UNNEST;
    unsigned *numbers = is_list ? NULL : statement_number_params(a, b);

    buffer_append_text(b->sql, "SELECT 1 / (NOT EXISTS (SELECT FROM ");
    if (is_list) {
        statement_append_rows(b);
        buffer_append_text(b->sql, " CROSS JOIN ");
    }
    deferred_key_append_rows(b->sql, form->input.check, further_columns(a, form));
    buffer_append_text(b->sql, " AS a");
    deferred_key_append_others(b->sql, form->input.check, "");
    for (unsigned i = 0; i < form->n_fields; i++) {
        buffer_append_text(b->sql, i == 0 ? " WHERE " : " AND ");
        append_match(b, i, numbers);
    }
    buffer_append_text(b->sql, "))::int");
}
