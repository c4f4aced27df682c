#include "pg/large_objects.h"

#include "base/buffer.h"
#include "base/fault.h"
#include "pg/cells.h"
#include "pg/copy.h"
#include "pg/schema_roles.h"
#include "pg/schema_script.h"
#include "pg/sql.h"
#include "pg/sql_lexer.h"

enum { PAGE = 500 };

#define SLICE "262144"

/*
 * A descriptor tells the size without reading, and is closed at once. Nested instead of joined: the planner may remember the inner
 * side of a join by its parameter (Memoize), and the number of a descriptor comes again.
 */
#define SLICES_OF(oids)                                                                                     \
    " FROM unnest(%s::oid[]) AS o(oid),"                                                                    \
    " LATERAL (SELECT (SELECT s.size + lo_close(CASE WHEN s.size >= 0 THEN s.fd END)"                       \
    "   FROM (SELECT f.fd, lo_lseek64(f.fd, 0, 2) AS size"                                                  \
    "     FROM (SELECT lo_open(o.oid, 262144) AS fd OFFSET 0) AS f OFFSET 0) AS s) AS size OFFSET 0) AS s," \
    " LATERAL generate_series(0, s.size - 1, " SLICE ") AS at(at)"

struct sync {
    struct pg_conn *source;
    struct pg_conn *target;
    bool may_remove;
    struct role_list roles;
    struct large_object_counts counts;
    struct left_out *left_out; /* statements about owners, comments and rights */
    struct large_object_watch watch;
};

/* Objects of the source in order of their oids; `target` has what the target says of the same ones, NULL where it has none. */
struct page {
    unsigned n;
    const char *after; /* exclusive */
    const char *last;  /* inclusive; NULL: to the end */
    const char **oids;
    const char **properties;
    const char **target_properties;
    const char **target_undo;  /* what takes them away */
    const char **target_owner; /* to be become, because the user does not inherit its rights; else NULL */
    bool *is_closed;           /* it cannot: the target's object stays as it is */
    bool *is_wanted;           /* content is to be copied */
};

/* sql/large_objects.sql */
enum object_column { OBJECT_OID, OBJECT_PROPERTIES, OBJECT_UNDO, OBJECT_OWNER, OBJECT_IS_OPEN };

static int compare_oid(const void *key, const void *member)
{
    uint32_t x = cell_u32(key), y = cell_u32(*(const char *const *)member);

    return x < y ? -1 : x > y;
}

static bool is_same_owner(const char *left, const char *right)
{
    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

static const char any_owner[] = "";

/* "'{1,2}'": those that `is_wanted` and that `owner` owns on the target. NULL for none. */
static char *oid_array(struct arena *a, const struct page *page, const bool *is_wanted, const char *owner)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (unsigned i = 0; i < page->n; i++)
        if (is_wanted[i] && (owner == any_owner || is_same_owner(page->target_owner[i], owner)))
            buffer_printf(text, "%s%s", text->length == 0 ? "'{" : ",", page->oids[i]);
    if (text->length == 0)
        return NULL;
    buffer_append_text(text, "}'");
    return arena_strdup(a, buffer_text(text));
}

/* Each owner that is to be become once, at the first of its objects; NULL, for the user itself, at the first one of all. */
static bool is_first_of_owner(const struct page *page, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (is_same_owner(page->target_owner[i], page->target_owner[n]))
            return false;
    return true;
}

/* In the transaction of the page. */
MUST_USE static struct error *become(struct sync *s, const char *owner)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "role");

    return owner == NULL ? NULL
                         : pg_execute_format(s->target, "becoming the owner of a large object", "SET LOCAL ROLE %s",
                                             pg_quote_identifier(scratch, owner));
}

MUST_USE static struct error *be_oneself(struct sync *s, const char *owner)
{
    return owner == NULL ? NULL : pg_execute(s->target, "putting the role back", "RESET ROLE");
}

MUST_USE static struct error *read_page(struct pg_conn *c, struct arena *a, const char *after, unsigned limit,
                                        struct pg_rows *out)
{
    const char *params[] = {after, arena_printf(a, "%u", limit)};

