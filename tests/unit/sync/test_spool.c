/* sync/spool, sync/spool_reader: what is promised in their headers, one thing at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "support/expect.h"
#include "support/memory_store.h"
#include "support/tiny_stream.h"
#include "sync/spool.h"
#include "sync/spool_format.h"
#include "sync/spool_reader.h"

enum { TAG = 7, RECEIVED_US = 1234567, SMALL_SEGMENT = 300 };

struct fixture {
    struct memory_store store;
    struct spool_options options;
    struct spool *spool;
    struct spool_reader *reader;
    struct arena *arena;
    struct buffer message;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    memory_store_init(&f->store);
    f->options = (struct spool_options){.task_tag = TAG};
    f->arena = arena_new(NULL, "test");
    *state = f;
    return 0;
}

static void close_all(struct fixture *f)
{
    spool_reader_close(TAKE(f->reader));
    spool_close(TAKE(f->spool));
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    memory_store_drop(&f->store);
    arena_free(f->arena);
    buffer_drop(&f->message);
    free(f);
    return 0;
}

MUST_USE static struct error *try_open(struct fixture *f)
{
    close_all(f);
    return spool_open(memory_store(&f->store), tiny_decoder(), f->options, &f->spool);
}

static void open_spool(struct fixture *f)
{
    expect_ok(try_open(f));
}

static void open_small_segments(struct fixture *f)
{
    f->options.segment_bytes = SMALL_SEGMENT;
    open_spool(f);
}

static void crash_and_open(struct fixture *f)
{
    close_all(f);
    memory_store_crash(&f->store, 0); /* nothing that was not synced survives */
    open_spool(f);
}

MUST_USE static struct error *try_append(struct fixture *f)
{
    return spool_append(f->spool, f->message.bytes, f->message.length, (struct lsn){5}, RECEIVED_US);
}

static void begin(struct fixture *f, uint64_t xid)
{
    tiny_begin(&f->message, xid);
    expect_ok(try_append(f));
}

static void row(struct fixture *f, uint64_t xid, size_t filler)
{
    tiny_row(&f->message, 16384, 1, xid, 0, filler);
    expect_ok(try_append(f));
}

static void commit(struct fixture *f, uint64_t end)
{
    tiny_commit(&f->message, (struct lsn){end});
    expect_ok(try_append(f));
}

static void relation(struct fixture *f, uint64_t oid, uint64_t version)
{
    tiny_relation(&f->message, oid, version);
    expect_ok(try_append(f));
}

static void transaction(struct fixture *f, uint64_t xid, uint64_t end)
{
    begin(f, xid);
    row(f, xid, 20);
    commit(f, end);
}

static void write_out(struct fixture *f)
{
    expect_ok(spool_write(f->spool));
}

static uint64_t synced(struct fixture *f)
{
    struct lsn durable = LSN_NONE;

    expect_ok(spool_sync(f->spool, &durable));
    return durable.value;
}

static void keepalive(struct fixture *f, uint64_t end)
{
    expect_ok(spool_keepalive(f->spool, (struct lsn){end}, RECEIVED_US));
}

static void open_reader(struct fixture *f, uint64_t from)
{
    spool_reader_close(TAKE(f->reader));
    expect_ok(spool_reader_open(f->spool, (struct lsn){from}, &f->reader));
}

/* What comes next, in letters: B C R I M as the tiny stream has them, lower case r for a copy, K for a keepalive. */
static const char *read_letters(struct fixture *f)
{
    CLEANUP(buffer_free) struct buffer *letters = buffer_new();

    for (;;) {
        struct spool_record record;
        struct tiny t;

        expect_ok(spool_reader_next(f->reader, f->arena, &record));
        if (record.kind == SPOOL_NONE)
            return arena_strdup(f->arena, buffer_text(letters));
        if (record.kind == SPOOL_KEEPALIVE) {
            buffer_append_char(letters, 'K');
            continue;
        }
        assert_true(tiny_parse(record.bytes, record.length, &t));
        buffer_append_char(letters, record.kind == SPOOL_RELATION ? 'r' : t.letter);
    }
}

static void expect_transient(struct fixture *f)
{
    struct spool_record record;

    expect_error(spool_reader_next(f->reader, f->arena, &record), ERROR_TRANSIENT, "cut back");
}

