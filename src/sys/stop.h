/*
 * A request to stop that can be waited for.
 *
 * One object, many readers: threads look at stop_requested between steps and put stop_fd into every poll, so that no
 * wait outlives the request. Requesting is async-signal-safe and happens once; it is taken back only where nobody is left who heeds it.
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct stop;

MUST_USE struct error *stop_new(struct stop **out_stop);
void stop_free(struct stop *s);
DEFINE_CLEANUP(struct stop, stop_free);

void stop_request(struct stop *s);

/* As if it had never been requested: for other threads, when all of those that looked at it have ended. */
void stop_renew(struct stop *s);
bool stop_requested(const struct stop *s);

/* Readable (POLLIN) from the request on. */
int stop_fd(const struct stop *s);

/* ERROR_CANCELLED once requested, else NULL: `TRY(stop_check(stop));` */
MUST_USE struct error *stop_check(const struct stop *s);

/* Waits `ms` or until the request, whichever is first; true when stop was requested. */
bool stop_wait_ms(const struct stop *s, int ms);
