#include "model/selection.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

enum { ROOM_FIRST = 16 };

/* ---- rules ---- */

static struct error *cannot_read(const char *where, const char *text, const char *why)
{
    return error_hint(
        error_new(ERROR_USAGE, "%s: \"%s\" is no rule: %s", where, text, why),
        "A rule is SCHEMA.NAME with * and ? for any characters, ! before it leaves out, and double quotes go "
        "around what is a name as it stands: 'sales.*', '!sales.tmp_*', '\"odd.name\".\"a*b\"'.");
}

static void append_literal(struct buffer *pattern, char c)
{
    if (c == '*' || c == '?' || c == '\\')
        buffer_append_char(pattern, '\\');
    buffer_append_char(pattern, c);
}

/* A part of a rule up to an unquoted dot. NULL: all is well, else why not. */
static const char *read_part(const char **at, struct buffer *pattern, bool *is_exact)
{
    bool is_quoted = false;

    for (; **at != '\0' && (is_quoted || **at != '.'); (*at)++) {
        if (**at == '"' && is_quoted && (*at)[1] == '"')
            append_literal(pattern, *(*at)++);
        else if (**at == '"')
            is_quoted = !is_quoted;
        else if (!is_quoted && (**at == '*' || **at == '?')) {
            buffer_append_char(pattern, **at);
            *is_exact = false;
        } else
            append_literal(pattern, **at);
    }
    if (is_quoted)
        return "a double quote is not closed";
    return pattern->length == 0 ? "a name is empty" : NULL;
}

/* Of an exact pattern: the name. */
static char *without_escapes(struct arena *a, const char *pattern)
{
    char *name = arena_strdup(a, pattern), *end = name;

    for (const char *p = name; *p != '\0'; p++) {
        p += *p == '\\';
        *end++ = *p;
    }
    *end = '\0';
    return name;
}

static void add(struct arena *a, struct selection_rules *rules, struct selection_rule rule)
{
    if (rules->n == rules->room) {
        struct selection_rule *before = rules->rules;

        rules->room = rules->room == 0 ? ROOM_FIRST : rules->room * 2;
        rules->rules = arena_alloc(a, rules->room * sizeof *rules->rules);
        if (rules->n > 0)
            memcpy(rules->rules, before, rules->n * sizeof *before);
    }
    if (rule.is_exact) {
        rule.schema = without_escapes(a, rule.schema);
        rule.name = without_escapes(a, rule.name);
    }
    rules->rules[rules->n++] = rule;
}

struct error *selection_add(struct arena *a, struct selection_rules *rules, const char *text, const char *where)
{
    CLEANUP(buffer_free) struct buffer *first = buffer_new();
    CLEANUP(buffer_free) struct buffer *second = buffer_new();
    struct selection_rule rule = {
        .text = arena_strdup(a, text), .where = arena_strdup(a, where), .excludes = text[0] == '!', .is_exact = true};
    const char *at = text + rule.excludes;

    const char *why = read_part(&at, first, &rule.is_exact);
    bool has_schema = why == NULL && *at == '.';
    if (has_schema) {
        at++;
        why = read_part(&at, second, &rule.is_exact);
    }
    if (why == NULL && *at != '\0')
        why = "it has more than a schema and a name";
    if (why != NULL)
        return cannot_read(where, text, why);
    rule.is_exact = rule.is_exact && has_schema;
    rule.schema = has_schema ? arena_strdup(a, buffer_text(first)) : "*";
    rule.name = arena_strdup(a, buffer_text(has_schema ? second : first));
    add(a, rules, rule);
    return NULL;
}

struct error *selection_add_list(struct arena *a, struct selection_rules *rules, const char *text, const char *where)
{
    const char *begin = text;
    bool is_quoted = false;

    for (const char *at = text;; at++) {
        is_quoted = is_quoted != (*at == '"');
        if (*at != '\0' && (is_quoted || *at != ','))
            continue;
        if (at == begin)
            return cannot_read(where, text, "a rule in it is empty");
        TRY(selection_add(a, rules, arena_printf(a, "%.*s", (int)(at - begin), begin), where));
        if (*at == '\0')
            return NULL;
        begin = at + 1;
    }
}

/* A name may hold a line's end, inside quotes. */
struct error *selection_add_text(struct arena *a, struct selection_rules *rules, const char *text, const char *where)
{
    const char *begin = text;
    bool is_quoted = false;

    for (const char *at = text;; at++) {
        is_quoted = is_quoted != (*at == '"');
        if (*at != '\0' && (is_quoted || *at != '\n'))
            continue;
        TRY(selection_add(a, rules, arena_printf(a, "%.*s", (int)(at - begin), begin), where));
        if (*at == '\0')
            return NULL;
        begin = at + 1;
    }
}

static void append_exact(struct buffer *out, const char *name)
{
    if (name[0] != '!' && strpbrk(name, "\"*?.,#") == NULL) {
        buffer_append_text(out, name);
        return;
    }
    buffer_append_char(out, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buffer_append_char(out, '"');
        buffer_append_char(out, *name);
    }
    buffer_append_char(out, '"');
}

char *selection_exact(struct arena *a, const char *schema, const char *name)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    append_exact(text, schema);
    buffer_append_char(text, '.');
    append_exact(text, name);
    return arena_strdup(a, buffer_text(text));
}

/* ---- matching ---- */

/* The next character's first byte; names are of the database's encoding, and where that is not UTF-8 bytes count. */
static const char *after_character(const char *text)
{
    text++;
    while (((unsigned char)*text & 0xC0U) == 0x80)
        text++;
    return text;
}

