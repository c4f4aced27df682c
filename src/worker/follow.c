#include "worker/follow.h"

#include "base/clock.h"
#include "base/log.h"
#include "pg/ddl_capture.h"
#include "pg/lane_rules.h"
#include "pg/pgoutput.h"
#include "pg/source_row.h"
#include "pg/target.h"
#include "pg/target_table.h"
#include "sync/apply.h"
#include "sync/feeder.h"
#include "sync/spool.h"
#include "sync/spool_reader.h"
#include "sys/queue.h"
#include "sys/thread.h"
#include "worker/align.h"
#include "worker/hold.h"
#include "worker/lane_threads.h"
#include "worker/patience.h"
#include "worker/selecting.h"
#include "worker/stopped.h"

enum {
    WINDOWS = 2,
    RECORDS_A_STEP = 512,
    RECORDS_TO_BOUNDARY = 16, /* while the lane waits: to the end of the transaction and not far beyond it */
    DURABLE_EVERY_MS = 1000,
    IDLE_MS = 1000,
    UNFINISHED_MS = 5, /* how long complete transactions wait for the end of one that is arriving */
    OWN_CHANGES = 100, /* a window of no more is applied by the feeder itself when there is nothing else to do */
};

struct follow {
    struct task *task;
    struct arena *arena;
    struct pg_target *target; /* lane 1 */
    struct pg_table_resolver *resolver;
    struct pg_source_rows *source_rows;
    struct stopped stopped;              /* the operator's decisions, until the target is past them */
    struct pg_target *others[LANES_MAX]; /* lanes 2 … n_lanes */
    unsigned n_lanes;
    struct lanes *lanes; /* NULL: one alone */
    struct lane_threads *lane_threads;
    struct lane_rules *lane_rules;
    bool is_bringing_together; /* lanes that died apart, by the rules of then */
    struct lanes_recovery recovery;
    uint64_t n_conflicts; /* met while bringing together */
    struct apply *apply;
    struct feeder *feeder;
    struct window *windows[WINDOWS];

    /* One session */
    struct spool_reader *reader;
    struct queue *to_lane;
    struct queue *free_windows;
    struct thread *lane;
    struct lsn limit;         /* of a comparison; LSN_NONE: none */
    atomic_uint n_with_lane;  /* windows handed over and not yet applied */
    atomic_bool is_unflushed; /* the last commit did not wait for the target's disk */
    atomic_uint n_handed, n_done;
    _Atomic int64_t since_us[WINDOWS]; /* of those with the lane, a ring: when their first transaction was committed */
    _Atomic int64_t filling_us;        /* likewise, of the window being filled; 0: it has none */
    int64_t durable_due_us;
};

/* The feeder reads the spool. */
static struct error *next_record(void *self, struct arena *a, struct feed_record *out)
{
    static const enum feed_kind kinds[] = {
        [SPOOL_NONE] = FEED_NONE,
        [SPOOL_MESSAGE] = FEED_MESSAGE,
        [SPOOL_RELATION] = FEED_RELATION,
        [SPOOL_KEEPALIVE] = FEED_KEEPALIVE,
    };
    struct follow *f = self;
    struct spool_record record;

    TRY(spool_reader_next(f->reader, a, &record));
    *out = (struct feed_record){.kind = kinds[record.kind],
                                .bytes = record.bytes,
                                .length = record.length,
                                .at = record.wal,
                                .received_us = record.received_us};
    return NULL;
}

/* The feeder has looked ahead and comes back. */
static struct error *read_again(void *self, struct lsn from)
{
    struct follow *f = self;

    spool_reader_close(TAKE(f->reader));
    return spool_reader_open(f->task->spool, from, &f->reader);
}

/* Our own tables on a source that is also somebody's target are nobody's data. */
static bool is_ours(const struct stream_relation *relation)
{
    return strcmp(relation->schema, "pgtide") == 0;
}

static bool lane_is_idle(struct follow *f)
{
    return atomic_load(&f->n_with_lane) == 0;
}

