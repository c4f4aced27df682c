#include <inttypes.h>

#include "base/backoff.h"
#include "base/fault.h"
#include "base/log.h"
#include "model/cost.h"
#include "pg/firing.h"
#include "pg/forced_security.h"
#include "pg/foreign_keys.h"
#include "pg/orphans.h"
#include "pg/schema.h"
#include "worker/extras.h"
#include "worker/full.h"
#include "worker/prepare.h"
#include "worker/selecting.h"

enum { VALIDATE_TRIES = 20, VALIDATE_EVERY_MS = 500 };

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

/* Opened when they are needed. */
struct sides {
    struct pg_conn *source;
    struct pg_conn *target;
};

static void sides_close(struct sides *s)
{
    pg_conn_close(TAKE(s->source));
    pg_conn_close(TAKE(s->target));
}

DEFINE_CLEANUP(struct sides, sides_close);

/* ---- progress ---- */

/* What it costs to make it, and to check it afterwards. */
struct cost {
    uint64_t make;
    uint64_t check;
};

static struct cost cost_of(const struct task *t, const struct entry *e)
{
    enum { SHARE_OF_OBJECT = 4 }; /* no rows: it has not even to be recorded with a table */

    if (e->is_of_copy || !is_an_object(t, e))
        return (struct cost){0};
    return (struct cost){.make = COST_OBJECT / SHARE_OF_OBJECT,
                         .check = e->kind == ENTRY_FOREIGN_KEY ? cost_foreign_key(e->table_bytes) : 0};
}

void full_objects_weigh(struct task *t)
{
    const struct script *post = &t->schema.post;
    struct progress_step *step = &t->counters->objects;
    uint64_t done = 0, total = 0, n_made = 0, n = 0;

    for (unsigned i = 0; i < post->n_entries; i++) {
        const struct entry *e = &post->entries[i];
        const struct cost cost = cost_of(t, e);

        total += cost.make + cost.check;
        done += (e->is_made ? cost.make : 0) + (e->is_checked ? cost.check : 0);
        n += cost.make > 0;
        n_made += cost.make > 0 && e->is_made;
    }
    atomic_store(&step->total, total);
    atomic_store(&step->done, done);
    atomic_store(&step->entries_total, n);
    atomic_store(&step->entries_done, n_made);
}

/* Begun, and nobody will count it before it is done. */
static void show_begun(struct task *t, uint64_t cost)
{
    atomic_store(&t->counters->uncounted[WORK_OBJECTS], cost);
}

static void show_done(struct task *t, uint64_t cost)
{
    show_begun(t, 0);
    atomic_fetch_add(&t->counters->objects.done, cost);
}

static void show_made(struct task *t, const struct entry *e)
{
    uint64_t cost = cost_of(t, e).make;

    show_done(t, cost);
    if (cost > 0)
        atomic_fetch_add(&t->counters->objects.entries_done, 1);
}

/* ---- entries ---- */

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
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "broken key");
    /* Row security that is forced on the owner: only a superuser may look at all rows. */
    bool may_not_look =
        part == ENTRY_VALIDATE && error_kind(cause) == ERROR_CONFIG && !schema_user_is_superuser(t->schema_target);

    if (e->kind != ENTRY_FOREIGN_KEY || pg_conn_is_broken(*target) ||
        (error_kind(cause) != ERROR_DATA && !may_not_look))
        return cause;
    log_warn("%s; %s", error_message(cause),
             part == ENTRY_VALIDATE ? "it stays NOT VALID: it is checked for new rows only"
                                    : "it is left out on the target");
    left_out_note(t->left_out, schema_part_statement(scratch, e, part), error_message(cause));
    error_free(cause);
    atomic_fetch_add(&t->counters->broken_keys, 1);
    if (may_not_look)
        return NULL;
    return tell_orphans(t, *target, e);
}

static void tell_left_out(struct task *t, const struct entry *e, const char *reason)
{
    for (unsigned i = 0; i < e->n_statements; i++)
        left_out_tell(t->left_out, e->statements[i], reason);
}

