#include "worker/compare.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/compare_plan.h"
#include "pg/compare_rows.h"
#include "sync/pace.h"
#include "sys/thread.h"
#include "worker/compare_pair.h"
#include "worker/compare_repair.h"
#include "worker/compare_scope.h"
#include "worker/compare_sides.h"
#include "worker/compare_whole.h"

enum {
    JOBS_DEFAULT = 4,
    JOBS_MAX = 64,
    VALUE_SHOWN = 200,
    KEY_SHOWN = 1000,
    ROW_SHOWN = 2000,
    KEEP_EVERY_MS = 5000,
    KEEP_LOOK_MS = 100
};

/* A table that both sides have. */
struct table_job {
    struct compare_plan plan;
    struct compare_entry *rows;   /* NULL: not asked for */
    struct compare_entry *values; /* likewise */
    bool has_insertions;          /* a repair: rows that it lacked are there */
};

struct compare_run {
    struct arena *arena;
    const struct sync_options *sync;
    const struct compare_options *options;
    struct stop *stop;
    struct compare_progress *progress;
    struct compare_collector *collector;
    struct compare_sides *sides;
    struct pace *pace;
    struct compare_sessions sessions[JOBS_MAX];
    unsigned n_sessions;
    struct compare_alignment alignment;
    struct table_job *jobs; /* the largest first */
    unsigned n_jobs;
    atomic_uint next_job;
    bool has_sync;
    bool knows_scope;
    struct compare_scope scope;
    bool is_again;           /* after a repair */
    const char *const *only; /* a repair: titles of the tables; NULL: all */
    unsigned n_only;
    uint64_t n_repaired;
    struct pg_conn *writer; /* a repair: the session that writes */
    atomic_bool is_over;    /* a repair: nobody needs the hold any more */
    atomic_bool is_lost;    /* a repair: the sync does not hold any more */
};

/* ---- rows that differ ---- */

/* One table's comparison: what happens to the rows that differ. */
struct row_work {
    struct compare_run *run;
    struct table_job *job;
    struct repair *repair; /* NULL: nothing is repaired */
    struct arena *scratch; /* a row */
};

static enum difference_side side_of(char *const *s, char *const *t)
{
    if (s == NULL)
        return ONLY_ON_TARGET;
    return t == NULL ? ONLY_ON_SOURCE : ON_BOTH;
}

static const char *repair_of(struct arena *a, const struct compare_plan *p, char *const *s, char *const *t)
{
    if (s == NULL)
        return compare_plan_delete(a, p, t);
    return t == NULL ? compare_plan_insert(a, p, s) : compare_plan_update(a, p, s, t);
}

static unsigned differing_columns(struct arena *a, const struct compare_plan *p, char *const *s, char *const *t,
                                  struct difference_column **out)
{
    struct difference_column *columns = arena_alloc(a, (p->n_columns + 1U) * sizeof *columns);
    unsigned n = 0;

    for (unsigned i = 0; s != NULL && t != NULL && i < p->n_columns; i++) {
        if (!compare_plan_column_differs(p, i, s, t))
            continue;
        columns[n++] = (struct difference_column){
            .name = p->columns[i].name,
            .source = compare_shortened(a, s[PLAN_FIRST_COLUMN + i], VALUE_SHOWN),
            .target = compare_shortened(a, t[PLAN_FIRST_COLUMN + i], VALUE_SHOWN),
        };
    }
    *out = columns;
    return n;
}

static const char *select_of(struct arena *a, const struct compare_table *t, const char *where)
{
    return arena_printf(a, "SELECT * FROM %s WHERE %s", pg_quote_name(a, t->schema, t->name), where);
}

