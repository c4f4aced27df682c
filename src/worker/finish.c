#include "worker/finish.h"

#include "base/fault.h"
#include "base/log.h"
#include "pg/ddl_capture.h"
#include "pg/publication.h"
#include "pg/sequence.h"
#include "pg/slot.h"
#include "pg/state.h"
#include "worker/conflicts.h"
#include "worker/drift.h"
#include "worker/extras.h"
#include "worker/full.h"
#include "worker/selecting.h"
#include "worker/stopped.h"

/* Read from the source after everything else is applied, set on the target, read back. */
MUST_USE static struct error *copy_sequences(const struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "sequences");
    struct sequence *sequences = NULL;
    struct chosen *chosen = NULL;
    unsigned n = 0;

    TRY(selecting_now(t, source, scratch, &chosen));
    TRY(sequence_read(source, scratch, chosen_filter(chosen), &sequences, &n));
    TRY(sequence_write(target, scratch, sequences, n));
    log_info("set %u sequence%s on the target", n, n == 1 ? "" : "s");
    return NULL;
}

MUST_USE static struct error *remove_slot(struct task *t, struct pg_conn *source)
{
    FAULT_POINT("finish.before_slot_drop");
    if (t->record->owns_slot)
        TRY(pg_slot_drop(source, t->record->slot));
    else if (!t->record->is_once) /* which needs none */
        log_warn(
            "replication slot \"%s\" was not made by pgtide and stays: as long as it is there and nobody reads it, the "
            "source keeps WAL for it; SELECT pg_drop_replication_slot('%s') removes it",
            t->record->slot, t->record->slot);
    FAULT_POINT("finish.after_slot_drop");
    return NULL;
}

MUST_USE static struct error *remove_capture(struct task *t, struct pg_conn *source)
{
    return t->record->has_ddl ? ddl_capture_remove(source, t->record->id) : NULL;
}

MUST_USE static struct error *remove_publication(struct task *t, struct pg_conn *source)
{
    return t->record->owns_publication ? pg_publication_drop(source, t->record->publication) : NULL;
}

static struct error *(*const removals[])(struct task *t, struct pg_conn *source) = {remove_slot, remove_capture,
                                                                                    remove_publication};

/* (R1) Each is tried, also when another one could not be removed; what stays is named with what it costs. The first error is returned. */
MUST_USE static struct error *remove_from_source(struct task *t, struct pg_conn *source)
{
    struct error *first = NULL;

    for (size_t i = 0; i < COUNT_OF(removals); i++) {
        struct error *err = removals[i](t, source);

        if (first == NULL) {
            first = err;
        } else if (err != NULL) {
            log_error(err, "removing what was made on the source");
            error_free(err);
        }
        if (pg_conn_is_broken(source) || (first != NULL && error_kind(first) == ERROR_CANCELLED))
            break;
    }
    return first;
}

MUST_USE static struct error *remove_local(struct task *t)
{
    TRY(stopped_forget(t->folder));
    TRY(drift_forget(t->folder));
    TRY(folder_remove(arena_printf(t->arena, "%s/spool", t->folder)));
    return folder_remove(arena_printf(t->arena, "%s/schema", t->folder));
}

MUST_USE static struct error *remove_all(struct task *t, struct pg_conn *source, struct pg_conn *target)
{
    TRY(conflicts_export(t));
    TRY(remove_from_source(t, source));
    FAULT_POINT("finish.before_state_drop");
    TRY(state_drop(target, t->record->id));
    FAULT_POINT("finish.after_state_drop");
    TRY(remove_local(t));
    t->record->is_completed = true;
    return task_record_write(t->folder, t->record);
}

struct error *finish_sequences(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "finish", t->stop, &source));
    TRY(task_connect_target(t, "finish", t->stop, &target));
    return copy_sequences(t, source, target);
}

struct error *finish_run(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(full_finish(t));
    TRY(task_connect_source(t, "finish", t->stop, &source));
    TRY(task_connect_target(t, "finish", t->stop, &target));
    TRY(drift_check(t, source, false));
    TRY(copy_sequences(t, source, target));
    TRY(extras_finish(t, source, target));
    TRY(selecting_save(t, source));
    t->record->is_stopping = true;
    t->record->completed_at =
        arena_strdup(t->arena, lsn_format((struct lsn){atomic_load(&t->counters->applied_lsn)}).text);
    TRY(task_record_write(t->folder, t->record));
    return remove_all(t, source, target);
}

struct error *finish_again(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "finish", t->stop, &source));
    TRY(task_connect_target(t, "finish", t->stop, &target));
    return remove_all(t, source, target);
}

/* Once, without patience: a server that is gone for good must not keep us. */
MUST_USE static struct error *connect_once(struct task *t, const struct pg_endpoint *e, struct pg_conn **out_conn)
{
    return pg_connect(
        e, (struct pg_connect_options){.application_name = task_session_name(t->arena, t, "finish"), .stop = t->stop},
        out_conn);
}

static const char *listed(struct arena *a, const char *list, const char *more)
{
    return list[0] == '\0' ? more : arena_printf(a, "%s; %s", list, more);
}

static const char *names_on_source(struct task *t)
{
    const struct task_record *r = t->record;
    struct arena *a = t->arena;
    const char *names = "";

    if (r->owns_slot)
        names = listed(a, names, arena_printf(a, "replication slot \"%s\", which keeps WAL for ever", r->slot));
    if (r->has_ddl)
        names = listed(a, names, arena_printf(a, "event triggers \"!pgtide_%s_...\" and their table", r->id));
    if (r->owns_publication)
        names = listed(a, names, arena_printf(a, "publication \"%s\"", r->publication));
    return names;
}

MUST_USE static struct error *force_source(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    if (!t->record->owns_slot && !t->record->has_ddl && !t->record->owns_publication)
        return NULL; /* nothing was made there: it need not be reached */
    struct error *err = connect_once(t, t->source, &source);
    if (err != NULL)
        return error_wrap(err, "what is left on the source: %s", names_on_source(t));
    err = remove_from_source(t, source);
    return err == NULL ? NULL : error_wrap(err, "removing from the source");
}

MUST_USE static struct error *force_target(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    struct error *err = connect_once(t, t->target, &target);

    if (err == NULL)
        err = state_fence(target, t->record->id, NULL, 0);
    if (err == NULL)
        err = conflicts_export(t);
    if (err == NULL)
        err = state_drop(target, t->record->id);
    return err == NULL ? NULL : error_wrap(err, "schema \"pgtide\" may be left on the target");
}

struct error *finish_by_force(struct task *t)
{
    struct error *source_err = force_source(t);
    struct error *target_err = force_target(t);

    if (source_err == NULL && target_err == NULL) {
        TRY(remove_local(t));
        t->record->is_completed = true;
        return task_record_write(t->folder, t->record);
    }
    if (source_err != NULL && target_err != NULL) {
        log_error(target_err, "stop --force");
        error_free(target_err);
        target_err = NULL;
    }
    struct error *err = source_err != NULL ? source_err : target_err;
    const char *cost = error_hint_text(err);
    return error_hint(err,
                      "%s%sRun the same command again when that is mended, or \"pgtide slots gc\" with the server.",
                      cost == NULL ? "" : cost, cost == NULL ? "" : " ");
}