/*
 * A publication holds nothing: one that the target does not take, or a part of it, stays out, and the rest goes on. Its owner need not be a
 * superuser any more, the server may be older than what it says, or have one of that name.
 */
MUST_USE static struct error *leave_publication(struct task *t, struct pg_conn *target, struct entry *e,
                                                struct error *cause)
{
    bool is_answer = error_kind(cause) == ERROR_CONFIG || error_kind(cause) == ERROR_DATA;

    if (schema_publication_of(&t->schema, e) == NULL || !is_answer || target == NULL || pg_conn_is_broken(target))
        return cause;
    tell_left_out(t, e, error_message(cause));
    error_free(cause);
    e->is_left_out = true;
    return NULL;
}

/* What belongs to a publication that is not there. */
static bool is_without_publication(struct task *t, const struct entry *e)
{
    const struct entry *publication = schema_publication_of(&t->schema, e);

    if (publication == NULL || publication == e || !publication->is_left_out)
        return false;
    tell_left_out(t, e, "its publication was left out");
    return true;
}

/* The object, or for a comment what it is about. */
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
MUST_USE static struct error *leave_dropped(struct task *t, struct sides *s, const struct entry *e, bool *out_is_gone)
{
    struct error *err = NULL;

    *out_is_gone = false;
    if (!t->record->has_ddl)
        return NULL;
    do {
        error_free(err);
        if (s->source != NULL && pg_conn_is_broken(s->source))
            pg_conn_close(TAKE(s->source));
        if (s->source == NULL)
            TRY(task_connect_source(t, "dropped", t->stop, &s->source));
        err = ask_gone(s->source, &t->schema, e, out_is_gone);
    } while (err != NULL && error_kind(err) == ERROR_TRANSIENT && pg_conn_is_broken(s->source));
    if (err == NULL && *out_is_gone)
        log_info("%s %s was dropped on the source: it is not made", e->type, e->name);
    return err;
}

/* ---- before a statement of the source is run ---- */

/* Checked when it is made, which rows of several snapshots need not pass. */
static bool is_checked_at_once(const struct task *t, const struct entry *e)
{
    return e->kind == ENTRY_FOREIGN_KEY && e->table_is_partitioned && !schema_takes_unchecked_keys(t->schema_target);
}

/* Event triggers would fire for what we do; no statement about one is told. */
static bool waits_for_rows(const struct task *t, const struct entry *e)
{
    return e->kind == ENTRY_MATVIEW_DATA || e->kind == ENTRY_EVENT_TRIGGER || is_checked_at_once(t, e) ||
           (acts_on_rows(e) && !t->may_be_replica);
}

/* Or what it belongs to does, as with a comment. */
static bool waits(const struct task *t, const struct entry *e)
{
    for (unsigned i = 0; i < e->n_dependencies; i++) {
        const struct entry *needed = script_find(&t->schema.post, e->dependencies[i]);

        if (needed != NULL && waits_for_rows(t, needed))
            return true;
    }
    return waits_for_rows(t, e) || full_leaves_out(t, &t->schema, e);
}

/* What cannot be made now is tried again later, and is an error only then. */
MUST_USE static struct error *make_early(struct task *t, struct sides *s, struct entry *e)
{
    CLEANUP(error_free) struct error *err = NULL;

    if (!is_without_publication(t, e))
        err = run_patiently(t, &s->target, e, ENTRY_WHOLE);
    if (err != NULL)
        err = leave_publication(t, s->target, e, TAKE(err));
    e->is_made = err == NULL;
    if (err == NULL)
        return NULL;
    if (error_kind(err) == ERROR_CANCELLED || s->target == NULL || pg_conn_is_broken(s->target))
        return TAKE(err);
    log_info("%s; it is tried again when what was changed meanwhile is applied", error_message(err));
    return NULL;
}

