#include "support/rows.h"

static const char hex[] = "0123456789abcdef";

static struct value binary_value(struct arena *a, const char *digits, size_t n_digits)
{
    char *bytes = arena_alloc(a, n_digits / 2 + 1);

    for (size_t i = 0; i + 1 < n_digits; i += 2)
        bytes[i / 2] = (char)((strchr(hex, digits[i]) - hex) * 16 + (strchr(hex, digits[i + 1]) - hex));
    return (struct value){.bytes = bytes, .length = (uint32_t)(n_digits / 2), .state = VALUE_BINARY};
}

static struct value field_value(struct arena *a, const char *field, size_t length)
{
    if (length == 1 && *field == '~')
        return (struct value){.state = VALUE_NULL};
    if (length == 1 && *field == '?')
        return (struct value){.state = VALUE_UNCHANGED};
    if (*field == '#')
        return binary_value(a, field + 1, length - 1);
    return (struct value){
        .bytes = memcpy(arena_alloc(a, length + 1), field, length), .length = (uint32_t)length, .state = VALUE_TEXT};
}

struct value *row_from_text(struct arena *a, const char *text, unsigned n)
{
    struct value *row = arena_alloc(a, n * sizeof *row);

    for (unsigned i = 0; i < n && text != NULL; i++) {
        const char *bar = strchr(text, '|');

        row[i] = field_value(a, text, bar == NULL ? strlen(text) : (size_t)(bar - text));
        text = bar == NULL ? NULL : bar + 1;
    }
    return row;
}

void row_to_text(struct buffer *b, const struct value *row, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            buffer_append_char(b, '|');
        switch (row[i].state) {
        case VALUE_NULL:
            buffer_append_char(b, '~');
            break;
        case VALUE_UNCHANGED:
            buffer_append_char(b, '?');
            break;
        case VALUE_TEXT:
            buffer_append(b, row[i].bytes, row[i].length);
            break;
        case VALUE_BINARY:
            buffer_append_char(b, '#');
            for (uint32_t k = 0; k < row[i].length; k++)
                buffer_printf(b, "%02x", (unsigned)(unsigned char)row[i].bytes[k]);
            break;
        case VALUE_STATE_COUNT:
            break;
        }
    }
}

struct value *row_copy(struct arena *a, const struct value *row, unsigned n)
{
    struct value *copy = arena_alloc(a, n * sizeof *copy);

    for (unsigned i = 0; i < n; i++) {
        copy[i] = row[i];
        if (value_has_bytes(&row[i]))
            copy[i].bytes = memcpy(arena_alloc(a, row[i].length + 1), row[i].bytes, row[i].length);
    }
    return copy;
}