    return pg_query(c, a, "reading the list of large objects", sql_large_objects, params, COUNT_OF(params), out);
}

/* *out_n is those that are gone. */
MUST_USE static struct error *unlink_as(struct sync *s, struct arena *a, const char *owner, const char *oids,
                                        uint64_t *out_n)
{
    char *count = NULL;

    TRY(become(s, owner));
    TRY(pg_query_text(
        s->target, a, "removing large objects",
        "SELECT count(lo_unlink(m.oid))::text FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = ANY "
        "($1::oid[])",
        &oids, 1, &count));
    *out_n = cell_u64(count);
    return be_oneself(s, owner);
}

/* One that the source has not. */
MUST_USE static struct error *remove_extra(struct sync *s, struct arena *a, char *const *row)
{
    uint64_t n = 0;

    if (row[OBJECT_OWNER] != NULL && !cell_bool(row[OBJECT_IS_OPEN])) {
        left_out_tell(s->left_out, arena_printf(a, "SELECT lo_unlink(%s);", row[OBJECT_OID]),
                      arena_printf(a, "it belongs to role \"%s\", which the user cannot become", row[OBJECT_OWNER]));
        return NULL;
    }
    TRY(unlink_as(s, a, row[OBJECT_OWNER], arena_printf(a, "{%s}", row[OBJECT_OID]), &n));
    s->counts.removed += n;
    return NULL;
}

static void note_on_target(struct page *page, size_t i, char *const *row)
{
    page->target_properties[i] = row[OBJECT_PROPERTIES];
    page->target_undo[i] = row[OBJECT_UNDO];
    page->target_owner[i] = row[OBJECT_OWNER];
    page->is_closed[i] = row[OBJECT_OWNER] != NULL && !cell_bool(row[OBJECT_IS_OPEN]);
}

/* What of the page the target has, and what it has besides. */
MUST_USE static struct error *match_target(struct sync *s, struct arena *a, struct page *page)
{
    const char *params[] = {page->after, page->last};
    struct pg_rows there;
    CLEANUP(buffer_free) struct buffer *extra = buffer_new();
    uint64_t n_removed = 0;
    char *count = NULL;

    TRY(pg_query_text(s->target, a, "counting large objects",
                      "SELECT count(*)::text FROM pg_largeobject_metadata WHERE oid > $1::oid AND ($2::oid IS NULL OR "
                      "oid <= $2::oid)",
                      params, COUNT_OF(params), &count));
    TRY(read_page(s->target, a, page->after, cell_u32(count), &there));
    for (unsigned r = 0; r < there.n_rows; r++) {
        char *const *row = there.rows[r];
        const char **found =
            page->n == 0 ? NULL : bsearch(row[OBJECT_OID], page->oids, page->n, sizeof *page->oids, compare_oid);

        if (found != NULL)
            note_on_target(page, (size_t)(found - page->oids), row);
        else if (s->may_remove && row[OBJECT_OWNER] != NULL)
            TRY(remove_extra(s, a, row));
        else
            buffer_printf(extra, "%s%s", extra->length == 0 ? "{" : ",", row[OBJECT_OID]);
    }
    if (extra->length == 0 || !s->may_remove)
        return NULL;
    buffer_append_char(extra, '}');
    TRY(unlink_as(s, a, NULL, buffer_text(extra), &n_removed));
    s->counts.removed += n_removed;
    return NULL;
}

MUST_USE static struct error *read_hashes(struct pg_conn *c, struct arena *a, const char *oids, struct pg_rows *out)
{
    const char *sql = arena_printf(a,
                                   "SELECT o.oid::text, md5(string_agg(md5(lo_get(o.oid, at, " SLICE
                                   ")), '' ORDER BY at)), max(s.size)::text" SLICES_OF(oids) " GROUP BY 1",
                                   oids);

    return pg_query(c, a, "reading large objects", sql, NULL, 0, out);
}

