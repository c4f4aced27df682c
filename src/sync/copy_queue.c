#include "sync/copy_queue.h"

#include <string.h>

enum { FIRST_JOBS = 64 };

bool copy_queue_is_before(const struct copy_job *a, const struct copy_job *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->order < b->order;
}

void copy_queue_push(struct copy_queue *q, struct arena *a, struct copy_job *job)
{
    size_t at = q->n;

    if (q->n == q->capacity) {
        size_t capacity = q->capacity == 0 ? FIRST_JOBS : q->capacity * 2;
        struct copy_job **jobs = arena_alloc(a, capacity * sizeof(struct copy_job *));

        if (q->n > 0)
            memcpy(jobs, q->jobs, q->n * sizeof(struct copy_job *));
        q->jobs = jobs;
        q->capacity = capacity;
    }
    q->n++;
    for (; at > 0 && copy_queue_is_before(job, q->jobs[(at - 1) / 2]); at = (at - 1) / 2)
        q->jobs[at] = q->jobs[(at - 1) / 2];
    q->jobs[at] = job;
}

struct copy_job *copy_queue_pop(struct copy_queue *q)
{
    struct copy_job *top = q->jobs[0];
    struct copy_job *last = q->jobs[--q->n];
    size_t at = 0;

    for (size_t child = 1; child < q->n; child = 2 * at + 1) {
        if (child + 1 < q->n && copy_queue_is_before(q->jobs[child + 1], q->jobs[child]))
            child++;
        if (!copy_queue_is_before(q->jobs[child], last))
            break;
        q->jobs[at] = q->jobs[child];
        at = child;
    }
    q->jobs[at] = last;
    return top;
}
