#include "worker/hold.h"

#include <stdlib.h>

#include "base/log.h"
#include "control/json.h"
#include "sys/file.h"
#include "worker/stopped.h"

enum { WAIT_MS = 1000 };

/* ---- paused ---- */

static const char *pause_path(struct arena *a, const char *folder)
{
    return arena_printf(a, "%s/paused", folder);
}

struct error *pause_read(const char *folder, bool *out_is_paused)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "pause");
    char *text = NULL;
    size_t length = 0;

    TRY(file_read(a, pause_path(a, folder), &text, &length));
    *out_is_paused = text != NULL;
    return NULL;
}

struct error *pause_forget(const char *folder)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "pause");

    return file_remove(pause_path(a, folder));
}

struct error *pause_set(struct task *t, bool is_paused)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "pause");

    TRY(is_paused ? file_replace(pause_path(a, t->folder), "", 0) : pause_forget(t->folder));
    atomic_store(&t->counters->is_paused, is_paused);
    wake_ring(t->news);
    return NULL;
}

/* ---- held ---- */

static void set_cause(struct task *t, const char *cause)
{
    pthread_mutex_lock(&t->mutex);
    free(t->held_cause);
    t->held_cause = cause == NULL ? NULL : strdup(cause);
    atomic_store(&t->counters->is_stopped, t->held_cause != NULL);
    pthread_mutex_unlock(&t->mutex);
}

static bool is_held(const struct task *t)
{
    return atomic_load(&t->counters->is_stopped);
}

bool hold_wait(struct task *t, const struct error *cause)
{
    log_error(cause, "applying has stopped at a change; receiving goes on, so the source keeps no WAL for it");
    set_cause(t, error_message(cause));
    while (is_held(t) && !stop_requested(t->stream_stop) && !atomic_load(&t->stop_asked))
        wake_wait(t->news, t->stream_stop, WAIT_MS);
    bool is_decided = !is_held(t);
    set_cause(t, NULL);
    return is_decided;
}

const char *hold_cause(struct task *t, struct arena *a)
{
    pthread_mutex_lock(&t->mutex);
    const char *cause = t->held_cause == NULL ? NULL : arena_strdup(a, t->held_cause);
    pthread_mutex_unlock(&t->mutex);
    return cause;
}

void hold_retry(struct task *t, const char *cause)
{
    if (cause == NULL && !atomic_load(&t->is_retrying))
        return;
    pthread_mutex_lock(&t->mutex);
    free(t->retry_cause);
    t->retry_cause = cause == NULL ? NULL : strdup(cause);
    atomic_store(&t->is_retrying, t->retry_cause != NULL);
    pthread_mutex_unlock(&t->mutex);
}

const char *hold_problem(struct task *t, struct arena *a)
{
    const char *cause = hold_cause(t, a);

    pthread_mutex_lock(&t->mutex);
    if (cause == NULL && t->retry_cause != NULL)
        cause = arena_printf(a, "applying was interrupted and is tried again: %s", t->retry_cause);
    pthread_mutex_unlock(&t->mutex);
    return cause;
}

struct error *hold_refuse(struct task *t)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "held");
    const char *cause = hold_cause(t, a);

    if (cause == NULL && atomic_load(&t->counters->is_paused) &&
        !atomic_load(&t->stop_asked)) /* a stop does not rest */
        return error_hint(error_new(ERROR_CONFIG, "applying is paused"),
                          "\"pgtide resume\" lets it go on; then run the same command again.");
    if (cause == NULL)
        return NULL;
    return error_hint(
        error_new(ERROR_CONFIG, "applying has stopped: %s", cause),
        "\"pgtide resume\" goes on, with --skip-change, --skip-transaction, --overwrite or --replace-with.");
}

json_t *hold_request(struct resume_decision decision)
{
    return json_pack("{s:s, s:o}", "choice", stopped_choice_name(decision.choice), "instead",
                     json_text(decision.instead));
}

MUST_USE static struct error *parse_request(const json_t *request, struct resume_decision *out)
{
    const char *name = json_string_value(json_object_get(request, "choice"));
    const char *instead = json_string_value(json_object_get(request, "instead"));

    if (name == NULL || !stopped_choice_parse(name, &out->choice))
        return error_new(ERROR_USAGE, "a decision has no known choice");
    out->instead = instead == NULL ? "" : instead;
    return NULL;
}

struct error *hold_decide(struct task *t, const json_t *request)
{
    struct resume_decision decision;

    TRY(parse_request(request, &decision));
    if (!is_held(t))
        return error_new(ERROR_CONFIG, "there is nothing to decide: applying has not stopped at a change");
    if (decision.choice != RESUME_AS_IS)
        TRY(stopped_decide(t->folder, decision)); /* the follower waits: nobody else writes it */
    log_info("applying goes on after its stop, decided: %s", stopped_choice_name(decision.choice));
    set_cause(t, NULL);
    wake_ring(t->news);
    return NULL;
}
