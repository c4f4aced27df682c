#include "worker/cutover.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/counted.h"
#include "base/fault.h"
#include "base/log.h"
#include "control/json.h"
#include "model/compare.h"
#include "pg/large_objects.h"
#include "pg/sequence.h"
#include "pg/sql.h"
#include "sys/thread.h"
#include "worker/compare.h"
#include "worker/cutover_check.h"
#include "worker/freeze.h"
#include "worker/selecting.h"
#include "worker/task.h"
#include "worker/worker.h"

enum { POLL_MS = 20, FOLLOW_POLL_MS = 100 };

struct cutover {
    struct arena *arena;
    const struct sync_options *sync;
    const struct cutover_options *options;
    struct cutover_hooks hooks;
    struct stop *stop;
    struct cutover_report *report;
    struct pair pair;
    struct file_lock *lock;
    struct freeze freeze;
    struct pg_conn *source;
    struct pg_conn *target;
    json_int_t sync_pid;
    struct stop *patience;   /* never requested: for what must not be left in the middle */
    struct lsn mark;         /* the fence, once it is written */
    int64_t silent_since_us; /* nobody can write; 0: they can */

    /* A sync of our own where none ran */
    struct thread *thread;
    struct stop *thread_stop;
    struct progress *progress;
};

/* ---- the sync that is asked ---- */

static const char *text_of(const json_t *document, const char *member)
{
    return json_string_value(json_object_get(document, member));
}

static struct lsn lsn_of(const json_t *document, const char *member)
{
    const char *text = text_of(document, member);
    struct lsn at;

    return text != NULL && lsn_parse(text, &at) ? at : LSN_NONE;
}

MUST_USE static struct error *sync_is_gone(struct cutover *c)
{
    return error_hint(error_new(ERROR_CONFIG, "the sync of %s ended while it was cut over", c->pair.name),
                      "\"%s/log\" says why. Run the same command again.", c->pair.folder);
}

/* Another process would not know what the one before it saw. */
static bool is_the_same_sync(const struct cutover *c, const json_t *reply)
{
    return json_integer_value(json_object_get(reply, "pid")) == c->sync_pid;
}

/* The state of the fence in the sync (worker/fence.h). */
MUST_USE static struct error *look_at_sync(struct cutover *c, json_t **out_reply)
{
    TRY(pair_ask(&c->pair, "fence", NULL, out_reply));
    return is_the_same_sync(c, *out_reply) ? NULL : sync_is_gone(c);
}

static struct error *run_own_sync(void *self)
{
    struct cutover *c = self;

    return worker_sync(c->sync, c->progress, c->thread_stop, (struct worker_hooks){.self = NULL});
}

/* Its error says more than its being gone. */
MUST_USE static struct error *end_own_sync(struct cutover *c)
{
    if (c->thread == NULL)
        return NULL;
    stop_request(c->thread_stop);
    struct error *err = thread_join(TAKE(c->thread));
    if (err != NULL && error_kind(err) == ERROR_CANCELLED) {
        error_free(err);
        return NULL;
    }
    return err;
}

MUST_USE static struct error *start_own_sync(struct cutover *c)
{
    log_info("no sync of %s runs: going on with it here", c->pair.name);
    TRY(stop_new(&c->thread_stop));
    c->progress = progress_new(c->arena);
    return thread_start("sync", run_own_sync, c, &c->thread);
}

/* *out_status is NULL when none runs. */
MUST_USE static struct error *wait_following(struct cutover *c, json_t **out_status)
{
    for (;;) {
        CLEANUP(json_decref) json_t *status = NULL;

        TRY(pair_ask(&c->pair, "status", NULL, &status));
        const char *phase = text_of(status, "phase");
        if (phase != NULL && strcmp(phase, phase_name(PHASE_INCREMENTAL)) == 0) {
            *out_status = TAKE(status);
            return NULL;
        }
        if (strcmp(text_of(status, "state") == NULL ? "" : text_of(status, "state"), "paused") ==
            0) /* it would stay so */
            return error_hint(error_new(ERROR_CONFIG, "applying is paused"),
                              "\"pgtide resume\" goes on; then give the cutover again.");
        if (thread_ended(c->thread)) {
            TRY(end_own_sync(c));
            return sync_is_gone(c);
        }
        if (stop_wait_ms(c->stop, FOLLOW_POLL_MS))
            return stop_check(c->stop);
    }
}

