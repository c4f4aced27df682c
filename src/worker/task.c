#include "worker/task.h"

#include "pg/standby.h"

static int compare_relation(const void *key, const void *member)
{
    uint32_t oid = *(const uint32_t *)key;
    const struct state_relation *r = member;

    return oid < r->source_oid ? -1 : oid > r->source_oid;
}

static const struct state_relation *find_relation(const struct task *t, uint32_t oid)
{
    if (t->n_relations == 0)
        return NULL;
    return bsearch(&oid, t->relations, t->n_relations, sizeof *t->relations, compare_relation);
}

const struct gate *task_gate(const struct task *t, uint32_t oid)
{
    const struct state_relation *found = find_relation(t, oid);

    return found == NULL ? NULL : &found->gate;
}

/* Dropped before it was copied: worker/full records it without a name. */
static bool is_gone(const struct task *t, uint32_t oid)
{
    const struct state_relation *found = find_relation(t, oid);

    return found != NULL && found->source_oid != TASK_STRUCTURE && found->is_nameless;
}

static int compare_oid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

bool task_ignores(const struct task *t, uint32_t oid)
{
    return is_gone(t, oid) ||
           (t->n_ignored > 0 && bsearch(&oid, t->ignored, t->n_ignored, sizeof *t->ignored, compare_oid) != NULL);
}

char *task_session_name(struct arena *a, const struct task *t, const char *role)
{
    return arena_printf(a, "pgtide %s %s", t->record->id, role);
}

void task_fail(struct task *t, struct error *err)
{
    if (err == NULL)
        return;
    if (error_kind(err) == ERROR_CANCELLED) { /* whoever asked for it has told all whom it concerns */
        error_free(err);
        return;
    }
    pthread_mutex_lock(&t->mutex);
    if (t->failure == NULL)
        t->failure = TAKE(err);
    pthread_mutex_unlock(&t->mutex);
    error_free(err);
    stop_request(t->stop);
    stop_request(t->stream_stop);
    wake_ring(t->news);
    wake_ring(t->events);
}

struct error *task_take_failure(struct task *t)
{
    pthread_mutex_lock(&t->mutex);
    struct error *err = TAKE(t->failure);
    pthread_mutex_unlock(&t->mutex);
    return err;
}

void task_commit_came(const struct task *t, struct lsn end, int64_t committed_us)
{
    uint64_t until = atomic_load(&t->until_lsn);

    if (until == 0 || end.value <= until)
        progress_commit_came(t->counters, end, committed_us);
}

MUST_USE static struct error *connect_as(const struct task *t, const struct pg_endpoint *e, const char *role,
                                         const struct stop *stop, struct pg_conn **out_conn)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "session name");
    struct pg_connect_options options = {
        .application_name = task_session_name(scratch, t, role),
        .encoding = t->source_facts.encoding,
        .stop = stop,
    };

    return pg_connect_patiently(e, options, out_conn);
}

struct error *task_connect_source(const struct task *t, const char *role, const struct stop *stop,
                                  struct pg_conn **out_conn)
{
    return connect_as(t, t->source, role, stop, out_conn);
}

struct error *task_connect_target(const struct task *t, const char *role, const struct stop *stop,
                                  struct pg_conn **out_conn)
{
    return connect_as(t, t->target, role, stop, out_conn);
}

struct error *task_mark(struct pg_conn *source, struct lsn *out_lsn)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "mark");
    char *text = NULL;

    if (pg_standby_is(source)) /* what it has replayed: keepalives tell when all of that has come */
        TRY(pg_query_text(source, scratch, "asking up to where the standby has replayed",
                          "SELECT pg_catalog.pg_last_wal_replay_lsn()::text", NULL, 0, &text));
    else
        TRY(pg_query_text(source, scratch, "writing a marker into the source's WAL",
                          "SELECT pg_catalog.pg_logical_emit_message(true, 'pgtide', 'mark')::text", NULL, 0, &text));
    if (text == NULL || !lsn_parse(text, out_lsn))
        return error_new(ERROR_BUG, "the source's answer to a marker is no position");
    return NULL;
}
