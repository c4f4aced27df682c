#include "model/structure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct structure_entry before_entries[] = {
    {"c 1 0001", "t 1", "column \"id\"", "integer"}, {"c 1 0002", "t 1", "column \"v\"", "text"},
    {"c 2 0001", "t 2", "column \"id\"", "integer"}, {"e 9", "", "type \"public.e\"", "enum ('a')"},
    {"t 1", "", "table \"public.a\"", "a table"},    {"t 2", "", "table \"public.b\"", "a table"},
};
static const struct structure before = {before_entries, COUNT_OF(before_entries)};

/* The target: other keys, the same names. */
static struct structure_entry there_entries[] = {
    {"c 70 0001", "t 70", "column \"id\"", "integer"}, {"c 70 0002", "t 70", "column \"v\"", "text"},
    {"c 80 0001", "t 80", "column \"id\"", "integer"}, {"e 99", "", "type \"public.e\"", "enum ('a')"},
    {"t 70", "", "table \"public.a\"", "a table"},     {"t 80", "", "table \"public.b\"", "a table"},
};
static const struct structure there = {there_entries, COUNT_OF(there_entries)};

static const char *changes(struct arena *a, const struct structure *now, const struct structure *on_target)
{
    unsigned n;
    const struct structure_change *list = structure_changes(a, &before, now, on_target, &n);
    const char *text = "";

    for (unsigned i = 0; i < n; i++)
        text = arena_printf(a, "%s%s%s", text, i == 0 ? "" : "; ", list[i].what);
    return text;
}

static void nothing_changed(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(changes(a, &before, &there), "");
}

static void each_change_is_named_once(void **state)
{
    static struct structure_entry now_entries[] = {
        {"c 1 0001", "t 1", "column \"id\"", "bigint"},  {"c 1 0003", "t 1", "column \"x\"", "date"},
        {"c 3 0001", "t 3", "column \"id\"", "integer"}, {"e 9", "", "type \"public.e\"", "enum ('a', 'b')"},
        {"t 1", "", "table \"public.aa\"", "a table"},   {"t 3", "", "table \"public.new\"", "a table"},
    };
    const struct structure now = {now_entries, COUNT_OF(now_entries)};
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(changes(a, &now, &there), "column \"id\" of table \"public.a\" was integer and is bigint now; "
                                                  "column \"v\" of table \"public.a\" was dropped; "
                                                  "column \"x\" of table \"public.aa\" was added (date); "
                                                  "type \"public.e\" was enum ('a') and is enum ('a', 'b') now; "
                                                  "table \"public.a\" was renamed: it is table \"public.aa\" now; "
                                                  "table \"public.b\" was dropped; "
                                                  "table \"public.new\" was created");
}

static void what_the_target_has_too_is_left_out(void **state)
{
    static struct structure_entry now_entries[] = {
        {"c 1 0001", "t 1", "column \"id\"", "bigint"},
        {"c 1 0003", "t 1", "column \"x\"", "date"},
        {"t 1", "", "table \"public.aa\"", "a table"},
    };
    static struct structure_entry target_entries[] = {
        {"c 70 0001", "t 70", "column \"id\"", "bigint"},
        {"c 70 0003", "t 70", "column \"x\"", "text"},
        {"t 70", "", "table \"public.aa\"", "a table"},
    };
    const struct structure now = {now_entries, COUNT_OF(now_entries)},
                           on_target = {target_entries, COUNT_OF(target_entries)};
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(changes(a, &now, &on_target), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed),
        cmocka_unit_test(each_change_is_named_once),
        cmocka_unit_test(what_the_target_has_too_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
