#include "pg/schema_script.h"

#include "base/buffer.h"
#include "base/macros.h"
#include "pg/sql_lexer.h"

/* ---- the list ---- */

/* "3246; 2606 16469 CONSTRAINT public p2 p2_pkey postgres" */
struct listed {
    int id;
    uint32_t catalog;
    uint32_t oid;
    const char *rest; /* "CONSTRAINT public …" */
    size_t rest_length;
    bool has_come;
};

/* Only needed while the script is read. */
struct toc {
    unsigned n;
    struct listed *entries; /* by id */
};

static bool read_number(const char **at, const char *end, uint32_t *out)
{
    uint64_t n = 0;
    const char *p = *at;

    while (p < end && *p >= '0' && *p <= '9' && n <= UINT32_MAX)
        n = n * 10 + (uint64_t)(*p++ - '0');
    if (p == *at || n > UINT32_MAX)
        return false;
    *at = p;
    *out = (uint32_t)n;
    return true;
}

static bool read_text(const char **at, const char *end, const char *text)
{
    size_t length = strlen(text);

    if ((size_t)(end - *at) < length || memcmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool parse_listed(const char *line, const char *end, struct listed *out)
{
    uint32_t id;

    if (!read_number(&line, end, &id) || id > INT32_MAX || !read_text(&line, end, "; ") ||
        !read_number(&line, end, &out->catalog) || !read_text(&line, end, " ") || !read_number(&line, end, &out->oid) ||
        !read_text(&line, end, " "))
        return false;
    out->id = (int)id;
    out->rest = line;
    out->rest_length = (size_t)(end - line);
    out->has_come = false;
    return true;
}

static int by_id(const void *left, const void *right)
{
    const struct listed *l = left, *r = right;

    return (l->id > r->id) - (l->id < r->id);
}

static struct error *parse_list(struct arena *a, const char *list, struct toc *out)
{
    unsigned lines = 1;

    for (const char *p = strchr(list, '\n'); p != NULL; p = strchr(p + 1, '\n'))
        lines++;
    out->n = 0;
    out->entries = arena_alloc(a, lines * sizeof *out->entries);
    for (const char *line = list; *line != '\0';) {
        size_t length = strcspn(line, "\n");

        if (length > 0 && *line != ';') {
            if (!parse_listed(line, line + length, &out->entries[out->n]))
                return error_new(ERROR_DATA, "cannot read the archive's list of entries at \"%.*s\"",
                                 length > 200 ? 200 : (int)length, line);
            out->n++;
        }
        line += length + (line[length] == '\n');
    }
    qsort(out->entries, out->n, sizeof *out->entries, by_id);
    return NULL;
}

/* ---- headers ---- */

static const struct {
    const char *type;
    enum entry_kind kind;
} kinds[] = {
    {"SCHEMA", ENTRY_SCHEMA},
    {"TABLE", ENTRY_TABLE},
    {"INDEX", ENTRY_INDEX},
    {"INDEX ATTACH", ENTRY_INDEX_ATTACH},
    {"CONSTRAINT", ENTRY_CONSTRAINT},
    {"FK CONSTRAINT", ENTRY_FOREIGN_KEY},
    {"CHECK CONSTRAINT", ENTRY_CHECK},
    {"TRIGGER", ENTRY_TRIGGER},
    {"EVENT TRIGGER", ENTRY_EVENT_TRIGGER},
    {"RULE", ENTRY_RULE},
    {"POLICY", ENTRY_POLICY},
    {"STATISTICS", ENTRY_STATISTICS},
    {"MATERIALIZED VIEW", ENTRY_MATVIEW},
    {"MATERIALIZED VIEW DATA", ENTRY_MATVIEW_DATA},
    {"PUBLICATION", ENTRY_PUBLICATION},
    {"PUBLICATION TABLE", ENTRY_PUBLICATION_MEMBER},
    {"PUBLICATION TABLES IN SCHEMA", ENTRY_PUBLICATION_MEMBER},
    {"COMMENT", ENTRY_COMMENT},
    {"ACL", ENTRY_ACL},
    {"DEFAULT ACL", ENTRY_ACL},
    {"ACL LANGUAGE", ENTRY_ACL},
};

static enum entry_kind kind_of(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kinds[i].type, type) == 0)
            return kinds[i].kind;
    return ENTRY_OTHER;
}

