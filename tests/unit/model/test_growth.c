/* model/growth: rates over a minute, and when a limit is reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/growth.h"

enum { SECOND = 1000000 };

static void nothing_is_said_of_too_little(void **state)
{
    struct growth g = {0};
    int64_t rate = 0;

    (void)state;
    assert_false(growth_rate(&g, &rate));
    growth_note(&g, SECOND, 100);
    growth_note(&g, 2 * SECOND, 200);
    assert_false(growth_rate(&g, &rate));
    assert_int_equal(growth_seconds_until(&g, 1000), -1);
}

static void it_grows_and_a_limit_comes_near(void **state)
{
    struct growth g = {0};
    int64_t rate = 0;

    (void)state;
    for (unsigned i = 0; i <= 10; i++)
        growth_note(&g, (int64_t)i * SECOND, 5000 + i * 100UL);
    assert_true(growth_rate(&g, &rate));
    assert_int_equal(rate, 100);
    assert_int_equal(growth_seconds_until(&g, 1000), 10);
    assert_int_equal(growth_seconds_until(&g, UINT64_MAX), -1);
}

static void what_shrinks_reaches_no_limit(void **state)
{
    struct growth g = {0};
    int64_t rate = 0;

    (void)state;
    for (unsigned i = 0; i <= 10; i++)
        growth_note(&g, (int64_t)i * SECOND, 5000 - i * 100UL);
    assert_true(growth_rate(&g, &rate));
    assert_int_equal(rate, -100);
    assert_int_equal(growth_seconds_until(&g, 1), -1);
}

static void only_the_last_minute_counts(void **state)
{
    struct growth g = {0};
    int64_t rate = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        growth_note(&g, (int64_t)i * SECOND, i < 200 ? i * 1000000UL : 200000000UL + i);
    assert_true(growth_rate(&g, &rate));
    assert_int_equal(rate, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_of_too_little),
        cmocka_unit_test(it_grows_and_a_limit_comes_near),
        cmocka_unit_test(what_shrinks_reaches_no_limit),
        cmocka_unit_test(only_the_last_minute_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