MUST_USE static struct error *make_all_early(struct task *t)
{
    CLEANUP(sides_close) struct sides *s = &(struct sides){.source = NULL};
    const struct script *post = &t->schema.post;

    for (unsigned i = 0; i < post->n_entries; i++) {
        struct entry *e = &post->entries[i];

        if (e->is_made || waits(t, e))
            continue;
        FAULT_POINT("full.early_object");
        TRY(make_early(t, s, e));
        if (e->is_made)
            show_made(t, e);
    }
    return NULL;
}

/* ---- when what was committed before the copy's end is applied ---- */

MUST_USE static struct error *make(struct task *t, struct sides *s, struct entry *e)
{
    bool is_gone = false;

    TRY(leave_dropped(t, s, e, &is_gone));
    if (!is_gone && !is_without_publication(t, e)) {
        struct error *err = run_patiently(t, &s->target, e, ENTRY_WHOLE);

        if (err != NULL)
            err = leave_publication(t, s->target, e, err);
        if (err != NULL)
            TRY(leave_broken(t, &s->target, e, ENTRY_WHOLE, err));
    }
    e->is_made = true;
    return NULL;
}

/* One that is not found by its name was dropped or renamed: it is for full_validate_keys. */
MUST_USE static struct error *validate(struct task *t, struct sides *s, struct entry *e)
{
    uint64_t broken = atomic_load(&t->counters->broken_keys);
    struct error *err = run_patiently(t, &s->target, e, ENTRY_VALIDATE);

    if (err == NULL)
        return NULL;
    if (t->record->has_ddl && t->may_be_replica && error_kind(err) == ERROR_CONFIG && !pg_conn_is_broken(s->target)) {
        error_free(err);
        return NULL;
    }
    TRY(leave_broken(t, &s->target, e, ENTRY_VALIDATE, err));
    e->is_broken = atomic_load(&t->counters->broken_keys) > broken;
    return NULL;
}

MUST_USE static struct error *check(struct task *t, struct sides *s, struct entry *e)
{
    uint64_t cost = cost_of(t, e).check;

    show_begun(t, cost);
    TRY(validate(t, s, e));
    show_done(t, e->is_checked ? 0 : cost);
    e->is_checked = true;
    return NULL;
}

MUST_USE static struct error *run_entries(struct task *t, bool also_what_acts_on_rows)
{
    CLEANUP(sides_close) struct sides *s = &(struct sides){.source = NULL};
    const struct script *post = &t->schema.post;

    atomic_store(&t->counters->broken_keys, 0);
    for (unsigned i = 0; i < post->n_entries; i++) {
        struct entry *e = &post->entries[i];

        if (!e->is_made && is_an_object(t, e) && (also_what_acts_on_rows || !is_of_what_acts_on_rows(&t->schema, e))) {
            FAULT_POINT("full.object");
            show_begun(t, cost_of(t, e).make);
            TRY(make(t, s, e));
            show_made(t, e);
        }
    }
    for (unsigned i = 0; i < post->n_entries && also_what_acts_on_rows; i++)
        if (post->entries[i].kind == ENTRY_FOREIGN_KEY)
            TRY(check(t, s, &post->entries[i]));
    return NULL;
}

/* ---- foreign keys with other names ---- */

/* How often they have been looked at, and what that has to lead to. */
struct look {
    bool is_last;  /* of this round: what is open now is told */
    bool is_final; /* the stream has ended: nothing will change any more */
    unsigned n_open;
};

static struct entry *dumped_key(const struct task *t, uint32_t oid)
{
    const struct script *post = &t->schema.post;

    for (unsigned i = 0; i < post->n_entries; i++)
        if (post->entries[i].oid == oid && post->entries[i].kind == ENTRY_FOREIGN_KEY)
            return &post->entries[i];
    return NULL;
}

