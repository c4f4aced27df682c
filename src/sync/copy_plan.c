#include "sync/copy_plan.h"

#include <assert.h>

#include "model/cost.h"
#include "sync/copy_plan_internal.h"

void plan_push(struct copy_plan *p, struct copy_job *job)
{
    job->order = p->order++;
    copy_queue_push(job->kind == JOB_BUILD ? &p->builds : &p->ready, p->arena, job);
}

struct copy_job *plan_new_job(struct copy_plan *p, enum copy_job_kind kind)
{
    struct copy_job *job = ARENA_NEW(p->arena, struct copy_job);

    job->kind = kind;
    return job;
}

uint64_t table_row_cost(const struct table *t)
{
    return cost_rows(t->given.bytes);
}

uint64_t plan_entry_cost(const struct copy_plan *p, const struct entry *e)
{
    return copy_entry_cost(&e->given, p->tables[e->given.table].given.bytes);
}

uint64_t plan_chain(const struct copy_plan *p, const struct table *t)
{
    uint64_t side_by_side = t->n_parts < p->rules.workers ? t->n_parts : p->rules.workers;

    return t->row_cost_left / side_by_side + t->entry_cost_left;
}

/* ---- rows ---- */

static struct copy_job *push_table_job(struct copy_plan *p, uint32_t place, enum copy_job_kind kind)
{
    struct table *t = &p->tables[place];
    struct copy_job *job = plan_new_job(p, kind);

    job->tables = arena_alloc(p->arena, sizeof *job->tables);
    job->tables[0] = place;
    job->n_tables = 1;
    job->must_empty = kind == JOB_TABLE && t->is_dirty;
    job->epoch = t->epoch;
    job->priority = kind == JOB_SEAL ? UINT64_MAX : plan_chain(p, t);
    if (kind != JOB_PART)
        plan_push(p, job);
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
        plan_push(p, job);
    }
}

void plan_push_rows(struct copy_plan *p, uint32_t place)
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
    t->row_cost_left = table_row_cost(t);
    if (t->running > 0)
        t->is_waiting = true;
    else
        plan_push_rows(p, place);
}

/* ---- what entries cost, and may take of memory ---- */

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
        copy_queue_pop(&p->ready);

    bool may_build = p->builds.n > 0 && (p->rules.builders == 0 || p->builders < p->rules.builders);
    if (p->ready.n == 0)
        return may_build ? copy_queue_pop(&p->builds) : NULL;
    if (may_build && copy_queue_is_before(p->builds.jobs[0], p->ready.jobs[0]))
        return copy_queue_pop(&p->builds);
    return copy_queue_pop(&p->ready);
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
            plan_push_small_analyzes(p);
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
            plan_release(p, i);
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
        plan_push_rows(p, job->tables[0]);
    return false;
}

static void part_done(struct copy_plan *p, const struct copy_job *job, uint64_t rows)
{
    struct table *t = &p->tables[job->tables[0]];

    t->is_dirty = true;
    t->rows += rows;
    t->row_cost_left -= table_row_cost(t) / t->n_parts;
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
        plan_copied(p, job->tables[i]);
    if (g != NULL) {
        g->is_building = false;
        plan_release_group(p, g);
    }
}

void copy_plan_done(struct copy_plan *p, struct copy_job *job, uint64_t rows)
{
    if (!take_back(p, job))
        return;
    switch (job->kind) {
    case JOB_TABLE:
    case JOB_SEAL:
        plan_copied(p, job->tables[0]);
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
        plan_built(p, job);
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
    plan_push(p, job);
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
        plan_push_rows(p, place);
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
