/* One sync from its first connection to its end. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/json.h"
#include "control/server.h"
#include "control/status.h"
#include "pg/precheck.h"
#include "pg/snapshot.h"
#include "sync/commit_log.h"
#include "sync/pace.h"
#include "sync/spool.h"
#include "worker/align.h"
#include "worker/begin.h"
#include "worker/conflicts.h"
#include "worker/drift.h"
#include "worker/fence.h"
#include "worker/finish.h"
#include "worker/follow.h"
#include "worker/full.h"
#include "worker/given.h"
#include "worker/hold.h"
#include "worker/once.h"
#include "worker/prepare.h"
#include "worker/selecting.h"
#include "worker/stopped.h"
#include "worker/worker.h"

enum { TICK_MS = 200, WAIT_MS = 200 };

/* ---- the orchestrator ---- */

/* Until everything before `upto` is applied. */
MUST_USE static struct error *wait_applied(struct task *t, struct lsn upto)
{
    atomic_store(&t->awaited_lsn, upto.value); /* before the look: who applies looks here after */
    while (atomic_load(&t->counters->applied_lsn) < upto.value && !atomic_load(&t->is_at_until)) {
        TRY(stop_check(t->stop));
        wake_wait(t->events, t->stop, WAIT_MS);
    }
    atomic_store(&t->awaited_lsn, 0);
    return stop_check(t->stop);
}

/* A marker, so that it ends also when the source is idle. */
MUST_USE static struct error *catch_up(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct lsn mark;

    TRY(task_connect_source(t, "marker", t->stop, &source));
    TRY(task_mark(source, &mark));
    return wait_applied(t, mark);
}

/* Up to what was committed when the start was prepared. */
MUST_USE static struct error *catch_up_first(struct task *t)
{
    return lsn_is_none(t->mark) ? catch_up(t) : wait_applied(t, t->mark);
}

MUST_USE static struct error *wait_until_position(struct task *t)
{
    while (!atomic_load(&t->is_at_until) && !atomic_load(&t->stop_asked)) {
        TRY(stop_check(t->stop));
        wake_wait(t->events, t->stop, WAIT_MS);
    }
    return NULL;
}

MUST_USE static struct error *wait_for_stop(struct task *t)
{
    do {
        while (!atomic_load(&t->stop_asked)) {
            TRY(stop_check(t->stop));
            wake_wait(t->events, t->stop, WAIT_MS);
        }
        TRY(catch_up(t));
    } while (!fence_lets_stop(t));
    return NULL;
}

/* Until what the user asked for is reached. */
MUST_USE static struct error *follow_until(struct task *t)
{
    progress_set_phase(t->progress, PHASE_INCREMENTAL);
    log_info("following: changes are applied as they are committed on the source");
    switch (t->options->until) {
    case UNTIL_CAUGHT_UP:
        return catch_up(t);
    case UNTIL_LSN:
        return wait_until_position(t);
    case UNTIL_FOREVER:
        return wait_for_stop(t);
    }
    return NULL;
}

/* What was received in whole, was applied in whole: counted apart, by the spool and by the target. */
MUST_USE static struct error *compare_counts(const struct task *t)
{
    uint64_t received = spool_transactions(t->spool);
    uint64_t applied = atomic_load(&t->counters->transactions_applied);

    if (t->record->counts_are_lost || atomic_load(&t->counters->applied_lsn) < spool_end(t->spool).value ||
        received == applied)
        return NULL;
    return error_hint(
        error_new(ERROR_BUG, "%" PRIu64 " transactions were received but %" PRIu64 " were applied", received, applied),
        "Do not use the target before both sides were compared. Nothing was removed. Please report this with "
        "the log in the state folder.");
}

MUST_USE static struct error *check_until(const struct task *t)
{
    struct lsn until = {atomic_load(&t->until_lsn)};

    if (lsn_is_none(until) || until.value >= atomic_load(&t->consistent_lsn))
        return NULL;
    return error_hint(
        error_new(ERROR_CONFIG, "--until %s lies before the snapshot that was copied, which ends at %s",
                  lsn_format(until).text, lsn_format((struct lsn){atomic_load(&t->consistent_lsn)}).text),
        "The target holds later changes already. Choose a position from now on; \"pgtide status\" shows them.");
}

MUST_USE static struct error *run_phases(struct task *t)
{
    TRY(begin_and_copy(t));
    TRY(check_until(t));
    progress_set_phase(t->progress, PHASE_CATCH_UP);
    TRY(thread_start("feeder", follow_run, t, &t->follower));
    if (lsn_is_none((struct lsn){atomic_load(&t->until_lsn)}))
        TRY(catch_up_first(t));
    TRY(wait_applied(t, (struct lsn){atomic_load(&t->consistent_lsn)}));
    TRY(full_objects(t));
    TRY(follow_until(t));
    progress_set_phase(t->progress, PHASE_STOPPING);
    begin_end_stream(t);
    TRY(stop_check(t->stop));
    TRY(compare_counts(t));
    return finish_run(t);
}