static char *copy(struct arena *a, const char *start, const char *end)
{
    return arena_printf(a, "%.*s", (int)(end - start), start);
}

/* Of 100,000 entries most have the type, schema and owner of the one before. */
static const char *shared(struct arena *a, const char *before, const char *start, const char *end)
{
    size_t length = (size_t)(end - start);

    return before != NULL && strlen(before) == length && memcmp(before, start, length) == 0 ? before
                                                                                            : copy(a, start, end);
}

static const char *find_in(const char *at, const char *end, const char *text)
{
    return at == NULL ? NULL : memmem(at, (size_t)(end - at), text, strlen(text));
}

static const char *find_last_in(const char *at, const char *end, const char *text)
{
    const char *found = NULL;

    for (const char *p = find_in(at, end, text); p != NULL; p = find_in(p + 1, end, text))
        found = p;
    return found;
}

/*
 * "-- Name: N; Type: T; Schema: S; Owner: O". A name may hold "; Type: " too; the list, where the type comes first,
 * tells which one is meant.
 */
/* NOLINTNEXTLINE(readability-function-size): a line, what it must fit, and what it shares texts with */
static bool parse_name_line(struct arena *a, const char *line, const char *end, const struct listed *listed,
                            const struct entry *before, struct entry *e)
{
    static const char name_mark[] = "-- Name: ", type_mark[] = "; Type: ", schema_mark[] = "; Schema: ",
                      owner_mark[] = "; Owner: ";
    size_t longest = 0;

    if (!read_text(&line, end, name_mark))
        return false;
    for (const char *mark = find_in(line, end, type_mark); mark != NULL; mark = find_in(mark + 1, end, type_mark)) {
        const char *type = mark + strlen(type_mark);
        const char *schema = find_in(type, end, schema_mark);
        const char *owner = find_last_in(schema, end, owner_mark);
        size_t length = schema == NULL ? 0 : (size_t)(schema - type);

        if (owner == NULL || length <= longest || length >= listed->rest_length || listed->rest[length] != ' ' ||
            memcmp(type, listed->rest, length) != 0)
            continue;
        longest = length;
        e->name = copy(a, line, mark);
        e->type = shared(a, before->type, type, schema);
        e->schema = shared(a, before->schema, schema + strlen(schema_mark), owner);
        e->owner = shared(a, before->owner, owner + strlen(owner_mark), end);
        e->kind = kind_of(e->type);
    }
    return longest > 0;
}

/* "-- Dependencies: 848 12" */
static void parse_dependencies(struct arena *a, const char *line, const char *end, struct entry *e)
{
    uint32_t id;
    unsigned n = 0;

    for (const char *p = line; p < end; p++)
        n += *p == ' ';
    int *ids = arena_alloc(a, (n + 1UL) * sizeof *ids);
    e->n_dependencies = 0;
    for (const char *p = line; read_text(&p, end, " ") && read_number(&p, end, &id);)
        ids[e->n_dependencies++] = (int)id;
    e->dependencies = ids;
}

/* ---- the script ---- */

enum { STATES_MAX = 32 };

/* What SET has set: by name, so that a later SET of the same name takes the place of the earlier one. */
struct state_line {
    const char *name;
    const char *statement;
};

struct splitter {
    struct arena *a;
    struct toc toc;
    struct lexer lexer;
    struct state_line states[STATES_MAX];
    unsigned n_states;
    const char *prelude; /* NULL after a change, made when next needed */
    struct entry *entries;
    unsigned n_entries;
    unsigned room; /* for statements of the entry at hand */
};

static struct entry *current(struct splitter *s)
{
    return s->n_entries == 0 ? NULL : &s->entries[s->n_entries - 1];
}

static const char *prelude(struct splitter *s)
{
    if (s->prelude != NULL)
        return s->prelude;

    CLEANUP(buffer_free) struct buffer *text = buffer_new();
    for (unsigned i = 0; i < s->n_states; i++)
        buffer_printf(text, "%s\n", s->states[i].statement);
    s->prelude = arena_strdup(s->a, buffer_text(text));
    return s->prelude;
}