MUST_USE static struct error *row_differs(void *self, const struct compare_plan *p, char *const *s, char *const *t)
{
    struct row_work *w = self;
    struct arena *a = w->scratch;
    struct difference_column *columns = NULL;

    arena_reset(a);
    if (w->repair != NULL)
        return repair_add(w->repair, a, p, s, t);
    unsigned n = differing_columns(a, p, s, t, &columns);
    const char *where = compare_plan_where(a, p, s != NULL ? s : t);
    struct difference d = {
        .side = side_of(s, t),
        .what = p->title,
        .identity = compare_shortened(a, p->has_key ? where : (s != NULL ? s : t)[PLAN_KEY], KEY_SHOWN),
        .n_columns = n,
        .columns = columns,
        .select_source = select_of(a, p->source, where),
        .select_target = select_of(a, p->target, where),
        .repair = repair_of(a, p, s, t),
    };
    compare_entry_differs(w->run->collector, w->job->values, &d);
    return NULL;
}

/* ---- one table ---- */

/* Of a worker, now: all of them together read no side faster than asked for. */
static unsigned share_of_rate(const struct compare_run *run)
{
    unsigned rate = pace_now(run->pace), n_workers = run->n_sessions - 1;

    return rate == 0 ? 0 : (rate + n_workers - 1) / n_workers;
}

static struct compare_rows_options rows_options(struct compare_run *run, struct table_job *job,
                                                struct compare_sessions *sessions, struct row_work *work)
{
    return (struct compare_rows_options){
        .source = sessions->source,
        .target = sessions->target,
        .plan = &job->plan,
        .max_rate_mb = share_of_rate(run),
        .listener = {.differs = row_differs, .self = work},
        .progress = run->progress,
    };
}

static void note_rows(struct compare_run *run, struct compare_entry *e, struct compare_rows_counts counts)
{
    if (e == NULL)
        return;
    e->source_count = counts.source_rows;
    e->target_count = counts.target_rows;
    if (e->kind == COMPARE_ROWS && counts.source_rows != counts.target_rows)
        compare_entry_is_different(run->collector, e, NULL);
}

MUST_USE static struct error *compare_table(struct compare_run *run, struct table_job *job,
                                            struct compare_sessions *sessions)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "row");
    struct row_work work = {.run = run, .job = job, .scratch = scratch};
    struct compare_rows_options options = rows_options(run, job, sessions, &work);
    struct compare_rows_counts counts;
    bool with_values = job->values != NULL && job->plan.refusal == NULL;

    if (with_values)
        TRY(compare_rows_run(&options, &counts));
    else
        TRY(compare_rows_count(&options, &counts));
    note_rows(run, job->rows, counts);
    note_rows(run, job->values, counts);
    if (job->values == NULL)
        return NULL;
    if (!with_values)
        compare_entry_not_compared(run->collector, job->values, job->plan.refusal);
    else if (job->plan.missing != NULL)
        compare_entry_is_different(run->collector, job->values, job->plan.missing);
    return NULL;
}

static void mark_done(struct compare_run *run, const struct table_job *job)
{
    if (job->rows != NULL)
        compare_entry_done(run->collector, job->rows);
    if (job->values != NULL)
        compare_entry_done(run->collector, job->values);
    atomic_fetch_add(&run->progress->entries_done, 1);
    atomic_fetch_add(&run->progress->bytes_done, job->plan.source->bytes);
}

static void not_compared(struct compare_run *run, struct table_job *job, const struct error *err)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "reason");

    if (job->rows != NULL)
        compare_entry_not_compared(run->collector, job->rows, compare_reason(scratch, err));
    if (job->values != NULL)
        compare_entry_not_compared(run->collector, job->values, compare_reason(scratch, err));
}

MUST_USE static struct error *compare_job(struct compare_run *run, struct table_job *job, struct compare_sessions *s)
{
    FAULT_POINT("compare.table");
    TRY(compare_sessions_savepoint(s, "SAVEPOINT pgtide"));
    struct error *err = compare_table(run, job, s);
    if (err == NULL) {
        mark_done(run, job);
        return compare_sessions_savepoint(s, COMPARE_GIVE_BACK);
    }
    bool is_over = error_kind(err) == ERROR_CANCELLED || pg_conn_is_broken(s->source) || pg_conn_is_broken(s->target);
    not_compared(run, job, err);
    if (is_over)
        return err;
    error_free(err);
    mark_done(run, job);
    return compare_sessions_savepoint(s, COMPARE_GIVE_BACK);
}