static struct error *orchestrate(void *self)
{
    struct task *t = self;
    struct error *err = NULL;

    if (t->record->is_stopping) {
        log_info("finishing an interrupted stop: removing what is left on the servers");
        progress_set_phase(t->progress, PHASE_STOPPING);
        err = finish_again(t);
    } else if (t->record->is_once) {
        err = once_run(t);
    } else {
        err = run_phases(t);
    }
    if (err == NULL)
        progress_set_phase(t->progress, PHASE_COMPLETED);
    task_fail(t, err);
    begin_end_stream(t);
    wake_ring(t->ended);
    return NULL;
}

/* ---- the control socket ---- */

static json_t *status_of(struct task *t)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "status");
    bool has_record = atomic_load(&t->has_record); /* not yet during the precheck */
    const struct status_facts facts = {
        .state = STATUS_RUNNING,
        .pid = (int)getpid(),
        .task = has_record ? t->record->id : NULL,
        .source = pg_endpoint_name(t->source),
        .target = pg_endpoint_name(t->target),
        .slot = has_record && !t->record->is_once ? t->record->slot : NULL,
        .publication = has_record && !t->record->is_once ? t->record->publication : NULL,
        .state_folder = t->folder,
        .problem = hold_problem(t, scratch),
        .selection = has_record ? t->selection_rules : NULL,
        .with_dependencies = t->selects_dependencies,
        .n_selected = t->n_selected,
    };
    struct meter_reading reading = meter_read(&t->meter, t->progress);

    return status_document(&facts, t->progress, &reading);
}

static json_t *view_document(const struct align_view *v)
{
    return json_pack("{s:b, s:s, s:s, s:o, s:i, s:I}", "ready", (int)v->is_ready, "source_snapshot", v->source_snapshot,
                     "target_snapshot", v->target_snapshot, "position", json_lsn(v->position), "tries", (int)v->tries,
                     "pause_us", (json_int_t)v->pause_us);
}

/* "align" asks for both sides at one position, "aligned" whether they are there, "align-release" ends it (worker/compare). */
static struct error *handle_align(struct task *t, const char *command, json_t *request, json_t **out_reply)
{
    struct align_view view;
    int64_t pause_us;

    if (strcmp(command, "align-release") == 0) {
        align_release(t->align, &pause_us);
        *out_reply = json_pack("{s:I}", "pause_us", (json_int_t)pause_us);
        return NULL;
    }
    if (strcmp(command, "align") == 0)
        TRY(align_begin(t->align, json_is_true(json_object_get(request, "hold"))));
    TRY(align_poll(t->align, &view));
    *out_reply = view_document(&view);
    return NULL;
}

static struct error *handle_speed(struct task *t, json_t *request, json_t **out_reply)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "speed");
    const char *text = json_string_value(json_object_get(request, "rate"));
    struct rate_plan plan;

    TRY(rate_plan_parse(text == NULL ? "" : text, &plan));
    pace_set(t->pace, &plan);
    log_info("the copy's limit of speed is now, in MB/s: %s", rate_plan_format(scratch, &plan));
    *out_reply = json_pack("{s:s}", "max_rate", rate_plan_format(scratch, &plan));
    return NULL;
}

/* Applying waits between two transactions; receiving goes on. */
static struct error *handle_pause(struct task *t, bool is_paused, json_t **out_reply)
{
    TRY(pause_set(t, is_paused));
    log_info(is_paused ? "applying is paused: what the source commits waits in the spool" : "applying goes on");
    *out_reply = json_object();
    return NULL;
}

static struct error *handle(void *self, const char *command, json_t *request, json_t **out_reply)
{
    struct task *t = self;

    if (strncmp(command, "align", strlen("align")) == 0)
        return handle_align(t, command, request, out_reply);
    if (strcmp(command, "status") == 0) {
        *out_reply = status_of(t);
        return NULL;
    }
    if (strcmp(command, "speed") == 0)
        return handle_speed(t, request, out_reply);
    if (strcmp(command, "pause") == 0 || strcmp(command, "unpause") == 0)
        return handle_pause(t, strcmp(command, "pause") == 0, out_reply);
    if (strcmp(command, "decide") == 0) {
        *out_reply = json_object();
        return hold_decide(t, request);
    }
    if (strcmp(command, "fence") == 0)
        return fence_look(t, out_reply);
    if (strcmp(command, "stop") == 0) {
        log_info("a normal stop was asked for: what is committed now is applied first");
        TRY(fence_set(t, request));
        TRY(pause_set(t, false));
        atomic_store(&t->stop_asked, true);
        wake_ring(t->news);
        wake_ring(t->events);
        *out_reply = json_object();
        return NULL;
    }
    return error_new(ERROR_USAGE, "there is no command \"%s\"", command);
}

