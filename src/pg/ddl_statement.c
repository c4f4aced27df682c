#include "pg/ddl_statement.h"

#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "pg/sql_lexer.h"

/* One statement of a string. */
struct piece {
    const char *start;
    const char *end;
    bool makes_table_of_query; /* CREATE TABLE … AS: its tag is CREATE TABLE AS */
};

static bool is_symbol(const struct lexeme *x, char c)
{
    return x->kind == LEX_SYMBOL && *x->start == c;
}

/* Where a statement ends: at a semicolon outside of parentheses and of BEGIN ATOMIC … END. */
struct depth {
    unsigned parentheses;
    unsigned blocks;
    bool is_routine;
    unsigned n_words;
};

static void follow_word(struct depth *d, const struct lexeme *x)
{
    d->n_words++;
    if (d->n_words <= 4 && (lexeme_is_word(x, "function") || lexeme_is_word(x, "procedure")))
        d->is_routine = true;
    if (!d->is_routine)
        return;
    if (lexeme_is_word(x, "begin") || (d->blocks > 0 && lexeme_is_word(x, "case")))
        d->blocks++;
    else if (d->blocks > 0 && lexeme_is_word(x, "end"))
        d->blocks--;
}

static void follow_lexeme(struct depth *d, const struct lexeme *x)
{
    if (x->kind == LEX_WORD)
        follow_word(d, x);
    else if (is_symbol(x, '('))
        d->parentheses++;
    else if (is_symbol(x, ')') && d->parentheses > 0)
        d->parentheses--;
}

/* False at the end of the text. *out_broken is set when it ends inside a string or comment. */
static bool next_piece(struct lexer *l, struct piece *out, bool *out_broken)
{
    struct depth depth = {0};

    *out = (struct piece){0};
    for (;;) {
        struct lexeme x = lex_next(l);

        *out_broken = *out_broken || x.kind == LEX_BROKEN;
        if (x.kind == LEX_END || x.kind == LEX_BROKEN)
            return out->start != NULL;
        if (x.kind == LEX_COMMENT)
            continue;
        if (is_symbol(&x, ';') && depth.parentheses == 0 && depth.blocks == 0) {
            if (out->start == NULL)
                continue;
            return true;
        }
        if (out->start == NULL)
            out->start = x.start;
        out->end = x.start + x.length;
        out->makes_table_of_query =
            out->makes_table_of_query || (depth.parentheses == 0 && !depth.is_routine && lexeme_is_word(&x, "as"));
        follow_lexeme(&depth, &x);
    }
}

/* Words that stand between those of a tag. */
static bool is_between(const struct lexeme *x)
{
    static const char *const words[] = {"or",       "replace",   "global", "local",      "temp",       "temporary",
                                        "unlogged", "recursive", "unique", "constraint", "procedural", "trusted"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (lexeme_is_word(x, words[i]))
            return true;
    return false;
}

static bool is_word_of(const struct lexeme *x, const char *word, size_t length)
{
    return x->kind == LEX_WORD && x->length == length && strncasecmp(x->start, word, length) == 0;
}

static struct lexeme next_word(struct lexer *l)
{
    struct lexeme x = lex_next(l);

    while (x.kind == LEX_COMMENT)
        x = lex_next(l);
    return x;
}

static bool has_tag(const struct piece *p, const char *tag)
{
    struct lexer l = {.at = p->start, .end = p->end};

    if (strcmp(tag, "CREATE TABLE") == 0 && p->makes_table_of_query)
        return false;
    for (bool is_first = true; *tag != '\0'; is_first = false) {
        size_t length = strcspn(tag, " ");
        struct lexeme x = next_word(&l);

        while (!is_first && !is_word_of(&x, tag, length) && is_between(&x))
            x = next_word(&l);
        if (!is_word_of(&x, tag, length))
            return false;
        tag += length;
        tag += strspn(tag, " ");
    }
    return true;
}

/* Nobody but us writes to the target, so there is nobody to be kind to, and it could not run inside a transaction. */
static const char *without_concurrently(struct arena *a, const struct piece *p, const char *tag)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct lexer l = {.at = p->start, .end = p->end};
    const char *from = p->start;

    if (strstr(tag, "INDEX") == NULL && strcmp(tag, "ALTER TABLE") != 0)
        return arena_printf(a, "%.*s", (int)(p->end - p->start), p->start);
    for (struct lexeme x = lex_next(&l); x.kind != LEX_END && x.kind != LEX_BROKEN; x = lex_next(&l)) {
        if (!lexeme_is_word(&x, "concurrently"))
            continue;
        buffer_append(sql, from, (size_t)(x.start - from));
        from = x.start + x.length;
    }
    buffer_append(sql, from, (size_t)(p->end - from));
    return arena_strdup(a, buffer_text(sql));
}

