#include "pg/statement.h"

#include "pg/statement_build.h"

enum {
    VALUES_ROWS_MANY = 64,
    VALUES_ROWS_FEW = 8,
    PARAMETERS_MAX = 65535, /* of one statement: a 16-bit number in the protocol's Bind message */
};

/* ---- which columns take part, and how ---- */

static bool has_match(const struct statement_input *in)
{
    return in->op != BATCH_INSERT;
}

static bool has_row(const struct statement_input *in)
{
    return in->op != BATCH_DELETE;
}

const struct value *statement_telling_value(const struct statement_input *in, const struct statement_field *field)
{
    for (unsigned r = 0; r + 1 < in->n_rows; r++) {
        const struct value *v = statement_value(&in->rows[r], field);

        if (v->state != VALUE_NULL)
            return v;
    }
    return statement_value(&in->rows[in->n_rows - 1], field);
}

bool statement_fill_field(const struct statement_input *in, struct statement_field *field)
{
    const struct value *v = statement_telling_value(in, field);

    if (v->state == VALUE_UNCHANGED)
        return false;
    field->is_binary = v->state == VALUE_BINARY;
    field->is_foreign = field->is_binary && field->column->foreign_type != 0;
    field->is_null = field->use == USE_MATCH && in->table->mode == TABLE_UNKEYED && v->state == VALUE_NULL;
    return true;
}

static bool is_key(const struct target_table *table, unsigned column)
{
    for (unsigned i = 0; i < table->n_key; i++)
        if (table->key[i] == column)
            return true;
    return false;
}

/* How a column of the new row takes part; false when it does not. */
static bool use_of(const struct statement_input *in, unsigned column, uint8_t *out_use)
{
    const struct table_plan *plan = in->table->handle;

    if (!plan->columns[column].is_written)
        return false;
    if (in->op == BATCH_INSERT || in->shape == SHAPE_REPLACE) {
        *out_use = in->op == BATCH_INSERT ? USE_INSERT : USE_SET;
        return true;
    }
    /* An UPDATE leaves its key alone: setting it to what it is would cost index entries and HOT. */
    if (in->op == BATCH_UPDATE && in->table->mode == TABLE_KEYED && is_key(in->table, column))
        return false;
    *out_use = plan->columns[column].is_always_identity ? USE_VERIFY : USE_SET;
    return true;
}

static unsigned fill_match(const struct statement_input *in, struct statement_field *fields)
{
    const struct table_plan *plan = in->table->handle;
    bool keyed = in->table->mode == TABLE_KEYED;
    unsigned n = 0;

    for (unsigned i = 0; i < (keyed ? in->table->n_key : plan->n_columns); i++) {
        const struct column_plan *column = &plan->columns[keyed ? in->table->key[i] : i];

        fields[n] = (struct statement_field){.column = column, .index = (uint16_t)i, .use = USE_MATCH};
        if ((keyed || column->is_written) && statement_fill_field(in, &fields[n]))
            n++;
    }
    return n;
}

static unsigned fill_row(const struct statement_input *in, struct statement_field *fields)
{
    const struct table_plan *plan = in->table->handle;
    unsigned n = 0;

    for (unsigned i = 0; i < plan->n_columns; i++) {
        fields[n] = (struct statement_field){.column = &plan->columns[i], .index = (uint16_t)i};
        if (use_of(in, i, &fields[n].use) && statement_fill_field(in, &fields[n]))
            n++;
    }
    return n;
}

struct statement_form statement_form(struct arena *a, const struct statement_input *in)
{
    const struct table_plan *plan = in->table->handle;
    struct statement_field *fields = arena_alloc(a, 2 * (plan->n_columns + 1UL) * sizeof *fields);
    unsigned n = 0;

    if (in->check != NULL)
        n = statement_check_fill(in, fields);
    if (in->check == NULL && has_match(in))
        n += fill_match(in, fields);
    if (in->check == NULL && has_row(in))
        n += fill_row(in, fields + n);
    return (struct statement_form){.input = *in,
                                   .plan = plan,
                                   .n_fields = n,
                                   .fields = fields,
                                   .is_range = in->is_range && in->shape == SHAPE_UNNEST && in->check == NULL &&
                                               in->table->mode == TABLE_KEYED && has_match(in) &&
                                               !fields[0].is_foreign};
}

