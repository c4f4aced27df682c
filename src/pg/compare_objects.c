#include "pg/compare_objects.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>

#include "pg/account_reader.h"
#include "pg/cells.h"
#include "pg/sequence.h"
#include "pg/sql.h"

enum {
    SHOWN_MAX = 4000,
    MAJOR = 10000,
    TRUNCATE_SINCE = 110000,
    MULTIRANGES_SINCE = 140000,
    MAINTAIN_SINCE = 170000,
    NAMED_NOT_NULLS_SINCE = 180000,
};

enum object_cell { OBJECT_KIND, OBJECT_IDENTITY, OBJECT_DEFINITION, OBJECT_ROLE, OBJECT_CELLS };

/* Rows of OBJECT_CELLS cells, by kind, identity and definition, bytewise. */
struct objects {
    unsigned n;
    char ***rows;
};

/* ---- reading ---- */

MUST_USE static struct error *ask(struct pg_conn *c, struct arena *a, const char *what, const char *sql, bool *out)
{
    char *answer = NULL;

    TRY(pg_query_text(c, a, what, sql, NULL, 0, &answer));
    *out = cell_bool(answer);
    return NULL;
}

MUST_USE static struct error *ask_both(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                       const char *what, const char *sql, bool *out)
{
    bool of_source = false, of_target = false;

    TRY(ask(source, a, what, sql, &of_source));
    TRY(ask(target, a, what, sql, &of_target));
    *out = of_source && of_target;
    return NULL;
}

MUST_USE static struct error *read_statement(struct pg_conn *c, struct arena *a, const char *what, const char *sql,
                                             struct objects *out)
{
    struct pg_rows rows;

    TRY(pg_query(c, a, what, sql, NULL, 0, &rows));
    *out = (struct objects){.n = rows.n_rows, .rows = rows.rows};
    return NULL;
}

static char **object_row(struct arena *a, const char *kind, const char *identity, const char *definition)
{
    char **row = arena_alloc(a, OBJECT_CELLS * sizeof *row);

    row[OBJECT_KIND] = arena_strdup(a, kind);
    row[OBJECT_IDENTITY] = arena_strdup(a, identity);
    row[OBJECT_DEFINITION] = arena_strdup(a, definition);
    return row;
}

static int by_identity(const void *left, const void *right)
{
    char **const *l = left, **const *r = right;

    return strcmp((*l)[OBJECT_IDENTITY], (*r)[OBJECT_IDENTITY]);
}

MUST_USE static struct error *read_sequences(struct pg_conn *c, struct arena *a, const struct object_scope *scope,
                                             struct objects *out)
{
    struct sequence *sequences = NULL;
    unsigned n = 0;

    TRY(sequence_read(c, a, scope->filter, &sequences, &n));
    char ***rows = arena_alloc(a, (n + 1U) * sizeof *rows);
    for (unsigned i = 0; i < n; i++)
        rows[i] = object_row(
            a, "sequence value", pg_quote_name(a, sequences[i].schema, sequences[i].name),
            arena_printf(a, "%" PRId64 "%s", sequences[i].last_value, sequences[i].is_called ? "" : ", not called"));
    if (n > 0)
        qsort((void *)rows, n, sizeof *rows, by_identity);
    *out = (struct objects){.n = n, .rows = rows};
    return NULL;
}

/* What both servers, or users, of a comparison know: nothing else can be compared. */
struct common {
    unsigned version; /* of the older one */
    bool both_superusers;
};

static const char *since(const struct common *c, unsigned version)
{
    return c->version >= version ? "true" : "false";
}

MUST_USE static struct error *read_definitions(struct pg_conn *c, struct arena *a, const struct object_scope *scope,
                                               const struct common *common, struct objects *out)
{
    const char *params[] = {
        scope->schemas,
        scope->names,
        common->version >= MAINTAIN_SINCE ? "{}" : "{MAINTAIN}",
        since(common, NAMED_NOT_NULLS_SINCE),
        since(common, MULTIRANGES_SINCE),
        common->both_superusers ? "true" : "false",
        scope->with_publications ? "true" : "false",
        since(common, TRUNCATE_SINCE),
        scope->fires_later ? "true" : "false",
    };
    struct pg_rows rows;

    TRY(pg_query(c, a, "reading the definitions of all objects", sql_compare_objects, params, COUNT_OF(params), &rows));
    *out = (struct objects){.n = rows.n_rows, .rows = rows.rows};
    return NULL;
}