/* On the target, each as who may read it. Those found equal, or empty on the source, are not wanted. */
MUST_USE static struct error *compare_as(struct sync *s, struct arena *a, struct page *page, const bool *is_common,
                                         const char **hashes, const char *owner)
{
    const char *oids = oid_array(a, page, is_common, owner);
    struct pg_rows answer;

    if (oids == NULL)
        return NULL;
    TRY(become(s, owner));
    TRY(read_hashes(s->target, a, oids, &answer));
    TRY(be_oneself(s, owner));
    for (unsigned r = 0; r < answer.n_rows; r++) {
        const char **found = bsearch(answer.rows[r][0], page->oids, page->n, sizeof *page->oids, compare_oid);
        size_t i = (size_t)(found - page->oids);

        page->is_wanted[i] = strcmp(hashes[i], arena_printf(a, "%s %s", answer.rows[r][1], answer.rows[r][2])) != 0;
        hashes[i] = "";
    }
    return NULL;
}

/* It may hold something else than the source's. */
static void tell_closed(struct sync *s, struct arena *a, const struct page *page, unsigned i)
{
    left_out_tell(s->left_out, arena_printf(a, "-- contents, comment and rights of large object %s", page->oids[i]),
                  arena_printf(a, "on the target it belongs to role \"%s\", which the user cannot become",
                               page->target_owner[i]));
}

/* Content is compared where both have the object: an empty one has no row in either answer. */
MUST_USE static struct error *choose_wanted(struct sync *s, struct arena *a, struct page *page)
{
    bool *is_common = arena_alloc(a, (page->n + 1U) * sizeof *is_common);
    const char **hashes = arena_alloc(a, (page->n + 1U) * sizeof *hashes);
    struct pg_rows answer;

    for (unsigned i = 0; i < page->n; i++) {
        is_common[i] = page->target_properties[i] != NULL && !page->is_closed[i];
        page->is_wanted[i] = page->target_properties[i] == NULL;
        hashes[i] = "";
        if (page->is_closed[i])
            tell_closed(s, a, page, i);
    }
    const char *oids = oid_array(a, page, is_common, any_owner);
    if (oids == NULL)
        return NULL;
    TRY(read_hashes(s->source, a, oids, &answer));
    for (unsigned r = 0; r < answer.n_rows; r++) {
        const char **found = bsearch(answer.rows[r][0], page->oids, page->n, sizeof *page->oids, compare_oid);

        hashes[found - page->oids] = arena_printf(a, "%s %s", answer.rows[r][1], answer.rows[r][2]);
    }
    for (unsigned i = 0; i < page->n; i++)
        if (is_first_of_owner(page, i))
            TRY(compare_as(s, a, page, is_common, hashes, page->target_owner[i]));
    for (unsigned i = 0; i < page->n; i++) /* the target's is empty, the source's is not */
        page->is_wanted[i] = page->is_wanted[i] || (is_common[i] && hashes[i][0] != '\0');
    return NULL;
}

/* They are made anew. */
MUST_USE static struct error *unlink_wanted(struct sync *s, struct arena *a, const struct page *page)
{
    for (unsigned i = 0; i < page->n; i++) {
        const char *owner = page->target_owner[i];
        const char *oids = is_first_of_owner(page, i) ? oid_array(a, page, page->is_wanted, owner) : NULL;
        uint64_t n = 0;

        if (oids != NULL)
            TRY(unlink_as(s, a, owner, arena_printf(a, "%.*s", (int)strlen(oids) - 2, oids + 1), &n));
    }
    return NULL;
}

MUST_USE static struct error *copy_contents(struct sync *s, struct arena *a, struct page *page)
{
    const char *oids = oid_array(a, page, page->is_wanted, any_owner);
    uint64_t rows = 0;
    struct copy_outcome outcome = {.rows = &rows};
    char *count = NULL;

    if (oids == NULL)
        return NULL;
    TRY(unlink_wanted(s, a, page));
    TRY(pg_query_text(s->target, a, "making large objects",
                      arena_printf(a, "SELECT count(lo_create(o))::text FROM unnest(%s::oid[]) AS o", oids), NULL, 0,
                      &count));
    s->counts.copied += cell_u64(count);
    const struct copy_statement statement = {
        .name = "large objects",
        .out_sql = arena_printf(
            a, "COPY (SELECT o.oid, at, lo_get(o.oid, at, " SLICE ")" SLICES_OF(oids) ") TO STDOUT (FORMAT binary)",
            oids),
        .in_sql = "COPY pg_temp.pgtide_slice FROM STDIN (FORMAT binary)",
    };
    TRY(copy_pump(s->source, s->target, &statement, 1, s->watch.copy, &outcome));
    return pg_query_text(
        s->target, a, "filling large objects",
        "SELECT count(*)::text FROM (SELECT lo_put(object, at, data) FROM pg_temp.pgtide_slice OFFSET 0) AS put", NULL,
        0, &count);
}

