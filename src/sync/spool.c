#include "sync/spool.h"

#include <inttypes.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/memory.h"
#include "sync/spool_block.h"
#include "sync/spool_internal.h"
#include "sync/spool_recovery.h"
#include "sync/spool_relations.h"

enum {
    COMMIT_BYTES_MAX = SPOOL_BLOCK_BYTES - RECORD_HEADER_BYTES, /* read back as a whole after a crash */
    SEGMENT_BYTES_MAX = 512 * 1024 * 1024,
};

/* A segment is never longer than twice its size and one message: that fits in a record's `synced`. */
static const size_t MESSAGE_BYTES_MAX = INT32_MAX;

struct spool {
    struct spool_shared shared;
    struct decoder boundaries;
    struct spool_options options;

    struct buffer pending;    /* taken, not yet written; never more than a block */
    bool ends_with_keepalive; /* `pending` does: the next one replaces it */
    uint64_t number;          /* of the last segment */
    uint64_t written;         /* bytes of it that the store has */
    uint64_t head;            /* bytes of it before its first record of the stream */
    uint64_t synced;          /* bytes of it that are durable */

    bool in_transaction;
    uint32_t xid;                     /* of that transaction, or of the last one */
    bool is_clean;                    /* nothing came after `complete` */
    struct spool_mark complete;       /* after the last COMMIT or keepalive taken */
    struct spool_mark durable;        /* (P3) as it was at the last sync */
    struct spool_relations relations; /* of this session of the source */

    bool tail_is_torn; /* a failed write may have left bytes after `written` */
    bool
        had_no_room; /* a write failed since this segment began: what is applied must go, though the segment is small */
    bool half_made;  /* there may be a piece of segment number + 1 */
    bool sync_failed; /* what the disk has after `durable` nobody knows */
    bool needs_break;
};

struct spool_shared *spool_shared(struct spool *s)
{
    return &s->shared;
}

static void tell_reader(const struct spool *s)
{
    if (s->options.on_visible != NULL)
        s->options.on_visible(s->options.self);
}

static uint64_t tail(const struct spool *s)
{
    return s->written + s->pending.length;
}

MUST_USE static struct error *check_usable(const struct spool *s)
{
    return s->needs_break
               ? error_new(ERROR_TRANSIENT, "the spool takes nothing until it is cut back to segment %" PRIu64,
                           s->complete.place.segment)
               : NULL;
}

MUST_USE static struct error *store_append(struct spool *s, uint64_t number, const void *bytes, size_t length)
{
    return s->shared.store.ops->append(s->shared.store.self, number, bytes, length);
}

MUST_USE static struct error *store_remove(struct spool *s, uint64_t number)
{
    return s->shared.store.ops->remove(s->shared.store.self, number);
}

/* After a failure the page cache may say one thing and the disk another, and a second sync would not tell. */
MUST_USE static struct error *store_sync(struct spool *s)
{
    struct error *err = s->shared.store.ops->sync(s->shared.store.self);

    if (err == NULL)
        return NULL;
    s->sync_failed = s->needs_break = true;
    return error_wrap(err, "making spool segment %" PRIu64 " durable", s->number);
}

/* ---- writing ---- */

/* At the end of the last segment; what a failed try left there goes first. */
MUST_USE static struct error *append_to_last(struct spool *s, const void *bytes, size_t length)
{
    struct segment_store store = s->shared.store;
    bool had_no_room = s->had_no_room;

    if (s->tail_is_torn)
        TRY(store.ops->truncate(store.self, s->number, s->written));
    s->tail_is_torn = true;
    s->had_no_room = true;
    TRY(store_append(s, s->number, bytes, length));
    s->had_no_room = had_no_room;
    s->tail_is_torn = false;
    return NULL;
}

static void now_visible(struct spool *s, uint64_t bytes)
{
    s->written += bytes;
    index_grow(&s->shared.index, s->written);
    tell_reader(s);
}

struct error *spool_write(struct spool *s)
{
    TRY(check_usable(s));
    if (s->pending.length == 0)
        return NULL;
    FAULT_POINT("spool.before_write");

    struct error *err = append_to_last(s, s->pending.bytes, s->pending.length);
    if (err != NULL)
        return error_wrap(err, "writing to spool segment %" PRIu64, s->number);

