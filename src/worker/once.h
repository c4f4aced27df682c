/*
 * --type full: a copy that ends by itself. Nothing is made on the source, no slot, no publication; what is committed there after the
 * snapshot is not carried.
 *
 *     prepare (ordinary snapshot) -> structure -> rows, indexes, statistics -> objects -> sequences -> comparison -> end
 *
 * One snapshot as long as it is not interrupted; what is left after an interruption gets a new one, so then tables show different
 * moments of the source, and the log says so.
 */
#pragma once

#include "worker/task.h"

/* All of it, in the orchestrator's thread. */
MUST_USE struct error *once_run(struct task *t);