/* Until everything that was handed over is applied; an error when it never will be. */
MUST_USE static struct error *wait_for_lane(struct follow *f)
{
    while (!lane_is_idle(f)) {
        TRY(stop_check(f->task->stream_stop));
        if (thread_ended(f->lane))
            return error_new(ERROR_TRANSIENT, "the lane has ended");
        wake_wait(f->task->news, f->task->stream_stop, IDLE_MS);
    }
    return NULL;
}

/*
 * What DDL of the open transaction has made of the target only the lane's session can see. While the lane rests that is asked as well: it has
 * to learn these tables anyway, and another session of the target would learn all of them for itself.
 */
MUST_USE static struct error *ask_target(struct follow *f, struct arena *a, const struct stream_relation *relation,
                                         struct target_table **out)
{
    bool may_ask_lane = lane_is_idle(f) && !apply_is_open(f->apply) && !f->is_bringing_together;

    if (feeder_is_inside_ddl(f->feeder))
        TRY(wait_for_lane(f));
    else if (!may_ask_lane)
        return pg_table_resolve(f->resolver, a, relation, out);
    return pg_target_table_inside(f->target, a, relation, out);
}

/* Where our triggers fire, or DDL is not committed yet, rows depend on more than can be known. */
MUST_USE static struct error *set_lane_rule(struct follow *f, struct target_table *table)
{
    if (!f->is_bringing_together && (!pg_target_is_replica(f->target) || feeder_is_inside_ddl(f->feeder)))
        table->lane_rule = LANE_ALONE;
    return lane_rules_fix(f->lane_rules, table);
}

/* (G2) Puts the table's gate before it. Tables made after the copy have none: all of their rows are in the stream. */
static struct error *resolve_table(void *self, struct arena *a, const struct stream_relation *relation,
                                   struct target_table **out)
{
    struct follow *f = self;
    bool takes = false;

    TRY(selecting_takes(f->task, relation->oid, &takes));
    if (!takes || is_ours(relation) || task_ignores(f->task, relation->oid)) {
        struct target_table *table = ARENA_NEW(a, struct target_table);

        *table = (struct target_table){.relation = relation, .mode = TABLE_IGNORED};
        *out = table;
        return NULL;
    }
    TRY(ask_target(f, a, relation, out));
    (*out)->gate = task_gate(f->task, relation->oid);
    return f->lane_rules == NULL ? NULL : set_lane_rule(f, *out);
}

/* Of the transactions that are here and not applied the oldest: the delay grows by it. */
static void note_pending(struct follow *f)
{
    unsigned done = atomic_load(&f->n_done);
    const _Atomic int64_t *oldest = done == atomic_load(&f->n_handed) ? &f->filling_us : &f->since_us[done % WINDOWS];

    atomic_store(&f->task->counters->pending_us, atomic_load(oldest));
}

static void note_commit(struct follow *f)
{
    struct task *t = f->task;
    struct progress_counters *c = t->counters;
    struct apply_position position = apply_position(f->apply);
    struct apply_counters counters = apply_counters(f->apply);
    int64_t delay_us = clock_wall_us() + atomic_load(&c->clock_offset_us) - position.committed_us;

    if (position.committed_us != 0)
        atomic_store(&c->delay_us, delay_us < 0 ? 0 : delay_us);
    atomic_store(&c->applied_lsn, apply_upto(f->apply).value);
    atomic_store(&c->transactions_applied, position.transactions);
    atomic_store(&c->rows_applied, counters.rows);
    atomic_store(&c->windows_fast, counters.windows_fast);
    atomic_store(&c->windows_slow, counters.windows_slow);
    atomic_store(&c->windows_divided, counters.windows_divided);
    atomic_store(&c->conflicts, counters.conflicts + f->n_conflicts);
    atomic_store(&f->is_unflushed, !apply_is_flushed(f->apply));
    if (apply_is_flushed(f->apply)) {
        atomic_store(&t->durable_lsn, position.end.value);
        atomic_store(&t->settled_lsn, apply_upto(f->apply).value);
    }
    if (atomic_load(&t->consistent_lsn) != 0 && apply_upto(f->apply).value >= atomic_load(&t->consistent_lsn))
        atomic_store(&t->is_consistent, true);
}

