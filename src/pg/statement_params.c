#include "pg/statement_build.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    ARRAY_HEADER = 20,              /* dimensions, null flag, element type, length, lower bound: 4 bytes each */
    LARGE_BYTES = 16 * 1024 * 1024, /* a buffer that large is not kept */
};

#define NO_OFFSET SIZE_MAX

/* A parameter's largest size; the server refuses more than 1 GiB - 1 in one value. */
#define VALUE_BYTES_MAX ((size_t)0x3fffffff)

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
        const struct value *v = statement_value(&form->input.rows[r], f);

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
        const struct value *v = statement_value(&form->input.rows[r], f);

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
                statement_params_add(out, statement_value(&form->input.rows[r], &form->fields[i]));
    return statement_params_finish(out);
}
