/* model/progress: every number is counted where it happens, and no percentage lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/macros.h"
#include "model/progress.h"

static int make_arena(void **state)
{
    *state = arena_new(NULL, "test");
    return 0;
}

static int free_arena(void **state)
{
    arena_free(*state);
    return 0;
}

static void expect_percent(struct progress_step *s, double expected)
{
    double percent = progress_step_percent(s);

    if (fabs(percent - expected) > 0.001)
        print_error("%f, but expected was %f\n", percent, expected);
    assert_true(fabs(percent - expected) <= 0.001);
}

static void a_percentage_is_done_of_total_rounded_down(void **state)
{
    (void)state;
    struct progress_step s = {.total = 3, .state = STEP_RUNNING};

    expect_percent(&s, 0);
    s.done = 1;
    expect_percent(&s, 33.3);
    s.done = 2;
    expect_percent(&s, 66.6);
}

static void a_hundred_is_said_only_when_the_step_is_done(void **state)
{
    (void)state;
    struct progress_step s = {.total = 1000000, .done = 999999, .state = STEP_RUNNING};

    expect_percent(&s, 99.9);
    s.done = 1000000;
    expect_percent(&s, 99.9);
    s.done = 2000000; /* the estimate was too low */
    expect_percent(&s, 99.9);
    s.done = UINT64_MAX;
    expect_percent(&s, 99.9);
    s.state = STEP_DONE;
    expect_percent(&s, 100);
}

static void a_step_that_is_done_is_at_a_hundred_whatever_was_estimated(void **state)
{
    (void)state;
    struct progress_step nothing = {.state = STEP_DONE};
    struct progress_step less = {.total = 100, .done = 7, .state = STEP_DONE};

    expect_percent(&nothing, 100);
    expect_percent(&less, 100);
}

static void a_percentage_never_falls(void **state)
{
    (void)state;
    struct progress_step s = {.total = 100, .done = 50, .state = STEP_RUNNING};

    expect_percent(&s, 50);
    s.total = 200; /* more work was found */
    expect_percent(&s, 50);
    s.done = 99;
    expect_percent(&s, 50);
    s.done = 120;
    expect_percent(&s, 60);
    s.done = 10; /* a table is copied anew */
    expect_percent(&s, 60);
}

static void an_unknown_total_is_no_progress(void **state)
{
    (void)state;
    struct progress_step s = {.done = 5, .state = STEP_RUNNING};

    expect_percent(&s, 0);
}

static void sizes_beyond_what_sixty_four_bits_hold_a_thousand_times_work(void **state)
{
    (void)state;
    struct progress_step s = {.total = UINT64_MAX, .done = UINT64_MAX / 2, .state = STEP_RUNNING};

    assert_in_range((int)(progress_step_percent(&s) * 10 + 0.5), 499, 500);
}

static void the_phase_begins_at_starting_and_has_a_name(void **state)
{
    struct progress *p = progress_new(*state);

    assert_int_equal(progress_phase(p), PHASE_STARTING);
    for (int i = 0; i < PHASE_COUNT; i++) {
        progress_set_phase(p, (enum phase)i);
        assert_int_equal(progress_phase(p), i);
        assert_non_null(phase_name((enum phase)i));
    }
    assert_string_equal(phase_name(PHASE_CATCH_UP), "catch-up");
}