/* Their first cells are those of objects. PostgreSQL's own roles are no concern of anybody. */
MUST_USE static struct error *read_accounts(struct pg_conn *c, const struct pg_conn *other, struct arena *a,
                                            struct objects *out)
{
    static_assert((int)ACCOUNT_KIND == OBJECT_KIND && (int)ACCOUNT_IDENTITY == OBJECT_IDENTITY &&
                      (int)ACCOUNT_DEFINITION == OBJECT_DEFINITION && (int)ACCOUNT_ROLE == OBJECT_ROLE,
                  "the first cells are those of objects");
    struct pg_rows rows;

    TRY(accounts_of(c, other, a, ACCOUNTS_TO_COMPARE, &rows));
    *out = (struct objects){.rows = rows.rows};
    for (unsigned r = 0; r < rows.n_rows; r++)
        if (rows.rows[r][ACCOUNT_ROLE] == NULL || !account_is_systems(rows.rows[r][ACCOUNT_ROLE]))
            out->rows[out->n++] = rows.rows[r];
    return NULL;
}

struct comparison {
    struct arena *scratch;
    struct compare_collector *collector;
    enum object_set set;
    const struct object_scope *scope;
    struct common common;
    bool majors_differ;
    struct objects source, target;
    struct compare_entry *entry; /* of the kind at hand */
    unsigned n_only_target;      /* roles */
};

/* `other`: the server that it is compared with. */
MUST_USE static struct error *read_set(struct pg_conn *c, const struct pg_conn *other, struct arena *a,
                                       const struct comparison *of, struct objects *out)
{
    switch (of->set) {
    case OBJECT_SET_DEFINITIONS:
        return read_definitions(c, a, of->scope, &of->common, out);
    case OBJECT_SET_SEQUENCES:
        return read_sequences(c, a, of->scope, out);
    case OBJECT_SET_ACCOUNTS:
        return read_accounts(c, other, a, out);
    case OBJECT_SET_DATABASE:
        return read_statement(c, a, "reading the properties of the database", sql_compare_database, out);
    }
    return NULL;
}

/* ---- judging ---- */

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80) != 0;
}

/* Behind what stands at `at`: a quoted text in whole, a name or a number in whole, else one byte. */
static const char *word_end(const char *at)
{
    const char *end = at + 1;

    if (*at == '\'' || *at == '"')
        while (*end != '\0' && *end++ != *at)
            ;
    else if (is_name_byte(*at))
        while (is_name_byte(*end))
            end++;
    return end;
}

/* Both stand at the same word, as a qualification or not; they go behind it. */
static bool take_same_word(const char **a, const char **b)
{
    const char *a_end = word_end(*a), *b_end = word_end(*b);
    size_t length = (size_t)(a_end - *a);

    if (length != (size_t)(b_end - *b) || memcmp(*a, *b, length) != 0 || (*a_end == '.') != (*b_end == '.'))
        return false;
    *a = a_end;
    *b = b_end;
    return true;
}

/* Like that, but one of them has a qualification more. */
static bool take_behind_qualification(const char **more, const char **less)
{
    bool is_name = **more == '"' || (is_name_byte(**more) && !isdigit((unsigned char)**more));
    const char *name = word_end(*more);

    if (!is_name || *name++ != '.' || !take_same_word(&name, less))
        return false;
    *more = name;
    return true;
}

