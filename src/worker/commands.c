/* The commands that look at a sync from outside: check, status, wait, stop. */
#include "base/clock.h"
#include "base/log.h"
#include "control/json.h"
#include "control/status.h"
#include "pg/ddl_statement.h"
#include "worker/finish.h"
#include "worker/freeze.h"
#include "worker/hold.h"
#include "worker/pair.h"
#include "worker/prepare.h"
#include "worker/selecting.h"
#include "worker/stopped.h"
#include "worker/worker.h"

enum {
    POLL_MS = 100,
    GRACE_MS = 3000, /* a sync that was started a moment ago may not listen yet */
};

/* ---- check ---- */

struct error *worker_check(const struct sync_options *options, bool fix, struct arena *a, struct stop *stop,
                           struct check_findings *out)
{
    struct pg_endpoint *source = NULL, *target = NULL;
    struct precheck_report report;
    struct selection *selection = NULL;
    struct check_findings found = {.n_repairs = 0};

    TRY(selecting_parse(a, options, &selection));
    TRY(pg_endpoint_parse(a, "source", options->source, &source));
    TRY(pg_endpoint_parse(a, "target", options->target, &target));
    const struct precheck_options about = {
        .source = source, .target = target, .sync = options, .selection = selection, .stop = stop};
    TRY(prepare_report(a, about, &report));
    if (fix) {
        TRY(precheck_mend(a, about, &report, &found.repairs, &found.n_repairs));
        if (found.n_repairs > 0)
            TRY(prepare_report(a, about, &report));
    }
    found.items = report.items;
    found.n_items = report.n_items;
    *out = found;
    return prepare_judge(a, &report);
}

/* ---- status ---- */

/* It came to its end: what was counted on the way is not known any more, that it was all is. */
static void show_done(struct progress_counters *c)
{
    struct progress_step *const steps[] = {&c->structure, &c->data, &c->index, &c->objects, &c->whole};

    for (size_t i = 0; i < COUNT_OF(steps); i++)
        atomic_store(&steps[i]->state, STEP_DONE);
}

static void show_completed(struct progress *progress)
{
    progress_set_phase(progress, PHASE_COMPLETED);
    show_done(progress_counters(progress));
}

/* Changes are applied when rows and indexes are there. */
static void show_applying(struct progress_counters *c)
{
    atomic_store(&c->data.state, STEP_DONE);
    atomic_store(&c->index.state, STEP_DONE);
    atomic_store(&c->tables_total, atomic_load(&c->tables_done));
}

/* What the target remembers: the last position, how many tables have their gate, and whether all was made. */
MUST_USE static struct error *read_target(const struct pair *p, struct progress_counters *c)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    struct state state;

    TRY(pg_connect(p->target, (struct pg_connect_options){.application_name = "pgtide status", .stop = p->stop},
                   &target));
    TRY(state_read(target, p->arena, p->record->id, &state));
    if (!state.exists)
        return NULL;
    if (state.task.structure_done)
        atomic_store(&c->structure.state, STEP_DONE);
    bool has_structure = state.n_relations > 0 && state.relations[0].source_oid == TASK_STRUCTURE;
    atomic_store(&c->tables_done, state.n_relations - has_structure);
    for (unsigned i = 0; i < state.n_relations; i++)
        atomic_fetch_add(&c->rows_copied, state.relations[i].rows);
    if (state_is_whole(&state))
        show_done(c);
    if (state.n_lanes > 0) {
        show_applying(c);
        atomic_store(&c->applied_lsn, state_least(&state).end.value);
        atomic_store(&c->transactions_applied, state_least(&state).transactions);
    }
    return NULL;
}

/* It ended because of a change that somebody must decide about, or because of another error. */
MUST_USE static struct error *note_stopped(const struct pair *p, struct status_facts *facts)
{
    struct stopped stopped;
    char *why = NULL;

    if (p->record->reset_reason != NULL) {
        facts->state = STATUS_FAILED;
        facts->problem = p->record->reset_reason;
        return NULL;
    }
    TRY(stopped_read(p->arena, p->folder, &stopped));
    TRY(ended_read(p->arena, p->folder, &why));
    if (stopped.is_stopped || why != NULL) {
        facts->state = STATUS_FAILED;
        facts->problem = stopped.is_stopped ? stopped.cause : why;
    }
    return NULL;
}

