#include "sys/deadline.h"

#include <errno.h>
#include <limits.h>

#include "base/clock.h"
#include "base/macros.h"

int64_t deadline_after_ms(int timeout_ms)
{
    return timeout_ms < 0 ? DEADLINE_NEVER : clock_now_us() + (int64_t)timeout_ms * 1000;
}

/* For poll: rounded up, so that it does not come back a moment too early and spin. */
static int left_ms(int64_t deadline_us)
{
    if (deadline_us == DEADLINE_NEVER)
        return -1;

    int64_t ms = (deadline_us - clock_now_us() + 999) / 1000;
    if (ms < 0)
        return 0;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int deadline_poll(struct pollfd *fds, size_t n, int64_t deadline_us)
{
    for (;;) {
        int ready = poll(fds, n, left_ms(deadline_us));

        if (ready >= 0)
            return ready;
        if (errno != EINTR) { /* no memory in the kernel: as everywhere, the end of the process */
            fprintf(stderr, "cannot wait for %zu descriptors: %m\n", n);
            abort();
        }
    }
}
