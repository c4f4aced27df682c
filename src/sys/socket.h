/*
 * Local stream sockets (AF_UNIX) that carry frames: u32 length (big-endian), then that many bytes.
 *
 * Paths longer than sun_path allows work: the folder is opened and the socket is named through /proc/self/fd. A frame is
 * at most 16 MiB; a longer one is an error and ends the connection. Sockets are 0600; the other end's user is checked to
 * be ours, and a stranger is an error. Timeouts in milliseconds, -1 for none, are for the whole frame; one that runs out
 * and a connection that breaks are ERROR_TRANSIENT. After an error in a frame the connection is good for nothing but
 * close. Writing to who has gone raises no SIGPIPE. A descriptor belongs to one thread at a time.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

/* An old socket file in the way is replaced. The descriptor is non-blocking. */
MUST_USE struct error *socket_listen(const char *folder, const char *name, int *out_fd);

/* *out_fd is -1 when nobody waits. */
MUST_USE struct error *socket_accept(int listener, int *out_fd);

/* *out_fd is -1 when there is no such socket or nobody listens there. */
MUST_USE struct error *socket_connect(const char *folder, const char *name, int *out_fd);

enum { FRAME_LENGTH_MAX = 16 * 1024 * 1024 };

MUST_USE struct error *frame_write(int fd, const void *bytes, size_t length, int timeout_ms);

/* *out_bytes is NULL at a clean end of the stream. NUL-terminated, in `a`. */
MUST_USE struct error *frame_read(int fd, struct arena *a, int timeout_ms, char **out_bytes, size_t *out_length);