/* The last part of `public."a b".f(integer) on x`, with its quotes: "f". */
static struct lexeme name_in(const char *identity)
{
    struct lexer l = {.at = identity, .end = identity + strlen(identity)};
    struct lexeme name = lex_next(&l), dot = lex_next(&l);

    while (is_symbol(&dot, '.')) {
        name = lex_next(&l);
        dot = lex_next(&l);
    }
    return name;
}

static bool is_same_name(const struct lexeme *a, const struct lexeme *b)
{
    if (a->kind == LEX_QUOTED && b->kind == LEX_QUOTED)
        return a->length == b->length && memcmp(a->start, b->start, a->length) == 0;
    const struct lexeme *quoted = a->kind == LEX_QUOTED ? a : b, *plain = quoted == a ? b : a;
    if (quoted->kind == LEX_QUOTED && quoted->length == plain->length + 2)
        return strncasecmp(quoted->start + 1, plain->start, plain->length) == 0;
    return a->kind == LEX_WORD && b->kind == LEX_WORD && a->length == b->length &&
           strncasecmp(a->start, b->start, a->length) == 0;
}

static bool speaks_of(const struct piece *p, const char *object)
{
    struct lexeme name = name_in(object);
    struct lexer l = {.at = p->start, .end = p->end};

    for (struct lexeme x = lex_next(&l); x.kind != LEX_END && x.kind != LEX_BROKEN; x = lex_next(&l))
        if ((x.kind == LEX_WORD || x.kind == LEX_QUOTED) && is_same_name(&x, &name))
            return true;
    return false;
}

/* ---- what the server counted ---- */

/*
 * The trigger keeps its count in a setting of the session. The server takes settings back where it rolls back, so here the count
 * goes back, too. What was rolled back is told to nobody: of several statements with one number the last is the one that was told.
 */
enum { SAVEPOINTS_MAX = 64 };

struct count {
    unsigned now;
    unsigned at_begin; /* of the transaction */
    struct {
        struct lexeme name;
        unsigned count;
    } savepoints[SAVEPOINTS_MAX];
    unsigned n_savepoints;
    bool is_lost; /* too many savepoints */
};

/* The word that names a savepoint: the last of the statement. */
static struct lexeme last_word(const struct piece *p)
{
    struct lexer l = {.at = p->start, .end = p->end};
    struct lexeme last = {0};

    for (struct lexeme x = lex_next(&l); x.kind != LEX_END && x.kind != LEX_BROKEN; x = lex_next(&l))
        if (x.kind == LEX_WORD || x.kind == LEX_QUOTED)
            last = x;
    return last;
}

static void set_savepoint(struct count *c, const struct piece *p)
{
    c->is_lost = c->is_lost || c->n_savepoints == SAVEPOINTS_MAX;
    if (c->is_lost)
        return;
    c->savepoints[c->n_savepoints].name = last_word(p);
    c->savepoints[c->n_savepoints++].count = c->now;
}

/* One of before the string: nothing of the string was counted then. */
static void go_back_to_savepoint(struct count *c, const struct piece *p)
{
    struct lexeme name = last_word(p);

    c->now = 0;
    for (; c->n_savepoints > 0; c->n_savepoints--)
        if (is_same_name(&c->savepoints[c->n_savepoints - 1].name, &name)) {
            c->now = c->savepoints[c->n_savepoints - 1].count;
            return;
        }
}

