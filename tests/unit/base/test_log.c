/* base/log: events, one line each, to the file and to whoever listens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "support/expect.h"

struct heard {
    enum log_level level;
    char line[200];
    unsigned n;
};

static void hear(void *self, enum log_level level, const char *line)
{
    struct heard *h = self;

    h->level = level;
    h->n++;
    snprintf(h->line, sizeof h->line, "%s", line);
}

static char path[] = "/tmp/pgtide_test_log_XXXXXX";

static int open_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);

    if (fd < 0)
        return -1;
    close(fd);
    unlink(path);
    struct error *err = log_open(path);
    error_free(err);
    return err != NULL;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int defaults(void **state)
{
    (void)state;
    log_set_level(LOG_INFO);
    log_set_stderr_level(LOG_INFO);
    log_set_listener(NULL, NULL);
    clock_set_for_test(-1);
    return truncate(path, 0);
}

static void expect_file(const char *expected)
{
    char text[2000] = {0};
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    assert_true(n < sizeof text - 1);
    assert_string_equal(text, expected);
}

static void a_line_has_time_level_and_message(void **state)
{
    (void)state;
    log_set_stderr_level(LOG_LEVEL_COUNT);
    clock_set_for_test(INT64_C(1700000000123456));
    log_info("copied table \"%s\", %d rows", "orders", 7);
    expect_file("2023-11-14 22:13:20.123Z info  copied table \"orders\", 7 rows\n");
}

static void the_file_is_ours_alone(void **state)
{
    (void)state;
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void below_the_lowest_level_nothing_is_written(void **state)
{
    (void)state;
    log_set_stderr_level(LOG_LEVEL_COUNT);
    log_set_level(LOG_WARN);
    log_debug("a");
    log_info("b");
    expect_file("");
    log_set_level(LOG_DEBUG);
    clock_set_for_test(0);
    log_debug("c");
    expect_file("1970-01-01 00:00:00.000Z debug c\n");
}

static void an_error_shows_its_cause_and_its_hint_on_a_line_of_its_own(void **state)
{
    (void)state;
    CLEANUP(error_free) struct error *err = error_new(ERROR_CONFIG, "no such slot");

    log_set_stderr_level(LOG_LEVEL_COUNT);
    clock_set_for_test(0);
    log_error(err, "sync failed");
    err = error_hint(err, "Make it.");
    log_error(err, "sync failed");
    log_error(NULL, "no cause");
    expect_file("1970-01-01 00:00:00.000Z error sync failed: no such slot\n"
                "1970-01-01 00:00:00.000Z error sync failed: no such slot\n"
                "    hint: Make it.\n"
                "1970-01-01 00:00:00.000Z error no cause\n");
}

static void what_a_server_said_cannot_pass_for_an_event(void **state)
{
    (void)state;
    log_set_stderr_level(LOG_LEVEL_COUNT);
    clock_set_for_test(0);
    log_warn("%s", "odd table name: x\n1970-01-01 00:00:00.000Z error all is lost");
    expect_file("1970-01-01 00:00:00.000Z warn  odd table name: x\n"
                "    1970-01-01 00:00:00.000Z error all is lost\n");
}

static void a_listener_gets_what_standard_error_would(void **state)
{
    (void)state;
    struct heard heard = {0};

    log_set_listener(hear, &heard);
    log_set_stderr_level(LOG_WARN);
    log_info("only for the file");
    assert_int_equal(heard.n, 0);
    log_warn("table \"%s\" has no key", "t");
    assert_int_equal(heard.n, 1);
    assert_int_equal(heard.level, LOG_WARN);
    assert_string_equal(heard.line, "table \"t\" has no key");
}

static void an_empty_message_and_a_long_one_are_whole(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *expected = buffer_new();

    log_set_stderr_level(LOG_LEVEL_COUNT);
    clock_set_for_test(0);
    log_info("%s", "");
    log_info("%01000d", 1);
    buffer_printf(expected, "1970-01-01 00:00:00.000Z info  \n1970-01-01 00:00:00.000Z info  %01000d\n", 1);
    expect_file(buffer_text(expected));
}

static void a_file_that_cannot_be_opened_is_an_error_and_changes_nothing(void **state)
{
    (void)state;
    log_set_stderr_level(LOG_LEVEL_COUNT);
    clock_set_for_test(0);
    expect_error(log_open("/nowhere/at/all"), ERROR_CONFIG, "could not open log file \"/nowhere/at/all\": No such");
    log_info("still here");
    expect_file("1970-01-01 00:00:00.000Z info  still here\n");
}

/* In children: a program asks the environment once. */
static void the_environment_changes_the_default_level(void **state)
{
    (void)state;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("PGTIDE_LOG", "debug", 1);
        execl("/proc/self/exe", "test", "speak", NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int speak(void)
{
    struct heard heard = {0};

    log_set_listener(hear, &heard);
    log_set_stderr_level(LOG_DEBUG);
    log_debug("heard");
    return heard.n == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_line_has_time_level_and_message, defaults),
        cmocka_unit_test_teardown(the_file_is_ours_alone, defaults),
        cmocka_unit_test_teardown(below_the_lowest_level_nothing_is_written, defaults),
        cmocka_unit_test_teardown(an_error_shows_its_cause_and_its_hint_on_a_line_of_its_own, defaults),
        cmocka_unit_test_teardown(what_a_server_said_cannot_pass_for_an_event, defaults),
        cmocka_unit_test_teardown(a_listener_gets_what_standard_error_would, defaults),
        cmocka_unit_test_teardown(an_empty_message_and_a_long_one_are_whole, defaults),
        cmocka_unit_test_teardown(a_file_that_cannot_be_opened_is_an_error_and_changes_nothing, defaults),
        cmocka_unit_test(the_environment_changes_the_default_level),
    };

    if (argc == 2 && strcmp(argv[1], "speak") == 0)
        return speak();
    return cmocka_run_group_tests_name("base/log", tests, open_file, remove_file);
}
