#include "worker/align.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/snapshot.h"
#include "pg/standby.h"
#include "sync/commit_log.h"
#include "worker/hold.h"
#include "worker/task.h"

enum {
    GIVE_UP_MS = 60000, /* a request */
    HOLD_MS = 1000,     /* so long apply stands still for tries that fail; then it goes on for a while */
    REST_MS = 200,
    RECEIVED_MS = 10000, /* from a marker's commit to its arrival */
    SLICE_MS = 100,      /* between looks at stop */
    STANDBY_MS = 5,
};

enum align_state {
    ALIGN_IDLE,
    ALIGN_WORKING,
    ALIGN_READY,
    ALIGN_FAILED,
};

struct align {
    struct task *task;
    _Atomic uint64_t limit;

    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    enum align_state state;
    struct thread *thread;
    bool holds;       /* until released */
    bool is_released; /* asked for */
    int64_t lease_us;
    struct error *failure;
    struct align_view view;
    struct lsn reached_limit; /* the feeder's last report */
    struct lsn reached;
    int64_t standing_since_us; /* 0: apply runs */
};

/* One request's own; dies with its thread. */
struct attempt {
    struct align *align;
    struct task *task;
    struct arena *arena;
    struct pg_conn *source;
    struct pg_conn *marker;
    struct pg_conn *target;
    int64_t deadline_us;
    struct pg_snapshot snapshot;
    struct pg_snapshot target_snapshot;
    struct lsn cut;
};

struct align *align_new(struct arena *a, struct task *t)
{
    struct align *al = ARENA_NEW(a, struct align);
    pthread_condattr_t monotonic;

    al->task = t;
    pthread_mutex_init(&al->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&al->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return al;
}

/* ---- the feeder's ---- */

struct lsn align_limit(const struct align *al)
{
    return (struct lsn){atomic_load(&al->limit)};
}

void align_at_limit(struct align *al, struct lsn limit, struct lsn position)
{
    pthread_mutex_lock(&al->mutex);
    if (atomic_load(&al->limit) == limit.value) {
        if (al->standing_since_us == 0)
            al->standing_since_us = clock_now_us();
        al->reached_limit = limit;
        al->reached = position;
        pthread_cond_broadcast(&al->changed);
    }
    pthread_mutex_unlock(&al->mutex);
}

/* ---- the request's thread ---- */

/* With the mutex held. */
static void wait_slice(struct align *al)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)SLICE_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&al->changed, &al->mutex, &until);
}

static void set_limit(struct align *al, struct lsn limit)
{
    pthread_mutex_lock(&al->mutex);
    atomic_store(&al->limit, limit.value);
    al->reached_limit = LSN_NONE;
    if (lsn_is_none(limit) && al->standing_since_us != 0) {
        al->view.pause_us += clock_now_us() - al->standing_since_us;
        al->standing_since_us = 0;
    }
    pthread_mutex_unlock(&al->mutex);
    wake_ring(al->task->news);
}

MUST_USE static struct error *check_time(const struct attempt *at)
{
    TRY(stop_check(at->task->stream_stop));
    if (clock_now_us() < at->deadline_us)
        return NULL;
    return error_hint(
        error_new(ERROR_TRANSIENT, "could not bring both sides to one position within %d s", GIVE_UP_MS / 1000),
        "Is the sync far behind, or applying one large transaction? \"pgtide status\" shows its delay. Try again when "
        "it has caught up.");
}

/* The feeder stands at `limit` with nothing in flight. */
MUST_USE static struct error *wait_standing(struct attempt *at, struct lsn limit, struct lsn *out_position)
{
    struct align *al = at->align;

    for (;;) {
        TRY(check_time(at));
        pthread_mutex_lock(&al->mutex);
        if (!lsn_equal(al->reached_limit, limit))
            wait_slice(al);
        bool is_there = lsn_equal(al->reached_limit, limit);
        *out_position = al->reached;
        pthread_mutex_unlock(&al->mutex);
        if (is_there)
            return NULL;
    }
}