void statement_key(struct buffer *out, const struct statement_form *form)
{
    buffer_clear(out);
    buffer_append_u64(out, form->plan->id);
    buffer_append_u64(out, (uint64_t)(uintptr_t)form->input.check); /* of the plan */
    buffer_append_char(out, (char)form->input.op);
    buffer_append_char(out, (char)form->input.shape);
    buffer_append_char(out, (char)form->input.table->mode);
    buffer_append_char(out, form->input.shape == SHAPE_VALUES ? (char)form->input.n_rows : 0);
    buffer_append_char(out, (char)((form->input.asserts ? 1 : 0) | (form->is_range ? 2 : 0)));
    for (unsigned i = 0; i < form->n_fields; i++) {
        const struct statement_field *f = &form->fields[i];

        buffer_append_u16(out, f->index);
        buffer_append_char(out, (char)(f->use | (f->is_null ? 16 : 0) | (f->is_foreign ? 32 : 0)));
    }
}

/* ---- SQL ---- */

/* The next parameter, of this field's type; an array of it for UNNEST. */
static unsigned add_param(struct builder *b, const struct statement_field *f)
{
    bool is_array = b->form->input.shape == SHAPE_UNNEST;
    uint32_t same = is_array ? f->column->array_type : f->column->type;
    uint32_t foreign = is_array ? f->column->foreign_array_type : f->column->foreign_type;
    uint32_t type = f->is_foreign ? foreign : same;

    buffer_append(b->types, &type, sizeof type);
    return ++b->n_params;
}

/* With a list separator before all but the first. */
static void separate(struct builder *b, bool *first, const char *separator)
{
    buffer_append_text(b->sql, *first ? "" : separator);
    *first = false;
}

void statement_append_value(struct builder *b, unsigned i, unsigned param)
{
    const struct statement_field *f = &b->form->fields[i];
    enum statement_shape shape = b->form->input.shape;

    if (shape == SHAPE_VALUES || shape == SHAPE_UNNEST)
        buffer_printf(b->sql, "v.c%u", i + 1);
    else
        buffer_printf(b->sql, "$%u", param);
    if (f->is_foreign)
        buffer_printf(b->sql, "::%s", f->column->cast);
}

static void append_params(struct builder *b, const char *open, const char *close)
{
    bool first = true;

    buffer_append_text(b->sql, open);
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        separate(b, &first, ", ");
        buffer_printf(b->sql, "$%u", add_param(b, &b->form->fields[i]));
    }
    buffer_append_text(b->sql, close);
}

/* Side by side, a row at a time: unnest in FROM would first write each array into a tuplestore, a twentieth of an UPDATE's time. */
static void append_arrays(struct builder *b)
{
    bool first = true;

    buffer_append_text(b->sql, "(SELECT ");
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        separate(b, &first, ", ");
        buffer_printf(b->sql, "unnest($%u)", add_param(b, &b->form->fields[i]));
    }
    buffer_append_text(b->sql, ")");
}

void statement_append_rows(struct builder *b)
{
    bool first = true;

    if (b->form->input.shape == SHAPE_UNNEST) {
        append_arrays(b);
    } else {
        buffer_append_text(b->sql, "(VALUES ");
        for (unsigned r = 0; r < b->form->input.n_rows; r++) {
            separate(b, &first, ", ");
            append_params(b, "(", ")");
        }
        buffer_append_text(b->sql, ")");
    }
    buffer_append_text(b->sql, " AS v(");
    first = true;
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        separate(b, &first, ", ");
        buffer_printf(b->sql, "c%u", i + 1);
    }
    buffer_append_text(b->sql, ")");
}

unsigned *statement_number_params(struct arena *a, struct builder *b)
{
    unsigned *numbers = arena_alloc(a, (b->form->n_fields + 1UL) * sizeof *numbers);

    for (unsigned i = 0; i < b->form->n_fields; i++)
        if (!b->form->fields[i].is_null)
            numbers[i] = add_param(b, &b->form->fields[i]);
    return numbers;
}

