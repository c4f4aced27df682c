#include "sync/copy_plan_internal.h"

#include <assert.h>
#include <string.h>

enum {
    BUILD_ENTRIES_MAX = 200, /* in one transaction: each holds locks on its table and its index until the commit */
};

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

void plan_release_group(struct copy_plan *p, struct group *g)
{
    uint32_t pending = g->is_building ? 0 : pending_in(p, g);

    if (pending == 0)
        return;

    struct copy_job *job = plan_new_job(p, JOB_BUILD);
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
    plan_push(p, job);
}

static void push_entry(struct copy_plan *p, const struct table *t, uint32_t place)
{
    struct copy_job *job = plan_new_job(p, JOB_BUILD);

    job->entries = arena_alloc(p->arena, sizeof *job->entries);
    job->priority = t->entry_cost_left;
    add_entry(p, job, place);
    plan_push(p, job);
}

void plan_release(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    if (t->group != NULL) {
        plan_release_group(p, t->group);
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
    struct copy_job *job = plan_new_job(p, JOB_ANALYZE);

    job->tables = arena_alloc(p->arena, n * sizeof *job->tables);
    memcpy(job->tables, tables, n * sizeof *job->tables);
    job->n_tables = n;
    plan_push(p, job);
}

void plan_push_small_analyzes(struct copy_plan *p)
{
    push_analyze(p, p->analyze, p->n_analyze);
    p->n_analyze = 0;
}

void plan_check_complete(struct copy_plan *p, uint32_t place)
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
        plan_push_small_analyzes(p);
}

/* ---- progress of a table ---- */

void plan_rows_are_in(struct copy_plan *p, uint32_t place)
{
    for (;;) {
        struct table *t = &p->tables[place];

        if (--t->rows_below > 0)
            return;
        plan_release(p, place);
        if (t->given.parent == COPY_NONE)
            return;
        place = t->given.parent;
    }
}

void plan_copied(struct copy_plan *p, uint32_t place)
{
    struct table *t = &p->tables[place];

    assert(!t->is_copied);
    t->is_copied = true;
    t->row_cost_left = 0;
    p->counts.tables_copied++;
    plan_rows_are_in(p, place);
    plan_check_complete(p, place);
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
    t->entry_cost_left -= plan_entry_cost(p, e);
    p->counts.entries_built++;
    for (uint32_t i = 0; i < e->n_unblocks; i++)
        p->entries[e->unblocks[i]].needs_left--;
    for (uint32_t up = t->given.parent; up != COPY_NONE; up = p->tables[up].given.parent)
        p->tables[up].entries_below--;
}

static void release_after(struct copy_plan *p, const struct entry *e)
{
    const struct table *t = &p->tables[e->given.table];

    plan_release(p, e->given.table);
    for (uint32_t i = 0; i < e->n_unblocks; i++)
        if (p->entries[e->unblocks[i]].needs_left == 0)
            plan_release(p, p->entries[e->unblocks[i]].given.table);
    for (uint32_t up = t->given.parent; up != COPY_NONE; up = p->tables[up].given.parent)
        if (p->tables[up].entries_below == 0)
            plan_release(p, up);
}

static void set_building(struct copy_plan *p, const struct copy_job *job, bool is_building)
{
    struct group *g = p->tables[p->entries[job->entries[0]].given.table].group;

    if (g != NULL)
        g->is_building = is_building;
}

void plan_built(struct copy_plan *p, const struct copy_job *job)
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
            plan_check_complete(p, e->given.table);
    }
}