MUST_USE static struct error *note_selection(const struct pair *p, struct status_facts *facts)
{
    struct selected *selected = NULL;

    TRY(selecting_read(p->arena, p->folder, &selected));
    facts->selection = selected->rules;
    facts->with_dependencies = selected->with_dependencies;
    facts->n_selected = selected->n;
    return NULL;
}

MUST_USE static struct error *status_at_rest(const struct pair *p, json_t **out_document)
{
    struct progress *progress = progress_new(p->arena);
    struct status_facts facts = {.state = STATUS_NONE,
                                 .source = pg_endpoint_name(p->source),
                                 .target = pg_endpoint_name(p->target),
                                 .state_folder = p->folder};
    CLEANUP(error_free) struct error *err = NULL;

    if (p->record != NULL) {
        facts.state = p->record->is_completed ? STATUS_COMPLETED : STATUS_INTERRUPTED;
        facts.task = p->record->id;
        facts.slot = p->record->is_once ? NULL : p->record->slot;
        facts.publication = p->record->is_once ? NULL : p->record->publication;
        progress_set_phase(progress, PHASE_STARTING);
    }
    if (facts.state == STATUS_COMPLETED)
        show_completed(progress);
    if (p->record != NULL && p->record->is_selected)
        TRY(note_selection(p, &facts));
    if (facts.state == STATUS_INTERRUPTED) {
        TRY(note_stopped(p, &facts));
        err = read_target(p, progress_counters(progress));
    }
    if (err != NULL)
        facts.problem = arena_printf(p->arena, "the target could not be asked: %s", error_message(err));
    *out_document = status_document(&facts, p->record == NULL ? NULL : progress, NULL);
    return NULL;
}

struct error *worker_status(const struct sync_options *options, struct stop *stop, json_t **out_document)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "status");
    struct pair p;

    TRY(pair_open(a, options, stop, &p));
    TRY(pair_ask(&p, "status", NULL, out_document));
    return *out_document != NULL ? NULL : status_at_rest(&p, out_document);
}

/* ---- wait ---- */

static bool text_is(const json_t *document, const char *member, const char *text)
{
    const char *value = json_string_value(json_object_get(document, member));

    return value != NULL && strcmp(value, text) == 0;
}

/* What was asked for. */
struct wait_goal {
    enum wait_for what;
    struct lsn mark;
};

static bool has_applied(const struct wait_goal *goal, const char *applied)
{
    struct lsn at;

    return applied != NULL && lsn_parse(applied, &at) && !lsn_before(at, goal->mark);
}

/* One that has ended was seen to follow, or would have been; what it applied is another question, if --until gave it an end. */
static bool is_reached(const json_t *status, const struct wait_goal *goal)
{
    bool has_ended = text_is(status, "state", "completed");

    if (!has_ended && !text_is(status, "phase", "incremental") && !text_is(status, "phase", "stopping"))
        return false;
    return goal->what == WAIT_INCREMENTAL ||
           has_applied(goal, json_string_value(json_object_get(status, "applied_lsn")));
}

MUST_USE static struct error *mark_source(const struct pair *p, struct lsn *out)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    TRY(pg_connect(p->source, (struct pg_connect_options){.application_name = "pgtide wait", .stop = p->stop},
                   &source));
    return task_mark(source, out);
}

MUST_USE static struct error *ended_too_early(const struct pair *p, const struct wait_goal *goal)
{
    struct error *err =
        p->record->completed_at == NULL
            ? error_new(ERROR_CONFIG, "no sync of %s is running: the last one was ended by force", p->name)
            : error_new(
                  ERROR_CONFIG,
                  "no sync of %s is running: the last one ended, with everything applied up to %s, and the source's "
                  "position of the call is %s",
                  p->name, p->record->completed_at, lsn_format(goal->mark).text);

    return error_hint(err, "What was committed in between is not on the target. Where that should be nothing, \"pgtide "
                           "compare\" proves it; \"pgtide sync\" begins anew.");
}