static void append_column_list(struct builder *b)
{
    bool first = true;

    buffer_append_text(b->sql, " (");
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        separate(b, &first, ", ");
        buffer_append_text(b->sql, b->form->fields[i].column->name);
    }
    buffer_append_text(b->sql, ")");
}

static void build_insert(struct arena *a, struct builder *b)
{
    bool first = true;
    bool is_list = b->form->input.shape == SHAPE_UNNEST || b->form->input.shape == SHAPE_VALUES;

    buffer_printf(b->sql, "INSERT INTO %s", b->form->plan->name);
    if (b->form->n_fields == 0) {
        buffer_append_text(b->sql, " DEFAULT VALUES");
        return;
    }
    append_column_list(b);
    buffer_append_text(b->sql, is_list ? " OVERRIDING SYSTEM VALUE SELECT " : " OVERRIDING SYSTEM VALUE VALUES (");
    unsigned *numbers = is_list ? NULL : statement_number_params(a, b);
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        separate(b, &first, ", ");
        statement_append_value(b, i, numbers == NULL ? 0 : numbers[i]);
    }
    buffer_append_text(b->sql, is_list ? " FROM " : ")");
    if (is_list)
        statement_append_rows(b);
}

void statement_append_same(struct buffer *sql, const struct column_plan *column, const char *left, const char *right)
{
    if (column->equals != NULL)
        buffer_printf(sql, "%s %s %s", left, column->equals, right);
    if (!column->is_exact) /* 1.0 = 1.00 and -0 = 0, and json has no equality at all */
        buffer_printf(sql, "%s%s::text COLLATE \"C\" = %s::text", column->equals == NULL ? "" : " AND ", left, right);
}

/* One column of a row without a key: the same value, not only an equal one (D7). */
static void append_same(struct builder *b, const struct statement_field *f, unsigned param)
{
    CLEANUP(buffer_free) struct buffer *left = buffer_new();
    CLEANUP(buffer_free) struct buffer *right = buffer_new();

    buffer_printf(left, "u.%s", f->column->name);
    buffer_printf(right, f->is_foreign ? "$%u::%s" : "$%u", param, f->column->cast);
    statement_append_same(b->sql, f->column, buffer_text(left), buffer_text(right));
}

/* (F13) Exactly one of the rows that are the same, by the place where it is; IS NULL and = can use an index. */
static void append_match_by_row(struct builder *b, const unsigned *numbers)
{
    const struct table_plan *plan = b->form->plan;
    bool first = true;

    buffer_printf(b->sql, "(t.tableoid, t.ctid) = (SELECT u.tableoid, u.ctid FROM %s%s AS u", plan->only, plan->name);
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        const struct statement_field *f = &b->form->fields[i];

        if (f->use != USE_MATCH)
            continue;
        buffer_append_text(b->sql, first ? " WHERE " : " AND ");
        first = false;
        if (f->is_null)
            buffer_printf(b->sql, "u.%s IS NULL", f->column->name);
        else
            append_same(b, f, numbers[i]);
    }
    buffer_append_text(b->sql, " LIMIT 1)");
}

static void append_condition(struct builder *b, const unsigned *numbers)
{
    bool first = true;

    buffer_append_text(b->sql, " WHERE ");
    if (b->form->input.table->mode == TABLE_UNKEYED) {
        append_match_by_row(b, numbers);
        first = false;
    }
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        const struct statement_field *f = &b->form->fields[i];
        bool is_key_match = f->use == USE_MATCH && b->form->input.table->mode == TABLE_KEYED;

        if (!is_key_match && f->use != USE_VERIFY)
            continue;
        separate(b, &first, " AND ");
        buffer_printf(b->sql, "t.%s %s ", f->column->name, f->column->equals == NULL ? "=" : f->column->equals);
        statement_append_value(b, i, numbers == NULL ? 0 : numbers[i]);
    }
}