    uint64_t bytes = s->pending.length;
    buffer_clear(&s->pending);
    s->ends_with_keepalive = false;
    now_visible(s, bytes);
    FAULT_POINT("spool.after_write");
    return NULL;
}

struct error *spool_show(struct spool *s)
{
    bool is_shown = s->complete.place.segment != s->number || s->complete.place.offset <= s->written;

    return is_shown ? check_usable(s) : spool_write(s);
}

struct error *spool_sync(struct spool *s, struct lsn *out_durable)
{
    TRY(spool_write(s));
    FAULT_POINT("spool.before_sync");
    TRY(store_sync(s));
    s->synced = s->written;
    s->durable = s->complete;
    FAULT_POINT("spool.after_sync");
    *out_durable = s->durable.end; /* (P3) */
    return NULL;
}

static struct record_header new_record(const struct spool *s, enum record_kind kind, size_t length, struct lsn wal,
                                       int64_t received_us)
{
    return (struct record_header){
        .length = (uint32_t)length,
        .synced = (uint32_t)s->synced,
        .kind = kind,
        .wal = wal,
        .received_us = received_us,
    };
}

/* The payload goes to the store from where it is. Not visible before it is whole. */
MUST_USE static struct error *append_in_two(struct spool *s, const char *header, const char *payload, size_t length)
{
    TRY(append_to_last(s, header, RECORD_HEADER_BYTES));
    s->tail_is_torn = true; /* until its payload follows */
    TRY(store_append(s, s->number, payload, length));
    s->tail_is_torn = false;
    return NULL;
}

/* A message that does not fit in a block. */
MUST_USE static struct error *put_large(struct spool *s, const struct record_header *h, const char *payload)
{
    char header[RECORD_HEADER_BYTES];

    record_header_encode(h, s->shared.task_tag, (struct spool_place){s->number, s->written}, payload, header);

    struct error *err = append_in_two(s, header, payload, h->length);
    if (err != NULL)
        return error_wrap(err, "writing a message of %" PRIu32 " bytes to spool segment %" PRIu64, h->length,
                          s->number);
    now_visible(s, sizeof header + (uint64_t)h->length);
    return NULL;
}

MUST_USE static struct error *put(struct spool *s, const struct record_header *h, const char *payload)
{
    size_t size = RECORD_HEADER_BYTES + (size_t)h->length;

    if (s->pending.length + size > SPOOL_BLOCK_BYTES)
        TRY(spool_write(s));
    if (size > SPOOL_BLOCK_BYTES)
        return put_large(s, h, payload);

    char *at = buffer_reserve(&s->pending, size);
    record_header_encode(h, s->shared.task_tag, (struct spool_place){s->number, tail(s)}, payload, at);
    if (h->length > 0)
        memcpy(at + RECORD_HEADER_BYTES, payload, h->length);
    s->pending.length += size;
    s->ends_with_keepalive = h->kind == RECORD_KEEPALIVE;
    return NULL;
}

/* ---- segments ---- */

/* Header and, as a reader may begin here, the relations in force. */
static void compose_head(struct spool *s, const struct segment_header *h, struct buffer *out)
{
    segment_header_encode(h, buffer_reserve(out, SEGMENT_HEADER_BYTES));
    out->length += SEGMENT_HEADER_BYTES;
    for (size_t i = 0; i < s->relations.n; i++) {
        const struct held_relation *r = &s->relations.held[i];
        struct record_header record = {.length = (uint32_t)r->bytes.length, .kind = RECORD_RELATION, .wal = r->wal};
        struct spool_place place = {h->number, out->length};

        record_header_encode(&record, s->shared.task_tag, place, r->bytes.bytes,
                             buffer_reserve(out, RECORD_HEADER_BYTES));
        out->length += RECORD_HEADER_BYTES;
        buffer_append(out, r->bytes.bytes, r->bytes.length);
    }
}