/* `was_seen`: in this call, so that it came into its last phase meanwhile. */
MUST_USE static struct error *no_sync_runs(struct pair *p, const struct wait_goal *goal, bool was_seen)
{
    TRY(task_record_read(p->arena, p->folder, &p->record));
    if (p->record != NULL && p->record->is_completed) {
        if (was_seen && p->record->completed_at != NULL)
            return NULL; /* at its own end, --until, with everything applied: our mark came too late for it */
        if (goal->what == WAIT_CAUGHT_UP)
            return has_applied(goal, p->record->completed_at) ? NULL : ended_too_early(p, goal);
        return error_hint(error_new(ERROR_CONFIG, "no sync of %s is running: the last one has ended", p->name),
                          "Changes are not followed any more. \"pgtide sync\" begins anew.");
    }
    return error_hint(error_new(ERROR_CONFIG, "no sync of %s is running", p->name), "%s",
                      p->record == NULL ? "Nothing is known of this pair here. Is --state-dir the one the sync uses?"
                                        : "It was interrupted. Run \"pgtide sync\" again: it goes on where it was.");
}

/* A sync that does not answer in time, on a machine with too much to do, is no sync that has ended: it is asked again. */
MUST_USE static struct error *ask_status(const struct pair *p, json_t **out_status, bool *out_is_busy)
{
    struct error *err = pair_ask(p, "status", NULL, out_status);

    *out_is_busy = err != NULL && error_kind(err) == ERROR_TRANSIENT;
    if (!*out_is_busy)
        return err;
    log_debug("%s", error_message(err));
    error_free(err);
    return NULL;
}

/* What is stopped needs a decision; a pause somebody may lift while we wait: *told is for saying so once. */
MUST_USE static struct error *look_whether_it_rests(const json_t *status, bool *told)
{
    if (text_is(status, "state", "stopped"))
        return error_hint(
            error_new(ERROR_CONFIG, "applying has stopped: %s", json_string_value(json_object_get(status, "problem"))),
            "\"pgtide resume\" goes on, with a decision about that change.");
    if (text_is(status, "state", "paused") && !*told) {
        log_warn("applying is paused: \"pgtide resume\" lets it go on");
        *told = true;
    }
    return NULL;
}

struct error *worker_wait(const struct sync_options *options, enum wait_for what, int timeout_ms, struct stop *stop)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "wait");
    int64_t deadline_us = clock_now_us() + (int64_t)timeout_ms * 1000;
    int64_t grace_us = clock_now_us() + GRACE_MS * INT64_C(1000);
    struct wait_goal goal = {.what = what};
    bool was_seen = false, is_told = false;
    struct pair p;

    TRY(pair_open(a, options, stop, &p));
    if (what == WAIT_CAUGHT_UP)
        TRY(mark_source(&p, &goal.mark));
    for (;;) {
        CLEANUP(json_decref) json_t *status = NULL;
        bool is_busy = false;

        TRY(ask_status(&p, &status, &is_busy));
        if (status == NULL && !is_busy && clock_now_us() > grace_us)
            return no_sync_runs(&p, &goal, was_seen);
        if (status != NULL) {
            grace_us = 0; /* when it goes now, it has ended */
            was_seen = true;
        }
        if (status != NULL && is_reached(status, &goal))
            return NULL;
        if (status != NULL)
            TRY(look_whether_it_rests(status, &is_told));
        if (timeout_ms >= 0 && clock_now_us() > deadline_us)
            return status == NULL && !is_busy
                       ? no_sync_runs(&p, &goal, was_seen)
                       : error_new(ERROR_TRANSIENT, "%s was not reached within %d s",
                                   what == WAIT_INCREMENTAL ? "the incremental phase"
                                                            : "the source's position of the call",
                                   timeout_ms / 1000);
        if (stop_wait_ms(stop, POLL_MS))
            return stop_check(stop);
    }
}