/*
 * Transactions that wait for a synchronous standby have their commit record in the stream and are invisible for as long as the
 * standby wants. Who waited before the snapshot would not be in the commit log any more, so nobody may.
 */
MUST_USE static struct error *nobody_waits_for_a_standby(struct attempt *at, bool *out_nobody)
{
    static const char sql[] =
        "SELECT CASE WHEN pg_catalog.current_setting('synchronous_standby_names') = '' THEN 'nobody'"
        "            WHEN pg_catalog.bool_or(state IS NULL AND backend_type = 'client backend') THEN 'hidden'"
        "            WHEN pg_catalog.bool_or(wait_event = 'SyncRep') THEN 'waits'"
        "            ELSE 'nobody' END"
        "  FROM pg_catalog.pg_stat_activity";
    char *answer = NULL;

    TRY(pg_query_text(at->source, at->arena, "asking who waits for a synchronous standby", sql, NULL, 0, &answer));
    if (strcmp(answer, "hidden") == 0)
        return error_hint(error_new(ERROR_CONFIG, "cannot see on the source who waits for its synchronous standby"),
                          "GRANT pg_monitor to the user that pgtide connects with.");
    *out_nobody = strcmp(answer, "nobody") == 0;
    return NULL;
}

MUST_USE static struct error *wait_received(struct attempt *at, struct lsn mark)
{
    int64_t deadline_us = clock_now_us() + (int64_t)RECEIVED_MS * 1000;

    while (!commit_log_wait(at->task->commits, mark, SLICE_MS)) {
        TRY(check_time(at));
        if (clock_now_us() > deadline_us)
            return error_hint(
                error_new(ERROR_TRANSIENT, "a marker that was written on the source did not arrive within %d s",
                          RECEIVED_MS / 1000),
                "Receiving is behind: the spool is full (--max-spool), or the network is slow. Compare again after "
                "\"pgtide wait --for caught-up\".");
    }
    return NULL;
}

static struct error *give_up_snapshot(struct attempt *at)
{
    return pg_execute(at->source, "giving a snapshot up", "ROLLBACK");
}

/* No marker can be written on a standby: a keepalive tells, too, that all that was committed before has come. */
MUST_USE static struct error *wait_spooled(struct attempt *at, struct lsn upto)
{
    struct task *t = at->task;

    while (atomic_load(&t->counters->spooled_lsn) < upto.value && lsn_before(commit_log_last(t->commits), upto)) {
        TRY(check_time(at));
        stop_wait_ms(t->stream_stop, STANDBY_MS);
    }
    return NULL;
}

/* A standby's snapshot has its position (pg/standby.h). Apply has to stand at a commit: the last one before it. */
MUST_USE static struct error *take_standby_snapshot(struct attempt *at, struct lsn *out_cut)
{
    int left_ms = (int)((at->deadline_us - clock_now_us()) / 1000);
    const struct pg_snapshot_wish wish = {.wait_ms = left_ms < 1 ? 1 : left_ms};

    TRY(pg_snapshot_export(at->source, at->arena, wish, &at->snapshot));
    TRY(wait_spooled(at, at->snapshot.gate.upto));
    if (commit_log_cut(at->task->commits, &at->snapshot.gate.snapshot, at->snapshot.gate.upto, out_cut))
        return NULL;
    return give_up_snapshot(at);
}