/* The keys are sorted, and the first parameter. */
static void append_range(struct builder *b)
{
    const char *key = b->form->fields[0].column->name;

    if (b->form->is_range)
        buffer_printf(b->sql,
                      " AND t.%s OPERATOR(pg_catalog.>=) ($1)[1]"
                      " AND t.%s OPERATOR(pg_catalog.<=) ($1)[pg_catalog.cardinality($1)]",
                      key, key);
}

static bool sets_nothing(const struct statement_form *form)
{
    for (unsigned i = 0; i < form->n_fields; i++)
        if (form->fields[i].use == USE_SET)
            return false;
    return true;
}

static void append_assignments(struct builder *b, const unsigned *numbers)
{
    bool first = true;

    buffer_append_text(b->sql, " SET ");
    for (unsigned i = 0; i < b->form->n_fields; i++) {
        if (b->form->fields[i].use != USE_SET)
            continue;
        separate(b, &first, ", ");
        buffer_printf(b->sql, "%s = ", b->form->fields[i].column->name);
        statement_append_value(b, i, numbers == NULL ? 0 : numbers[i]);
    }
}

/* A row that an UPDATE of the source left as it was must still be there: it is counted, and nothing is written. */
static void build_update(struct arena *a, struct builder *b)
{
    const struct statement_form *form = b->form;
    bool is_list = form->input.shape == SHAPE_UNNEST || form->input.shape == SHAPE_VALUES;
    bool only_looks = sets_nothing(form);
    unsigned *numbers = is_list ? NULL : statement_number_params(a, b);

    buffer_printf(b->sql, only_looks ? "SELECT FROM %s%s AS t" : "UPDATE %s%s AS t", form->plan->only,
                  form->plan->name);
    if (!only_looks)
        append_assignments(b, numbers);
    if (is_list) {
        buffer_append_text(b->sql, only_looks ? ", " : " FROM ");
        statement_append_rows(b);
    }
    append_condition(b, numbers);
    append_range(b);
}

/* One key column: the planner makes one index scan over a sorted array of it, without a join. */
static bool fits_any(const struct statement_form *form)
{
    return form->input.shape == SHAPE_UNNEST && form->n_fields == 1 && !form->fields[0].is_foreign;
}

static void build_delete(struct arena *a, struct builder *b)
{
    const struct statement_form *form = b->form;
    bool is_list = form->input.shape == SHAPE_UNNEST || form->input.shape == SHAPE_VALUES;

    buffer_printf(b->sql, "DELETE FROM %s%s AS t", form->plan->only, form->plan->name);
    if (fits_any(form) && !form->is_range) {
        buffer_printf(b->sql, " WHERE t.%s %s ANY ($%u)", form->fields[0].column->name, form->fields[0].column->equals,
                      add_param(b, &form->fields[0]));
        return;
    }
    unsigned *numbers = is_list ? NULL : statement_number_params(a, b);
    if (is_list) {
        buffer_append_text(b->sql, " USING ");
        statement_append_rows(b);
    }
    append_condition(b, numbers);
    append_range(b);
}

static const struct statement_field *field_that_sets(const struct statement_form *form, unsigned column)
{
    for (unsigned i = 0; i < form->n_fields; i++)
        if (form->fields[i].use == USE_SET && form->fields[i].index == column)
            return &form->fields[i];
    return NULL;
}

/* What the change does not name keeps the value that the deleted row had. */
static void append_replacement(struct builder *b, const unsigned *numbers, bool as_values)
{
    const struct statement_form *form = b->form;
    bool first = true;

    for (unsigned i = 0; i < form->plan->n_columns; i++) {
        const struct column_plan *column = &form->plan->columns[i];
        const struct statement_field *f = field_that_sets(form, i);

        if (!column->is_written)
            continue;
        separate(b, &first, ", ");
        if (as_values && f != NULL)
            statement_append_value(b, (unsigned)(f - form->fields), numbers[f - form->fields]);
        else
            buffer_printf(b->sql, "%s%s", as_values ? "old." : "", column->name);
    }
    for (unsigned i = 0; i < form->plan->n_extra; i++) {
        separate(b, &first, ", ");
        buffer_printf(b->sql, "%s%s", as_values ? "old." : "", form->plan->extra[i]);
    }
}

