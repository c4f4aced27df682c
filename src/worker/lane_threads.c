#include "worker/lane_threads.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "sys/queue.h"
#include "sys/thread.h"

struct job {
    struct error *(*run)(void *work, unsigned lane);
    void *work;
    struct error *err;
};

struct member {
    struct lane_threads *threads;
    unsigned lane;
    struct queue *jobs;
    struct thread *thread;
};

struct lane_threads {
    unsigned n;
    struct job jobs[LANES_MAX];
    struct member members[LANES_MAX];
    struct queue *done;
};

static struct error *member_run(void *self)
{
    const struct member *m = self;
    struct job *job;

    while ((job = queue_take(m->jobs)) != NULL) {
        job->err = job->run(job->work, m->lane);
        if (!queue_put(m->threads->done, job))
            return NULL;
    }
    return NULL;
}

MUST_USE static struct error *member_start(struct lane_threads *t, unsigned lane)
{
    struct member *m = &t->members[lane];
    char name[16];

    m->threads = t;
    m->lane = lane;
    m->jobs = queue_new(1);
    snprintf(name, sizeof name, "lane %u", lane + 1);
    return thread_start(name, member_run, m, &m->thread);
}

struct error *lane_threads_start(unsigned n_lanes, struct lane_threads **out_threads)
{
    CLEANUP(lane_threads_stop) struct lane_threads *t = MEMORY_NEW(struct lane_threads);

    t->n = n_lanes;
    t->done = queue_new(LANES_MAX);
    for (unsigned i = 1; i < n_lanes; i++)
        TRY(member_start(t, i));
    *out_threads = TAKE(t);
    return NULL;
}

void lane_threads_stop(struct lane_threads *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 1; i < t->n; i++) {
        if (t->members[i].jobs != NULL)
            queue_close(t->members[i].jobs);
        if (t->members[i].thread != NULL)
            error_free(thread_join(TAKE(t->members[i].thread)));
        queue_free(TAKE(t->members[i].jobs));
    }
    queue_free(TAKE(t->done));
    free(t);
}

static void crew_run(void *self, unsigned n, struct error *(*job)(void *work, unsigned lane), void *work,
                     struct error **out_errors)
{
    struct lane_threads *t = self;
    unsigned n_given = 0;

    for (unsigned i = 1; i < n; i++) {
        t->jobs[i] = (struct job){.run = job, .work = work};
        n_given += queue_put(t->members[i].jobs, &t->jobs[i]);
    }
    out_errors[0] = job(work, 0);
    for (; n_given > 0; n_given--)
        (void)queue_take(t->done);
    for (unsigned i = 1; i < n; i++)
        out_errors[i] = TAKE(t->jobs[i].err);
}

struct lane_crew lane_threads_crew(struct lane_threads *t)
{
    return (struct lane_crew){.run = crew_run, .self = t};
}