/* ---- what goes in comes out ---- */

static void an_empty_spool_begins_nowhere(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    assert_true(lsn_is_none(spool_end(f->spool)));
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "");
}

static void what_was_taken_is_read_back_as_it_came(void **state)
{
    struct fixture *f = *state;
    struct spool_record record;

    open_spool(f);
    begin(f, 700);
    write_out(f);
    open_reader(f, 0);
    expect_ok(spool_reader_next(f->reader, f->arena, &record));
    assert_int_equal(record.kind, SPOOL_MESSAGE);
    assert_int_equal(record.length, f->message.length);
    assert_memory_equal(record.bytes, f->message.bytes, record.length);
    assert_int_equal(record.wal.value, 5);
    assert_int_equal(record.received_us, RECEIVED_US);
}

static void count_call(void *self)
{
    ++*(unsigned *)self;
}

static void nothing_is_visible_before_it_is_written(void **state)
{
    struct fixture *f = *state;
    unsigned calls = 0;

    f->options.on_visible = count_call;
    f->options.self = &calls;
    open_spool(f);
    calls = 0;
    transaction(f, 1, 100);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "");
    assert_int_equal(calls, 0);
    write_out(f);
    assert_int_equal(calls, 1);
    assert_string_equal(read_letters(f), "BIC");
}

/* Each message of a transaction would wake the reader, which can do nothing before the COMMIT. */
static void the_beginning_of_a_transaction_is_not_shown_alone(void **state)
{
    struct fixture *f = *state;
    unsigned calls = 0;

    f->options.on_visible = count_call;
    f->options.self = &calls;
    open_spool(f);
    open_reader(f, 0);
    calls = 0;
    begin(f, 1);
    row(f, 1, 20);
    expect_ok(spool_show(f->spool));
    assert_int_equal(calls, 0);
    commit(f, 100);
    begin(f, 2);
    expect_ok(spool_show(f->spool));
    assert_int_equal(calls, 1);
    assert_string_equal(read_letters(f), "BICB");
    row(f, 2, 20);
    expect_ok(spool_show(f->spool));
    assert_int_equal(calls, 1);
    synced(f); /* by its timer the rest comes, too */
    assert_string_equal(read_letters(f), "I");
}

static void one_write_is_one_append(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    unsigned before = f->store.appends;
    for (uint64_t i = 1; i <= 100; i++)
        transaction(f, i, i * 100);
    write_out(f);
    assert_int_equal(f->store.appends, before + 1);
}

static void messages_larger_than_a_block_pass(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    begin(f, 1);
    row(f, 1, SPOOL_BLOCK_BYTES * 3 + 17);
    row(f, 1, SPOOL_BLOCK_BYTES - 1);
    commit(f, 100);
    assert_int_equal(synced(f), 100);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 100);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIIC");
}

static void transactions_are_counted_over_restarts(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 20; i++)
        transaction(f, i, i * 100);
    synced(f);
    crash_and_open(f);
    transaction(f, 21, 2100);
    assert_int_equal(spool_transactions(f->spool), 21);
}

/* ---- what may be confirmed ---- */

static void only_complete_transactions_are_durable(void **state) /* P3 */
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    begin(f, 2);
    row(f, 2, 10);
    assert_int_equal(synced(f), 100);
    assert_true(spool_in_transaction(f->spool));
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 100);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
}

static void what_a_killed_process_wrote_is_synced_before_it_counts(void **state) /* P3 */
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    write_out(f);
    open_spool(f); /* the process was killed, the machine went on */
    assert_int_equal(spool_end(f->spool).value, 100);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 100);
}

static void after_a_break_the_end_is_durable(void **state) /* P3 */
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    expect_ok(spool_break(f->spool)); /* nothing was written yet, nothing is to be dropped */
    assert_int_equal(spool_end(f->spool).value, 100);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 100);
    transaction(f, 2, 200);
    write_out(f);
    begin(f, 3);
    expect_ok(spool_break(f->spool)); /* what is to be dropped was not written yet */
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 200);
}

static void a_keepalive_between_transactions_moves_the_end(void **state) /* P4 */
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    keepalive(f, 150);
    assert_int_equal(synced(f), 150);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 150);
    open_reader(f, 100);
    assert_string_equal(read_letters(f), "BICK");
}

