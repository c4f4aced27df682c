/*
 * A text that must not be seen: a password, a connection string that holds one.
 *
 * Opaque, so that it has no format and cannot slip into a message. Its memory is locked where the system allows it and
 * wiped when freed. Immutable after creation, so it may be read by several threads.
 */
#pragma once

#include "base/macros.h"

struct secret;

RETURNS_NONNULL struct secret *secret_new(const char *text);
void secret_free(struct secret *s);
DEFINE_CLEANUP(struct secret, secret_free);

/* For the one call that needs it (libpq). Do not keep the pointer, do not print it. */
RETURNS_NONNULL const char *secret_reveal(const struct secret *s);