/* ---- the workers ---- */

struct worker_thread {
    struct compare_run *run;
    struct compare_sessions *sessions;
    struct thread *thread;
};

static struct error *work(void *self)
{
    struct worker_thread *w = self;
    struct compare_run *run = w->run;

    for (;;) {
        unsigned next = atomic_fetch_add(&run->next_job, 1);

        if (next >= run->n_jobs)
            return NULL;
        TRY(compare_job(run, &run->jobs[next], w->sessions));
    }
}

/* The first pair of sessions is the caller's, who compares objects meanwhile. */
MUST_USE static struct error *start_workers(struct compare_run *run, struct worker_thread *workers)
{
    for (unsigned i = 0; i + 1 < run->n_sessions; i++) {
        workers[i] = (struct worker_thread){.run = run, .sessions = &run->sessions[i + 1]};
        TRY(thread_start("compare", work, &workers[i], &workers[i].thread));
    }
    return NULL;
}

static struct error *first_of(struct error *first, struct error *second)
{
    if (first == NULL)
        return second;
    error_free(second);
    return first;
}

/* ---- what is to be done ---- */

static int order_of_tables(const struct compare_table *s, const struct compare_table *t)
{
    if (s == NULL || t == NULL)
        return (s == NULL) - (t == NULL);
    int order = strcmp(s->schema, t->schema);
    return order != 0 ? order : strcmp(s->name, t->name);
}

/* A table that only one side has. */
static void report_lonely(struct compare_run *run, const struct compare_table *t, const char *reason)
{
    const char *title = arena_printf(run->arena, "%s.%s", t->schema, t->name);

    if (run->collector == NULL || !name_set_has(run->scope.names, t->schema, t->name))
        return;
    for (enum compare_kind kind = COMPARE_ROWS; kind <= COMPARE_VALUES; kind++)
        if (run->options->kinds[kind])
            compare_entry_is_different(run->collector, compare_entry_begin(run->collector, kind, title), reason);
}

/* Partitioned tables are compared as a whole. */
static void report_partial(struct compare_run *run, const struct compare_table *t)
{
    const char *title = arena_printf(run->arena, "%s.%s", t->schema, t->name);

    for (enum compare_kind kind = COMPARE_ROWS; run->collector != NULL && kind <= COMPARE_VALUES; kind++)
        if (run->options->kinds[kind])
            compare_entry_not_compared(run->collector, compare_entry_begin(run->collector, kind, title),
                                       "some of its partitions are not selected");
}

static bool is_wanted(const struct compare_run *run, const char *title)
{
    for (unsigned i = 0; i < run->n_only; i++)
        if (strcmp(run->only[i], title) == 0)
            return true;
    return run->only == NULL;
}

static void add_job(struct compare_run *run, const struct compare_dialect *d, const struct compare_table *s,
                    const struct compare_table *t)
{
    struct table_job *job = &run->jobs[run->n_jobs];

    if (!name_set_has(run->scope.names, s->schema, s->name))
        return;
    if (run->scope.names != NULL && name_set_has(run->scope.partial, s->schema, s->name)) {
        report_partial(run, s);
        return;
    }
    compare_plan_make(run->arena, d, s, t, &job->plan);
    if (!is_wanted(run, job->plan.title))
        return;
    run->n_jobs++;
    if (run->collector == NULL)
        return;
    if (run->options->kinds[COMPARE_ROWS])
        job->rows = compare_entry_begin(run->collector, COMPARE_ROWS, job->plan.title);
    if (run->options->kinds[COMPARE_VALUES])
        job->values = compare_entry_begin(run->collector, COMPARE_VALUES, job->plan.title);
    atomic_fetch_add(&run->progress->bytes_total, s->bytes);
}

static int largest_first(const void *left, const void *right)
{
    const struct table_job *l = left, *r = right;

    return (l->plan.source->bytes < r->plan.source->bytes) - (l->plan.source->bytes > r->plan.source->bytes);
}

