#include "sync/spool_block.h"

#include <inttypes.h>

#include "base/memory.h"

void block_init(struct spool_block *b, struct segment_store store, uint64_t task_tag)
{
    *b = (struct spool_block){
        .store = store,
        .task_tag = task_tag,
        .bytes = memory_resize(NULL, SPOOL_BLOCK_BYTES, "block of the spool"),
    };
}

void block_drop(struct spool_block *b)
{
    free(b->bytes);
    *b = (struct spool_block){0};
}

void block_forget(struct spool_block *b)
{
    b->length = 0;
}

static bool block_covers(const struct spool_block *b, struct spool_place place, size_t wanted)
{
    return b->length > 0 && b->place.segment == place.segment && b->place.offset <= place.offset &&
           place.offset + wanted <= b->place.offset + b->length;
}

struct error *block_bytes(struct spool_block *b, struct spool_place place, size_t wanted, uint64_t limit,
                          const char **out)
{
    if (place.offset > limit || limit - place.offset < wanted) {
        *out = NULL;
        return NULL;
    }
    if (!block_covers(b, place, wanted)) {
        size_t ask = limit - place.offset < SPOOL_BLOCK_BYTES ? (size_t)(limit - place.offset) : SPOOL_BLOCK_BYTES;
        size_t got = 0;

        block_forget(b);
        TRY(b->store.ops->read(b->store.self, place.segment, place.offset, b->bytes, ask, &got));
        b->place = place;
        b->length = got;
    }
    *out = block_covers(b, place, wanted) ? b->bytes + (place.offset - b->place.offset) : NULL;
    return NULL;
}

static struct spool_place place_after(struct spool_place place, uint64_t bytes)
{
    return (struct spool_place){place.segment, place.offset + bytes};
}

/* Header and payload are in the block together. */
MUST_USE static struct error *small_record(struct spool_block *b, struct arena *a, struct spool_place place,
                                           uint64_t limit, struct record *r)
{
    const char *bytes = NULL;

    TRY(block_bytes(b, place, RECORD_HEADER_BYTES + r->header.length, limit, &bytes));
    if (bytes == NULL)
        return NULL;

    const char *payload = bytes + RECORD_HEADER_BYTES;
    uint64_t hash = record_hash_payload(record_hash_begin(bytes, b->task_tag, place), payload, r->header.length);
    if (record_hash_end(hash) != r->header.checksum)
        return NULL;
    r->verdict = RECORD_GOOD;
    r->payload = a == NULL ? payload : memcpy(arena_bytes(a, r->header.length), payload, r->header.length);
    return NULL;
}

/* The payload is read straight to where it will stay. */
MUST_USE static struct error *large_record(struct spool_block *b, struct arena *a, struct spool_place place,
                                           uint64_t hash, struct record *r)
{
    char *payload = arena_bytes(a, r->header.length);
    size_t got = 0;

    TRY(b->store.ops->read(b->store.self, place.segment, place.offset + RECORD_HEADER_BYTES, payload, r->header.length,
                           &got));
    if (got < r->header.length ||
        record_hash_end(record_hash_payload(hash, payload, r->header.length)) != r->header.checksum)
        return NULL;
    r->verdict = RECORD_GOOD;
    r->payload = payload;
    return NULL;
}

/* Memory stays bounded when the payload is not wanted. */
MUST_USE static struct error *check_large_record(struct spool_block *b, struct spool_place place, uint64_t limit,
                                                 uint64_t hash, struct record *r)
{
    struct spool_place at = place_after(place, RECORD_HEADER_BYTES);

    for (size_t left = r->header.length; left > 0;) {
        size_t n = left < SPOOL_BLOCK_BYTES ? left : SPOOL_BLOCK_BYTES;
        const char *bytes = NULL;

        TRY(block_bytes(b, at, n, limit, &bytes));
        if (bytes == NULL)
            return NULL;
        hash = record_hash_payload(hash, bytes, n);
        at = place_after(at, n);
        left -= n;
    }
    if (record_hash_end(hash) == r->header.checksum)
        r->verdict = RECORD_GOOD;
    return NULL;
}

struct error *block_record(struct spool_block *b, struct arena *a, struct spool_place place, uint64_t limit,
                           struct record *out)
{
    const char *bytes = NULL;

    *out = (struct record){.verdict = place.offset == limit ? RECORD_END : RECORD_BAD};
    if (out->verdict == RECORD_END)
        return NULL;
    TRY(block_bytes(b, place, RECORD_HEADER_BYTES, limit, &bytes));
    if (bytes == NULL || !record_header_decode(bytes, &out->header) ||
        out->header.length > limit - place.offset - RECORD_HEADER_BYTES)
        return NULL;
    if (RECORD_HEADER_BYTES + (size_t)out->header.length <= SPOOL_BLOCK_BYTES)
        return small_record(b, a, place, limit, out);

    uint64_t hash = record_hash_begin(bytes, b->task_tag, place);
    return a == NULL ? check_large_record(b, place, limit, hash, out) : large_record(b, a, place, hash, out);
}

struct error *block_was_synced(struct spool_block *b, struct spool_place bad, uint64_t limit, bool *out_was)
{
    *out_was = false;
    for (struct spool_place at = place_after(bad, 1); at.offset + RECORD_HEADER_BYTES <= limit; at.offset++) {
        const char *bytes = NULL;
        struct record r = {0};

        TRY(block_bytes(b, at, RECORD_HEADER_BYTES, limit, &bytes));
        if (bytes == NULL || !record_header_decode(bytes, &r.header) || r.header.synced <= bad.offset)
            continue;
        TRY(block_record(b, NULL, at, limit, &r));
        if (r.verdict == RECORD_GOOD) {
            *out_was = true;
            return NULL;
        }
    }
    return NULL;
}

struct error *block_damaged(struct spool_place place)
{
    struct error *err =
        error_new(ERROR_DATA, "spool segment %" PRIu64 " is damaged at %" PRIu64, place.segment, place.offset);

    return error_hint(err,
                      "Check the disk that holds the state folder. What the spool has lost the source no longer keeps: "
                      "stop this synchronization with `pgtide stop --force` and start it again.");
}
