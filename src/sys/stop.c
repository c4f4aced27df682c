#include "sys/stop.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/memory.h"
#include "sys/deadline.h"

struct stop {
    atomic_bool is_requested;
    int fd; /* written once for each request and read by nobody who waits, so that it stays readable for everyone */
};

struct error *stop_new(struct stop **out_stop)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return error_new(ERROR_TRANSIENT, "could not make an event for stop requests: %m");

    struct stop *s = MEMORY_NEW(struct stop);
    s->fd = fd;
    *out_stop = s;
    return NULL;
}

void stop_free(struct stop *s)
{
    if (s == NULL)
        return;
    close(s->fd);
    free(s);
}

void stop_request(struct stop *s)
{
    static const uint64_t one = 1;

    if (!atomic_exchange(&s->is_requested, true))
        (void)!write(s->fd, &one, sizeof one); /* the only one ever made there, so it cannot fail and change errno */
}

void stop_renew(struct stop *s)
{
    uint64_t one;

    if (atomic_load(&s->is_requested))
        (void)!read(s->fd, &one, sizeof one);
    atomic_store(&s->is_requested, false);
}

bool stop_requested(const struct stop *s)
{
    return atomic_load(&s->is_requested);
}

int stop_fd(const struct stop *s)
{
    return s->fd;
}

struct error *stop_check(const struct stop *s)
{
    return stop_requested(s) ? error_new(ERROR_CANCELLED, "stopped on request") : NULL;
}

bool stop_wait_ms(const struct stop *s, int ms)
{
    struct pollfd fds = {.fd = s->fd, .events = POLLIN};

    deadline_poll(&fds, 1, deadline_after_ms(ms));
    return stop_requested(s);
}
