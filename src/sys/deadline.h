/*
 * Waiting for descriptors until a moment, whatever signals come in between.
 *
 * Moments are on clock_now_us. Thread-safe.
 */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

/* The moment `timeout_ms` from now; DEADLINE_NEVER for a negative one. */
int64_t deadline_after_ms(int timeout_ms);

/*
 * As poll(2), but until `deadline_us`; goes on after a signal. A descriptor of -1 is passed over. Returns how many are
 * ready; 0 when the time has run out.
 */
int deadline_poll(struct pollfd *fds, size_t n, int64_t deadline_us);
