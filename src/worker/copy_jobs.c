#include "worker/copy_jobs.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "pg/state.h"
#include "sys/thread.h"
#include "worker/copy_worker.h"

enum {
    WATCH_MS = 500,
    ASK_EVERY_US = 1000 * 1000, /* how far indexes are */
    ASK_AGAIN_US = 10 * 1000 * 1000,
};

struct copy_jobs {
    const struct copy_jobs_options *options;
    struct arena *arena;
    struct arena *round; /* one plan and what was read for it */
    struct copy_crew crew;
    struct copy_table *tables; /* for the plan, as options->tables */
    struct copy_entry *entries;
    struct pg_conn *target;
    uint64_t counted_rows, counted_builds; /* in the progress, by a copy before this one: ours comes on top */
    struct arena *watch;                   /* one look at what is being built */
    int64_t ask_us;                        /* when the next is due */
    struct wake *wake;                     /* a worker has ended */
    struct thread *thread;
};

/* ---- what the target has ---- */

/*
 * Waits for the disk: a commit that is flushed makes everything committed before it durable. Our others are
 * asynchronous, and a target that crashes forgets the last of those, which nobody would notice who only remembers that
 * COMMIT was answered.
 */
MUST_USE static struct error *flush_target(struct copy_jobs *jobs)
{
    static const char sql[] = "BEGIN; SET LOCAL synchronous_commit = local;"
                              " UPDATE pgtide.task SET task = task WHERE task = %s; COMMIT";

    return pg_execute_format(jobs->target, "waiting for the target's disk", sql,
                             pg_quote_literal(jobs->round, jobs->options->task));
}

MUST_USE static struct error *open_target(struct copy_jobs *jobs)
{
    if (jobs->target != NULL && !pg_conn_is_broken(jobs->target))
        return NULL;
    pg_conn_close(TAKE(jobs->target));
    const struct pg_connect_options options = {
        .application_name = arena_printf(jobs->round, "pgtide %s copy", jobs->options->task),
        .encoding = jobs->options->encoding,
        .stop = jobs->options->stop,
    };
    return pg_connect_patiently(jobs->options->target, options, &jobs->target);
}

/* What is already there. */
struct found {
    struct state state;
    struct copy_filled *filled;
    unsigned n_filled;
};

MUST_USE static struct error *ask_target(struct copy_jobs *jobs, struct found *out)
{
    TRY(open_target(jobs));
    TRY(flush_target(jobs));
    TRY(copy_table_filled(jobs->target, jobs->round, &out->filled, &out->n_filled));
    return state_read(jobs->target, jobs->round, jobs->options->task, &out->state);
}

MUST_USE static struct error *ask_patiently(struct copy_jobs *jobs, struct found *out)
{
    struct backoff backoff = {0};

    for (;;) {
        struct error *err = ask_target(jobs, out);

        if (err == NULL && !out->state.exists)
            return error_new(ERROR_BUG, "the target has no state of task %s", jobs->options->task);
        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        log_warn("could not ask the target what was copied, trying again: %s", error_message(err));
        error_free(err);
        pg_conn_close(TAKE(jobs->target));
        if (stop_wait_ms(jobs->options->stop, backoff_next_ms(&backoff)))
            return stop_check(jobs->options->stop);
    }
}

/* Of a divided key (worker/full) the index was built with the key by who did not divide it. */
static bool has_entry(const struct state *s, int dump_id)
{
    return state_has_done(s, dump_id) || (dump_id < 0 && state_has_done(s, -dump_id));
}

static struct copy_table look_at(const struct copy_jobs *jobs, uint32_t place, const struct found *found)
{
    struct copy_table t = jobs->options->tables[place].plan;

    if (!t.has_rows)
        return t;
    bool is_put_off = jobs->options->put_off != NULL && jobs->options->put_off[place];
    t.is_copied = is_put_off || state_has_relation(&found->state, jobs->options->tables[place].oid);
    /* Rows without a record are parts of a copy that was cut short; of ours everything may go. */
    t.may_be_dirty = !t.is_copied && jobs->options->tables[place].is_ours &&
                     copy_table_is_filled(found->filled, found->n_filled, &jobs->crew.tables[place]);
    return t;
}

