/*
 * The brake of the copy: one bucket of bytes for all workers, filled at the speed that model/rate has for the time of day.
 *
 * Thread-safe. Local time of this machine. A worker says what it has read and is told how long to read no more; what it
 * does not read, the source does not send.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "model/rate.h"

struct pace;

/* Lives in `a`. */
struct pace *pace_new(struct arena *a, const struct rate_plan *plan);

/* From now on; a worker that waits notices within PACE_WAIT_MS. */
void pace_set(struct pace *p, const struct rate_plan *plan);
struct rate_plan pace_plan(struct pace *p);

enum { PACE_WAIT_MS = 500 };

/*
 * Milliseconds to wait after `bytes` more were read, at most PACE_WAIT_MS: then ask again with 0 bytes, because the speed may be
 * another by then. 0: go on.
 */
int pace_take(struct pace *p, uint64_t bytes);

/* MB/s at this moment; 0: no limit. */
unsigned pace_now(struct pace *p);