static struct error *add_state(struct splitter *s, const char *name, const char *statement)
{
    unsigned i = 0;

    while (i < s->n_states && strcmp(s->states[i].name, name) != 0)
        i++;
    if (i == STATES_MAX)
        return error_new(ERROR_DATA, "cannot take the structure's script apart: it sets more than %d settings",
                         STATES_MAX);
    if (i == s->n_states)
        s->n_states++;
    s->states[i] = (struct state_line){.name = name, .statement = statement};
    s->prelude = NULL;
    return NULL;
}

static struct listed *find_listed(struct toc *toc, uint32_t id)
{
    struct listed wanted = {.id = (int)id};

    return bsearch(&wanted, toc->entries, toc->n, sizeof wanted, by_id);
}

static const char *line_end(const struct splitter *s, const char *line)
{
    const char *newline = memchr(line, '\n', (size_t)(s->lexer.end - line));

    return newline == NULL ? s->lexer.end : newline;
}

/* `comment` is a whole line between statements that begins with "-- TOC entry ". */
static struct error *begin_entry(struct splitter *s, const struct lexeme *comment)
{
    const char *at = comment->start, *end = comment->start + comment->length;
    uint32_t id, catalog, oid;

    bool is_read = read_text(&at, end, "-- TOC entry ") && read_number(&at, end, &id) &&
                   read_text(&at, end, " (class ") && read_number(&at, end, &catalog) && read_text(&at, end, " OID ") &&
                   read_number(&at, end, &oid);
    struct listed *listed = is_read ? find_listed(&s->toc, id) : NULL;
    if (listed == NULL || listed->catalog != catalog || listed->oid != oid || listed->has_come)
        return error_new(ERROR_DATA, "cannot take the structure's script apart: \"%.*s\" is not in the archive's list",
                         (int)comment->length, comment->start);
    listed->has_come = true;

    static const struct entry none = {.id = 0};
    const struct entry *before = s->n_entries == 0 ? &none : current(s);
    struct entry e = {.id = listed->id, .catalog = catalog, .oid = oid, .prelude = prelude(s)};
    bool is_named = false;
    for (const char *line = end + 1; line < s->lexer.end && !is_named && *line == '-'; line = line_end(s, line) + 1) {
        const char *dependencies = line;

        if (read_text(&dependencies, line_end(s, line), "-- Dependencies:"))
            parse_dependencies(s->a, dependencies, line_end(s, line), &e);
        is_named = parse_name_line(s->a, line, line_end(s, line), listed, before, &e);
    }
    if (!is_named)
        return error_new(ERROR_DATA, "cannot take the structure's script apart: entry %d has no name", listed->id);
    s->entries[s->n_entries++] = e;
    s->room = 0;
    return NULL;
}

static void add_statement(struct splitter *s, struct entry *e, const char *statement)
{
    if (e->n_statements == s->room) {
        const char **before = e->statements;

        s->room = s->room == 0 ? 2 : s->room * 2;
        e->statements = arena_alloc(s->a, s->room * sizeof *e->statements);
        if (e->n_statements > 0)
            memcpy(e->statements, before, e->n_statements * sizeof *before);
    }
    e->statements[e->n_statements++] = statement;
}

/* Our sessions have no timeouts anyway, and the newest pg_dump sets some that an older server does not know. */
static bool is_timeout(const char *setting)
{
    static const char suffix[] = "_timeout";
    size_t length = strlen(setting);

    return length > strlen(suffix) && strcmp(setting + length - strlen(suffix), suffix) == 0;
}

/* The setting that a statement sets for all that follows, or NULL. SET SESSION AUTHORIZATION belongs to its GRANTs. */
static const char *state_set_by(struct arena *a, const char *statement)
{
    struct lexer l = {.at = statement, .end = statement + strlen(statement)};
    struct lexeme first = lex_next(&l);
    struct lexeme second = lex_next(&l);

    if (lexeme_is_word(&first, "set") && second.kind == LEX_WORD && !lexeme_is_word(&second, "session"))
        return copy(a, second.start, second.start + second.length);
    if (strncmp(statement, "SELECT pg_catalog.set_config('search_path'", 42) == 0)
        return "search_path";
    return NULL;
}

