/* cli/compare_view: what is said of a comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/compare_view.h"
#include "control/json.h"

static const char *const no_notes[] = {NULL};

static void the_exit_status_follows_the_verdict(void **state) /* SPEC section 11 */
{
    struct compare_entry entry = {.name = "t"};
    struct compare_entry *entries[] = {&entry};
    struct compare_result r = {.n_entries = 1, .entries = entries, .notes = no_notes};

    (void)state;
    assert_int_equal(compare_exit_status(&r), 0);
    entry.verdict = VERDICT_DIFFERENT;
    assert_int_equal(compare_exit_status(&r), 4);
    entry.verdict = VERDICT_NOT_COMPARED;
    assert_int_equal(compare_exit_status(&r), 5);
}

static void a_comparison_of_a_moving_source_says_so(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct compare_result r = {.notes = no_notes, .alignment = {.has_looked = true, .source_has_moved = true}};

    (void)state;
    assert_non_null(strstr(compare_meaning(a, &r), "the source moved meanwhile"));
    r.alignment = (struct compare_alignment){.has_looked = false};
    assert_non_null(strstr(compare_meaning(a, &r), "ended before it was known"));
    r.alignment = (struct compare_alignment){.is_aligned = true, .position = {0x10}, .pause_us = 4200};
    assert_string_equal(compare_meaning(a, &r),
                        "Both sides as of position 0/10 of the source; apply stood still for 5 ms.");
}

static void an_excerpt_shows_where_long_definitions_differ(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    char source[400], target[400];
    const char *s, *t;

    (void)state;
    memset(source, 'x', sizeof source);
    source[399] = '\0';
    memcpy(target, source, sizeof target);
    memset(target + 200, 'y', 3);
    compare_excerpt(a, source, target, &s, &t);
    assert_non_null(strstr(t, "yyy"));
    assert_true(strlen(t) < 100 && strlen(s) < 100);
    compare_excerpt(a, "short", "shore", &s, &t);
    assert_string_equal(s, "short");
    compare_excerpt(a, NULL, target, &s, &t);
    assert_null(s);
}

static void the_document_has_positions_and_counts(void **state)
{
    struct compare_entry entry = {.kind = COMPARE_VALUES, .name = "public.t", .source_count = 3};
    struct compare_entry *entries[] = {&entry};
    struct compare_result r = {
        .n_entries = 1, .entries = entries, .notes = no_notes, .alignment = {.is_aligned = true, .position = {0x10}}};
    CLEANUP(json_decref) json_t *document = compare_document(&r);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(document, "result")), "equal");
    assert_string_equal(json_string_value(json_object_get(document, "position")), "0/10");
    assert_int_equal(json_array_size(json_object_get(document, "entries")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_status_follows_the_verdict),
        cmocka_unit_test(a_comparison_of_a_moving_source_says_so),
        cmocka_unit_test(an_excerpt_shows_where_long_definitions_differ),
        cmocka_unit_test(the_document_has_positions_and_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
