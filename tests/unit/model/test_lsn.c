/* model/lsn: positions as PostgreSQL writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/lsn.h"

static void a_position_reads_back_as_it_was_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"0/0", 0},
        {"0/1947538", 0x1947538},
        {"16/B374D848", UINT64_C(0x16B374D848)},
        {"1/0", UINT64_C(0x100000000)},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct lsn lsn = LSN_NONE;

        assert_true(lsn_parse(cases[i].text, &lsn));
        assert_true(lsn.value == cases[i].value);
        assert_string_equal(lsn_format(lsn).text, cases[i].text);
    }
}

static void small_letters_and_leading_zeros_are_read(void **state)
{
    (void)state;
    struct lsn lsn = LSN_NONE;

    assert_true(lsn_parse("0000000a/0000bcde", &lsn));
    assert_true(lsn.value == UINT64_C(0xA0000BCDE));
}

static void what_is_no_position_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",     "/",           "0",    "0/",   "/0",       "0/0 ",
                                        " 0/0", "0/0/0",       "0/G",  "-1/0", "0x1/0",    "100000000/0",
                                        "+1/0", "0/100000000", "0//0", "0\\0", "caught-up"};

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct lsn lsn = {77};

        assert_false(lsn_parse(texts[i], &lsn));
        assert_int_equal(lsn.value, 77);
    }
}

static void positions_order_by_their_value(void **state)
{
    (void)state;
    struct lsn low = {UINT64_C(0xFFFFFFFF)}, high = {UINT64_C(0x100000000)};

    assert_true(lsn_before(low, high));
    assert_false(lsn_before(high, low));
    assert_false(lsn_before(low, low));
    assert_true(lsn_equal(lsn_max(low, high), high));
    assert_true(lsn_equal(lsn_max(high, low), high));
    assert_true(lsn_is_none(LSN_NONE));
    assert_false(lsn_is_none(low));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_position_reads_back_as_it_was_written),
        cmocka_unit_test(small_letters_and_leading_zeros_are_read),
        cmocka_unit_test(what_is_no_position_is_refused_and_changes_nothing),
        cmocka_unit_test(positions_order_by_their_value),
    };

    return cmocka_run_group_tests_name("model/lsn", tests, NULL, NULL);
}
