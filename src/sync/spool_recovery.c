#include "sync/spool_recovery.h"

#include <inttypes.h>
#include <sys/types.h>

MUST_USE static struct error *size_of(struct spool_block *b, uint64_t number, uint64_t *out_bytes)
{
    return b->store.ops->size(b->store.self, number, out_bytes);
}

MUST_USE static struct error *foreign(uint64_t number)
{
    struct error *err =
        error_new(ERROR_HISTORY, "spool segment %" PRIu64 " belongs to another synchronization", number);

    return error_hint(err, "The state folder holds the change stream of another task or slot. Give the folder that "
                           "belongs to this pair, or remove what is left of the other one with `pgtide stop`.");
}

MUST_USE static struct error *unknown(uint64_t number)
{
    struct error *err =
        error_new(ERROR_CONFIG, "spool segment %" PRIu64 " has a format that this program does not know", number);

    return error_hint(err, "Go on with the version of pgtide that began this synchronization.");
}

MUST_USE static struct error *refusal(enum segment_verdict verdict, uint64_t number)
{
    switch (verdict) {
    case SEGMENT_GOOD:
        break;
    case SEGMENT_BAD:
        return block_damaged((struct spool_place){number, 0});
    case SEGMENT_FOREIGN:
        return foreign(number);
    case SEGMENT_UNKNOWN:
        return unknown(number);
    }
    return NULL;
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

/* The record at *at moves the mark if it is a COMMIT or a keepalive. *at goes to the next one. */
MUST_USE static struct error *note_record(struct decoder boundaries, const struct record *record,
                                          struct spool_place *at, struct spool_mark *complete)
{
    enum record_kind kind = record->header.kind;

    if (kind == RECORD_COMMIT)
        TRY(note_commit(boundaries, record, *at, complete));
    if (kind == RECORD_KEEPALIVE)
        complete->end = record->header.wal;
    at->offset += RECORD_HEADER_BYTES + record->header.length;
    if (kind == RECORD_COMMIT || kind == RECORD_KEEPALIVE)
        complete->place = *at;
    return NULL;
}

MUST_USE static struct error *damaged_unless_torn(struct spool_block *b, struct spool_place bad, uint64_t size)
{
    bool was_synced = false;

    TRY(block_was_synced(b, bad, size, &was_synced));
    return was_synced ? block_damaged(bad) : NULL;
}

/* Moves the mark to the last one among the records of the newest segment, which is the only one that can be torn. */
MUST_USE static struct error *scan_newest(struct spool_block *b, struct decoder boundaries, uint64_t number,
                                          uint64_t size, struct spool_mark *complete)
{
    struct spool_place at = {number, SEGMENT_HEADER_BYTES};

    for (;;) {
        struct record record = {0};

        TRY(block_record(b, NULL, at, size, &record));
        if (record.verdict == RECORD_END)
            return NULL;
        if (record.verdict == RECORD_BAD)
            return damaged_unless_torn(b, at, size);
        TRY(note_record(boundaries, &record, &at, complete));
    }
}

/* *out_i is its index; -1 when there is none. The highest number may be of a segment that never came to be. */
MUST_USE static struct error *find_newest(struct spool_block *b, const uint64_t *numbers, size_t n, ssize_t *out_i,
                                          struct segment_header *out, uint64_t *out_size)
{
    for (ssize_t i = (ssize_t)n - 1; i >= 0; i--) {
        enum segment_verdict verdict = SEGMENT_BAD;
        bool half_made = false;

        TRY(size_of(b, numbers[i], out_size));
        TRY(read_header(b, numbers[i], *out_size, &verdict, out));
        if (verdict == SEGMENT_BAD && (size_t)i == n - 1)
            TRY(is_half_made(b, numbers[i], *out_size, &half_made));
        if (half_made)
            continue;
        *out_i = i;
        return refusal(verdict, numbers[i]);
    }
    *out_i = -1;
    return NULL;
}

/*
 * From the segment with the mark back to the stream's origin or to a gap: what a crashed trim removed may come back in
 * parts. Whether that is enough is for the reader's position to say.
 */
MUST_USE static struct error *collect_segments(struct spool_block *b, const uint64_t *numbers, size_t last,
                                               struct spool_recovery *r)
{
    size_t first = last;
    struct segment_header h = {0};

    for (size_t i = last + 1; i-- > 0 && numbers[last] - numbers[i] == last - i && !h.is_origin;) {
        enum segment_verdict verdict = SEGMENT_BAD;
        uint64_t closed_at = h.previous_bytes;
        uint64_t size = 0;

        TRY(size_of(b, numbers[i], &size));
        TRY(read_header(b, numbers[i], size, &verdict, &h));
        TRY(refusal(verdict, numbers[i]));
        if (i < last && size != closed_at)
            return block_damaged((struct spool_place){numbers[i], size < closed_at ? size : closed_at});
        first = i;
        r->segments[i] = (struct segment_info){
            .number = numbers[i],
            .base = h.complete.base,
            .is_clean = segment_starts_clean(&h),
            .is_origin = h.is_origin,
            .bytes = size,
        };
    }
    r->segments += first;
    r->n = last - first + 1;
    return NULL;
}

/*
 * An incomplete transaction may have begun in an older segment; what lies between that and the newest goes anyway, so
 * gaps in there (a cut that a crash interrupted) do not matter.
 */
MUST_USE static struct error *find_marked(const uint64_t *numbers, size_t newest, struct spool_place place,
                                          size_t *out_i)
{
    for (size_t i = newest + 1; i-- > 0;)
        if (numbers[i] == place.segment) {
            *out_i = i;
            return NULL;
        }
    return error_new(ERROR_DATA,
                     "spool segment %" PRIu64 " is missing: the transaction that arrives in segment %" PRIu64
                     " began in it",
                     place.segment, numbers[newest]);
}

struct error *spool_recover(struct spool_block *b, struct decoder boundaries, struct arena *a,
                            struct spool_recovery *out)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    ssize_t newest = -1;
    size_t marked = 0;
    struct segment_header h = {0};
    uint64_t size = 0;

    *out = (struct spool_recovery){0};
    TRY(b->store.ops->list(b->store.self, a, &numbers, &n));
    TRY(find_newest(b, numbers, n, &newest, &h, &size));
    if (n > 0)
        out->highest = numbers[n - 1];
    if (newest < 0)
        return NULL;
    out->complete = h.complete;
    TRY(scan_newest(b, boundaries, h.number, size, &out->complete));
    TRY(find_marked(numbers, (size_t)newest, out->complete.place, &marked));
    out->segments = arena_alloc(a, n * sizeof *out->segments);
    TRY(collect_segments(b, numbers, marked, out));
    return out->complete.place.offset > out->segments[out->n - 1].bytes ? block_damaged(out->complete.place) : NULL;
}
