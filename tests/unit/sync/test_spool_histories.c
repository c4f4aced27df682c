/*
 * sync/spool under everything that can happen: random streams, a fault or a power cut in every call to the disk, and a
 * reader beside the writer. Whatever happens, what was confirmed is there (P3) and a reader sees each transaction once,
 * whole and in order.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "support/expect.h"
#include "support/memory_store.h"
#include "support/tiny_stream.h"
#include "sync/spool.h"
#include "sync/spool_format.h"
#include "sync/spool_reader.h"

enum {
    SEEDS = 12,
    CUTS = 4, /* ways in which the power goes off, for each call */
    TRANSACTIONS = 16,
    RELATIONS = 3,
    FIRST_OID = 500,
    LSN_A_TRANSACTION = 100, /* transaction n ends at n * 100; keepalives lie between */
};

/* ---- the source: what it has follows from the seed ---- */

static uint64_t drawn(uint64_t seed, uint64_t what, uint64_t which)
{
    uint64_t key[3] = {seed, what, which};

    return hash_bytes(key, sizeof key, 0);
}

static uint64_t rows_of(uint64_t seed, uint64_t xid)
{
    return drawn(seed, 1, xid) % 6;
}

static uint64_t oid_of(uint64_t seed, uint64_t xid, uint64_t ordinal)
{
    return FIRST_OID + drawn(seed, 2, xid * 100 + ordinal) % RELATIONS;
}

/* Some transactions alter a table before they write. */
static uint64_t version_of(uint64_t seed, uint64_t xid, uint64_t oid)
{
    uint64_t version = 1;

    for (uint64_t x = 1; x <= xid; x++)
        version += drawn(seed, 3, x * 1000 + oid) % 8 == 0;
    return version;
}

static size_t filler_of(uint64_t seed, uint64_t xid, uint64_t ordinal)
{
    uint64_t d = drawn(seed, 4, xid * 100 + ordinal);

    if (seed % 8 == 0 && d % 40 == 0)
        return SPOOL_BLOCK_BYTES + d % 1000; /* more than a block */
    return d % 7 == 0 ? 300 : d % 60;
}

/* ---- one spool and what has been confirmed of it ---- */

struct world {
    uint64_t seed;
    uint64_t cut;
    uint64_t random;
    uint64_t n_transactions;
    struct memory_store store;
    struct fault fault;
    struct spool *spool;
    struct buffer message;
    uint64_t sent[RELATIONS]; /* version of each relation sent in this session */
    uint64_t confirmed;       /* (P3) what spool_sync answered */
    uint64_t target;          /* what was said to spool_trim */
};

static uint64_t chance(struct world *w, uint64_t n)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w->random >> 33) % n;
}

static void world_init(struct world *w, uint64_t seed, uint64_t n_transactions)
{
    *w = (struct world){.seed = seed, .random = seed, .n_transactions = n_transactions};
    memory_store_init(&w->store);
    w->store.fault = &w->fault;
}

static void world_drop(struct world *w)
{
    spool_close(TAKE(w->spool));
    memory_store_drop(&w->store);
    buffer_drop(&w->message);
}

MUST_USE static struct error *open_spool(struct world *w)
{
    struct spool_options options = {.task_tag = w->seed, .segment_bytes = 100 + w->seed % 5 * 200};

    spool_close(TAKE(w->spool));
    memset(w->sent, 0, sizeof w->sent);
    return spool_open(memory_store(&w->store), tiny_decoder(), options, &w->spool);
}

MUST_USE static struct error *sync_spool(struct world *w)
{
    struct lsn durable = LSN_NONE;

    TRY(spool_sync(w->spool, &durable));
    w->confirmed = durable.value;
    return NULL;
}

MUST_USE static struct error *send_message(struct world *w)
{
    TRY(spool_append(w->spool, w->message.bytes, w->message.length, LSN_NONE, 0));
    if (chance(w, 9) == 0)
        TRY(spool_write(w->spool));
    return chance(w, 12) == 0 ? sync_spool(w) : NULL;
}

MUST_USE static struct error *send_row(struct world *w, uint64_t xid, uint64_t ordinal)
{
    uint64_t oid = oid_of(w->seed, xid, ordinal);
    uint64_t version = version_of(w->seed, xid, oid);

    if (w->sent[oid - FIRST_OID] != version) {
        tiny_relation(&w->message, oid, version);
        TRY(send_message(w));
        w->sent[oid - FIRST_OID] = version;
    }
    tiny_row(&w->message, oid, version, xid, ordinal, filler_of(w->seed, xid, ordinal));
    return send_message(w);
}

MUST_USE static struct error *send_transaction(struct world *w, uint64_t xid)
{
    tiny_begin(&w->message, xid);
    TRY(send_message(w));
    for (uint64_t i = 0; i < rows_of(w->seed, xid); i++)
        TRY(send_row(w, xid, i));
    tiny_commit(&w->message, (struct lsn){xid * LSN_A_TRANSACTION});
    return send_message(w);
}

