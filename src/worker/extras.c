#include "worker/extras.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/log.h"
#include "pg/database.h"
#include "pg/large_objects.h"
#include "pg/snapshot.h"

/* The target was empty but for what we made: what the source has not (any more) may go. */
static bool target_is_ours(const struct task *t)
{
    return t->options->if_not_empty == NOT_EMPTY_REFUSE;
}

MUST_USE static struct error *sync_large_objects(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    struct large_object_counts counts;

    TRY(large_objects_sync(source, target, target_is_ours(t), t->left_out, &counts));
    if (counts.copied > 0 || counts.removed > 0)
        log_info("copied %" PRIu64 " of %" PRIu64 " large objects, removed %" PRIu64, counts.copied, counts.seen,
                 counts.removed);
    return NULL;
}

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
    TRY(sync_large_objects(t, source, target));
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
    TRY(sync_large_objects(t, source, target));
    TRY(pg_execute(source, "ending the snapshot", "COMMIT"));
    return database_properties_copy(source, target, t->left_out);
}
