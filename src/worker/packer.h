/*
 * Packs what waits for long in the spool (worker/spool_folder): a long copy, a paused or slow target. An apply that keeps up never
 * meets a packed segment.
 *
 * A thread of its own, so that receiving does not wait for it. What it cannot pack stays as it is: said once, tried again.
 */
#pragma once

#include "worker/task.h"

/* Thread function; `self` is the struct task, whose spool is open. Ends with NULL when asked to stop. */
MUST_USE struct error *packer_run(void *self);
