/* control/status: the document has what docs/json.md promises, and its numbers are the counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "control/json.h"
#include "control/status.h"

static double number(const json_t *document, const char *name)
{
    return json_number_value(json_object_get(document, name));
}

static void a_running_sync_tells_its_numbers(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct progress *p = progress_new(a);
    struct progress_counters *c = progress_counters(p);
    struct meter_reading reading = {.has_rates = true,
                                    .transactions_per_s = 12.34,
                                    .has_wal_behind = true,
                                    .wal_behind = 4096,
                                    .seconds_left = {-1, 7, -1, -1, 3}};
    struct status_facts facts = {.state = STATUS_RUNNING, .pid = 42, .source = "a", .target = "b", .task = "0123"};

    (void)state;
    progress_set_phase(p, PHASE_CATCH_UP);
    c->data.done = 999999;
    c->data.total = 1000000;
    c->data.state = STEP_RUNNING;
    c->tables_done = 3;
    c->tables_total = 4;
    c->rows_copied = (UINT64_C(1) << 53) + 1;
    c->applied_lsn = UINT64_C(0x100000002);
    c->delay_us = 1500000;
    progress_item_begin(p, 0, "public.t", 10);
    progress_item_add(p, 0, 1, 2);
    CLEANUP(json_decref) json_t *document = status_document(&facts, p, &reading);
    const json_t *data = json_object_get(json_object_get(document, "steps"), "data");
    const json_t *item = json_array_get(json_object_get(document, "items"), 0);

    assert_string_equal(json_string_value(json_object_get(document, "state")), "full");
    assert_string_equal(json_string_value(json_object_get(document, "phase")), "catch-up");
    assert_int_equal(number(document, "pid"), 42);
    assert_true(number(data, "percent") < 100);
    assert_int_equal(number(data, "seconds_left"), 7);
    assert_int_equal(number(json_object_get(document, "tables"), "done"), 3);
    assert_string_equal(json_string_value(json_object_get(document, "rows_copied")), "9007199254740993");
    assert_string_equal(json_string_value(json_object_get(document, "applied_lsn")), "1/2");
    assert_true(json_is_null(json_object_get(document, "received_lsn")));
    assert_true(number(document, "delay_seconds") > 1.49 && number(document, "delay_seconds") < 1.51);
    assert_int_equal(number(document, "wal_behind_bytes"), 4096);
    assert_int_equal(number(document, "catch_up_seconds_left"), 3);
    assert_true(json_is_false(json_object_get(document, "consistent"))); /* A1 holds from the end of the catch-up on */
    assert_string_equal(json_string_value(json_object_get(item, "name")), "public.t");

    progress_set_phase(p, PHASE_INCREMENTAL);
    CLEANUP(json_decref) json_t *later = status_document(&facts, p, &reading);
    assert_string_equal(json_string_value(json_object_get(later, "state")), "incremental");
    assert_true(json_is_true(json_object_get(later, "consistent")));
}

static void what_is_not_known_is_null_and_not_zero(void **state)
{
    static const char *const unknown[] = {
        "delay_seconds", "transactions_per_second", "rows_per_second", "wal_behind_bytes", "applied_lsn",
        "source_lsn",    "catch_up_seconds_left"};
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct status_facts facts = {.state = STATUS_RUNNING};
    CLEANUP(json_decref) json_t *document = status_document(&facts, progress_new(a), NULL);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(document, "state")), "starting");
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        assert_true(json_is_null(json_object_get(document, unknown[i])));
    assert_true(json_is_null(json_object_get(document, "pid")));
}

static void without_a_running_sync_the_state_says_so(void **state)
{
    static const struct {
        enum status_state state;
        const char *name;
    } cases[] = {{STATUS_NONE, "none"},
                 {STATUS_INTERRUPTED, "interrupted"},
                 {STATUS_FAILED, "failed"},
                 {STATUS_COMPLETED, "completed"}};
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct status_facts facts = {.state = cases[i].state, .problem = "x"};
        CLEANUP(json_decref) json_t *document = status_document(&facts, i == 0 ? NULL : progress_new(a), NULL);

        assert_string_equal(json_string_value(json_object_get(document, "state")), cases[i].name);
        assert_string_equal(json_string_value(json_object_get(document, "problem")), "x");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_running_sync_tells_its_numbers),
        cmocka_unit_test(what_is_not_known_is_null_and_not_zero),
        cmocka_unit_test(without_a_running_sync_the_state_says_so),
    };

    return cmocka_run_group_tests_name("control/status", tests, NULL, NULL);
}
