#include "sync/copy_plan.h"

#include <assert.h>

#include "model/cost.h"

enum {
    BUILD_ENTRIES_MAX = 200, /* in one transaction: each holds locks on its table and its index until the commit */
    BUNCHES_A_WORKER = 4,    /* at least, so that no worker idles while the last bunch is at work */
    HEAP_FIRST = 64,
};

struct heap {
    struct copy_job **jobs; /* the one with the highest priority first; of equals the oldest */
    size_t n;
    size_t capacity;
};

/* Tables whose entries are built together: those of one bunch, or one partitioned parent. */
struct group {
    uint32_t *tables;
    uint32_t n;
    bool is_building; /* a job with entries of it is queued or handed out */
};

struct table {
    struct copy_table given;
    uint32_t n_parts; /* 1: not split */
    uint32_t parts_left;
    uint32_t epoch;   /* counts restarts; jobs of an older one are stale */
    uint32_t running; /* TABLE, EMPTY, PART and SEAL jobs handed out, stale ones included */
    bool is_copied;
    bool is_dirty;
    bool is_waiting; /* begins anew when nothing of it is running any more */
    uint64_t generation;
    uint64_t rows;

    uint32_t rows_below;    /* itself and the children whose rows, with all below them, are not in yet */
    uint32_t entries_below; /* entries of its descendants that are not built yet */
    uint32_t entries_left;
    uint32_t first_entry; /* in plan->by_table, n_entries of them */
    uint32_t n_entries;
    uint32_t building; /* its entries that are queued or handed out */
    bool is_exclusive; /* one of them locks out others */
    struct group *group;
    uint64_t row_cost_left; /* bytes, and what any object costs */
    uint64_t entry_cost_left;
};

enum entry_state {
    ENTRY_PENDING,
    ENTRY_QUEUED,
    ENTRY_BUILT,
};

struct entry {
    struct copy_entry given;
    enum entry_state state;
    const struct copy_job *job; /* QUEUED: in which */
    uint32_t *needs;            /* places of entries that must be built before */
    uint32_t n_needs;
    uint32_t needs_left;
    uint32_t *unblocks; /* places of entries that need this one */
    uint32_t n_unblocks;
};

struct copy_plan {
    struct arena *arena;
    struct copy_plan_rules rules;
    struct table *tables;
    uint32_t n_tables;
    struct entry *entries;
    uint32_t n_entries;
    uint32_t *by_table; /* places of entries: by table, kind, the largest first, as given */
    struct heap ready;  /* all but BUILD */
    struct heap builds;
    uint32_t *analyze; /* small tables that wait for a job of their own size */
    uint32_t n_analyze;
    uint32_t builders; /* BUILD jobs handed out */
    uint64_t generation;
    uint64_t order;
    bool ignores_descendants; /* nothing else was left to do: parents do not wait for their partitions' entries */
    struct copy_plan_counts counts;
};

/* ---- the queue ---- */

static bool is_before(const struct copy_job *a, const struct copy_job *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->order < b->order;
}

static void heap_push(struct copy_plan *p, struct heap *h, struct copy_job *job)
{
    size_t at = h->n;

    if (h->n == h->capacity) {
        size_t capacity = h->capacity == 0 ? HEAP_FIRST : h->capacity * 2;
        struct copy_job **jobs = arena_alloc(p->arena, capacity * sizeof(struct copy_job *));

        if (h->n > 0)
            memcpy(jobs, h->jobs, h->n * sizeof(struct copy_job *));
        h->jobs = jobs;
        h->capacity = capacity;
    }
    h->n++;
    for (; at > 0 && is_before(job, h->jobs[(at - 1) / 2]); at = (at - 1) / 2)
        h->jobs[at] = h->jobs[(at - 1) / 2];
    h->jobs[at] = job;
}

static struct copy_job *heap_pop(struct heap *h)
{
    struct copy_job *top = h->jobs[0];
    struct copy_job *last = h->jobs[--h->n];
    size_t at = 0;

