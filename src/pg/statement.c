#include "pg/statement.h"

#include "pg/statement_build.h"

#include <limits.h>

enum {
    VALUES_ROWS_MANY = 64,
    VALUES_ROWS_FEW = 8,
    PARAMETERS_MAX = 65535, /* of one statement: a 16-bit number in the protocol's Bind message */
    ARRAY_HEADER = 20,      /* dimensions, null flag, element type, length, lower bound: 4 bytes each */
};

#define NO_OFFSET SIZE_MAX

/* A parameter's largest size; the server refuses more than 1 GiB - 1 in one value. */
#define VALUE_BYTES_MAX ((size_t)0x3fffffff)

enum { LARGE_BYTES = 16 * 1024 * 1024 }; /* a buffer that large is not kept */

/* ---- which columns take part, and how ---- */

static bool has_match(const struct statement_input *in)
{
    return in->op != BATCH_INSERT;
}

static bool has_row(const struct statement_input *in)
{
    return in->op != BATCH_DELETE;
}

static const struct value *value_of(const struct batch_row *row, const struct statement_field *field)
{
    return field->use == USE_MATCH ? &row->key[field->index] : &row->row[field->index];
}

/* The first value that tells the state of its column in all rows; a NULL when there is no other. */
static const struct value *telling_value(const struct statement_input *in, const struct statement_field *field)
{
    for (unsigned r = 0; r + 1 < in->n_rows; r++) {
        const struct value *v = value_of(&in->rows[r], field);

        if (v->state != VALUE_NULL)
            return v;
    }
    return value_of(&in->rows[in->n_rows - 1], field);
}

