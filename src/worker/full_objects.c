#include <inttypes.h>

#include "base/backoff.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/orphans.h"
#include "pg/schema.h"
#include "worker/extras.h"
#include "worker/full.h"

/* What acts on rows as they are applied unless our sessions are replicas. */
static bool acts_on_rows(const struct entry *e)
{
    return e->kind == ENTRY_FOREIGN_KEY || e->kind == ENTRY_TRIGGER || e->kind == ENTRY_RULE;
}

/* It, or a comment on it. */
static bool is_of_what_acts_on_rows(const struct schema *schema, const struct entry *e)
{
    for (unsigned i = 0; e->kind == ENTRY_COMMENT && i < e->n_dependencies; i++) {
        const struct entry *about = script_find(&schema->post, e->dependencies[i]);

        if (about != NULL && acts_on_rows(about))
            return true;
    }
    return acts_on_rows(e);
}

/* A comment on what was dropped: another one of that name may be there by now. */
static bool is_about_dropped(const struct schema *schema, const struct entry *e)
{
    for (unsigned i = 0; e->kind == ENTRY_COMMENT && i < e->n_dependencies; i++) {
        const struct entry *about = script_find(&schema->post, e->dependencies[i]);

        if (about != NULL && about->is_gone)
            return true;
    }
    return false;
}

/* Whether full_objects has anything to do with it at all. */
static bool is_an_object(const struct task *t, const struct entry *e)
{
    if (e->kind == ENTRY_MATVIEW_DATA || is_about_dropped(&t->schema, e))
        return false;
    return !full_leaves_out(t, &t->schema, e);
}

/* Locks for it are waited for while apply goes on: a deadlock with it is nobody's fault. */
MUST_USE static struct error *run_patiently(struct task *t, struct pg_conn **target, const struct entry *e,
                                            enum entry_part part)
{
    struct backoff backoff = {0};

    for (;;) {
        struct error *err = NULL;

        if (*target == NULL)
            err = task_connect_target(t, "objects", t->stop, target);
        if (err == NULL)
            err = schema_run_entry(*target, t->schema_target, e, part);
        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        log_warn("could not make %s %s, trying again: %s", e->type, e->name, error_message(err));
        error_free(err);
        if (pg_conn_is_broken(*target))
            pg_conn_close(TAKE(*target));
        if (stop_wait_ms(t->stop, backoff_next_ms(&backoff)))
            return stop_check(t->stop);
    }
}

/* What the operator must know to decide. The rows are on the source, too: they stay until somebody mends them there or here. */
MUST_USE static struct error *tell_orphans(struct task *t, struct pg_conn *target, const struct entry *e)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "orphans");
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct orphans o;
    bool is_found = false;

    TRY(task_connect_source(t, "orphans", t->stop, &source));
    TRY(orphans_find(source, target, scratch, e->oid, &is_found, &o));
    if (is_found)
        log_warn("foreign key \"%s\": %" PRIu64
                 " row%s of table %s %s no match in %s, such as %s; to see them on the target: %s",
                 e->name, o.rows, o.rows == 1 ? "" : "s", o.table, o.rows == 1 ? "has" : "have", o.referenced,
                 o.example == NULL ? "none" : o.example, o.select);
    return NULL;
}

/* Rows that break a foreign key are data as the source has it: the key stays out, or not valid, and the rest goes on. */
MUST_USE static struct error *leave_broken(struct task *t, struct pg_conn **target, const struct entry *e,
                                           enum entry_part part, struct error *cause)
{
    /* Row security that is forced on the owner: only a superuser may look at all rows. */
    bool may_not_look = part == ENTRY_VALIDATE && error_kind(cause) == ERROR_CONFIG && !t->may_be_replica;

    if (e->kind != ENTRY_FOREIGN_KEY || pg_conn_is_broken(*target) ||
        (error_kind(cause) != ERROR_DATA && !may_not_look))
        return cause;
    log_warn("%s; %s", error_message(cause),
             part == ENTRY_VALIDATE ? "it stays NOT VALID: it is checked for new rows only"
                                    : "it is left out on the target");
    error_free(cause);
    atomic_fetch_add(&t->counters->broken_keys, 1);
    if (may_not_look)
        return NULL;
    return tell_orphans(t, *target, e);
}