static void a_keepalive_inside_a_transaction_is_not_recorded(void **state) /* P4 */
{
    struct fixture *f = *state;

    open_spool(f);
    begin(f, 1);
    keepalive(f, 150);
    assert_int_equal(synced(f), 0);
    commit(f, 100);
    assert_int_equal(synced(f), 100);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BC");
}

static void a_keepalive_that_is_no_news_is_not_recorded(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    keepalive(f, 100);
    keepalive(f, 90);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
}

static void keepalives_in_a_row_are_one_record(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    for (uint64_t i = 1; i <= 1000; i++)
        keepalive(f, i);
    assert_int_equal(synced(f), 1000);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "K");
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 1000);
}

/* ---- order ---- */

static void messages_that_do_not_fit_into_the_stream_are_refused(void **state) /* P2 */
{
    struct fixture *f = *state;

    open_spool(f);
    tiny_commit(&f->message, (struct lsn){50});
    expect_error(try_append(f), ERROR_DATA, "did not begin");
    transaction(f, 1, 100);
    begin(f, 2);
    tiny_begin(&f->message, 3);
    expect_error(try_append(f), ERROR_DATA, "transaction 3 inside another");
    tiny_commit(&f->message, (struct lsn){100});
    expect_error(try_append(f), ERROR_DATA, "the spool is at 0/64 already");
    expect_error(spool_append(f->spool, "?", 1, LSN_NONE, 0), ERROR_DATA, "not a message");
    commit(f, 200);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BICBC"); /* nothing of what was refused */
}

static void a_message_between_transactions_comes_again_after_a_break(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    tiny_message(&f->message);
    expect_ok(try_append(f));
    assert_int_equal(synced(f), 100);
    expect_ok(spool_break(f->spool));
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
}

/* ---- breaks ---- */

static void a_break_drops_an_incomplete_transaction(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    transaction(f, 1, 100);
    begin(f, 2);
    for (int i = 0; i < 50; i++)
        row(f, 2, 50); /* over several segments */
    synced(f);
    assert_true(f->store.seen.n > 2);
    expect_ok(spool_break(f->spool));
    assert_int_equal(spool_end(f->spool).value, 100);
    assert_int_equal(f->store.seen.n, 1);
    transaction(f, 2, 200);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BICBIC");
}

static void a_crash_drops_an_incomplete_transaction_over_several_segments(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    transaction(f, 1, 100);
    begin(f, 2);
    for (int i = 0; i < 50; i++)
        row(f, 2, 50);
    synced(f);
    assert_true(f->store.seen.n > 2);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 100);
    assert_int_equal(spool_transactions(f->spool), 1);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
}

static void a_reader_that_had_gone_further_than_a_break_must_begin_again(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    begin(f, 2);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BICB");
    expect_ok(spool_break(f->spool));
    transaction(f, 2, 200);
    write_out(f);
    expect_transient(f);
    expect_transient(f); /* and it stays so */
    open_reader(f, 100);
    assert_string_equal(read_letters(f), "BICBIC");
}

static void a_reader_that_had_not_gone_further_reads_on(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
    begin(f, 2);
    row(f, 2, 100);
    write_out(f);
    expect_ok(spool_break(f->spool));
    transaction(f, 3, 300);
    write_out(f);
    assert_string_equal(read_letters(f), "BIC");
}

static void a_reader_sees_nothing_of_a_block_that_was_cut(void **state)
{
    struct fixture *f = *state;
    struct spool_record record;

    open_spool(f);
    transaction(f, 1, 100);
    begin(f, 2);
    row(f, 2, 20);
    write_out(f);
    open_reader(f, 0);
    expect_ok(spool_reader_next(f->reader, f->arena, &record)); /* the block now holds all of it */
    expect_ok(spool_break(f->spool));
    transaction(f, 3, 300); /* as long as what it replaces */
    write_out(f);
    for (struct tiny t = {0}; t.letter != 'B';) {
        expect_ok(spool_reader_next(f->reader, f->arena, &record));
        assert_true(tiny_parse(record.bytes, record.length, &t));
        assert_int_equal(t.xid, t.letter == 'B' ? 3 : t.xid);
    }
    assert_string_equal(read_letters(f), "IC");
}