MUST_USE static struct error *plan_tables(struct compare_run *run)
{
    struct compare_catalog source, target;
    struct compare_dialect dialect;
    struct compare_sessions *s = &run->sessions[0];
    unsigned i = 0, k = 0;

    TRY(compare_catalog_read(s->source, run->arena, &source));
    TRY(compare_catalog_read(s->target, run->arena, &target));
    TRY(compare_dialect_find(s->source, s->target, run->arena, &source, &target, &dialect));
    run->jobs = arena_alloc(run->arena, (source.n_tables + 1U) * sizeof *run->jobs);
    while (i < source.n_tables || k < target.n_tables) {
        const struct compare_table *left = i < source.n_tables ? &source.tables[i] : NULL;
        const struct compare_table *right = k < target.n_tables ? &target.tables[k] : NULL;
        int order = order_of_tables(left, right);

        if (left != NULL && right != NULL && order == 0)
            add_job(run, &dialect, left, right);
        else if (left != NULL && order < 0)
            report_lonely(run, left, "the table is missing on the target");
        else if (right != NULL)
            report_lonely(run, right, "the table is missing on the source");
        i += order <= 0;
        k += order >= 0;
    }
    if (run->n_jobs > 0)
        qsort(run->jobs, run->n_jobs, sizeof *run->jobs, largest_first);
    return NULL;
}

/* ---- one comparison ---- */

static struct compare_whole_work whole_work(struct compare_run *run)
{
    return (struct compare_whole_work){
        .sessions = &run->sessions[0],
        .kinds = run->options->kinds,
        .names = run->scope.names,
        .with_publications = run->scope.with_publications,
        .has_sync = run->has_sync,
        .is_settled = !run->has_sync && !run->sides->is_alone,
        .collector = run->collector,
        .progress = run->progress,
    };
}

static void count_work(struct compare_run *run)
{
    const struct compare_whole_work wholes = whole_work(run);

    atomic_store(&run->progress->entries_done, 0);
    atomic_store(&run->progress->bytes_done, 0);
    atomic_store(&run->progress->entries_total, run->n_jobs + compare_wholes_count(&wholes));
}

/* A server that went away takes what was not compared yet with it, and not what was found. */
MUST_USE static struct error *keep_what_was_found(struct compare_run *run, struct error *err)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "note");

    if (err == NULL || error_kind(err) == ERROR_CANCELLED || error_kind(err) == ERROR_BUG)
        return err;
    compare_note(run->collector, arena_printf(scratch, "The comparison ended early: %s", compare_reason(scratch, err)));
    error_free(err);
    return error_new(ERROR_CANCELLED, "the comparison ended early");
}

/* Once: a second comparison is about the same as the first. */
MUST_USE static struct error *find_scope(struct compare_run *run)
{
    struct compare_sessions *s = &run->sessions[0];

    if (!run->knows_scope)
        TRY(compare_scope_find(run->sides, run->sync, s->source, s->target, &run->scope));
    run->knows_scope = true;
    if (run->scope.names != NULL)
        compare_note(run->collector, run->scope.is_of_task ? "Only what the synchronization selects was compared."
                                                           : "Only what the rules select was compared.");
    return NULL;
}

MUST_USE static struct error *compare_everything(struct compare_run *run)
{
    struct worker_thread workers[JOBS_MAX] = {0};
    bool with_tables = run->options->kinds[COMPARE_ROWS] || run->options->kinds[COMPARE_VALUES];

    atomic_store(&run->progress->step, COMPARE_ALIGNING);
    TRY(compare_sides_look(run->sides, false, run->sessions, run->n_sessions, &run->alignment));
    if (!run->alignment.is_aligned && !run->sides->is_alone)
        TRY(compare_pair_look(run->sides, &run->sessions[0], run->options->repair, run->collector));
    TRY(find_scope(run));
    if (with_tables)
        TRY(plan_tables(run));
    count_work(run);
    atomic_store(&run->progress->step, run->is_again ? COMPARE_AGAIN : COMPARE_COMPARING);
    const struct compare_whole_work wholes = whole_work(run);
    struct error *err = start_workers(run, workers);
    if (err == NULL)
        err = compare_wholes_run(&wholes);
    for (unsigned i = 0; i < COUNT_OF(workers); i++)
        if (workers[i].thread != NULL)
            err = first_of(err, thread_join(TAKE(workers[i].thread)));
    TRY(keep_what_was_found(run, err));
    return run->alignment.is_aligned ? NULL : compare_sides_have_moved(run->sides, &run->alignment);
}

