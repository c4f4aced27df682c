#include "worker/copy_worker.h"

#include <inttypes.h>

#include "base/log.h"
#include "pg/state.h"
#include "sys/thread.h"
#include "worker/copy_worker_internal.h"

/* ---- sessions ---- */

static const char *session_name(const struct copy_worker *w)
{
    return arena_printf(w->scratch, "pgtide %s copy %u", w->crew->options->task, w->number);
}

struct error *copy_worker_open_source(struct copy_worker *w)
{
    if (w->source != NULL && !pg_conn_is_broken(w->source))
        return NULL;
    pg_conn_close(TAKE(w->source));
    const struct pg_connect_options options = {
        .application_name = session_name(w),
        .encoding = w->crew->options->encoding,
        .stop = w->crew->options->stop,
    };
    return pg_connect_patiently(w->crew->options->source, options, &w->source);
}

/*
 * Not everyone may be a replica. There is nothing yet that would fire or check: triggers and foreign keys come later.
 */
MUST_USE static struct error *become_replica(struct pg_conn *c)
{
    CLEANUP(error_free)
    struct error *err = pg_execute(c, "becoming a replica", "SET session_replication_role = replica");

    if (err == NULL || pg_conn_is_broken(c) || error_kind(err) == ERROR_CANCELLED)
        return TAKE(err);
    log_debug("%s", error_message(err));
    return NULL;
}

MUST_USE static struct error *settle_target(struct copy_worker *w)
{
    const struct copy_jobs_options *o = w->crew->options;

    /*
     * A COMMIT that the former session had sent runs on after it is gone: only then its outcome can be looked up (P5).
     */
    if (w->former_pid != 0)
        TRY(state_fence_backend(w->target, o->task, w->former_pid));
    w->former_pid = 0;
    if (o->parallel_maintenance >= 0 && pg_conn_version(w->target) >= 110000)
        TRY(pg_execute_format(w->target, "limiting parallel builds", "SET max_parallel_maintenance_workers = %d",
                              o->parallel_maintenance));
    return become_replica(w->target);
}

static void close_target(struct copy_worker *w)
{
    if (w->target != NULL && w->former_pid == 0)
        w->former_pid = pg_conn_pid(w->target);
    pg_conn_close(TAKE(w->target));
    w->build_kb = 0;
}

struct error *copy_worker_open_target(struct copy_worker *w)
{
    const char *const settings[] = {
        "synchronous_commit", "off", "client_min_messages", "error", NULL,
    };

    if (w->target != NULL && !pg_conn_is_broken(w->target))
        return NULL;
    close_target(w);
    const struct pg_connect_options options = {
        .application_name = session_name(w),
        .encoding = w->crew->options->encoding,
        .settings = settings,
        .stop = w->crew->options->stop,
    };
    TRY(pg_connect_patiently(w->crew->options->target, options, &w->target));
    struct error *err = settle_target(w);
    if (err != NULL) {
        int former_pid = w->former_pid; /* the one not fenced yet, not the one just opened */

        pg_conn_close(TAKE(w->target));
        w->former_pid = former_pid;
    }
    return err;
}

struct error *copy_worker_commit(struct copy_worker *w)
{
    struct pg_rows answer;

    w->may_be_committed = true;
    TRY(pg_query(w->target, w->scratch, "committing on the target", "COMMIT", NULL, 0, &answer));
    if (strcmp(answer.tag, "COMMIT") != 0)
        return error_new(ERROR_DATA, "committing on the target: it answered %s", answer.tag);
    return NULL;
}

/* Nothing of a job is left open; a session that cannot be cleared is closed. */
static void clear_session(struct copy_worker *w, struct pg_conn **c)
{
    if (*c == NULL)
        return;

    PGTransactionStatusType status = PQtransactionStatus(pg_conn_handle(*c));
    bool is_clear = status == PQTRANS_IDLE;
    if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) {
        CLEANUP(error_free) struct error *err = pg_execute(*c, "giving the transaction up", "ROLLBACK");

        is_clear = err == NULL;
    }
    if (is_clear && !pg_conn_is_broken(*c))
        return;
    if (c == &w->target)
        close_target(w);
    else
        pg_conn_close(TAKE(*c));
}

const struct copy_source_table **copy_worker_tables(const struct copy_worker *w)
{
    const struct copy_source_table **tables =
        arena_alloc(w->scratch, (w->job->n_tables + 1) * sizeof(struct copy_source_table *));

    for (unsigned i = 0; i < w->job->n_tables; i++)
        tables[i] = &w->crew->tables[w->job->tables[i]];
    return tables;
}

/* ---- jobs ---- */