/* A dry run starts nothing. */
MUST_USE static struct error *find_sync(struct cutover *c, json_t **out_status)
{
    TRY(pair_ask(&c->pair, "status", NULL, out_status));
    if (*out_status == NULL && !c->options->is_dry_run) {
        TRY(start_own_sync(c));
        TRY(wait_following(c, out_status));
    }
    c->sync_pid = json_integer_value(json_object_get(*out_status, "pid"));
    return NULL;
}

/* ---- steps ---- */

static void step_detail(struct cutover *c, enum cutover_step step, const char *detail)
{
    c->report->steps[step].detail = detail;
}

MUST_USE static struct error *check_time(struct cutover *c)
{
    int64_t us = c->silent_since_us == 0 ? 0 : clock_now_us() - c->silent_since_us;

    if (c->options->downtime_s > 0 && us > (int64_t)c->options->downtime_s * 1000000)
        return error_hint(
            error_new(ERROR_TRANSIENT, "nobody could write for longer than --max-downtime %u", c->options->downtime_s),
            "The report shows which step took how long. \"pgtide compare\" before the cutover and --compare "
            "none in it save the comparison's time.");
    return stop_check(c->stop);
}

MUST_USE static struct error *step_analyze(struct cutover *c)
{
    return pg_execute(c->target, "analyzing the target", "ANALYZE");
}

MUST_USE static struct error *step_freeze(struct cutover *c)
{
    c->silent_since_us = clock_now_us();
    TRY(freeze_begin(&c->freeze, c->source));
    const char *ended = counted(c->arena, c->freeze.n_ended, "session ended", "sessions ended");
    const char *locked = counted(c->arena, c->freeze.n_locked, "table locked", "tables locked");
    step_detail(c, CUTOVER_FREEZE,
                c->freeze.why_not_locked == NULL
                    ? arena_printf(c->arena, "%s, %s", ended, locked)
                    : arena_printf(c->arena, "%s, no locks: %s", ended, c->freeze.why_not_locked));
    return NULL;
}

/* (C2) Whoever writes behind the marker takes the cutover's ground away. */
MUST_USE static struct error *breach(struct cutover *c, struct lsn change)
{
    return error_hint(error_new(ERROR_CONFIG, "the source was written to at %s, behind the marker at %s",
                                lsn_format(change).text, lsn_format(c->mark).text),
                      c->options->freeze
                          ? "A session sets its transactions to read-write by itself and the tables could not be "
                            "locked. Stop that application first."
                          : "Stop the application first, or freeze the source with --freeze.");
}

MUST_USE static struct error *check_fence(struct cutover *c, struct lsn *out_applied)
{
    CLEANUP(json_decref) json_t *reply = NULL;

    TRY(check_time(c));
    TRY(freeze_check(&c->freeze));
    TRY(look_at_sync(c, &reply));
    struct lsn change = lsn_of(reply, "last_change");
    if (!lsn_before(change, c->mark))
        return breach(c, change);
    *out_applied = lsn_of(reply, "applied");
    return NULL;
}

/* All that is committed on the source now is applied, and it is no change of rows. */
MUST_USE static struct error *pass_marker(struct cutover *c, bool is_fence)
{
    struct lsn mark, applied = LSN_NONE;

    TRY(task_mark(c->source, &mark));
    if (is_fence)
        c->mark = mark;
    for (;;) {
        TRY(check_fence(c, &applied));
        if (!lsn_before(applied, mark))
            return NULL;
        stop_wait_ms(c->stop, POLL_MS);
    }
}