    for (size_t child = 1; child < h->n; child = 2 * at + 1) {
        if (child + 1 < h->n && is_before(h->jobs[child + 1], h->jobs[child]))
            child++;
        if (!is_before(h->jobs[child], last))
            break;
        h->jobs[at] = h->jobs[child];
        at = child;
    }
    h->jobs[at] = last;
    return top;
}

static void push(struct copy_plan *p, struct copy_job *job)
{
    job->order = p->order++;
    heap_push(p, job->kind == JOB_BUILD ? &p->builds : &p->ready, job);
}

static struct copy_job *new_job(struct copy_plan *p, enum copy_job_kind kind)
{
    struct copy_job *job = ARENA_NEW(p->arena, struct copy_job);

    job->kind = kind;
    return job;
}

static uint64_t row_cost(const struct table *t)
{
    return cost_rows(t->given.bytes);
}

static uint64_t entry_cost(const struct copy_plan *p, const struct entry *e)
{
    return copy_entry_cost(&e->given, p->tables[e->given.table].given.bytes);
}

/* Parts go side by side: a split table's rows take the time of one worker's share. */
static uint64_t chain(const struct copy_plan *p, const struct table *t)
{
    uint64_t side_by_side = t->n_parts < p->rules.workers ? t->n_parts : p->rules.workers;

    return t->row_cost_left / side_by_side + t->entry_cost_left;
}

/* ---- rows ---- */

static struct copy_job *push_table_job(struct copy_plan *p, uint32_t place, enum copy_job_kind kind)
{
    struct table *t = &p->tables[place];
    struct copy_job *job = new_job(p, kind);

    job->tables = arena_alloc(p->arena, sizeof *job->tables);
    job->tables[0] = place;
    job->n_tables = 1;
    job->must_empty = kind == JOB_TABLE && t->is_dirty;
    job->epoch = t->epoch;
    job->priority = kind == JOB_SEAL ? UINT64_MAX : chain(p, t);
    if (kind != JOB_PART)
        push(p, job);
    return job;
}

static void push_parts(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];
    uint64_t blocks = ((uint64_t)t->given.heap_blocks + t->n_parts - 1) / t->n_parts;

    t->parts_left = t->n_parts;
    t->rows = 0;
    for (uint32_t i = 0; i < t->n_parts; i++) {
        struct copy_job *job = push_table_job(p, place, JOB_PART);

        job->part = i;
        job->parts = t->n_parts;
        job->first_block = (uint32_t)(i * blocks);
        job->end_block = i + 1 == t->n_parts ? COPY_NONE : (uint32_t)((i + 1) * blocks);
        push(p, job);
    }
}

static void push_rows(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    t->is_waiting = false;
    if (t->n_parts == 1)
        push_table_job(p, place, JOB_TABLE);
    else if (t->is_dirty)
        push_table_job(p, place, JOB_EMPTY);
    else
        push_parts(p, place);
}

/* What is queued of it is stale from here on; what is running must end first, so that it cannot add rows afterwards. */
static void restart(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    t->epoch++;
    t->is_dirty = true;
    t->parts_left = t->n_parts;
    t->row_cost_left = row_cost(t);
    if (t->running > 0)
        t->is_waiting = true;
    else
        push_rows(p, place);
}

/* ---- entries ---- */

static bool may_build_on(const struct copy_plan *p, const struct table *t)
{
    return t->rows_below == 0 && (t->entries_below == 0 || p->ignores_descendants);
}

static void add_entry(struct copy_plan *p, struct copy_job *job, uint32_t place)
{
    struct entry *e = &p->entries[place];
    struct table *t = &p->tables[e->given.table];

    e->state = ENTRY_QUEUED;
    e->job = job;
    t->building++;
    t->is_exclusive = t->is_exclusive || e->given.kind != COPY_ENTRY_SHARED;
    job->entries[job->n_entries++] = place;
}

/* Everything it needs is built, or stands before it in the same job. */
static bool fits_in(const struct copy_plan *p, const struct entry *e, const struct copy_job *job)
{
    for (uint32_t i = 0; i < e->n_needs; i++) {
        const struct entry *need = &p->entries[e->needs[i]];

        if (need->state == ENTRY_PENDING || (need->state == ENTRY_QUEUED && need->job != job))
            return false;
    }
    return true;
}

