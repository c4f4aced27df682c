#include "pg/statement_build.h"

#include <string.h>

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

        if (plan->columns[i].is_written && !joins_format(&f, statement_telling_value(&in, &f), &format))
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
