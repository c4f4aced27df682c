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