static void what_was_never_written_breaks_without_the_reader_noticing(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
    begin(f, 2);
    expect_ok(spool_break(f->spool));
    transaction(f, 3, 300);
    write_out(f);
    assert_string_equal(read_letters(f), "BIC");
}

static void after_a_failed_sync_only_what_was_durable_counts(void **state) /* P3 */
{
    struct fixture *f = *state;
    struct fault fault = {.countdown = 2}; /* append, sync */
    struct lsn durable = LSN_NONE;

    open_spool(f);
    transaction(f, 1, 100);
    synced(f);
    transaction(f, 2, 200);
    f->store.fault = &fault;
    expect_error(spool_sync(f->spool, &durable), ERROR_TRANSIENT, "making spool segment 1 durable");
    assert_string_equal(fault.call, "sync");
    f->store.fault = NULL;
    tiny_begin(&f->message, 3);
    expect_error(try_append(f), ERROR_TRANSIENT, "takes nothing until it is cut back");
    expect_error(spool_sync(f->spool, &durable), ERROR_TRANSIENT, "takes nothing");
    expect_ok(spool_break(f->spool));
    assert_int_equal(spool_end(f->spool).value, 100);
    assert_int_equal(spool_transactions(f->spool), 1);
    transaction(f, 2, 200);
    assert_int_equal(synced(f), 200);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BICBIC");
}

static void a_write_that_failed_half_way_can_be_tried_again(void **state)
{
    struct fixture *f = *state;
    struct fault fault = {.countdown = 1};

    open_spool(f);
    transaction(f, 1, 100);
    f->store.fault = &fault;
    expect_error(spool_write(f->spool), ERROR_TRANSIENT, "writing to spool segment 1");
    write_out(f);
    begin(f, 2);
    fault = (struct fault){.countdown = 3}; /* of a large message the header is written, the payload is not */
    tiny_row(&f->message, 16384, 1, 2, 0, (size_t)SPOOL_BLOCK_BYTES * 2);
    expect_ok(spool_write(f->spool));
    expect_error(try_append(f), ERROR_TRANSIENT, "writing a message of");
    expect_ok(try_append(f));
    commit(f, 200);
    synced(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BICBIC");
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 200);
}

/* Its segment is far from full, the disk is: what is applied goes all the same, and what had no room comes again. */
static void a_full_disk_gets_room_when_all_is_applied(void **state)
{
    struct fixture *f = *state;
    struct fault fault = {.countdown = 1};

    open_spool(f);
    transaction(f, 1, 100);
    synced(f);
    uint64_t bytes = spool_bytes(f->spool);
    transaction(f, 2, 200);
    f->store.fault = &fault;
    expect_error(spool_write(f->spool), ERROR_TRANSIENT, "writing to spool segment 1");
    expect_ok(spool_break(f->spool));
    assert_int_equal(spool_end(f->spool).value, 100);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BIC");
    expect_ok(spool_trim(f->spool, (struct lsn){50}));
    assert_int_equal(spool_bytes(f->spool), bytes);
    expect_ok(spool_trim(f->spool, (struct lsn){100}));
    assert_string_equal(read_letters(f), "");
    expect_ok(spool_trim(f->spool, (struct lsn){100}));
    assert_true(spool_bytes(f->spool) < bytes);
    transaction(f, 2, 200);
    synced(f);
    assert_string_equal(read_letters(f), "BIC");
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 200);
}

/* ---- segments ---- */

static void a_reader_begins_as_late_as_it_can(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 30; i++)
        transaction(f, i, i * 100);
    write_out(f);
    open_reader(f, 0);
    assert_int_equal(strlen(read_letters(f)), 90);
    open_reader(f, 2000);
    size_t rest = strlen(read_letters(f));
    assert_true(rest >= 30 && rest < 45);
    open_reader(f, 9999);
    assert_true(strlen(read_letters(f)) < 15);
}

static void a_segment_begins_with_the_relations_in_force(void **state)
{
    struct fixture *f = *state;
    struct spool_record record;
    struct tiny t;

    open_small_segments(f);
    begin(f, 1);
    relation(f, 500, 1);
    relation(f, 600, 1);
    commit(f, 100);
    begin(f, 2);
    relation(f, 500, 2);
    row(f, 2, 200);
    commit(f, 200);
    transaction(f, 3, 300);
    write_out(f);
    open_reader(f, 0);
    assert_string_equal(read_letters(f), "BRRCBRICBIC"); /* who reads on needs no copies */
    open_reader(f, 200);
    expect_ok(spool_reader_next(f->reader, f->arena, &record));
    assert_int_equal(record.kind, SPOOL_RELATION);
    assert_true(tiny_parse(record.bytes, record.length, &t));
    assert_int_equal(t.oid, 500);
    assert_int_equal(t.version, 2);
    assert_string_equal(read_letters(f), "rBIC");
}

