#include "worker/begin.h"

#include "base/log.h"
#include "sync/commit_log.h"
#include "sync/spool.h"
#include "worker/follow.h"
#include "worker/full.h"
#include "worker/monitor.h"
#include "worker/packer.h"
#include "worker/patience.h"
#include "worker/prepare.h"
#include "worker/receive.h"

MUST_USE static struct error *start_stream(struct task *t)
{
    if (t->record->is_once)
        return NULL;
    commit_log_begin(t->commits, spool_end(t->spool));
    TRY(thread_start("receiver", receive_run, t, &t->receiver));
    TRY(thread_start("packer", packer_run, t, &t->packer));
    return thread_start("monitor", monitor_run, t, &t->monitor);
}

/* Their errors went to task_fail. */
static void join(struct thread **thread)
{
    if (*thread == NULL)
        return;
    struct error *err = thread_join(TAKE(*thread));
    error_free(err);
}

void begin_end_stream(struct task *t)
{
    stop_request(t->stream_stop);
    wake_ring(t->news);
    join(&t->follower);
    join(&t->receiver);
    join(&t->monitor);
    join(&t->packer);
}

/* What was counted of a step that begins anew; what was shown of it stays, percentages only rise. */
static void forget_step(struct progress_step *step)
{
    atomic_store(&step->done, 0);
    atomic_store(&step->total, 0);
    atomic_store(&step->entries_done, 0);
    atomic_store(&step->entries_total, 0);
    atomic_store(&step->state, STEP_WAITING);
}

static void forget_progress(struct task *t)
{
    struct progress_counters *c = t->counters;

    forget_step(&c->structure);
    forget_step(&c->data);
    forget_step(&c->index);
    forget_step(&c->whole);
    atomic_store(&c->tables_done, 0);
    atomic_store(&c->tables_total, 0);
    atomic_store(&c->large_objects_done, 0);
    atomic_store(&c->large_objects_total, 0);
    atomic_store(&c->snapshot_since_us, 0);
    progress_set_phase(t->progress, PHASE_STARTING);
}

/* Everything is as it was before prepare_run, but for what is on the servers and in the folder. */
static void forget_start(struct task *t)
{
    begin_end_stream(t);
    prepare_forget(t);
    t->slot_saw_is_known = false;
    t->relations = NULL;
    t->n_relations = 0;
    t->ignored = NULL;
    t->n_ignored = 0;
    t->schema = (struct schema){.n_tables = 0};
    t->schema_target = NULL;
    t->is_whole = false;
    atomic_store(&t->until_lsn, t->options->until == UNTIL_LSN ? t->options->until_lsn.value : 0);
    atomic_store(&t->is_at_until, false);
    atomic_store(&t->leaves_at_until, false);
    forget_progress(t);
    stop_renew(t->stream_stop); /* a stop by the user is requested again and again (worker/sync) */
}

MUST_USE static struct error *try_to_begin(struct task *t)
{
    TRY(prepare_run(t));
    TRY(start_stream(t));
    return full_copy(t);
}

struct error *begin_and_copy(struct task *t)
{
    struct patience patience = {.failures = 0};

    for (;;) {
        struct error *err = try_to_begin(t);

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT || !patience_allows(&patience, err) ||
            stop_requested(t->stop))
            return err;
        log_warn("a server went away before everything was copied, going on with what is there: %s",
                 error_message(err));
        error_free(err);
        forget_start(t);
        if (patience_wait(&patience, t->stop))
            return stop_check(t->stop);
    }
}