static bool is_return_to_savepoint(const struct piece *p)
{
    return has_tag(p, "ROLLBACK TO") || has_tag(p, "ROLLBACK WORK TO") || has_tag(p, "ROLLBACK TRANSACTION TO");
}

static bool is_of_prepared(const struct piece *p)
{
    return has_tag(p, "ROLLBACK PREPARED") || has_tag(p, "COMMIT PREPARED");
}

static void end_transaction(struct count *c, bool is_kept)
{
    if (is_kept)
        c->at_begin = c->now;
    else
        c->now = c->at_begin;
    c->n_savepoints = 0;
}

static void follow_transaction(struct count *c, const struct piece *p)
{
    if (is_of_prepared(p))
        return;
    if (has_tag(p, "SAVEPOINT"))
        set_savepoint(c, p);
    else if (is_return_to_savepoint(p))
        go_back_to_savepoint(c, p);
    else if (has_tag(p, "ROLLBACK") || has_tag(p, "ABORT"))
        end_transaction(c, false);
    else if (has_tag(p, "COMMIT") || has_tag(p, "END") || has_tag(p, "PREPARE TRANSACTION"))
        end_transaction(c, true);
    else if (has_tag(p, "RESET ALL"))
        c->now = 0;
}

/* `GRANT x TO y` and what concerns all databases are told to no event trigger. */
static bool is_of_shared_object(const struct piece *p, bool is_grant)
{
    static const char *const shared[] = {"database", "role", "tablespace", "parameter"};
    struct lexer l = {.at = p->start, .end = p->end};
    struct lexeme x = next_word(&l);

    while (x.kind != LEX_END && x.kind != LEX_BROKEN && !lexeme_is_word(&x, "on"))
        x = next_word(&l);
    if (x.kind != LEX_WORD)
        return is_grant;
    x = next_word(&l);
    for (size_t i = 0; i < COUNT_OF(shared); i++)
        if (lexeme_is_word(&x, shared[i]))
            return true;
    return false;
}

/* CREATE OPERATOR CLASS begins as CREATE OPERATOR does. */
static bool is_of_operator_class(const struct piece *p)
{
    struct lexer l = {.at = p->start, .end = p->end};

    next_word(&l);
    next_word(&l);
    struct lexeme x = next_word(&l);
    return lexeme_is_word(&x, "class") || lexeme_is_word(&x, "family");
}

/* What begins with the tag and is not of it. */
static bool is_of_other_tag(const struct piece *p, const char *tag)
{
    static const char *const operators[] = {"CREATE OPERATOR", "ALTER OPERATOR", "DROP OPERATOR"};
    bool is_grant = strcmp(tag, "GRANT") == 0 || strcmp(tag, "REVOKE") == 0;

    for (size_t i = 0; i < COUNT_OF(operators); i++)
        if (strcmp(tag, operators[i]) == 0)
            return is_of_operator_class(p);
    return (is_grant || strcmp(tag, "COMMENT") == 0 || strcmp(tag, "SECURITY LABEL") == 0) &&
           is_of_shared_object(p, is_grant);
}

/* The statements of the tag: how many, and which is meant. */
struct choice {
    struct count count;
    unsigned place; /* of the statement in the string, from 1 */
    unsigned n;
    unsigned n_named; /* that speak of the object */
    struct piece last;
    struct piece by_count;
    struct piece by_name;
};

static void consider(struct choice *c, const struct piece *p, const struct ddl_statement_wish *wish)
{
    c->place++;
    follow_transaction(&c->count, p);
    if (!has_tag(p, wish->tag) || is_of_other_tag(p, wish->tag))
        return;
    c->n++;
    c->count.now++;
    c->last = *p;
    if (wish->place > 0 ? c->place == wish->place : c->count.now == wish->nth)
        c->by_count = *p;
    if (speaks_of(p, wish->object)) {
        c->n_named++;
        c->by_name = *p;
    }
}