static void relations_are_not_remembered_over_a_break(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    begin(f, 1);
    relation(f, 500, 1);
    row(f, 1, 300);
    commit(f, 100);
    expect_ok(spool_break(f->spool));
    transaction(f, 2, 200); /* in a segment of its own */
    write_out(f);
    open_reader(f, 100);
    assert_string_equal(read_letters(f), "BIC");
}

static void no_reader_begins_inside_a_transaction(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    transaction(f, 1, 100);
    begin(f, 2);
    for (int i = 0; i < 30; i++)
        row(f, 2, 50);
    commit(f, 200);
    write_out(f);
    open_reader(f, 100);
    assert_string_equal(read_letters(f) + 3, "BIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIC");
}

static void a_position_before_the_spool_is_refused(void **state)
{
    struct fixture *f = *state;
    struct spool_reader *reader = NULL;

    open_small_segments(f);
    expect_ok(spool_reset_to(f->spool, (struct lsn){1000}));
    for (uint64_t i = 11; i <= 40; i++)
        transaction(f, i, i * 100);
    synced(f);
    expect_error(spool_reader_open(f->spool, (struct lsn){900}, &reader), ERROR_HISTORY, "begins at 0/3E8");
    open_reader(f, 0); /* a target that has nothing yet gets everything since the slot was made */
    spool_reader_close(TAKE(f->reader));
    expect_ok(spool_trim(f->spool, (struct lsn){3000}));
    expect_error(spool_reader_open(f->spool, LSN_NONE, &reader), ERROR_HISTORY, "changes between them are lost");
    expect_error(spool_reader_open(f->spool, (struct lsn){1500}, &reader), ERROR_HISTORY, "the target is at 0/5DC");
    open_reader(f, 3000);
}

static void there_is_one_reader_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct spool_reader *second = NULL;

    open_spool(f);
    open_reader(f, 0);
    expect_error(spool_reader_open(f->spool, LSN_NONE, &second), ERROR_BUG, "has a reader");
}

/* ---- trimming ---- */

static void trimming_keeps_what_is_not_durable_on_the_target(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 50; i++)
        transaction(f, i, i * 100);
    synced(f);
    uint64_t before = spool_bytes(f->spool);
    for (uint64_t durable = 100; durable <= 5000; durable += 100) {
        expect_ok(spool_trim(f->spool, (struct lsn){durable}));
        open_reader(f, durable);
        assert_true(strlen(read_letters(f)) >= (5000 - durable) / 100 * 3);
        spool_reader_close(TAKE(f->reader));
    }
    assert_int_equal(f->store.seen.n, 1);
    assert_true(spool_bytes(f->spool) < before / 5);
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, 5000);
    assert_int_equal(spool_transactions(f->spool), 50);
}

static void trimming_waits_for_the_reader(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 50; i++)
        transaction(f, i, i * 100);
    synced(f);
    size_t segments = f->store.seen.n;
    open_reader(f, 0);
    expect_ok(spool_trim(f->spool, (struct lsn){5000}));
    assert_int_equal(f->store.seen.n, segments);
    assert_int_equal(strlen(read_letters(f)), 150);
    expect_ok(spool_trim(f->spool, (struct lsn){5000}));
    assert_int_equal(f->store.seen.n, 1);
}

static void a_transaction_over_several_segments_is_kept_whole(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    transaction(f, 1, 100);
    begin(f, 2);
    for (int i = 0; i < 50; i++)
        row(f, 2, 50);
    synced(f);
    expect_ok(spool_trim(f->spool, (struct lsn){100}));
    commit(f, 200);
    for (uint64_t i = 3; i < 20; i++)
        transaction(f, i, i * 100);
    synced(f);
    expect_ok(spool_trim(f->spool, (struct lsn){100}));
    open_reader(f, 100);
    assert_int_equal(strlen(read_letters(f)), 3 + 52 + 17 * 3);
}