/* WAL is flushed in order: what was committed before this, without waiting for the disk, is on it afterwards. */
MUST_USE static struct error *flush_target(struct cutover *c)
{
    return pg_execute(c->target, "waiting for the target's disk",
                      "BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_catalog.txid_current(); COMMIT");
}

MUST_USE static struct error *step_marker(struct cutover *c)
{
    if (c->silent_since_us == 0)
        c->silent_since_us = clock_now_us();
    TRY(pass_marker(c, true));
    FAULT_POINT("cutover.marked");
    TRY(flush_target(c));
    c->report->position = arena_strdup(c->arena, lsn_format(c->mark).text);
    step_detail(c, CUTOVER_MARKER, arena_printf(c->arena, "everything before %s is applied", c->report->position));
    return NULL;
}

MUST_USE static struct error *step_sequences(struct cutover *c)
{
    struct sequence *sequences = NULL;
    struct chosen *chosen = NULL;
    unsigned n = 0;

    TRY(selecting_of(c->pair.record, c->pair.folder, c->source, c->arena, &chosen));
    TRY(sequence_read(c->source, c->arena, chosen_filter(chosen), &sequences, &n));
    TRY(sequence_write(c->target, c->arena, sequences, n));
    FAULT_POINT("cutover.sequences_set");
    step_detail(c, CUTOVER_SEQUENCES, arena_printf(c->arena, "%u sequence%s", n, n == 1 ? "" : "s"));
    return NULL;
}

