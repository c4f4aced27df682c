#include "sync/spool_reader.h"

#include <inttypes.h>

#include "base/memory.h"
#include "sync/spool_block.h"
#include "sync/spool_internal.h"

struct spool_reader {
    struct spool_shared *shared;
    struct spool_block block;
    struct spool_place at; /* of the next record */
    bool skips_copies;     /* at the head of a segment that is not the first: its relations are known by now */
    uint64_t visible;      /* bytes of the segment that may be read */
    uint64_t generation;
};

MUST_USE static struct error *too_old(struct lsn base, struct lsn from)
{
    struct error *err =
        error_new(ERROR_HISTORY, "the spool begins at %s, but the target is at %s: changes between them are lost",
                  lsn_format(base).text, lsn_format(from).text);

    return error_hint(err, "The target was set back (restored from a backup?) or the state folder is not the one of "
                           "this target. Stop this synchronization with `pgtide stop --force` and start it again.");
}

struct error *spool_reader_open(struct spool *s, struct lsn from, struct spool_reader **out_reader)
{
    struct spool_shared *shared = spool_shared(s);
    uint64_t segment = 0;
    uint64_t generation = 0;
    struct lsn base = LSN_NONE;

    switch (index_start(&shared->index, from, &segment, &generation, &base)) {
    case START_FOUND:
        break;
    case START_TAKEN:
        return error_new(ERROR_BUG, "the spool has a reader already");
    case START_TOO_OLD:
        return too_old(base, from);
    }

    struct spool_reader *r = MEMORY_NEW(struct spool_reader);
    *r = (struct spool_reader){
        .shared = shared,
        .at = {segment, SEGMENT_HEADER_BYTES},
        .generation = generation,
    };
    block_init(&r->block, shared->store, shared->task_tag);
    *out_reader = r;
    return NULL;
}

void spool_reader_close(struct spool_reader *r)
{
    if (r == NULL)
        return;
    index_leave(&r->shared->index);
    block_drop(&r->block);
    free(r);
}

/* False when there is nothing more to read now; goes on to the next segment at the end of one. */
static bool has_more(struct spool_reader *r)
{
    bool is_last = true;

    if (r->at.offset < r->visible)
        return true;
    r->visible = index_look(&r->shared->index, r->at.segment, &is_last);
    if (r->at.offset < r->visible)
        return true;
    if (is_last)
        return false;
    r->at = (struct spool_place){r->at.segment + 1, SEGMENT_HEADER_BYTES};
    r->skips_copies = true;
    r->visible = index_look(&r->shared->index, r->at.segment, &is_last);
    return r->at.offset < r->visible;
}

/* Reads as if the writer cut nothing meanwhile; the caller checks that. What may be skipped stays out of the arena. */
MUST_USE static struct error *read_record(struct spool_reader *r, struct arena *a, struct record *out)
{
    *out = (struct record){.verdict = RECORD_END};
    if (!has_more(r))
        return NULL;
    TRY(block_record(&r->block, r->skips_copies ? NULL : a, r->at, r->visible, out));
    return out->verdict == RECORD_BAD ? block_damaged(r->at) : NULL;
}

/* What the block holds and how far the segment goes is no longer true. */
MUST_USE static struct error *look_again(struct spool_reader *r)
{
    if (!index_still_good(&r->shared->index, r->at, &r->generation))
        return error_new(ERROR_TRANSIENT,
                         "the spool was cut back before %" PRIu64 " of segment %" PRIu64 " while it was being read: "
                         "the source sends the rest again",
                         r->at.offset, r->at.segment);
    block_forget(&r->block);
    r->visible = 0;
    return NULL;
}

static bool was_cut(const struct spool_reader *r)
{
    return r->shared->index.generation != r->generation;
}

static enum spool_record_kind kind_of(enum record_kind kind)
{
    switch (kind) {
    case RECORD_MESSAGE:
    case RECORD_COMMIT:
        return SPOOL_MESSAGE;
    case RECORD_RELATION:
        return SPOOL_RELATION;
    case RECORD_KEEPALIVE:
        return SPOOL_KEEPALIVE;
    }
    return SPOOL_NONE;
}

/* *out_done is false when there is nothing to deliver yet but more to look at. */
MUST_USE static struct error *step(struct spool_reader *r, struct arena *a, struct spool_record *out, bool *out_done)
{
    struct record record = {0};
    struct error *err = read_record(r, a, &record);

    *out_done = false;
    if (was_cut(r)) { /* a cut makes everything read by now worthless, also the error */
        error_free(err);
        return look_again(r);
    }
    TRY(err);
    if (record.verdict == RECORD_END) {
        *out = (struct spool_record){.kind = SPOOL_NONE};
        *out_done = true;
        return NULL;
    }
    if (r->skips_copies && record.header.kind != RECORD_RELATION) {
        r->skips_copies = false;
        return NULL;
    }
    r->at.offset += RECORD_HEADER_BYTES + record.header.length;
    if (r->skips_copies)
        return NULL;
    *out = (struct spool_record){
        .kind = kind_of(record.header.kind),
        .bytes = record.payload,
        .length = record.header.length,
        .wal = record.header.wal,
        .received_us = record.header.received_us,
    };
    *out_done = true;
    return NULL;
}

struct error *spool_reader_next(struct spool_reader *r, struct arena *a, struct spool_record *out)
{
    for (bool done = false; !done;)
        TRY(step(r, a, out, &done));
    return NULL;
}
