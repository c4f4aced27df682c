/*
 * A bell between threads that can be polled: eventfd.
 *
 * Many may ring, one waits. Rings are not counted: after a wake-up look at everything. Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "sys/stop.h"

struct wake;

MUST_USE struct error *wake_new(struct wake **out_wake);
void wake_free(struct wake *w);
DEFINE_CLEANUP(struct wake, wake_free);

void wake_ring(struct wake *w);
int wake_fd(const struct wake *w);
void wake_clear(struct wake *w);

/* Until rung, stopped, or `timeout_ms` (-1: none). Clears the ring. False when it was the time that ran out. */
bool wake_wait(struct wake *w, const struct stop *stop, int timeout_ms);
