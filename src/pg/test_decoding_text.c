#include "pg/test_decoding_text.h"

#include <string.h>

enum { FIRST_CELLS = 32 };

struct error *text_malformed(const struct text *t)
{
    size_t shown = t->length < 60 ? t->length : 60;

    return error_new(ERROR_DATA, "test_decoding sent a message that was not understood, at byte %zu of %zu: \"%.*s\"",
                     (size_t)(t->at - t->bytes), t->length, (int)shown, t->bytes);
}

size_t text_left(const struct text *t)
{
    return (size_t)(t->end - t->at);
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

bool slice_is(struct slice s, const char *text)
{
    return slice_equal(s, (struct slice){text, strlen(text)});
}

bool text_takes(struct text *t, const char *word)
{
    size_t length = strlen(word);

    if (text_left(t) < length || memcmp(t->at, word, length) != 0)
        return false;
    t->at += length;
    return true;
}

bool text_take_number(struct text *t, uint64_t *out)
{
    const char *from = t->at;
    uint64_t n = 0;

    while (t->at < t->end && *t->at >= '0' && *t->at <= '9' && n < UINT64_MAX / 100)
        n = n * 10 + (uint64_t)(*t->at++ - '0');
    *out = n;
    return t->at > from;
}

/* Past a run in quotes whose first one comes next; a quote inside is doubled. */
static bool skip_quoted(struct text *t, char quote)
{
    for (t->at++; t->at < t->end;) {
        const char *next = memchr(t->at, quote, text_left(t));

        if (next == NULL)
            break;
        t->at = next + 1;
        if (t->at == t->end || *t->at != quote)
            return true;
        t->at++;
    }
    return false;
}

bool text_take_identifier(struct text *t, struct slice *out)
{
    out->at = t->at;
    if (t->at < t->end && *t->at == '"') {
        if (!skip_quoted(t, '"'))
            return false;
    } else {
        while (t->at < t->end && strchr(".,:[ ", *t->at) == NULL)
            t->at++;
    }
    out->length = (size_t)(t->at - out->at);
    return out->length > 0 && memchr(out->at, '\0', out->length) == NULL; /* names in pgoutput end there */
}

/* "[type]": the type's name may hold quoted identifiers and, of arrays, brackets. */
static bool take_type(struct text *t, struct slice *out)
{
    unsigned depth = 1;

    if (!text_takes(t, "["))
        return false;
    out->at = t->at;
    while (t->at < t->end && depth > 0) {
        if (*t->at == '"') {
            if (!skip_quoted(t, '"'))
                return false;
            continue;
        }
        depth += *t->at == '[';
        depth -= *t->at == ']';
        t->at++;
    }
    out->length = (size_t)(t->at - out->at) - (depth == 0);
    return depth == 0 && text_takes(t, ":");
}

/* The text between quotes; copied only where a quote was doubled. */
static struct slice unquoted(struct arena *a, struct slice quoted)
{
    char quote = *quoted.at;
    struct slice inner = {quoted.at + 1, quoted.length - 2};

    if (memchr(inner.at, quote, inner.length) == NULL)
        return inner;
    char *copy = arena_bytes(a, inner.length);
    size_t n = 0;
    for (size_t i = 0; i < inner.length; i++) {
        copy[n++] = inner.at[i];
        i += inner.at[i] == quote;
    }
    return (struct slice){copy, n};
}

struct slice slice_plain(struct arena *a, struct slice name)
{
    return *name.at == '"' ? unquoted(a, name) : name;
}

const char *slice_text(struct arena *a, struct slice s)
{
    char *text = arena_bytes(a, s.length + 1);

    memcpy(text, s.at, s.length);
    text[s.length] = '\0';
    return text;
}

static struct value text_value(struct slice s)
{
    return (struct value){.state = VALUE_TEXT, .bytes = s.at, .length = (uint32_t)s.length};
}

/* What stands without quotes: numbers and words. */
static struct value bare_value(struct slice s)
{
    static const struct {
        const char *word;
        struct value value;
    } words[] = {
        {"null", {.state = VALUE_NULL}},
        {"unchanged-toast-datum", {.state = VALUE_UNCHANGED}},
        {"true", {.state = VALUE_TEXT, .bytes = "t", .length = 1}}, /* as the type's output function has it */
        {"false", {.state = VALUE_TEXT, .bytes = "f", .length = 1}},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_is(s, words[i].word))
            return words[i].value;
    return text_value(s);
}

static bool take_value(struct text *t, struct value *out)
{
    bool is_bits = text_left(t) > 1 && t->at[0] == 'B' && t->at[1] == '\'';
    struct slice s = {.at = t->at};

    if (is_bits)
        s.at = ++t->at;
    if (text_left(t) > 0 && *t->at == '\'') {
        if (!skip_quoted(t, '\''))
            return false;
        s.length = (size_t)(t->at - s.at);
        *out = text_value(unquoted(t->scratch, s));
        return true;
    }
    while (t->at < t->end && *t->at != ' ')
        t->at++;
    s.length = (size_t)(t->at - s.at);
    *out = bare_value(s);
    return s.length > 0;
}

static struct cell *new_cell(struct arena *a, struct cells *cells)
{
    if (cells->n == cells->room) {
        unsigned room = cells->room == 0 ? FIRST_CELLS : cells->room * 2;
        struct cell *items = arena_alloc(a, room * sizeof *items);

        if (cells->n > 0)
            memcpy(items, cells->items, cells->n * sizeof *items);
        cells->items = items;
        cells->room = room;
    }
    return &cells->items[cells->n++];
}

struct error *text_take_cells(struct text *t, struct cells *out)
{
    static const char next_row[] = " new-tuple:";

    while (text_left(t) > 0) {
        if (text_left(t) >= strlen(next_row) && memcmp(t->at, next_row, strlen(next_row)) == 0)
            return NULL;
        struct cell *cell = new_cell(t->scratch, out);

        if (!text_takes(t, " ") || !text_take_identifier(t, &cell->name) || !take_type(t, &cell->type) ||
            !take_value(t, &cell->value))
            return text_malformed(t);
    }
    return NULL;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1; /* years begin in March */
    int64_t days_of_month = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;

    return 365 * y + y / 4 - y / 100 + y / 400 + days_of_month + day - 1 - 719468;
}

/* Three numbers with one byte between them, none above its limit; a position after them. */
static bool take_numbers(struct text *t, char separator, const uint64_t limits[3], int64_t out[3])
{
    for (size_t i = 0; i < 3; i++) {
        uint64_t number = 0;

        if ((i > 0 && (text_left(t) == 0 || *t->at++ != separator)) || !text_take_number(t, &number) ||
            number > limits[i])
            return false;
        out[i] = (int64_t)number;
    }
    return true;
}

static int64_t take_fraction_us(struct text *t)
{
    int64_t us = 0;

    if (!text_takes(t, "."))
        return 0;
    for (unsigned i = 0; i < 6; i++) {
        bool has_digit = text_left(t) > 0 && *t->at >= '0' && *t->at <= '9';

        us = us * 10 + (has_digit ? *t->at++ - '0' : 0);
    }
    return us;
}

bool text_take_time(struct text *t, int64_t *out_us)
{
    static const uint64_t date_limits[] = {294276, 12, 31}, time_limits[] = {24, 59, 60}; /* of a timestamp */
    int64_t date[3], time[3];

    if (!take_numbers(t, '-', date_limits, date) || !text_takes(t, " ") || !take_numbers(t, ':', time_limits, time))
        return false;
    int64_t seconds = ((days_of(date[0], date[1], date[2]) * 24 + time[0]) * 60 + time[1]) * 60 + time[2];
    *out_us = seconds * 1000000 + take_fraction_us(t);
    return text_takes(t, "+00)") && text_left(t) == 0;
}