/* The operator's decisions have done their work, or the cause was mended. */
MUST_USE static struct error *forget_passed_stop(struct follow *f)
{
    bool is_there = f->stopped.is_stopped || f->stopped.n_decisions > 0;

    if (!is_there || !stopped_is_past(&f->stopped, apply_position(f->apply).end))
        return NULL;
    f->stopped = (struct stopped){.is_stopped = false};
    log_info("past the change at which applying had stopped");
    return stopped_forget(f->task->folder);
}

/* The orchestrator sleeps through what it does not wait for. */
static void tell_orchestrator(struct follow *f)
{
    uint64_t awaited = atomic_load(&f->task->awaited_lsn);

    if (awaited != 0 && atomic_load(&f->task->counters->applied_lsn) >= awaited)
        wake_ring(f->task->events);
}

/* By the lane, or by the feeder while the lane has nothing: never by both. */
MUST_USE static struct error *apply_one(struct follow *f, struct window *w)
{
    int64_t now = clock_now_us();
    bool durable = now >= f->durable_due_us;
    uint64_t slow = apply_counters(f->apply).windows_slow;

    TRY(apply_window(f->apply, w, durable));
    hold_retry(f->task, NULL);
    if (durable)
        f->durable_due_us = now + DURABLE_EVERY_MS * INT64_C(1000);
    if (apply_counters(f->apply).windows_slow > slow)
        log_debug("applied row by row: %s", apply_why_slow(f->apply));
    note_commit(f);
    TRY(forget_passed_stop(f));
    window_reset(w);
    atomic_fetch_add(&f->n_done, 1);
    note_pending(f);
    return NULL;
}

MUST_USE static struct error *lane_loop(struct follow *f)
{
    struct window *w;

    while ((w = queue_take(f->to_lane)) != NULL) {
        TRY(apply_one(f, w));
        atomic_fetch_sub(&f->n_with_lane, 1);
        if (!queue_put(f->free_windows, w))
            return NULL;
        wake_ring(f->task->news);
        tell_orchestrator(f);
    }
    return NULL;
}

static struct error *lane_run(void *self)
{
    struct follow *f = self;

    struct error *err = lane_loop(f);
    apply_abandon(f->apply);
    queue_close(f->to_lane);
    queue_close(f->free_windows);
    wake_ring(f->task->news);
    return err;
}

/* Between transactions only: what is open on the target holds locks there. What comes meanwhile waits in the spool. */
static void wait_while_paused(struct follow *f, const struct window *w)
{
    const struct task *t = f->task;

    while (atomic_load(&t->counters->is_paused) && !window_begins_inside(w) && !stop_requested(t->stream_stop) &&
           !thread_ended(f->lane))
        wake_wait(t->news, t->stream_stop, IDLE_MS);
}

static void note_handed(struct follow *f, const struct window *w)
{
    atomic_store(&f->since_us[atomic_load(&f->n_handed) % WINDOWS], window_committed_us(w));
    atomic_store(&f->filling_us, feeder_at_boundary(f->feeder) ? 0 : window_last_committed_us(w));
    atomic_fetch_add(&f->n_handed, 1);
}

/* Between two windows of one transaction it is still the one that is being applied. */
static void note_filling(struct follow *f, const struct window *w)
{
    int64_t since_us = window_committed_us(w);

    if (since_us != 0 || feeder_at_boundary(f->feeder))
        atomic_store(&f->filling_us, since_us);
    note_pending(f);
}

/* What was filled goes to the lane; false when the lane has ended. */
static bool hand_over(struct follow *f, struct window *w)
{
    note_handed(f, w);
    atomic_fetch_add(&f->n_with_lane, 1);
    window_close(w);
    return queue_put(f->to_lane, w);
}

enum filling {
    FILLING_GO_ON,
    FILLING_HAND_OVER,
    FILLING_WAIT,
    FILLING_WAIT_SHORTLY,
};

