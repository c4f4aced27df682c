/* sync/pace: the brake of the copy. The test owns the clock, whose wall and ticking are one here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sync/pace.h"

enum { SECOND_US = 1000000, MB = RATE_BYTES_A_MB };

static struct arena *arena;
static int64_t now_us;

static void go_to(int64_t us)
{
    now_us = us;
    clock_set_for_test(now_us);
}

static int setup(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    arena = arena_new(NULL, "test");
    go_to(INT64_C(86400) * SECOND_US * 365); /* midnight */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_set_for_test(-1);
    arena_free(arena);
    return 0;
}

static struct pace *pace(const char *text)
{
    struct rate_plan plan;

    assert_null(rate_plan_parse(text, &plan));
    return pace_new(arena, &plan);
}

static void set(struct pace *p, const char *text)
{
    struct rate_plan plan;

    assert_null(rate_plan_parse(text, &plan));
    pace_set(p, &plan);
}

/* As the pump does: reads, and waits as long as it is told to. Seconds that it took. */
static double read_all(struct pace *p, uint64_t bytes, uint64_t piece)
{
    int64_t began_us = now_us;

    for (; bytes > 0; bytes -= piece)
        for (int wait_ms = pace_take(p, piece); wait_ms > 0; wait_ms = pace_take(p, 0)) {
            assert_in_range(wait_ms, 1, PACE_WAIT_MS);
            go_to(now_us + wait_ms * INT64_C(1000));
        }
    return (double)(now_us - began_us) / SECOND_US;
}

static void assert_takes(double seconds, double expected)
{
    if (seconds < expected * 0.95 || seconds > expected * 1.05)
        fail_msg("took %.2f s instead of %.2f", seconds, expected);
}

static void bytes_take_the_time_of_the_limit(void **state)
{
    (void)state;
    assert_takes(read_all(pace("10"), 100 * MB, MB / 4), 10);
    assert_takes(read_all(pace("1"), 50 * MB, 50 * MB), 50); /* one long row */
    assert_int_equal((int)read_all(pace("off"), UINT64_C(1000) * MB, MB), 0);
}

static void workers_share_one_limit(void **state)
{
    struct pace *p = pace("10");
    int wait_ms = 0;

    (void)state;
    for (int worker = 0; worker < 8; worker++)
        wait_ms = pace_take(p, MB / 2);
    assert_in_range(wait_ms, 290, 410); /* 4 MB at 10 MB/s, less the burst */
}

static void the_limit_changes_while_it_waits(void **state)
{
    struct pace *p = pace("1");

    (void)state;
    assert_int_equal(pace_take(p, 500 * MB), PACE_WAIT_MS);
    set(p, "off");
    assert_int_equal(pace_take(p, 0), 0);
    set(p, "100");
    assert_takes(read_all(p, 200 * MB, MB), 2);
}

static void windows_begin_and_end_by_the_clock(void **state)
{
    struct pace *p = pace("10@00:00-01:00,20@01:00-02:00");

    (void)state;
    assert_int_equal(pace_now(p), 10);
    assert_takes(read_all(p, 50 * MB, MB), 5);
    go_to(now_us + INT64_C(3600) * SECOND_US);
    assert_int_equal(pace_now(p), 20);
    assert_takes(read_all(p, 100 * MB, MB), 5);
    go_to(now_us + INT64_C(3600) * SECOND_US);
    assert_int_equal(pace_now(p), 0);
    assert_int_equal(pace_take(p, 10000 * (uint64_t)MB), 0);
}

/* A speed that was not used is not had later at once: the source would feel it. */
static void an_idle_time_is_not_saved_up(void **state)
{
    struct pace *p = pace("10");

    (void)state;
    (void)pace_take(p, MB);
    go_to(now_us + INT64_C(60) * SECOND_US);
    assert_takes(read_all(p, 100 * MB, MB), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_take_the_time_of_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_share_one_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_changes_while_it_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(windows_begin_and_end_by_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(an_idle_time_is_not_saved_up, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
