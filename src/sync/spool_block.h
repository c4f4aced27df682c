/*
 * Reads records of a segment through one block, checking every checksum (internal to the spool). One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ports/store.h"
#include "sync/spool_format.h"

struct spool_block {
    struct segment_store store;
    uint64_t task_tag;
    char *bytes;              /* SPOOL_BLOCK_BYTES, malloc'ed */
    struct spool_place place; /* of bytes[0] */
    size_t length;
};

void block_init(struct spool_block *b, struct segment_store store, uint64_t task_tag);
void block_drop(struct spool_block *b);

/* What was read before may no longer be true. */
void block_forget(struct spool_block *b);

/*
 * `wanted` bytes (at most SPOOL_BLOCK_BYTES) at a place, good until the next call; *out is NULL when `limit` or the
 * segment is shorter.
 */
MUST_USE struct error *block_bytes(struct spool_block *b, struct spool_place place, size_t wanted, uint64_t limit,
                                   const char **out);

enum record_verdict {
    RECORD_GOOD,
    RECORD_BAD, /* no header, a length that goes beyond `limit`, or a wrong checksum */
    RECORD_END, /* `place` is at `limit` */
};

struct record {
    enum record_verdict verdict;
    struct record_header header;
    const char *payload; /* when good: see below */
};

/*
 * The record at `place`, in the first `limit` bytes of its segment. The payload is in `a`; without an arena it is in
 * the block, good until the next call, and NULL when it does not fit there (then it has only been checked).
 */
MUST_USE struct error *block_record(struct spool_block *b, struct arena *a, struct spool_place place, uint64_t limit,
                                    struct record *out);

/*
 * Whether bytes from `bad` on had been durable: a good record further on says so. What no such record vouches for is
 * the torn tail of a crash.
 */
MUST_USE struct error *block_was_synced(struct spool_block *b, struct spool_place bad, uint64_t limit, bool *out_was);

/* ERROR_DATA: the bytes at a place are not what was once durable there. */
MUST_USE RETURNS_NONNULL struct error *block_damaged(struct spool_place place);