static enum filling judge_window(struct follow *f, const struct window *w, enum feeder_state state)
{
    bool is_ready = !window_is_empty(w) && lane_is_idle(f);

    switch (state) {
    case FEEDER_FULL:
    case FEEDER_BARRIER:
        return FILLING_HAND_OVER;
    case FEEDER_MORE:
        return is_ready && feeder_at_boundary(f->feeder) ? FILLING_HAND_OVER : FILLING_GO_ON;
    case FEEDER_IDLE:
        if (!is_ready)
            return FILLING_WAIT;
        return feeder_at_boundary(f->feeder) ? FILLING_HAND_OVER : FILLING_WAIT_SHORTLY;
    case FEEDER_AT_END:
        return is_ready ? FILLING_HAND_OVER : FILLING_WAIT;
    }
    return FILLING_WAIT;
}

/* A comparison's limit and the user's: the nearer one. */
static void set_limit(struct follow *f)
{
    struct lsn until = {atomic_load(&f->task->until_lsn)}, limit = align_limit(f->task->align);

    if (!lsn_is_none(limit) && !lsn_is_none(until) && lsn_before(until, limit))
        limit = LSN_NONE;
    f->limit = limit;
    feeder_set_until(f->feeder, lsn_is_none(limit) ? until : limit);
}

/* It is a comparison that keeps the feeder from going on (C1). */
static bool is_held(const struct follow *f)
{
    return !lsn_is_none(f->limit);
}

/* Everything that was received is applied: there is no delay, however long ago the last commit was. */
static void note_rest(struct follow *f, const struct window *w, enum feeder_state state)
{
    if (!window_is_empty(w) || !lane_is_idle(f))
        return;
    if (state == FEEDER_AT_END && is_held(f)) {
        align_at_limit(f->task->align, f->limit, feeder_position(f->feeder));
        return;
    }
    atomic_store(&f->task->counters->delay_us, 0);
    if (state == FEEDER_AT_END && !atomic_exchange(&f->task->is_at_until, true)) {
        atomic_store(&f->task->counters->applied_lsn, atomic_load(&f->task->until_lsn));
        wake_ring(f->task->events);
    }
}

/* Nothing comes: an empty window makes durable what was applied, or a full spool would never be trimmed. */
static bool may_flush(struct follow *f, const struct window *w)
{
    return window_is_empty(w) && lane_is_idle(f) && atomic_load(&f->is_unflushed);
}

/*
 * Little is here and the lane rests: to wake it would take longer than to do it. What comes meanwhile waits in the spool.
 */
static bool is_for_us(struct follow *f, const struct window *w, enum feeder_state state)
{
    return state == FEEDER_IDLE && lane_is_idle(f) && !thread_ended(f->lane) && window_n_changes(w) <= OWN_CHANGES;
}

MUST_USE static struct error *apply_ourselves(struct follow *f, struct window *w)
{
    note_handed(f, w);
    window_close(w);
    struct error *err = apply_one(f, w);
    window_reset(w); /* after an error nobody must take it for what was read and not applied */
    tell_orchestrator(f);
    return err;
}

/* To the lane, which then has it, or applied here. Behind a barrier, and a row of hundreds of megabytes, nothing is read until it is applied. */
MUST_USE static struct error *send_on(struct follow *f, struct window *w, enum feeder_state state, bool *out_has_left,
                                      bool *out_goes_on)
{
    wait_while_paused(f, w);
    *out_has_left = !is_for_us(f, w, state);
    if (!*out_has_left)
        return apply_ourselves(f, w);
    bool is_alone = state == FEEDER_BARRIER || window_is_oversized(w);
    *out_goes_on = hand_over(f, w);
    return is_alone && *out_goes_on ? wait_for_lane(f) : NULL;
}