static void a_full_spool_gets_empty_when_all_is_applied(void **state)
{
    struct fixture *f = *state;

    f->options.limit_bytes = 2000;
    open_spool(f); /* one segment of 64 MiB would hold it all */
    uint64_t end = 0;
    while (!spool_is_full(f->spool)) {
        end += 100;
        transaction(f, end, end);
        write_out(f);
    }
    assert_true(spool_bytes(f->spool) > 2000);
    open_reader(f, 0);
    read_letters(f);
    expect_ok(spool_trim(f->spool, (struct lsn){end - 100}));
    assert_true(spool_is_full(f->spool)); /* the last transaction is still needed */
    expect_ok(spool_trim(f->spool, (struct lsn){end}));
    assert_string_equal(read_letters(f), "");
    expect_ok(spool_trim(f->spool, (struct lsn){end}));
    assert_false(spool_is_full(f->spool));
    crash_and_open(f);
    assert_int_equal(spool_end(f->spool).value, end);
}

static void a_transaction_that_has_begun_is_taken_to_its_end(void **state)
{
    struct fixture *f = *state;

    f->options.limit_bytes = 2000;
    open_small_segments(f);
    begin(f, 1);
    for (int i = 0; i < 100; i++) {
        row(f, 1, 100);
        write_out(f);
        assert_false(spool_is_full(f->spool));
    }
    commit(f, 100);
    write_out(f);
    assert_true(spool_is_full(f->spool));
    expect_ok(spool_trim(f->spool, (struct lsn){100}));
    assert_false(spool_is_full(f->spool));
}

/* ---- a fresh stream ---- */

static void a_reset_forgets_everything(void **state)
{
    struct fixture *f = *state;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 20; i++)
        transaction(f, i, i * 100);
    begin(f, 21);
    write_out(f);
    open_reader(f, 0);
    read_letters(f);
    expect_ok(spool_reset_to(f->spool, (struct lsn){500}));
    assert_int_equal(spool_end(f->spool).value, 500);
    assert_int_equal(spool_transactions(f->spool), 0);
    assert_false(spool_in_transaction(f->spool));
    expect_transient(f);
    assert_int_equal(f->store.seen.n, 1);
    transaction(f, 30, 600);
    synced(f);
    crash_and_open(f);
    open_reader(f, 500);
    assert_string_equal(read_letters(f), "BIC");
}

static void a_reset_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;

    for (unsigned nth = 1;; nth++) {
        struct fault fault = {.countdown = nth};

        memory_store_drop(&f->store);
        memory_store_init(&f->store);
        open_small_segments(f);
        for (uint64_t i = 1; i <= 20; i++)
            transaction(f, i, i * 100);
        synced(f);
        f->store.fault = &fault;
        CLEANUP(error_free) struct error *err = spool_reset_to(f->spool, (struct lsn){500});
        f->store.fault = NULL;
        close_all(f);
        memory_store_crash(&f->store, nth * UINT64_C(0x9E3779B97F4A7C15));
        open_spool(f);
        uint64_t end = spool_end(f->spool).value;
        open_reader(f, 0);
        size_t letters = strlen(read_letters(f));
        assert_true((end == 2000 && letters == 60) || (end == 500 && letters == 0));
        if (!fault.struck) {
            assert_null(err);
            assert_int_equal(end, 500);
            assert_true(nth > 3);
            break;
        }
        close_all(f);
    }
}

/* ---- what is not ours, and damage ---- */

static void the_spool_of_another_task_is_refused(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    f->options.task_tag = TAG + 1;
    expect_error(try_open(f), ERROR_HISTORY, "spool segment 1 belongs to another synchronization");
}

static void damage_in_the_middle_names_segment_and_offset(void **state)
{
    struct fixture *f = *state;

    open_spool(f);
    transaction(f, 1, 100);
    synced(f);
    uint64_t second = f->store.seen.segments[0].bytes.length;
    transaction(f, 2, 200);
    synced(f);
    transaction(f, 3, 300);
    synced(f);
    close_all(f);
    memory_store_segment(&f->store, 1)->bytes[second + RECORD_HEADER_BYTES + 2] ^= 1;
    CLEANUP(buffer_free) struct buffer *expected = buffer_new();
    buffer_printf(expected, "spool segment 1 is damaged at %llu", (unsigned long long)second);
    expect_error(try_open(f), ERROR_DATA, expected->bytes);
}

