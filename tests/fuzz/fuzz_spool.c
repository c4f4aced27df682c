/*
 * sync/spool: segments that somebody else has written to.
 *
 * The first byte chooses: even, the rest is segment 1 as it stands; odd, the rest damages a good spool, in steps of
 * four bytes: segment and what to do, offset (u16), value. Any disk gives a spool or an error that names a segment;
 * what is read of a damaged spool is the beginning of what was there; and a spool that opened goes on working.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/cursor.h"
#include "support/memory_store.h"
#include "support/tiny_stream.h"
#include "sync/spool.h"
#include "sync/spool_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { TRANSACTIONS = 6, LSN_A_TRANSACTION = 100, SMALL_SEGMENT = 200 };

static const struct spool_options options = {.task_tag = 1, .segment_bytes = SMALL_SEGMENT};

static void demand(bool holds)
{
    if (!holds)
        abort();
}

static void demand_ok(struct error *err)
{
    if (err != NULL)
        fprintf(stderr, "%s\n", error_message(err));
    demand(err == NULL);
}

/* True when it was an error, which names the segment. */
static bool refused(struct error *err)
{
    if (err == NULL)
        return false;
    demand(strstr(error_message(err), "segment") != NULL || error_kind(err) == ERROR_HISTORY);
    error_free(err);
    return true;
}

static void append(struct spool *s, const struct buffer *message)
{
    demand_ok(spool_append(s, message->bytes, message->length, LSN_NONE, 0));
}

static void append_transaction(struct spool *s, uint64_t xid, uint64_t end)
{
    CLEANUP(buffer_free) struct buffer *message = buffer_new();

    tiny_begin(message, xid);
    append(s, message);
    tiny_relation(message, 500, 1);
    append(s, message);
    tiny_row(message, 500, 1, xid, 0, 20);
    append(s, message);
    tiny_commit(message, (struct lsn){end});
    append(s, message);
}

static void make_good_spool(struct memory_store *store)
{
    CLEANUP(spool_close) struct spool *s = NULL;
    struct lsn durable;

    demand_ok(spool_open(memory_store(store), tiny_decoder(), options, &s));
    for (uint64_t xid = 1; xid <= TRANSACTIONS; xid++) {
        append_transaction(s, xid, xid * LSN_A_TRANSACTION);
        demand_ok(spool_sync(s, &durable));
    }
}

static void damage(struct memory_store *store, struct cursor *c)
{
    uint8_t choice = cursor_u8(c);
    uint16_t offset = cursor_u16(c);
    uint8_t value = cursor_u8(c);
    struct buffer *segment = memory_store_segment(store, 1 + choice % 4);

    if (segment == NULL || segment->length == 0)
        return;
    size_t at = offset % segment->length;
    if (choice & 0x80)
        segment->length = at;
    else if (choice & 0x40)
        buffer_append_char(segment, (char)value);
    else
        segment->bytes[at] = (char)(segment->bytes[at] ^ value);
}

/* Transactions come in order and without a gap. */
static void read_all(struct spool *s, bool is_ours)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "read");
    CLEANUP(spool_reader_close) struct spool_reader *reader = NULL;
    uint64_t xid = 0;

    if (refused(spool_reader_open(s, LSN_NONE, &reader)))
        return;
    for (;;) {
        struct spool_record record;
        struct tiny t;

        if (refused(spool_reader_next(reader, a, &record)) || record.kind == SPOOL_NONE)
            return;
        if (!is_ours || record.kind != SPOOL_MESSAGE)
            continue;
        demand(tiny_parse(record.bytes, record.length, &t));
        if (t.letter == 'B')
            demand(t.xid == ++xid);
    }
}

static void go_on(struct memory_store *store, struct spool *s)
{
    uint64_t end = spool_end(s).value;
    struct lsn durable;

    if (end > UINT64_MAX / 2)
        return;
    append_transaction(s, end / LSN_A_TRANSACTION + 1, end + LSN_A_TRANSACTION);
    demand_ok(spool_sync(s, &durable));
    demand(durable.value == end + LSN_A_TRANSACTION);

    CLEANUP(spool_close) struct spool *again = NULL;
    demand_ok(spool_open(memory_store(store), tiny_decoder(), options, &again));
    demand(spool_end(again).value == end + LSN_A_TRANSACTION);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct memory_store store;
    struct cursor c = cursor_over(bytes, length);
    bool is_ours = cursor_u8(&c) % 2 == 1;
    CLEANUP(spool_close) struct spool *s = NULL;

    memory_store_init(&store);
    if (is_ours) {
        make_good_spool(&store);
        while (cursor_left(&c) > 0)
            damage(&store, &c);
    } else {
        memory_store_put(&store, 1, c.at, cursor_left(&c));
    }
    if (!refused(spool_open(memory_store(&store), tiny_decoder(), options, &s))) {
        read_all(s, is_ours);
        go_on(&store, s);
    }
    spool_close(TAKE(s));
    memory_store_drop(&store);
    return 0;
}