/* Makes segment number + 1, durable from its head on: so a record in it proves that there was a head. */
MUST_USE static struct error *make_segment(struct spool *s, bool is_origin, struct spool_mark complete)
{
    uint64_t number = s->number + 1;
    CLEANUP(buffer_free) struct buffer *head = buffer_new();
    struct segment_header h = {
        .task_tag = s->shared.task_tag,
        .number = number,
        .previous_bytes = s->written,
        .is_origin = is_origin,
        .complete = complete,
    };

    compose_head(s, &h, head);
    if (s->half_made)
        TRY(store_remove(s, number));
    s->half_made = true;

    struct error *err = store_append(s, number, head->bytes, head->length);
    if (err != NULL)
        return error_wrap(err, "beginning spool segment %" PRIu64, number);
    TRY(store_sync(s));
    s->half_made = false;

    s->number = number;
    s->written = s->head = s->synced = head->length;
    s->complete = complete;
    s->tail_is_torn = s->had_no_room = false;
    return NULL;
}

static struct segment_info info_of_last(const struct spool *s, bool is_origin)
{
    return (struct segment_info){
        .number = s->number,
        .base = s->complete.base,
        .is_clean = s->complete.place.segment == s->number,
        .is_origin = is_origin,
        .bytes = s->written,
    };
}

/* The segment so far is made durable first: only the last one can be torn. */
MUST_USE static struct error *begin_next_segment(struct spool *s)
{
    struct lsn durable = LSN_NONE;

    FAULT_POINT("spool.rotate");
    TRY(spool_sync(s, &durable));

    struct spool_mark complete = s->complete;
    if (s->is_clean)
        complete.place = (struct spool_place){s->number + 1, SEGMENT_HEADER_BYTES};
    TRY(make_segment(s, false, complete));
    s->durable = complete;
    index_push(&s->shared.index, info_of_last(s, false));
    tell_reader(s);
    return NULL;
}

/* Between transactions when that is near, so that readers may begin and trim may end there. */
MUST_USE static struct error *begin_next_segment_if_due(struct spool *s)
{
    uint64_t bytes = tail(s) - s->head;

    return bytes >= s->options.segment_bytes * 2 || (bytes >= s->options.segment_bytes && s->is_clean)
               ? begin_next_segment(s)
               : NULL;
}

/* ---- taking ---- */

/* Refuses what would make positions wrong. (P2) Ends of COMMITs only rise. */
MUST_USE static struct error *check_order(const struct spool *s, const struct boundary *b, size_t length)
{
    switch (b->kind) {
    case BOUNDARY_NONE:
    case BOUNDARY_RELATION:
        return NULL;
    case BOUNDARY_BEGIN:
        return s->in_transaction
                   ? error_new(ERROR_DATA, "the source began transaction %" PRIu32 " inside another", b->xid)
                   : NULL;
    case BOUNDARY_COMMIT:
        break;
    }
    if (!s->in_transaction)
        return error_new(ERROR_DATA, "the source committed at %s a transaction that it did not begin",
                         lsn_format(b->end).text);
    if (!lsn_before(s->complete.end, b->end))
        return error_new(ERROR_DATA, "the source sent a transaction that ends at %s, but the spool is at %s already",
                         lsn_format(b->end).text, lsn_format(s->complete.end).text);
    return length > COMMIT_BYTES_MAX ? error_new(ERROR_DATA, "the source sent a COMMIT of %zu bytes", length) : NULL;
}

static void note_complete(struct spool *s, struct lsn end)
{
    s->complete.place = (struct spool_place){s->number, tail(s)};
    s->complete.end = end;
    s->is_clean = true;
}

static void note_boundary(struct spool *s, const struct boundary *b, int64_t received_us)
{
    s->is_clean = false;
    switch (b->kind) {
    case BOUNDARY_NONE:
    case BOUNDARY_RELATION:
        break;
    case BOUNDARY_BEGIN:
        s->in_transaction = true;
        s->xid = b->xid;
        break;
    case BOUNDARY_COMMIT:
        s->in_transaction = false;
        s->complete.base = b->end;
        s->complete.transactions++;
        note_complete(s, b->end);
        if (s->options.on_commit != NULL)
            s->options.on_commit(s->options.commit_self, s->xid, b->end, b->committed_us, received_us);
        break;
    }
}

struct error *spool_append(struct spool *s, const char *bytes, size_t length, struct lsn wal, int64_t received_us)
{
    struct boundary b = {0};

