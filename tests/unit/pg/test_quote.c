#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/quote.h"

static void quoting_is_exact(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    assert_string_equal(pg_quote_identifier(a, "a\"b"), "\"a\"\"b\"");
    assert_string_equal(pg_quote_name(a, "s", "T. x"), "\"s\".\"T. x\"");
    assert_string_equal(pg_quote_literal(a, "it's"), "'it''s'");
    assert_string_equal(pg_quote_literal(a, "a\\'"), "E'a\\\\'''");
    assert_string_equal(pg_quote_literal(a, ""), "''");
}

static void an_array_of_texts_is_read_as_it_was(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    const char *const texts[] = {"a.b", "\"c\".d", "e\\f", ""};

    assert_string_equal(pg_text_array(a, texts, 4), "{\"a.b\",\"\\\"c\\\".d\",\"e\\\\f\",\"\"}");
    assert_string_equal(pg_text_array(a, NULL, 0), "{}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting_is_exact),
        cmocka_unit_test(an_array_of_texts_is_read_as_it_was),
    };

    return cmocka_run_group_tests_name("pg/quote", tests, NULL, NULL);
}
