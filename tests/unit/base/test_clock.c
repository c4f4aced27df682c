/* base/clock and base/backoff: tests own the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/macros.h"

static int real_clock(void **state)
{
    (void)state;
    clock_set_for_test(-1);
    return 0;
}

static void a_test_stops_both_clocks_and_gives_them_back(void **state)
{
    (void)state;
    int64_t before = clock_wall_us();

    clock_set_for_test(42);
    assert_int_equal(clock_now_us(), 42);
    assert_int_equal(clock_wall_us(), 42);
    clock_set_for_test(-1);
    assert_true(clock_wall_us() >= before);
}

static void the_wall_clock_is_in_unix_microseconds(void **state)
{
    (void)state;
    const int64_t year_2020 = INT64_C(1577836800000000), year_2200 = INT64_C(7258118400000000);

    assert_in_range(clock_wall_us(), year_2020, year_2200);
}

static void the_other_clock_never_goes_back(void **state)
{
    (void)state;
    int64_t last = clock_now_us();

    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_now_us();

        assert_true(now >= last);
        last = now;
    }
}

static void postgresql_counts_from_the_year_2000(void **state)
{
    (void)state;
    assert_int_equal(CLOCK_PG_EPOCH_US / 1000000, 10957 * 86400); /* days from 1970-01-01 to 2000-01-01 */
}

static void waits_double_up_to_ten_seconds(void **state)
{
    (void)state;
    static const int expected[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
    struct backoff b = {0};

    clock_set_for_test(0); /* no jitter */
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_int_equal(backoff_next_ms(&b), expected[i]);
}

static void jitter_is_at_most_a_quarter(void **state)
{
    (void)state;
    int least = 1000, most = 0;

    for (int us = 0; us < 1000; us++) {
        struct backoff b = {0};

        clock_set_for_test(us);
        int ms = backoff_next_ms(&b);
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
    }
    assert_int_equal(least, 100);
    assert_int_equal(most, 125);
}

static void success_begins_from_the_start(void **state)
{
    (void)state;
    struct backoff b = {0};

    clock_set_for_test(0);
    for (int i = 0; i < 100; i++)
        (void)backoff_next_ms(&b);
    backoff_reset(&b);
    assert_int_equal(backoff_next_ms(&b), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_test_stops_both_clocks_and_gives_them_back, real_clock),
        cmocka_unit_test(the_wall_clock_is_in_unix_microseconds),
        cmocka_unit_test(the_other_clock_never_goes_back),
        cmocka_unit_test(postgresql_counts_from_the_year_2000),
        cmocka_unit_test_teardown(waits_double_up_to_ten_seconds, real_clock),
        cmocka_unit_test_teardown(jitter_is_at_most_a_quarter, real_clock),
        cmocka_unit_test_teardown(success_begins_from_the_start, real_clock),
    };

    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