static enum work_kind work_kind(const struct copy_job *job)
{
    return job->kind == JOB_BUILD || job->kind == JOB_ANALYZE ? WORK_BUILD : WORK_ROWS;
}

static struct error *(*const runners[JOB_KIND_COUNT])(struct copy_worker *w, uint64_t *out_rows,
                                                      enum job_end *out_end) = {
    [JOB_TABLE] = copy_run_rows,      [JOB_BUNCH] = copy_run_rows, [JOB_EMPTY] = copy_run_empty,
    [JOB_PART] = copy_run_rows,       [JOB_SEAL] = copy_run_seal,  [JOB_BUILD] = copy_run_build,
    [JOB_ANALYZE] = copy_run_analyze,
};

/* For people: what the job is about. */
static const char *describe(const struct copy_worker *w)
{
    const struct copy_job *job = w->job;

    if (job->n_entries > 1)
        return arena_printf(w->scratch, "%u indexes and constraints", job->n_entries);
    if (job->n_entries == 1)
        return arena_printf(w->scratch, "%s %s", w->crew->options->entries[job->entries[0]].type,
                            w->crew->options->entries[job->entries[0]].name);
    if (job->n_tables != 1)
        return arena_printf(w->scratch, "%u small tables", job->n_tables);
    const struct copy_source_table *t = &w->crew->tables[job->tables[0]];
    if (job->kind == JOB_PART)
        return arena_printf(w->scratch, "%s.%s, part %u of %u", t->schema, t->name, job->part + 1, job->parts);
    return arena_printf(w->scratch, "%s.%s", t->schema, t->name);
}

static uint64_t expected_bytes(const struct copy_worker *w)
{
    const struct copy_jobs_options *o = w->crew->options;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < w->job->n_tables; i++)
        bytes += o->tables[w->job->tables[i]].plan.bytes;
    for (unsigned i = 0; i < w->job->n_entries; i++)
        bytes += o->entries[w->job->entries[i]].plan.bytes;
    return w->job->kind == JOB_PART ? bytes / w->job->parts : bytes;
}

MUST_USE static struct error *run_job(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct progress *progress = w->crew->options->progress;

    *out_end = JOB_END_DONE;
    w->job_rows = 0;
    w->may_be_committed = false;
    progress_item_begin(progress, w->number - 1, describe(w), expected_bytes(w));
    atomic_fetch_add(&w->crew->counters->at_work[work_kind(w->job)], 1);
    struct error *err = runners[w->job->kind](w, out_rows, out_end);
    copy_builds_begin(w->crew->builds, w->number, 0, COPY_NONE);
    atomic_fetch_sub(&w->crew->counters->at_work[work_kind(w->job)], 1);
    progress_item_end(progress, w->number - 1);
    clear_session(w, &w->source); /* its snapshot, too: the source may vacuum */
    if (err != NULL)
        clear_session(w, &w->target);
    return err;
}

/* ---- the loop ---- */

static void ring_all(struct copy_crew *crew)
{
    for (unsigned i = 0; i < crew->n_workers; i++)
        copy_worker_ring(crew->workers[i]);
}

static void credit_builds(const struct copy_worker *w)
{
    struct copy_builds *b = w->crew->builds;

    for (unsigned i = 0; i < w->job->n_entries; i++)
        copy_builds_credit(b, copy_builds_entry(w->job->entries[i]));
    for (unsigned i = 0; w->job->kind == JOB_ANALYZE && i < w->job->n_tables; i++)
        copy_builds_credit(b, copy_builds_statistics(b, w->job->tables[i]));
}

static void job_done(struct copy_worker *w, uint64_t rows)
{
    struct copy_crew *crew = w->crew;
    bool is_copied = w->job->kind == JOB_TABLE || w->job->kind == JOB_BUNCH || w->job->kind == JOB_SEAL;

    if (w->job->kind == JOB_PART)
        atomic_fetch_add(&crew->credits[w->job->tables[0]].rows, rows);
    for (unsigned i = 0; is_copied && i < w->job->n_tables; i++)
        copy_crew_credit_all(crew, w->job->tables[i]);
    if (is_copied && w->job->n_tables > 0)
        log_info("copied %s", describe(w));
    credit_builds(w);
    pthread_mutex_lock(&crew->plan_mutex);
    copy_plan_done(crew->plan, w->job, rows);
    copy_crew_show_counts(crew);
    pthread_mutex_unlock(&crew->plan_mutex);
}

static void job_put_off(struct copy_worker *w)
{
    struct copy_crew *crew = w->crew;

    log_info("table \"%s\" was altered on the source after the structure was dumped: it is copied when the target has "
             "followed",
             describe(w));
    pthread_mutex_lock(&crew->plan_mutex);
    crew->options->put_off[w->job->tables[0]] = true;
    crew->n_put_off++;
    copy_plan_done(crew->plan, w->job, 0);
    copy_crew_show_counts(crew);
    pthread_mutex_unlock(&crew->plan_mutex);
}