/* The stop does it again: it removes what the source has not, where the target was empty before us, and tells what is left out. */
MUST_USE static struct error *step_large_objects(struct cutover *c)
{
    struct large_object_counts counts = {0};

    if (c->pair.record != NULL && c->pair.record->is_selected) {
        step_detail(c, CUTOVER_LARGE_OBJECTS, "not part of a selection");
        return NULL;
    }
    TRY(pg_execute(c->source, "beginning to read", "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    TRY(large_objects_sync(c->source, c->target, false, NULL, (struct large_object_watch){.page_done = NULL}, &counts));
    TRY(pg_execute(c->source, "ending the snapshot", "COMMIT"));
    step_detail(c, CUTOVER_LARGE_OBJECTS,
                arena_printf(c->arena, "%" PRIu64 " of %" PRIu64 " copied again", counts.copied, counts.seen));
    return NULL;
}

/* Those that are populated on the source, in the order in which they read each other. */
MUST_USE static struct error *step_matviews(struct cutover *c)
{
    struct pg_rows views;
    struct chosen *chosen = NULL;

    TRY(selecting_of(c->pair.record, c->pair.folder, c->source, c->arena, &chosen));
    TRY(pg_query(c->source, c->arena, "listing the materialized views", sql_matviews, NULL, 0, &views));
    chosen_filter_rows(chosen, &views, 2);
    for (unsigned i = 0; i < views.n_rows; i++) {
        const char *name = pg_quote_name(c->arena, views.rows[i][0], views.rows[i][1]);

        TRY(check_time(c));
        TRY(pg_execute_format(c->target, "refreshing a materialized view", "REFRESH MATERIALIZED VIEW %s; ANALYZE %s",
                              name, name));
        FAULT_POINT("cutover.matview_refreshed");
    }
    step_detail(c, CUTOVER_MATVIEWS, arena_printf(c->arena, "%u refreshed", views.n_rows));
    return NULL;
}

MUST_USE static struct error *not_equal(struct cutover *c, const struct compare_result *r)
{
    const char *first = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < r->n_entries; i++) {
        const struct compare_entry *e = r->entries[i];

        if (e->verdict == VERDICT_EQUAL)
            continue;
        first = first == NULL ? e->name : first;
        n++;
    }
    if (first == NULL)
        return stop_check(c->stop);
    return error_hint(
        error_new(ERROR_DATA, "both sides are not equal, or could not be compared: %s%s", first,
                  n == 1 ? "" : arena_printf(c->arena, " and %u more", n - 1)),
        "\"pgtide compare\" of the pair shows every difference, with --repair it mends them; then cut over "
        "again.");
}

MUST_USE static struct error *step_compare(struct cutover *c)
{
    struct compare_options options = {.kinds[COMPARE_VALUES] = true};
    struct compare_progress progress = {0};
    struct compare_result result = {0};

    struct sync_options sync = *c->sync;

    if (c->options->compare_rules != NULL)
        sync.select = c->options->compare_rules;
    TRY(worker_compare(&sync, &options, (struct compare_sink){.self = NULL}, &progress, c->arena, c->stop, &result));
    if (compare_verdict(&result) != VERDICT_EQUAL)
        return not_equal(c, &result);
    FAULT_POINT("cutover.compared");
    step_detail(c, CUTOVER_COMPARE,
                arena_printf(c->arena, "%s, %s, all equal", counted(c->arena, result.n_entries, "table", "tables"),
                             counted(c->arena, atomic_load(&progress.rows), "row", "rows")));
    return NULL;
}

/* True when the sync has ended in the ordinary way. */
MUST_USE static struct error *is_stopped(struct cutover *c, bool *out_stopped)
{
    CLEANUP(json_decref) json_t *reply = NULL;
    struct task_record *record = NULL;
    struct error *err = pair_ask(&c->pair, "fence", NULL, &reply);

    /* It may end while it is asked. */
    if (err != NULL && error_kind(err) != ERROR_TRANSIENT)
        return err;
    error_free(err);
    *out_stopped = false;
    if (json_is_true(json_object_get(reply, "stop_refused")))
        return breach(c, lsn_of(reply, "last_change"));
    if (reply != NULL && !is_the_same_sync(c, reply))
        return sync_is_gone(c);
    if (reply != NULL || err != NULL)
        return NULL;
    TRY(task_record_read(c->arena, c->pair.folder, &record));
    *out_stopped = record != NULL && record->is_completed;
    return *out_stopped ? NULL : sync_is_gone(c);
}

/* Undone now, the source would be written to while the sync ends: who wants to stop us here has to wait. */
MUST_USE static struct error *wait_stopped(struct cutover *c)
{
    bool stopped = false, is_told = false;

    while (!stopped) {
        TRY(is_stopped(c, &stopped));
        if (!stopped && !is_told && stop_requested(c->stop)) {
            log_info("the sync has been asked to stop and is waited for");
            is_told = true;
        }
        if (!stopped)
            stop_wait_ms(c->patience, POLL_MS);
    }
    return NULL;
}

/*
 * (C2) Before it is asked, all is looked at once more; the sync looks itself when everything is applied. From there on there
 * is no way back: what is left is removing, which the next call does when we die.
 */
MUST_USE static struct error *step_stop(struct cutover *c)
{
    CLEANUP(json_decref) json_t *arguments = json_pack("{s:o}", "fence", json_lsn(c->mark));
    CLEANUP(json_decref) json_t *reply = NULL;

    TRY(pass_marker(c, false));
    FAULT_POINT("cutover.before_stop");
    c->freeze.record.is_ending = true;
    TRY(freeze_write(c->pair.folder, &c->freeze.record));
    TRY(pair_ask(&c->pair, "stop", arguments, &reply));
    if (reply == NULL)
        return sync_is_gone(c);
    FAULT_POINT("cutover.stop_asked");
    TRY(wait_stopped(c));
    FAULT_POINT("cutover.stopped");
    c->freeze.record.is_completed = true;
    return freeze_write(c->pair.folder, &c->freeze.record);
}

static struct error *(*const step_runs[CUTOVER_STEP_COUNT])(struct cutover *) = {
    [CUTOVER_ANALYZE] = step_analyze,
    [CUTOVER_FREEZE] = step_freeze,
    [CUTOVER_MARKER] = step_marker,
    [CUTOVER_SEQUENCES] = step_sequences,
    [CUTOVER_LARGE_OBJECTS] = step_large_objects,
    [CUTOVER_MATVIEWS] = step_matviews,
    [CUTOVER_COMPARE] = step_compare,
    [CUTOVER_STOP] = step_stop,
};

static void plan(struct cutover *c)
{
    const bool wanted[CUTOVER_STEP_COUNT] = {
        [CUTOVER_ANALYZE] = true,
        [CUTOVER_FREEZE] = c->options->freeze,
        [CUTOVER_MARKER] = true,
        [CUTOVER_SEQUENCES] = true,
        [CUTOVER_LARGE_OBJECTS] = true,
        [CUTOVER_MATVIEWS] = c->options->refresh_matviews,
        [CUTOVER_COMPARE] = c->options->compares,
        [CUTOVER_STOP] = true,
    };

    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++)
        c->report->steps[s] = (struct cutover_step_report){.state = wanted[s] ? CUTOVER_PLANNED : CUTOVER_LEFT_OUT};
}