/* The connection to the source is lost and comes back. */
MUST_USE static struct error *lose_connection(struct world *w)
{
    TRY(spool_break(w->spool));
    w->confirmed = spool_end(w->spool).value; /* a receiver may tell the source when it comes back */
    memset(w->sent, 0, sizeof w->sent);
    return NULL;
}

/* Between two transactions: keepalives, and the target gets on. */
MUST_USE static struct error *do_something_between(struct world *w, uint64_t xid)
{
    if (chance(w, 3) == 0)
        TRY(spool_keepalive(w->spool, (struct lsn){xid * LSN_A_TRANSACTION + 10 + chance(w, 80)}, 0));
    if (chance(w, 4) != 0)
        return NULL;

    uint64_t applied = chance(w, w->confirmed / LSN_A_TRANSACTION + 1) * LSN_A_TRANSACTION;
    if (applied > w->target)
        w->target = applied;
    return spool_trim(w->spool, (struct lsn){w->target});
}

/* Now and then it happens in the middle of a transaction. */
MUST_USE static struct error *lose_connection_in(struct world *w, uint64_t xid)
{
    if (xid <= w->n_transactions) {
        tiny_begin(&w->message, xid);
        TRY(send_message(w));
        TRY(spool_write(w->spool));
        sched_yield(); /* a reader may see it */
    }
    return lose_connection(w);
}

static uint64_t next_xid(const struct world *w)
{
    return spool_end(w->spool).value / LSN_A_TRANSACTION + 1;
}

/* From where the spool ends to the last transaction. */
MUST_USE static struct error *receive_all(struct world *w)
{
    for (uint64_t xid = next_xid(w); xid <= w->n_transactions; xid = next_xid(w)) {
        TRY(send_transaction(w, xid));
        TRY(do_something_between(w, xid));
        TRY(chance(w, 10) == 0 ? lose_connection_in(w, xid + 1) : NULL);
    }
    return sync_spool(w);
}

/* ---- the reader's view ---- */

struct view {
    uint64_t seed;
    uint64_t xid; /* being read; 0 between transactions */
    uint64_t ordinal;
    uint64_t last; /* complete */
    uint64_t known[RELATIONS];
};

static void see_row(const struct view *v, const struct tiny *t)
{
    assert_int_equal(t->xid, v->xid);
    assert_int_equal(t->ordinal, v->ordinal);
    assert_int_equal(t->oid, oid_of(v->seed, v->xid, v->ordinal));
    assert_int_equal(v->known[t->oid - FIRST_OID], t->version); /* described by a message or a copy */
}

/* Each transaction once, whole, in order. */
static void see(struct view *v, const struct spool_record *record)
{
    struct tiny t;

    if (record->kind == SPOOL_KEEPALIVE) {
        assert_int_equal(v->xid, 0); /* P4 */
        return;
    }
    assert_true(tiny_parse(record->bytes, record->length, &t));
    switch (t.letter) {
    case 'R':
        v->known[t.oid - FIRST_OID] = t.version;
        break;
    case 'B':
        assert_int_equal(v->xid, 0);
        assert_true(v->last == 0 || t.xid == v->last + 1);
        v->xid = t.xid;
        v->ordinal = 0;
        break;
    case 'I':
        see_row(v, &t);
        v->ordinal++;
        break;
    case 'C':
        assert_int_equal(v->ordinal, rows_of(v->seed, v->xid));
        assert_int_equal(t.end.value, v->xid * LSN_A_TRANSACTION);
        v->last = v->xid;
        v->xid = 0;
        break;
    default:
        fail();
    }
}

/* What someone sees who has everything up to the target's position. Returns the last complete transaction. */
static uint64_t look(struct world *w)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "look");
    CLEANUP(spool_reader_close) struct spool_reader *reader = NULL;
    struct view view = {.seed = w->seed};
    uint64_t first = 0;

    expect_ok(spool_reader_open(w->spool, (struct lsn){w->target}, &reader));
    for (;;) {
        struct spool_record record;

        expect_ok(spool_reader_next(reader, a, &record));
        if (record.kind == SPOOL_NONE)
            break;
        see(&view, &record);
        if (first == 0)
            first = view.xid;
    }
    assert_int_equal(view.xid, 0);
    assert_true(first <= w->target / LSN_A_TRANSACTION + 1); /* nothing that the target lacks was trimmed */
    return view.last;
}

static void expect_consistent(struct world *w)
{
    uint64_t end = spool_end(w->spool).value;
    uint64_t last = look(w);

    assert_true(end >= w->confirmed); /* P3 */
    assert_int_equal(spool_transactions(w->spool), end / LSN_A_TRANSACTION);
    if (last != 0)
        assert_int_equal(last, end / LSN_A_TRANSACTION);
    else
        assert_true(end / LSN_A_TRANSACTION <= w->target / LSN_A_TRANSACTION);
}

/* ---- histories ---- */

MUST_USE static struct error *open_and_receive(struct world *w)
{
    TRY(open_spool(w));
    return receive_all(w);
}

static void finish_and_check(struct world *w)
{
    expect_ok(receive_all(w));
    assert_int_equal(spool_transactions(w->spool), w->n_transactions);
    expect_consistent(w);
}