static void sample(void *self)
{
    struct task *t = self;

    atomic_store(&t->counters->max_rate_mb, pace_now(t->pace));
    meter_sample(&t->meter, t->progress);
}

/* ---- the main thread ---- */

/* It stays what it was, also after a crash; and says so, or one would look for why nothing is applied. */
MUST_USE static struct error *take_up_pause(const struct task *t)
{
    bool is_paused = false;

    TRY(pause_read(t->folder, &is_paused));
    if (is_paused)
        log_warn("applying is paused, as it was before; \"pgtide resume\" goes on");
    atomic_store(&t->counters->is_paused, is_paused);
    return NULL;
}

/* What the task was begun with stays: changes that were left out cannot be had any more. */
MUST_USE static struct error *check_dml(const struct task *t)
{
    if (t->options->dml == 0 || t->options->dml == t->record->dml)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "this synchronization was begun with another --dml"),
                      "Leave the option out: the kinds of changes that it was begun with are carried on. Others need a "
                      "\"pgtide stop\" and a new start.");
}

/* What was not dumped, and not captured since, cannot be had any more. Without the option it goes on as it was begun. */
MUST_USE static struct error *check_publications(const struct task *t)
{
    if (!t->options->with_publications || t->record->has_publications)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "this synchronization was begun without --with-publications"),
                      "Leave the option out to go on. To carry publications, too, it needs a \"pgtide stop\" and a new "
                      "start.");
}

/* (P6) */
MUST_USE static struct error *refuse_reset(const struct task *t)
{
    if (t->record->reset_reason == NULL)
        return NULL;
    return error_hint(
        error_new(ERROR_HISTORY, "history broken: %s", t->record->reset_reason),
        "What was committed on the source since then cannot be had. Run \"pgtide stop --force\", empty the target, "
        "and synchronize again.");
}

/* A sync that follows has a slot to give back. What an interrupted copy was begun as it stays, whatever is said. */
MUST_USE static struct error *check_type(const struct task *t)
{
    if (t->record->is_once)
        log_info("this copy was begun with --type full: it ends by itself");
    bool is_same = t->options->type == SYNC_FULL          ? t->record->is_once
                   : t->options->type == SYNC_INCREMENTAL ? t->record->has_no_copy
                                                          : true;
    if (is_same)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "this synchronization was begun with another --type"),
                      "Leave the option out to go on. Another type needs a \"pgtide stop\" and a new start.");
}

MUST_USE static struct error *open_record(struct task *t)
{
    struct selection *selection = NULL;
    struct chosen *chosen = NULL;

    if (prepare_finds_task(t)) {
        TRY(refuse_reset(t));
        TRY(check_type(t));
        TRY(check_dml(t));
        TRY(check_publications(t));
        TRY(given_compare(t));
        TRY(selecting_compare(t));
        TRY(take_up_pause(t));
        log_info("going on with task %s, %s", t->record->id, t->pair);
        return NULL;
    }
    TRY(selecting_parse(t->arena, t->options, &selection));
    CLEANUP(arena_free) struct arena *precheck = arena_new(NULL, "precheck");
    /* What is chosen lives as long as the task. */
    TRY(prepare_check(t, selection != NULL ? t->arena : precheck, selection, &chosen));
    TRY(folder_remove(arena_printf(t->arena, "%s/spool", t->folder)));
    TRY(folder_remove(arena_printf(t->arena, "%s/schema", t->folder)));
    TRY(conflicts_forget(t->folder));
    TRY(stopped_forget(t->folder));
    TRY(pause_forget(t->folder));
    TRY(drift_forget(t->folder));
    TRY(file_remove(progress_left_out_file(t->progress)));
    TRY(task_record_new(t->arena, pg_endpoint_name(t->source), pg_endpoint_name(t->target), &t->record));
    if (t->options->dml != 0)
        t->record->dml = t->options->dml;
    TRY(selecting_begin(t, selection, chosen));
    if (t->options->type == SYNC_FULL) {
        t->record->is_once = true;
        t->record->owns_slot = t->record->owns_publication = false;
    }
    t->record->has_no_copy = t->options->type == SYNC_INCREMENTAL;
    t->record->has_publications = t->options->with_publications;
    TRY(given_take(t));
    TRY(task_record_write(t->folder, t->record)); /* (R1) */
    log_info("beginning task %s, %s", t->record->id, t->pair);
    return NULL;
}