    TRY(check_usable(s));
    if (length > MESSAGE_BYTES_MAX)
        return error_new(ERROR_DATA, "the source sent a message of %zu bytes at %s", length, lsn_format(wal).text);
    TRY(s->boundaries.ops->boundary(s->boundaries.self, bytes, length, &b));
    TRY(check_order(s, &b, length));
    TRY(begin_next_segment_if_due(s));

    enum record_kind kind = b.kind == BOUNDARY_COMMIT ? RECORD_COMMIT : RECORD_MESSAGE;
    struct record_header h = new_record(s, kind, length, wal, received_us);
    TRY(put(s, &h, bytes));
    note_boundary(s, &b, received_us);
    if (b.kind == BOUNDARY_RELATION)
        relations_hold(&s->relations, b.oid, b.is_type, bytes, length, wal);
    return NULL;
}

static void replace_last_keepalive(struct spool *s, const struct record_header *h)
{
    struct spool_place place = {s->number, tail(s) - RECORD_HEADER_BYTES};

    record_header_encode(h, s->shared.task_tag, place, NULL,
                         s->pending.bytes + s->pending.length - RECORD_HEADER_BYTES);
}

struct error *spool_keepalive(struct spool *s, struct lsn end, int64_t received_us)
{
    TRY(check_usable(s));
    if (s->in_transaction || !lsn_before(s->complete.end, end)) /* (P4) */
        return NULL;
    if (!s->ends_with_keepalive)
        TRY(begin_next_segment_if_due(s));

    struct record_header h = new_record(s, RECORD_KEEPALIVE, 0, end, received_us);
    if (s->ends_with_keepalive) /* an idle source must not fill the disk */
        replace_last_keepalive(s, &h);
    else
        TRY(put(s, &h, NULL));
    note_complete(s, end);
    return NULL;
}

/* ---- cutting ---- */

/* Everything after the mark, in the store and for the reader. May be tried again when it fails. */
MUST_USE static struct error *cut_to(struct spool *s, struct spool_mark mark)
{
    struct segment_store store = s->shared.store;

    s->needs_break = true;
    buffer_clear(&s->pending);
    index_cut(&s->shared.index, mark.place); /* first: the reader must not trust what it reads from now on */
    tell_reader(s);
    for (uint64_t n = s->number + s->half_made; n > mark.place.segment; n--)
        TRY(store_remove(s, n));
    TRY(store.ops->truncate(store.self, mark.place.segment, mark.place.offset));
    TRY(store_sync(s)); /* a cut that came undone later would bring back what the source has sent otherwise since */

    if (s->number != mark.place.segment)
        s->head = SEGMENT_HEADER_BYTES;
    s->number = mark.place.segment;
    s->written = s->synced = mark.place.offset;
    s->head = s->head < s->written ? s->head : s->written;
    s->complete = s->durable = mark;
    s->half_made = s->tail_is_torn = s->sync_failed = s->needs_break = false;
    return NULL;
}

/* Back to the mark: in memory when the store knows nothing of what comes after it. */
MUST_USE static struct error *drop_after(struct spool *s, struct spool_mark mark)
{
    if (s->needs_break || mark.place.segment != s->number || mark.place.offset < s->written)
        return cut_to(s, mark);
    s->pending.length = (size_t)(mark.place.offset - s->written);
    return NULL;
}

struct error *spool_break(struct spool *s)
{
    /* What has no room is had again from the source: as long as it waits here, nothing can be applied to the end and make room. */
    bool is_uncertain = s->sync_failed || s->tail_is_torn;
    struct spool_mark mark = is_uncertain ? s->durable : s->complete;
    struct lsn durable = LSN_NONE;

    s->in_transaction = s->ends_with_keepalive = false;
    relations_drop(&s->relations);
    if (s->needs_break || !s->is_clean || is_uncertain) {
        struct error *err = is_uncertain ? cut_to(s, mark) : drop_after(s, mark);
        if (err != NULL)
            return error_wrap(err, "cutting the spool back to %s", lsn_format(mark.end).text);
    }
    s->is_clean = true;
    return spool_sync(s, &durable);
}

