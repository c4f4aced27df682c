/* Sending folded work to a session: batches and TRUNCATEs in their order. Answers come with settle. */
#pragma once

#include "base/error.h"
#include "ports/target.h"
#include "sync/fold.h"

MUST_USE struct error *work_send(struct target target, const struct fold_work *work);
