#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t frozen_us = -1;

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    int64_t us = atomic_load_explicit(&frozen_us, memory_order_relaxed);

    if (us >= 0)
        return us;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

void clock_set_for_test(int64_t us)
{
    atomic_store(&frozen_us, us);
}
