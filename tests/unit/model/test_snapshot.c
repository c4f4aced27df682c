/* model/snapshot: what a copy has seen, and what its gate lets through (G2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/buffer.h"
#include "model/snapshot.h"
#include "support/expect.h"

static int make_arena(void **state)
{
    *state = arena_new(NULL, "test");
    return 0;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

static struct snapshot parsed(struct arena *a, const char *text)
{
    struct snapshot s = {0};

    expect_ok(snapshot_parse(a, text, &s));
    return s;
}

static void a_snapshot_reads_back_as_it_was_written(void **state)
{
    static const char *const texts[] = {
        "744:746:744",
        "10:10:",
        "1:2:1",
        "0:0:",
        "3:9:3,5,8",
        "4294967300:4294967310:4294967300,4294967309",
        "18446744073709551614:18446744073709551615:18446744073709551614",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct snapshot s = parsed(*state, texts[i]);

        assert_string_equal(snapshot_format(*state, &s), texts[i]);
    }
}

static void what_is_no_snapshot_is_refused(void **state)
{
    static const char *const texts[] = {
        "",          "10",          "10:",
        "10:20",     "10:20:x",     "10:20:15,",
        "10:20:,15", "10:20:15,15", "20:10:15",
        "10:20:20",  "10:20:9",     "10:20:16,15",
        "10:20:15 ", " 10:20:",     "10:20:15:",
        "-1:20:",    "1:2:1,-1",    "10:20:15.5",
        "0x10:20:",  "10:20:15;16", "99999999999999999999:99999999999999999999:",
    };

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct snapshot s = {.xmin = 77};

        expect_error(snapshot_parse(*state, texts[i], &s), ERROR_DATA, "is not a snapshot");
        assert_int_equal(s.xmin, 77);
    }
}

/* PostgreSQL writes it so for the snapshot of a slot made while transactions begin: met on 15 under load. */
static void an_xmin_beyond_xmax_decides(void **state)
{
    struct snapshot s;

    expect_ok(snapshot_parse(*state, "1480:1479:", &s));
    assert_true(snapshot_sees(&s, 1478));
    assert_true(snapshot_sees(&s, 1479));
    assert_false(snapshot_sees(&s, 1480));
}

static void a_snapshot_sees_what_was_committed_for_it(void **state)
{
    struct snapshot s = parsed(*state, "744:750:744,747,749");

    assert_true(snapshot_sees(&s, 0));
    assert_true(snapshot_sees(&s, 743));
    assert_false(snapshot_sees(&s, 744)); /* running, and the oldest */
    assert_true(snapshot_sees(&s, 745));  /* committed before older ones (F2) */
    assert_true(snapshot_sees(&s, 746));
    assert_false(snapshot_sees(&s, 747));
    assert_true(snapshot_sees(&s, 748));
    assert_false(snapshot_sees(&s, 749));
    assert_false(snapshot_sees(&s, 750)); /* not begun */
    assert_false(snapshot_sees(&s, UINT64_MAX));
}

static void every_running_one_is_found_among_many(void **state)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_append_text(text, "1000:9000:1000");
    for (int xid = 1003; xid < 9000; xid += 3)
        buffer_printf(text, ",%d", xid);
    struct snapshot s = parsed(*state, buffer_text(text));

    for (unsigned xid = 990; xid < 9010; xid++) {
        bool is_running = xid >= 1000 && xid < 9000 && (xid - 1000) % 3 == 0;

        assert_int_equal(snapshot_sees(&s, xid), xid < 9000 && !is_running);
    }
}

static void an_id_is_widened_to_the_nearest(void **state)
{
    (void)state;
    const uint64_t epoch = UINT64_C(1) << 32;

    assert_true(xid_widen(750, 746) == 750);
    assert_true(xid_widen(740, 746) == 740);
    assert_true(xid_widen(5, 3 * epoch - 10) == 3 * epoch + 5);              /* wrapped around since */
    assert_true(xid_widen(UINT32_MAX - 5, 3 * epoch + 10) == 3 * epoch - 6); /* from before the wrap */
    assert_true(xid_widen(7, 3 * epoch + 7) == 3 * epoch + 7);
    assert_true(xid_widen(UINT32_MAX - 5, 10) == UINT32_MAX - 5);            /* there is nothing below zero */
    assert_true(xid_widen(0x7FFFFFFF, 5 * epoch) == 5 * epoch + 0x7FFFFFFF); /* as far as it can be told */
    assert_true(xid_widen(0x80000001, 5 * epoch) == 5 * epoch - 0x7FFFFFFF);
}

/* (G2), measured on a server (F4): 744 was open and 745 committed when the snapshot 744:746:744 was taken. */
static void the_gate_lets_through_exactly_what_the_copy_did_not_see(void **state)
{
    struct gate g = {.snapshot = parsed(*state, "744:746:744"), .upto = {0x1000}};

    assert_false(gate_lets_through(&g, 743, (struct lsn){0x700}));
    assert_false(gate_lets_through(&g, 745, (struct lsn){0x800}));
    assert_true(gate_lets_through(&g, 744, (struct lsn){0x900}));
    assert_true(gate_lets_through(&g, 746, (struct lsn){0xA00}));
}

