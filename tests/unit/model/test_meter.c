/* model/meter: rates over a window, time left from a decayed rate. The test owns the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "model/meter.h"

enum { SECOND_US = 1000000 };

struct run {
    struct arena *arena;
    struct progress *p;
    struct meter meter;
    int64_t now_us;
};

static int setup(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    struct run *r = ARENA_NEW(a, struct run);

    r->arena = a;
    r->p = progress_new(a);
    r->now_us = 77;
    clock_set_for_test(r->now_us);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct run *r = *state;

    clock_set_for_test(-1);
    arena_free(r->arena);
    return 0;
}

static struct meter_reading after(struct run *r, int64_t us)
{
    r->now_us += us;
    clock_set_for_test(r->now_us);
    meter_sample(&r->meter, r->p);
    return meter_read(&r->meter, r->p);
}

static void nothing_is_told_before_there_are_two_samples(void **state)
{
    struct run *r = *state;

    assert_false(meter_read(&r->meter, r->p).has_rates);
    assert_false(after(r, 0).has_rates);
    assert_false(after(r, 1000).has_rates); /* too soon after the first */
    assert_true(after(r, SECOND_US).has_rates);
}

static void rates_forget_what_is_older_than_the_window(void **state)
{
    struct run *r = *state;
    struct progress_counters *c = progress_counters(r->p);
    struct meter_reading reading = after(r, 0);

    for (int i = 0; i < 100; i++) {
        c->transactions_applied += 20; /* 100 a second */
        reading = after(r, SECOND_US / 5);
    }
    assert_true(reading.transactions_per_s > 99 && reading.transactions_per_s < 101);
    for (int i = 0; i < 60; i++)
        reading = after(r, SECOND_US / 5);
    assert_true(reading.transactions_per_s < 0.01);
}

/* A table copied again, a target that lost commits: met as a rate of 10^18 rows a second. */
static void a_counter_that_goes_back_is_no_rate(void **state)
{
    struct run *r = *state;

    progress_counters(r->p)->rows_copied = 1000;
    progress_counters(r->p)->transactions_applied = 1000;
    (void)after(r, 0);
    progress_counters(r->p)->rows_copied = 10;
    progress_counters(r->p)->transactions_applied = 10;
    struct meter_reading reading = after(r, SECOND_US);
    assert_true(reading.rows_copied_per_s < 1 && reading.rows_copied_per_s > -1);
    assert_true(reading.transactions_per_s < 1 && reading.transactions_per_s > -1);
}

static void samples_far_apart_still_give_a_rate(void **state)
{
    struct run *r = *state;

    (void)after(r, 0);
    progress_counters(r->p)->rows_copied += 3000;
    struct meter_reading reading = after(r, INT64_C(30) * SECOND_US);
    assert_true(reading.rows_copied_per_s > 99 && reading.rows_copied_per_s < 101);
}

/* Of a run of two minutes with fits and starts and a pause: after a fifth of it, until little is left. */
static void the_time_left_is_right_within_a_factor_of_two(void **state)
{
    enum { WORK = 120000, STEADY = 1000 };
    struct run *r = *state;
    struct progress_step *data = meter_progress_step(r->p, METER_DATA);
    uint64_t done[400] = {0};
    int n = 0;

    for (; done[n] < WORK; n++) {
        uint64_t speed = n % 7 < 3 ? STEADY / 2 : STEADY * 3 / 2; /* workers end their tables at the same time */

        done[n + 1] = done[n] + (n / 10 % 6 == 3 ? STEADY / 5 : speed);
    }
    data->total = done[n];
    data->state = STEP_RUNNING;
    for (int at = 0; at <= n; at++) {
        data->done = done[at];
        int64_t left = after(r, SECOND_US).seconds_left[METER_DATA];

        if (at * 5 >= n && (n - at) * 10 >= n && (left < (n - at) / 2 || left > (n - at) * 2))
            fail_msg("after %d of %d s it said %d s", at, n, (int)left);
    }
}

static void the_time_left_follows_a_change_of_speed_slowly(void **state)
{
    struct run *r = *state;
    struct progress_step *data = meter_progress_step(r->p, METER_DATA);
    struct meter_reading reading;

    data->total = 1000000;
    data->state = STEP_RUNNING;
    (void)after(r, 0);
    for (int i = 0; i < 20; i++) {
        data->done += 1000;
        reading = after(r, SECOND_US);
    }
    assert_int_equal(reading.seconds_left[METER_DATA], 980);
    reading = after(r, SECOND_US); /* one second of nothing: not "never", not as before */
    assert_in_range(reading.seconds_left[METER_DATA], 981, 1100);
    data->state = STEP_DONE;
    assert_int_equal(after(r, SECOND_US).seconds_left[METER_DATA], -1);
}

static void a_catch_up_that_falls_behind_has_no_end(void **state)
{
    struct run *r = *state;
    struct progress_counters *c = progress_counters(r->p);
    struct meter_reading reading;

    progress_set_phase(r->p, PHASE_CATCH_UP);
    c->source_lsn = 100000;
    c->applied_lsn = 1;
    (void)after(r, 0);
    for (int i = 0; i < 10; i++) {
        c->source_lsn += 1000;
        c->applied_lsn += 500;
        reading = after(r, SECOND_US);
    }
    assert_int_equal(reading.seconds_left[METER_CATCH_UP], -1);
    for (int i = 0; i < 60; i++) {
        c->source_lsn += 1000;
        c->applied_lsn += 2000;
        reading = after(r, SECOND_US);
    }
    assert_in_range(reading.seconds_left[METER_CATCH_UP], 30, 60);
    assert_true(reading.has_wal_behind && reading.wal_behind == c->source_lsn - c->applied_lsn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_told_before_there_are_two_samples, setup, teardown),
        cmocka_unit_test_setup_teardown(rates_forget_what_is_older_than_the_window, setup, teardown),
        cmocka_unit_test_setup_teardown(a_counter_that_goes_back_is_no_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_far_apart_still_give_a_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(the_time_left_is_right_within_a_factor_of_two, setup, teardown),
        cmocka_unit_test_setup_teardown(the_time_left_follows_a_change_of_speed_slowly, setup, teardown),
        cmocka_unit_test_setup_teardown(a_catch_up_that_falls_behind_has_no_end, setup, teardown),
    };

    return cmocka_run_group_tests_name("model/meter", tests, NULL, NULL);
}
