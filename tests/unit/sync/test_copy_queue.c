#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sync/copy_queue.h"

/* Any order of pushes and pops comes out as a sort would have it. */
static void the_most_urgent_comes_first_and_of_equals_the_oldest(void **state)
{
    enum { JOBS = 500 };
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct copy_queue q = {.n = 0};
    struct copy_job *before = NULL;
    uint64_t random = 1;

    for (uint64_t i = 0; i < JOBS; i++) {
        struct copy_job *job = ARENA_NEW(a, struct copy_job);

        random = random * 6364136223846793005U + 1442695040888963407U;
        job->priority = (random >> 33) % 50;
        job->order = i;
        copy_queue_push(&q, a, job);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        struct copy_job *job = copy_queue_pop(&q);

        if (before != NULL)
            assert_true(before->priority > job->priority ||
                        (before->priority == job->priority && before->order < job->order));
        before = job;
    }
    assert_int_equal(q.n, 0);
}

static void an_emptied_queue_takes_jobs_again(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct copy_queue q = {.n = 0};
    struct copy_job late = {.priority = 1, .order = 2}, urgent = {.priority = 9, .order = 3};

    copy_queue_push(&q, a, &late);
    assert_ptr_equal(copy_queue_pop(&q), &late);
    copy_queue_push(&q, a, &late);
    copy_queue_push(&q, a, &urgent);
    assert_ptr_equal(copy_queue_pop(&q), &urgent);
    assert_ptr_equal(copy_queue_pop(&q), &late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_urgent_comes_first_and_of_equals_the_oldest),
        cmocka_unit_test(an_emptied_queue_takes_jobs_again),
    };

    return cmocka_run_group_tests_name("sync/copy_queue", tests, NULL, NULL);
}