/* ---- speed ---- */

struct error *worker_speed(const struct sync_options *options, struct arena *a, struct stop *stop,
                           const char **out_text)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "speed");
    CLEANUP(json_decref) json_t *arguments = json_pack("{s:s}", "rate", rate_plan_format(scratch, &options->max_rate));
    CLEANUP(json_decref) json_t *reply = NULL;
    struct pair p;

    TRY(pair_open(scratch, options, stop, &p));
    TRY(pair_ask(&p, "speed", arguments, &reply));
    if (reply == NULL)
        return error_hint(error_new(ERROR_CONFIG, "no sync of %s is running", p.name),
                          "Give its next start the limit: \"pgtide sync\" takes --max-rate.");
    *out_text = arena_strdup(a, json_string_value(json_object_get(reply, "max_rate")));
    return NULL;
}

/* ---- pause ---- */

struct error *worker_pause(const struct sync_options *options, struct stop *stop)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "pause");
    CLEANUP(json_decref) json_t *reply = NULL;
    struct pair p;

    TRY(pair_open(a, options, stop, &p));
    TRY(pair_ask(&p, "pause", NULL, &reply));
    return reply != NULL
               ? NULL
               : error_hint(error_new(ERROR_CONFIG, "no sync of %s is running", p.name), "There is nothing to pause.");
}

/* ---- resume ---- */

/* (P1) What ends the transaction would commit rows without their position. */
MUST_USE static struct error *check_replacement(const char *sql)
{
    if (!ddl_statement_ends_transaction(sql))
        return NULL;
    return error_new(ERROR_CONFIG,
                     "--replace-with has a statement that begins or ends a transaction; it is run inside the "
                     "transaction that holds the position");
}

struct error *worker_go_on(const struct sync_options *options, struct resume_decision decision, struct stop *stop,
                           enum went_on *out)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "go on");
    CLEANUP(json_decref) json_t *status = NULL;
    CLEANUP(json_decref) json_t *reply = NULL;
    struct pair p;

    *out = WENT_ON_NOTHING;
    TRY(pair_open(a, options, stop, &p));
    TRY(pair_ask(&p, "status", NULL, &status));
    if (status != NULL && text_is(status, "state", "stopped")) {
        CLEANUP(json_decref) json_t *request = hold_request(decision);

        if (decision.choice == RESUME_REPLACE)
            TRY(check_replacement(decision.instead));
        *out = WENT_ON_STOPPED;
        return pair_ask(&p, "decide", request, &reply);
    }
    if (status == NULL || !text_is(status, "state", "paused"))
        return NULL;
    if (decision.choice != RESUME_AS_IS)
        return error_hint(error_new(ERROR_CONFIG, "there is nothing to decide: applying is paused"),
                          "Without a choice, \"pgtide resume\" goes on.");
    *out = WENT_ON_PAUSED;
    return pair_ask(&p, "unpause", NULL, &reply);
}

/* Nobody runs: this process writes. */
MUST_USE static struct error *record_decision(const struct pair *p, struct resume_decision decision)
{
    CLEANUP(file_lock_release) struct file_lock *lock = NULL;

    TRY(task_folder_lock(p->arena, p->folder, p->name, &lock));
    TRY(pause_forget(p->folder));
    return decision.choice == RESUME_AS_IS ? NULL : stopped_decide(p->folder, decision);
}

struct error *worker_resume(const struct sync_options *options, struct resume_decision decision,
                            struct progress *progress, struct stop *stop, struct worker_hooks hooks)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "resume");
    struct pair p;

    TRY(pair_open(a, options, stop, &p));
    if (p.record == NULL || p.record->is_completed)
        return error_hint(error_new(ERROR_CONFIG, "no sync of %s is interrupted", p.name),
                          "\"pgtide sync\" begins one. Is --state-dir the one the sync uses?");
    if (decision.choice == RESUME_REPLACE)
        TRY(check_replacement(decision.instead));
    TRY(record_decision(&p, decision));
    return worker_sync(options, progress, stop, hooks);
}