static void gather(struct copy_plan *p, const struct table *t, struct copy_job *job, uint32_t room)
{
    for (uint32_t i = 0; i < t->n_entries && job->n_entries < room; i++) {
        uint32_t place = p->by_table[t->first_entry + i];
        struct entry *e = &p->entries[place];

        if (e->state == ENTRY_PENDING && (e->needs_left == 0 || fits_in(p, e, job)))
            add_entry(p, job, place);
    }
}

static uint32_t pending_in(const struct copy_plan *p, const struct group *g)
{
    uint32_t pending = 0;

    for (uint32_t i = 0; i < g->n; i++)
        if (may_build_on(p, &p->tables[g->tables[i]]))
            pending += p->tables[g->tables[i]].entries_left;
    return pending < BUILD_ENTRIES_MAX ? pending : BUILD_ENTRIES_MAX;
}

static void release_group(struct copy_plan *p, struct group *g)
{
    uint32_t pending = g->is_building ? 0 : pending_in(p, g);

    if (pending == 0)
        return;

    struct copy_job *job = new_job(p, JOB_BUILD);
    job->entries = arena_alloc(p->arena, pending * sizeof *job->entries);
    for (uint32_t i = 0; i < g->n && job->n_entries < pending; i++) {
        const struct table *t = &p->tables[g->tables[i]];

        if (t->entries_left > 0 && may_build_on(p, t)) {
            gather(p, t, job, pending);
            job->priority += t->entry_cost_left;
        }
    }
    if (job->n_entries == 0)
        return;
    g->is_building = true;
    push(p, job);
}

static void push_entry(struct copy_plan *p, const struct table *t, uint32_t place)
{
    struct copy_job *job = new_job(p, JOB_BUILD);

    job->entries = arena_alloc(p->arena, sizeof *job->entries);
    job->priority = t->entry_cost_left;
    add_entry(p, job, place);
    push(p, job);
}

/*
 * Queues what may be built on a table now: one that locks out others, alone, or else all that can go side by side. By kind, so what
 * builds an index of its own comes before these, and what only takes one after them.
 */
static void release(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    if (t->group != NULL) {
        release_group(p, t->group);
        return;
    }
    if (t->is_exclusive || t->entries_left == 0 || !may_build_on(p, t))
        return;
    for (uint32_t i = 0; i < t->n_entries; i++) {
        uint32_t at = p->by_table[t->first_entry + i];
        const struct entry *e = &p->entries[at];
        bool is_exclusive = e->given.kind != COPY_ENTRY_SHARED;

        if (e->state != ENTRY_PENDING || e->needs_left > 0)
            continue;
        if (is_exclusive && t->building > 0)
            return; /* nothing more side by side: or it would never come to its turn */
        push_entry(p, t, at);
        if (is_exclusive)
            return;
    }
}

/* ---- statistics ---- */

static void push_analyze(struct copy_plan *p, const uint32_t *tables, uint32_t n)
{
    struct copy_job *job = new_job(p, JOB_ANALYZE);

    job->tables = arena_alloc(p->arena, n * sizeof *job->tables);
    memcpy(job->tables, tables, n * sizeof *job->tables);
    job->n_tables = n;
    push(p, job);
}

static void push_small_analyzes(struct copy_plan *p)
{
    push_analyze(p, p->analyze, p->n_analyze);
    p->n_analyze = 0;
}

/* Only tables with rows: partitioned parents have none of their own, and ANALYZE on them reads all partitions again. */
static void check_complete(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    if (!t->given.has_rows || !t->is_copied || t->entries_left > 0)
        return;
    if (t->given.bytes > p->rules.small_below) {
        push_analyze(p, &place, 1);
        return;
    }
    p->analyze[p->n_analyze++] = place;
    if (p->n_analyze == COPY_BUNCH_TABLES_MAX)
        push_small_analyzes(p);
}

/* ---- progress of a table ---- */

/* Parents may be built on when the rows of all below them are in. */
static void rows_are_in(struct copy_plan *p, uint32_t place)
{
    for (;;) {
        struct table *t = &p->tables[place];

        if (--t->rows_below > 0)
            return;
        release(p, place);
        if (t->given.parent == COPY_NONE)
            return;
        place = t->given.parent;
    }
}

