#include "worker/latecomers.h"

#include "base/fault.h"
#include "base/log.h"
#include "pg/copy_table.h"
#include "pg/snapshot.h"
#include "worker/follow.h"
#include "worker/full.h"

enum { ROUNDS_MAX = 50, WAIT_MS = 200, BETWEEN_ROUNDS_MS = 1000 };

static int compare_oid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The feeder takes nothing of them: they have no gate yet, and their rows are copied later. */
static void ignore_also(struct task *t, const uint32_t *oids, unsigned n, const uint32_t *before, unsigned n_before)
{
    uint32_t *all = arena_alloc(t->arena, (n + n_before + 1) * sizeof *all);

    memcpy(all, oids, n * sizeof *all);
    if (n_before > 0)
        memcpy(all + n, before, n_before * sizeof *all);
    qsort(all, n + n_before, sizeof *all, compare_oid);
    t->ignored = all;
    t->n_ignored = n + n_before;
}

/* The names that they have now; those that are gone have none. */
MUST_USE static struct error *find_tables(struct pg_conn *source, struct arena *a, const uint32_t *oids, unsigned n,
                                          struct copy_source_table *out, unsigned *out_n)
{
    struct catalog catalog;

    TRY(catalog_read(source, a, &catalog));
    *out_n = 0;
    for (unsigned i = 0; i < catalog.n_tables; i++)
        if (bsearch(&catalog.tables[i].oid, oids, n, sizeof *oids, compare_oid) != NULL)
            out[(*out_n)++] =
                (struct copy_source_table){.schema = catalog.tables[i].schema, .name = catalog.tables[i].name};
    return NULL;
}

/*
 * *out_xid: every transaction below it that altered one of these tables has its commit before *out_mark. That is so because nobody can be
 * altering a table that we have locked, in a subtransaction neither.
 */
MUST_USE static struct error *mark(struct task *t, const uint32_t *oids, unsigned n, uint64_t *out_xid,
                                   struct lsn *out_mark)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "altered tables");
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct copy_source_table *tables = arena_alloc(a, (n + 1) * sizeof *tables);
    const struct copy_source_table **list = arena_alloc(a, (n + 1) * sizeof(struct copy_source_table *));
    struct pg_snapshot locked;
    struct lsn behind;
    unsigned n_there = 0;

    TRY(task_connect_source(t, "marker", t->stop, &source));
    TRY(find_tables(source, a, oids, n, tables, &n_there));
    for (unsigned i = 0; i < n_there; i++)
        list[i] = &tables[i];
    TRY(pg_snapshot_take(source, a, n_there == 0 ? NULL : copy_table_lock(a, list, n_there),
                         (struct pg_snapshot_wish){0}, &locked));
    TRY(pg_execute(source, "releasing altered tables", "COMMIT"));
    *out_xid = locked.gate.snapshot.xmax;
    TRY(task_mark(source, out_mark));
    return task_mark(source, &behind); /* so that something comes behind the mark, also on an idle source */
}

/* Applies up to the mark, and ends. */
MUST_USE static struct error *follow_to(struct task *t, struct lsn mark_at)
{
    uint64_t until = atomic_load(&t->until_lsn);

    atomic_store(&t->until_lsn, mark_at.value);
    atomic_store(&t->is_at_until, false);
    atomic_store(&t->leaves_at_until, true);
    TRY(thread_start("feeder", follow_run, t, &t->follower));
    while (!thread_ended(t->follower))
        wake_wait(t->events, t->stop, WAIT_MS);
    TRY(thread_join(TAKE(t->follower)));
    TRY(stop_check(t->stop));
    atomic_store(&t->leaves_at_until, false);
    atomic_store(&t->is_at_until, false);
    atomic_store(&t->until_lsn, until);
    return NULL;
}

MUST_USE static struct error *copy_once(struct task *t, uint32_t *oids, unsigned *n)
{
    struct lsn at;
    uint64_t xid = 0;

    TRY(mark(t, oids, *n, &xid, &at));
    log_info("%u table%s altered during the copy: applying changes up to %s, then copying", *n,
             *n == 1 ? " was" : "s were", lsn_format(at).text);
    TRY(follow_to(t, at));
    FAULT_POINT("latecomers.followed");
    return full_copy_late(t, xid, oids, n);
}

struct error *latecomers_copy(struct task *t, uint32_t *oids, unsigned n)
{
    const uint32_t *ignored = t->ignored;
    unsigned n_ignored = t->n_ignored;

    for (unsigned round = 1; n > 0; round++) {
        if (round > ROUNDS_MAX)
            return error_hint(error_new(ERROR_CONFIG, "%u tables are altered on the source again and again", n),
                              "The log names them. Start the same command again when nobody alters, truncates or "
                              "rewrites them: it goes on with these tables alone.");
        if (round > 1 && stop_wait_ms(t->stop, BETWEEN_ROUNDS_MS))
            return stop_check(t->stop);
        ignore_also(t, oids, n, ignored, n_ignored);
        TRY(copy_once(t, oids, &n));
    }
    t->ignored = ignored;
    t->n_ignored = n_ignored;
    return NULL;
}