static struct error *end_statement(struct splitter *s, const char *start)
{
    const char *statement = copy(s->a, start, s->lexer.at);
    const char *state = state_set_by(s->a, statement);

    if (state != NULL)
        return is_timeout(state) ? NULL : add_state(s, state, statement);
    if (current(s) == NULL)
        return error_new(
            ERROR_DATA, "cannot take the structure's script apart: \"%.100s\" comes before the first entry", statement);
    add_statement(s, current(s), statement);
    return NULL;
}

/*
 * psql's way to know that a semicolon is inside of a BEGIN ATOMIC body (psqlscan.l, rule {identifier}), but for one
 * thing: BEGIN alone is no reserved word, and psql stumbles over a function of that name. CASE and END are reserved:
 * as names they are always quoted.
 */
struct nesting {
    char letters[4]; /* of the first words: c, or, r, f|p */
    unsigned n_words;
    bool after_begin;
    unsigned parentheses;
    unsigned begins;
};

static bool is_routine(const struct nesting *n)
{
    const char *l = n->letters;
    bool replaces = l[1] == 'o' && l[2] == 'r';
    char kind = replaces ? l[3] : l[1];

    return l[0] == 'c' && (kind == 'f' || kind == 'p');
}

static void nest_word(struct nesting *n, const struct lexeme *word)
{
    static const char *const remembered[] = {"create", "function", "procedure", "or", "replace"};

    for (size_t i = 0; n->n_words < sizeof n->letters && i < COUNT_OF(remembered); i++)
        if (lexeme_is_word(word, remembered[i]))
            n->letters[n->n_words] = remembered[i][0];
    n->n_words++;
    if (!is_routine(n) || n->parentheses > 0)
        return;
    bool begins = n->after_begin && lexeme_is_word(word, "atomic");
    if (begins || (lexeme_is_word(word, "case") && n->begins > 0))
        n->begins++;
    if (lexeme_is_word(word, "end") && n->begins > 0)
        n->begins--;
}

static void nest(struct nesting *n, const struct lexeme *x)
{
    if (x->kind == LEX_WORD)
        nest_word(n, x);
    n->after_begin = lexeme_is_word(x, "begin");
    if (x->kind == LEX_SYMBOL && *x->start == '(')
        n->parentheses++;
    if (x->kind == LEX_SYMBOL && *x->start == ')' && n->parentheses > 0)
        n->parentheses--;
}

static bool ends_statement(const struct nesting *n, const struct lexeme *x)
{
    return x->kind == LEX_SYMBOL && *x->start == ';' && n->parentheses == 0 && n->begins == 0;
}

/* Reads on from the first token of a statement to its semicolon. */
static struct error *take_statement(struct splitter *s, struct lexeme first)
{
    struct nesting nesting = {.n_words = 0};

    for (struct lexeme x = first;; x = lex_next(&s->lexer)) {
        if (x.kind == LEX_END || x.kind == LEX_BROKEN)
            return error_new(ERROR_DATA, "cannot take the structure's script apart: it ends inside \"%.*s\"",
                             (int)strnlen(first.start, 100), first.start);
        if (ends_statement(&nesting, &x))
            return end_statement(s, first.start);
        nest(&nesting, &x);
    }
}

/* What stands between statements: a comment, a command for psql, or the beginning of a statement. */
static struct error *take_next(struct splitter *s, const char *text, const struct lexeme *x)
{
    static const char header[] = "-- TOC entry ";
    bool begins_line = x->start == text || x->start[-1] == '\n';

    if (x->kind == LEX_COMMENT) {
        if (begins_line && x->length > strlen(header) && memcmp(x->start, header, strlen(header)) == 0)
            return begin_entry(s, x);
        return NULL;
    }
    if (*x->start == '\\' && begins_line) {
        const char *end = line_end(s, x->start), *at = x->start;

        /* Since 2025's minor releases: they keep psql from running commands hidden in names, and are not for us. */
        if (!read_text(&at, end, "\\restrict ") && !read_text(&at, end, "\\unrestrict "))
            return error_new(ERROR_DATA, "cannot take the structure's script apart: unknown command \"%.*s\"",
                             (int)(end - x->start), x->start);
        s->lexer.at = end;
        return NULL;
    }
    return take_statement(s, *x);
}