static void tell(struct cutover *c, enum cutover_step step)
{
    if (c->hooks.stepped != NULL)
        c->hooks.stepped(c->hooks.self, c->report, step);
}

MUST_USE static struct error *run_step(struct cutover *c, enum cutover_step step)
{
    struct cutover_step_report *r = &c->report->steps[step];
    int64_t began_us = clock_now_us();

    if (r->state == CUTOVER_LEFT_OUT)
        return NULL;
    r->state = CUTOVER_RUNNING;
    tell(c, step);
    struct error *err = check_time(c);
    if (err == NULL)
        err = step_runs[step](c);
    r->elapsed_us = clock_now_us() - began_us;
    r->state = err == NULL ? CUTOVER_DONE : CUTOVER_FAILED;
    tell(c, step);
    return err == NULL ? NULL : error_wrap(err, "cutover, step %s", cutover_step_name(step));
}

MUST_USE static struct error *run_steps(struct cutover *c)
{
    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++)
        TRY(run_step(c, s));
    return NULL;
}

/* ---- the whole ---- */

/* What a dead cutover left is taken over by one that freezes too, else undone now. One that came to its end wanted its freeze. */
MUST_USE static struct error *take_over(struct cutover *c)
{
    struct freeze_record *record = &c->freeze.record;

    if (!record->is_frozen || record->is_completed || c->options->freeze || c->options->is_dry_run)
        return NULL;
    log_info("an earlier cutover did not come to its end: undoing its freeze of the source");
    return freeze_undo(c->arena, c->pair.source, c->pair.folder, record);
}

MUST_USE static struct error *connect_once(struct cutover *c, const struct pg_endpoint *e, struct pg_conn **out_conn)
{
    return pg_connect(e, (struct pg_connect_options){.application_name = "pgtide cutover", .stop = c->stop}, out_conn);
}

MUST_USE static struct error *look(struct cutover *c)
{
    CLEANUP(json_decref) json_t *status = NULL;

    TRY(pair_ask(&c->pair, "status", NULL, &status));
    TRY(cutover_check(&c->pair, c->source, c->options, status, c->arena, c->report));
    for (unsigned i = 0; i < c->report->n_items; i++)
        if (c->report->items[i].result == CHECK_FAILED)
            return error_hint(
                error_new(ERROR_REFUSED, "the cutover is refused: %s; nothing was changed", c->report->items[i].id),
                "Mend what the checklist says, then run the same command again.");
    return NULL;
}

MUST_USE static struct error *confirm(struct cutover *c)
{
    for (;;) {
        TRY(look(c));
        if (c->options->is_dry_run)
            return NULL;
        switch (c->hooks.confirm == NULL ? CUTOVER_GO_ON : c->hooks.confirm(c->hooks.self, c->report)) {
        case CUTOVER_GO_ON:
            return NULL;
        case CUTOVER_LOOK_AGAIN:
            continue;
        case CUTOVER_GIVE_UP:
            return error_new(ERROR_REFUSED, "the cutover was not confirmed: nothing was changed");
        }
    }
}

