/*
 * Arenas: memory that is freed by lifetime and not by pointer.
 *
 * The lifetimes of this program are the process, a task, a transaction being applied, and a message being read. Each
 * has an arena; a function that returns memory takes the arena the memory should live in, so the signature says how long
 * the result is good for. Running out of memory ends the process: a worker restarts from its checkpoint, which is a
 * tested path, and an untested error branch after every allocation is not.
 *
 * Not thread-safe: an arena belongs to one thread.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

struct arena;

/* The child dies with its parent. `name` must outlive the arena; it shows up in memory reports. */
RETURNS_NONNULL struct arena *arena_new(struct arena *parent, const char *name);
void arena_free(struct arena *a);
DEFINE_CLEANUP(struct arena, arena_free);

/* Frees what was allocated and every child, keeps the arena. */
void arena_reset(struct arena *a);

/* Zeroed, aligned for any type, never NULL. */
RETURNS_NONNULL void *arena_alloc(struct arena *a, size_t size);

/* The same without zeroing, for bytes that are about to be written: values, blocks read from a file. */
RETURNS_NONNULL char *arena_bytes(struct arena *a, size_t size);

RETURNS_NONNULL char *arena_strdup(struct arena *a, const char *text);
RETURNS_NONNULL PRINTF(2, 3)
char *arena_printf(struct arena *a, const char *fmt, ...);

/* Bytes held by this arena and its children. */
size_t arena_used(const struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