static void copied(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    assert(!t->is_copied);
    t->is_copied = true;
    t->row_cost_left = 0;
    p->counts.tables_copied++;
    rows_are_in(p, place);
    check_complete(p, place);
}

static void unqueue(struct copy_plan *p, struct entry *e, enum entry_state state)
{
    struct table *t = &p->tables[e->given.table];

    e->state = state;
    e->job = NULL;
    if (--t->building == 0)
        t->is_exclusive = false;
}

/* Bookkeeping alone; who may start now is looked at when all entries of the job are counted. */
static void count_built(struct copy_plan *p, struct entry *e)
{
    struct table *t = &p->tables[e->given.table];

    t->entries_left--;
    t->entry_cost_left -= entry_cost(p, e);
    p->counts.entries_built++;
    for (uint32_t i = 0; i < e->n_unblocks; i++)
        p->entries[e->unblocks[i]].needs_left--;
    for (uint32_t up = t->given.parent; up != COPY_NONE; up = p->tables[up].given.parent)
        p->tables[up].entries_below--;
}

static void release_after(struct copy_plan *p, const struct entry *e)
{
    const struct table *t = &p->tables[e->given.table];

    release(p, e->given.table);
    for (uint32_t i = 0; i < e->n_unblocks; i++)
        if (p->entries[e->unblocks[i]].needs_left == 0)
            release(p, p->entries[e->unblocks[i]].given.table);
    for (uint32_t up = t->given.parent; up != COPY_NONE; up = p->tables[up].given.parent)
        if (p->tables[up].entries_below == 0)
            release(p, up);
}

static void set_building(struct copy_plan *p, const struct copy_job *job, bool is_building)
{
    struct group *g = p->tables[p->entries[job->entries[0]].given.table].group;

    if (g != NULL)
        g->is_building = is_building;
}

static void built(struct copy_plan *p, const struct copy_job *job)
{
    for (unsigned i = 0; i < job->n_entries; i++) {
        unqueue(p, &p->entries[job->entries[i]], ENTRY_BUILT);
        count_built(p, &p->entries[job->entries[i]]);
    }
    set_building(p, job, false);
    for (unsigned i = 0; i < job->n_entries; i++) {
        const struct entry *e = &p->entries[job->entries[i]];
        bool is_last_of_table =
            i + 1 == job->n_entries || p->entries[job->entries[i + 1]].given.table != e->given.table;

        release_after(p, e);
        if (is_last_of_table)
            check_complete(p, e->given.table);
    }
}

/* ---- making the plan ---- */

static void set_rules(struct copy_plan *p, struct copy_plan_rules rules)
{
    p->rules = rules;
    if (p->rules.workers == 0)
        p->rules.workers = 1;
    if (p->rules.split_above == 0)
        p->rules.split_above = COPY_SPLIT_ABOVE;
    if (p->rules.part_bytes == 0)
        p->rules.part_bytes = COPY_PART_BYTES;
    if (p->rules.small_below == 0)
        p->rules.small_below = COPY_SMALL_BELOW;
}

static uint32_t parts_of(const struct copy_plan *p, const struct copy_table *t)
{
    if (!t->can_split || p->rules.whole_tables || t->bytes <= p->rules.split_above)
        return 1;
    uint64_t parts = (t->bytes + p->rules.part_bytes - 1) / p->rules.part_bytes;
    if (parts > t->heap_blocks)
        parts = t->heap_blocks;
    return parts < 2 ? 1 : (uint32_t)parts;
}

