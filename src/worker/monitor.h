/*
 * Watches the source while a sync runs: where its WAL is, what our slot keeps, how its clock differs from ours; keeps an idle
 * database's slot moving; refreshes sequences.
 *
 * A thread of its own with sessions of its own. What it cannot find out for a while costs numbers on the display, not the sync: failures are
 * logged once and tried again. A slot that is gone or lost its WAL is the exception: that ends the sync (P6).
 */
#pragma once

#include "worker/task.h"

/* Thread function; `self` is the struct task. Ends with NULL when asked to stop. */
MUST_USE struct error *monitor_run(void *self);
