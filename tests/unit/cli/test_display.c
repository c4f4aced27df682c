/* cli/display: what goes to a pipe, to a program and to a terminal, and when. The test owns the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "cli/display.h"
#include "control/json.h"
#include "support/expect.h"

enum { SECOND_US = 1000000, OUTPUT_MAX = 1 << 20 };

/* The display writes into a pipe that is read after each step. */
struct stage {
    struct arena *arena;
    struct progress *progress;
    struct stop *stop;
    struct display *display;
    int pipe[2];
    int64_t now_us;
};

static const struct canvas_style small = {.width = 60, .height = 20};

static void stage_open(struct stage *s, enum display_mode mode)
{
    *s = (struct stage){.arena = arena_new(NULL, "test"), .now_us = INT64_C(1714564800) * SECOND_US};
    assert_int_equal(pipe2(s->pipe, O_CLOEXEC | O_NONBLOCK), 0);
    fcntl(s->pipe[1], F_SETPIPE_SZ, OUTPUT_MAX);
    s->progress = progress_new(s->arena);
    expect_ok(stop_new(&s->stop));
    clock_set_for_test(s->now_us);
    s->display = display_new((struct display_options){
        .mode = mode, .fd = s->pipe[1], .progress = s->progress, .stop = s->stop, .fixed_style = &small});
}

static void stage_close(struct stage *s)
{
    display_free(s->display);
    stop_free(s->stop);
    close(s->pipe[0]);
    close(s->pipe[1]);
    arena_free(s->arena);
    clock_set_for_test(-1);
}

static const char *said(struct stage *s)
{
    char *text = arena_alloc(s->arena, OUTPUT_MAX);
    ssize_t n = read(s->pipe[0], text, OUTPUT_MAX - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const char *after(struct stage *s, int64_t us)
{
    s->now_us += us;
    clock_set_for_test(s->now_us);
    display_tick(s->display);
    return said(s);
}

static void a_pipe_gets_a_line_at_each_phase_and_every_ten_seconds(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_PLAIN);
    assert_string_equal(after(&s, 0), "[0 s] connecting and checking\n");
    assert_string_equal(after(&s, SECOND_US), "");
    progress_set_phase(s.progress, PHASE_DATA);
    progress_counters(s.progress)->data.state = STEP_RUNNING;
    progress_counters(s.progress)->data.total = 1 << 20;
    assert_string_equal(after(&s, SECOND_US), "[2 s] copying rows\n");
    progress_counters(s.progress)->data.done = 1 << 19;
    assert_string_equal(after(&s, 9 * SECOND_US), "");
    assert_string_equal(after(&s, SECOND_US), "[12 s] data 50 %, 512 kB of 1.0 MB, 10 s left, 0 B/s, 0 rows/s\n");
    assert_string_equal(after(&s, SECOND_US), "");
    stage_close(&s);
}

static void no_time_left_is_told_in_the_first_three_seconds(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_JSON);
    progress_set_phase(s.progress, PHASE_DATA);
    progress_counters(s.progress)->data.state = STEP_RUNNING;
    progress_counters(s.progress)->data.total = 1000;
    (void)after(&s, 0);
    for (unsigned second = 1; second < 6; second++) {
        CLEANUP(json_decref) json_t *event = NULL;

        progress_counters(s.progress)->data.done += 10;
        event = json_loads(after(&s, SECOND_US), 0, NULL);
        const json_t *left = json_object_get(json_object_get(json_object_get(event, "steps"), "data"), "seconds_left");
        assert_non_null(left);
        assert_int_equal(json_is_null(left), second < 3);
        if (second >= 3)
            assert_int_equal(json_integer_value(left), 100 - second);
    }
    stage_close(&s);
}

/* How many of the lines have this event; each is an object with "event" and "time". */
static unsigned count_events(const char *lines, const char *event)
{
    unsigned n = 0;

    while (*lines != '\0') {
        json_error_t why;
        CLEANUP(json_decref)
        json_t *document = json_loads(lines, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &why);

        assert_non_null(document);
        assert_non_null(json_string_value(json_object_get(document, "time")));
        n += strcmp(json_string_value(json_object_get(document, "event")), event) == 0;
        lines = strchr(lines, '\n');
        assert_non_null(lines);
        lines++;
    }
    return n;
}

