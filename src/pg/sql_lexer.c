#include "pg/sql_lexer.h"

#include <string.h>
#include <strings.h>

static bool starts_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool continues_word(char c)
{
    return starts_word(c) || is_digit(c) || c == '$';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_at(const struct lexer *l, const char *text)
{
    size_t length = strlen(text);

    return (size_t)(l->end - l->at) >= length && memcmp(l->at, text, length) == 0;
}

/* Block comments nest. False when the text ends inside. */
static bool skip_block_comment(struct lexer *l)
{
    unsigned depth = 0;

    do {
        if (is_at(l, "/*")) {
            depth++;
            l->at += 2;
        } else if (is_at(l, "*/")) {
            depth--;
            l->at += 2;
        } else if (l->at < l->end) {
            l->at++;
        } else {
            return false;
        }
    } while (depth > 0);
    return true;
}

/*
 * From the opening quote on. A doubled quote is one quote; with `has_escapes` a backslash takes the next byte with
 * it.
 */
static bool skip_quoted(struct lexer *l, char quote, bool has_escapes)
{
    l->at++;
    while (l->at < l->end) {
        bool has_next = l->end - l->at > 1;
        bool is_escape = has_escapes && *l->at == '\\' && has_next;
        bool is_doubled = *l->at == quote && has_next && l->at[1] == quote;
        bool is_end = *l->at == quote && !is_doubled;

        l->at += is_escape || is_doubled ? 2 : 1;
        if (is_end)
            return true;
    }
    return false;
}

/* Length of "$tag$" here, or 0. */
static size_t dollar_tag(const struct lexer *l)
{
    const char *p = l->at + 1;

    if (p < l->end && starts_word(*p))
        while (p < l->end && (starts_word(*p) || is_digit(*p)))
            p++;
    return p < l->end && *p == '$' ? (size_t)(p + 1 - l->at) : 0;
}

static bool skip_dollar_quoted(struct lexer *l, size_t tag_length)
{
    const char *tag = l->at;
    const char *close = memmem(l->at + tag_length, (size_t)(l->end - l->at) - tag_length, tag, tag_length);

    l->at = close == NULL ? l->end : close + tag_length;
    return close != NULL;
}

static struct lexeme lexeme(enum lex_kind kind, const char *start, const struct lexer *l)
{
    return (struct lexeme){.kind = kind, .start = start, .length = (size_t)(l->at - start)};
}

static struct lexeme lex_word(struct lexer *l)
{
    const char *start = l->at;

    while (l->at < l->end && continues_word(*l->at))
        l->at++;
    bool is_e = l->at - start == 1 && (*start == 'e' || *start == 'E');
    if (is_e && l->at < l->end && *l->at == '\'')
        return lexeme(skip_quoted(l, '\'', true) ? LEX_STRING : LEX_BROKEN, start, l);
    return lexeme(LEX_WORD, start, l);
}

struct lexeme lex_next(struct lexer *l)
{
    for (;;) {
        while (l->at < l->end && is_blank(*l->at))
            l->at++;
        if (!is_at(l, "/*"))
            break;
        if (!skip_block_comment(l))
            return lexeme(LEX_BROKEN, l->at, l);
    }

    const char *start = l->at;
    if (start == l->end)
        return lexeme(LEX_END, start, l);
    if (is_at(l, "--")) {
        const char *newline = memchr(start, '\n', (size_t)(l->end - start));
        l->at = newline == NULL ? l->end : newline;
        return lexeme(LEX_COMMENT, start, l);
    }
    if (starts_word(*start))
        return lex_word(l);
    if (*start == '\'')
        return lexeme(skip_quoted(l, '\'', false) ? LEX_STRING : LEX_BROKEN, start, l);
    if (*start == '"')
        return lexeme(skip_quoted(l, '"', false) ? LEX_QUOTED : LEX_BROKEN, start, l);
    if (is_digit(*start)) {
        while (l->at < l->end && (continues_word(*l->at) && *l->at != '$'))
            l->at++;
        return lexeme(LEX_NUMBER, start, l);
    }
    if (*start == '$' && dollar_tag(l) > 0)
        return lexeme(skip_dollar_quoted(l, dollar_tag(l)) ? LEX_STRING : LEX_BROKEN, start, l);
    l->at++;
    return lexeme(LEX_SYMBOL, start, l);
}

bool lexeme_is_word(const struct lexeme *x, const char *keyword)
{
    return x->kind == LEX_WORD && strlen(keyword) == x->length && strncasecmp(x->start, keyword, x->length) == 0;
}