static int by_entry_id(const void *left, const void *right)
{
    const struct entry *const *l = left, *const *r = right;

    return ((*l)->id > (*r)->id) - ((*l)->id < (*r)->id);
}

static void index_by_id(struct script *s)
{
    for (unsigned i = 0; i < s->n_entries; i++)
        s->by_id[i] = &s->entries[i];
    qsort(s->by_id, s->n_entries, sizeof(struct entry *), by_entry_id);
}

struct error *schema_script_parse(struct arena *a, const char *list, const char *text, struct script *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "list of the archive");
    struct splitter s = {.a = a, .lexer = {.at = text, .end = text + strlen(text)}};

    TRY(parse_list(scratch, list, &s.toc));
    s.entries = arena_alloc(a, (s.toc.n + 1U) * sizeof *s.entries);
    for (struct lexeme x = lex_next(&s.lexer); x.kind != LEX_END; x = lex_next(&s.lexer)) {
        if (x.kind == LEX_BROKEN)
            return error_new(ERROR_DATA,
                             "cannot take the structure's script apart: it ends inside a string or comment");
        TRY(take_next(&s, text, &x));
    }
    for (unsigned i = 0; i < s.toc.n; i++)
        if (!s.toc.entries[i].has_come)
            return error_new(ERROR_DATA, "cannot take the structure's script apart: entry %d (%.*s) is missing",
                             s.toc.entries[i].id, (int)s.toc.entries[i].rest_length, s.toc.entries[i].rest);
    out->n_entries = s.n_entries;
    out->entries = s.entries;
    out->by_id = arena_alloc(a, (s.n_entries + 1U) * sizeof(struct entry *));
    index_by_id(out);
    return NULL;
}

void script_keep(struct script *s, const bool *kept)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n_entries; i++)
        if (kept[i])
            s->entries[n++] = s->entries[i];
    s->n_entries = n;
    index_by_id(s);
}

struct entry *script_find(const struct script *s, int id)
{
    struct entry wanted = {.id = id}, *key = &wanted;
    struct entry **found = bsearch(&key, s->by_id, s->n_entries, sizeof(struct entry *), by_entry_id);

    return found == NULL ? NULL : *found;
}

/* ---- one statement ---- */

static char *fold(struct arena *a, const struct lexeme *x)
{
    char *text = copy(a, x->start, x->start + x->length);

    for (char *p = text; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return text;
}

static char *unquote(struct arena *a, const struct lexeme *x)
{
    char *text = arena_alloc(a, x->length);
    size_t n = 0;

    for (size_t i = 1; i + 1 < x->length; i++) {
        text[n++] = x->start[i];
        i += x->start[i] == '"'; /* the second of two */
    }
    return text;
}

struct token *statement_tokens(struct arena *a, const char *statement, unsigned *out_n)
{
    struct lexer l = {.at = statement, .end = statement + strlen(statement)};
    unsigned n = 0, room = 16;
    struct token *tokens = arena_alloc(a, room * sizeof *tokens);

    for (struct lexeme x = lex_next(&l); x.kind != LEX_END && x.kind != LEX_BROKEN; x = lex_next(&l)) {
        if (x.kind == LEX_COMMENT)
            continue;
        if (n + 1 == room) {
            struct token *more = arena_alloc(a, 2 * (size_t)room * sizeof *more);

            memcpy(more, tokens, n * sizeof *tokens);
            tokens = more;
            room *= 2;
        }
        enum token_kind kind = TOKEN_SYMBOL;
        if (x.kind == LEX_WORD)
            kind = TOKEN_WORD;
        else if (x.kind == LEX_QUOTED)
            kind = TOKEN_IDENTIFIER;
        const char *text_of = x.kind == LEX_WORD ? fold(a, &x) : copy(a, x.start, x.start + x.length);
        tokens[n++] = (struct token){.kind = kind, .text = x.kind == LEX_QUOTED ? unquote(a, &x) : text_of};
    }
    tokens[n] = (struct token){.kind = TOKEN_END, .text = ""};
    *out_n = n;
    return tokens;
}