/* A snapshot that cuts the commit order, and where. *out_cut is LSN_NONE when this one does not. */
MUST_USE static struct error *try_snapshot(struct attempt *at, struct lsn *out_cut)
{
    bool nobody = false;
    struct lsn mark;

    *out_cut = LSN_NONE;
    if (pg_standby_is(at->source))
        return take_standby_snapshot(at, out_cut);
    TRY(nobody_waits_for_a_standby(at, &nobody));
    if (!nobody) {
        stop_wait_ms(at->task->stream_stop, STANDBY_MS);
        return NULL;
    }
    TRY(pg_snapshot_export(at->source, at->arena, (struct pg_snapshot_wish){0}, &at->snapshot));
    TRY(task_mark(at->marker, &mark)); /* written behind `upto`: when it is here, so is all that came before */
    TRY(wait_received(at, mark));
    if (commit_log_cut(at->task->commits, &at->snapshot.gate.snapshot, at->snapshot.gate.upto, out_cut))
        return NULL;
    return give_up_snapshot(at);
}

/* Apply must not stand still for long because one try after the other fails. */
static void rest_from_holding(struct attempt *at)
{
    struct align *al = at->align;

    pthread_mutex_lock(&al->mutex);
    bool is_long = al->standing_since_us != 0 && clock_now_us() - al->standing_since_us > (int64_t)HOLD_MS * 1000;
    pthread_mutex_unlock(&al->mutex);
    if (!is_long)
        return;
    set_limit(al, LSN_NONE);
    stop_wait_ms(at->task->stream_stop, REST_MS);
}

/* One try. *out_done is false when the snapshot had no position or apply had gone beyond it. */
MUST_USE static struct error *try_once(struct attempt *at, bool *out_done)
{
    struct align *al = at->align;
    struct lsn hold = align_limit(al), cut, position;

    *out_done = false;
    if (lsn_is_none(hold)) {
        hold = commit_log_last(at->task->commits);
        set_limit(al, hold);
    }
    TRY(try_snapshot(at, &cut));
    if (lsn_is_none(cut))
        return NULL;
    TRY(wait_standing(at, hold, &position));
    if (lsn_before(cut, position) || lsn_before(cut, hold))
        return give_up_snapshot(at); /* something that is applied was invisible still */
    set_limit(al, cut);
    TRY(wait_standing(at, cut, &position));
    if (lsn_before(cut, position))
        return error_new(ERROR_BUG, "apply was to stop at %s and is at %s", lsn_format(cut).text,
                         lsn_format(position).text);
    at->cut = cut;
    *out_done = true;
    return NULL;
}

static void count_try(struct align *al)
{
    pthread_mutex_lock(&al->mutex);
    al->view.tries++;
    pthread_mutex_unlock(&al->mutex);
}

MUST_USE static struct error *bring_together(struct attempt *at)
{
    bool done = false;

    at->deadline_us = clock_now_us() + (int64_t)GIVE_UP_MS * 1000;
    TRY(task_connect_source(at->task, "align", at->task->stream_stop, &at->source));
    TRY(task_connect_source(at->task, "align marker", at->task->stream_stop, &at->marker));
    TRY(task_connect_target(at->task, "align", at->task->stream_stop, &at->target));
    while (!done) {
        TRY(check_time(at));
        count_try(at->align);
        TRY(try_once(at, &done));
        if (!done)
            rest_from_holding(at);
    }
    FAULT_POINT("align.standing");
    return pg_snapshot_export(at->target, at->arena, (struct pg_snapshot_wish){0}, &at->target_snapshot);
}

static void copy_id(char *out, size_t size, const char *id)
{
    snprintf(out, size, "%s", id);
}

static void show_ready(struct attempt *at)
{
    struct align *al = at->align;

    if (!al->holds)
        set_limit(al, LSN_NONE);
    pthread_mutex_lock(&al->mutex);
    copy_id(al->view.source_snapshot, sizeof al->view.source_snapshot, at->snapshot.id);
    copy_id(al->view.target_snapshot, sizeof al->view.target_snapshot, at->target_snapshot.id);
    al->view.position = at->cut;
    al->view.is_ready = true;
    al->state = ALIGN_READY;
    al->lease_us = clock_now_us() + (int64_t)ALIGN_LEASE_MS * 1000;
    log_info("both sides stand at %s for a comparison: %u %s, apply paused for %" PRId64 " ms",
             lsn_format(at->cut).text, al->view.tries, al->view.tries == 1 ? "try" : "tries",
             (al->view.pause_us + 999) / 1000);
    pthread_mutex_unlock(&al->mutex);
}

