#include "sync/spool_format.h"

#include "base/cursor.h"
#include "base/hash.h"

enum {
    FORMAT_VERSION = 1,
    FLAG_ORIGIN = 1,
    HASHED_FROM = 4, /* a record's checksum does not cover itself */
    HEADER_HASHED = SEGMENT_HEADER_BYTES - 8,
};

static const char magic[8] = "pgtspool";

/* In front of each record's kind: most bytes that are no record are known by it, without a hash. */
static const uint32_t RECORD_MARK = UINT32_C(0x70677300);

static char *put_u32(char *at, uint32_t n)
{
    n = __builtin_bswap32(n);
    memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

static char *put_u64(char *at, uint64_t n)
{
    n = __builtin_bswap64(n);
    memcpy(at, &n, sizeof n);
    return at + sizeof n;
}

void segment_header_encode(const struct segment_header *h, char out[SEGMENT_HEADER_BYTES])
{
    char *at = out;

    memcpy(at, magic, sizeof magic);
    at = put_u32(at + sizeof magic, FORMAT_VERSION);
    at = put_u32(at, h->is_origin ? FLAG_ORIGIN : 0);
    at = put_u64(at, h->task_tag);
    at = put_u64(at, h->number);
    at = put_u64(at, h->previous_bytes);
    at = put_u64(at, h->complete.place.segment);
    at = put_u64(at, h->complete.place.offset);
    at = put_u64(at, h->complete.base.value);
    at = put_u64(at, h->complete.end.value);
    at = put_u64(at, h->complete.transactions);
    put_u64(at, hash_bytes(out, HEADER_HASHED, 0));
}

enum segment_verdict segment_header_decode(const char bytes[SEGMENT_HEADER_BYTES], uint64_t task_tag, uint64_t number,
                                           struct segment_header *out)
{
    struct cursor c = cursor_over(bytes, SEGMENT_HEADER_BYTES);
    struct segment_header h = {0};

    if (memcmp(cursor_bytes(&c, sizeof magic), magic, sizeof magic) != 0)
        return SEGMENT_BAD;
    uint32_t version = cursor_u32(&c);
    h.is_origin = (cursor_u32(&c) & FLAG_ORIGIN) != 0;
    h.task_tag = cursor_u64(&c);
    h.number = cursor_u64(&c);
    h.previous_bytes = cursor_u64(&c);
    h.complete.place.segment = cursor_u64(&c);
    h.complete.place.offset = cursor_u64(&c);
    h.complete.base.value = cursor_u64(&c);
    h.complete.end.value = cursor_u64(&c);
    h.complete.transactions = cursor_u64(&c);
    if (cursor_u64(&c) != hash_bytes(bytes, HEADER_HASHED, 0))
        return SEGMENT_BAD;
    if (version != FORMAT_VERSION)
        return SEGMENT_UNKNOWN;
    if (h.task_tag != task_tag)
        return SEGMENT_FOREIGN;
    if (h.number != number || h.complete.place.segment > number || h.complete.place.offset < SEGMENT_HEADER_BYTES)
        return SEGMENT_BAD;
    *out = h;
    return SEGMENT_GOOD;
}

uint64_t record_hash_begin(const char bytes[RECORD_HEADER_BYTES], uint64_t task_tag, struct spool_place place)
{
    /* Two odd constants of XXH64: neighbouring places get seeds that have nothing in common. */
    uint64_t seed =
        task_tag ^ (place.segment * UINT64_C(0x9E3779B185EBCA87)) ^ (place.offset * UINT64_C(0xC2B2AE3D27D4EB4F));

    return hash_bytes(bytes + HASHED_FROM, RECORD_HEADER_BYTES - HASHED_FROM, seed);
}

uint64_t record_hash_payload(uint64_t hash, const char *bytes, size_t length)
{
    while (length > 0) {
        size_t n = length < SPOOL_BLOCK_BYTES ? length : SPOOL_BLOCK_BYTES;

        hash = hash_bytes(bytes, n, hash);
        bytes += n;
        length -= n;
    }
    return hash;
}

uint32_t record_hash_end(uint64_t hash)
{
    return (uint32_t)(hash ^ (hash >> 32));
}

void record_header_encode(const struct record_header *h, uint64_t task_tag, struct spool_place place,
                          const char *payload, char out[RECORD_HEADER_BYTES])
{
    char *at = put_u32(out + HASHED_FROM, h->length);

    at = put_u32(at, h->synced);
    at = put_u32(at, RECORD_MARK | (uint32_t)h->kind);
    at = put_u64(at, h->wal.value);
    put_u64(at, (uint64_t)h->received_us);
    put_u32(out, record_hash_end(record_hash_payload(record_hash_begin(out, task_tag, place), payload, h->length)));
}

bool record_header_decode(const char bytes[RECORD_HEADER_BYTES], struct record_header *out)
{
    struct cursor c = cursor_over(bytes, RECORD_HEADER_BYTES);
    struct record_header h = {.checksum = cursor_u32(&c), .length = cursor_u32(&c), .synced = cursor_u32(&c)};
    uint32_t kind = cursor_u32(&c) ^ RECORD_MARK;

    if (kind < RECORD_MESSAGE || kind > RECORD_KEEPALIVE)
        return false;
    h.kind = (enum record_kind)kind;
    h.wal.value = cursor_u64(&c);
    h.received_us = (int64_t)cursor_u64(&c);
    *out = h;
    return true;
}