/* When the sync had begun to remove, nothing is left to be undone: the source stays frozen, the next call ends it. */
static bool is_past_return(struct cutover *c)
{
    struct task_record *record = NULL;
    CLEANUP(error_free) struct error *err = task_record_read(c->arena, c->pair.folder, &record);

    return err == NULL && record != NULL && (record->is_stopping || record->is_completed);
}

/* Whoever stops the sync from now on, it is not this cutover. */
MUST_USE static struct error *take_back_end(struct cutover *c)
{
    struct freeze_record *record = &c->freeze.record;

    if (!record->is_ending)
        return NULL;
    record->is_ending = false;
    return freeze_write(c->pair.folder, record);
}

/* Keeps the first error; one of undoing is added to it, because then something is left. */
MUST_USE static struct error *give_up(struct cutover *c, struct error *err)
{
    freeze_release_locks(&c->freeze);
    c->report->outcome = CUTOVER_LEFT_HALF;
    if (is_past_return(c))
        return error_hint(err, "Everything was applied and the stop had begun. Run the same command again to end it.");
    struct error *undo = take_back_end(c);
    if (undo == NULL && c->options->freeze)
        undo = freeze_undo(c->arena, c->pair.source, c->pair.folder, &c->freeze.record);
    c->report->is_frozen = c->freeze.record.is_frozen;
    if (undo == NULL) {
        c->report->outcome = CUTOVER_UNDONE;
        return err;
    }
    log_error(err, "the cutover failed");
    error_free(err);
    return undo;
}

MUST_USE static struct error *cut_over(struct cutover *c)
{
    c->freeze.record.task = c->pair.record->id;
    c->freeze.record.is_completed = false;
    struct error *err = run_steps(c);

    if (c->silent_since_us != 0)
        c->report->downtime_us = clock_now_us() - c->silent_since_us;
    if (err != NULL)
        return give_up(c, err);
    c->report->outcome = CUTOVER_COMPLETED;
    c->report->is_frozen = c->freeze.record.is_frozen;
    freeze_release_locks(&c->freeze);
    return NULL;
}

/* What was committed after a "pgtide stop" nobody has looked for, and nobody has frozen the source. */
MUST_USE static struct error *refuse_stopped(const struct cutover *c)
{
    const struct task_record *record = c->pair.record;

    return error_hint(
        error_new(ERROR_CONFIG, "the sync of %s was stopped, and not by a cutover, with everything applied up to %s",
                  c->pair.name, record->completed_at == NULL ? "an unknown position" : record->completed_at),
        "What was committed on the source since then is not on the target. Where that should be nothing, "
        "\"pgtide compare\" proves it; \"pgtide sync\" begins anew.");
}

/* The stop of an earlier cutover had begun: only removing is left (R1). */
MUST_USE static struct error *finish_earlier(struct cutover *c)
{
    const struct freeze_record *earlier = &c->freeze.record;

    if (!(earlier->is_ending || earlier->is_completed) || earlier->task == NULL ||
        strcmp(earlier->task, c->pair.record->id) != 0)
        return refuse_stopped(c);
    if (c->options->is_dry_run)
        return NULL;
    log_info("the sync of %s was stopped before: only what is left of it is removed", c->pair.name);
    if (!c->pair.record->is_completed)
        TRY(worker_sync(c->sync, progress_new(c->arena), c->stop, (struct worker_hooks){.self = NULL}));
    c->freeze.record.is_completed = true;
    TRY(freeze_write(c->pair.folder, &c->freeze.record));
    c->report->is_frozen = c->freeze.record.is_frozen;
    c->report->outcome = CUTOVER_COMPLETED;
    return NULL;
}

