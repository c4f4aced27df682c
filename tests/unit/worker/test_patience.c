/* worker/patience: what is tried again, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/patience.h"

static bool allows(struct patience *p, enum error_kind kind)
{
    CLEANUP(error_free) struct error *err = error_new(kind, "test");

    return patience_allows(p, err);
}

static void the_network_is_tried_for_ever(void **state)
{
    struct patience p = {.failures = 0};

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(allows(&p, ERROR_TRANSIENT));
}

static void other_failures_three_times(void **state)
{
    static const enum error_kind kinds[] = {ERROR_CONFIG, ERROR_BUG};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct patience p = {.failures = 0};

        assert_true(allows(&p, kinds[i]));
        assert_true(allows(&p, ERROR_TRANSIENT));
        assert_true(allows(&p, kinds[i]));
        assert_false(allows(&p, kinds[i]));
        patience_renew(&p);
        assert_true(allows(&p, kinds[i]));
    }
}

static void what_waiting_cannot_mend_is_not_tried_again(void **state)
{
    static const enum error_kind kinds[] = {ERROR_DATA, ERROR_HISTORY, ERROR_CANCELLED, ERROR_USAGE, ERROR_REFUSED};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct patience p = {.failures = 0};

        assert_false(allows(&p, kinds[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_network_is_tried_for_ever),
        cmocka_unit_test(other_failures_three_times),
        cmocka_unit_test(what_waiting_cannot_mend_is_not_tried_again),
    };

    return cmocka_run_group_tests_name("worker/patience", tests, NULL, NULL);
}
