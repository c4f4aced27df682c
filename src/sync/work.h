/* Sending folded work to a session: batches and TRUNCATEs in their order, and what must be true after it. Answers come with settle. */
#pragma once

#include "base/error.h"
#include "ports/target.h"
#include "sync/fold.h"

MUST_USE struct error *work_send(struct target target, const struct fold_work *work);

/* Whether work_check has anything to send. */
bool work_has_deferred(const struct fold_work *work);

/* Deferrable keys: asks whether the rows that were written are alone with theirs. */
MUST_USE struct error *work_check(struct target target, const struct fold_work *work);

/* Deferrable keys that are violated now, in the midst of a transaction, must be looked for at its end. */
void work_doubt(struct target target, const struct fold_work *work);