static void after_a_power_cut(struct world *w)
{
    spool_close(TAKE(w->spool));
    memory_store_crash(&w->store, drawn(w->seed, 5 + w->cut, w->random));
    expect_ok(open_spool(w));
    expect_consistent(w);
    finish_and_check(w);
}

static void after_a_kill(struct world *w)
{
    expect_ok(open_spool(w));
    expect_consistent(w);
    finish_and_check(w);
}

static void after_an_error(struct world *w)
{
    if (w->spool == NULL)
        expect_ok(open_spool(w));
    expect_ok(lose_connection(w));
    finish_and_check(w);
    after_a_power_cut(w);
}

/* True when the nth call to the disk failed; then life goes on in one of three ways. */
static bool struck_at(uint64_t seed, unsigned nth, uint64_t cut, void (*then)(struct world *w))
{
    struct world w;

    world_init(&w, seed, TRANSACTIONS);
    w.cut = cut;
    w.fault.countdown = nth;
    CLEANUP(error_free) struct error *err = open_and_receive(&w);
    bool struck = w.fault.struck;
    w.fault = (struct fault){0};
    if (struck) {
        then(&w);
    } else {
        assert_null(err);
        expect_consistent(&w);
    }
    world_drop(&w);
    return struck;
}

static void survive(uint64_t cuts, void (*then)(struct world *w))
{
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (uint64_t cut = 0; cut < cuts; cut++) {
            unsigned nth = 1;

            while (struck_at(seed, nth, cut, then))
                nth++;
            assert_true(nth > 20); /* the loop did reach past the last call */
        }
}

static void survives_a_power_cut_at_any_call(void **state) /* P3, P4 */
{
    (void)state;
    survive(CUTS, after_a_power_cut);
}

static void survives_a_kill_at_any_call(void **state) /* P3, P4 */
{
    (void)state;
    survive(1, after_a_kill);
}

static void survives_an_error_of_any_call(void **state) /* P3, P4 */
{
    (void)state;
    survive(CUTS, after_an_error);
}

/* ---- a reader beside the writer ---- */

enum { MANY_TRANSACTIONS = 4000 };

struct beside {
    struct world world;
    _Atomic bool ended;
    _Atomic uint64_t applied; /* by the reader, end of its last transaction */
    struct error *err;
};

MUST_USE static struct error *write_many(struct beside *b)
{
    struct world *w = &b->world;

    for (uint64_t xid = next_xid(w); xid <= w->n_transactions; xid = next_xid(w)) {
        TRY(send_transaction(w, xid));
        TRY(chance(w, 20) == 0 ? spool_trim(w->spool, (struct lsn){b->applied}) : NULL);
        TRY(chance(w, 30) == 0 ? lose_connection_in(w, xid + 1) : NULL);
    }
    return sync_spool(w);
}

static void *run_writer(void *arg)
{
    struct beside *b = arg;

    b->err = write_many(b);
    b->ended = true;
    return NULL;
}

/* Reads from the position it has until it must begin again. Skips what it has (P2). */
MUST_USE static struct error *read_on(struct beside *b)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "beside");
    CLEANUP(spool_reader_close) struct spool_reader *reader = NULL;
    struct view view = {.seed = b->world.seed};

    TRY(spool_reader_open(b->world.spool, (struct lsn){b->applied}, &reader));
    while (b->applied < b->world.n_transactions * LSN_A_TRANSACTION) {
        struct spool_record record;
        bool ended = b->ended;

        TRY(spool_reader_next(reader, a, &record));
        if (record.kind == SPOOL_NONE) {
            assert_false(ended);
            sched_yield();
            continue;
        }
        see(&view, &record);
        arena_reset(a);
        if (view.xid == 0 && view.last * LSN_A_TRANSACTION > b->applied) {
            assert_int_equal(view.last * LSN_A_TRANSACTION, b->applied + LSN_A_TRANSACTION);
            b->applied = view.last * LSN_A_TRANSACTION;
        }
    }
    return NULL;
}

static void a_reader_beside_the_writer_sees_every_transaction_once(void **state)
{
    static struct beside b;
    pthread_t thread;
    unsigned restarts = 0;

    (void)state;
    world_init(&b.world, 3, MANY_TRANSACTIONS);
    expect_ok(open_spool(&b.world));
    assert_int_equal(pthread_create(&thread, NULL, run_writer, &b), 0);
    for (;;) {
        CLEANUP(error_free) struct error *err = read_on(&b);

        if (err == NULL)
            break;
        if (error_kind(err) != ERROR_TRANSIENT)
            print_error("%s\n", error_message(err));
        assert_int_equal(error_kind(err), ERROR_TRANSIENT);
        restarts++;
    }
    pthread_join(thread, NULL);
    expect_ok(b.err);
    print_message("the reader began again %u times\n", restarts);
    world_drop(&b.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_power_cut_at_any_call),
        cmocka_unit_test(survives_a_kill_at_any_call),
        cmocka_unit_test(survives_an_error_of_any_call),
        cmocka_unit_test(a_reader_beside_the_writer_sees_every_transaction_once),
    };

    return cmocka_run_group_tests_name("sync/spool histories", tests, NULL, NULL);
}
