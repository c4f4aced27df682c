#include "sync/copy_plan_internal.h"

#include <stdlib.h>

enum {
    BUNCHES_A_WORKER = 4, /* at least, so that no worker idles while the last bunch is at work */
};

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
        t->row_cost_left = t->given.has_rows && !t->is_copied ? table_row_cost(t) : 0;
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
        p->tables[e->given.table].entry_cost_left += plan_entry_cost(p, e);
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
    struct copy_job *job = plan_new_job(p, JOB_BUNCH);

    job->tables = arena_alloc(p->arena, g->n * sizeof *job->tables);
    for (uint32_t i = 0; i < g->n; i++) {
        const struct table *t = &p->tables[g->tables[i]];

        job->tables[job->n_tables++] = g->tables[i];
        job->must_empty = job->must_empty || t->is_dirty;
        job->priority += plan_chain(p, t);
    }
    plan_push(p, job);
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
            plan_push_rows(p, i);
    }
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (!p->tables[i].given.has_rows || p->tables[i].is_copied)
            plan_rows_are_in(p, i);
    for (uint32_t i = 0; i < p->n_tables; i++) {
        if (!p->tables[i].is_copied)
            continue;
        if (p->tables[i].group != NULL)
            p->tables[i].group->is_building = false;
    }
    for (uint32_t i = 0; i < p->n_tables; i++)
        if (p->tables[i].is_copied && p->tables[i].group != NULL)
            plan_release_group(p, p->tables[i].group);
    for (uint32_t i = 0; i < p->n_tables; i++)
        plan_check_complete(p, i); /* nobody wrote down whether an earlier run came to gather their statistics */
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
