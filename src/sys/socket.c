#include "sys/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/deadline.h"
#include "sys/file.h"

enum { WAITING_MAX = 16, SOCKET_MODE = 0600 };

/* Good while `folder_fd` is open: a path through it is short however deep the folder lies. */
static struct error *address_in(int folder_fd, const char *name, struct sockaddr_un *out_address)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", folder_fd, name);

    if (length < 0 || (size_t)length >= sizeof address.sun_path)
        return error_new(ERROR_BUG, "the name of socket \"%s\" is too long", name);
    *out_address = address;
    return NULL;
}

static struct error *new_socket(const char *folder, const char *name, int *out_fd)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return file_error(errno, "could not make socket \"%s/%s\"", folder, name);
    *out_fd = fd;
    return NULL;
}

struct error *socket_listen(const char *folder, const char *name, int *out_fd)
{
    CLEANUP(fd_close) int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_close) int fd = -1;
    struct sockaddr_un address;

    if (folder_fd < 0)
        return file_error(errno, "could not open folder \"%s\"", folder);
    TRY(address_in(folder_fd, name, &address));
    TRY(new_socket(folder, name, &fd));
    if (unlinkat(folder_fd, name, 0) != 0 && errno != ENOENT)
        return file_error(errno, "could not remove old socket \"%s/%s\"", folder, name);

    /* On Linux the file that bind makes gets the mode of the socket: at no moment can others connect. */
    if (fchmod(fd, SOCKET_MODE) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, WAITING_MAX) != 0)
        return file_error(errno, "could not listen on socket \"%s/%s\"", folder, name);
    *out_fd = FD_TAKE(fd);
    return NULL;
}

static struct error *check_user(int fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return file_error(errno, "could not ask who is at the other end of a local socket");
    if (peer.uid != geteuid())
        return error_new(ERROR_CONFIG, "refused a local connection with user id %u: ours is %u", (unsigned)peer.uid,
                         (unsigned)geteuid());
    return NULL;
}

static bool is_nobody_waiting(int number)
{
    return number == EAGAIN || number == ECONNABORTED; /* the second came and went */
}

struct error *socket_accept(int listener, int *out_fd)
{
    CLEANUP(fd_close) int fd = -1;

    do {
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 && !is_nobody_waiting(errno))
        return file_error(errno, "could not accept a local connection");
    if (fd >= 0)
        TRY(check_user(fd));
    *out_fd = FD_TAKE(fd);
    return NULL;
}

static bool is_nobody_listening(int number)
{
    return number == ENOENT || number == ECONNREFUSED;
}

struct error *socket_connect(const char *folder, const char *name, int *out_fd)
{
    CLEANUP(fd_close) int folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_close) int fd = -1;
    struct sockaddr_un address;

    if (folder_fd < 0 && errno != ENOENT)
        return file_error(errno, "could not open folder \"%s\"", folder);
    if (folder_fd < 0) {
        *out_fd = -1;
        return NULL;
    }
    TRY(address_in(folder_fd, name, &address));
    TRY(new_socket(folder, name, &fd));
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        if (!is_nobody_listening(errno)) /* EAGAIN: WAITING_MAX others were faster */
            return file_error(errno, "could not connect to socket \"%s/%s\"", folder, name);
        *out_fd = -1;
        return NULL;
    }
    TRY(check_user(fd));
    *out_fd = FD_TAKE(fd);
    return NULL;
}

static struct error *wait_until_ready(int fd, short events, int64_t deadline_us, const char *attempt)
{
    struct pollfd waited = {.fd = fd, .events = events};

    if (deadline_poll(&waited, 1, deadline_us) == 0)
        return error_new(ERROR_TRANSIENT, "could not %s in time", attempt);
    return NULL;
}

static bool is_for_later(int number)
{
    return number == EAGAIN || number == EINTR;
}

static struct error *send_all(int fd, const char *bytes, size_t length, int64_t deadline_us)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            bytes += n;
            length -= (size_t)n;
            continue;
        }
        if (!is_for_later(errno))
            return error_new(ERROR_TRANSIENT, "could not write to a local connection: %m");
        TRY(wait_until_ready(fd, POLLOUT, deadline_us, "write to a local connection"));
    }
    return NULL;
}

struct error *frame_write(int fd, const void *bytes, size_t length, int timeout_ms)
{
    int64_t deadline_us = deadline_after_ms(timeout_ms);
    uint32_t header = htonl((uint32_t)length);

    if (length > FRAME_LENGTH_MAX)
        return error_new(ERROR_DATA, "cannot send a message of %zu bytes: the longest has %d", length,
                         (int)FRAME_LENGTH_MAX);
    TRY(send_all(fd, (const char *)&header, sizeof header, deadline_us));
    return send_all(fd, bytes, length, deadline_us);
}

/* *out_length is less than `length` only when the other end has closed. */
static struct error *receive(int fd, char *bytes, size_t length, int64_t deadline_us, size_t *out_length)
{
    size_t got = 0;

    while (got < length) {
        ssize_t n = recv(fd, bytes + got, length - got, MSG_DONTWAIT);

        if (n == 0)
            break;
        if (n > 0) {
            got += (size_t)n;
            continue;
        }
        if (!is_for_later(errno))
            return error_new(ERROR_TRANSIENT, "could not read from a local connection: %m");
        TRY(wait_until_ready(fd, POLLIN, deadline_us, "read from a local connection"));
    }
    *out_length = got;
    return NULL;
}

static struct error *cut_off(void)
{
    return error_new(ERROR_TRANSIENT, "could not read from a local connection: it ended inside a message");
}

struct error *frame_read(int fd, struct arena *a, int timeout_ms, char **out_bytes, size_t *out_length)
{
    int64_t deadline_us = deadline_after_ms(timeout_ms);
    uint32_t header = 0;
    size_t got = 0;

    TRY(receive(fd, (char *)&header, sizeof header, deadline_us, &got));
    if (got == 0) {
        *out_bytes = NULL;
        *out_length = 0;
        return NULL;
    }
    size_t length = ntohl(header);
    if (got < sizeof header)
        return cut_off();
    if (length > FRAME_LENGTH_MAX)
        return error_new(ERROR_DATA, "cannot read a message of %zu bytes: the longest has %d", length,
                         (int)FRAME_LENGTH_MAX);

    char *bytes = arena_bytes(a, length + 1);
    TRY(receive(fd, bytes, length, deadline_us, &got));
    if (got < length)
        return cut_off();
    bytes[length] = '\0';
    *out_bytes = bytes;
    *out_length = length;
    return NULL;
}