static void take_tables(struct copy_plan *p, const struct copy_table *tables)
{
    p->tables = arena_alloc(p->arena, (p->n_tables + 1) * sizeof *p->tables);
    p->analyze = arena_alloc(p->arena, COPY_BUNCH_TABLES_MAX * sizeof *p->analyze);
    for (uint32_t i = 0; i < p->n_tables; i++) {
        struct table *t = &p->tables[i];

        t->given = tables[i];
        t->n_parts = parts_of(p, &t->given);
        t->parts_left = t->n_parts;
        t->is_copied = t->given.has_rows && t->given.is_copied;
        t->is_dirty = t->given.may_be_dirty;
        t->row_cost_left = t->given.has_rows && !t->is_copied ? row_cost(t) : 0;
        t->rows_below++;
        if (t->given.parent != COPY_NONE)
            p->tables[t->given.parent].rows_below++;
        p->counts.tables += t->given.has_rows;
        p->counts.tables_copied += t->is_copied;
    }
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_table(const void *left, const void *right, void *entries)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    const struct entry *x = &((const struct entry *)entries)[a], *y = &((const struct entry *)entries)[b];

    if (x->given.table != y->given.table)
        return compare(x->given.table, y->given.table);
    if (x->given.kind != y->given.kind)
        return compare(x->given.kind, y->given.kind);
    return x->given.bytes != y->given.bytes ? compare(y->given.bytes, x->given.bytes) : compare(a, b);
}

static int by_dump_id(const void *left, const void *right, void *entries)
{
    const struct entry *e = entries;
    int a = e[*(const uint32_t *)left].given.dump_id, b = e[*(const uint32_t *)right].given.dump_id;

    return (a > b) - (a < b);
}

static uint32_t *sorted(const struct copy_plan *p, int (*order)(const void *, const void *, void *))
{
    uint32_t *places = arena_alloc(p->arena, (p->n_entries + 1) * sizeof *places);

    for (uint32_t i = 0; i < p->n_entries; i++)
        places[i] = i;
    qsort_r(places, p->n_entries, sizeof *places, order, p->entries);
    return places;
}

/* The entry's place, or COPY_NONE for what is no entry (tables, types) or built already. */
static uint32_t find_unbuilt(const struct copy_plan *p, const uint32_t *ids, int dump_id)
{
    uint32_t low = 0, high = p->n_entries;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (p->entries[ids[middle]].given.dump_id < dump_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == p->n_entries || p->entries[ids[low]].given.dump_id != dump_id ||
        p->entries[ids[low]].state == ENTRY_BUILT)
        return COPY_NONE;
    return ids[low];
}

static void link_needs(struct copy_plan *p, const uint32_t *ids)
{
    for (uint32_t i = 0; i < p->n_entries; i++) {
        struct entry *e = &p->entries[i];

        if (e->state == ENTRY_BUILT || e->given.n_depends == 0)
            continue;
        e->needs = arena_alloc(p->arena, e->given.n_depends * sizeof *e->needs);
        for (unsigned d = 0; d < e->given.n_depends; d++) {
            uint32_t need = find_unbuilt(p, ids, e->given.depends[d]);

            if (need == COPY_NONE || need == i)
                continue;
            e->needs[e->n_needs++] = need;
            p->entries[need].n_unblocks++;
        }
        e->needs_left = e->n_needs;
    }
}

/* The other direction of `needs`. */
static void link_unblocks(struct copy_plan *p)
{
    for (uint32_t i = 0; i < p->n_entries; i++) {
        struct entry *e = &p->entries[i];

        if (e->n_unblocks > 0)
            e->unblocks = arena_alloc(p->arena, e->n_unblocks * sizeof *e->unblocks);
        e->n_unblocks = 0;
    }
    for (uint32_t i = 0; i < p->n_entries; i++)
        for (uint32_t n = 0; n < p->entries[i].n_needs; n++) {
            struct entry *need = &p->entries[p->entries[i].needs[n]];

            need->unblocks[need->n_unblocks++] = i;
        }
}

static void take_entries(struct copy_plan *p, const struct copy_entry *entries)
{
    p->entries = arena_alloc(p->arena, (p->n_entries + 1) * sizeof *p->entries);
    p->counts.entries = p->n_entries;
    for (uint32_t i = 0; i < p->n_entries; i++) {
        struct entry *e = &p->entries[i];

        e->given = entries[i];
        p->tables[e->given.table].n_entries++;
        if (e->given.is_built) {
            e->state = ENTRY_BUILT;
            p->counts.entries_built++;
            continue;
        }
        p->tables[e->given.table].entries_left++;
        p->tables[e->given.table].entry_cost_left += entry_cost(p, e);
        for (uint32_t up = p->tables[e->given.table].given.parent; up != COPY_NONE; up = p->tables[up].given.parent)
            p->tables[up].entries_below++;
    }
    p->by_table = sorted(p, by_table);
    for (uint32_t i = 0, first = 0; i < p->n_tables; first += p->tables[i++].n_entries)
        p->tables[i].first_entry = first;
    link_needs(p, sorted(p, by_dump_id));
    link_unblocks(p);
}