static void job_failed(struct copy_worker *w)
{
    struct copy_crew *crew = w->crew;

    atomic_fetch_sub(&crew->counters->rows_copied, w->job_rows);
    pthread_mutex_lock(&crew->plan_mutex);
    if (w->may_be_committed)
        copy_plan_unknown(crew->plan, w->job);
    else
        copy_plan_failed(crew->plan, w->job);
    pthread_mutex_unlock(&crew->plan_mutex);
}

/* Waits and goes on after what passes by itself; anything else ends the run. */
MUST_USE static struct error *judge(struct copy_worker *w, struct error *err)
{
    const struct stop *stop = w->crew->options->stop;

    if (error_kind(err) != ERROR_TRANSIENT) {
        atomic_store(&w->crew->is_given_up, true);
        return error_wrap(err, "copying to the target: %s", describe(w));
    }
    log_warn("%s: trying again: %s", describe(w), error_message(err));
    error_free(err);
    return stop_wait_ms(stop, backoff_next_ms(&w->backoff)) ? stop_check(stop) : NULL;
}

MUST_USE static struct error *work(struct copy_worker *w)
{
    uint64_t rows = 0;
    enum job_end end;
    struct error *err = run_job(w, &rows, &end);

    if (err != NULL) {
        job_failed(w);
        ring_all(w->crew);
        return judge(w, err);
    }
    backoff_reset(&w->backoff);
    if (end == JOB_END_AGAIN)
        job_failed(w);
    else if (end == JOB_END_PUT_OFF)
        job_put_off(w);
    else
        job_done(w, rows);
    ring_all(w->crew);
    return NULL;
}

static enum copy_next next_job(struct copy_worker *w)
{
    enum copy_next next = NEXT_FINISHED;

    pthread_mutex_lock(&w->crew->plan_mutex);
    if (!atomic_load(&w->crew->is_given_up))
        next = copy_plan_next(w->crew->plan, &w->job);
    pthread_mutex_unlock(&w->crew->plan_mutex);
    return next;
}

/* One look at the plan and what follows from it. */
MUST_USE static struct error *step(struct copy_worker *w, bool *out_has_ended)
{
    const struct stop *stop = w->crew->options->stop;

    TRY(stop_check(stop));
    arena_reset(w->scratch);
    switch (next_job(w)) {
    case NEXT_JOB:
        return work(w);
    case NEXT_WAIT:
        wake_wait(w->wake, stop, -1);
        return NULL;
    case NEXT_FINISHED:
        *out_has_ended = true;
        return NULL;
    case NEXT_STUCK:
        break;
    }
    return error_new(ERROR_BUG, "indexes and constraints of the dump depend on each other in a circle");
}

MUST_USE static struct error *loop(struct copy_worker *w)
{
    bool has_ended = false;

    while (!has_ended)
        TRY(step(w, &has_ended));
    return NULL;
}

static struct error *run(void *self)
{
    struct copy_worker *w = self;
    struct error *err = loop(w);

    pg_conn_close(TAKE(w->source));
    pg_conn_close(TAKE(w->target));
    arena_free(TAKE(w->scratch));
    atomic_fetch_sub(&w->crew->running, 1);
    wake_ring(w->crew->ended);
    ring_all(w->crew); /* who waits for a job of ours must not wait for ever */
    return err;
}

struct error *copy_worker_new(struct arena *a, struct copy_crew *crew, unsigned number, struct copy_worker **out_worker)
{
    struct copy_worker *w = ARENA_NEW(a, struct copy_worker);

    w->crew = crew;
    w->number = number;
    TRY(wake_new(&w->wake));
    *out_worker = w;
    return NULL;
}

struct error *copy_worker_start(struct copy_worker *w)
{
    char name[16];

    snprintf(name, sizeof name, "copy %u", w->number);
    w->scratch = arena_new(NULL, "copy worker");
    atomic_fetch_add(&w->crew->running, 1);
    struct error *err = thread_start(name, run, w, &w->thread);
    if (err != NULL) {
        atomic_fetch_sub(&w->crew->running, 1);
        arena_free(TAKE(w->scratch));
    }
    return err;
}

struct error *copy_worker_join(struct copy_worker *w)
{
    return w->thread == NULL ? NULL : thread_join(TAKE(w->thread));
}

void copy_worker_ring(struct copy_worker *w)
{
    wake_ring(w->wake);
}

void copy_worker_free(struct copy_worker *w)
{
    if (w != NULL)
        wake_free(w->wake);
}
