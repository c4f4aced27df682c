#include "sync/spool_recovery.h"

#include <inttypes.h>

MUST_USE static struct error *size_of(struct spool_block *b, uint64_t number, uint64_t *out_bytes)
{
    return b->store.ops->size(b->store.self, number, out_bytes);
}

MUST_USE static struct error *refusal(enum segment_verdict verdict, uint64_t number)
{
    switch (verdict) {
    case SEGMENT_GOOD:
        return NULL;
    case SEGMENT_BAD:
        return block_damaged((struct spool_place){number, 0});
    case SEGMENT_FOREIGN:
        return error_hint(
            error_new(ERROR_HISTORY, "spool segment %" PRIu64 " belongs to another synchronization", number),
            "The state folder holds the change stream of another task or slot. Give the folder that belongs "
            "to this pair, or remove what is left of the other one with `pgtide stop`.");
    case SEGMENT_UNKNOWN:
        return error_hint(
            error_new(ERROR_CONFIG, "spool segment %" PRIu64 " has a format that this program does not know", number),
            "Go on with the version of pgtide that began this synchronization.");
    }
    return error_new(ERROR_BUG, "spool segment %" PRIu64 " has verdict %d", number, (int)verdict);
}

MUST_USE static struct error *read_header(struct spool_block *b, uint64_t number, uint64_t size,
                                          enum segment_verdict *out_verdict, struct segment_header *out)
{
    const char *bytes = NULL;

    TRY(block_bytes(b, (struct spool_place){number, 0}, SEGMENT_HEADER_BYTES, size, &bytes));
    *out_verdict = bytes == NULL ? SEGMENT_BAD : segment_header_decode(bytes, b->task_tag, number, out);
    return NULL;
}

/* A segment whose making a crash interrupted has no header and nothing that was ever synced. */
MUST_USE static struct error *is_half_made(struct spool_block *b, uint64_t number, uint64_t size, bool *out_half_made)
{
    bool was_synced = false;

    TRY(block_was_synced(b, (struct spool_place){number, 0}, size, &was_synced));
    *out_half_made = !was_synced;
    return NULL;
}

/*
 * Adds segment `number`, which is older than those collected, unless it is the newest of all and half made. *out_go_on is
 * false when nothing older counts.
 */
MUST_USE static struct error *collect_segment(struct spool_block *b, uint64_t number, struct spool_recovery *r,
                                              struct segment_header *last, bool *out_go_on)
{
    enum segment_verdict verdict = SEGMENT_BAD;
    struct segment_header h = {0};
    uint64_t size = 0;
    bool half_made = false;

    TRY(size_of(b, number, &size));
    TRY(read_header(b, number, size, &verdict, &h));
    if (verdict == SEGMENT_BAD && number == r->highest)
        TRY(is_half_made(b, number, size, &half_made));
    *out_go_on = true;
    if (half_made)
        return NULL;
    TRY(refusal(verdict, number));
    if (r->n == 0) {
        *last = h;
        r->last_bytes = size;
    }
    r->segments[r->n++] = (struct segment_info){
        .number = number,
        .base = h.complete.base,
        .is_clean = segment_starts_clean(&h),
        .is_origin = h.is_origin,
        .bytes = size,
    };
    *out_go_on = !h.is_origin;
    return NULL;
}

/*
 * From the newest back to the stream's origin or to a gap: what a crashed trim removed may come back in parts. Whether
 * the rest is enough is for the reader's position to say.
 */
MUST_USE static struct error *collect_segments(struct spool_block *b, const uint64_t *numbers, size_t n,
                                               struct spool_recovery *r, struct segment_header *last)
{
    bool go_on = true;

    for (size_t i = n; i-- > 0 && go_on;) {
        if (r->n > 0 && numbers[i] + 1 != r->segments[r->n - 1].number)
            break;
        TRY(collect_segment(b, numbers[i], r, last, &go_on));
    }
    for (size_t i = 0; i < r->n / 2; i++) { /* they were met newest first */
        struct segment_info s = r->segments[i];

        r->segments[i] = r->segments[r->n - 1 - i];
        r->segments[r->n - 1 - i] = s;
    }
    return NULL;
}

MUST_USE static struct error *note_commit(struct decoder boundaries, const struct record *record,
                                          struct spool_place place, struct spool_mark *complete)
{
    struct boundary boundary = {0};

    if (record->payload == NULL)
        return block_damaged(place);
    TRY(boundaries.ops->boundary(boundaries.self, record->payload, record->header.length, &boundary));
    if (boundary.kind != BOUNDARY_COMMIT)
        return block_damaged(place);
    complete->base = complete->end = boundary.end;
    complete->transactions++;
    return NULL;
}

/* The last mark among the records of the newest segment, which is the only one that can be torn. */
MUST_USE static struct error *scan_last(struct spool_block *b, struct decoder boundaries, uint64_t number,
                                        struct spool_recovery *r)
{
    struct spool_place at = {number, SEGMENT_HEADER_BYTES};
    struct record record = {0};

    for (;;) {
        bool was_synced = false;

        TRY(block_record(b, NULL, at, r->last_bytes, &record));
        if (record.verdict == RECORD_END)
            return NULL;
        if (record.verdict == RECORD_BAD) {
            TRY(block_was_synced(b, at, r->last_bytes, &was_synced));
            return was_synced ? block_damaged(at) : NULL;
        }
        if (record.header.kind == RECORD_COMMIT)
            TRY(note_commit(boundaries, &record, at, &r->complete));
        if (record.header.kind == RECORD_KEEPALIVE)
            r->complete.end = record.header.wal;
        at.offset += RECORD_HEADER_BYTES + record.header.length;
        if (record.header.kind == RECORD_COMMIT || record.header.kind == RECORD_KEEPALIVE)
            r->complete.place = at;
    }
}

/* An incomplete transaction may have begun in an older segment: that one must be there. */
MUST_USE static struct error *check_complete(const struct spool_recovery *r)
{
    struct spool_place place = r->complete.place;
    uint64_t first = r->segments[0].number;

    if (place.segment < first)
        return error_new(ERROR_DATA,
                         "spool segment %" PRIu64 " is missing: the transaction that arrives in segment %" PRIu64
                         " began in it",
                         place.segment, r->segments[r->n - 1].number);
    return place.offset > r->segments[place.segment - first].bytes ? block_damaged(place) : NULL;
}

struct error *spool_recover(struct spool_block *b, struct decoder boundaries, struct arena *a,
                            struct spool_recovery *out)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    struct segment_header last = {0};

    *out = (struct spool_recovery){0};
    TRY(b->store.ops->list(b->store.self, a, &numbers, &n));
    if (n == 0)
        return NULL;
    out->highest = numbers[n - 1];
    out->segments = arena_alloc(a, n * sizeof *out->segments);
    TRY(collect_segments(b, numbers, n, out, &last));
    if (out->n == 0)
        return NULL;
    out->complete = last.complete;
    TRY(scan_last(b, boundaries, last.number, out));
    return check_complete(out);
}