/* Fills one window and hands it over. *out_goes_on is false when the lane has ended or a stop was requested. */
MUST_USE static struct error *fill_window(struct follow *f, struct window *w, bool *out_goes_on)
{
    struct task *t = f->task;

    *out_goes_on = false;
    while (!stop_requested(t->stream_stop)) {
        enum feeder_state state;
        bool has_left = false;
        bool lane_waits = lane_is_idle(f) && !window_is_empty(w);

        set_limit(f);
        TRY(feeder_step(f->feeder, w, lane_waits ? RECORDS_TO_BOUNDARY : RECORDS_A_STEP, &state));
        atomic_store(&t->last_change_lsn, feeder_last_change(f->feeder).value);
        atomic_store(&t->counters->changes_left_out, feeder_n_left_out(f->feeder));
        note_filling(f, w);
        enum filling filling = judge_window(f, w, state);
        if (filling == FILLING_HAND_OVER ||
            (filling == FILLING_WAIT_SHORTLY && !wake_wait(t->news, t->stream_stop, UNFINISHED_MS))) {
            TRY(send_on(f, w, state, &has_left, out_goes_on));
            if (has_left)
                return NULL;
        } else if (filling == FILLING_WAIT) {
            note_rest(f, w, state);
            if (atomic_load(&t->leaves_at_until) && atomic_load(&t->is_at_until))
                return NULL;
            if (!wake_wait(t->news, t->stream_stop, IDLE_MS) && may_flush(f, w)) {
                *out_goes_on = hand_over(f, w);
                return NULL;
            }
        }
        if (thread_ended(f->lane))
            return NULL;
    }
    return NULL;
}

MUST_USE static struct error *feed_loop(struct follow *f)
{
    bool goes_on = true;

    while (goes_on) {
        struct window *w = queue_take(f->free_windows);

        if (w == NULL)
            return NULL;
        struct error *err = fill_window(f, w, &goes_on);
        /* What was read before the error is applied all the same: the lane takes it, then the session ends. */
        if (err != NULL && error_kind(err) != ERROR_TRANSIENT && !window_is_empty(w) && !hand_over(f, w))
            log_debug("the last window was not applied: the lane had ended");
        TRY(err);
    }
    return NULL;
}

/* The lane's error came first: the feeder only noticed that nobody took its windows. */
static struct error *first_of(struct error *lane, struct error *feeder)
{
    if (lane == NULL)
        return feeder;
    error_free(feeder);
    return lane;
}

/* ---- lanes ---- */

static struct pg_target *open_lane(const struct follow *f, struct arena *a, unsigned lane, unsigned n)
{
    const struct task *t = f->task;

    return pg_target_new(a, (struct pg_target_options){
                                .endpoint = t->target,
                                .application_name = task_session_name(a, t, arena_printf(a, "lane %u", lane)),
                                .encoding = t->source_facts.encoding,
                                .task = t->record->id,
                                .lane = lane,
                                .lane_count = n,
                                .stop = t->stream_stop,
                                .checks_keys = &t->rows_are_of_one_moment,
                            });
}
static struct lanes *lanes_of(const struct follow *f, struct arena *a, struct pg_target *first,
                              struct pg_target *const *others, unsigned n)
{
    struct target *targets = arena_alloc(a, n * sizeof *targets);

    targets[0] = pg_target_port(first);
    for (unsigned i = 1; i < n; i++)
        targets[i] = pg_target_port(others[i]);
    return lanes_new(a, (struct lanes_options){.n = n, .targets = targets, .crew = lane_threads_crew(f->lane_threads)});
}

static bool stand_apart(const struct lanes *lanes)
{
    return !lsn_equal(lanes_least(lanes).end, lanes_most(lanes).end);
}

/* What some lanes have done and others have not, in one window: it was one. */
MUST_USE static struct error *read_missing(struct follow *f, const struct lanes *lanes, struct window *w)
{
    struct lsn from = lanes_least(lanes).end;
    enum feeder_state state = FEEDER_MORE;

    TRY(spool_reader_open(f->task->spool, from, &f->reader));
    feeder_restart(f->feeder, (struct record_source){.next = next_record, .again = read_again, .self = f}, from);
    feeder_set_until(f->feeder, lanes_most(lanes).end);
    while (state == FEEDER_MORE || state == FEEDER_IDLE) {
        TRY(stop_check(f->task->stream_stop));
        TRY(feeder_step(f->feeder, w, RECORDS_A_STEP, &state));
        if (state == FEEDER_IDLE)
            wake_wait(f->task->news, f->task->stream_stop, IDLE_MS);
    }
    return NULL;
}