MUST_USE static struct error *open_task(struct task *t)
{
    TRY(precheck_names_known(t->options));
    TRY(pg_endpoint_parse(t->arena, "source", t->options->source, &t->source));
    TRY(pg_endpoint_parse(t->arena, "target", t->options->target, &t->target));
    t->pair = arena_printf(t->arena, "%s to %s", pg_endpoint_name(t->source), pg_endpoint_name(t->target));
    t->folder =
        task_folder_path(t->arena, t->options->state_dir, pg_endpoint_key(t->source), pg_endpoint_key(t->target));
    TRY(task_folder_lock(t->arena, t->folder, t->pair, &t->lock));
    TRY(log_open(arena_printf(t->arena, "%s/log", t->folder)));
    progress_set_left_out_file(t->progress, arena_printf(t->arena, "%s/left-out.sql", t->folder));
    TRY(task_record_read(t->arena, t->folder, &t->record));
    TRY(stop_new(&t->stream_stop));
    TRY(wake_new(&t->news));
    TRY(wake_new(&t->ended));
    t->commits = commit_log_new(t->arena, 0);
    t->align = align_new(t->arena, t);
    t->pace = pace_new(t->arena, &t->options->max_rate);
    return wake_new(&t->events);
}

/* The user's stop reaches all; the display is drawn; until the orchestrator has ended. */
static void watch(struct task *t, struct stop *stop, const struct thread *orchestrator)
{
    while (!thread_ended(orchestrator)) {
        if (t->hooks.tick != NULL)
            t->hooks.tick(t->hooks.self);
        if (stop_requested(stop)) {
            stop_request(t->stop);
            stop_request(t->stream_stop);
            wake_ring(t->events);
            wake_ring(t->news);
        }
        wake_wait(t->ended, NULL, TICK_MS);
    }
    if (t->hooks.tick != NULL)
        t->hooks.tick(t->hooks.self);
}

MUST_USE static struct error *run_task(struct task *t, struct stop *stop)
{
    CLEANUP(control_server_stop) struct control_server *server = NULL;
    struct thread *orchestrator = NULL;

    TRY(open_task(t));
    /* Before the precheck: who waits for this sync finds it from its first moment on. */
    TRY(control_server_start(t->folder, (struct control_handler){.self = t, .handle = handle, .tick = sample},
                             &server));
    TRY(open_record(t));
    TRY(ended_forget(t->folder));
    TRY(left_out_open(progress_left_out_file(t->progress), &t->counters->statements_left_out, &t->left_out));
    atomic_store(&t->has_record, true);
    atomic_store(&t->counters->is_once, t->record->is_once);
    atomic_store(&t->until_lsn, t->options->until == UNTIL_LSN ? t->options->until_lsn.value : 0);
    TRY(thread_start("orchestrator", orchestrate, t, &orchestrator));
    watch(t, stop, orchestrator);
    TRY(thread_join(orchestrator));
    TRY(task_take_failure(t));
    return progress_phase(t->progress) == PHASE_COMPLETED
               ? NULL
               : error_hint(error_new(ERROR_CANCELLED, "the synchronization of %s was interrupted", t->pair),
                            "The same command goes on where it was.%s%s%s",
                            t->record->is_once ? "" : " Until then the source keeps WAL for slot \"",
                            t->record->is_once ? "" : t->record->slot, t->record->is_once ? "" : "\".");
}

static void free_task(struct task *t)
{
    if (t->align != NULL)
        align_close(t->align);
    pg_snapshot_release(t->holder);
    pg_conn_close(t->guard);
    pg_conn_close(t->control);
    spool_close(t->spool);
    wake_free(t->news);
    wake_free(t->events);
    wake_free(t->ended);
    stop_free(t->stream_stop);
    stop_free(t->stop);
    left_out_close(t->left_out);
    file_lock_release(t->lock);
    error_free(task_take_failure(t));
    free(t->held_cause);
    free(t->retry_cause);
    pthread_mutex_destroy(&t->mutex);
    arena_free(t->arena);
}

struct error *worker_sync(const struct sync_options *options, struct progress *progress, struct stop *stop,
                          struct worker_hooks hooks)
{
    struct task t = {
        .arena = arena_new(NULL, "task"),
        .options = options,
        .hooks = hooks,
        .progress = progress,
        .counters = progress_counters(progress),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
    };

    struct error *err = stop_new(&t.stop);
    if (err == NULL)
        err = run_task(&t, stop);
    if (err != NULL && error_kind(err) != ERROR_CANCELLED && atomic_load(&t.has_record))
        ended_note(t.folder, error_message(err));
    free_task(&t);
    return err;
}