/* What was found stays, whatever ended it. */
MUST_USE static struct error *close_run(struct compare_run *run, struct error *err, struct compare_result *out)
{
    struct compare_result result = {.alignment = run->alignment};

    compare_sessions_close(run->sessions, run->n_sessions);
    if (err != NULL && error_kind(err) != ERROR_CANCELLED)
        return err;
    result.was_cancelled = err != NULL;
    error_free(err);
    compare_result_close(run->collector, &result);
    *out = result;
    return NULL;
}

/* ---- the repair ---- */

MUST_USE static struct error *repair_in(struct compare_run *run, struct table_job *job, enum repair_order order,
                                        enum repair_obstacle *out_obstacle)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "row");
    CLEANUP(repair_close) struct repair *repair = NULL;
    struct row_work work = {.run = run, .job = job, .scratch = scratch};
    struct compare_rows_options options = rows_options(run, job, &run->sessions[0], &work);
    struct compare_rows_counts counts;

    TRY(repair_open((struct repair_way){.order = order, .has_insertions = job->has_insertions}, &repair));
    work.repair = repair;
    TRY(compare_rows_run(&options, &counts));
    if (atomic_load(&run->is_lost))
        return error_new(ERROR_TRANSIENT, "the running sync went on before table \"%s\" was repaired", job->plan.title);
    struct error *err = repair_run(repair, run->writer, &job->plan);
    *out_obstacle = repair_obstacle(repair);
    if (err != NULL)
        return err;
    run->n_repaired += repair_n(repair);
    log_info("repaired table \"%s\": %" PRIu64 " row%s", job->plan.title, repair_n(repair),
             repair_n(repair) == 1 ? "" : "s");
    return NULL;
}

/* Mends itself when another table is repaired first; and in that the second way may be refused for good. */
static bool is_waiting(enum repair_obstacle obstacle, const struct error *second_err)
{
    return obstacle == REPAIR_REFERENCE_MISSING && error_kind(second_err) == ERROR_DATA;
}

/* That rows stand in each other's way is found out by trying: mostly they do not. The second time the same snapshots are read. */
MUST_USE static struct error *repair_table(struct compare_run *run, struct table_job *job,
                                           enum repair_obstacle *out_obstacle)
{
    CLEANUP(error_free) struct error *first_err = NULL;
    enum repair_obstacle obstacle = REPAIR_NO_OBSTACLE;

    *out_obstacle = REPAIR_NO_OBSTACLE;
    if (job->plan.refusal != NULL)
        return NULL;
    first_err = repair_in(run, job, REPAIR_ONE_BY_ONE, &obstacle);
    if (first_err == NULL || obstacle == REPAIR_NO_OBSTACLE)
        return TAKE(first_err);
    log_info("%s: all rows of it that differ are changed at once", error_message(first_err));
    struct error *err = repair_in(run, job, REPAIR_AT_ONCE, out_obstacle);
    if (err == NULL || !is_waiting(obstacle, err))
        return err;
    error_free(err);
    *out_obstacle = obstacle;
    return TAKE(first_err);
}

/* The lease of the hold is renewed, however long a table takes. Nobody else talks to the sync meanwhile. */
static struct error *keep_hold(void *self)
{
    struct compare_run *run = self;
    int64_t due_us = clock_now_us() + (int64_t)KEEP_EVERY_MS * 1000;

