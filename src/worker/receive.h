/*
 * The receiver: replication connection -> spool -> feedback, and nothing else, so that nothing ever keeps the source waiting.
 *
 * A thread of its own. Connects again as long as errors are transient. (P3) The source is told to forget what the spool has on
 * disk, or, with --ack target, what the target has on disk; (P4) a keepalive counts only when nothing is pending and it is in the spool.
 */
#pragma once

#include "worker/task.h"

/* Thread function; `self` is the struct task, whose spool is open. Ends with NULL when asked to stop. */
MUST_USE struct error *receive_run(void *self);
