/* model/lag: since when something has been on its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/lag.h"

static int64_t note(struct lag *l, int64_t at, uint64_t there, uint64_t here)
{
    return lag_note(
        l, (struct lag_look){.at_us = at, .there = {there}, .inserted = {there}, .here = {here}, .have_ended = true});
}

/* Nothing that writes has ended since the last look. */
static int64_t note_quiet(struct lag *l, int64_t at, uint64_t there, uint64_t here)
{
    return lag_note(l, (struct lag_look){.at_us = at, .there = {there}, .inserted = {there}, .here = {here}});
}

static void what_comes_at_once_is_no_lag(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    for (int64_t at = 1; at < 1000; at++)
        assert_int_equal(note(&l, at, (uint64_t)at * 10, (uint64_t)at * 10 - 5),
                         0); /* the rest has come by the next note */
    assert_int_equal(note(&l, 1000, 10000, 10000), 0);
}

static void what_does_not_come_is_on_its_way_since_it_was_seen(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    assert_int_equal(note(&l, 1, 100, 50), 0);
    assert_int_equal(note(&l, 2, 100, 50), 1);
    assert_int_equal(note(&l, 3, 200, 99), 1);
    assert_int_equal(note(&l, 4, 300, 100), 3);
    assert_int_equal(note(&l, 5, 300, 250), 4);
    assert_int_equal(note(&l, 6, 300, 300), 0);
}

/* Ten notes behind, all the time: that is the lag, however long it lasts. */
static void a_steady_lag_is_steady(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    for (int64_t at = 20; at < 5000; at++) {
        int64_t since = note(&l, at, (uint64_t)at, (uint64_t)at - 10);

        if (at > 40)
            assert_int_equal(at - since, 9);
    }
}

static void the_oldest_is_kept_however_long_it_takes(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    for (int64_t at = 1; at < 10000; at++)
        assert_int_equal(note(&l, at, (uint64_t)at + 10, 5), at == 1 ? 0 : 1);
    assert_in_range(note(&l, 10000, 10010, 5000), 4900, 5200);
}

/* Its WAL is on the way for long; its delay begins with its commit, and only grows until all of it has come. */
static void a_transaction_in_progress_is_no_lag_before_its_commit(void **state)
{
    struct lag l = {.n = 0};
    int64_t at = 1;

    (void)state;
    assert_int_equal(note(&l, at++, 100, 100), 0);
    for (; at < 100; at++)
        assert_int_equal(note_quiet(&l, at, (uint64_t)at * 100, (uint64_t)at * 50), 0);
    assert_int_equal(note(&l, 100, 10000, 5000), 0);
    for (at = 101; at < 150; at++)
        assert_int_equal(note_quiet(&l, at, 10000, 5000 + (uint64_t)(at - 100) * 100), 100);
    assert_int_equal(note_quiet(&l, 151, 20000, 10000), 0);
    assert_int_equal(note_quiet(&l, 152, 30000, 10000), 0);
}

/* Somebody's small commit in the middle of it does wait. */
static void a_commit_behind_a_transaction_in_progress_is_a_lag(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    assert_int_equal(note_quiet(&l, 1, 1000, 100), 0);
    assert_int_equal(note(&l, 2, 2000, 200), 0);
    assert_int_equal(note_quiet(&l, 3, 3000, 300), 2);
    assert_int_equal(note_quiet(&l, 9, 9000, 1999), 2);
    assert_int_equal(note_quiet(&l, 10, 9000, 2000), 0);
}

/* synchronous_commit = off: seen before it is flushed, and it cannot come before that. */
static void what_is_committed_and_not_flushed_is_noted_when_it_is(void **state)
{
    struct lag l = {.n = 0};

    (void)state;
    assert_int_equal(
        lag_note(&l,
                 (struct lag_look){.at_us = 1, .there = {100}, .inserted = {150}, .here = {100}, .have_ended = true}),
        0);
    assert_int_equal(note_quiet(&l, 2, 100, 100), 0);
    assert_int_equal(note_quiet(&l, 3, 500, 100), 0);
    assert_int_equal(note_quiet(&l, 4, 500, 149), 3);
    assert_int_equal(note_quiet(&l, 5, 500, 150), 0); /* what is behind the commit is not waited for */
}

/* What was left out because the notes were full is noted when there is room. */
static void no_commit_is_forgotten(void **state)
{
    struct lag l = {.n = 0};
    uint64_t there = 10;

    (void)state;
    for (int64_t at = 1; at < 1000; at++)
        assert_int_equal(note(&l, at, there++, 5), at == 1 ? 0 : 1);
    note_quiet(&l, 1001, there, there - 2);
    note_quiet(&l, 1002, there, there - 2);
    assert_true(note_quiet(&l, 1003, there, there - 2) != 0);
    assert_int_equal(note_quiet(&l, 1004, there, there), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_in_progress_is_no_lag_before_its_commit),
        cmocka_unit_test(a_commit_behind_a_transaction_in_progress_is_a_lag),
        cmocka_unit_test(what_is_committed_and_not_flushed_is_noted_when_it_is),
        cmocka_unit_test(no_commit_is_forgotten),
        cmocka_unit_test(what_comes_at_once_is_no_lag),
        cmocka_unit_test(what_does_not_come_is_on_its_way_since_it_was_seen),
        cmocka_unit_test(a_steady_lag_is_steady),
        cmocka_unit_test(the_oldest_is_kept_however_long_it_takes),
    };

    return cmocka_run_group_tests_name("model/lag", tests, NULL, NULL);
}