/* Segments below `number`, whatever they are. */
MUST_USE static struct error *remove_below(struct spool *s, uint64_t number)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "old segments");
    uint64_t *numbers = NULL;
    size_t n = 0;

    TRY(s->shared.store.ops->list(s->shared.store.self, a, &numbers, &n));
    for (size_t i = 0; i < n && numbers[i] < number; i++)
        TRY(store_remove(s, numbers[i]));
    return NULL;
}

/* The new segment says that nothing before it counts, so once it is durable the rest may go at any time. */
struct error *spool_reset_to(struct spool *s, struct lsn start)
{
    struct spool_mark mark = {.place = {s->number + 1, SEGMENT_HEADER_BYTES}, .base = start, .end = start};

    relations_drop(&s->relations);
    TRY(make_segment(s, true, mark));
    buffer_clear(&s->pending);
    s->durable = mark;
    s->is_clean = true;
    s->in_transaction = s->ends_with_keepalive = s->sync_failed = s->needs_break = false;
    index_reset(&s->shared.index, info_of_last(s, true));
    tell_reader(s);
    return remove_below(s, s->number);
}

struct error *spool_trim(struct spool *s, struct lsn durable)
{
    uint64_t oldest = 0;

    TRY(check_usable(s));
    bool must_shrink = spool_is_full(s) || (s->had_no_room && s->is_clean);
    if (must_shrink && !lsn_before(durable, s->complete.base) && tail(s) > s->head)
        TRY(begin_next_segment(s));
    while (index_oldest_unneeded(&s->shared.index, durable, &oldest)) {
        TRY(store_remove(s, oldest));
        index_remove_oldest(&s->shared.index);
    }
    return NULL;
}

/* ---- facts ---- */

struct lsn spool_end(const struct spool *s)
{
    return s->complete.end;
}

uint64_t spool_transactions(const struct spool *s)
{
    return s->complete.transactions;
}

bool spool_in_transaction(const struct spool *s)
{
    return s->in_transaction;
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->shared.index.bytes;
}

bool spool_is_full(const struct spool *s)
{
    return s->options.limit_bytes > 0 && s->is_clean && s->shared.index.bytes > s->options.limit_bytes;
}

/* ---- beginning and end ---- */

/* What counts becomes the spool, the rest is removed or cut off. */
MUST_USE static struct error *adopt(struct spool *s, const struct spool_recovery *r)
{
    for (size_t i = 0; i < r->n; i++)
        index_push(&s->shared.index, r->segments[i]);
    s->number = r->highest;
    TRY(remove_below(s, r->segments[0].number));

    /* (P3) What a killed process wrote is in the page cache only: cutting syncs, even if there is nothing to cut. */
    TRY(cut_to(s, r->complete));
    s->head = SEGMENT_HEADER_BYTES;
    return NULL;
}

MUST_USE static struct error *recover(struct spool *s)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "recovery of the spool");
    struct spool_block block;
    struct spool_recovery r;

    block_init(&block, s->shared.store, s->shared.task_tag);
    struct error *err = spool_recover(&block, s->boundaries, a, &r);
    block_drop(&block);
    TRY(err);
    if (r.n > 0)
        return adopt(s, &r);
    s->number = r.highest;
    return spool_reset_to(s, LSN_NONE);
}

struct error *spool_open(struct segment_store store, struct decoder boundaries, struct spool_options options,
                         struct spool **out_spool)
{
    CLEANUP(spool_close) struct spool *s = MEMORY_NEW(struct spool);

    if (options.segment_bytes == 0)
        options.segment_bytes = SPOOL_SEGMENT_BYTES;
    if (options.segment_bytes > SEGMENT_BYTES_MAX)
        options.segment_bytes = SEGMENT_BYTES_MAX;
    *s = (struct spool){
        .shared = {.store = store, .task_tag = options.task_tag},
        .boundaries = boundaries,
        .options = options,
        .is_clean = true,
    };
    index_init(&s->shared.index);

    struct error *err = recover(s);
    if (err != NULL)
        return error_wrap(err, "opening the spool");
    *out_spool = TAKE(s);
    return NULL;
}

void spool_close(struct spool *s)
{
    if (s == NULL)
        return;
    relations_drop(&s->relations);
    buffer_drop(&s->pending);
    index_drop(&s->shared.index);
    free(s);
}