    while (!atomic_load(&run->is_over) && !stop_wait_ms(run->stop, KEEP_LOOK_MS)) {
        if (clock_now_us() < due_us)
            continue;
        struct error *err = compare_sides_keep(run->sides);
        atomic_store(&run->is_lost, err != NULL);
        TRY(err);
        due_us = clock_now_us() + (int64_t)KEEP_EVERY_MS * 1000;
    }
    return NULL;
}

/*
 * Where foreign keys act, of two tables one may wait for the other to get rows and the other for the first to lose some. What cannot get its own yet
 * has another turn.
 */
MUST_USE static struct error *insert_before(struct compare_run *run, unsigned n_jobs, bool *out_any)
{
    *out_any = false;
    for (unsigned i = 0; i < n_jobs; i++) {
        enum repair_obstacle obstacle = REPAIR_NO_OBSTACLE;
        struct error *err =
            run->jobs[i].has_insertions ? NULL : repair_in(run, &run->jobs[i], REPAIR_INSERTIONS, &obstacle);

        if (err != NULL && obstacle == REPAIR_NO_OBSTACLE)
            return err;
        *out_any = *out_any || (err == NULL && !run->jobs[i].has_insertions);
        run->jobs[i].has_insertions = err == NULL;
        error_free(err);
    }
    return NULL;
}

/* What waits for another table stays among the first jobs. An error when all of them do. */
MUST_USE static struct error *repair_round(struct compare_run *run, unsigned n_jobs, unsigned *out_left)
{
    CLEANUP(error_free) struct error *first_err = NULL;

    *out_left = 0;
    for (unsigned i = 0; i < n_jobs; i++) {
        enum repair_obstacle obstacle;
        struct error *err = repair_table(run, &run->jobs[i], &obstacle);

        if (err == NULL)
            continue;
        if (obstacle != REPAIR_REFERENCE_MISSING)
            return err;
        run->jobs[(*out_left)++] = run->jobs[i];
        first_err = first_of(first_err, err);
    }
    bool any = *out_left < n_jobs;
    if (!any)
        TRY(insert_before(run, n_jobs, &any));
    return any ? NULL : TAKE(first_err);
}

MUST_USE static struct error *repair_tables(struct compare_run *run)
{
    unsigned n_left;

    TRY(plan_tables(run));
    for (unsigned n = run->n_jobs; n > 0; n = n_left)
        TRY(repair_round(run, n, &n_left));
    return NULL;
}

MUST_USE static struct error *repair_held(struct compare_run *run)
{
    struct thread *keeper = NULL;

    TRY(compare_sides_look(run->sides, true, run->sessions, 1, &run->alignment));
    TRY(compare_sides_connect_writer(run->sides, &run->writer));
    TRY(thread_start("keep hold", keep_hold, run, &keeper));
    struct error *err = repair_tables(run);
    atomic_store(&run->is_over, true);
    return first_of(err, thread_join(keeper));
}

/* Tables of which rows differ. */
static unsigned tables_to_repair(struct arena *a, const struct compare_result *r, const char *const **out)
{
    const char **titles = arena_alloc(a, (r->n_entries + 1U) * sizeof *titles);
    unsigned n = 0;

    for (unsigned i = 0; i < r->n_entries; i++) {
        const struct compare_entry *e = r->entries[i];
        const uint64_t *found = e->n_differences;

        if (e->kind == COMPARE_VALUES && found[ONLY_ON_SOURCE] + found[ONLY_ON_TARGET] + found[ON_BOTH] > 0)
            titles[n++] = e->name;
    }
    *out = titles;
    return n;
}

MUST_USE static struct error *repair(struct compare_run *run, struct compare_result *out)
{
    struct error *err = repair_held(run);

    compare_sessions_close(run->sessions, 1);
    pg_conn_close(TAKE(run->writer));
    if (run->sides->is_held)
        err = first_of(err, compare_sides_release(run->sides, &out->repair_pause_us));
    out->n_repaired = run->n_repaired;
    return err == NULL ? NULL : error_wrap(err, "repairing the target");
}

/* ---- the command ---- */