/* Asked when an entry could not be made: the object, or for a comment what it is about. */
MUST_USE static struct error *ask_gone(struct pg_conn *source, const struct schema *schema, const struct entry *e,
                                       bool *out_is_gone)
{
    *out_is_gone = false;
    if (e->oid != 0)
        return schema_is_gone(source, e, out_is_gone);
    for (unsigned i = 0; i < e->n_dependencies && !*out_is_gone; i++) {
        const struct entry *about = script_find(&schema->post, e->dependencies[i]);

        if (about != NULL && about->oid != 0)
            TRY(schema_is_gone(source, about, out_is_gone));
    }
    return NULL;
}

/* Where the target follows DDL, what was dropped on the source, as with its table, need not be made any more. */
MUST_USE static struct error *leave_dropped(struct task *t, const struct entry *e, struct error *cause)
{
    CLEANUP(error_free) struct error *err = cause;
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    bool is_gone = false;

    if (!t->record->has_ddl || error_kind(err) == ERROR_CANCELLED)
        return TAKE(err);
    TRY(task_connect_source(t, "dropped", t->stop, &source));
    TRY(ask_gone(source, &t->schema, e, &is_gone));
    if (!is_gone)
        return TAKE(err);
    log_info("%s %s was dropped on the source: it is not made", e->type, e->name);
    return NULL;
}

MUST_USE static struct error *run_one(struct task *t, struct pg_conn **target, const struct entry *e,
                                      enum entry_part part)
{
    struct error *err = run_patiently(t, target, e, part);

    if (err != NULL)
        err = leave_broken(t, target, e, part, err);
    return err == NULL ? NULL : leave_dropped(t, e, err);
}

MUST_USE static struct error *run_entries(struct task *t, bool also_what_acts_on_rows)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    struct progress_step *step = &t->counters->objects;
    const struct script *post = &t->schema.post;

    atomic_store(&t->counters->broken_keys, 0);

    for (unsigned i = 0; i < post->n_entries; i++) {
        const struct entry *e = &post->entries[i];

        if (is_an_object(t, e) && (also_what_acts_on_rows || !is_of_what_acts_on_rows(&t->schema, e))) {
            FAULT_POINT("full.object");
            TRY(run_one(t, &target, e, ENTRY_WHOLE));
        }
        atomic_store(&step->done, i + 1);
    }
    for (unsigned i = 0; i < post->n_entries && also_what_acts_on_rows; i++)
        if (post->entries[i].kind == ENTRY_FOREIGN_KEY)
            TRY(run_one(t, &target, &post->entries[i], ENTRY_VALIDATE));
    return NULL;
}

/* Asked of a session as the lane's is one. */
MUST_USE static struct error *ask_replica(struct task *t, bool *out_may)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_target(t, "probe", t->stop, &target));
    struct error *err = pg_execute(target, "becoming a replica", "SET session_replication_role = replica");
    *out_may = err == NULL;
    if (err == NULL || (error_kind(err) != ERROR_TRANSIENT && error_kind(err) != ERROR_CANCELLED)) {
        error_free(err);
        return NULL;
    }
    return err;
}

struct error *full_objects(struct task *t)
{
    struct progress_step *step = &t->counters->objects;

    progress_set_phase(t->progress, PHASE_OBJECTS);
    atomic_store(&step->total, t->schema.post.n_entries);
    atomic_store(&step->state, STEP_RUNNING);
    TRY(ask_replica(t, &t->may_be_replica));
    TRY(run_entries(t, t->may_be_replica));
    TRY(extras_populate(t));
    if (!t->may_be_replica)
        log_warn("triggers, rules and foreign keys are made when the synchronization is stopped: without superuser (or "
                 "SET on "
                 "session_replication_role) on the target they would act on what is applied");
    atomic_store(&step->done, t->schema.post.n_entries);
    atomic_store(&step->state, STEP_DONE);
    return NULL;
}

struct error *full_finish(struct task *t)
{
    return t->may_be_replica ? NULL : run_entries(t, true);
}
