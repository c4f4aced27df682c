#include "pg/compare_rows.h"

#include <inttypes.h>

#include "base/clock.h"
#include "model/buckets.h"
#include "pg/cells.h"
#include "pg/error.h"

enum {
    BATCH_BYTES = 2 * 1024 * 1024, /* of rows fetched at a time */
    BATCH_ROWS = 1000,
    PART_BYTES = 16 * 1024 * 1024, /* read at a time when there is a rate limit */
    CTID_RANGES_SINCE = 140000,    /* (F10) before, each part would be a scan of all */
};

struct pass {
    const struct compare_rows_options *options;
    struct arena *arena;
    unsigned n_buckets;
    struct buckets *source, *target;
};

/* ---- both servers at the same time ---- */

MUST_USE static struct error *send(struct pg_conn *c, const char *what, const char *sql)
{
    if (PQsendQuery(pg_conn_handle(c), sql) != 1)
        return pg_error(pg_conn_handle(c), NULL, what);
    return pg_conn_flush(c);
}

static void result_clear_cleanup_(PGresult **r)
{
    PQclear(*r);
}

/* The rows of a statement that was sent: bucket, count, sum. */
MUST_USE static struct error *add_sums(const PGresult *r, struct buckets *b)
{
    for (int i = 0; i < PQntuples(r); i++) {
        const char *sum = PQgetisnull(r, i, 2) ? "0" : PQgetvalue(r, i, 2);

        if (!buckets_add(b, cell_u32(PQgetvalue(r, i, 0)), cell_u64(PQgetvalue(r, i, 1)), sum))
            return error_new(ERROR_BUG, "a sum of row hashes is \"%s\"", sum);
    }
    return NULL;
}

MUST_USE static struct error *receive(struct pg_conn *c, const char *what, struct buckets *b)
{
    struct error *err = NULL;

    for (;;) {
        CLEANUP(result_clear) PGresult *r = NULL;

        TRY(pg_conn_result(c, &r));
        if (r == NULL)
            return err;
        if (err != NULL)
            continue;
        err = PQresultStatus(r) == PGRES_TUPLES_OK ? add_sums(r, b) : pg_error(pg_conn_handle(c), r, what);
    }
}

/* Both answers are read, whatever one of them says: the sessions go on. */
MUST_USE static struct error *ask_both(struct pass *p, const char *what, const char *source_sql, const char *target_sql)
{
    const struct compare_rows_options *o = p->options;

    if (source_sql != NULL)
        TRY(send(o->source, what, source_sql));
    if (target_sql != NULL)
        TRY(send(o->target, what, target_sql));
    struct error *source_err = source_sql == NULL ? NULL : receive(o->source, what, p->source);
    struct error *target_err = target_sql == NULL ? NULL : receive(o->target, what, p->target);
    if (source_err == NULL)
        return target_err;
    error_free(target_err);
    return source_err;
}

/* ---- the first pass ---- */

/* 0: as a whole. */
static uint64_t pages_a_part(const struct compare_rows_options *o, const struct pg_conn *c,
                             const struct compare_table *t)
{
    bool may_be_read_in_parts = o->max_rate_mb > 0 && !t->is_partitioned && pg_conn_version(c) >= CTID_RANGES_SINCE;

    if (!may_be_read_in_parts || t->pages == 0 || t->bytes < 2 * (uint64_t)PART_BYTES)
        return 0;
    uint64_t bytes_a_page = t->bytes / t->pages + 1; /* with TOAST */
    return PART_BYTES / bytes_a_page + 1;
}

/* Pages [from, to) of the heap; the last part has no end, for the table may have grown since its size was asked. */
static char *part_sums(struct pass *p, const struct compare_table *t, const char *from, uint64_t part, uint64_t pages)
{
    uint64_t first = part * pages, next = first + pages;
    const char *where;

    if (pages == 0)
        return part > 0 ? NULL : compare_plan_sums(p->arena, p->options->plan, from, p->n_buckets, "");
    if (first >= t->pages)
        return NULL;
    where = next >= t->pages ? arena_printf(p->arena, "ctid >= '(%llu,0)'", (unsigned long long)first)
                             : arena_printf(p->arena, "ctid >= '(%llu,0)' AND ctid < '(%llu,0)'",
                                            (unsigned long long)first, (unsigned long long)next);
    return compare_plan_sums(p->arena, p->options->plan, from, p->n_buckets, where);
}

/* So that no side is read faster than asked for, seen over each part. */
MUST_USE static struct error *pace(const struct compare_rows_options *o, uint64_t bytes, int64_t began_us)
{
    if (o->max_rate_mb == 0)
        return NULL;
    int64_t due_us = began_us + (int64_t)(bytes * 1000000 / ((uint64_t)o->max_rate_mb * 1024 * 1024));
    int64_t left_ms = (due_us - clock_now_us()) / 1000;
    bool ready;
    return left_ms <= 0 ? NULL : pg_conn_wait(o->source, false, (int)left_ms, &ready);
}

