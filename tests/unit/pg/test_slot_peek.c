/* pg/slot_peek: which servers may be asked to advance a slot; the rest is for tests/integration/test_read_backlog.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/slot_peek.h"

static void a_slot_is_advanced_where_that_keeps_the_catalog(void **state)
{
    static const int may[] = {130021, 130022, 140018, 150013, 150018, 160009, 170005, 180000, 190000};
    static const int may_not[] = {100023, 110022, 120022, 130020, 140017, 150012, 160008, 170004};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(may); i++)
        assert_true(pg_slot_may_advance(may[i]));
    for (size_t i = 0; i < COUNT_OF(may_not); i++)
        assert_false(pg_slot_may_advance(may_not[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_is_advanced_where_that_keeps_the_catalog),
    };

    return cmocka_run_group_tests_name("pg/slot_peek", tests, NULL, NULL);
}
