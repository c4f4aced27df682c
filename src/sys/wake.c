#include "sys/wake.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "sys/deadline.h"

struct wake {
    int fd;
};

struct error *wake_new(struct wake **out_wake)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return error_new(ERROR_TRANSIENT, "could not make an event to wake a thread: %m");

    struct wake *w = MEMORY_NEW(struct wake);
    w->fd = fd;
    *out_wake = w;
    return NULL;
}

void wake_free(struct wake *w)
{
    if (w == NULL)
        return;
    close(w->fd);
    free(w);
}

void wake_ring(struct wake *w)
{
    static const uint64_t one = 1;

    (void)!write(w->fd, &one, sizeof one); /* fails only when the counter is full: then it has been rung */
}

int wake_fd(const struct wake *w)
{
    return w->fd;
}

void wake_clear(struct wake *w)
{
    uint64_t rings;

    (void)!read(w->fd, &rings, sizeof rings); /* fails when there was no ring */
}

bool wake_wait(struct wake *w, const struct stop *stop, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = w->fd, .events = POLLIN},
        {.fd = stop == NULL ? -1 : stop_fd(stop), .events = POLLIN},
    };
    int ready = deadline_poll(fds, COUNT_OF(fds), deadline_after_ms(timeout_ms));

    if (fds[0].revents != 0)
        wake_clear(w);
    return ready > 0;
}
