/*
 * The bytes of a segment (internal to the spool).
 *
 *     segment header, 88 bytes:  magic 8 | version 4 | flags 4 | task tag 8 | number 8 | bytes of the one before 8
 *                                | complete: segment 8, offset 8, base 8, end 8, transactions 8 | checksum 8
 *     record header, 32 bytes:   checksum 4 | length 4 | synced 4 | mark and kind 4 | wal 8 | received 8
 *
 * All big-endian. The record's checksum covers header and payload and is seeded with task, segment and offset, so bytes
 * that were once valid somewhere else are not valid here. `synced` says how much of the segment was durable when the
 * record was written: a good record that knows of a durable place behind a bad one tells damage from a torn tail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/lsn.h"

enum {
    SEGMENT_HEADER_BYTES = 88,
    RECORD_HEADER_BYTES = 32,
    SPOOL_BLOCK_BYTES =
        256 * 1024, /* of the write buffer, of reads, and of what is checksummed at once: part of the format */
};

struct spool_place {
    uint64_t segment;
    uint64_t offset;
};

static inline bool place_before(struct spool_place a, struct spool_place b)
{
    return a.segment != b.segment ? a.segment < b.segment : a.offset < b.offset;
}

/* A place between transactions, and what is true there. */
struct spool_mark {
    struct spool_place place;
    struct lsn base;       /* end of the last COMMIT before it, or where the stream began */
    struct lsn end;        /* that, or a later keepalive (P4) */
    uint64_t transactions; /* complete ones since the stream began */
};

struct segment_header {
    uint64_t task_tag;
    uint64_t number;
    uint64_t previous_bytes;    /* size of segment number - 1, which is closed */
    bool is_origin;             /* the stream begins here: older segments are leftovers */
    struct spool_mark complete; /* the last mark at or before the segment's start */
};

/* Between transactions: a reader may begin here. */
static inline bool segment_starts_clean(const struct segment_header *h)
{
    return h->complete.place.segment == h->number;
}

enum segment_verdict {
    SEGMENT_GOOD,
    SEGMENT_BAD,     /* not a header, or not this one */
    SEGMENT_FOREIGN, /* of another task */
    SEGMENT_UNKNOWN, /* of another version of the format */
};

void segment_header_encode(const struct segment_header *h, char out[SEGMENT_HEADER_BYTES]);

/* `number` is what the store calls the segment. *out is written only when it is good. */
enum segment_verdict segment_header_decode(const char bytes[SEGMENT_HEADER_BYTES], uint64_t task_tag, uint64_t number,
                                           struct segment_header *out);

enum record_kind {
    RECORD_MESSAGE = 1,
    RECORD_COMMIT,    /* a message too, the one that ends a transaction */
    RECORD_RELATION,  /* a copy at the head of a segment */
    RECORD_KEEPALIVE, /* no payload; `wal` is the position */
};

struct record_header {
    uint32_t checksum;
    uint32_t length; /* of the payload */
    uint32_t synced;
    enum record_kind kind;
    struct lsn wal;
    int64_t received_us;
};

/* Writes the header, checksum included, of a record with this payload at this place. */
void record_header_encode(const struct record_header *h, uint64_t task_tag, struct spool_place place,
                          const char *payload, char out[RECORD_HEADER_BYTES]);

/* False when it cannot be one. The checksum is not yet looked at. */
bool record_header_decode(const char bytes[RECORD_HEADER_BYTES], struct record_header *out);

/* The checksum in the making: the header, then the payload in blocks of SPOOL_BLOCK_BYTES (the last one shorter). */
uint64_t record_hash_begin(const char bytes[RECORD_HEADER_BYTES], uint64_t task_tag, struct spool_place place);
uint64_t record_hash_payload(uint64_t hash, const char *bytes, size_t length);
uint32_t record_hash_end(uint64_t hash);