/* The source has it by another name, which is still to come, or not at all. */
static void leave_unknown(const struct foreign_key *key, struct look *look)
{
    look->n_open++;
    if (look->is_last && look->is_final)
        log_warn("foreign key \"%s\" of table %s stays NOT VALID on the target: the source has none of that name",
                 key->name, key->table);
    else if (look->is_last)
        log_info(
            "foreign key \"%s\" of table %s is NOT VALID on the target, and the source has none of that name: it is "
            "looked at again when the synchronization is stopped",
            key->name, key->table);
}

/* *refused: the server's answer; taken. Of a table that is being renamed just now, or may not be read in whole. */
MUST_USE static struct error *leave_refused(struct task *t, struct sides *s, const struct foreign_key *key,
                                            uint32_t oid, struct look *look, struct error *refused)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "refused key");
    const char *statement = foreign_key_validation(scratch, key);
    struct entry *dumped = dumped_key(t, oid);
    const struct entry e = {.kind = ENTRY_FOREIGN_KEY,
                            .type = "FK CONSTRAINT",
                            .name = arena_printf(scratch, "%s %s", key->table, key->name),
                            .oid = oid,
                            .n_statements = 1,
                            .statements = &statement};

    if (error_kind(refused) == ERROR_CONFIG && !look->is_last) {
        log_debug("%s", error_message(refused));
        error_free(refused);
        look->n_open++;
        return NULL;
    }
    if (dumped != NULL)
        dumped->is_broken = true;
    return leave_broken(t, &s->target, &e, ENTRY_VALIDATE, refused);
}

MUST_USE static struct error *validate_key(struct task *t, struct sides *s, struct arena *a,
                                           const struct foreign_key *key, struct look *look)
{
    struct foreign_key theirs;
    bool is_there = false;

    TRY(foreign_keys_find(s->source, a, key->table, key->name, &is_there, &theirs));
    if (!is_there) {
        leave_unknown(key, look);
        return NULL;
    }
    const struct entry *dumped = dumped_key(t, theirs.oid);
    if (!theirs.is_valid || (dumped != NULL && dumped->is_broken))
        return NULL;
    struct error *err = foreign_keys_validate(s->target, a, key);
    if (err == NULL || pg_conn_is_broken(s->target) ||
        (error_kind(err) != ERROR_DATA && error_kind(err) != ERROR_CONFIG))
        return err;
    return leave_refused(t, s, key, theirs.oid, look, err);
}

MUST_USE static struct error *validate_found(struct task *t, struct arena *a, struct look *look)
{
    CLEANUP(sides_close) struct sides *s = &(struct sides){.source = NULL};
    struct foreign_key *keys = NULL;
    unsigned n = 0;

    look->n_open = 0;
    TRY(task_connect_target(t, "objects", t->stop, &s->target));
    TRY(foreign_keys_unchecked(s->target, a, &keys, &n));
    if (n > 0)
        TRY(task_connect_source(t, "objects", t->stop, &s->source));
    for (unsigned i = 0; i < n; i++)
        TRY(validate_key(t, s, a, &keys[i], look));
    return NULL;
}

/*
 * Those that were renamed, with their table too, and those that statements of the source made while the rows were of several moments
 * (pg/target_ddl). A name that the source does not have is waited for: the target follows. What is open then is looked at once more
 * when everything is applied.
 */
MUST_USE static struct error *validate_others(struct task *t, bool is_final)
{
    if (!t->record->has_ddl || !t->may_be_replica)
        return NULL;
    for (unsigned i = 1;; i++) {
        CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "foreign keys");
        struct look look = {.is_last = is_final || i >= VALIDATE_TRIES, .is_final = is_final};
        struct error *err = validate_found(t, scratch, &look);

        if (err == NULL && (look.n_open == 0 || look.is_last))
            return NULL;
        if (err != NULL && error_kind(err) != ERROR_TRANSIENT)
            return err;
        error_free(err);
        if (stop_wait_ms(t->stop, VALIDATE_EVERY_MS))
            return stop_check(t->stop);
    }
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