/* Behind its semicolon: a comment may hold others. */
static const char *statement_end(const char *text)
{
    struct lexer l = {.at = text, .end = text + strlen(text)};

    for (struct lexeme x = lex_next(&l); x.kind != LEX_END && x.kind != LEX_BROKEN; x = lex_next(&l))
        if (x.kind == LEX_SYMBOL && *x.start == ';')
            return l.at;
    return l.end;
}

/* The next of a text of statements, a line each; NULL at the end. */
static const char *next_statement(struct arena *a, const char **at)
{
    if (**at == '\0')
        return NULL;
    const char *end = statement_end(*at);
    const char *statement = arena_printf(a, "%.*s", (int)(end - *at), *at);

    *at = *end == '\n' ? end + 1 : end;
    return statement;
}

/* Owner first: grants are given in its name. */
static void add_properties(struct sync *s, struct arena *a, const char *properties, struct buffer *sql)
{
    struct role_filter filter = {.roles = &s->roles};

    for (const char *statement; (statement = next_statement(a, &properties)) != NULL;) {
        const char *reason = role_filter_reason(&filter, a, statement);

        if (reason == NULL)
            buffer_printf(sql, "%s\n", statement);
        else
            left_out_tell(s->left_out, statement, reason);
    }
}

/* In the transaction of the page, which goes on when the target's user may not. */
MUST_USE static struct error *try_properties(struct sync *s, const char *sql, struct error **out_refused)
{
    static const char what[] = "setting owners and grants of large objects";

    TRY(pg_execute(s->target, what, "SAVEPOINT pgtide"));
    struct error *err = pg_execute(s->target, what, sql);
    if (err == NULL)
        return pg_execute(s->target, what, "RELEASE pgtide");
    if (error_kind(err) != ERROR_CONFIG || pg_conn_is_broken(s->target))
        return err;
    *out_refused = err;
    return pg_execute(s->target, what, "ROLLBACK TO pgtide");
}

/* An object's owner may be a role whose rights the user does not inherit: then it cannot go on with what it has given away. */
MUST_USE static struct error *set_one_by_one(struct sync *s, struct arena *a, const char *sql)
{
    for (const char *statement; (statement = next_statement(a, &sql)) != NULL;) {
        CLEANUP(error_free) struct error *refused = NULL;

        TRY(try_properties(s, statement, &refused));
        if (refused != NULL)
            left_out_tell(s->left_out, statement, error_message(refused));
    }
    return NULL;
}

MUST_USE static struct error *set_properties(struct sync *s, struct arena *a, const struct page *page)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    CLEANUP(error_free) struct error *refused = NULL;

    for (unsigned i = 0; i < page->n; i++) {
        bool is_kept = page->target_properties[i] != NULL && !page->is_wanted[i];

        if (page->is_closed[i] || (is_kept && strcmp(page->target_properties[i], page->properties[i]) == 0))
            continue;
        if (is_kept)
            buffer_append_text(sql, page->target_undo[i]);
        add_properties(s, a, page->properties[i], sql);
    }
    if (sql->length == 0)
        return NULL;
    TRY(try_properties(s, buffer_text(sql), &refused));
    return refused == NULL ? NULL : set_one_by_one(s, a, buffer_text(sql));
}

MUST_USE static struct error *sync_page(struct sync *s, struct arena *a, struct page *page)
{
    TRY(pg_execute(s->target, "beginning to copy large objects", "BEGIN; SET LOCAL synchronous_commit = off"));
    TRY(match_target(s, a, page));
    TRY(choose_wanted(s, a, page));
    TRY(copy_contents(s, a, page));
    TRY(set_properties(s, a, page));
    FAULT_POINT("large_objects.before_commit");
    return pg_execute(s->target, "committing large objects", "COMMIT");
}

