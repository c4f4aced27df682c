/* model/read_window: which part of a backlog is read by a query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/read_window.h"

#define MB       (UINT64_C(1024) * 1024)
#define NO_LIMIT UINT64_MAX

/* Windows of 65,536 messages in 8 MB of WAL, 64 bytes each. */
#define AFTER(n) .windows = (n), .wal = (n)*8 * MB, .messages = (n)*65536, .bytes = (n)*4 * MB

static void a_query_reads_where_it_costs_less(void **state)
{
    static const struct {
        const char *what;
        struct backlog b;
        bool is_read;
    } cases[] = {
        /* clang-format off */
        {"a backlog", {.behind = 100 * MB, .room = NO_LIMIT}, true},
        {"hardly any", {.behind = 15 * MB, .room = NO_LIMIT}, false},
        {"none, though it is wanted", {.wish = READ_BACKLOG_QUERY, .room = NO_LIMIT}, false},
        {"hardly any, but it is wanted", {.wish = READ_BACKLOG_QUERY, .behind = 1, .room = NO_LIMIT}, true},
        {"not wanted", {.wish = READ_BACKLOG_STREAM, .behind = 100 * MB, .room = NO_LIMIT}, false},
        {"a full spool", {.behind = 100 * MB, .room = 0}, false},
        {"hardly any room, though it is wanted", {.wish = READ_BACKLOG_QUERY, .behind = MB, .room = MB}, false},
        {"a far restart point, much to read", {.behind = 300 * MB, .again = 500 * MB, .room = NO_LIMIT}, true},
        {"a far restart point, little to read", {.behind = 100 * MB, .again = 300 * MB, .room = NO_LIMIT}, false},
        {"a restart point too far", {.behind = 5000 * MB, .again = 600 * MB, .room = NO_LIMIT}, false},
        {"a next window", {.behind = 100 * MB, .again = 8 * MB, .room = NO_LIMIT, AFTER(1)}, true},
        {"the rest is small and the restart point near", {.behind = 7 * MB, .again = 7 * MB, .room = NO_LIMIT, AFTER(1)}, false},
        {"the restart point could move behind the rest", {.behind = 1, .again = 100 * MB, .room = NO_LIMIT, AFTER(1)}, true},
        {"it did not move", {.behind = 1, .again = 100 * MB, .room = NO_LIMIT, .has_reached_end = true, AFTER(1)}, false},
        {"more came meanwhile", {.behind = 60 * MB, .again = 100 * MB, .room = NO_LIMIT, .has_reached_end = true, AFTER(1)}, true},
        {"a transaction larger than a window", {.behind = 2000 * MB, .again = 512 * MB + 1, .room = NO_LIMIT, .windows = 1, .wal = 512 * MB}, false},
        /* clang-format on */
    };
    struct read_window w;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (read_window_next(&cases[i].b, &w) != cases[i].is_read)
            fail_msg("%s: %s", cases[i].what, cases[i].is_read ? "left to the stream" : "read");
}

static struct read_window window_of(struct backlog b)
{
    struct read_window w = {0};

    assert_true(read_window_next(&b, &w));
    assert_int_equal(w.wal, READ_WINDOW_WAL_BYTES);
    return w;
}

static void the_first_is_small_and_the_next_fill_the_memory(void **state)
{
    const uint64_t memory = READ_WINDOW_ANSWER_BYTES;
    struct read_window first = window_of((struct backlog){.behind = 400 * MB, .room = NO_LIMIT});
    struct read_window next = window_of((struct backlog){.behind = 400 * MB, .room = NO_LIMIT, AFTER(1)});
    struct read_window wide = window_of((struct backlog){
        .behind = 400 * MB, .room = NO_LIMIT, .windows = 1, .wal = 100 * MB, .messages = 100, .bytes = 90 * MB});

    (void)state;
    assert_in_range(first.messages, 50000, 100000);
    assert_true(next.messages * (UINT64_C(64) + 32) <= memory && next.messages > 5 * first.messages);
    assert_in_range(wide.messages, 50, 80);
}

static void it_fits_into_the_spool(void **state)
{
    struct read_window w = window_of((struct backlog){.behind = 400 * MB, .room = 8 * MB, AFTER(1)});

    (void)state;
    assert_true(w.messages * UINT64_C(64) <= 8 * MB / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_reads_where_it_costs_less),
        cmocka_unit_test(the_first_is_small_and_the_next_fill_the_memory),
        cmocka_unit_test(it_fits_into_the_spool),
    };

    return cmocka_run_group_tests_name("model/read_window", tests, NULL, NULL);
}
