#include "worker/extras.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/log.h"
#include "pg/database.h"
#include "pg/large_objects.h"
#include "pg/snapshot.h"
#include "sync/pace.h"

/* The target was empty but for what we made: what the source has not (any more) may go. */
static bool target_is_ours(const struct task *t)
{
    return t->options->if_not_empty == NOT_EMPTY_REFUSE;
}

/* ---- large objects ---- */

MUST_USE static struct error *sync_large_objects(struct task *t, struct pg_conn *source, struct pg_conn *target,
                                                 struct large_object_watch watch)
{
    struct large_object_counts counts;

    TRY(large_objects_sync(source, target, target_is_ours(t), t->left_out, watch, &counts));
    if (counts.copied > 0 || counts.removed > 0)
        log_info("copied %" PRIu64 " of %" PRIu64 " large objects, removed %" PRIu64, counts.copied, counts.seen,
                 counts.removed);
    return NULL;
}

/* In the progress: the item of the first worker, who has not begun yet. */
struct showing {
    struct task *task;
    uint64_t bytes; /* expected */
    uint64_t passed, credited;
};

static void credit_up_to(struct showing *s, uint64_t now)
{
    now = now < s->bytes ? now : s->bytes;
    atomic_fetch_add(&s->task->counters->data.done, now - s->credited);
    s->credited = now;
}

static void on_slices(void *self, unsigned index, uint64_t rows, uint64_t bytes)
{
    struct showing *s = self;

    (void)index;
    (void)rows;
    s->passed += bytes;
    credit_up_to(s, s->passed);
    atomic_fetch_add(&s->task->counters->bytes_copied, bytes);
    progress_item_add(s->task->progress, 0, 0, bytes);
}

static void on_page(void *self, uint64_t objects)
{
    struct showing *s = self;

    atomic_fetch_add(&s->task->counters->large_objects_done, objects);
}

static int on_pace(void *self, uint64_t bytes)
{
    const struct showing *s = self;
    int pause_ms = pace_take(s->task->pace, bytes);

    if (pause_ms > 0)
        atomic_fetch_add(&s->task->counters->paced_ms, (uint64_t)pause_ms);
    return pause_ms;
}

static void show_begun(struct showing *s, uint64_t n)
{
    struct progress_counters *c = s->task->counters;

    atomic_store(&c->large_objects_total, n);
    atomic_fetch_add(&c->data.total, s->bytes);
    atomic_store(&c->at_work[WORK_ROWS], 1);
    progress_item_begin(s->task->progress, 0, "large objects", s->bytes);
}

static void show_ended(struct showing *s, bool is_done)
{
    struct progress_counters *c = s->task->counters;

    progress_item_end(s->task->progress, 0);
    atomic_store(&c->at_work[WORK_ROWS], 0);
    if (!is_done)
        return;
    credit_up_to(s, s->bytes);
    atomic_store(&c->large_objects_done, atomic_load(&c->large_objects_total));
}

MUST_USE static struct error *copy_large_objects(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    struct showing s = {.task = t};
    const struct large_object_watch watch = {.copy = {.self = &s, .progress = on_slices, .pace_ms = on_pace},
                                             .page_done = on_page};
    uint64_t n = 0;

    TRY(large_objects_measure(source, &n, &s.bytes));
    show_begun(&s, n);
    struct error *err = sync_large_objects(t, source, target, watch);
    show_ended(&s, err == NULL);
    return err;
}

/* ---- all ---- */

struct error *extras_copy(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    if (t->chosen != NULL && t->schema.n_extensions == 0)
        return NULL;
    TRY(task_connect_source(t, "extras", t->stop, &source));
    TRY(task_connect_target(t, "extras", t->stop, &target));
    if (t->holder != NULL)
        TRY(pg_snapshot_import(source, pg_snapshot_of(t->holder)->id));
    else
        TRY(pg_execute(source, "beginning to read", "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    if (t->chosen != NULL) {
        TRY(database_config_tables_fill(source, target, t->schema.extensions, t->schema.n_extensions));
        return pg_execute(source, "ending the snapshot", "COMMIT");
    }
    TRY(database_config_tables_copy(source, target));
    FAULT_POINT("extras.before_large_objects");
    TRY(copy_large_objects(t, source, target));
    return pg_execute(source, "ending the snapshot", "COMMIT");
}

struct error *extras_populate(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    if (!t->options->populate_matviews)
        return NULL;
    TRY(task_connect_source(t, "extras", t->stop, &source));
    TRY(task_connect_target(t, "extras", t->stop, &target));
    return database_matviews_populate(source, target, t->chosen, t->left_out);
}

/* Grants on the database come last: they may be what we connect by. */
struct error *extras_finish(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    if (t->chosen != NULL)
        return NULL;
    TRY(pg_execute(source, "beginning to read", "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    TRY(database_config_tables_copy(source, target));
    TRY(sync_large_objects(t, source, target, (struct large_object_watch){.page_done = NULL}));
    TRY(pg_execute(source, "ending the snapshot", "COMMIT"));
    return t->record->has_no_copy ? NULL : database_properties_copy(source, target, t->left_out);
}