static struct decisions decisions_of(const struct follow *f)
{
    return (struct decisions){.items = f->stopped.decisions, .n = f->stopped.n_decisions};
}

MUST_USE static struct error *recover(struct follow *f, struct lanes *lanes, struct window *w)
{
    f->recovery = (struct lanes_recovery){
        .options = {.policy = f->task->options->on_conflict,
                    .source = pg_source_rows_port(f->source_rows),
                    .conflicts = &f->n_conflicts},
        .decisions = decisions_of(f),
        .arena = f->arena,
    };
    struct error *err = lanes_recover(lanes, w, &f->recovery);
    return err == NULL ? NULL : error_wrap(err, "bringing lanes together that were interrupted between two commits");
}

MUST_USE static struct error *bring_together(struct follow *f, struct lanes *lanes, unsigned n)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lanes apart");
    struct window *w =
        window_new(a, (struct window_limits){
                          .rows = UINT32_MAX / 2, .bytes = SIZE_MAX / 2, .lanes = n, .lanes_from = lanes_ends(lanes)});

    log_info("bringing lanes together that were interrupted between %s and %s", lsn_format(lanes_least(lanes).end).text,
             lsn_format(lanes_most(lanes).end).text);
    TRY(lane_rules_read(f->lane_rules));
    f->is_bringing_together = true;
    TRY(read_missing(f, lanes, w));
    spool_reader_close(TAKE(f->reader));
    return recover(f, lanes, w);
}

/* The lanes of an earlier --lanes, for as long as it takes to bring them together. */
MUST_USE static struct error *bring_others_together(struct follow *f, unsigned n)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "former lanes");
    struct pg_target *targets[LANES_MAX] = {NULL};
    struct error *err = NULL;

    for (unsigned i = 0; i < n; i++)
        targets[i] = open_lane(f, a, i + 1, n);
    struct lanes *lanes = lanes_of(f, a, targets[0], targets, n);
    err = lanes_resume(lanes);
    if (err == NULL && stand_apart(lanes))
        err = bring_together(f, lanes, n);
    for (unsigned i = 0; i < n; i++)
        pg_target_close(targets[i]);
    return err;
}

/* As many lanes as were asked for, all at one position, and no rule from before. */
MUST_USE static struct error *prepare_lanes(struct follow *f)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "lanes");
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    const char *task = f->task->record->id;
    struct state state = {0};

    TRY(task_connect_target(f->task, "lanes", f->task->stream_stop, &conn));
    TRY(state_read_lanes(conn, a, task, &state));
    unsigned former = state.n_lanes == 0 ? 0 : state.lanes[0].lane_count;
    if (former > LANES_MAX || (former != 0 && former != state.n_lanes))
        return error_new(ERROR_CONFIG, "table pgtide.lane of the target has %u rows of %u lanes", state.n_lanes,
                         former);
    if (former > 1 && former != f->n_lanes)
        TRY(bring_others_together(f, former));
    TRY(state_read_lanes(conn, a, task, &state));
    if (former != f->n_lanes)
        TRY(state_set_lanes(conn, task, f->n_lanes, state_least(&state)));
    if (f->lanes != NULL) {
        TRY(lanes_resume(f->lanes));
        if (stand_apart(f->lanes))
            TRY(bring_together(f, f->lanes, f->n_lanes));
    }
    f->is_bringing_together = false;
    return lane_rules_forget(f->lane_rules);
}

/* A task that never had but one lane needs nothing of all this. */
MUST_USE static struct error *follow_lanes_prepare(struct follow *f)
{
    return f->lane_rules == NULL ? NULL : prepare_lanes(f);
}

/*
 * What the target has when a session begins: at once, not when nothing comes for a while. On a disk that is full something always comes and is
 * cut off again, and only what is durable lets the spool be trimmed.
 */
