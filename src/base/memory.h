/*
 * Memory for objects that live longer than any arena or on several threads: malloc that does not fail.
 *
 * Running out of memory ends the process, as with arenas (base/arena.h says why). Free with free(). Thread-safe.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

/* Zeroed. `what` names the object in the last words of a process that got none. */
RETURNS_NONNULL void *memory_new(size_t size, const char *what);

/* As realloc: the bytes keep their content. `p` may be NULL. */
RETURNS_NONNULL void *memory_resize(void *p, size_t size, const char *what);

/* Gives what was freed back to the system: after a phase that needed much. Else freed pages stay ours between those in use. */
void memory_trim(void);

#define MEMORY_NEW(type) ((type *)memory_new(sizeof(type), #type))
