/*
 * Names that the operator gave: --publication names one that somebody made, which is used and stays; --slot names the slot
 * that is to be made, or with --type incremental one that somebody made, which is read from where it is, and stays.
 *
 * Checked before the task's record is written, so that nothing of somebody else is ever taken for ours (R1).
 */
#pragma once

#include "base/error.h"
#include "worker/task.h"

/*
 * Of a task that is to begin: puts the names into its record. ERROR_CONFIG for a slot that exists and may not be read, for a publication
 * that does not exist, or that does not publish every change of every table.
 */
MUST_USE struct error *given_take(struct task *t);

/* Of a task that goes on: other names than it was begun with are ERROR_CONFIG. */
MUST_USE struct error *given_compare(const struct task *t);
