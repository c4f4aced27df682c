/* base/fault: each case in a process of its own, because the rules are read once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/macros.h"

#ifdef PGTIDE_FAULTS

static struct error *step_one(void)
{
    FAULT_POINT("test.one");
    return NULL;
}

static struct error *step_two(void)
{
    FAULT_POINT("test.two");
    return NULL;
}

/* 'o' for success, else the first letter of the error's kind. */
static char outcome(struct error *err)
{
    char c = err == NULL ? 'o' : error_kind_name(error_kind(err))[0];

    error_free(err);
    return c;
}

/* Runs "12…" (which step is taken) under a rule in a child; returns waitpid's status. The outcomes must be `expected`. */
static int run(const char *rule, const char *steps, const char *expected)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("PGTIDE_FAULT", rule, 1);
        if (freopen("/dev/null", "w", stderr) == NULL) /* a refused rule says so there */
            _exit(2);
        for (size_t i = 0; steps[i] != '\0'; i++) {
            if (outcome(steps[i] == '1' ? step_one() : step_two()) != expected[i])
                _exit(1);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool died_of(int status, int signal_number)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

static void without_a_rule_nothing_happens(void **state)
{
    (void)state;
    assert_int_equal(run("", "1212", "oooo"), 0);
    assert_int_equal(run("test.three=fail", "1212", "oooo"), 0);
}

static void error_at_the_nth_arrival_is_transient_and_happens_once(void **state)
{
    (void)state;
    assert_int_equal(run("test.one=error@3", "11111", "ootoo"), 0);
}

static void fail_is_a_data_error_each_time(void **state)
{
    (void)state;
    assert_int_equal(run("test.one=fail", "121", "dod"), 0);
}

static void crash_ends_the_process_as_kill_9_does(void **state)
{
    (void)state;
    assert_true(died_of(run("test.one=crash@2", "11", "oo"), SIGKILL));
    assert_int_equal(run("test.one=crash@2", "1222", "oooo"), 0);
}

static void wait_stops_the_thread_for_a_while(void **state)
{
    (void)state;
    int64_t begun_us = clock_now_us();

    assert_int_equal(run("test.one=wait@1:120", "1", "o"), 0);
    assert_true(clock_now_us() - begun_us >= 120000);
}

static void rules_are_separated_by_commas(void **state)
{
    (void)state;
    assert_int_equal(run("test.one=error@1,test.two=fail,test.one=fail@2", "1212", "tddd"), 0);
}

static void a_rule_that_is_not_understood_ends_the_process(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "test.one",
        "test.one=",
        "test.one=crsh",
        "test.one=error@",
        "test.one=error@x",
        "test.one=error@1x",
        "test.one=wait@1:",
        "=",
        "a-name-that-is-longer-than-the-sixty-three-characters-a-rule-has-for-it=error",
    };

    for (size_t i = 0; i < COUNT_OF(rules); i++)
        assert_true(died_of(run(rules[i], "2", "o"), SIGABRT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_nothing_happens),
        cmocka_unit_test(error_at_the_nth_arrival_is_transient_and_happens_once),
        cmocka_unit_test(fail_is_a_data_error_each_time),
        cmocka_unit_test(crash_ends_the_process_as_kill_9_does),
        cmocka_unit_test(wait_stops_the_thread_for_a_while),
        cmocka_unit_test(rules_are_separated_by_commas),
        cmocka_unit_test(a_rule_that_is_not_understood_ends_the_process),
    };

    return cmocka_run_group_tests_name("base/fault", tests, NULL, NULL);
}

#else

static struct error *step(void)
{
    FAULT_POINT("test.one");
    return NULL;
}

static void built_without_faults_nothing_strikes(void **state)
{
    (void)state;
    setenv("PGTIDE_FAULT", "test.one=fail", 1);
    assert_null(step());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(built_without_faults_nothing_strikes)};

    return cmocka_run_group_tests_name("base/fault", tests, NULL, NULL);
}

#endif
