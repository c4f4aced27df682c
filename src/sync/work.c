#include "sync/work.h"

struct error *work_send(struct target target, const struct fold_work *work)
{
    for (; work != NULL; work = work->next) {
        const struct change_truncate *t = work->truncate;

        if (work->batch != NULL)
            TRY(target.ops->batch(target.self, work->batch));
        else
            TRY(target.ops->truncate(target.self, t->tables, t->n_tables, t->restart_identity));
    }
    return NULL;
}

static bool is_deferred(const struct fold_work *work)
{
    return work->batch != NULL && work->batch->op != BATCH_DELETE && work->batch->table->has_deferred;
}

bool work_has_deferred(const struct fold_work *work)
{
    for (; work != NULL; work = work->next)
        if (is_deferred(work))
            return true;
    return false;
}

struct error *work_check(struct target target, const struct fold_work *work)
{
    for (; work != NULL; work = work->next)
        if (is_deferred(work))
            TRY(target.ops->check(target.self, work->batch));
    return NULL;
}

void work_doubt(struct target target, const struct fold_work *work)
{
    for (; work != NULL; work = work->next)
        if (is_deferred(work))
            target.ops->doubt(target.self, work->batch->table);
}