/* How many tables and entries are missing on the target. */
MUST_USE static struct error *look(struct copy_jobs *jobs, uint32_t *out_missing)
{
    const struct copy_jobs_options *o = jobs->options;
    struct found found = {.n_filled = 0};
    uint32_t missing = 0;

    TRY(ask_patiently(jobs, &found));
    for (uint32_t i = 0; i < o->n_tables; i++) {
        jobs->tables[i] = look_at(jobs, i, &found);
        missing += jobs->tables[i].has_rows && !jobs->tables[i].is_copied;
    }
    for (uint32_t i = 0; i < o->n_entries; i++) {
        jobs->entries[i] = o->entries[i].plan;
        jobs->entries[i].is_built = has_entry(&found.state, jobs->entries[i].dump_id);
        missing += !jobs->entries[i].is_built;
    }
    *out_missing = missing;
    return NULL;
}

/* ---- one round ---- */

static void show_totals(struct copy_jobs *jobs)
{
    const struct copy_jobs_options *o = jobs->options;
    struct progress_counters *counters = jobs->crew.counters;
    struct copy_plan_counts counts = copy_plan_counts(jobs->crew.plan);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < o->n_tables; i++)
        bytes += o->tables[i].plan.has_rows ? o->tables[i].plan.bytes : 0;
    atomic_store(&counters->data.total, jobs->counted_rows + bytes);
    atomic_store(&counters->data.state, STEP_RUNNING);
    atomic_store(&counters->index.entries_total, counts.entries);
    atomic_store(&counters->index.total, jobs->counted_builds + copy_builds_total(jobs->crew.builds));
    atomic_store(&counters->tables_total, counts.tables);
    for (uint32_t i = 0; i < o->n_tables; i++)
        if (jobs->tables[i].is_copied && (o->put_off == NULL || !o->put_off[i]))
            copy_crew_credit_all(&jobs->crew, i);
    for (uint32_t i = 0; i < o->n_entries; i++)
        if (jobs->entries[i].is_built)
            copy_builds_credit(jobs->crew.builds, copy_builds_entry(i));
    copy_builds_show_left(jobs->crew.builds, jobs->crew.credits, jobs->round);
    atomic_store(&counters->index.state, STEP_RUNNING);
    atomic_store(&counters->workers, o->workers);
    if (atomic_load(&counters->whole.state) == STEP_WAITING)
        atomic_store(&counters->whole.state, STEP_RUNNING);
    copy_crew_show_counts(&jobs->crew);
}

MUST_USE static struct error *make_plan(struct copy_jobs *jobs)
{
    const struct copy_jobs_options *o = jobs->options;
    struct copy_crew *crew = &jobs->crew;
    struct copy_plan_rules rules = o->rules;

    rules.workers = o->workers;
    crew->plan = copy_plan_new(jobs->round, jobs->tables, o->n_tables, jobs->entries, o->n_entries, rules);
    show_totals(jobs);

    struct copy_plan_counts counts = copy_plan_counts(crew->plan);
    struct error *err = NULL;
    pthread_mutex_lock(&crew->snapshot_mutex);
    if (crew->holder == NULL && counts.tables_copied < counts.tables)
        err = copy_crew_renew_snapshot(crew);
    else
        copy_plan_snapshot_lost(crew->plan, crew->generation);
    pthread_mutex_unlock(&crew->snapshot_mutex);
    return err;
}

MUST_USE static struct error *start_workers(struct copy_jobs *jobs)
{
    struct copy_crew *crew = &jobs->crew;

    crew->workers = arena_alloc(jobs->round, jobs->options->workers * sizeof(struct copy_worker *));
    for (crew->n_workers = 0; crew->n_workers < jobs->options->workers; crew->n_workers++)
        TRY(copy_worker_new(jobs->round, crew, crew->n_workers + 1, &crew->workers[crew->n_workers]));
    for (unsigned i = 0; i < crew->n_workers; i++)
        TRY(copy_worker_start(crew->workers[i]));
    return NULL;
}

