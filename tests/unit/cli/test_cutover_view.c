/* cli/cutover_view: what people and programs are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cutover_view.h"
#include "control/json.h"

static const char *const sessions[] = {"pid 4711, shop, user app, local: active"};
static const struct check_item items[] = {
    {.id = "delay", .result = CHECK_PASSED, .title = "the target is close behind the source", .reason = "0.1 s"},
    {.id = "sessions",
     .result = CHECK_ALARM,
     .title = "nobody works",
     .objects = sessions,
     .n_objects = 1,
     .fix = "stop them"},
};

static struct cutover_report some_report(void)
{
    struct cutover_report r = {.items = items,
                               .n_items = COUNT_OF(items),
                               .outcome = CUTOVER_COMPLETED,
                               .downtime_us = 1234567,
                               .position = "0/1",
                               .is_frozen = true};

    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++)
        r.steps[s].state = s == CUTOVER_MATVIEWS ? CUTOVER_LEFT_OUT : CUTOVER_DONE;
    r.steps[CUTOVER_SEQUENCES].detail = "3 sequences";
    r.steps[CUTOVER_SEQUENCES].elapsed_us = 250000;
    return r;
}

static void assert_says(const struct canvas *c, const char *text)
{
    if (strstr(buffer_text(&c->text), text) == NULL)
        fail_msg("\"%s\" is not in:\n%s", text, buffer_text(&c->text));
}

static void the_plan_names_the_sessions_and_every_step(void **state)
{
    struct cutover_report r = some_report();
    struct canvas c = canvas_with((struct canvas_style){0});

    (void)state;
    cutover_draw_plan(&c, &r);
    assert_says(&c, "pid 4711, shop");
    assert_says(&c, "to mend it: stop them");
    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++)
        assert_says(&c, s == CUTOVER_MATVIEWS ? "left out" : cutover_step_description(s));
    canvas_drop(&c);
}

static void a_step_says_what_came_of_it_and_how_long_it_took(void **state)
{
    struct cutover_report r = some_report();
    struct canvas c = canvas_with((struct canvas_style){0});

    (void)state;
    cutover_draw_step(&c, &r, CUTOVER_SEQUENCES);
    assert_says(&c, "sequences: 0.25 s, 3 sequences\n");
    r.steps[CUTOVER_SEQUENCES].state = CUTOVER_FAILED;
    cutover_draw_step(&c, &r, CUTOVER_SEQUENCES);
    assert_says(&c, "failed after 0.25 s");
    canvas_drop(&c);
}

static void the_end_says_the_downtime_and_that_the_source_stays_frozen(void **state)
{
    struct cutover_report r = some_report();
    struct canvas c = canvas_with((struct canvas_style){0});

    (void)state;
    cutover_draw_end(&c, &r);
    assert_says(&c, "nobody could write for 1.23 s");
    assert_says(&c, "--undo");
    canvas_drop(&c);
}

static void the_document_has_it_all(void **state)
{
    struct cutover_report r = some_report();
    CLEANUP(json_decref) json_t *document = cutover_document(&r, "it \xff broke");

    (void)state;
    assert_string_equal(json_string_value(json_object_get(document, "outcome")), "completed");
    assert_int_equal(json_array_size(json_object_get(document, "steps")), CUTOVER_STEP_COUNT);
    assert_int_equal(json_array_size(json_object_get(document, "checklist")), COUNT_OF(items));
    assert_true(json_is_true(json_object_get(document, "source_is_frozen")));
    assert_true(json_is_string(json_object_get(document, "error")));
    const json_t *step = json_array_get(json_object_get(document, "steps"), CUTOVER_SEQUENCES);
    assert_string_equal(json_string_value(json_object_get(step, "detail")), "3 sequences");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_names_the_sessions_and_every_step),
        cmocka_unit_test(a_step_says_what_came_of_it_and_how_long_it_took),
        cmocka_unit_test(the_end_says_the_downtime_and_that_the_source_stays_frozen),
        cmocka_unit_test(the_document_has_it_all),
    };

    return cmocka_run_group_tests_name("cli/cutover_view", tests, NULL, NULL);
}
