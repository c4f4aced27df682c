#include "sync/pace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"

enum {
    BURST_US = 100 * 1000, /* of a speed that was not used up so much may be had at once */
    SECOND_US = 1000 * 1000,
};

struct pace {
    atomic_bool is_free; /* no limit at any time: nobody need take the mutex */
    pthread_mutex_t mutex;
    struct rate_plan plan;
    unsigned mb_per_s;     /* in force */
    int64_t paid_until_us; /* when everything that was read will have been allowed */
};

struct pace *pace_new(struct arena *a, const struct rate_plan *plan)
{
    struct pace *p = ARENA_NEW(a, struct pace);

    pthread_mutex_init(&p->mutex, NULL); /* holds nothing that would have to be given back */
    pace_set(p, plan);
    return p;
}

static unsigned minute_of_day(void)
{
    time_t now = (time_t)(clock_wall_us() / SECOND_US);
    struct tm local;

    localtime_r(&now, &local);
    return (unsigned)(local.tm_hour * 60 + local.tm_min);
}

/* What was read at another speed is forgiven: a debt of a slow hour would last into a fast one. */
static void look_at_clock(struct pace *p)
{
    unsigned mb_per_s = rate_plan_at(&p->plan, minute_of_day());

    if (mb_per_s == p->mb_per_s)
        return;
    p->mb_per_s = mb_per_s;
    p->paid_until_us = 0;
}

void pace_set(struct pace *p, const struct rate_plan *plan)
{
    pthread_mutex_lock(&p->mutex);
    p->plan = *plan;
    look_at_clock(p);
    pthread_mutex_unlock(&p->mutex);
    atomic_store(&p->is_free, !rate_plan_limits(plan));
}

struct rate_plan pace_plan(struct pace *p)
{
    pthread_mutex_lock(&p->mutex);
    struct rate_plan plan = p->plan;
    pthread_mutex_unlock(&p->mutex);
    return plan;
}

/* With the mutex held. */
static int take(struct pace *p, uint64_t bytes)
{
    int64_t now_us = clock_now_us();

    look_at_clock(p);
    if (p->mb_per_s == 0)
        return 0;
    if (p->paid_until_us < now_us - BURST_US)
        p->paid_until_us = now_us - BURST_US;
    p->paid_until_us += (int64_t)((double)bytes * SECOND_US / ((double)p->mb_per_s * RATE_BYTES_A_MB));

    int64_t wait_ms = (p->paid_until_us - now_us + 999) / 1000;
    return wait_ms <= 0 ? 0 : wait_ms < PACE_WAIT_MS ? (int)wait_ms : PACE_WAIT_MS;
}

int pace_take(struct pace *p, uint64_t bytes)
{
    if (atomic_load_explicit(&p->is_free, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&p->mutex);
    int wait_ms = take(p, bytes);
    pthread_mutex_unlock(&p->mutex);
    return wait_ms;
}

unsigned pace_now(struct pace *p)
{
    pthread_mutex_lock(&p->mutex);
    look_at_clock(p);
    unsigned mb_per_s = p->mb_per_s;
    pthread_mutex_unlock(&p->mutex);
    return mb_per_s;
}