/* ---- stop ---- */

/* The running sync was asked; it ends by itself when everything is applied and removed. */
MUST_USE static struct error *wait_for_end(struct pair *p)
{
    bool is_told = false;

    for (;;) {
        CLEANUP(json_decref) json_t *status = NULL;
        CLEANUP(error_free) struct error *err = pair_ask(p, "status", NULL, &status);

        if (err == NULL && status == NULL)
            break;
        if (!is_told && status != NULL && !text_is(status, "phase", "incremental") &&
            !text_is(status, "phase", "stopping"))
            log_info("the running sync has not copied everything yet: it does, applies what was committed meanwhile, "
                     "and then "
                     "stops. To give it up instead: Ctrl-C here and there, then \"pgtide stop --force\"");
        is_told = true;
        if (stop_wait_ms(p->stop, POLL_MS))
            return stop_check(p->stop);
    }
    struct task_record *record = NULL;
    TRY(task_record_read(p->arena, p->folder, &record));
    if (record != NULL && record->is_completed)
        return NULL;
    return error_hint(
        error_new(ERROR_CONFIG, "the sync of %s ended before it was stopped in order", p->name),
        "Its own output and \"%s/log\" say why. Run the same command again to go on, or \"pgtide stop --force\" "
        "to remove what it made without applying the rest.",
        p->folder);
}

/* What a cutover that died left on the source (R1). One that is at work holds its lock, and its end is its own business. */
MUST_USE static struct error *unfreeze(struct pair *p)
{
    CLEANUP(file_lock_release) struct file_lock *lock = NULL;
    struct freeze_record *record = NULL;

    TRY(freeze_read(p->arena, p->folder, &record));
    if (record == NULL || !record->is_frozen || record->is_completed)
        return NULL;
    TRY(freeze_lock(p->arena, p->folder, p->name, &lock));
    log_info("a cutover of %s did not come to its end: undoing its freeze of the source", p->name);
    return freeze_undo(p->arena, p->source, p->folder, record);
}

/* Nobody runs: this process removes. */
MUST_USE static struct error *force(struct pair *p)
{
    struct task t = {.arena = p->arena,
                     .options = p->options,
                     .source = p->source,
                     .target = p->target,
                     .folder = p->folder,
                     .record = p->record,
                     .stop = p->stop};
    CLEANUP(file_lock_release) struct file_lock *lock = NULL;

    TRY(task_folder_lock(p->arena, p->folder, p->name, &lock));
    CLEANUP(error_free) struct error *frozen = unfreeze(p);
    TRY(finish_by_force(&t)); /* what else is left is the more costly thing to be told */
    return TAKE(frozen);
}

struct error *worker_stop(const struct sync_options *options, bool by_force, struct progress *progress,
                          struct stop *stop, struct worker_hooks hooks)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "stop");
    CLEANUP(json_decref) json_t *reply = NULL;
    struct sync_options until_now = *options;
    struct pair p;

    TRY(pair_open(a, options, stop, &p));
    if (p.record == NULL)
        return error_hint(
            error_new(ERROR_CONFIG, "nothing is known of a sync of %s", p.name),
            "Is --state-dir the one the sync uses? \"pgtide slots list\" shows what is left on a server.");
    if (p.record->is_completed) {
        log_info("the sync of %s was stopped before: nothing is left to do", p.name);
        return NULL;
    }
    if (by_force)
        return force(&p);
    TRY(unfreeze(&p));
    TRY(pair_ask(&p, "stop", NULL, &reply));
    if (reply != NULL)
        return wait_for_end(&p);
    until_now.until = UNTIL_CAUGHT_UP;
    TRY(record_decision(&p, (struct resume_decision){.choice = RESUME_AS_IS})); /* a pause ends */
    return worker_sync(&until_now, progress, stop, hooks);
}
