/* sys/child: programs are run, collected, stopped and waited for. The programs are small shell scripts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/child.h"
#include "sys/thread.h"

static struct arena *a;

static int setup(void **state)
{
    a = arena_new(NULL, "test");
    return folder_setup(state);
}

static int teardown(void **state)
{
    arena_free(a);
    return folder_teardown(state);
}

static struct child_result shell(const char *script, struct child_options options)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct child_result result = {.exit_status = -1};

    options.argv = argv;
    expect_ok(child_run(a, options, &result));
    return result;
}

static struct child_result plain(const char *script)
{
    return shell(script, (struct child_options){0});
}

static void output_and_errors_are_collected_apart(void **state)
{
    (void)state;
    struct child_result r = plain("echo rows; echo trouble >&2; printf more");

    assert_int_equal(r.exit_status, 0);
    assert_string_equal(r.output, "rows\nmore");
    assert_int_equal(r.output_length, strlen("rows\nmore"));
    assert_string_equal(r.errors, "trouble\n");
}

static void a_failing_program_is_a_result(void **state)
{
    (void)state;
    struct child_result r = plain("echo no >&2; exit 7");

    assert_int_equal(r.exit_status, 7);
    assert_string_equal(r.errors, "no\n");
    assert_string_equal(r.output, "");
}

static void a_signal_that_ended_it_is_told_as_shells_do(void **state)
{
    (void)state;
    assert_int_equal(plain("kill -KILL $$").exit_status, 128 + SIGKILL);
}

static void a_program_that_is_missing_is_named(void **state)
{
    const char *const argv[] = {"/no-such-folder/program",
                                NULL}; /* a PATH may have folders that we may not look into */
    const char *const not_executable[] = {arena_printf(a, "%s/file", (char *)*state), NULL};
    struct child_result r = {.exit_status = 77};

    expect_ok(file_replace(not_executable[0], "x", 1));
    expect_error(child_run(a, (struct child_options){.argv = argv}, &r), ERROR_CONFIG,
                 "could not run program \"/no-such-folder/program\": No such file");
    expect_error(child_run(a, (struct child_options){.argv = not_executable}, &r), ERROR_CONFIG, "Permission denied");
    assert_int_equal(r.exit_status, 77);
}

static void output_goes_to_a_file_of_ours_alone(void **state)
{
    const char *path = arena_printf(a, "%s/out", (char *)*state);
    struct child_options options = {.stdout_path = path};
    struct stat st;
    char *text = NULL;
    size_t length = 0;

    shell("echo a long first line", options);
    struct child_result r = shell("echo second", options);
    assert_string_equal(r.output, "");
    expect_ok(file_read(a, path, &text, &length));
    assert_string_equal(text, "second\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    const char *const argv[] = {"true", NULL};
    options = (struct child_options){.argv = argv, .stdout_path = arena_printf(a, "%s/no/file", (char *)*state)};
    expect_error(child_run(a, options, &r), ERROR_CONFIG, "/no/file\" for the output of program \"true\": No such");
}

static void standard_input_is_empty(void **state)
{
    (void)state;
    assert_string_equal(plain("cat; echo end").output, "end\n");
}

static void a_variable_is_added_or_replaced_and_the_others_stay(void **state)
{
    (void)state;
    const char *const environment[] = {"PGTIDE_TEST_A=new", "PGTIDE_TEST_C=", NULL};

    setenv("PGTIDE_TEST_A", "old", 1);
    setenv("PGTIDE_TEST_AB", "other", 1);
    struct child_result r =
        shell("env | grep -a ^PGTIDE_TEST_ | sort", (struct child_options){.environment = environment});
    assert_string_equal(r.output, "PGTIDE_TEST_A=new\nPGTIDE_TEST_AB=other\nPGTIDE_TEST_C=\n");
    assert_string_equal(getenv("PGTIDE_TEST_A"), "old");
    unsetenv("PGTIDE_TEST_A");
    unsetenv("PGTIDE_TEST_AB");
}

static void no_other_descriptor_of_ours_is_inherited(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library might */
    int high = dup2(fd, 200);

    assert_int_equal(high, 200);
    struct child_result r = plain("for i in /proc/$$/fd/*; do basename $i; done | sort -n | head -c 100");
    assert_null(strstr(r.output, "200"));
    assert_int_equal(strncmp(r.output, "0\n1\n2\n", 6), 0);
    close(fd);
    close(high);
}

static void much_on_both_streams_blocks_nobody(void **state)
{
    (void)state;
    struct child_result r = plain("head -c 1000000 /dev/zero | tr '\\0' e >&2; head -c 1000000 /dev/zero | tr '\\0' o;"
                                  "echo the last line >&2");

    assert_int_equal(r.output_length, 1000000);
    assert_int_equal(r.output[999999], 'o');
    assert_int_equal(strlen(r.errors), 64 * 1024); /* the end is where the reason stands */
    assert_string_equal(r.errors + 64 * 1024 - strlen("the last line\n"), "the last line\n");
}

/* A pipe full to its brim when the program ends. */
static void the_last_words_are_heard(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct child_result r = plain("head -c 65536 /dev/zero | tr '\\0' o");

        assert_int_equal(r.output_length, 65536);
    }
}

