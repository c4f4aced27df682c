/* sys/thread and sys/queue: ends are values, nothing is lost between threads. Run under TSan too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "support/expect.h"
#include "sys/queue.h"
#include "sys/stop.h"
#include "sys/thread.h"

static struct thread *started(const char *name, struct error *(*run)(void *self), void *self)
{
    struct thread *t = NULL;

    expect_ok(thread_start(name, run, self, &t));
    return t;
}

static struct error *fail_in_lane(void *self)
{
    return error_new(ERROR_DATA, "lane %d has failed", *(int *)self);
}

static void the_end_of_a_thread_is_what_its_function_returned(void **state)
{
    (void)state;
    int lane = 7;

    expect_error(thread_join(started("lane", fail_in_lane, &lane)), ERROR_DATA, "lane 7 has failed");
}

static struct error *copy_name(void *self)
{
    pthread_getname_np(pthread_self(), self, 16);
    return NULL;
}

static void a_thread_has_its_name_cut_to_what_the_system_takes(void **state)
{
    (void)state;
    char name[16] = {0};

    expect_ok(thread_join(started("a name that is too long", copy_name, name)));
    assert_string_equal(name, "a name that is ");
}

static struct error *look_at_mask(void *self)
{
    pthread_sigmask(SIG_SETMASK, NULL, self);
    return NULL;
}

static void signals_go_to_the_main_thread(void **state)
{
    (void)state;
    sigset_t in_thread, here;

    sigemptyset(&in_thread);
    expect_ok(thread_join(started("masked", look_at_mask, &in_thread)));
    pthread_sigmask(SIG_SETMASK, NULL, &here);
    assert_true(sigismember(&in_thread, SIGTERM));
    assert_true(sigismember(&in_thread, SIGINT));
    assert_false(sigismember(&here, SIGTERM)); /* ours is as it was */
}

static struct error *wait_for_stop(void *self)
{
    while (!stop_wait_ms(self, 1000))
        ;
    return stop_check(self);
}

static void a_thread_has_ended_once_its_function_returned(void **state)
{
    (void)state;
    CLEANUP(stop_free) struct stop *stop = NULL;

    expect_ok(stop_new(&stop));
    struct thread *t = started("waiting", wait_for_stop, stop);
    assert_false(thread_ended(t));
    stop_request(stop);
    while (!thread_ended(t))
        sched_yield();
    expect_error(thread_join(t), ERROR_CANCELLED, "stopped");
}

static void items_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    CLEANUP(queue_free) struct queue *q = queue_new(3);
    int items[10];

    for (int i = 0; i < 10; i++) { /* around the ring some times */
        assert_true(queue_put(q, &items[i]));
        if (i >= 2)
            assert_ptr_equal(queue_take(q), &items[i - 2]);
    }
    assert_int_equal(queue_length(q), 2);
    assert_ptr_equal(queue_take(q), &items[8]);
    assert_ptr_equal(queue_try_take(q), &items[9]);
    assert_null(queue_try_take(q));
    queue_free(NULL);
}

static void a_full_queue_takes_no_more(void **state)
{
    (void)state;
    CLEANUP(queue_free) struct queue *q = queue_new(1);
    int item;

    assert_true(queue_try_put(q, &item));
    assert_false(queue_try_put(q, &item));
    assert_int_equal(queue_length(q), 1);
}

static void a_closed_queue_gives_what_is_left_and_takes_nothing(void **state)
{
    (void)state;
    CLEANUP(queue_free) struct queue *q = queue_new(3);
    int items[2];

    assert_true(queue_put(q, &items[0]));
    assert_true(queue_put(q, &items[1]));
    queue_close(q);
    queue_close(q);
    assert_false(queue_put(q, &items[0]));
    assert_false(queue_try_put(q, &items[0]));
    assert_ptr_equal(queue_take(q), &items[0]);
    assert_ptr_equal(queue_take(q), &items[1]);
    assert_null(queue_take(q));
    assert_null(queue_try_take(q));
}

struct ends {
    struct queue *queue;
    atomic_bool may_end; /* set before the queue is closed */
    atomic_uint taken;
    atomic_uint sum;
};

enum { ITEMS = 5000 };
static unsigned numbers[ITEMS];

static struct error *produce(void *self)
{
    struct ends *e = self;

    for (unsigned i = 0; i < ITEMS; i++) {
        if (!queue_put(e->queue, &numbers[i]))
            return error_new(ERROR_BUG, "the queue was closed too early");
    }
    return NULL;
}

static struct error *consume(void *self)
{
    struct ends *e = self;

    for (const unsigned *n = queue_take(e->queue); n != NULL; n = queue_take(e->queue)) {
        atomic_fetch_add(&e->taken, 1);
        atomic_fetch_add(&e->sum, *n);
    }
    return e->may_end ? NULL : error_new(ERROR_BUG, "a queue that is not closed said that it has ended");
}

static void with_many_threads_every_item_is_taken_once(void **state)
{
    (void)state;
    CLEANUP(queue_free) struct queue *q = queue_new(7);
    struct ends e = {.queue = q};
    struct thread *producers[3], *consumers[3];

    for (unsigned i = 0; i < ITEMS; i++)
        numbers[i] = i;
    for (int i = 0; i < 3; i++) {
        producers[i] = started("producer", produce, &e);
        consumers[i] = started("consumer", consume, &e);
    }
    for (int i = 0; i < 3; i++)
        expect_ok(thread_join(producers[i]));
    e.may_end = true;
    queue_close(q);
    for (int i = 0; i < 3; i++)
        expect_ok(thread_join(consumers[i]));
    assert_int_equal(e.taken, 3 * ITEMS);
    assert_int_equal(e.sum, 3 * (ITEMS - 1) * ITEMS / 2);
    assert_int_equal(queue_length(q), 0);
}

static struct error *put_one_more(void *self)
{
    static int item;

    return queue_put(self, &item) ? NULL : error_new(ERROR_CANCELLED, "refused");
}

static void closing_wakes_who_waits_for_room_or_for_an_item(void **state)
{
    (void)state;
    CLEANUP(queue_free) struct queue *full = queue_new(1);
    CLEANUP(queue_free) struct queue *empty = queue_new(1);
    struct ends e = {.queue = empty, .may_end = true};
    int item;

    assert_true(queue_put(full, &item));
    struct thread *producers[] = {started("waits", put_one_more, full), started("waits", put_one_more, full)};
    struct thread *consumers[] = {started("waits", consume, &e), started("waits", consume, &e)};
    poll(NULL, 0, 20); /* so that most of them wait; right also when they do not yet */
    queue_close(full);
    queue_close(empty);
    for (int i = 0; i < 2; i++) {
        expect_error(thread_join(producers[i]), ERROR_CANCELLED, "refused");
        expect_ok(thread_join(consumers[i]));
    }
    assert_ptr_equal(queue_take(full), &item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_thread_is_what_its_function_returned),
        cmocka_unit_test(a_thread_has_its_name_cut_to_what_the_system_takes),
        cmocka_unit_test(signals_go_to_the_main_thread),
        cmocka_unit_test(a_thread_has_ended_once_its_function_returned),
        cmocka_unit_test(items_come_out_in_the_order_they_went_in),
        cmocka_unit_test(a_full_queue_takes_no_more),
        cmocka_unit_test(a_closed_queue_gives_what_is_left_and_takes_nothing),
        cmocka_unit_test(with_many_threads_every_item_is_taken_once),
        cmocka_unit_test(closing_wakes_who_waits_for_room_or_for_an_item),
    };

    return cmocka_run_group_tests_name("sys/thread_queue", tests, NULL, NULL);
}