/* (C2) The marker cannot be written there, and nobody on a standby can keep its primary from writing. */
MUST_USE static struct error *refuse_standby(struct cutover *c)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    char *is_standby = NULL;

    TRY(connect_once(c, c->pair.source, &source));
    TRY(pg_query_text(source, c->arena, "asking whether the source is a standby", "SELECT pg_is_in_recovery()::text",
                      NULL, 0, &is_standby));
    if (strcmp(is_standby, "true") != 0)
        return NULL;
    return error_hint(error_new(ERROR_REFUSED,
                                "cannot cut over from a standby: the marker that proves that all is applied cannot be "
                                "written there, and neither can its primary be frozen"),
                      "Nothing was changed. End all that writes to the primary, read SELECT pg_current_wal_flush_lsn() "
                      "there, wait until "
                      "SELECT pg_last_wal_replay_lsn() on the standby has reached it, then run \"pgtide compare\" and "
                      "\"pgtide stop\": "
                      "it applies what the standby has replayed, sets sequences and removes the slot.");
}

/* Also of one that came to its end: the application goes back to the source. */
MUST_USE static struct error *undo_only(struct cutover *c)
{
    if (!c->freeze.record.is_frozen) {
        log_info("the source of %s is not frozen by a cutover: nothing is to be undone", c->pair.name);
        return NULL;
    }
    TRY(freeze_undo(c->arena, c->pair.source, c->pair.folder, &c->freeze.record));
    c->report->outcome = CUTOVER_UNDONE;
    return NULL;
}

MUST_USE static struct error *find_and_cut_over(struct cutover *c)
{
    CLEANUP(json_decref) json_t *status = NULL;

    TRY(find_sync(c, &status));
    TRY(connect_once(c, c->pair.source, &c->source));
    TRY(connect_once(c, c->pair.target, &c->target));
    TRY(confirm(c));
    return c->options->is_dry_run ? NULL : cut_over(c);
}

MUST_USE static struct error *run_cutover(struct cutover *c)
{
    struct freeze_record *record = NULL;

    TRY(stop_new(&c->patience));
    TRY(pair_open(c->arena, c->sync, c->stop, &c->pair));
    if (c->pair.record == NULL)
        return error_hint(error_new(ERROR_CONFIG, "nothing is known of a sync of %s", c->pair.name),
                          "Begin one with \"pgtide sync\". Is --state-dir the one the sync uses?");
    TRY(freeze_lock(c->arena, c->pair.folder, c->pair.name, &c->lock));
    c->freeze = (struct freeze){.arena = c->arena, .source = c->pair.source, .folder = c->pair.folder, .stop = c->stop};
    TRY(freeze_read(c->arena, c->pair.folder, &record));
    if (record != NULL)
        c->freeze.record = *record;
    if (c->options->undo)
        return undo_only(c);
    if (c->pair.record->is_stopping || c->pair.record->is_completed)
        return finish_earlier(c);
    c->freeze.record.is_ending = false; /* of one that died before the sync heard of it */
    TRY(refuse_standby(c));
    TRY(take_over(c));
    return find_and_cut_over(c);
}

/* Rules that cannot be read are known before anything is frozen. */
MUST_USE static struct error *read_rules(const struct sync_options *sync, const struct cutover_options *options,
                                         struct arena *a)
{
    struct sync_options rules = *sync;
    struct selection *selection = NULL;

    rules.select = options->compare_rules;
    return selecting_parse(a, &rules, &selection);
}

struct error *worker_cutover(const struct sync_options *sync, const struct cutover_options *options,
                             struct cutover_hooks hooks, struct arena *a, struct stop *stop, struct cutover_report *out)
{
    *out = (struct cutover_report){.outcome = CUTOVER_NOT_BEGUN};
    struct cutover c = {.arena = a, .sync = sync, .options = options, .hooks = hooks, .stop = stop, .report = out};

    TRY(read_rules(sync, options, a));
    plan(&c);
    struct error *err = run_cutover(&c);
    struct error *sync_err = end_own_sync(&c);
    if (err == NULL)
        err = TAKE(sync_err);
    error_free(sync_err);
    freeze_release_locks(&c.freeze);
    pg_conn_close(c.source);
    pg_conn_close(c.target);
    stop_free(c.thread_stop);
    stop_free(c.patience);
    file_lock_release(c.lock);
    return err;
}
