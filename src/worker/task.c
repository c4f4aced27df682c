#include "worker/task.h"

char *task_session_name(struct arena *a, const struct task *t, const char *role)
{
    return arena_printf(a, "pgtide %s %s", t->record->id, role);
}

void task_fail(struct task *t, struct error *err)
{
    if (err == NULL)
        return;
    pthread_mutex_lock(&t->mutex);
    if (t->failure == NULL && error_kind(err) != ERROR_CANCELLED)
        t->failure = TAKE(err);
    pthread_mutex_unlock(&t->mutex);
    error_free(err);
    stop_request(t->stop);
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

MUST_USE static struct error *connect_as(struct task *t, const struct pg_endpoint *e, const char *role,
                                         struct pg_conn **out_conn)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "session name");

    return pg_connect_patiently(e,
                                (struct pg_connect_options){.application_name = task_session_name(scratch, t, role),
                                                            .encoding = t->encoding,
                                                            .stop = t->stop},
                                out_conn);
}

struct error *task_connect_source(struct task *t, const char *role, struct pg_conn **out_conn)
{
    return connect_as(t, t->source, role, out_conn);
}

struct error *task_connect_target(struct task *t, const char *role, struct pg_conn **out_conn)
{
    return connect_as(t, t->target, role, out_conn);
}