MUST_USE static struct error *sum_up_parts(struct pass *p)
{
    const struct compare_plan *plan = p->options->plan;
    uint64_t source_pages = pages_a_part(p->options, p->options->source, plan->source);
    uint64_t target_pages = pages_a_part(p->options, p->options->target, plan->target);
    const char *what = arena_printf(p->arena, "hashing the rows of table \"%s\"", plan->title);

    for (uint64_t part = 0;; part++) {
        int64_t began_us = clock_now_us();
        const char *source_sql = part_sums(p, plan->source, plan->from_source, part, source_pages);
        const char *target_sql = part_sums(p, plan->target, plan->from_target, part, target_pages);

        if (source_sql == NULL && target_sql == NULL)
            return NULL;
        TRY(ask_both(p, what, source_sql, target_sql));
        TRY(pace(p->options, source_pages == 0 ? plan->source->bytes : PART_BYTES, began_us));
    }
}

MUST_USE static struct error *set_both(const struct compare_rows_options *o, const char *statement)
{
    TRY(pg_execute(o->source, "preparing the sums of row hashes", statement));
    return pg_execute(o->target, "preparing the sums of row hashes", statement);
}

/* No statistics tell that there are so few buckets: the servers would sort all rows. */
MUST_USE static struct error *sum_up(struct pass *p, unsigned n_buckets)
{
    p->n_buckets = n_buckets;
    p->source = buckets_new(p->arena, n_buckets);
    p->target = buckets_new(p->arena, n_buckets);
    if (n_buckets == 1)
        return sum_up_parts(p);
    TRY(set_both(p->options, "SET LOCAL enable_sort = off"));
    TRY(sum_up_parts(p));
    return set_both(p->options, "SET LOCAL enable_sort = on");
}

/* ---- the second pass ---- */

struct row_reader {
    struct pg_conn *conn;
    struct arena *arena; /* the batch */
    const char *what;
    unsigned batch;
    struct pg_rows rows;
    unsigned at;
};

MUST_USE static struct error *reader_open(struct row_reader *r, struct pg_conn *c, const char *what, const char *sql)
{
    r->conn = c;
    r->what = what;
    return pg_execute_format(c, what,
                             "SET LOCAL cursor_tuple_fraction = 1;"
                             "DECLARE pgtide_compare NO SCROLL CURSOR FOR %s",
                             sql);
}

/* *out_cells is NULL at the end; else good until the next call. */
MUST_USE static struct error *reader_next(struct row_reader *r, char ***out_cells)
{
    if (r->at == r->rows.n_rows) {
        CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "fetch");

        arena_reset(r->arena);
        r->at = 0;
        TRY(pg_query(r->conn, r->arena, r->what, arena_printf(scratch, "FETCH %u FROM pgtide_compare", r->batch), NULL,
                     0, &r->rows));
    }
    *out_cells = r->at == r->rows.n_rows ? NULL : r->rows.rows[r->at++];
    return NULL;
}

/* As the servers ordered them. NULL stands behind the last. */
static int order_of(char *const *s, char *const *t)
{
    if (s == NULL || t == NULL)
        return (s == NULL) - (t == NULL);
    int64_t left = cell_i64(s[PLAN_ORDER]), right = cell_i64(t[PLAN_ORDER]);
    if (left != right)
        return left < right ? -1 : 1;
    return strcmp(s[PLAN_KEY], t[PLAN_KEY]);
}

MUST_USE static struct error *merge(struct pass *p, struct row_reader *source, struct row_reader *target)
{
    const struct row_listener *l = &p->options->listener;
    char **s = NULL, **t = NULL;

    TRY(reader_next(source, &s));
    TRY(reader_next(target, &t));
    while (s != NULL || t != NULL) {
        int order = order_of(s, t);
        bool is_same = order == 0 && strcmp(s[PLAN_HASH], t[PLAN_HASH]) == 0;

        if (!is_same)
            TRY(l->differs(l->self, p->options->plan, order <= 0 ? s : NULL, order >= 0 ? t : NULL));
        if (order <= 0)
            TRY(reader_next(source, &s));
        if (order >= 0)
            TRY(reader_next(target, &t));
    }
    return NULL;
}

static unsigned batch_rows(const struct compare_table *t, uint64_t rows)
{
    uint64_t row_bytes = rows == 0 ? 0 : t->bytes / rows;
    uint64_t n = row_bytes == 0 ? BATCH_ROWS : BATCH_BYTES / row_bytes;

    return n < 1 ? 1 : n > BATCH_ROWS ? BATCH_ROWS : (unsigned)n;
}