MUST_USE static struct error *make_found_durable(struct follow *f)
{
    window_reset(f->windows[0]);
    TRY(apply_window(f->apply, f->windows[0], true));
    note_commit(f);
    return NULL;
}

MUST_USE static struct error *run_session(struct follow *f)
{
    struct apply_position position;

    f->recovery.is_stopped = false;
    TRY(follow_lanes_prepare(f));
    TRY(apply_resume(f->apply, &position));
    if (lsn_is_none(position.end))
        log_info("applying changes");
    else
        log_info("applying changes from %s on", lsn_format(position.end).text);
    if (apply_counters(f->apply).rows == 0)
        atomic_store(&f->task->counters->transactions_before, position.transactions);
    TRY(make_found_durable(f));
    TRY(forget_passed_stop(f));
    TRY(spool_reader_open(f->task->spool, position.end, &f->reader));
    feeder_restart(f->feeder, (struct record_source){.next = next_record, .again = read_again, .self = f},
                   position.end);
    set_limit(f);

    f->to_lane = queue_new(1);
    f->free_windows = queue_new(WINDOWS);
    for (unsigned i = 0; i < WINDOWS; i++) {
        window_reset(f->windows[i]);
        if (!queue_try_put(f->free_windows, f->windows[i]))
            return error_new(ERROR_BUG, "a window had no room in its own queue");
    }
    atomic_store(&f->n_with_lane, 0);
    atomic_store(&f->n_handed, 0);
    atomic_store(&f->n_done, 0);
    atomic_store(&f->filling_us, 0);
    TRY(thread_start("lane 1", lane_run, f, &f->lane));
    struct error *err = feed_loop(f);
    queue_close(f->to_lane);
    return first_of(thread_join(TAKE(f->lane)), err);
}

static void end_session(struct follow *f)
{
    queue_free(TAKE(f->to_lane));
    queue_free(TAKE(f->free_windows));
    spool_reader_close(TAKE(f->reader));
}

/* Where the session stopped for the operator to decide; NULL: nowhere. */
static const struct apply_stop *stop_of(const struct follow *f)
{
    return f->recovery.is_stopped ? &f->recovery.stop : apply_stopped(f->apply);
}

/* The change that stopped us is written down for "pgtide resume"; what it says is the error that counts. */
static void note_stop(const struct follow *f, const struct error *err)
{
    const struct apply_stop *stop = stop_of(f);

    if (err == NULL || error_kind(err) != ERROR_DATA || stop == NULL)
        return;
    struct error *note_err = stopped_note(f->task->folder, stop, error_message(err));
    if (note_err != NULL)
        log_error(note_err, "could not write down where applying stopped");
    error_free(note_err);
}

/* Takes what ended a session. NULL when it was a change about which the operator has decided meanwhile. */
MUST_USE static struct error *wait_for_decision(struct follow *f, struct error *err)
{
    const struct task *t = f->task;

    if (t->options->on_stop != ON_STOP_HOLD || error_kind(err) != ERROR_DATA || stop_of(f) == NULL)
        return err;
    note_stop(f, err);
    bool is_decided = hold_wait(f->task, err);
    if (!is_decided && !stop_requested(t->stream_stop))
        return err;
    error_free(err);
    TRY(stop_check(t->stream_stop));
    TRY(stopped_read(f->arena, t->folder, &f->stopped));
    apply_decide(f->apply, decisions_of(f));
    return NULL;
}

MUST_USE static struct error *follow_for_ever(struct follow *f)
{
    struct patience patience = {.failures = 0};
    uint64_t applied = 0;

    for (;;) {
        struct error *err = run_session(f);

        end_session(f);
        if (err == NULL)
            return NULL;
        if (apply_counters(f->apply).transactions != applied)
            patience_renew(&patience);
        applied = apply_counters(f->apply).transactions;
        if (!patience_allows(&patience, err)) {
            TRY(wait_for_decision(f, err));
            patience_renew(&patience);
            continue;
        }
        if (patience.backoff.tries == 0)
            log_warn("applying was interrupted, going on from the target's position: %s", error_message(err));
        hold_retry(f->task, error_message(err));
        error_free(err);
        if (patience_wait(&patience, f->task->stream_stop))
            return NULL;
    }
}

