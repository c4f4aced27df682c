#include "pg/schema_dialect.h"

#include <string.h>

#include "base/buffer.h"
#include "pg/sql_lexer.h"

enum {
    TRIGGER_FUNCTIONS_SINCE = 110000,
    ACCESS_METHODS_SINCE = 120000,
    MULTIRANGES_SINCE = 140000,
    NOT_NULL_ITEMS_SINCE = 180000,
};

/* Access methods of tables came with 12; before there is only the one that a newer pg_dump asks for. */
const char *schema_prelude_for(struct arena *a, const char *prelude, int version)
{
    static const char unknown[] = "SET default_table_access_method";
    const char *line = strstr(prelude, unknown);

    if (version >= ACCESS_METHODS_SINCE || line == NULL)
        return prelude;
    const char *end = line + strcspn(line, "\n");
    return arena_printf(a, "%.*s%s", (int)(line - prelude), prelude, end);
}

static bool is_symbol(const struct lexeme *x, char symbol)
{
    return x->kind == LEX_SYMBOL && *x->start == symbol;
}

static bool is_over(const struct lexeme *x)
{
    return x->kind == LEX_END || x->kind == LEX_BROKEN;
}

enum list_kind {
    LIST_OTHER,
    LIST_COLUMNS, /* of CREATE TABLE */
    LIST_RANGE,   /* of CREATE TYPE … AS RANGE */
};

/* Up to the parenthesis before the list's items, a blank behind the name. */
static enum list_kind read_head(struct lexer *l, const char **out_name, const char **out_list)
{
    struct lexeme x = lex_next(l), before = x;

    if (!lexeme_is_word(&x, "create"))
        return LIST_OTHER;
    x = lex_next(l);
    if (lexeme_is_word(&x, "unlogged") || lexeme_is_word(&x, "foreign"))
        x = lex_next(l);
    bool is_type = lexeme_is_word(&x, "type");
    if (!is_type && !lexeme_is_word(&x, "table"))
        return LIST_OTHER;
    x = lex_next(l);
    *out_name = x.start;
    for (; !is_over(&x) && !is_symbol(&x, '('); x = lex_next(l))
        before = x;
    *out_list = x.start;
    if (!is_symbol(&x, '('))
        return LIST_OTHER;
    if (is_type)
        return lexeme_is_word(&before, "range") ? LIST_RANGE : LIST_OTHER;
    return LIST_COLUMNS;
}

/* Behind the item that begins where the lexer is: its comma, or the parenthesis that ends all. */
static struct lexeme skip_item(struct lexer *l)
{
    unsigned depth = 0;

    for (;;) {
        struct lexeme x = lex_next(l);

        if (is_over(&x) || (depth == 0 && (is_symbol(&x, ',') || is_symbol(&x, ')'))))
            return x;
        depth += is_symbol(&x, '(');
        depth -= is_symbol(&x, ')');
    }
}

/* A reserved word that is a column's name is quoted, and so no word. */
static bool says_not_null(const char *item, const char *end, struct lexeme *out_column)
{
    struct lexer l = {.at = item, .end = end};
    struct lexeme x = lex_next(&l);

    if (lexeme_is_word(&x, "constraint")) {
        (void)lex_next(&l);
        x = lex_next(&l);
    }
    if (!lexeme_is_word(&x, "not"))
        return false;
    x = lex_next(&l);
    if (!lexeme_is_word(&x, "null"))
        return false;
    *out_column = lex_next(&l);
    return !is_over(out_column);
}

static bool names_multirange(const char *item, const char *end)
{
    struct lexer l = {.at = item, .end = end};
    struct lexeme x = lex_next(&l);

    return lexeme_is_word(&x, "multirange_type_name");
}

static const char *without_items(struct arena *a, const char *statement, int version, const char **out_after)
{
    CLEANUP(buffer_free) struct buffer *kept = buffer_new();
    CLEANUP(buffer_free) struct buffer *after = buffer_new();
    struct lexer l = {.at = statement, .end = statement + strlen(statement)};
    const char *name = NULL, *list = NULL;
    const char *list_end = NULL;
    unsigned n_kept = 0, n_items = 0;
    enum list_kind kind = read_head(&l, &name, &list);

    if (kind == LIST_OTHER || (kind == LIST_RANGE && version >= MULTIRANGES_SINCE))
        return statement;
    buffer_append(kept, statement, (size_t)(list + 1 - statement));
    for (;;) {
        const char *item = l.at;
        struct lexeme end = skip_item(&l), column;

        if (is_over(&end))
            return statement;
        n_items++;
        if (kind == LIST_COLUMNS && says_not_null(item, end.start, &column))
            buffer_printf(after, "%s ALTER COLUMN %.*s SET NOT NULL", after->length == 0 ? "" : ",", (int)column.length,
                          column.start);
        else if (kind != LIST_RANGE || !names_multirange(item, end.start))
            buffer_printf(kept, "%s%.*s", n_kept++ == 0 ? "" : ",", (int)(end.start - item), item);
        list_end = end.start;
        if (is_symbol(&end, ')'))
            break;
    }
    if (n_kept == n_items)
        return statement;
    if (after->length > 0)
        *out_after = arena_printf(a, "ALTER TABLE ONLY %.*s%s;", (int)(list - name - 1), name, buffer_text(after));
    return arena_printf(a, "%s%s", buffer_text(kept), list_end);
}

/* CREATE [CONSTRAINT | EVENT] TRIGGER … EXECUTE FUNCTION name */
static const char *with_procedure(struct arena *a, const char *statement)
{
    struct lexer l = {.at = statement, .end = statement + strlen(statement)};
    struct lexeme x = lex_next(&l), before;

    if (!lexeme_is_word(&x, "create"))
        return statement;
    x = lex_next(&l);
    if (lexeme_is_word(&x, "constraint") || lexeme_is_word(&x, "event"))
        x = lex_next(&l);
    if (!lexeme_is_word(&x, "trigger"))
        return statement;
    while (!is_over(&x)) {
        before = x;
        x = lex_next(&l);
        if (lexeme_is_word(&before, "execute") && lexeme_is_word(&x, "function"))
            return arena_printf(a, "%.*sPROCEDURE%s", (int)(x.start - statement), statement, l.at);
    }
    return statement;
}

const char *schema_statement_for(struct arena *a, const char *statement, int version, const char **out_after)
{
    *out_after = NULL;
    if (version < TRIGGER_FUNCTIONS_SINCE)
        statement = with_procedure(a, statement);
    return version < NOT_NULL_ITEMS_SINCE ? without_items(a, statement, version, out_after) : statement;
}
