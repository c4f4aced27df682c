#include "pg/quote.h"

#include <stdbool.h>
#include <string.h>

#include "base/buffer.h"

static void append_doubled(struct buffer *b, const char *text, char quote, bool double_backslash)
{
    buffer_append_char(b, quote);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == quote || (double_backslash && *p == '\\'))
            buffer_append_char(b, *p);
        buffer_append_char(b, *p);
    }
    buffer_append_char(b, quote);
}

char *pg_quote_identifier(struct arena *a, const char *name)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    append_doubled(b, name, '"', false);
    return arena_strdup(a, buffer_text(b));
}

char *pg_quote_name(struct arena *a, const char *schema, const char *name)
{
    return arena_printf(a, "%s.%s", pg_quote_identifier(a, schema), pg_quote_identifier(a, name));
}

/* E'...' when there is a backslash: right whatever standard_conforming_strings says. */
char *pg_quote_literal(struct arena *a, const char *text)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();
    bool has_backslash = strchr(text, '\\') != NULL;

    if (has_backslash)
        buffer_append_char(b, 'E');
    append_doubled(b, text, '\'', has_backslash);
    return arena_strdup(a, buffer_text(b));
}

const char *pg_text_array(struct arena *a, const char *const *texts, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_append_char(text, '{');
    for (unsigned i = 0; i < n; i++) {
        buffer_append_text(text, i == 0 ? "\"" : ",\"");
        for (const char *at = texts[i]; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\')
                buffer_append_char(text, '\\');
            buffer_append_char(text, *at);
        }
        buffer_append_char(text, '"');
    }
    buffer_append_char(text, '}');
    return arena_strdup(a, buffer_text(text));
}