/* The snapshots live as long as our sessions. */
static void wait_for_release(struct attempt *at)
{
    struct align *al = at->align;

    pthread_mutex_lock(&al->mutex);
    while (!al->is_released && clock_now_us() < al->lease_us && !stop_requested(at->task->stream_stop))
        wait_slice(al);
    if (!al->is_released)
        log_debug("a comparison did not release its snapshots");
    pthread_mutex_unlock(&al->mutex);
}

static struct error *align_run(void *self)
{
    struct align *al = self;
    struct attempt at = {.align = al, .task = al->task, .arena = arena_new(NULL, "align")};
    struct error *err = bring_together(&at);

    if (err == NULL) {
        show_ready(&at);
        wait_for_release(&at);
    }
    set_limit(al, LSN_NONE);
    pg_conn_close(at.source);
    pg_conn_close(at.marker);
    pg_conn_close(at.target);
    arena_free(at.arena);
    pthread_mutex_lock(&al->mutex);
    al->failure = err;
    al->state = err == NULL ? ALIGN_IDLE : ALIGN_FAILED;
    pthread_mutex_unlock(&al->mutex);
    return NULL;
}

/* ---- control ---- */

static void join(struct align *al)
{
    if (al->thread != NULL)
        error_free(thread_join(TAKE(al->thread)));
}

struct error *align_begin(struct align *al, bool hold)
{
    TRY(hold_refuse(al->task));
    if (progress_phase(al->task->progress) != PHASE_INCREMENTAL)
        return error_hint(error_new(ERROR_CONFIG, "cannot compare yet: the sync does not follow the source"),
                          "Wait for it: \"pgtide wait --for incremental\".");
    pthread_mutex_lock(&al->mutex);
    bool is_busy = al->state == ALIGN_WORKING || al->state == ALIGN_READY;
    pthread_mutex_unlock(&al->mutex);
    if (is_busy)
        return error_new(ERROR_TRANSIENT, "another comparison of this pair is bringing both sides to one position");
    join(al);
    error_free(TAKE(al->failure));
    al->view = (struct align_view){0};
    al->holds = hold;
    al->is_released = false;
    al->state = ALIGN_WORKING;
    struct error *err = thread_start("align", align_run, al, &al->thread);
    if (err != NULL)
        al->state = ALIGN_IDLE;
    return err;
}

struct error *align_poll(struct align *al, struct align_view *out)
{
    struct error *err = NULL;

    pthread_mutex_lock(&al->mutex);
    al->lease_us = clock_now_us() + (int64_t)ALIGN_LEASE_MS * 1000;
    *out = al->view;
    if (al->standing_since_us != 0)
        out->pause_us += clock_now_us() - al->standing_since_us;
    if (al->state == ALIGN_FAILED)
        err = TAKE(al->failure);
    if (al->state == ALIGN_IDLE || (al->state == ALIGN_FAILED && err == NULL))
        err = error_new(ERROR_TRANSIENT, "both sides are not held at one position any more");
    pthread_mutex_unlock(&al->mutex);
    return err;
}

void align_release(struct align *al, int64_t *out_pause_us)
{
    pthread_mutex_lock(&al->mutex);
    al->is_released = true;
    pthread_cond_broadcast(&al->changed);
    *out_pause_us = al->view.pause_us;
    if (al->standing_since_us != 0)
        *out_pause_us += clock_now_us() - al->standing_since_us;
    pthread_mutex_unlock(&al->mutex);
}

void align_close(struct align *al)
{
    int64_t pause_us;

    align_release(al, &pause_us);
    join(al);
    error_free(TAKE(al->failure));
}