static void a_program_gets_one_event_a_line(void **state)
{
    struct stage s;
    const char *lines;

    (void)state;
    stage_open(&s, DISPLAY_JSON);
    lines = after(&s, 0);
    assert_int_equal(count_events(lines, "state"), 1);
    assert_int_equal(count_events(lines, "phase"), 1);
    assert_int_equal(count_events(lines, "progress"), 1);
    assert_non_null(strstr(lines, "\"time\":\"2024-05-01T12:00:00.000Z\""));
    assert_string_equal(after(&s, SECOND_US / 5), "");

    progress_set_phase(s.progress, PHASE_STRUCTURE);
    lines = after(&s, SECOND_US / 5);
    assert_non_null(strstr(lines, "\"state\":\"full\""));
    progress_set_phase(s.progress, PHASE_DATA);
    lines = after(&s, SECOND_US / 5);
    assert_int_equal(count_events(lines, "state"), 0); /* still full */
    assert_int_equal(count_events(lines, "phase"), 1);

    progress_counters(s.progress)->conflicts = 2;
    lines = after(&s, SECOND_US / 5);
    assert_int_equal(count_events(lines, "conflict"), 1);
    assert_int_equal(count_events(after(&s, SECOND_US), "conflict"), 0);

    stop_request(s.stop);
    assert_non_null(strstr(after(&s, SECOND_US / 5), "\"state\":\"stopping\""));
    stage_close(&s);
}

static void the_last_event_is_done_and_has_the_exit_status(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_JSON);
    (void)after(&s, 0);
    CLEANUP(error_free) struct error *err = error_hint(error_new(ERROR_TRANSIENT, "it \"broke\"\n\xff"), "Mend it.");
    display_finish(s.display, err);
    const char *lines = said(&s);
    assert_int_equal(count_events(lines, "error"), 1);
    assert_int_equal(count_events(lines, "done"), 1);
    assert_non_null(strstr(lines, "\"hint\":\"Mend it.\""));
    assert_true(strstr(lines, "\"event\":\"done\"") > strstr(lines, "\"event\":\"error\""));
    assert_non_null(strstr(lines, "\"exit_status\":1"));
    stage_close(&s);
}

static void the_precheck_is_an_event_or_a_report(void **state)
{
    static const struct check_item items[] = {{.id = "versions", .result = CHECK_PASSED, .title = "versions fit"}};
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_JSON);
    display_checked(s.display, items, 1);
    assert_int_equal(count_events(said(&s), "check"), 1);
    stage_close(&s);
    stage_open(&s, DISPLAY_PLAIN);
    display_checked(s.display, items, 1);
    assert_string_equal(said(&s), "+ precheck: 1 passed\n");
    stage_close(&s);
    stage_open(&s, DISPLAY_QUIET);
    display_checked(s.display, items, 1);
    assert_string_equal(said(&s), "");
    stage_close(&s);
}

static void a_terminal_is_redrawn_in_place_and_logs_scroll_above(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_LIVE);
    (void)after(&s, 0);
    const char *again = after(&s, SECOND_US);
    assert_ptr_equal(strstr(again, "\033[3A\r\033[2K\n"), again); /* up over the three lines */
    assert_non_null(strstr(again, "1 s"));

    display_log(s.display, LOG_WARN, "lost \033]0;evil\007\n    hint: wait");
    const char *logged = said(&s);
    assert_ptr_equal(strstr(logged, "\033[3A\r\033[J "), logged);
    assert_non_null(strstr(logged, "  lost ?]0;evil?\n           hint: wait\n\n pgtide"));

    display_finish(s.display, NULL);
    const char *last = said(&s);
    assert_ptr_equal(strstr(last, "\033[3A\r\033[J"), last);
    assert_non_null(strstr(last, "+ done in 1 s\n"));
    stage_close(&s);
}

static void a_quiet_one_says_nothing(void **state)
{
    struct stage s;

    (void)state;
    stage_open(&s, DISPLAY_QUIET);
    assert_string_equal(after(&s, 0), "");
    progress_set_phase(s.progress, PHASE_DATA);
    assert_string_equal(after(&s, 11 * SECOND_US), "");
    display_finish(s.display, NULL);
    assert_string_equal(said(&s), "");
    stage_close(&s);
}

static void a_reader_that_has_gone_does_not_end_the_sync(void **state)
{
    struct stage s;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);

    (void)state;
    stage_open(&s, DISPLAY_PLAIN);
    close(s.pipe[0]);
    display_tick(s.display);
    display_finish(s.display, NULL);
    s.pipe[0] = dup(s.pipe[1]);
    stage_close(&s);
    signal(SIGPIPE, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_gets_a_line_at_each_phase_and_every_ten_seconds),
        cmocka_unit_test(no_time_left_is_told_in_the_first_three_seconds),
        cmocka_unit_test(a_program_gets_one_event_a_line),
        cmocka_unit_test(the_last_event_is_done_and_has_the_exit_status),
        cmocka_unit_test(the_precheck_is_an_event_or_a_report),
        cmocka_unit_test(a_terminal_is_redrawn_in_place_and_logs_scroll_above),
        cmocka_unit_test(a_quiet_one_says_nothing),
        cmocka_unit_test(a_reader_that_has_gone_does_not_end_the_sync),
    };

    return cmocka_run_group_tests_name("cli/display", tests, NULL, NULL);
}