/* ---- grouping ---- */

static bool is_small(const struct copy_plan *p, const struct table *t)
{
    return t->given.has_rows && t->given.bytes <= p->rules.small_below;
}

static uint32_t bunch_size(const struct copy_plan *p)
{
    uint32_t small = 0;

    for (uint32_t i = 0; i < p->n_tables; i++)
        small += is_small(p, &p->tables[i]) && !p->tables[i].is_copied;

    uint32_t wanted = small / (p->rules.workers * BUNCHES_A_WORKER) + 1;
    return wanted < COPY_BUNCH_TABLES_MAX ? wanted : COPY_BUNCH_TABLES_MAX;
}

static void push_bunch(struct copy_plan *p, const struct group *g)
{
    struct copy_job *job = new_job(p, JOB_BUNCH);

    job->tables = arena_alloc(p->arena, g->n * sizeof *job->tables);
    for (uint32_t i = 0; i < g->n; i++) {
        const struct table *t = &p->tables[g->tables[i]];

        job->tables[job->n_tables++] = g->tables[i];
        job->must_empty = job->must_empty || t->is_dirty;
        job->priority += chain(p, t);
    }
    push(p, job);
}

/*
 * Groups of small tables of one kind: copied by an earlier run (only their entries are left) or not. Until all rows of
 * a group are counted it says that it is building, so that its entries come as one job.
 */
static void bunch_small_tables(struct copy_plan *p, bool are_copied, uint32_t size)
{
    struct group *g = NULL;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < p->n_tables; i++) {
        struct table *t = &p->tables[i];

        if (!is_small(p, t) || t->is_copied != are_copied)
            continue;
        if (g == NULL || g->n == size || bytes + t->given.bytes > p->rules.small_below) {
            if (g != NULL && !are_copied)
                push_bunch(p, g);
            g = ARENA_NEW(p->arena, struct group);
            g->tables = arena_alloc(p->arena, size * sizeof *g->tables);
            g->is_building = true;
            bytes = 0;
        }
        g->tables[g->n++] = i;
        t->group = g;
        bytes += t->given.bytes;
    }
    if (g != NULL && !are_copied)
        push_bunch(p, g);
}

static void group_parent(struct copy_plan *p, uint32_t place)
{
    struct group *g = ARENA_NEW(p->arena, struct group);

    g->tables = arena_alloc(p->arena, sizeof *g->tables);
    g->tables[0] = place;
    g->n = 1;
    p->tables[place].group = g;
}

static void begin(struct copy_plan *p)
{
    bunch_small_tables(p, false, bunch_size(p));
    bunch_small_tables(p, true, COPY_BUNCH_TABLES_MAX);
    for (uint32_t i = 0; i < p->n_tables; i++) {
        const struct table *t = &p->tables[i];

        if (!t->given.has_rows)
            group_parent(p, i);
        else if (!t->is_copied && !is_small(p, t))
            push_rows(p, i);
    }
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (!p->tables[i].given.has_rows || p->tables[i].is_copied)
            rows_are_in(p, i);
    for (uint32_t i = 0; i < p->n_tables; i++) {
        if (!p->tables[i].is_copied)
            continue;
        if (p->tables[i].group != NULL)
            p->tables[i].group->is_building = false;
    }
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (p->tables[i].is_copied && p->tables[i].group != NULL)
            release_group(p, p->tables[i].group);
    for (uint32_t i = 0; i < p->n_tables; i++)
        check_complete(p, i); /* nobody wrote down whether an earlier run came to gather their statistics */
}