MUST_USE static struct error *sync_pages(struct sync *s)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "page of large objects");
    uint32_t after = 0;
    bool is_last = false;

    while (!is_last) {
        struct pg_rows rows;

        arena_reset(scratch);
        struct page page = {.after = arena_printf(scratch, "%u", after)};
        TRY(read_page(s->source, scratch, page.after, PAGE, &rows));
        page.n = rows.n_rows;
        page.oids = arena_alloc(scratch, (page.n + 1U) * sizeof *page.oids);
        page.properties = arena_alloc(scratch, (page.n + 1U) * sizeof *page.properties);
        page.target_properties = arena_alloc(scratch, (page.n + 1U) * sizeof *page.target_properties);
        page.target_undo = arena_alloc(scratch, (page.n + 1U) * sizeof *page.target_undo);
        page.target_owner = arena_alloc(scratch, (page.n + 1U) * sizeof *page.target_owner);
        page.is_closed = arena_alloc(scratch, (page.n + 1U) * sizeof *page.is_closed);
        page.is_wanted = arena_alloc(scratch, (page.n + 1U) * sizeof *page.is_wanted);
        for (unsigned r = 0; r < page.n; r++) {
            page.oids[r] = rows.rows[r][OBJECT_OID];
            page.properties[r] = rows.rows[r][OBJECT_PROPERTIES];
        }
        is_last = page.n < PAGE;
        page.last = is_last ? NULL : page.oids[page.n - 1];
        TRY(sync_page(s, scratch, &page));
        s->counts.seen += page.n;
        if (s->watch.page_done != NULL)
            s->watch.page_done(s->watch.copy.self, page.n);
        if (!is_last)
            after = cell_u32(page.last);
    }
    return NULL;
}

/* A row of the catalog is 2 kB of contents; where nobody has counted them, their size, which is less if they are compressed. */
struct error *large_objects_measure(struct pg_conn *source, uint64_t *out_n, uint64_t *out_bytes)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "large objects");
    struct pg_rows found;

    TRY(pg_query(source, scratch, "measuring large objects",
                 "SELECT (SELECT count(*) FROM pg_largeobject_metadata)::text,"
                 " greatest(reltuples::bigint * 2048, pg_relation_size(oid))::text"
                 " FROM pg_class WHERE oid = 'pg_catalog.pg_largeobject'::regclass",
                 NULL, 0, &found));
    if (found.n_rows != 1)
        return error_new(ERROR_BUG, "there are %u catalogs of large objects", found.n_rows);
    *out_n = cell_u64(found.rows[0][0]);
    *out_bytes = *out_n == 0 ? 0 : cell_u64(found.rows[0][1]);
    return NULL;
}

struct error *large_objects_sync(struct pg_conn *source, struct pg_conn *target, bool may_remove,
                                 struct left_out *left_out, struct large_object_watch watch,
                                 struct large_object_counts *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "large objects");
    struct sync s = {
        .source = source, .target = target, .may_remove = may_remove, .left_out = left_out, .watch = watch};
    char *any = NULL;

    TRY(pg_query_text(source, scratch, "looking for large objects",
                      "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)::text", NULL, 0, &any));
    *out = s.counts;
    if (!cell_bool(any) && !may_remove)
        return NULL;
    TRY(schema_roles_read(target, scratch, &s.roles));
    TRY(pg_execute(
        target, "making a temporary table",
        "CREATE TEMP TABLE IF NOT EXISTS pgtide_slice (object oid, at bigint, data bytea) ON COMMIT DELETE ROWS"));
    struct error *err = sync_pages(&s);
    if (err != NULL) {
        if (!pg_conn_is_broken(target))
            error_free(pg_execute(target, "giving large objects up", "ROLLBACK")); /* the first error says why */
        return error_wrap(err, "copying large objects");
    }
    *out = s.counts;
    return NULL;
}
