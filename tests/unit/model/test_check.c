/* model/check: who may begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/check.h"

static void everything_passed_or_accepted_may_begin(void **state)
{
    const struct check_item items[] = {
        {.result = CHECK_PASSED}, {.result = CHECK_ALARM, .is_accepted = true}, {.result = CHECK_SKIPPED}};
    struct check_counts counts = check_count(items, COUNT_OF(items));

    (void)state;
    assert_true(check_allows_start(items, COUNT_OF(items)));
    assert_true(check_allows_start(NULL, 0));
    assert_int_equal(counts.passed, 1);
    assert_int_equal(counts.accepted, 1);
    assert_int_equal(counts.skipped, 1);
    assert_int_equal(counts.alarms, 0);
}

static void one_open_alarm_or_failure_is_enough_to_refuse(void **state)
{
    const struct check_item alarm[] = {{.result = CHECK_PASSED}, {.result = CHECK_ALARM}};
    const struct check_item failure[] = {{.result = CHECK_FAILED, .is_accepted = true}}; /* cannot be accepted away */

    (void)state;
    assert_false(check_allows_start(alarm, COUNT_OF(alarm)));
    assert_false(check_allows_start(failure, COUNT_OF(failure)));
    assert_int_equal(check_count(failure, 1).failed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_passed_or_accepted_may_begin),
        cmocka_unit_test(one_open_alarm_or_failure_is_enough_to_refuse),
    };

    return cmocka_run_group_tests_name("model/check", tests, NULL, NULL);
}