bool statement_fill_field(const struct statement_input *in, struct statement_field *field)
{
    const struct value *v = telling_value(in, field);

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
    return (struct statement_form){.input = *in, .plan = plan, .n_fields = n, .fields = fields};
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
    buffer_append_char(out, form->input.asserts ? 1 : 0);
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
    if (fits_any(form)) {
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

/* ---- parameters ---- */

static void *grown(void *memory, size_t n, size_t size)
{
    void *more = reallocarray(memory, n, size);

    if (more == NULL)
        abort();
    return more;
}

struct statement_params *statement_params_new(void)
{
    struct statement_params *p = calloc(1, sizeof *p);

    if (p == NULL)
        abort();
    p->data = buffer_new();
    return p;
}

void statement_params_free(struct statement_params *p)
{
    if (p == NULL)
        return;
    free(p->values);
    free(p->lengths);
    free(p->formats);
    free(p->offsets);
    buffer_free(p->data);
    free(p);
}

void statement_params_clear(struct statement_params *p)
{
    p->n = 0;
    p->bytes = 0;
    if (p->data->capacity > LARGE_BYTES)
        buffer_drop(p->data);
    else
        buffer_clear(p->data);
}

static unsigned next_param(struct statement_params *p)
{
    if (p->n == p->capacity) {
        p->capacity = p->capacity == 0 ? 64 : p->capacity * 2;
        p->values = grown(p->values, p->capacity, sizeof *p->values);
        p->lengths = grown(p->lengths, p->capacity, sizeof *p->lengths);
        p->formats = grown(p->formats, p->capacity, sizeof *p->formats);
        p->offsets = grown(p->offsets, p->capacity, sizeof *p->offsets);
    }
    p->values[p->n] = NULL;
    p->lengths[p->n] = 0;
    p->formats[p->n] = 0;
    p->offsets[p->n] = NO_OFFSET;
    return p->n++;
}

/* Lives until the parameters are sent. */
static void add_in_place(struct statement_params *p, const char *bytes, size_t length)
{
    unsigned i = next_param(p);

    p->values[i] = bytes;
    p->lengths[i] = (int)length;
    p->bytes += length;
}

/* libpq takes text parameters with a NUL behind them; what comes from the stream has none. */
static void add_copied(struct statement_params *p, const char *bytes, size_t length)
{
    unsigned i = next_param(p);

    p->offsets[i] = p->data->length;
    p->lengths[i] = (int)length;
    p->bytes += length;
    buffer_append(p->data, bytes, length);
    buffer_append_char(p->data, '\0');
}

void statement_params_add(struct statement_params *p, const struct value *v)
{
    switch (v->state) {
    case VALUE_TEXT:
        if (v->has_nul)
            add_in_place(p, v->bytes, v->length);
        else
            add_copied(p, v->bytes, v->length);
        return;
    case VALUE_BINARY:
        add_in_place(p, v->bytes == NULL ? "" : v->bytes, v->length);
        p->formats[p->n - 1] = 1;
        return;
    case VALUE_NULL:
    case VALUE_UNCHANGED:
    case VALUE_STATE_COUNT:
        next_param(p);
        return;
    }
}

void statement_params_add_text(struct statement_params *p, const char *text)
{
    if (text == NULL)
        next_param(p);
    else
        add_copied(p, text, strlen(text));
}

struct error *statement_params_finish(struct statement_params *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->offsets[i] != NO_OFFSET)
            p->values[i] = p->data->bytes + p->offsets[i];
    if (p->bytes > VALUE_BYTES_MAX)
        return error_new(ERROR_DATA, "%zu bytes of values are too much for one statement", p->bytes);
    return NULL;
}

/* array_recv: dimensions, has NULLs, element type, length, lower bound; then each element with its length. */
static void append_binary_array(struct buffer *b, const struct statement_form *form, const struct statement_field *f)
{
    unsigned n = form->input.n_rows;
    size_t start = b->length;
    bool has_null = false;

    buffer_reserve(b, ARRAY_HEADER);
    b->length += ARRAY_HEADER;
    for (unsigned r = 0; r < n; r++) {
        const struct value *v = value_of(&form->input.rows[r], f);

        if (v->state == VALUE_NULL) {
            has_null = true;
            buffer_append_u32(b, UINT32_MAX);
            continue;
        }
        buffer_append_u32(b, v->length);
        buffer_append(b, v->bytes, v->length);
    }
    uint32_t header[] = {1, has_null, f->is_foreign ? f->column->foreign_type : f->column->type, n, 1};
    for (size_t i = 0; i < COUNT_OF(header); i++)
        header[i] = __builtin_bswap32(header[i]);
    memcpy(b->bytes + start, header, ARRAY_HEADER);
}

/* array_in: every element quoted, so that nothing in it is taken for syntax, and NULL not. */
static void append_text_array(struct buffer *b, const struct statement_form *form, const struct statement_field *f)
{
    buffer_append_char(b, '{');
    for (unsigned r = 0; r < form->input.n_rows; r++) {
        const struct value *v = value_of(&form->input.rows[r], f);

        if (r > 0)
            buffer_append_char(b, f->column->delimiter);
        if (v->state == VALUE_NULL) {
            buffer_append_text(b, "NULL");
            continue;
        }
        char *to = buffer_reserve(b, 2 * (size_t)v->length + 2);
        char *at = to;
        *at++ = '"';
        for (uint32_t i = 0; i < v->length; i++) {
            if (v->bytes[i] == '"' || v->bytes[i] == '\\')
                *at++ = '\\';
            *at++ = v->bytes[i];
        }
        *at++ = '"';
        b->length += (size_t)(at - to);
    }
    buffer_append_char(b, '}');
    buffer_append_char(b, '\0');
}

static void add_array(struct statement_params *p, const struct statement_form *form, const struct statement_field *f)
{
    unsigned i = next_param(p);
    size_t start = p->data->length;

    if (f->is_binary)
        append_binary_array(p->data, form, f);
    else
        append_text_array(p->data, form, f);
    p->offsets[i] = start;
    p->formats[i] = f->is_binary;
    p->bytes += p->data->length - start;
    p->lengths[i] = p->data->length - start > VALUE_BYTES_MAX ? INT_MAX : (int)(p->data->length - start);
}

struct error *statement_bind(const struct statement_form *form, struct statement_params *out)
{
    statement_params_clear(out);
    if (form->input.shape == SHAPE_UNNEST) {
        for (unsigned i = 0; i < form->n_fields; i++)
            add_array(out, form, &form->fields[i]);
        return statement_params_finish(out);
    }
    for (unsigned r = 0; r < form->input.n_rows; r++)
        for (unsigned i = 0; i < form->n_fields; i++)
            if (!form->fields[i].is_null)
                statement_params_add(out, value_of(&form->input.rows[r], &form->fields[i]));
    return statement_params_finish(out);
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

/* ---- COPY ---- */

/* A column's part in the decision: false when the format is not `*format`, which the first column with bytes sets. */
static bool joins_format(const struct statement_field *f, const struct value *v, enum copy_format *format)
{
    enum copy_format own = v->state == VALUE_BINARY ? COPY_BINARY : COPY_TEXT;

    if (v->state == VALUE_NULL)
        return true;
    if (v->state == VALUE_UNCHANGED || f->column->foreign_type != 0)
        return false;
    if (*format == COPY_IMPOSSIBLE)
        *format = own;
    return *format == own;
}

enum copy_format statement_copy_format(const struct batch *batch)
{
    const struct table_plan *plan = batch->table->handle;
    struct statement_input in = {.table = batch->table, .op = batch->op, .rows = batch->rows, .n_rows = batch->n_rows};
    enum copy_format format = COPY_IMPOSSIBLE;

    if (batch->op != BATCH_INSERT)
        return COPY_IMPOSSIBLE;
    for (unsigned i = 0; i < plan->n_columns; i++) {
        struct statement_field f = {.column = &plan->columns[i], .index = (uint16_t)i, .use = USE_INSERT};

        if (plan->columns[i].is_written && !joins_format(&f, telling_value(&in, &f), &format))
            return COPY_IMPOSSIBLE;
    }
    return format;
}

char *statement_copy_sql(struct arena *a, const struct batch *batch, enum copy_format format)
{
    const struct table_plan *plan = batch->table->handle;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    bool first = true;

    buffer_printf(sql, "COPY %s (", plan->name);
    for (unsigned i = 0; i < plan->n_columns; i++) {
        if (!plan->columns[i].is_written)
            continue;
        buffer_printf(sql, "%s%s", first ? "" : ", ", plan->columns[i].name);
        first = false;
    }
    buffer_printf(sql, ") FROM STDIN%s", format == COPY_BINARY ? " (FORMAT binary)" : "");
    return arena_strdup(a, buffer_text(sql));
}

static unsigned count_written(const struct table_plan *plan)
{
    unsigned n = 0;

    for (unsigned i = 0; i < plan->n_columns; i++)
        n += plan->columns[i].is_written;
    return n;
}

static void encode_binary_row(struct buffer *out, const struct table_plan *plan, unsigned n_written,
                              const struct value *row)
{
    buffer_append_u16(out, (uint16_t)n_written);
    for (unsigned i = 0; i < plan->n_columns; i++) {
        if (!plan->columns[i].is_written)
            continue;
        if (row[i].state == VALUE_NULL) {
            buffer_append_u32(out, UINT32_MAX);
            continue;
        }
        buffer_append_u32(out, row[i].length);
        buffer_append(out, row[i].bytes, row[i].length);
    }
}

/* Manual, COPY, "Text Format": what stands for itself but for these. */
static char escape_of(char c)
{
    static const char from[] = "\\\b\f\n\r\t\v";
    static const char to[] = "\\bfnrtv";
    const char *found = c == '\0' ? NULL : strchr(from, c);

    return found == NULL ? '\0' : to[found - from];
}

static void encode_text_value(struct buffer *out, const struct value *v)
{
    if (v->state == VALUE_NULL) {
        buffer_append_text(out, "\\N");
        return;
    }
    char *to = buffer_reserve(out, 2 * (size_t)v->length);
    char *at = to;
    for (uint32_t i = 0; i < v->length; i++) {
        char escape = escape_of(v->bytes[i]);

        if (escape != '\0')
            *at++ = '\\';
        *at++ = escape == '\0' ? v->bytes[i] : escape;
    }
    out->length += (size_t)(at - to);
}

static void encode_text_row(struct buffer *out, const struct table_plan *plan, const struct value *row)
{
    bool first = true;

    for (unsigned i = 0; i < plan->n_columns; i++) {
        if (!plan->columns[i].is_written)
            continue;
        if (!first)
            buffer_append_char(out, '\t');
        first = false;
        encode_text_value(out, &row[i]);
    }
    buffer_append_char(out, '\n');
}

void statement_copy_encode(struct buffer *out, const struct batch *batch, enum copy_format format, unsigned *next,
                           size_t limit)
{
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* signature, flags, no extension; one more NUL */
    const struct table_plan *plan = batch->table->handle;
    unsigned n_written = count_written(plan);

    if (*next == 0 && format == COPY_BINARY)
        buffer_append(out, header, sizeof header);
    for (unsigned n = 0; *next < batch->n_rows && (n == 0 || out->length < limit); n++, (*next)++) {
        if (format == COPY_BINARY)
            encode_binary_row(out, plan, n_written, batch->rows[*next].row);
        else
            encode_text_row(out, plan, batch->rows[*next].row);
    }
    if (*next == batch->n_rows && format == COPY_BINARY)
        buffer_append_u16(out, UINT16_MAX);
}