uint64_t copy_entry_cost(const struct copy_entry *e, uint64_t table_bytes)
{
    bool is_built = e->kind == COPY_ENTRY_EXCLUSIVE || e->kind == COPY_ENTRY_SHARED;

    return is_built ? cost_index(e->bytes, table_bytes) : COST_OBJECT;
}

struct copy_build_memory copy_plan_divide_memory(uint64_t total_bytes, unsigned workers)
{
    enum { EACH_LEAST_KB = 16 * 1024, EACH_MOST_KB = 1024 * 1024 };
    uint64_t total_kb = total_bytes / 1024;
    uint64_t builders = total_kb / EACH_LEAST_KB;

    if (workers == 0)
        workers = 1;
    if (builders == 0)
        builders = 1;
    if (builders > workers)
        builders = workers;
    uint64_t each = total_kb / builders;
    return (struct copy_build_memory){.builders = (unsigned)builders,
                                      .each_kb = (unsigned)(each < EACH_MOST_KB ? each : EACH_MOST_KB)};
}

unsigned copy_plan_build_kb(const struct copy_build_memory *memory, uint64_t bytes, unsigned parallel)
{
    enum { PARTICIPANT_KB = 32 * 1024, RUN_BUFFER_KB = 264 };
    uint64_t kb = (uint64_t)(parallel + 1) * PARTICIPANT_KB;

    while (kb * kb < bytes / 1024 * RUN_BUFFER_KB)
        kb += kb / 4;
    return (unsigned)(kb < memory->each_kb ? kb : memory->each_kb);
}

struct copy_plan *copy_plan_new(struct arena *a, const struct copy_table *tables, uint32_t n_tables,
                                const struct copy_entry *entries, uint32_t n_entries, struct copy_plan_rules rules)
{
    struct copy_plan *p = ARENA_NEW(a, struct copy_plan);

    p->arena = a;
    p->n_tables = n_tables;
    p->n_entries = n_entries;
    set_rules(p, rules);
    take_tables(p, tables);
    take_entries(p, entries);
    begin(p);
    return p;
}

/* ---- jobs ---- */

/* The table of a job that is one table's; NULL for others. */
static struct table *table_of(const struct copy_plan *p, const struct copy_job *job)
{
    switch (job->kind) {
    case JOB_TABLE:
    case JOB_EMPTY:
    case JOB_PART:
    case JOB_SEAL:
        return &p->tables[job->tables[0]];
    case JOB_BUNCH:
    case JOB_BUILD:
    case JOB_ANALYZE:
    case JOB_KIND_COUNT:
        break;
    }
    return NULL;
}

static bool is_stale(const struct copy_plan *p, const struct copy_job *job)
{
    const struct table *t = table_of(p, job);

    return t != NULL && t->epoch != job->epoch;
}

static struct copy_job *take_best(struct copy_plan *p)
{
    while (p->ready.n > 0 && is_stale(p, p->ready.jobs[0]))
        heap_pop(&p->ready);

    bool may_build = p->builds.n > 0 && (p->rules.builders == 0 || p->builders < p->rules.builders);
    if (p->ready.n == 0)
        return may_build ? heap_pop(&p->builds) : NULL;
    if (may_build && is_before(p->builds.jobs[0], p->ready.jobs[0]))
        return heap_pop(&p->builds);
    return heap_pop(&p->ready);
}

static void hand_out(struct copy_plan *p, struct copy_job *job)
{
    struct table *t = table_of(p, job);

    p->counts.running++;
    p->builders += job->kind == JOB_BUILD;
    if (t != NULL)
        t->running++;
    if (job->kind == JOB_PART) {
        assert(t != NULL);
        t->generation = p->generation;
        job->generation = p->generation;
    }
}

enum copy_next copy_plan_next(struct copy_plan *p, struct copy_job **out_job)
{
    for (;;) {
        struct copy_job *job = take_best(p);

        if (job != NULL) {
            hand_out(p, job);
            *out_job = job;
            return NEXT_JOB;
        }
        if (p->n_analyze > 0) {
            push_small_analyzes(p);
            continue;
        }
        if (p->counts.running > 0)
            return NEXT_WAIT;
        if (p->counts.tables_copied == p->counts.tables && p->counts.entries_built == p->counts.entries)
            return NEXT_FINISHED;
        if (p->ignores_descendants)
            return NEXT_STUCK;
        p->ignores_descendants = true;
        for (uint32_t i = 0; i < p->n_tables; i++)
            release(p, i);
    }
}

