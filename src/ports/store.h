/*
 * Where the spool keeps its segments: numbered byte files in one place.
 *
 * In production a folder (worker/spool_folder over sys/file); in unit tests memory that can lose what was not synced, tear
 * the last write and fail any call. One writer and one reader thread at the same time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

struct segment_store_ops {
    /* Numbers of the segments that exist, ascending, in `a`. */
    MUST_USE struct error *(*list)(void *self, struct arena *a, uint64_t **out_numbers, size_t *out_n);
    MUST_USE struct error *(*size)(void *self, uint64_t number, uint64_t *out_bytes);

    /* Appends to the segment, made when missing. Not durable before sync. ENOSPC is ERROR_TRANSIENT. */
    MUST_USE struct error *(*append)(void *self, uint64_t number, const void *bytes, size_t length);

    /* Everything appended to every segment so far survives a power cut. */
    MUST_USE struct error *(*sync)(void *self);

    /* Up to `length` bytes from `offset`; fewer only at the segment's end. */
    MUST_USE struct error *(*read)(void *self, uint64_t number, uint64_t offset, void *out, size_t length,
                                   size_t *out_length);

    MUST_USE struct error *(*truncate)(void *self, uint64_t number, uint64_t bytes);
    MUST_USE struct error *(*remove)(void *self, uint64_t number); /* a missing one is fine */
};

struct segment_store {
    const struct segment_store_ops *ops;
    void *self;
};
