/* model/compare, model/buckets: verdicts, bounded memory, sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/buckets.h"
#include "model/compare.h"

static enum verdict verdict_of(struct compare_collector *c, bool was_cancelled)
{
    struct compare_result r = {.was_cancelled = was_cancelled};

    compare_result_close(c, &r);
    return compare_verdict(&r);
}

static struct compare_collector *collector(struct arena *a)
{
    return compare_collector_new(a, (struct compare_sink){0}, NULL);
}

static void what_was_not_finished_is_never_equal(void **state) /* C1 */
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct compare_collector *c = collector(a);

    (void)state;
    compare_entry_done(c, compare_entry_begin(c, COMPARE_VALUES, "done"));
    compare_entry_begin(c, COMPARE_VALUES, "begun");
    assert_int_equal(verdict_of(c, false), VERDICT_NOT_COMPARED);

    c = collector(a);
    compare_entry_done(c, compare_entry_begin(c, COMPARE_VALUES, "done"));
    assert_int_equal(verdict_of(c, true), VERDICT_NOT_COMPARED);

    c = collector(a);
    compare_entry_done(c, compare_entry_begin(c, COMPARE_VALUES, "done"));
    assert_int_equal(verdict_of(c, false), VERDICT_EQUAL);
}

static void a_difference_outweighs_what_was_not_compared(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct compare_collector *c = collector(a);
    struct compare_entry *e = compare_entry_begin(c, COMPARE_VALUES, "t");

    (void)state;
    compare_entry_not_compared(c, compare_entry_begin(c, COMPARE_VALUES, "u"), "closed");
    compare_entry_differs(c, e, &(struct difference){.side = ON_BOTH, .what = "t", .identity = "1"});
    compare_entry_not_compared(c, e, "lost in the middle");
    compare_entry_done(c, e);
    assert_int_equal(e->verdict, VERDICT_DIFFERENT);
    assert_string_equal(e->reason, "lost in the middle");
    assert_int_equal(verdict_of(c, false), VERDICT_DIFFERENT);
}

static void details_are_bounded_and_counts_are_not(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct compare_collector *c = collector(a);
    struct compare_entry *e = compare_entry_begin(c, COMPARE_VALUES, "t");

    (void)state;
    for (unsigned i = 0; i < 100000; i++)
        compare_entry_differs(c, e, &(struct difference){.side = ONLY_ON_SOURCE, .what = "t", .identity = "1"});
    assert_int_equal(e->n_differences[ONLY_ON_SOURCE], 100000);
    assert_int_equal(e->n_kept, COMPARE_KEPT_EACH);
    assert_true(arena_used(a) < 1024 * 1024);
}

static void texts_are_cut_between_characters(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(compare_shortened(a, "größe", 3), "gr…");
    assert_string_equal(compare_shortened(a, "größe", 4), "grö…");
    assert_string_equal(compare_shortened(a, "größe", 7), "größe");
    assert_null(compare_shortened(a, NULL, 7));
}

static void parts_add_up_whatever_their_sign(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct buckets *whole = buckets_new(a, 4), *parts = buckets_new(a, 4);
    unsigned *numbers;

    (void)state;
    assert_true(buckets_add(whole, 1, 3, "-92233720368547758080"));
    assert_true(buckets_add(parts, 1, 1, "7766279631452241920"));
    assert_true(buckets_add(parts, 1, 2, "-100000000000000000000"));
    assert_int_equal(buckets_differing(whole, parts, a, &numbers), 0);
    assert_int_equal(buckets_rows(parts), 3);
}

/* With xor two equal rows would be none. */
static void a_pair_of_equal_rows_is_seen(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct buckets *s = buckets_new(a, 4), *t = buckets_new(a, 4);
    unsigned *numbers;

    (void)state;
    assert_true(buckets_add(s, 2, 2, "10"));
    assert_true(buckets_add(t, 2, 2, "0"));
    assert_true(buckets_add(s, 3, 1, "0"));
    assert_int_equal(buckets_differing(s, t, a, &numbers), 2);
    assert_int_equal(numbers[0], 2);
    assert_int_equal(numbers[1], 3);
}

static void sums_that_are_none_are_refused(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct buckets *b = buckets_new(a, 4);

    (void)state;
    assert_false(buckets_add(b, 4, 1, "1"));
    assert_false(buckets_add(b, 0, 1, ""));
    assert_false(buckets_add(b, 0, 1, "-"));
    assert_false(buckets_add(b, 0, 1, "1.5"));
    assert_false(buckets_add(b, 0, 1, NULL));
    assert_int_equal(buckets_for_rows(0), 1);
    assert_int_equal(buckets_for_rows(1e12), 16384);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_finished_is_never_equal),
        cmocka_unit_test(a_difference_outweighs_what_was_not_compared),
        cmocka_unit_test(details_are_bounded_and_counts_are_not),
        cmocka_unit_test(texts_are_cut_between_characters),
        cmocka_unit_test(parts_add_up_whatever_their_sign),
        cmocka_unit_test(a_pair_of_equal_rows_is_seen),
        cmocka_unit_test(sums_that_are_none_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