/* False when nothing of the job counts any more, because its table has begun anew since. */
static bool take_back(struct copy_plan *p, const struct copy_job *job)
{
    struct table *t = table_of(p, job);

    assert(p->counts.running > 0);
    p->counts.running--;
    p->builders -= job->kind == JOB_BUILD;
    if (t == NULL)
        return true;
    t->running--;
    if (!is_stale(p, job))
        return true;
    if (t->running == 0 && t->is_waiting)
        push_rows(p, job->tables[0]);
    return false;
}

static void part_done(struct copy_plan *p, const struct copy_job *job, uint64_t rows)
{
    struct table *t = &p->tables[job->tables[0]];

    t->is_dirty = true;
    t->rows += rows;
    t->row_cost_left -= row_cost(t) / t->n_parts;
    if (--t->parts_left > 0)
        return;

    struct copy_job *seal = push_table_job(p, job->tables[0], JOB_SEAL);
    seal->rows = t->rows;
    seal->generation = t->generation;
}

static void bunch_done(struct copy_plan *p, const struct copy_job *job)
{
    struct group *g = job->n_tables == 0 ? NULL : p->tables[job->tables[0]].group;

    for (unsigned i = 0; i < job->n_tables; i++)
        copied(p, job->tables[i]);
    if (g != NULL) {
        g->is_building = false;
        release_group(p, g);
    }
}

void copy_plan_done(struct copy_plan *p, struct copy_job *job, uint64_t rows)
{
    if (!take_back(p, job))
        return;
    switch (job->kind) {
    case JOB_TABLE:
    case JOB_SEAL:
        copied(p, job->tables[0]);
        break;
    case JOB_BUNCH:
        bunch_done(p, job);
        break;
    case JOB_EMPTY:
        p->tables[job->tables[0]].is_dirty = false;
        push_parts(p, job->tables[0]);
        break;
    case JOB_PART:
        part_done(p, job, rows);
        break;
    case JOB_BUILD:
        built(p, job);
        break;
    case JOB_ANALYZE:
    case JOB_KIND_COUNT:
        break;
    }
}

void copy_plan_failed(struct copy_plan *p, struct copy_job *job)
{
    if (!take_back(p, job))
        return;
    job->tries++;
    push(p, job);
}

void copy_plan_unknown(struct copy_plan *p, struct copy_job *job)
{
    if (job->kind != JOB_PART)
        copy_plan_failed(p, job);
    else if (take_back(p, job))
        restart(p, job->tables[0]);
}

static void leave_bunch(struct copy_job *job, struct group *g, uint32_t place)
{
    unsigned at = 0;

    while (job->tables[at] != place)
        at++;
    job->tables[at] = job->tables[--job->n_tables];
    for (at = 0; g->tables[at] != place;)
        at++;
    g->tables[at] = g->tables[--g->n];
}

void copy_plan_alone(struct copy_plan *p, struct copy_job *job, uint32_t place)
{
    struct table *t = &p->tables[place];

    if (job->kind == JOB_BUNCH) {
        leave_bunch(job, t->group, place);
        t->group = NULL;
        push_rows(p, place);
        return;
    }
    assert(job->kind == JOB_PART);
    if (is_stale(p, job))
        return;
    t->n_parts = 1;
    restart(p, place);
}

void copy_plan_snapshot_lost(struct copy_plan *p, uint64_t generation)
{
    p->generation = generation;
    for (uint32_t i = 0; i < p->n_tables; i++) {
        const struct table *t = &p->tables[i];
        bool has_begun = t->running > 0 || t->parts_left < t->n_parts;

        if (t->n_parts > 1 && !t->is_copied && t->parts_left > 0 && has_begun)
            restart(p, i);
    }
}

struct copy_plan_counts copy_plan_counts(const struct copy_plan *p)
{
    return p->counts;
}
