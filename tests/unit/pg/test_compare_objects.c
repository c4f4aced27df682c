/* pg/compare_objects: definitions as two majors print them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/compare_objects.h"

static void qualification_and_white_space_say_nothing(void **state)
{
    (void)state;
    assert_true(definitions_agree_loosely(" SELECT t.a,\n    t.b\n   FROM public.t\n  WHERE (t.a > 3);",
                                          "SELECT a, b FROM public.t WHERE (a > 3);"));
    assert_true(definitions_agree_loosely("größe.x + 1.5", "x + 1.5"));
    assert_true(definitions_agree_loosely("SELECT \"T t\".\"T t\" FROM s.\"T t\"", "SELECT \"T t\" FROM s.\"T t\""));
}

static void everything_else_does(void **state)
{
    (void)state;
    assert_false(definitions_agree_loosely("SELECT a FROM t WHERE (a > 3)", "SELECT a FROM t WHERE (a > 4)"));
    assert_false(definitions_agree_loosely("SELECT 'a b'", "SELECT 'ab'"));
    assert_false(definitions_agree_loosely("SELECT 't.a'", "SELECT 'a'"));
    assert_false(definitions_agree_loosely("SELECT \"a b\"", "SELECT \"ab\""));
    assert_false(definitions_agree_loosely("a - (b - c)", "a - b - c"));
    assert_false(definitions_agree_loosely("SELECT 1.5", "SELECT 5"));
    assert_false(definitions_agree_loosely("not null", "notnull"));
    assert_false(definitions_agree_loosely("a", "ab"));
    assert_false(definitions_agree_loosely("SELECT a FROM one.t", "SELECT a FROM two.t"));
    assert_false(definitions_agree_loosely("SELECT a.x", "SELECT b.x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qualification_and_white_space_say_nothing),
        cmocka_unit_test(everything_else_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
