/* base/error: errors as values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "support/expect.h"

static void an_error_has_kind_and_message(void **state)
{
    (void)state;
    CLEANUP(error_free) struct error *err = error_new(ERROR_DATA, "row %d of \"%s\"", 7, "orders");

    assert_int_equal(error_kind(err), ERROR_DATA);
    assert_string_equal(error_message(err), "row 7 of \"orders\"");
    assert_null(error_hint_text(err));
    error_free(NULL);
}

static void wrapping_puts_context_in_front_and_keeps_the_rest(void **state)
{
    (void)state;
    struct error *cause = error_hint(error_new(ERROR_TRANSIENT, "connection refused"), "Start it.");
    CLEANUP(error_free) struct error *err = error_wrap(cause, "connecting to \"%s\"", "source");

    assert_ptr_equal(err, cause);
    err = error_wrap(err, "sync");
    assert_string_equal(error_message(err), "sync: connecting to \"source\": connection refused");
    assert_int_equal(error_kind(err), ERROR_TRANSIENT);
    assert_string_equal(error_hint_text(err), "Start it.");
}

static void the_last_hint_wins(void **state)
{
    (void)state;
    CLEANUP(error_free) struct error *err = error_hint(error_new(ERROR_CONFIG, "no"), "First.");

    err = error_hint(err, "Second %d.", 2);
    assert_string_equal(error_hint_text(err), "Second 2.");
}

static struct error *fail_below(void)
{
    return error_new(ERROR_BUG, "broken");
}

static struct error *pass_up(int *after)
{
    TRY(fail_below());
    (*after)++;
    return NULL;
}

static struct error *succeed(int *after)
{
    TRY((struct error *)NULL);
    (*after)++;
    return NULL;
}

static void try_returns_early_and_only_on_failure(void **state)
{
    (void)state;
    int after = 0;

    expect_error(pass_up(&after), ERROR_BUG, "broken");
    assert_int_equal(after, 0);
    expect_ok(succeed(&after));
    assert_int_equal(after, 1);
}

static void places_passed_are_remembered_up_to_a_limit(void **state)
{
    (void)state;
    CLEANUP(error_free) struct error *err = error_new(ERROR_BUG, "deep");
    char text[4096] = {0};

    for (int i = 1; i <= 100; i++)
        err = error_passed(err, "some/file.c", i);
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    error_dump(err, out);
    fclose(out);
    assert_non_null(strstr(text, "bug: deep\n"));
    assert_non_null(strstr(text, "passed some/file.c:1\n"));
    assert_null(strstr(text, "some/file.c:100\n"));
}

static void every_kind_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < ERROR_KIND_COUNT; i++) {
        assert_non_null(error_kind_name((enum error_kind)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(error_kind_name((enum error_kind)i), error_kind_name((enum error_kind)j));
    }
}

static void a_percent_sign_in_a_cause_is_only_text(void **state)
{
    (void)state;
    CLEANUP(error_free) struct error *err = error_new(ERROR_DATA, "%s", "100%s %n");

    err = error_wrap(err, "at");
    assert_string_equal(error_message(err), "at: 100%s %n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_kind_and_message),
        cmocka_unit_test(wrapping_puts_context_in_front_and_keeps_the_rest),
        cmocka_unit_test(the_last_hint_wins),
        cmocka_unit_test(try_returns_early_and_only_on_failure),
        cmocka_unit_test(places_passed_are_remembered_up_to_a_limit),
        cmocka_unit_test(every_kind_has_a_name_of_its_own),
        cmocka_unit_test(a_percent_sign_in_a_cause_is_only_text),
    };

    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