static void only_items_being_worked_on_are_shown(void **state)
{
    struct progress *p = progress_new(*state);
    struct progress_item items[PROGRESS_ITEMS_MAX];

    assert_int_equal(progress_items(p, items, PROGRESS_ITEMS_MAX), 0);
    progress_item_begin(p, 0, "public.orders", 1000);
    progress_item_begin(p, PROGRESS_ITEMS_MAX - 1, "index public.orders_pkey", 0);
    progress_item_add(p, 0, 10, 500);
    progress_item_add(p, 0, 5, 100);
    assert_int_equal(progress_items(p, items, PROGRESS_ITEMS_MAX), 2);
    assert_string_equal(items[0].name, "public.orders");
    assert_int_equal(items[0].rows, 15);
    assert_int_equal(items[0].bytes, 600);
    assert_int_equal(items[0].bytes_expected, 1000);
    assert_string_equal(items[1].name, "index public.orders_pkey");

    progress_item_end(p, 0);
    assert_int_equal(progress_items(p, items, PROGRESS_ITEMS_MAX), 1);
    progress_item_begin(p, 0, "public.lines", 7);
    assert_int_equal(progress_items(p, items, 1), 1);
    assert_string_equal(items[0].name, "public.lines");
    assert_int_equal(items[0].rows, 0);
    assert_int_equal(items[0].bytes, 0);
}

static bool is_utf8(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0';) {
        int more = *c < 0x80 ? 0 : *c >= 0xF0 ? 3 : *c >= 0xE0 ? 2 : *c >= 0xC0 ? 1 : -1;

        if (more < 0)
            return false;
        for (c++; more > 0; more--, c++) {
            if ((*c & 0xC0) != 0x80)
                return false;
        }
    }
    return true;
}

/* JSON cannot hold half a character. */
static void a_long_name_is_cut_between_characters(void **state)
{
    struct progress *p = progress_new(*state);
    struct progress_item item;
    static const char *const characters[] = {"a", "é", "表", "🐘"};

    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        for (unsigned shift = 0; shift < 4; shift++) {
            char name[1000] = {0};
            size_t length = shift;

            memset(name, 'x', shift);
            while (length < 300) {
                memcpy(name + length, characters[i], strlen(characters[i]));
                length += strlen(characters[i]);
            }
            progress_item_begin(p, 0, name, 0);
            assert_int_equal(progress_items(p, &item, 1), 1);
            assert_true(is_utf8(item.name));
            assert_in_range(strlen(item.name), sizeof item.name - 5, sizeof item.name - 1);
            assert_string_equal(item.name + strlen(item.name) - 3, "…");
        }
    }
}

static void a_name_that_just_fits_is_whole(void **state)
{
    struct progress *p = progress_new(*state);
    struct progress_item item;
    char name[sizeof item.name];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    progress_item_begin(p, 3, name, 0);
    assert_int_equal(progress_items(p, &item, 1), 1);
    assert_string_equal(item.name, name);
}

static void *work(void *self)
{
    struct progress *p = self;

    for (unsigned i = 0; i < 10000; i++) {
        progress_item_add(p, 5, 1, 2);
        atomic_fetch_add_explicit(&progress_counters(p)->rows_copied, 1, memory_order_relaxed);
    }
    return NULL;
}

static void threads_add_and_read_at_the_same_time(void **state)
{
    struct progress *p = progress_new(*state);
    struct progress_item item = {0};
    pthread_t threads[2];

    progress_item_begin(p, 5, "public.t", 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, p), 0);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t before = item.rows;

        assert_int_equal(progress_items(p, &item, 1), 1);
        assert_true(item.rows >= before);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(progress_items(p, &item, 1), 1);
    assert_int_equal(item.rows, 20000);
    assert_int_equal(item.bytes, 40000);
    assert_int_equal(progress_counters(p)->rows_copied, 20000);
}

static struct progress_counters *counters_of(struct arena **out_arena)
{
    *out_arena = arena_new(NULL, "test");
    return progress_counters(progress_new(*out_arena));
}

static void nothing_left_to_apply_is_no_delay(void **state)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct progress_counters *c = counters_of(&a);

    (void)state;
    c->receive_us = 300000; /* of a commit long ago */
    assert_int_equal(progress_delay(c).total_us, 0);
    assert_int_equal(progress_delay(c).receive_us, 0);
}

static void a_delay_has_two_parts(void **state)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct progress_counters *c = counters_of(&a);

    (void)state;
    c->delay_us = 500000;
    c->receive_us = 300000;
    assert_int_equal(progress_delay(c).total_us, 500000);
    assert_int_equal(progress_delay(c).receive_us, 300000);
    assert_int_equal(progress_delay(c).apply_us, 200000);
}

