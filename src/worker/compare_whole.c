#include "worker/compare_whole.h"

#include "pg/compare_large_objects.h"
#include "pg/compare_objects.h"
#include "pg/firing.h"

struct error *compare_sessions_savepoint(struct compare_sessions *s, const char *statement)
{
    TRY(pg_execute(s->source, "a savepoint", statement));
    return pg_execute(s->target, "a savepoint", statement);
}

const char *compare_reason(struct arena *a, const struct error *err)
{
    const char *hint = error_hint_text(err);

    return hint == NULL ? error_message(err) : arena_printf(a, "%s. %s", error_message(err), hint);
}

/* ---- which ---- */

static bool always(const struct compare_whole_work *w)
{
    (void)w;
    return true;
}

static bool without_sync(const struct compare_whole_work *w)
{
    return !w->has_sync;
}

static bool of_whole_database(const struct compare_whole_work *w)
{
    return w->names == NULL;
}

static bool when_settled(const struct compare_whole_work *w)
{
    return w->names == NULL && w->is_settled;
}

enum whole_set { SET_OF_OBJECTS, SET_OF_LARGE_OBJECTS };

static const struct whole {
    const char *name; /* of the entry that says why nothing was compared */
    enum compare_kind kind;
    enum whole_set from;
    enum object_set set; /* of SET_OF_OBJECTS */
    bool (*applies)(const struct compare_whole_work *w);
} wholes[] = {
    {"objects", COMPARE_OBJECTS, SET_OF_OBJECTS, OBJECT_SET_DEFINITIONS, always},
    {"sequence value", COMPARE_OBJECTS, SET_OF_OBJECTS, OBJECT_SET_SEQUENCES, without_sync},
    {"database", COMPARE_OBJECTS, SET_OF_OBJECTS, OBJECT_SET_DATABASE, when_settled},
    {"large object", COMPARE_OBJECTS, SET_OF_LARGE_OBJECTS, 0, of_whole_database},
    {"accounts", COMPARE_ACCOUNTS, SET_OF_OBJECTS, OBJECT_SET_ACCOUNTS, always},
    {"large object", COMPARE_VALUES, SET_OF_LARGE_OBJECTS, 0, of_whole_database},
};

static bool is_wanted(const struct compare_whole_work *w, const struct whole *whole)
{
    return w->kinds[whole->kind] && whole->applies(w);
}

unsigned compare_wholes_count(const struct compare_whole_work *w)
{
    unsigned n = 0;

    for (size_t i = 0; i < COUNT_OF(wholes); i++)
        n += is_wanted(w, &wholes[i]);
    return n;
}

/* ---- one of them ---- */

MUST_USE static struct error *compare_parts(const struct compare_whole_work *w, struct arena *a,
                                            const struct whole *whole)
{
    struct compare_sessions *s = w->sessions;
    struct name_arrays arrays = name_set_arrays(a, w->names);
    const struct object_scope scope = {.schemas = arrays.schemas,
                                       .names = arrays.names,
                                       .with_publications = w->with_publications,
                                       .fires_later = !w->is_settled,
                                       .filter = name_set_filter(w->names)};

    return whole->from == SET_OF_LARGE_OBJECTS
               ? compare_large_objects_run(s->source, s->target, whole->kind, w->collector)
               : compare_objects_run(s->source, s->target, whole->set, &scope, w->collector);
}

MUST_USE static struct error *compare_whole(const struct compare_whole_work *w, const struct whole *whole)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "whole");
    struct compare_sessions *s = w->sessions;

    TRY(compare_sessions_savepoint(s, "SAVEPOINT pgtide"));
    struct error *err = compare_parts(w, scratch, whole);
    if (err == NULL) {
        atomic_fetch_add(&w->progress->entries_done, 1);
        return compare_sessions_savepoint(s, "RELEASE pgtide");
    }
    struct compare_entry *e = compare_entry_begin(w->collector, whole->kind, whole->name);
    compare_entry_not_compared(w->collector, e, compare_reason(scratch, err));
    if (error_kind(err) == ERROR_CANCELLED || pg_conn_is_broken(s->source) || pg_conn_is_broken(s->target))
        return err;
    error_free(err);
    return compare_sessions_savepoint(s, "ROLLBACK TO pgtide");
}

/* What a sync has not set for good yet differs in between. */
static void tell_unsettled(const struct compare_whole_work *w)
{
    if (w->kinds[COMPARE_OBJECTS] && w->has_sync)
        compare_note(w->collector, "The values of sequences were not compared: the running sync sets them every "
                                   "minute, and exactly at its end.");
    if (w->kinds[COMPARE_OBJECTS] && w->names == NULL && !w->is_settled)
        compare_note(w->collector, "Comment, settings and rights of the database itself were not compared: the sync "
                                   "sets them at its end.");
}

MUST_USE static struct error *tell_of_firing(const struct compare_whole_work *w)
{
    bool is_there = false;

    if (!w->kinds[COMPARE_OBJECTS] || w->is_settled)
        return NULL;
    TRY(firing_is_there(w->sessions->source, &is_there));
    if (is_there)
        compare_note(w->collector, "That triggers and rules fire for replicas (ENABLE ALWAYS, ENABLE REPLICA) was not "
                                   "compared: the sync sets it at its end.");
    return NULL;
}

struct error *compare_wholes_run(const struct compare_whole_work *w)
{
    tell_unsettled(w);
    TRY(tell_of_firing(w));
    for (size_t i = 0; i < COUNT_OF(wholes); i++)
        if (is_wanted(w, &wholes[i]))
            TRY(compare_whole(w, &wholes[i]));
    return NULL;
}