MUST_USE static struct error *read_differing(struct pass *p, const unsigned *numbers, unsigned n)
{
    const struct compare_rows_options *o = p->options;
    const struct compare_plan *plan = o->plan;
    const char *what = arena_printf(p->arena, "reading the rows of table \"%s\" that differ", plan->title);
    struct row_reader source = {.arena = arena_new(p->arena, "rows of the source"),
                                .batch = batch_rows(plan->source, buckets_rows(p->source))};
    struct row_reader target = {.arena = arena_new(p->arena, "rows of the target"),
                                .batch = batch_rows(plan->target, buckets_rows(p->target))};

    TRY(reader_open(&source, o->source, what,
                    compare_plan_rows(p->arena, plan, plan->from_source, p->n_buckets, numbers, n)));
    TRY(reader_open(&target, o->target, what,
                    compare_plan_rows(p->arena, plan, plan->from_target, p->n_buckets, numbers, n)));
    TRY(merge(p, &source, &target));
    TRY(pg_execute(o->source, what, "CLOSE pgtide_compare"));
    return pg_execute(o->target, what, "CLOSE pgtide_compare");
}

static unsigned buckets_for(const struct compare_plan *plan)
{
    double rows = plan->source->rows_estimated > plan->target->rows_estimated ? plan->source->rows_estimated
                                                                              : plan->target->rows_estimated;
    bool was_never_analyzed = rows < 1 && plan->source->bytes > 0;

    return buckets_for_rows(was_never_analyzed ? (double)plan->source->bytes / 64 : rows);
}

/*
 * (C1) A snapshot does not see the rows of a table that was truncated, or written anew by ALTER TABLE, after it was taken. The catalog is read under the
 * snapshot, pg_relation_filenode says what is now, and the lock that was taken to read the rows keeps it so.
 */
MUST_USE static struct error *check_intact(struct pg_conn *c, struct arena *a, const struct compare_table *t,
                                           const char *side)
{
    static const char sql[] =
        "WITH RECURSIVE tree(oid) AS ("
        "  SELECT $1::oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid"
        "    JOIN pg_class k ON k.oid = i.inhrelid AND k.relispartition)"
        " SELECT count(*)::text FROM tree JOIN pg_class c ON c.oid = tree.oid"
        "  WHERE c.relkind = 'r' AND c.relfilenode <> coalesce(pg_relation_filenode(c.oid), 0)";
    const char *oid = arena_printf(a, "%" PRIu32, t->oid);
    char *n = NULL;

    TRY(pg_query_text(c, a, "looking whether the snapshot fits the table", sql, &oid, 1, &n));
    if (strcmp(n, "0") == 0)
        return NULL;
    return error_new(ERROR_DATA,
                     "on the %s it was truncated, written anew or dropped after the moment of the comparison", side);
}

MUST_USE static struct error *check_both_intact(const struct compare_rows_options *o, struct arena *a)
{
    TRY(check_intact(o->source, a, o->plan->source, "source"));
    return check_intact(o->target, a, o->plan->target, "target");
}

struct error *compare_rows_run(const struct compare_rows_options *options, struct compare_rows_counts *out)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "compare table");
    struct pass p = {.options = options, .arena = a};
    unsigned n_buckets = buckets_for(options->plan);
    unsigned *numbers = NULL;

    TRY(sum_up(&p, 1));
    TRY(check_both_intact(options, a));
    *out = (struct compare_rows_counts){.source_rows = buckets_rows(p.source), .target_rows = buckets_rows(p.target)};
    if (options->progress != NULL)
        atomic_fetch_add(&options->progress->rows, out->source_rows);
    unsigned n = buckets_differing(p.source, p.target, a, &numbers);
    if (n == 0)
        return NULL;
    if (n_buckets > 1) {
        TRY(sum_up(&p, n_buckets)); /* of the same snapshots: some bucket differs */
        n = buckets_differing(p.source, p.target, a, &numbers);
    }
    return read_differing(&p, numbers, n);
}

MUST_USE static struct error *count(struct pg_conn *c, struct arena *a, const struct compare_plan *p, const char *from,
                                    uint64_t *out)
{
    char *text = NULL;

    TRY(pg_query_text(c, a, arena_printf(a, "counting the rows of table \"%s\"", p->title),
                      arena_printf(a, "SELECT count(*) FROM %s", from), NULL, 0, &text));
    *out = cell_u64(text);
    return NULL;
}

struct error *compare_rows_count(const struct compare_rows_options *options, struct compare_rows_counts *out)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "count rows");
    struct compare_rows_counts counts = {0};

    TRY(count(options->source, a, options->plan, options->plan->from_source, &counts.source_rows));
    TRY(count(options->target, a, options->plan, options->plan->from_target, &counts.target_rows));
    TRY(check_both_intact(options, a));
    if (options->progress != NULL)
        atomic_fetch_add(&options->progress->rows, counts.source_rows);
    *out = counts;
    return NULL;
}
