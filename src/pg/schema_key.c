#include "pg/schema_key.h"

#include <string.h>

#include "pg/sql_lexer.h"

/* A piece of the statement. */
struct slice {
    const char *start;
    const char *end;
};

struct reader {
    struct lexer lexer;
    struct lexeme now;
};

static void step(struct reader *r)
{
    r->now = lex_next(&r->lexer);
}

static bool take_word(struct reader *r, const char *keyword)
{
    if (r->now.kind != LEX_WORD || !lexeme_is_word(&r->now, keyword))
        return false;
    step(r);
    return true;
}

static bool take_words(struct reader *r, const char *first, const char *second)
{
    return take_word(r, first) && take_word(r, second);
}

static bool take_symbol(struct reader *r, char symbol)
{
    if (r->now.kind != LEX_SYMBOL || *r->now.start != symbol)
        return false;
    step(r);
    return true;
}

static bool take_identifier(struct reader *r, struct slice *out)
{
    if (r->now.kind != LEX_WORD && r->now.kind != LEX_QUOTED)
        return false;
    *out = (struct slice){r->now.start, r->now.start + r->now.length};
    step(r);
    return true;
}

static bool take_name(struct reader *r, struct slice *out)
{
    struct slice part;

    if (!take_identifier(r, out))
        return false;
    while (take_symbol(r, '.')) {
        if (!take_identifier(r, &part))
            return false;
        out->end = part.end;
    }
    return true;
}

/* "(a, b)", nothing but names between: not "WITHOUT OVERLAPS". */
static bool take_columns(struct reader *r, struct slice *out)
{
    struct slice column;

    out->start = r->now.start;
    if (!take_symbol(r, '('))
        return false;
    do {
        if (!take_identifier(r, &column))
            return false;
    } while (take_symbol(r, ','));
    out->end = r->now.start + r->now.length;
    return take_symbol(r, ')');
}

/* "(fillfactor='70', …)": anything up to the bracket that closes it. */
static bool take_bracketed(struct reader *r, struct slice *out)
{
    unsigned depth = 0;

    out->start = r->now.start;
    do {
        depth += r->now.kind == LEX_SYMBOL && *r->now.start == '(';
        depth -= r->now.kind == LEX_SYMBOL && *r->now.start == ')' ? 1 : 0;
        if (r->now.kind == LEX_END || r->now.kind == LEX_BROKEN)
            return false;
        out->end = r->now.start + r->now.length;
        step(r);
    } while (depth > 0);
    return true;
}

/* DEFERRABLE INITIALLY DEFERRED and the like, to the statement's end. */
static bool take_deferring(struct reader *r, struct slice *out)
{
    *out = (struct slice){r->now.start, r->now.start};
    while (r->now.kind == LEX_WORD) {
        out->end = r->now.start + r->now.length;
        if (!take_word(r, "deferrable") && !take_word(r, "initially") && !take_word(r, "deferred") &&
            !take_word(r, "immediate"))
            return false;
    }
    return take_symbol(r, ';') && r->now.kind == LEX_END;
}

struct key {
    struct slice table, name, columns, include, with, deferring;
    bool is_primary, nulls_are_equal;
};

static bool read_kind(struct reader *r, struct key *k)
{
    k->is_primary = take_word(r, "primary");
    if (k->is_primary)
        return take_word(r, "key");
    if (!take_word(r, "unique"))
        return false;
    k->nulls_are_equal = take_word(r, "nulls");
    return !k->nulls_are_equal || take_words(r, "not", "distinct");
}

static bool read_key(struct reader *r, struct key *k)
{
    step(r);
    if (!take_words(r, "alter", "table"))
        return false;
    (void)take_word(r, "only");
    if (!take_name(r, &k->table) || !take_words(r, "add", "constraint") || !take_identifier(r, &k->name) ||
        !read_kind(r, k) || !take_columns(r, &k->columns))
        return false;
    if (take_word(r, "include") && !take_columns(r, &k->include))
        return false;
    if (take_word(r, "with") && !take_bracketed(r, &k->with))
        return false;
    return take_deferring(r, &k->deferring);
}

static const char *text_of(struct arena *a, const char *before, struct slice s)
{
    return s.start == s.end ? "" : arena_printf(a, "%s%.*s", before, (int)(s.end - s.start), s.start);
}

bool schema_key_divide(struct arena *a, const char *statement, struct schema_key *out)
{
    struct reader r = {.lexer = {.at = statement, .end = statement + strlen(statement)}};
    struct key k = {.is_primary = false};

    if (!read_key(&r, &k))
        return false;
    const char *name = text_of(a, "", k.name), *table = text_of(a, "", k.table);
    out->index_sql = arena_printf(a, "CREATE UNIQUE INDEX %s ON %s USING btree %s%s%s%s;", name, table,
                                  text_of(a, "", k.columns), text_of(a, " INCLUDE ", k.include),
                                  k.nulls_are_equal ? " NULLS NOT DISTINCT" : "", text_of(a, " WITH ", k.with));
    out->constraint_sql = arena_printf(a, "ALTER TABLE ONLY %s ADD CONSTRAINT %s %s USING INDEX %s%s;", table, name,
                                       k.is_primary ? "PRIMARY KEY" : "UNIQUE", name, text_of(a, " ", k.deferring));
    return true;
}