static struct pg_source_rows *open_source_rows(const struct follow *f)
{
    return pg_source_rows_new(f->arena, (struct pg_source_rows_options){
                                            .endpoint = f->task->source,
                                            .application_name = task_session_name(f->arena, f->task, "rows"),
                                            .encoding = f->task->source_facts.encoding,
                                            .stop = f->task->stream_stop,
                                        });
}

MUST_USE static struct error *open_lanes(struct follow *f)
{
    const struct task *t = f->task;

    if (f->n_lanes == 1 && t->state.n_lanes <= 1)
        return NULL;
    for (unsigned i = 1; i < f->n_lanes; i++)
        f->others[i] = open_lane(f, f->arena, i + 1, f->n_lanes);
    TRY(lane_threads_start(f->n_lanes, &f->lane_threads));
    if (f->n_lanes > 1)
        f->lanes = lanes_of(f, f->arena, f->target, f->others, f->n_lanes);
    f->lane_rules = lane_rules_new(f->arena, (struct lane_rules_options){
                                                 .endpoint = t->target,
                                                 .application_name = task_session_name(f->arena, t, "lane rules"),
                                                 .encoding = t->source_facts.encoding,
                                                 .task = t->record->id,
                                                 .stop = t->stream_stop,
                                             });
    return NULL;
}

MUST_USE static struct error *follow_open(struct follow *f, struct task *t)
{
    f->n_lanes = t->options->lanes;
    f->target = open_lane(f, f->arena, 1, f->n_lanes);
    TRY(open_lanes(f));
    f->resolver = pg_table_resolver_new(f->arena, (struct pg_table_resolver_options){
                                                      .endpoint = t->target,
                                                      .application_name = task_session_name(f->arena, t, "resolver"),
                                                      .encoding = t->source_facts.encoding,
                                                      .stop = t->stream_stop,
                                                  });
    f->source_rows = open_source_rows(f);
    f->apply = apply_new(f->arena, pg_target_port(f->target),
                         (struct apply_options){
                             .on_conflict = t->options->on_conflict,
                             .decisions = decisions_of(f),
                             .source = pg_source_rows_port(f->source_rows),
                             .lanes = f->lanes,
                         });
    f->feeder =
        feeder_new(f->arena, pgoutput_decoder(f->arena), (struct table_resolver){.table = resolve_table, .self = f});
    feeder_set_dml(f->feeder, t->record->dml);
    if (t->record->has_ddl)
        feeder_set_ddl(f->feeder, ddl_capture_table(f->arena, t->record->id), task_gate(t, TASK_STRUCTURE));
    for (unsigned i = 0; i < WINDOWS; i++)
        f->windows[i] = window_new(f->arena, (struct window_limits){.lanes = f->n_lanes});
    return NULL;
}

static void follow_close(struct follow *f)
{
    pg_table_resolver_close(f->resolver);
    pg_source_rows_close(f->source_rows);
    pg_target_close(f->target);
    for (unsigned i = 1; i < f->n_lanes; i++)
        pg_target_close(f->others[i]);
    lane_threads_stop(f->lane_threads);
    lane_rules_close(f->lane_rules);
}

static struct error *follow(struct follow *f)
{
    TRY(stopped_read(f->arena, f->task->folder, &f->stopped));
    struct error *err = follow_open(f, f->task);
    if (err == NULL)
        err = follow_for_ever(f);
    if (f->apply != NULL)
        note_stop(f, err);
    follow_close(f);
    return err;
}

struct error *follow_run(void *self)
{
    struct task *t = self;
    struct follow f = {.task = t, .arena = arena_new(NULL, "follow")};

    struct error *err = follow(&f);
    arena_free(f.arena);
    task_fail(t, err == NULL ? NULL : error_wrap(err, "applying changes"));
    return NULL;
}