static struct compare_run new_run(struct compare_sides *sides, const struct sync_options *sync,
                                  const struct compare_options *options, struct compare_progress *progress,
                                  struct arena *a, struct stop *stop)
{
    unsigned jobs = options->jobs == 0 ? JOBS_DEFAULT : options->jobs;

    return (struct compare_run){
        .arena = a,
        .sync = sync,
        .options = options,
        .stop = stop,
        .progress = progress,
        .pace = pace_new(a, &sync->max_rate),
        .sides = sides,
        .n_sessions = (jobs < JOBS_MAX ? jobs : JOBS_MAX - 1) + 1,
        .has_sync = sides->sync != NULL,
    };
}

MUST_USE static struct error *compare_once(struct compare_run *run, struct compare_sink sink,
                                           struct compare_result *out)
{
    run->collector = compare_collector_new(arena_new(run->arena, "differences"), sink, run->progress);
    return close_run(run, compare_everything(run), out);
}

/* Repairs what `found` has, and compares all again. */
MUST_USE static struct error *repair_and_compare(struct compare_run *first, struct compare_sink sink,
                                                 const struct compare_result *found, struct compare_result *out)
{
    struct compare_run repairing =
        new_run(first->sides, first->sync, first->options, first->progress, first->arena, first->stop);
    repairing.scope = first->scope;
    repairing.knows_scope = true;
    struct compare_run again = repairing;
    struct compare_result *before = ARENA_NEW(first->arena, struct compare_result), repaired = {0};

    *before = *found;
    again.is_again = true;
    repairing.n_only = tables_to_repair(first->arena, found, &repairing.only);
    if (repairing.n_only == 0)
        return NULL;
    atomic_store(&first->progress->step, COMPARE_REPAIRING);
    TRY(repair(&repairing, &repaired));
    atomic_store(&first->progress->n_differences, 0);
    atomic_store(&first->progress->bytes_total, 0);
    TRY(compare_once(&again, sink, out));
    out->before_repair = before;
    out->n_repaired = repaired.n_repaired;
    out->repair_pause_us = repaired.repair_pause_us;
    return NULL;
}

static struct compare_options filled_in(const struct compare_options *asked)
{
    struct compare_options options = *asked;
    bool any = false;

    for (enum compare_kind kind = 0; kind < COMPARE_KIND_COUNT; kind++)
        any = any || options.kinds[kind];
    if (!any)
        options.kinds[COMPARE_OBJECTS] = options.kinds[COMPARE_VALUES] = true;
    if (options.repair)
        options.kinds[COMPARE_VALUES] = true;
    return options;
}

/* NOLINTNEXTLINE(readability-function-size): what is asked, who listens and where the answer goes */
MUST_USE static struct error *compare_all(struct compare_sides *sides, const struct sync_options *sync,
                                          const struct compare_options *options, struct compare_sink sink,
                                          struct compare_progress *progress, struct arena *a, struct stop *stop,
                                          struct compare_result *out)
{
    struct compare_run run = new_run(sides, sync, options, progress, a, stop);

    TRY(compare_once(&run, sink, out));
    if (!options->repair || out->was_cancelled)
        return NULL;
    struct compare_result found = *out;
    return repair_and_compare(&run, sink, &found, out);
}

/* NOLINTNEXTLINE(readability-function-size): likewise */
struct error *worker_compare(const struct sync_options *options, const struct compare_options *compare,
                             struct compare_sink sink, struct compare_progress *progress, struct arena *a,
                             struct stop *stop, struct compare_result *out)
{
    int64_t began_us = clock_now_us();
    struct compare_options filled = filled_in(compare);
    struct compare_sides sides;

    TRY(compare_sides_open(a, options, filled.is_alone, stop, &sides));
    struct error *err = compare_all(&sides, options, &filled, sink, progress, a, stop, out);
    compare_sides_close(&sides);
    out->source = pg_endpoint_name(sides.source);
    out->target = pg_endpoint_name(sides.target);
    out->elapsed_us = clock_now_us() - began_us;
    return err;
}