static void build_replace(struct arena *a, struct builder *b)
{
    const struct table_plan *plan = b->form->plan;
    unsigned *numbers = statement_number_params(a, b);

    buffer_printf(b->sql, "WITH old AS (DELETE FROM %s%s AS t", plan->only, plan->name);
    append_condition(b, numbers);
    buffer_printf(b->sql, " RETURNING t.*) INSERT INTO %s (", plan->name);
    append_replacement(b, numbers, false);
    buffer_append_text(b->sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    append_replacement(b, numbers, true);
    buffer_append_text(b->sql, " FROM old");
}

typedef void build_fn(struct arena *a, struct builder *b);

static build_fn *const build_op[BATCH_OP_COUNT] = {
    [BATCH_INSERT] = build_insert,
    [BATCH_UPDATE] = build_update,
    [BATCH_REKEY] = build_update,
    [BATCH_DELETE] = build_delete,
};

/* (F9) So that COMMIT may be sent behind it without its answer: it is skipped when the count is another. */
static void append_assertion(struct builder *b)
{
    const struct statement_input *in = &b->form->input;
    bool only_looks = has_row(in) && in->op != BATCH_INSERT && sets_nothing(b->form);

    buffer_append_text(b->sql, only_looks ? "" : " RETURNING 1");
    if (in->shape == SHAPE_UNNEST && b->form->n_fields > 0)
        buffer_append_text(b->sql, ") SELECT 1 / (count(*) = cardinality($1))::int FROM done");
    else
        buffer_printf(b->sql, ") SELECT 1 / (count(*) = %u)::int FROM done", in->n_rows);
}

struct statement_sql statement_build(struct arena *a, const struct statement_form *form)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    CLEANUP(buffer_free) struct buffer *types = buffer_new();
    struct builder b = {.form = form, .sql = sql, .types = types};

    bool counts = form->input.asserts && form->input.check == NULL;

    if (counts)
        buffer_append_text(sql, "WITH done AS (");
    if (form->input.check != NULL)
        statement_check_build(a, &b);
    else if (form->input.shape == SHAPE_REPLACE)
        build_replace(a, &b);
    else
        build_op[form->input.op](a, &b);
    if (counts)
        append_assertion(&b);

    struct statement_sql out = {.text = arena_strdup(a, buffer_text(sql)), .n_params = b.n_params};
    out.types = arena_alloc(a, types->length + 1);
    if (types->length > 0)
        memcpy(out.types, types->bytes, types->length);
    return out;
}

/* ---- shapes ---- */

static bool takes_part(const struct batch *batch, unsigned column)
{
    const struct table_plan *plan = batch->table->handle;

    if (batch->op == BATCH_DELETE)
        return is_key(batch->table, column);
    return plan->columns[column].is_written || is_key(batch->table, column);
}

static bool fits_unnest(const struct batch *batch)
{
    const struct table_plan *plan = batch->table->handle;

    for (unsigned i = 0; i < plan->n_columns; i++) {
        const struct column_plan *c = &plan->columns[i];
        bool fits = c->is_unnestable && c->array_type != 0 && (c->foreign_type == 0 || c->foreign_array_type != 0);

        if (!fits && takes_part(batch, i))
            return false;
    }
    return plan->n_columns > 0;
}

enum statement_shape statement_choose(const struct batch *batch, unsigned n, unsigned *out_rows)
{
    const struct table_plan *plan = batch->table->handle;
    unsigned most = PARAMETERS_MAX / (2 * plan->n_columns + 1); /* key and row */
    unsigned list = n >= VALUES_ROWS_MANY && most >= VALUES_ROWS_MANY ? VALUES_ROWS_MANY : VALUES_ROWS_FEW;
    bool single = n == 1 || (batch->table->mode == TABLE_UNKEYED && batch->op != BATCH_INSERT);

    if (!single && fits_unnest(batch)) {
        *out_rows = n;
        return SHAPE_UNNEST;
    }
    if (!single && n >= list && most >= list && plan->n_columns > 0) {
        *out_rows = list;
        return SHAPE_VALUES;
    }
    *out_rows = 1;
    return SHAPE_SINGLE;
}