static void damage_in_an_older_segment_is_found_by_the_reader(void **state)
{
    struct fixture *f = *state;
    struct spool_record record;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 20; i++)
        transaction(f, i, i * 100);
    synced(f);
    memory_store_segment(&f->store, 1)->bytes[SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES] ^= 1;
    open_spool(f);
    open_reader(f, 0);
    expect_error(spool_reader_next(f->reader, f->arena, &record), ERROR_DATA, "spool segment 1 is damaged at 88");
}

static void a_closed_segment_that_became_shorter_is_damaged(void **state)
{
    struct fixture *f = *state;
    size_t message = 0;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 20; i++)
        transaction(f, i, i * 100);
    message = RECORD_HEADER_BYTES + f->message.length;
    synced(f);
    close_all(f);
    memory_store_segment(&f->store, 1)->length -= message; /* at the end of a record: nothing looks torn */
    expect_error(try_open(f), ERROR_DATA, "spool segment 1 is damaged at");
}

static void a_cut_that_a_crash_interrupted_is_done_again(void **state)
{
    struct fixture *f = *state;
    struct segment_store store = memory_store(&f->store);

    open_small_segments(f);
    transaction(f, 1, 100);
    begin(f, 2);
    for (int i = 0; i < 50; i++)
        row(f, 2, 50);
    synced(f);
    close_all(f);
    expect_ok(store.ops->remove(store.self, 3)); /* this one was gone, the others were not */
    open_spool(f);
    assert_int_equal(spool_end(f->spool).value, 100);
    assert_int_equal(f->store.seen.n, 1);
}

static void a_missing_segment_is_named(void **state)
{
    struct fixture *f = *state;
    struct spool_reader *reader = NULL;
    struct segment_store store = memory_store(&f->store);

    open_small_segments(f);
    begin(f, 1);
    for (int i = 0; i < 50; i++)
        row(f, 1, 50);
    synced(f);
    close_all(f);
    expect_ok(store.ops->remove(store.self, 1));
    expect_error(try_open(f), ERROR_DATA, "spool segment 1 is missing");

    memory_store_drop(&f->store);
    memory_store_init(&f->store);
    open_small_segments(f);
    for (uint64_t i = 1; i <= 50; i++)
        transaction(f, i, i * 100);
    synced(f);
    close_all(f);
    expect_ok(store.ops->remove(store.self, 3));
    open_spool(f);
    expect_error(spool_reader_open(f->spool, LSN_NONE, &reader), ERROR_HISTORY, "changes between them are lost");
    assert_null(memory_store_segment(&f->store, 1)); /* nobody can read beyond the gap */
}

static void a_torn_tail_is_not_taken_for_damage_by_bytes_that_look_like_a_record(void **state)
{
    struct fixture *f = *state;
    char bytes[1 + RECORD_HEADER_BYTES] = "x"; /* in the torn tail: a record, but of another place */
    struct record_header h = {.synced = 1000, .kind = RECORD_MESSAGE};

    open_spool(f);
    transaction(f, 1, 100);
    synced(f);
    close_all(f);
    record_header_encode(&h, TAG, (struct spool_place){1, 1}, NULL, bytes + 1);
    memory_store_put(&f->store, 1, bytes, sizeof bytes);
    open_spool(f);
    assert_int_equal(spool_end(f->spool).value, 100);
}

/* What is delivered after damage, if anything, is the beginning of what was there. */
static bool reads_a_beginning(struct fixture *f)
{
    struct error *err = try_open(f);
    uint64_t xid = 0;
    struct spool_record record;
    struct tiny t;

    if (err == NULL)
        err = spool_reader_open(f->spool, LSN_NONE, &f->reader);
    while (err == NULL) {
        err = spool_reader_next(f->reader, f->arena, &record);
        if (err != NULL || record.kind == SPOOL_NONE)
            break;
        if (record.kind != SPOOL_MESSAGE)
            continue;
        assert_true(tiny_parse(record.bytes, record.length, &t));
        if (t.letter == 'B')
            assert_int_equal(t.xid, ++xid);
    }
    if (err == NULL)
        return true;
    assert_non_null(strstr(error_message(err), "segment"));
    error_free(err);
    return false;
}

