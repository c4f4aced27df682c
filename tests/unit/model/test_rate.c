/* model/rate: what --max-rate takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/rate.h"

#define MINUTE(hour, minute) ((hour)*60U + (minute))

static struct rate_plan parsed(const char *text)
{
    struct rate_plan plan;
    struct error *err = rate_plan_parse(text, &plan);

    assert_null(err);
    return plan;
}

static void a_number_is_for_the_whole_day(void **state)
{
    struct rate_plan plan = parsed("20");

    (void)state;
    assert_int_equal(rate_plan_at(&plan, 0), 20);
    assert_int_equal(rate_plan_at(&plan, MINUTE(23, 59)), 20);
    assert_true(rate_plan_limits(&plan));
    plan = parsed("off");
    assert_int_equal(rate_plan_at(&plan, 0), 0);
    assert_false(rate_plan_limits(&plan));
}

static void windows_pass_midnight_and_end_before_their_end(void **state)
{
    struct rate_plan plan = parsed("20,50@22:00-06:00,off@12:00-13:30");

    (void)state;
    assert_int_equal(rate_plan_at(&plan, MINUTE(21, 59)), 20);
    assert_int_equal(rate_plan_at(&plan, MINUTE(22, 0)), 50);
    assert_int_equal(rate_plan_at(&plan, MINUTE(0, 0)), 50);
    assert_int_equal(rate_plan_at(&plan, MINUTE(5, 59)), 50);
    assert_int_equal(rate_plan_at(&plan, MINUTE(6, 0)), 20);
    assert_int_equal(rate_plan_at(&plan, MINUTE(13, 29)), 0);
    assert_int_equal(rate_plan_at(&plan, MINUTE(13, 30)), 20);
}

static void outside_of_windows_alone_there_is_no_limit(void **state)
{
    struct rate_plan plan = parsed("9999@08:00-24:00");

    (void)state;
    assert_int_equal(rate_plan_at(&plan, MINUTE(7, 59)), 0);
    assert_int_equal(rate_plan_at(&plan, MINUTE(23, 59)), 9999);
    assert_true(rate_plan_limits(&plan));
}

static void is_written_as_it_is_read(void **state)
{
    static const char *const texts[] = {"off", "1", "50@22:00-06:00", "20,50@22:00-06:00,off@12:00-13:00",
                                        "1@00:00-01:00,2@01:00-02:00,3@02:00-24:00"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct arena *a = arena_new(NULL, "test");
        struct rate_plan plan = parsed(texts[i]);

        assert_string_equal(rate_plan_format(a, &plan), texts[i]);
        arena_free(a);
    }
}

static void what_is_no_limit_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "0",
                                        "10000",
                                        "-1",
                                        "1.5",
                                        "20MB",
                                        "fast",
                                        "20,",
                                        ",20",
                                        "20,30",
                                        "20@",
                                        "20@22:00",
                                        "20@22-06",
                                        "20@24:01-25:00",
                                        "20@10:00-10:00",
                                        "20@10:60-11:00",
                                        "1@00:00-02:00,2@01:00-03:00",
                                        "1@22:00-02:00,2@23:00-23:30",
                                        "1@00:00-01:00,2@01:00-02:00,3@02:00-03:00,4@03:00-04:00",
                                        "20 ",
                                        "off,20"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rate_plan plan;
        struct error *err = rate_plan_parse(texts[i], &plan);

        if (err == NULL) {
            fail_msg("\"%s\" was taken", texts[i]);
            return;
        }
        assert_int_equal(error_kind(err), ERROR_USAGE);
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_for_the_whole_day),
        cmocka_unit_test(windows_pass_midnight_and_end_before_their_end),
        cmocka_unit_test(outside_of_windows_alone_there_is_no_limit),
        cmocka_unit_test(is_written_as_it_is_read),
        cmocka_unit_test(what_is_no_limit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