/* With the last row read the source may vacuum again. */
MUST_USE static struct error *keep_snapshot(struct copy_jobs *jobs, int64_t *kept_us)
{
    struct copy_crew *crew = &jobs->crew;
    struct error *err = NULL;

    pthread_mutex_lock(&crew->plan_mutex);
    struct copy_plan_counts counts = copy_plan_counts(crew->plan);
    pthread_mutex_unlock(&crew->plan_mutex);

    pthread_mutex_lock(&crew->snapshot_mutex);
    if (counts.tables_copied == counts.tables)
        copy_crew_release_snapshot(crew);
    if (crew->holder != NULL && clock_now_us() - *kept_us > (int64_t)PG_SNAPSHOT_KEEP_MS * 1000) {
        *kept_us = clock_now_us();
        err = copy_crew_keep_snapshot(crew);
    }
    pthread_mutex_unlock(&crew->snapshot_mutex);
    if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
        return err;
    error_free(err); /* renewed */
    return NULL;
}

/* The first error that is no cancellation, or else any. */
static struct error *first_of(struct error *a, struct error *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    bool takes_b = error_kind(a) == ERROR_CANCELLED;
    error_free(takes_b ? a : b);
    return takes_b ? b : a;
}

/* For the progress alone: where the target cannot be asked, what is being built counts when it is built. */
MUST_USE static struct error *connect_to_ask(struct copy_jobs *jobs)
{
    const struct pg_connect_options options = {
        .application_name = arena_printf(jobs->watch, "pgtide %s copy", jobs->options->task),
        .stop = jobs->options->stop,
    };

    return jobs->target != NULL ? NULL : pg_connect(jobs->options->target, options, &jobs->target);
}

static void look_at_builds(struct copy_jobs *jobs)
{
    int64_t now_us = clock_now_us();

    if (now_us < jobs->ask_us)
        return;
    struct error *err = connect_to_ask(jobs);
    if (err == NULL)
        err = copy_builds_ask(jobs->crew.builds, jobs->target, jobs->watch);
    jobs->ask_us = now_us + (err == NULL ? ASK_EVERY_US : ASK_AGAIN_US);
    if (err != NULL) {
        log_debug("%s", error_message(err));
        error_free(err);
        pg_conn_close(TAKE(jobs->target));
    }
    copy_builds_show_left(jobs->crew.builds, jobs->crew.credits, jobs->watch);
    arena_reset(jobs->watch);
}

MUST_USE static struct error *watch_workers(struct copy_jobs *jobs)
{
    struct copy_crew *crew = &jobs->crew;
    int64_t kept_us = clock_now_us();
    struct error *err = NULL;

    while (err == NULL && atomic_load(&crew->running) > 0 && !stop_requested(jobs->options->stop)) {
        wake_wait(jobs->wake, jobs->options->stop, WATCH_MS);
        err = keep_snapshot(jobs, &kept_us);
        look_at_builds(jobs);
    }
    if (err != NULL)
        atomic_store(&crew->is_given_up, true);
    return err;
}

MUST_USE static struct error *run_round(struct copy_jobs *jobs)
{
    struct copy_crew *crew = &jobs->crew;
    struct error *err = start_workers(jobs);

    if (err == NULL)
        err = watch_workers(jobs);
    else
        atomic_store(&crew->is_given_up, true);
    for (unsigned i = 0; i < crew->n_workers; i++)
        copy_worker_ring(crew->workers[i]);
    for (unsigned i = 0; i < crew->n_workers; i++)
        err = first_of(err, copy_worker_join(crew->workers[i]));
    for (; crew->n_workers > 0; crew->n_workers--)
        copy_worker_free(crew->workers[crew->n_workers - 1]);
    crew->plan = NULL;
    return err;
}

/* ---- the whole ---- */

MUST_USE static struct error *coordinate(struct copy_jobs *jobs)
{
    for (unsigned round = 1;; round++) {
        uint32_t missing = 0;

        arena_reset(jobs->round);
        TRY(look(jobs, &missing));
        TRY(make_plan(jobs));
        if (missing == 0)
            return NULL;
        if (round > 1)
            log_warn("the target has lost %u tables or indexes that it had committed, as after a crash: once more",
                     missing);
        TRY(run_round(jobs));
    }
}