static void damage_of_any_byte_is_an_error_or_a_shorter_spool(void **state)
{
    struct fixture *f = *state;
    struct memory_store good;
    unsigned survived = 0;

    open_small_segments(f);
    for (uint64_t i = 1; i <= 6; i++) {
        transaction(f, i, i * 100);
        synced(f);
    }
    begin(f, 7);
    synced(f);
    close_all(f);
    good = f->store;
    size_t total = 0;
    for (size_t s = 0; s < good.seen.n; s++) {
        for (size_t at = 0; at < good.seen.segments[s].bytes.length; at++, total++) {
            memory_store_init(&f->store);
            for (size_t i = 0; i < good.seen.n; i++)
                memory_store_put(&f->store, good.seen.segments[i].number, good.seen.segments[i].bytes.bytes,
                                 good.seen.segments[i].bytes.length);
            memory_store_segment(&f->store, good.seen.segments[s].number)->bytes[at] ^= 0x41;
            survived += reads_a_beginning(f);
            close_all(f);
            memory_store_drop(&f->store);
        }
    }
    f->store = good;
    assert_true(good.seen.n > 1);
    assert_true(survived < total / 4); /* only what nothing vouches for: the last records */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_spool_begins_nowhere),
        TEST(what_was_taken_is_read_back_as_it_came),
        TEST(nothing_is_visible_before_it_is_written),
        TEST(the_beginning_of_a_transaction_is_not_shown_alone),
        TEST(one_write_is_one_append),
        TEST(messages_larger_than_a_block_pass),
        TEST(transactions_are_counted_over_restarts),
        TEST(only_complete_transactions_are_durable),
        TEST(what_a_killed_process_wrote_is_synced_before_it_counts),
        TEST(after_a_break_the_end_is_durable),
        TEST(a_keepalive_between_transactions_moves_the_end),
        TEST(a_keepalive_inside_a_transaction_is_not_recorded),
        TEST(a_keepalive_that_is_no_news_is_not_recorded),
        TEST(keepalives_in_a_row_are_one_record),
        TEST(messages_that_do_not_fit_into_the_stream_are_refused),
        TEST(a_message_between_transactions_comes_again_after_a_break),
        TEST(a_break_drops_an_incomplete_transaction),
        TEST(a_crash_drops_an_incomplete_transaction_over_several_segments),
        TEST(a_reader_that_had_gone_further_than_a_break_must_begin_again),
        TEST(a_reader_that_had_not_gone_further_reads_on),
        TEST(a_reader_sees_nothing_of_a_block_that_was_cut),
        TEST(what_was_never_written_breaks_without_the_reader_noticing),
        TEST(after_a_failed_sync_only_what_was_durable_counts),
        TEST(a_write_that_failed_half_way_can_be_tried_again),
        TEST(a_full_disk_gets_room_when_all_is_applied),
        TEST(a_reader_begins_as_late_as_it_can),
        TEST(a_segment_begins_with_the_relations_in_force),
        TEST(relations_are_not_remembered_over_a_break),
        TEST(no_reader_begins_inside_a_transaction),
        TEST(a_position_before_the_spool_is_refused),
        TEST(there_is_one_reader_at_a_time),
        TEST(trimming_keeps_what_is_not_durable_on_the_target),
        TEST(trimming_waits_for_the_reader),
        TEST(a_transaction_over_several_segments_is_kept_whole),
        TEST(a_full_spool_gets_empty_when_all_is_applied),
        TEST(a_transaction_that_has_begun_is_taken_to_its_end),
        TEST(a_reset_forgets_everything),
        TEST(a_reset_is_all_or_nothing),
        TEST(the_spool_of_another_task_is_refused),
        TEST(damage_in_the_middle_names_segment_and_offset),
        TEST(damage_in_an_older_segment_is_found_by_the_reader),
        TEST(a_closed_segment_that_became_shorter_is_damaged),
        TEST(a_cut_that_a_crash_interrupted_is_done_again),
        TEST(a_missing_segment_is_named),
        TEST(a_torn_tail_is_not_taken_for_damage_by_bytes_that_look_like_a_record),
        TEST(damage_of_any_byte_is_an_error_or_a_shorter_spool),
    };

    return cmocka_run_group_tests_name("sync/spool", tests, NULL, NULL);
}
