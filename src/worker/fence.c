#include "worker/fence.h"

#include <unistd.h>

#include "base/log.h"
#include "control/json.h"
#include "worker/hold.h"

struct error *fence_set(struct task *t, const json_t *request)
{
    const json_t *member = json_object_get(request, "fence");
    struct lsn at = LSN_NONE;

    if (member != NULL && (json_string_value(member) == NULL || !lsn_parse(json_string_value(member), &at)))
        return error_new(ERROR_USAGE, "the fence of a stop is no position");
    atomic_store(&t->fence_lsn, at.value);
    atomic_store(&t->is_stop_refused, false);
    return NULL;
}

struct error *fence_look(struct task *t, json_t **out_reply)
{
    TRY(hold_refuse(t)); /* who asks waits for changes to be applied */
    /* In this order: a change is known before it counts as applied. */
    struct lsn applied = {atomic_load(&t->counters->applied_lsn)};
    struct lsn change = {atomic_load(&t->last_change_lsn)};

    *out_reply = json_pack("{s:i, s:o, s:o, s:o, s:b}", "pid", (int)getpid(), "applied", json_lsn(applied), "durable",
                           json_lsn((struct lsn){atomic_load(&t->durable_lsn)}), "last_change", json_lsn(change),
                           "stop_refused", (int)atomic_load(&t->is_stop_refused));
    return NULL;
}

bool fence_lets_stop(struct task *t)
{
    struct lsn fence = {atomic_load(&t->fence_lsn)};
    struct lsn change = {atomic_load(&t->last_change_lsn)};

    if (lsn_is_none(fence) || lsn_before(change, fence))
        return true;
    log_warn("the stop is refused: the source was written to at %s, behind the fence at %s; following goes on",
             lsn_format(change).text, lsn_format(fence).text);
    atomic_store(&t->stop_asked, false);
    atomic_store(&t->is_stop_refused, true);
    return false;
}