/* The source's clock is an hour ahead: only what it says counts. */
static void a_delay_grows_while_something_is_here_and_not_applied(void **state)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct progress_counters *c = counters_of(&a);
    const int64_t hour_us = INT64_C(3600) * 1000000;

    (void)state;
    c->clock_offset_us = hour_us;
    c->delay_us = 1000;
    c->pending_us = clock_wall_us() + hour_us - 7000000;
    assert_in_range(progress_delay(c).total_us, 7000000, 60000000);
    c->pending_us = clock_wall_us() + 2 * hour_us; /* from the future: clocks are estimated */
    assert_in_range(progress_delay(c).total_us, 0, 1);
}

static void what_does_not_come_is_a_delay_too(void **state)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct progress_counters *c = counters_of(&a);

    (void)state;
    c->unheard_us = clock_now_us() - 4000000;
    assert_in_range(progress_delay(c).receive_us, 4000000, 60000000);
    assert_in_range(progress_delay(c).total_us, 4000000, 60000000);
    assert_int_equal(progress_delay(c).apply_us, 0);
}

/* Between its COMMIT and the moment when the feeder meets it a huge transaction is on the way to the spool. */
static void what_came_and_is_not_applied_is_a_delay(void **state)
{
    CLEANUP(arena_free) struct arena *a = NULL;
    struct progress_counters *c = counters_of(&a);
    int64_t now_us = clock_wall_us();

    (void)state;
    c->applied_lsn = 100;
    progress_commit_came(c, (struct lsn){100}, now_us - INT64_C(9000000000));
    assert_int_equal(progress_delay(c).total_us, 0);
    progress_commit_came(c, (struct lsn){200}, now_us - INT64_C(5000000000));
    assert_in_range(progress_delay(c).total_us, 5000000000, 9000000000);
    progress_commit_came(c, (struct lsn){300}, now_us - INT64_C(1000000000));
    assert_in_range(progress_delay(c).total_us, 5000000000, 9000000000);
    c->pending_us = now_us - INT64_C(2000000000);
    assert_in_range(progress_delay(c).total_us, 5000000000, 9000000000);
    c->applied_lsn = 200;
    assert_in_range(progress_delay(c).total_us, 2000000000, 4900000000);
    c->pending_us = 0;
    progress_commit_came(c, (struct lsn){400}, now_us - INT64_C(1000000000));
    assert_in_range(progress_delay(c).total_us, 1000000000, 1900000000);
    c->applied_lsn = 400;
    assert_int_equal(progress_delay(c).total_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_percentage_is_done_of_total_rounded_down),
        cmocka_unit_test(a_hundred_is_said_only_when_the_step_is_done),
        cmocka_unit_test(a_step_that_is_done_is_at_a_hundred_whatever_was_estimated),
        cmocka_unit_test(a_percentage_never_falls),
        cmocka_unit_test(an_unknown_total_is_no_progress),
        cmocka_unit_test(sizes_beyond_what_sixty_four_bits_hold_a_thousand_times_work),
        cmocka_unit_test(the_phase_begins_at_starting_and_has_a_name),
        cmocka_unit_test(only_items_being_worked_on_are_shown),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        cmocka_unit_test(a_name_that_just_fits_is_whole),
        cmocka_unit_test(threads_add_and_read_at_the_same_time),
        cmocka_unit_test(nothing_left_to_apply_is_no_delay),
        cmocka_unit_test(a_delay_has_two_parts),
        cmocka_unit_test(a_delay_grows_while_something_is_here_and_not_applied),
        cmocka_unit_test(what_does_not_come_is_a_delay_too),
        cmocka_unit_test(what_came_and_is_not_applied_is_a_delay),
    };

    return cmocka_run_group_tests_name("model/progress", tests, make_arena, free_arena);
}