/* Goes back to the last star only: linear but for what it matches twice. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
            continue;
        }
        if (*pattern == '?') {
            pattern++;
            text = after_character(text);
            continue;
        }
        const char *literal = pattern + (*pattern == '\\');
        if (*literal == *text && *literal != '\0') {
            pattern = literal + 1;
            text++;
            continue;
        }
        if (star == NULL)
            return false;
        pattern = star;
        text = ++from;
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

struct rule_state {
    const struct selection_rule *rule;
    unsigned place; /* among all rules */
    bool matched, decided;
};

struct selection {
    struct selection_rules rules;
    struct rule_state *states; /* by place */
    struct rule_state **exact; /* by schema, name and place */
    unsigned n_exact;
    struct rule_state **patterns; /* by place */
    unsigned n_patterns;
    bool takes_silent;
};

static int order_names(const char *schema, const char *name, const struct selection_rule *rule)
{
    int order = strcmp(schema, rule->schema);

    return order != 0 ? order : strcmp(name, rule->name);
}

static int by_name(const void *left, const void *right)
{
    const struct rule_state *const *l = left, *const *r = right;
    int order = order_names((*l)->rule->schema, (*l)->rule->name, (*r)->rule);

    return order != 0 ? order : ((*l)->place > (*r)->place) - ((*l)->place < (*r)->place);
}

struct selection *selection_new(struct arena *a, const struct selection_rules *rules)
{
    struct selection *s = ARENA_NEW(a, struct selection);

    s->rules = *rules;
    s->states = arena_alloc(a, (rules->n + 1UL) * sizeof *s->states);
    s->exact = arena_alloc(a, (rules->n + 1UL) * sizeof *s->exact);
    s->patterns = arena_alloc(a, (rules->n + 1UL) * sizeof *s->patterns);
    s->takes_silent = true;
    for (unsigned i = 0; i < rules->n; i++) {
        struct rule_state *state = &s->states[i];

        *state = (struct rule_state){.rule = &rules->rules[i], .place = i};
        s->takes_silent = s->takes_silent && state->rule->excludes;
        if (state->rule->is_exact)
            s->exact[s->n_exact++] = state;
        else
            s->patterns[s->n_patterns++] = state;
    }
    qsort((void *)s->exact, s->n_exact, sizeof *s->exact, by_name);
    return s;
}

/* The first exact rule of that name, or where it would be. */
static unsigned first_exact(const struct selection *s, const char *schema, const char *name)
{
    unsigned low = 0, high = s->n_exact;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (order_names(schema, name, s->exact[middle]->rule) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

enum selection_verdict selection_decide(struct selection *s, const char *schema, const char *name, int *out_place)
{
    struct rule_state *last = NULL;

    for (unsigned i = first_exact(s, schema, name); i < s->n_exact && order_names(schema, name, s->exact[i]->rule) == 0;
         i++) {
        last = s->exact[i];
        last->matched = true;
    }
    for (unsigned i = 0; i < s->n_patterns; i++) {
        struct rule_state *state = s->patterns[i];

        if (!matches(state->rule->schema, schema) || !matches(state->rule->name, name))
            continue;
        state->matched = true;
        if (last == NULL || state->place > last->place)
            last = state;
    }
    if (out_place != NULL)
        *out_place = last == NULL ? -1 : (int)last->place;
    if (last == NULL)
        return SELECTION_SILENT;
    last->decided = true;
    return last->rule->excludes ? SELECTION_LEFT_OUT : SELECTION_CHOSEN;
}

bool selection_takes_silent(const struct selection *s)
{
    return s->takes_silent;
}

char *selection_text(struct arena *a, const struct selection *s)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (unsigned i = 0; i < s->rules.n; i++)
        buffer_printf(text, "%s%s", i == 0 ? "" : "\n", s->rules.rules[i].text);
    return arena_strdup(a, buffer_text(text));
}

/* In an exact rule all characters stand for themselves, in another those behind a backslash. */
static const char *like_of(struct arena *a, const char *pattern, bool is_exact)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (const char *p = pattern; *p != '\0'; p++) {
        bool is_literal = is_exact || *p == '\\';

        p += !is_exact && *p == '\\';
        if (!is_literal && (*p == '*' || *p == '?')) {
            buffer_append_char(text, *p == '*' ? '%' : '_');
            continue;
        }
        if (*p == '%' || *p == '_' || *p == '\\')
            buffer_append_char(text, '\\');
        buffer_append_char(text, *p);
    }
    return arena_strdup(a, buffer_text(text));
}

unsigned selection_likes(struct arena *a, const struct selection *s, struct selection_like **out)
{
    struct selection_like *all = arena_alloc(a, (s->rules.n + 1UL) * sizeof *all);

    for (unsigned i = 0; i < s->rules.n; i++) {
        const struct selection_rule *rule = &s->rules.rules[i];

        all[i] = (struct selection_like){.excludes = rule->excludes,
                                         .schema = like_of(a, rule->schema, rule->is_exact),
                                         .name = like_of(a, rule->name, rule->is_exact)};
    }
    *out = all;
    return s->rules.n;
}

unsigned selection_complaints(struct arena *a, const struct selection *s, struct selection_complaint **out)
{
    struct selection_complaint *all = arena_alloc(a, (s->rules.n + 1UL) * sizeof *all);
    unsigned n = 0;

    for (unsigned i = 0; i < s->rules.n; i++) {
        const struct rule_state *state = &s->states[i];
        bool is_idle = state->rule->excludes ? !state->decided : !state->matched;

        if (is_idle)
            all[n++] = (struct selection_complaint){.rule = state->rule, .matched = state->matched};
    }
    *out = all;
    return n;
}