struct error *full_objects_before_ddl(struct task *t)
{
    if (!t->record->has_ddl)
        return NULL;
    full_objects_weigh(t);
    TRY(ask_replica(t, &t->may_be_replica));
    return make_all_early(t);
}

MUST_USE static struct error *make_objects(struct task *t)
{
    TRY(ask_replica(t, &t->may_be_replica));
    TRY(run_entries(t, t->may_be_replica));
    TRY(validate_others(t, false));
    return extras_populate(t);
}

MUST_USE static struct error *set_whole(struct task *t)
{
    struct pg_conn *guard = NULL;

    TRY(prepare_guard(t, &guard));
    FAULT_POINT("full.before_whole");
    return state_set_whole(guard, t->record->id);
}

static bool something_is_left_out(const struct task *t)
{
    for (unsigned i = 0; i < t->schema.post.n_entries; i++)
        if (t->schema.post.entries[i].is_left_out)
            return true;
    return atomic_load(&t->counters->broken_keys) > 0;
}

/* What was left out, is broken or has to wait is looked at by each start. Where it cannot be said just now, all is. */
MUST_USE static struct error *note_whole(struct task *t)
{
    if (t->is_whole || t->record->is_once || !t->may_be_replica || !t->options->with_indexes ||
        something_is_left_out(t))
        return NULL;
    struct error *err = set_whole(t);
    if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
        return err;
    log_debug("%s", error_message(err));
    error_free(err);
    return NULL;
}

struct error *full_objects(struct task *t)
{
    struct progress_counters *c = t->counters;

    progress_set_phase(t->progress, PHASE_OBJECTS);
    full_objects_weigh(t);
    atomic_store(&c->objects.state, STEP_RUNNING);
    atomic_store(&t->rows_are_of_one_moment, true);
    atomic_store(&c->at_work[WORK_OBJECTS], 1);
    struct error *err = t->is_whole              ? NULL
                        : t->record->has_no_copy ? ask_replica(t, &t->may_be_replica)
                                                 : make_objects(t);
    atomic_store(&c->at_work[WORK_OBJECTS], 0);
    show_begun(t, 0);
    if (err != NULL)
        return err;
    if (!t->is_whole && !t->may_be_replica)
        log_warn("triggers, rules and foreign keys are made when the synchronization is stopped: without superuser (or "
                 "SET on "
                 "session_replication_role) on the target they would act on what is applied");
    atomic_store(&c->objects.done, atomic_load(&c->objects.total));
    atomic_store(&c->objects.entries_done, atomic_load(&c->objects.entries_total));
    atomic_store(&c->objects.state, STEP_DONE);
    atomic_store(&c->whole.state, STEP_DONE);
    return note_whole(t);
}

/* After the keys: who is held to policies cannot check them. And after all rows: what fires for us would act on them. */
MUST_USE static struct error *set_at_the_end(struct task *t)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "row security");
    struct chosen *chosen = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "row security", t->stop, &source));
    TRY(task_connect_target(t, "row security", t->stop, &target));
    TRY(selecting_now(t, source, scratch, &chosen));
    TRY(forced_security_restore(source, target, chosen, t->left_out));
    TRY(firing_restore(source, target, chosen, t->left_out));
    FAULT_POINT("full.forced");
    return NULL;
}

/* What follows is for the next start to mend, should it be interrupted. */
MUST_USE static struct error *take_back_whole(struct task *t)
{
    struct pg_conn *guard = NULL;

    if (t->record->is_once)
        return NULL;
    TRY(prepare_guard(t, &guard));
    TRY(state_forget_whole(guard, t->record->id));
    if (!t->is_whole)
        return NULL;
    TRY(ask_replica(t, &t->may_be_replica));
    return full_open_schema_target(t);
}

struct error *full_finish(struct task *t)
{
    TRY(take_back_whole(t));
    if (t->record->has_no_copy)
        return set_at_the_end(t);
    TRY(t->may_be_replica ? validate_others(t, true) : run_entries(t, true));
    return set_at_the_end(t);
}
