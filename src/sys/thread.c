#include "sys/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"

enum { MODEST = 19 };
enum { NAME_SIZE = 16 }; /* pthread_setname_np(3) refuses longer ones */

struct thread {
    pthread_t id;
    char name[NAME_SIZE];
    struct error *(*run)(void *self);
    void *self;
    struct error *result;
    atomic_bool has_ended;
};

static void *thread_main(void *arg)
{
    struct thread *t = arg;

    pthread_setname_np(pthread_self(), t->name);
    t->result = t->run(t->self);
    atomic_store(&t->has_ended, true);
    return NULL;
}

struct error *thread_start(const char *name, struct error *(*run)(void *self), void *self, struct thread **out_thread)
{
    struct thread *t = MEMORY_NEW(struct thread);
    sigset_t all, before;

    snprintf(t->name, sizeof t->name, "%.15s", name);
    t->run = run;
    t->self = self;

    /* A thread inherits the mask of its maker. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (failure != 0) {
        free(t);
        errno = failure;
        return error_new(ERROR_TRANSIENT, "could not start thread \"%s\": %m", name);
    }
    *out_thread = t;
    return NULL;
}

struct error *thread_join(struct thread *t)
{
    pthread_join(t->id, NULL);

    struct error *result = t->result;
    free(t);
    return result;
}

bool thread_ended(const struct thread *t)
{
    return atomic_load(&t->has_ended);
}

void thread_be_modest(void)
{
    setpriority(PRIO_PROCESS, (id_t)gettid(), MODEST); /* more niceness is never refused */
}

unsigned thread_processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}