const char *ddl_statement_find(struct arena *a, struct ddl_statement_wish wish, const char **out_why)
{
    struct lexer l = {.at = wish.text, .end = wish.text + strlen(wish.text)};
    struct choice choice = {0};
    struct piece piece;
    bool is_broken = false;

    while (next_piece(&l, &piece, &is_broken))
        consider(&choice, &piece, &wish);

    bool is_counted = wish.place > 0 || (wish.nth > 0 && !choice.count.is_lost);
    const struct piece *found = choice.n == 1 ? &choice.last : is_counted ? &choice.by_count : &choice.by_name;
    *out_why = NULL;
    if (is_broken)
        *out_why = "its text cannot be read";
    else if (choice.n == 0)
        *out_why = "its text is not among the statements that were sent";
    else if (choice.n > 1 && !is_counted && choice.n_named != 1)
        *out_why = "several statements of its kind were sent as one string, and nothing says which it is";
    else if (found->start == NULL)
        *out_why = "fewer statements of its kind were sent than were run";
    return *out_why == NULL ? without_concurrently(a, found, wish.tag) : NULL;
}

bool ddl_statement_ends_transaction(const char *text)
{
    static const char *const tags[] = {
        "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE TRANSACTION", "SAVEPOINT", "RELEASE"};
    struct lexer l = {.at = text, .end = text + strlen(text)};
    struct piece piece;
    bool is_broken = false;

    while (next_piece(&l, &piece, &is_broken))
        for (size_t i = 0; i < COUNT_OF(tags); i++)
            if (has_tag(&piece, tags[i]))
                return true;
    return is_broken;
}

/* ---- foreign keys ---- */

/* One action of ALTER TABLE, between the commas. */
struct action {
    bool adds_key;
    bool is_unchecked; /* already */
    bool validates;
};

static void follow_action(struct action *action, const struct lexeme *before, const struct lexeme *x)
{
    action->adds_key = action->adds_key || (lexeme_is_word(before, "foreign") && lexeme_is_word(x, "key"));
    action->is_unchecked = action->is_unchecked || (lexeme_is_word(before, "not") &&
                                                    (lexeme_is_word(x, "valid") || lexeme_is_word(x, "enforced")));
    action->validates = action->validates || (lexeme_is_word(before, "validate") && lexeme_is_word(x, "constraint"));
}

const char *ddl_statement_unchecked(struct arena *a, const char *statement)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct lexer l = {.at = statement, .end = statement + strlen(statement)};
    struct lexeme first = next_word(&l), before = next_word(&l);
    const char *copied = statement, *end = before.start + before.length;
    struct action action = {0};
    unsigned depth = 0, n_changed = 0, n_actions = 1;
    bool validates = false;

    if (!lexeme_is_word(&first, "alter") || !lexeme_is_word(&before, "table"))
        return NULL;
    for (;;) {
        struct lexeme x = next_word(&l);
        bool is_end = x.kind == LEX_END || x.kind == LEX_BROKEN;

        if (is_end || (depth == 0 && is_symbol(&x, ','))) {
            if (action.adds_key && !action.is_unchecked) {
                buffer_printf(sql, "%.*s NOT VALID", (int)(end - copied), copied);
                copied = end;
                n_changed++;
            }
            validates = validates || action.validates;
            action = (struct action){0};
            n_actions += !is_end;
        }
        if (is_end)
            break;
        depth += is_symbol(&x, '(');
        depth -= depth > 0 && is_symbol(&x, ')');
        if (depth == 0)
            follow_action(&action, &before, &x);
        if (!is_symbol(&x, ';'))
            end = x.start + x.length;
        before = x;
    }
    if (validates && n_actions == 1)
        return "";
    if (n_changed == 0)
        return NULL;
    buffer_append_text(sql, copied);
    return arena_strdup(a, buffer_text(sql));
}