/* (G2) A slot that lives for more than 2^31 transactions streams ids that would be widened to the wrong side. */
static void from_upto_on_everything_goes_through(void **state)
{
    struct gate g = {.snapshot = parsed(*state, "744:746:744"), .upto = {0x1000}};

    assert_false(gate_lets_through(&g, 745, (struct lsn){0xFFF}));
    assert_true(gate_lets_through(&g, 745, (struct lsn){0x1000}));
    assert_true(gate_lets_through(&g, 743, (struct lsn){0x1001}));
    assert_true(gate_lets_through(&g, 746 + (UINT32_C(1) << 31) + 5, (struct lsn){0x5000}));
}

/* (G2) */
static void the_gate_works_where_transaction_ids_wrap_around(void **state)
{
    /* 2^32 = 4294967296; running: the last one before the wrap and the first that is used after it (0 to 2 never are) */
    struct gate g = {.snapshot = parsed(*state, "4294967295:4294967301:4294967295,4294967299"), .upto = {0x1000}};
    struct lsn commit = {0x10};

    assert_false(gate_lets_through(&g, UINT32_MAX - 1, commit)); /* committed before */
    assert_true(gate_lets_through(&g, UINT32_MAX, commit));      /* running */
    assert_true(gate_lets_through(&g, 3, commit));               /* running */
    assert_false(gate_lets_through(&g, 4, commit));              /* committed */
    assert_true(gate_lets_through(&g, 5, commit));               /* not begun */
    assert_true(gate_lets_through(&g, 1000000, commit));
}

/*
 * (G2) A random history: transactions begin and end in any order around a snapshot, at any place of the 32-bit circle.
 * What the copy saw and what the gate lets through are the history, each once.
 */
static void copy_and_gate_together_are_the_history(void **state)
{
    enum { TRANSACTIONS = 200 };
    const char *given = getenv("SEED");
    unsigned seed = given == NULL ? (unsigned)time(NULL) : (unsigned)strtoul(given, NULL, 10);

    print_message("SEED=%u\n", seed);
    for (int round = 0; round < 300; round++) {
        uint64_t first =
            ((uint64_t)(rand_r(&seed) % 3) << 32) + (uint64_t)(UINT32_MAX - 100) + (uint64_t)(rand_r(&seed) % 200);
        uint64_t oldest_running = 0;
        bool is_committed[TRANSACTIONS];
        CLEANUP(buffer_free) struct buffer *running = buffer_new();
        unsigned begun = (unsigned)rand_r(&seed) % TRANSACTIONS;

        for (unsigned i = 0; i < TRANSACTIONS; i++) {
            is_committed[i] = i < begun && rand_r(&seed) % 3 != 0;
            if (i < begun && !is_committed[i]) {
                oldest_running = oldest_running == 0 ? first + i : oldest_running;
                buffer_printf(running, "%s%llu", running->length == 0 ? "" : ",", (unsigned long long)(first + i));
            }
        }
        uint64_t xmax = first + begun;
        const char *text =
            arena_printf(*state, "%llu:%llu:%s", (unsigned long long)(oldest_running == 0 ? xmax : oldest_running),
                         (unsigned long long)xmax, buffer_text(running));
        struct gate g = {.snapshot = parsed(*state, text), .upto = {0x1000}};

        for (unsigned i = 0; i < TRANSACTIONS; i++)
            assert_int_equal(gate_lets_through(&g, (uint32_t)(first + i), (struct lsn){1 + i}), !is_committed[i]);
    }
}

/* A commit that the slot saw may still be running for others, while it waits for a synchronous standby. */
static void a_later_snapshot_must_see_what_the_slot_saw(void **state)
{
    struct snapshot slot = parsed(*state, "90:100:90,95");
    struct snapshot same = slot;
    struct snapshot later = parsed(*state, "95:120:95,110");
    struct snapshot blind = parsed(*state, "90:120:90,95,97");
    struct snapshot early = parsed(*state, "90:99:90,95");
    struct snapshot early_enough = parsed(*state, "90:95:90");

    assert_true(snapshot_covers(&same, &slot));
    assert_true(snapshot_covers(&later, &slot));
    assert_false(snapshot_covers(&blind, &slot)); /* 97 */
    assert_false(snapshot_covers(&early, &slot)); /* 99: not even known to have begun */
    assert_false(snapshot_covers(&early_enough, &slot));
    assert_true(snapshot_covers(&slot, &early_enough));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_xmin_beyond_xmax_decides),
        cmocka_unit_test(a_snapshot_reads_back_as_it_was_written),
        cmocka_unit_test(what_is_no_snapshot_is_refused),
        cmocka_unit_test(a_snapshot_sees_what_was_committed_for_it),
        cmocka_unit_test(every_running_one_is_found_among_many),
        cmocka_unit_test(an_id_is_widened_to_the_nearest),
        cmocka_unit_test(the_gate_lets_through_exactly_what_the_copy_did_not_see),
        cmocka_unit_test(from_upto_on_everything_goes_through),
        cmocka_unit_test(the_gate_works_where_transaction_ids_wrap_around),
        cmocka_unit_test(copy_and_gate_together_are_the_history),
        cmocka_unit_test(a_later_snapshot_must_see_what_the_slot_saw),
    };

    return cmocka_run_group_tests_name("model/snapshot", tests, make_arena, free_arena);
}
