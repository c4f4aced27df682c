/*
 * Follows the change stream: spool -> feeder -> windows -> lane -> target.
 *
 * Two threads: the feeder's (this function) and the lane's, which it starts. Two windows go round between them: while one is
 * applied the next one fills, so a busy source gets large batches and a quiet one short delays, with no setting.
 * A session lasts until a transient error; then everything open is rolled back, the target is asked for its position and reading begins
 * there again. Any other error ends the sync.
 */
#pragma once

#include "worker/task.h"

/* Thread function; `self` is the struct task. Ends with NULL when asked to stop. */
MUST_USE struct error *follow_run(void *self);
