#include "worker/copy_builds.h"

#include <stdatomic.h>

#include "model/cost.h"
#include "pg/build_progress.h"
#include "worker/copy_crew.h"

enum { THOUSAND = 1000 };

/* What a worker is at. */
struct at_work {
    _Atomic int pid;
    _Atomic uint32_t what; /* COPY_NONE: nothing */
    _Atomic unsigned turn; /* counts beginnings: what the server says may be about the one before */
};

struct copy_builds {
    const struct copy_jobs_options *options;
    struct progress_step *step;
    struct progress_counters *counters;
    _Atomic uint64_t *credited; /* of each thing */
    struct at_work workers[PROGRESS_ITEMS_MAX];
};

struct copy_builds *copy_builds_new(struct arena *a, const struct copy_jobs_options *options)
{
    struct copy_builds *b = ARENA_NEW(a, struct copy_builds);
    size_t n = (size_t)options->n_entries + options->n_tables;

    b->options = options;
    b->counters = progress_counters(options->progress);
    b->step = &b->counters->index;
    b->credited = arena_alloc(a, (n + 1) * sizeof *b->credited);
    for (unsigned i = 0; i < PROGRESS_ITEMS_MAX; i++)
        atomic_store(&b->workers[i].what, COPY_NONE);
    return b;
}

uint32_t copy_builds_entry(uint32_t place)
{
    return place;
}

uint32_t copy_builds_statistics(const struct copy_builds *b, uint32_t table)
{
    return b->options->n_entries + table;
}

static uint64_t table_bytes(const struct copy_builds *b, uint32_t table)
{
    return b->options->tables[table].plan.bytes;
}

static uint64_t cost_of(const struct copy_builds *b, uint32_t what)
{
    const struct copy_jobs_options *o = b->options;

    if (what < o->n_entries)
        return copy_entry_cost(&o->entries[what].plan, table_bytes(b, o->entries[what].plan.table));
    uint32_t table = what - o->n_entries;
    return o->tables[table].plan.has_rows ? cost_analyze(table_bytes(b, table)) : 0;
}

uint64_t copy_builds_total(const struct copy_builds *b)
{
    uint64_t total = 0;

    for (uint32_t what = 0; what < b->options->n_entries + b->options->n_tables; what++)
        total += cost_of(b, what);
    return total;
}

/* It only rises. */
static void credit_up_to(struct copy_builds *b, uint32_t what, uint64_t now)
{
    uint64_t before = atomic_load(&b->credited[what]);

    while (before < now)
        if (atomic_compare_exchange_weak(&b->credited[what], &before, now)) {
            atomic_fetch_add(&b->step->done, now - before);
            return;
        }
}

void copy_builds_begin(struct copy_builds *b, unsigned worker, int pid, uint32_t what)
{
    struct at_work *w = &b->workers[worker - 1];

    atomic_fetch_add(&w->turn, 1);
    atomic_store(&w->pid, pid);
    atomic_store(&w->what, what);
}

void copy_builds_credit(struct copy_builds *b, uint32_t what)
{
    credit_up_to(b, what, cost_of(b, what));
}

static void credit_told(struct copy_builds *b, const struct build_progress *told, const unsigned *turns)
{
    for (unsigned i = 0; i < b->options->workers; i++) {
        struct at_work *w = &b->workers[i];
        uint32_t what = atomic_load(&w->what);

        if (atomic_load(&w->pid) == told->pid && what != COPY_NONE && atomic_load(&w->turn) == turns[i])
            credit_up_to(b, what, cost_of(b, what) / THOUSAND * told->thousandths);
    }
}

struct error *copy_builds_ask(struct copy_builds *b, struct pg_conn *target, struct arena *scratch)
{
    unsigned turns[PROGRESS_ITEMS_MAX] = {0};
    struct build_progress *told = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < b->options->workers; i++)
        turns[i] = atomic_load(&b->workers[i].turn);
    TRY(build_progress_read(target, scratch, &told, &n));
    for (unsigned i = 0; i < n; i++)
        credit_told(b, &told[i], turns);
    return NULL;
}

static uint64_t left_of(const struct copy_builds *b, uint32_t what)
{
    return cost_of(b, what) - atomic_load(&b->credited[what]);
}

/* ---- the longest chain ---- */

/* What is left to build on a table: some alone, one after the other; the rest side by side. */
struct chain {
    uint64_t alone;
    uint64_t together;
    uint64_t largest; /* of these */
};

static unsigned workers_of(const struct copy_builds *b)
{
    return b->options->workers == 0 ? 1 : b->options->workers;
}

static uint64_t rows_left(const struct copy_builds *b, const struct copy_credit *credits, uint32_t table)
{
    const struct copy_table *t = &b->options->tables[table].plan;
    uint64_t left = t->has_rows ? t->bytes - atomic_load(&credits[table].credited) : 0;
    bool is_split = t->can_split && !b->options->rules.whole_tables && t->bytes > COPY_SPLIT_ABOVE;

    return is_split ? left / workers_of(b) : left;
}

static uint64_t build_left(const struct copy_builds *b, const struct chain *c)
{
    uint64_t side_by_side = c->together / workers_of(b);

    return c->alone + (side_by_side > c->largest ? side_by_side : c->largest);
}

static struct chain *chains_of(const struct copy_builds *b, struct arena *scratch)
{
    const struct copy_jobs_options *o = b->options;
    struct chain *chains = arena_alloc(scratch, (o->n_tables + 1UL) * sizeof *chains);

    for (uint32_t i = 0; i < o->n_entries; i++) {
        struct chain *c = &chains[o->entries[i].plan.table];
        uint64_t left = left_of(b, i);

        if (o->entries[i].plan.kind != COPY_ENTRY_SHARED) {
            c->alone += left;
            continue;
        }
        c->together += left;
        if (left > c->largest)
            c->largest = left;
    }
    return chains;
}

static void show_chain(struct copy_builds *b, const struct copy_credit *credits, struct arena *scratch)
{
    const struct chain *chains = chains_of(b, scratch);
    uint64_t most_rows = 0, most_build = 0;

    for (uint32_t i = 0; i < b->options->n_tables; i++) {
        uint64_t rows = rows_left(b, credits, i);
        uint64_t build = build_left(b, &chains[i]) + left_of(b, copy_builds_statistics(b, i));

        if (rows + build <= most_rows + most_build)
            continue;
        most_rows = rows;
        most_build = build;
    }
    atomic_store(&b->counters->chain[WORK_ROWS], most_rows);
    atomic_store(&b->counters->chain[WORK_BUILD], most_build);
}

void copy_builds_show_left(struct copy_builds *b, const struct copy_credit *credits, struct arena *scratch)
{
    uint64_t uncounted = 0;

    for (unsigned i = 0; i < b->options->workers; i++) {
        uint32_t what = atomic_load(&b->workers[i].what);

        uncounted += what == COPY_NONE ? 0 : left_of(b, what);
    }
    atomic_store(&b->counters->uncounted[WORK_BUILD], uncounted);
    show_chain(b, credits, scratch);
}