static void more_output_than_allowed_is_an_error_and_ends_it(void **state)
{
    (void)state;
    const char *const argv[] = {"sh", "-c", "while :; do echo yes; done", NULL};
    struct child_result r;

    expect_error(child_run(a, (struct child_options){.argv = argv, .output_max = 100000}, &r), ERROR_CONFIG,
                 "more than 100000 bytes");
}

static void what_it_left_running_is_not_waited_for(void **state)
{
    (void)state;
    int64_t begun_us = clock_now_us();
    struct child_result r = plain("sleep 20 & echo $!");

    assert_true(clock_now_us() - begun_us < 10000000);
    kill((pid_t)strtol(r.output, NULL, 10), SIGKILL);
}

static void other_children_are_left_alone(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        _exit(42);
    plain("true");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void it_has_no_terminal_to_ask_on(void **state)
{
    (void)state;
    assert_string_equal(plain("(: </dev/tty) 2>/dev/null && echo asked || echo none").output, "none\n");
    assert_string_equal(plain("test \"$(cut -d' ' -f6 /proc/$$/stat)\" = $$ && echo leads").output, "leads\n");
}

struct run {
    const char *script;
    struct stop *stop;
};

static struct error *run_until_stopped(void *self)
{
    const struct run *run = self;
    CLEANUP(arena_free) struct arena *own = arena_new(NULL, "run");
    const char *const argv[] = {"sh", "-c", run->script, NULL};
    struct child_result r;

    return child_run(own, (struct child_options){.argv = argv, .stop = run->stop}, &r);
}

static void wait_for_file(const char *path)
{
    struct stat st;

    while (stat(path, &st) != 0 || st.st_size == 0)
        poll(NULL, 0, 5);
}

static pid_t pid_in(const char *path)
{
    char *text = NULL;
    size_t length = 0;

    expect_ok(file_read(a, path, &text, &length));
    return (pid_t)strtol(text, NULL, 10);
}

/* The script says by a file that it runs; then it is stopped. In a thread, where all signals are blocked. */
static void expect_stopped(void **state, const char *script)
{
    const char *path = arena_printf(a, "%s/ready", (char *)*state);
    struct run run = {.script = arena_printf(a, "ready=%s; %s", path, script)};
    struct thread *t = NULL;

    expect_ok(stop_new(&run.stop));
    expect_ok(thread_start("runs a child", run_until_stopped, &run, &t));
    wait_for_file(path);
    stop_request(run.stop);
    expect_error(thread_join(t), ERROR_CANCELLED, "stopped program \"sh\" on request");
    stop_free(run.stop);
}

static void a_request_stops_it_also_in_a_thread_that_blocks_signals(void **state)
{
    int64_t begun_us = clock_now_us();

    expect_stopped(state, "echo $$ >$ready; exec sleep 60");
    assert_true(clock_now_us() - begun_us < 4000000); /* by SIGTERM, not by the SIGKILL after 5 s */
    assert_int_equal(kill(pid_in(arena_printf(a, "%s/ready", (char *)*state)), 0), -1);
}

static void what_does_not_listen_to_sigterm_is_killed_after_five_seconds(void **state)
{
    int64_t begun_us = clock_now_us();

    expect_stopped(state, "trap '' TERM; echo $$ >$ready; while :; do sleep 60; done");
    assert_in_range(clock_now_us() - begun_us, 5000000, 20000000);
}

static bool is_gone(pid_t pid)
{
    char *stat_text = NULL;
    size_t length = 0;

    expect_ok(file_read(a, arena_printf(a, "/proc/%d/stat", (int)pid), &stat_text, &length));
    return stat_text == NULL || strstr(stat_text, ") Z ") != NULL;
}

static void what_it_started_is_stopped_with_it(void **state)
{
    expect_stopped(state, "(trap '' TERM; exec sleep 60) & echo $! >$ready; wait");

    pid_t grandchild = pid_in(arena_printf(a, "%s/ready", (char *)*state));
    for (int i = 0; i < 1000 && !is_gone(grandchild); i++)
        poll(NULL, 0, 5);
    assert_true(is_gone(grandchild));
}

static void after_a_request_nothing_is_started(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *stop = NULL;
    const char *const argv[] = {"/no-such-folder/program",
                                NULL}; /* a PATH may have folders that we may not look into */
    struct child_result r;

    expect_ok(stop_new(&stop));
    stop_request(stop);
    expect_error(child_run(a, (struct child_options){.argv = argv, .stop = stop}, &r), ERROR_CANCELLED, "stopped");
}

static unsigned descriptors_open(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void no_descriptor_is_left_open(void **state)
{
    (void)state;
    const char *const argv[] = {"/no-such-folder/program",
                                NULL}; /* a PATH may have folders that we may not look into */
    struct child_result r;
    unsigned before = descriptors_open();

    plain("echo x");
    expect_error(child_run(a, (struct child_options){.argv = argv}, &r), ERROR_CONFIG, "No such file");
    assert_int_equal(descriptors_open(), before);
}

static void a_program_is_found_in_the_path(void **state)
{
    const char *before = arena_strdup(a, getenv("PATH"));
    char *folder = arena_printf(a, "%s/bin", (char *)*state);
    char *program = arena_printf(a, "%s/tool", folder);

    assert_non_null(child_find(a, "sh"));
    assert_null(child_find(a, "no-such-program-anywhere"));
    assert_string_equal(child_find(a, "/bin/sh"), "/bin/sh");
    assert_null(child_find(a, "/bin/no-such-program"));

    expect_ok(folder_make(folder));
    expect_ok(file_replace(program, "#!/bin/sh\n", 10));
    setenv("PATH", arena_printf(a, "::/no/such/folder:%s:", folder), 1);
    assert_null(child_find(a, "tool")); /* is not executable */
    assert_int_equal(chmod(program, 0700), 0);
    assert_string_equal(child_find(a, "tool"), program);
    assert_null(child_find(a, "sh"));
    setenv("PATH", *state, 1);
    assert_null(child_find(a, "bin")); /* a folder is no program */
    unsetenv("PATH");
    assert_null(child_find(a, "tool"));
    setenv("PATH", before, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_and_errors_are_collected_apart),
        TEST(a_failing_program_is_a_result),
        TEST(a_signal_that_ended_it_is_told_as_shells_do),
        TEST(a_program_that_is_missing_is_named),
        TEST(output_goes_to_a_file_of_ours_alone),
        TEST(standard_input_is_empty),
        TEST(a_variable_is_added_or_replaced_and_the_others_stay),
        TEST(no_other_descriptor_of_ours_is_inherited),
        TEST(much_on_both_streams_blocks_nobody),
        TEST(the_last_words_are_heard),
        TEST(more_output_than_allowed_is_an_error_and_ends_it),
        TEST(what_it_left_running_is_not_waited_for),
        TEST(other_children_are_left_alone),
        TEST(it_has_no_terminal_to_ask_on),
        TEST(a_request_stops_it_also_in_a_thread_that_blocks_signals),
        TEST(what_does_not_listen_to_sigterm_is_killed_after_five_seconds),
        TEST(what_it_started_is_stopped_with_it),
        TEST(after_a_request_nothing_is_started),
        TEST(no_descriptor_is_left_open),
        TEST(a_program_is_found_in_the_path),
    };

    return cmocka_run_group_tests_name("sys/child", tests, NULL, NULL);
}
