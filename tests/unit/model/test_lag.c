/* model/lag: since when something has been on its way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/lag.h"

static int64_t note(struct lag *l, int64_t at, uint64_t there, uint64_t here)
{
    return lag_note(l, at, (struct lsn){there}, (struct lsn){here});
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_at_once_is_no_lag),
        cmocka_unit_test(what_does_not_come_is_on_its_way_since_it_was_seen),
        cmocka_unit_test(a_steady_lag_is_steady),
        cmocka_unit_test(the_oldest_is_kept_however_long_it_takes),
    };

    return cmocka_run_group_tests_name("model/lag", tests, NULL, NULL);
}