static const char *behind_space(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

bool definitions_agree_loosely(const char *a, const char *b)
{
    for (;;) {
        a = behind_space(a);
        b = behind_space(b);
        if (*a == '\0' || *b == '\0')
            return *a == *b;
        if (!take_same_word(&a, &b) && !take_behind_qualification(&a, &b) && !take_behind_qualification(&b, &a))
            return false;
    }
}

/* What a server prints from its parsed form; all else is compared byte by byte. */
static bool is_printed_from_parsed(const char *kind, const char *definition)
{
    static const char *const kinds[] = {"view", "materialized view", "rule"};

    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return strcmp(kind, "function") == 0 && strstr(definition, "\nAS $") == NULL; /* BEGIN ATOMIC, RETURN */
}

static bool agree_between_majors(const char *kind, const char *source, const char *target)
{
    if (strcmp(kind, "extension") == 0) {
        const char *s = strstr(source, ", schema "), *t = strstr(target, ", schema "); /* behind the version */
        return s != NULL && t != NULL && strcmp(s, t) == 0;
    }
    return is_printed_from_parsed(kind, source) && definitions_agree_loosely(source, target);
}

static bool agree(const struct comparison *c, char **s, char **t)
{
    return strcmp(s[OBJECT_DEFINITION], t[OBJECT_DEFINITION]) == 0 ||
           (c->majors_differ && agree_between_majors(s[OBJECT_KIND], s[OBJECT_DEFINITION], t[OBJECT_DEFINITION]));
}

static void report(struct comparison *c, enum difference_side side, char **s, char **t)
{
    char **any = s != NULL ? s : t;
    assert(any != NULL);
    const struct difference_column definition = {
        .name = "definition",
        .source = s == NULL ? NULL : compare_shortened(c->scratch, s[OBJECT_DEFINITION], SHOWN_MAX),
        .target = t == NULL ? NULL : compare_shortened(c->scratch, t[OBJECT_DEFINITION], SHOWN_MAX),
    };

    compare_entry_differs(c->collector, c->entry,
                          &(struct difference){.side = side,
                                               .what = any[OBJECT_KIND],
                                               .identity = any[OBJECT_IDENTITY],
                                               .n_columns = 1,
                                               .columns = &definition});
}

static bool source_has_role(const struct comparison *c, const char *role)
{
    for (unsigned i = 0; role != NULL && i < c->source.n; i++)
        if (strcmp(c->source.rows[i][OBJECT_KIND], "role") == 0 && strcmp(c->source.rows[i][OBJECT_ROLE], role) == 0)
            return true;
    return false;
}

/* A server may serve other databases with roles of their own. */
static bool is_nobodys_concern(struct comparison *c, char **t)
{
    if (c->set != OBJECT_SET_ACCOUNTS || t[OBJECT_ROLE] == NULL || source_has_role(c, t[OBJECT_ROLE]))
        return false;
    c->n_only_target += strcmp(t[OBJECT_KIND], "role") == 0;
    return true;
}

static int order_of(char **s, char **t)
{
    if (s == NULL || t == NULL)
        return (s == NULL) - (t == NULL);
    int order = strcmp(s[OBJECT_KIND], t[OBJECT_KIND]);
    return order != 0 ? order : strcmp(s[OBJECT_IDENTITY], t[OBJECT_IDENTITY]);
}

static enum compare_kind kind_of(enum object_set set)
{
    switch (set) {
    case OBJECT_SET_DEFINITIONS:
    case OBJECT_SET_SEQUENCES:
    case OBJECT_SET_DATABASE:
        return COMPARE_OBJECTS;
    case OBJECT_SET_ACCOUNTS:
        return COMPARE_ACCOUNTS;
    }
    return COMPARE_OBJECTS;
}

static void leave_kind(struct comparison *c)
{
    if (c->entry != NULL)
        compare_entry_done(c->collector, c->entry);
}

static void enter_kind(struct comparison *c, const char *kind)
{
    if (c->entry != NULL && strcmp(c->entry->name, kind) == 0)
        return;
    leave_kind(c);
    c->entry = compare_entry_begin(c->collector, kind_of(c->set), kind);
}

static void take_pair(struct comparison *c, char **s, char **t)
{
    if (s == NULL && (t == NULL || is_nobodys_concern(c, t)))
        return;
    char **any = s != NULL ? s : t;
    assert(any != NULL);
    enter_kind(c, any[OBJECT_KIND]);
    c->entry->source_count += s != NULL;
    c->entry->target_count += t != NULL;
    if (t == NULL)
        report(c, ONLY_ON_SOURCE, s, NULL);
    else if (s == NULL)
        report(c, ONLY_ON_TARGET, NULL, t);
    else if (!agree(c, s, t))
        report(c, ON_BOTH, s, t);
}

static int by_order(const void *left, const void *right)
{
    char **const *l = left, **const *r = right;

    assert(*l != NULL && *r != NULL); /* order_of takes them for what one side has not */
    int order = order_of(*l, *r);

    return order != 0 ? order : strcmp((*l)[OBJECT_DEFINITION], (*r)[OBJECT_DEFINITION]);
}

/* A server sorts the bytes of its own encoding; here both sides are in one. */
static void sort(const struct objects *o)
{
    if (o->n > 1)
        qsort((void *)o->rows, o->n, sizeof *o->rows, by_order);
}

static void merge(struct comparison *c)
{
    unsigned i = 0, k = 0;

    sort(&c->source);
    sort(&c->target);
    while (i < c->source.n || k < c->target.n) {
        char **s = i < c->source.n ? c->source.rows[i] : NULL, **t = k < c->target.n ? c->target.rows[k] : NULL;
        int order = order_of(s, t);

        take_pair(c, order <= 0 ? s : NULL, order >= 0 ? t : NULL);
        i += order <= 0;
        k += order >= 0;
    }
    leave_kind(c);
    if (c->n_only_target > 0)
        compare_note(c->collector, arena_printf(c->scratch, "%u %s on the target alone: not counted as a difference.",
                                                c->n_only_target, c->n_only_target == 1 ? "role is" : "roles are"));
}

/* ---- passwords ---- */

static void join(struct arena *a, struct objects *all, const struct objects *more)
{
    char ***rows = arena_alloc(a, (all->n + more->n + 1U) * sizeof *rows);
    unsigned i = 0, k = 0, n = 0;

    while (i < all->n || k < more->n) {
        bool takes_first = k == more->n || (i < all->n && strcmp(all->rows[i][OBJECT_KIND], "password") < 0);
        rows[n++] = takes_first ? all->rows[i++] : more->rows[k++];
    }
    *all = (struct objects){.n = n, .rows = rows};
}

MUST_USE static struct error *add_passwords(struct comparison *c, struct pg_conn *source, struct pg_conn *target)
{
    struct objects of_source, of_target;
    bool may_read = false;

    TRY(ask_both(source, target, c->scratch, "asking whether passwords may be read",
                 "SELECT has_table_privilege('pg_catalog.pg_authid', 'select')", &may_read));
    if (!may_read) {
        compare_note(c->collector, "Passwords were not compared: they may be read by superusers only.");
        return NULL;
    }
    TRY(read_statement(source, c->scratch, "reading password verifiers", sql_compare_passwords, &of_source));
    TRY(read_statement(target, c->scratch, "reading password verifiers", sql_compare_passwords, &of_target));
    join(c->scratch, &c->source, &of_source);
    join(c->scratch, &c->target, &of_target);
    return NULL;
}

/* Others see the options of their own mappings at most. */
MUST_USE static struct error *look_at_users(struct comparison *c, struct pg_conn *source, struct pg_conn *target)
{
    bool has_mappings = false;

    TRY(ask_both(source, target, c->scratch, "asking who compares", "SELECT current_setting('is_superuser') = 'on'",
                 &c->common.both_superusers));
    if (!c->common.both_superusers && c->scope->names == NULL)
        TRY(ask(source, c->scratch, "looking for user mappings", "SELECT EXISTS (SELECT FROM pg_user_mappings)",
                &has_mappings));
    if (has_mappings)
        compare_note(c->collector, "Options of user mappings were not compared: superusers alone see them all.");
    return NULL;
}

struct error *compare_objects_run(struct pg_conn *source, struct pg_conn *target, enum object_set set,
                                  const struct object_scope *scope, struct compare_collector *collector)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "compare objects");
    unsigned of_source = (unsigned)pg_conn_version(source), of_target = (unsigned)pg_conn_version(target);
    struct comparison c = {
        .scratch = scratch,
        .collector = collector,
        .set = set,
        .scope = scope,
        .common.version = of_source < of_target ? of_source : of_target,
        .majors_differ = of_source / MAJOR != of_target / MAJOR,
    };

    if (set == OBJECT_SET_DEFINITIONS)
        TRY(look_at_users(&c, source, target));
    TRY(read_set(source, target, scratch, &c, &c.source));
    TRY(read_set(target, source, scratch, &c, &c.target));
    if (set == OBJECT_SET_ACCOUNTS)
        TRY(add_passwords(&c, source, target));
    merge(&c);
    return NULL;
}
