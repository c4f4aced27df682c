#include "pg/compare_large_objects.h"

#include "pg/cells.h"
#include "pg/sql.h"

enum { SHOWN_MAX = 4000 };

static const char what[] = "large object";

static const struct {
    const char *sql;
    unsigned page;
} readings[COMPARE_KIND_COUNT] = {
    [COMPARE_OBJECTS] = {sql_compare_large_object_rights, 5000},
    [COMPARE_VALUES] = {sql_compare_large_objects, 500},
};

/* One side's objects in order, read a page at a time. */
struct feed {
    struct pg_conn *conn;
    enum compare_kind kind;
    struct arena *page;
    struct pg_rows rows;
    unsigned next;
    bool is_over; /* no page comes behind this one */
};

enum object_cell { OBJECT_OID, OBJECT_DEFINITION };

MUST_USE static struct error *read_page(struct feed *f)
{
    char after[16];

    (void)snprintf(after, sizeof after, "%u",
                   f->rows.n_rows == 0 ? 0U : cell_u32(f->rows.rows[f->rows.n_rows - 1][OBJECT_OID]));
    arena_reset(f->page);
    const char *params[] = {after, arena_printf(f->page, "%u", readings[f->kind].page)};
    TRY(pg_query(f->conn, f->page, "reading large objects", readings[f->kind].sql, params, COUNT_OF(params), &f->rows));
    f->next = 0;
    f->is_over = f->rows.n_rows < readings[f->kind].page;
    return NULL;
}

/* NULL behind the last one. Good until the next call. */
MUST_USE static struct error *feed_peek(struct feed *f, char ***out)
{
    if (f->next == f->rows.n_rows && !f->is_over)
        TRY(read_page(f));
    *out = f->next < f->rows.n_rows ? f->rows.rows[f->next] : NULL;
    return NULL;
}

static int order_of(char **s, char **t)
{
    if (s == NULL || t == NULL)
        return (s == NULL) - (t == NULL);
    uint32_t left = cell_u32(s[OBJECT_OID]), right = cell_u32(t[OBJECT_OID]);
    return (left > right) - (left < right);
}

static enum difference_side side_of(char **s, char **t)
{
    if (s == NULL)
        return ONLY_ON_TARGET;
    return t == NULL ? ONLY_ON_SOURCE : ON_BOTH;
}

static bool agree(char **s, char **t)
{
    return s != NULL && t != NULL && strcmp(s[OBJECT_DEFINITION], t[OBJECT_DEFINITION]) == 0;
}

/* The arena is one that a page of many goes with. */
static void report(struct compare_collector *collector, struct compare_entry *e, struct arena *a, char **s, char **t)
{
    const struct difference_column definition = {
        .name = "definition",
        .source = s == NULL ? NULL : compare_shortened(a, s[OBJECT_DEFINITION], SHOWN_MAX),
        .target = t == NULL ? NULL : compare_shortened(a, t[OBJECT_DEFINITION], SHOWN_MAX),
    };

    compare_entry_differs(collector, e,
                          &(struct difference){.side = side_of(s, t),
                                               .what = what,
                                               .identity = (s != NULL ? s : t)[OBJECT_OID],
                                               .n_columns = 1,
                                               .columns = &definition});
}

MUST_USE static struct error *merge(struct feed *source, struct feed *target, struct compare_collector *collector)
{
    struct compare_entry *entry = NULL;
    for (;;) {
        char **s = NULL, **t = NULL;

        TRY(feed_peek(source, &s));
        TRY(feed_peek(target, &t));
        if (s == NULL && t == NULL)
            break;
        if (entry == NULL)
            entry = compare_entry_begin(collector, source->kind, what);
        int order = order_of(s, t);
        s = order <= 0 ? s : NULL;
        t = order >= 0 ? t : NULL;
        entry->source_count += s != NULL;
        entry->target_count += t != NULL;
        if (!agree(s, t))
            report(collector, entry, s != NULL ? source->page : target->page, s, t);
        source->next += s != NULL;
        target->next += t != NULL;
    }
    if (entry != NULL)
        compare_entry_done(collector, entry);
    return NULL;
}

struct error *compare_large_objects_run(struct pg_conn *source, struct pg_conn *target, enum compare_kind kind,
                                        struct compare_collector *collector)
{
    CLEANUP(arena_free) struct arena *of_source = arena_new(NULL, "large objects of the source");
    CLEANUP(arena_free) struct arena *of_target = arena_new(NULL, "large objects of the target");
    struct feed s = {.conn = source, .kind = kind, .page = of_source};
    struct feed t = {.conn = target, .kind = kind, .page = of_target};

    return merge(&s, &t, collector);
}
