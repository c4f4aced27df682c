/*
 * Files and folders, with errors that name the path.
 *
 * Folders are made 0700 and files 0600: what is kept there names servers and may hold rows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/*
 * The error of a system call that failed with `number` (an errno): "<fmt>: No space left on device". ERROR_TRANSIENT for
 * what passes or is soon put right (no space, no descriptors left), else ERROR_CONFIG.
 */
MUST_USE RETURNS_NONNULL COLD PRINTF(2, 3)
struct error *file_error(int number, const char *fmt, ...);

/* Makes the folder and its missing parents; their names survive a power cut. */
MUST_USE struct error *folder_make(const char *path);

/* Removes the folder and everything in it, but follows no symbolic link. A missing one is fine. */
MUST_USE struct error *folder_remove(const char *path);

/* Names of the plain files in it, sorted, living in `a`. */
MUST_USE struct error *folder_list(struct arena *a, const char *path, char ***out_names, size_t *out_n);

/* *out_text is NULL when there is no such file. NUL-terminated, in `a`. More than 1 GiB is an error. */
MUST_USE struct error *file_read(struct arena *a, const char *path, char **out_text, size_t *out_length);

/*
 * All or nothing, also over a power cut: temporary file ("<path>.new"), fsync, rename, fsync of the folder. One writer
 * at a time for a path.
 */
MUST_USE struct error *file_replace(const char *path, const void *bytes, size_t length);

/* Missing is fine. */
MUST_USE struct error *file_remove(const char *path);

/*
 * An exclusive lock that ends with the process, on a file that says who holds it ("pid 4711, since ...").
 * When somebody else holds it: *out_lock is NULL and *out_holder (in `a`) is what the holder wrote ("" when it is just
 * about to). Else *out_holder is NULL. The file stays when the lock is released. Threads of one process exclude each
 * other too.
 */
struct file_lock;
MUST_USE struct error *file_lock_take(struct arena *a, const char *path, const char *who, struct file_lock **out_lock,
                                      char **out_holder);
void file_lock_release(struct file_lock *l);
DEFINE_CLEANUP(struct file_lock, file_lock_release);

/* A descriptor that closes when its variable leaves scope: `CLEANUP(fd_close) int fd = -1;`. Keeps errno. */
void fd_close_cleanup_(int *fd);

/* Closes it now and leaves -1 behind. */
void fd_close(int *fd);

/* As TAKE for pointers: yields the descriptor and leaves -1 behind. */
#define FD_TAKE(fd)           \
    __extension__({           \
        int taken_fd_ = (fd); \
        (fd) = -1;            \
        taken_fd_;            \
    })

/* Free bytes for us on the file system that holds `path`. */
MUST_USE struct error *disk_free_bytes(const char *path, uint64_t *out_bytes);
