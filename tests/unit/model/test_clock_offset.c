/* model/clock_offset: the shortest round trip of the last minute tells how clocks differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/clock_offset.h"

enum { SECOND = 1000000, AHEAD = 1800 * SECOND };

static void the_middle_of_the_trip_is_the_moment(void **state)
{
    struct clock_offset c = {0};

    (void)state;
    assert_false(c.is_known);
    clock_offset_note(&c, 100 * SECOND, 100 * SECOND + AHEAD + 500, 100 * SECOND + 1000);
    assert_true(c.is_known);
    assert_int_equal(c.offset_us, AHEAD);
    clock_offset_note(&c, 101 * SECOND, 90 * SECOND, 101 * SECOND + 10);
    assert_int_equal(c.offset_us, -(11 * SECOND) - 5);
}

static void a_slow_answer_does_not_count_while_a_quick_one_is_fresh(void **state)
{
    struct clock_offset c = {0};

    (void)state;
    clock_offset_note(&c, 100 * SECOND, 100 * SECOND + AHEAD, 100 * SECOND);
    clock_offset_note(&c, 110 * SECOND, 112 * SECOND + AHEAD, 112 * SECOND); /* the way back took no time */
    assert_int_equal(c.offset_us, AHEAD);
    clock_offset_note(&c, 170 * SECOND, 171 * SECOND + AHEAD + SECOND, 172 * SECOND);
    assert_int_equal(c.offset_us, AHEAD + SECOND); /* it has drifted */
}

static void a_clock_that_was_set_back_meanwhile_tells_nothing(void **state)
{
    struct clock_offset c = {0};

    (void)state;
    clock_offset_note(&c, 100 * SECOND, 100 * SECOND, 90 * SECOND);
    assert_false(c.is_known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_middle_of_the_trip_is_the_moment),
        cmocka_unit_test(a_slow_answer_does_not_count_while_a_quick_one_is_fresh),
        cmocka_unit_test(a_clock_that_was_set_back_meanwhile_tells_nothing),
    };

    return cmocka_run_group_tests_name("model/clock_offset", tests, NULL, NULL);
}
