/* sys/stop, sys/wake and sys/deadline: waits end when they should. Run under TSan too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "support/expect.h"
#include "sys/deadline.h"
#include "sys/thread.h"
#include "sys/wake.h"

enum { SOON_MS = 30, NEVER_REACHED_MS = 30000 };

static int64_t ms_since(int64_t begun_us)
{
    return (clock_now_us() - begun_us) / 1000;
}

static struct stop *new_stop(void)
{
    struct stop *s = NULL;

    expect_ok(stop_new(&s));
    return s;
}

static struct wake *new_wake(void)
{
    struct wake *w = NULL;

    expect_ok(wake_new(&w));
    return w;
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void a_stop_is_not_requested_at_first(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    int64_t begun_us = clock_now_us();

    assert_false(stop_requested(s));
    assert_false(is_readable(stop_fd(s)));
    expect_ok(stop_check(s));
    assert_false(stop_wait_ms(s, SOON_MS));
    assert_true(ms_since(begun_us) >= SOON_MS);
    stop_free(NULL);
}

static void a_request_stays_for_every_reader(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();

    stop_request(s);
    stop_request(s);
    for (int i = 0; i < 3; i++) {
        assert_true(stop_requested(s));
        assert_true(is_readable(stop_fd(s)));
        assert_true(stop_wait_ms(s, NEVER_REACHED_MS));
        expect_error(stop_check(s), ERROR_CANCELLED, "stopped on request");
    }
}

static struct stop *stop_of_handler;

static void handler(int number)
{
    int saved = errno;

    (void)number;
    errno = EBADMSG;
    stop_request(stop_of_handler);
    assert(errno == EBADMSG);
    errno = saved;
}

static void a_signal_handler_may_request_it_and_the_wait_ends(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    struct sigaction ours = {.sa_handler = handler}, before;

    stop_of_handler = s;
    sigaction(SIGALRM, &ours, &before);
    ualarm(SOON_MS * 1000, 0);
    assert_true(stop_wait_ms(s, NEVER_REACHED_MS));
    sigaction(SIGALRM, &before, NULL);
}

static void ignore(int number)
{
    (void)number;
}

static void a_signal_does_not_cut_a_wait_short(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    struct sigaction ours = {.sa_handler = ignore}, before;
    int64_t begun_us = clock_now_us();

    sigaction(SIGALRM, &ours, &before);
    ualarm(SOON_MS * 1000, 0);
    assert_false(stop_wait_ms(s, 3 * SOON_MS));
    assert_true(ms_since(begun_us) >= 3 * SOON_MS);
    sigaction(SIGALRM, &before, NULL);
}

static struct error *request_soon(void *self)
{
    poll(NULL, 0, SOON_MS);
    stop_request(self);
    return NULL;
}

static void a_request_from_another_thread_ends_every_wait(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    CLEANUP(wake_free) struct wake *w = new_wake();
    struct thread *thread = NULL;

    expect_ok(thread_start("requester", request_soon, s, &thread));
    assert_true(wake_wait(w, s, NEVER_REACHED_MS));
    assert_true(stop_wait_ms(s, NEVER_REACHED_MS));
    expect_ok(thread_join(thread));
}

static void rings_are_not_counted(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    CLEANUP(wake_free) struct wake *w = new_wake();

    wake_ring(w);
    wake_ring(w);
    assert_true(is_readable(wake_fd(w)));
    assert_true(wake_wait(w, s, NEVER_REACHED_MS));
    assert_false(is_readable(wake_fd(w)));
    assert_false(wake_wait(w, s, 0));
    wake_free(NULL);
}

static void a_cleared_bell_is_silent(void **state)
{
    (void)state;
    CLEANUP(wake_free) struct wake *w = new_wake();

    wake_clear(w); /* nothing there: does not block */
    wake_ring(w);
    wake_clear(w);
    assert_false(wake_wait(w, NULL, 0));
}

static void a_wait_ends_when_its_time_has_run_out(void **state)
{
    (void)state;
    CLEANUP(wake_free) struct wake *w = new_wake();
    int64_t begun_us = clock_now_us();

    assert_false(wake_wait(w, NULL, SOON_MS));
    assert_true(ms_since(begun_us) >= SOON_MS);
}

static struct error *ring_soon(void *self)
{
    poll(NULL, 0, SOON_MS);
    wake_ring(self);
    return NULL;
}

static void a_ring_ends_a_wait_without_an_end(void **state)
{
    (void)state;
    CLEANUP(wake_free) struct wake *w = new_wake();
    struct thread *thread = NULL;

    expect_ok(thread_start("ringer", ring_soon, w, &thread));
    assert_true(wake_wait(w, NULL, -1));
    expect_ok(thread_join(thread));
}

static void neither_is_inherited_by_programs(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();
    CLEANUP(wake_free) struct wake *w = new_wake();

    assert_true(fcntl(stop_fd(s), F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(wake_fd(w), F_GETFD) & FD_CLOEXEC);
}

static void a_moment_in_the_past_is_only_a_look(void **state)
{
    (void)state;
    CLEANUP(wake_free) struct wake *w = new_wake();
    struct pollfd p = {.fd = wake_fd(w), .events = POLLIN};
    int64_t begun_us = clock_now_us();

    assert_int_equal(deadline_poll(&p, 1, 0), 0);
    wake_ring(w);
    assert_int_equal(deadline_poll(&p, 1, 0), 1);
    assert_true(ms_since(begun_us) < 1000);
    assert_true(deadline_after_ms(-1) == DEADLINE_NEVER);
}

static void a_request_is_taken_back_when_nobody_heeds_it_any_more(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *s = new_stop();

    stop_renew(s);
    expect_ok(stop_check(s));
    stop_request(s);
    stop_renew(s);
    assert_false(stop_requested(s));
    assert_false(is_readable(stop_fd(s)));
    assert_false(stop_wait_ms(s, 1));
    stop_request(s);
    assert_true(is_readable(stop_fd(s)));
    assert_true(stop_wait_ms(s, NEVER_REACHED_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_back_when_nobody_heeds_it_any_more),
        cmocka_unit_test(a_stop_is_not_requested_at_first),
        cmocka_unit_test(a_request_stays_for_every_reader),
        cmocka_unit_test(a_signal_handler_may_request_it_and_the_wait_ends),
        cmocka_unit_test(a_signal_does_not_cut_a_wait_short),
        cmocka_unit_test(a_request_from_another_thread_ends_every_wait),
        cmocka_unit_test(rings_are_not_counted),
        cmocka_unit_test(a_cleared_bell_is_silent),
        cmocka_unit_test(a_wait_ends_when_its_time_has_run_out),
        cmocka_unit_test(a_ring_ends_a_wait_without_an_end),
        cmocka_unit_test(neither_is_inherited_by_programs),
        cmocka_unit_test(a_moment_in_the_past_is_only_a_look),
    };

    return cmocka_run_group_tests_name("sys/stop_wake", tests, NULL, NULL);
}