static struct error *run(void *self)
{
    struct copy_jobs *jobs = self;
    struct error *err = coordinate(jobs);

    pg_conn_close(TAKE(jobs->target));
    copy_crew_release_snapshot(&jobs->crew);
    pg_conn_close(TAKE(jobs->crew.checker));
    if (err == NULL) {
        if (jobs->crew.n_put_off == 0)
            atomic_store(&jobs->crew.counters->data.state, STEP_DONE);
        atomic_store(&jobs->crew.counters->index.state, STEP_DONE);
    }
    if (jobs->options->ended != NULL)
        wake_ring(jobs->options->ended);
    return err;
}

static void copy_tables(struct copy_jobs *jobs)
{
    const struct copy_jobs_options *o = jobs->options;
    struct copy_source_table *tables = arena_alloc(jobs->arena, (o->n_tables + 1) * sizeof *tables);

    for (uint32_t i = 0; i < o->n_tables; i++)
        tables[i] = (struct copy_source_table){
            .oid = o->tables[i].oid,
            .schema = o->tables[i].schema,
            .name = o->tables[i].name,
            .n_columns = o->tables[i].n_columns,
            .columns = o->tables[i].columns,
            .is_binary = o->tables[i].is_binary,
        };
    jobs->crew.tables = tables;
    jobs->crew.credits = arena_alloc(jobs->arena, (o->n_tables + 1) * sizeof *jobs->crew.credits);
    jobs->tables = arena_alloc(jobs->arena, (o->n_tables + 1) * sizeof *jobs->tables);
    for (uint32_t i = 0; o->put_off != NULL && i < o->n_tables; i++)
        jobs->crew.n_put_off += o->put_off[i];
    jobs->crew.builds = copy_builds_new(jobs->arena, o);
    jobs->entries = arena_alloc(jobs->arena, (o->n_entries + 1) * sizeof *jobs->entries);
}

struct error *copy_jobs_start(struct arena *a, const struct copy_jobs_options *options, struct copy_jobs **out_jobs)
{
    struct copy_jobs *jobs = ARENA_NEW(a, struct copy_jobs);

    *jobs = (struct copy_jobs){.options = options, .arena = arena_new(a, "copy jobs")};
    jobs->round = arena_new(jobs->arena, "copy round");
    jobs->watch = arena_new(jobs->arena, "what is being built");
    jobs->crew = (struct copy_crew){
        .options = options,
        .arena = arena_new(jobs->arena, "copy snapshots"),
        .counters = progress_counters(options->progress),
    };
    jobs->counted_rows = atomic_load(&jobs->crew.counters->data.done);
    jobs->counted_builds = atomic_load(&jobs->crew.counters->index.done);
    pthread_mutex_init(&jobs->crew.plan_mutex, NULL);
    pthread_mutex_init(&jobs->crew.snapshot_mutex, NULL);
    pthread_mutex_init(&jobs->crew.checker_mutex, NULL);
    copy_tables(jobs);
    struct error *err = wake_new(&jobs->wake);
    jobs->crew.ended = jobs->wake;
    if (err == NULL && options->holder != NULL)
        err = copy_crew_take_snapshot(&jobs->crew, options->holder);
    if (err == NULL)
        err = thread_start("copy", run, jobs, &jobs->thread);
    if (err != NULL) {
        pg_snapshot_release(options->holder);
        wake_free(jobs->wake);
        return err;
    }
    *out_jobs = jobs;
    return NULL;
}

bool copy_jobs_ended(const struct copy_jobs *jobs)
{
    return thread_ended(jobs->thread);
}

struct error *copy_jobs_join(struct copy_jobs *jobs)
{
    struct error *err = thread_join(TAKE(jobs->thread));

    wake_free(TAKE(jobs->wake));
    pthread_mutex_destroy(&jobs->crew.plan_mutex);
    pthread_mutex_destroy(&jobs->crew.snapshot_mutex);
    pthread_mutex_destroy(&jobs->crew.checker_mutex);
    arena_free(TAKE(jobs->arena));
    return err;
}
