#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600, READ_STEP = 64 * 1024, FILE_SIZE_MAX = 1024 * 1024 * 1024 };

static const int passing[] = {ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EAGAIN, EINTR, ENOBUFS};

static enum error_kind kind_of(int number)
{
    for (size_t i = 0; i < COUNT_OF(passing); i++) {
        if (passing[i] == number)
            return ERROR_TRANSIENT;
    }
    return ERROR_CONFIG;
}

struct error *file_error(int number, const char *fmt, ...)
{
    CLEANUP(buffer_free) struct buffer *what = buffer_new();
    va_list ap;

    va_start(ap, fmt);
    buffer_vprintf(what, fmt, ap);
    va_end(ap);
    errno = number; /* for %m, which unlike strerror is thread-safe */
    return error_new(kind_of(number), "%s: %m", buffer_text(what));
}

void fd_close_cleanup_(int *fd)
{
    fd_close(fd);
}

void fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

/* The folder in which `path` is named; "." for a bare name. */
static char *parent_of(struct arena *a, const char *path)
{
    char *parent = arena_strdup(a, path);
    size_t length = strlen(parent);

    while (length > 1 && parent[length - 1] == '/')
        parent[--length] = '\0';
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return arena_strdup(a, ".");
    slash[slash == parent ? 1 : 0] = '\0';
    return parent;
}

/* Names made, changed or removed in it are not safe before this. */
static struct error *folder_sync(const char *path)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return file_error(errno, "could not open folder \"%s\"", path);
    if (fsync(fd) != 0)
        return file_error(errno, "could not fsync folder \"%s\"", path);
    return NULL;
}

static struct error *make_with_parents(struct arena *a, const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? NULL : file_error(ENOTDIR, "could not make folder \"%s\"", path);

    char *parent = parent_of(a, path);
    if (strcmp(parent, path) != 0)
        TRY(make_with_parents(a, parent));
    if (mkdir(path, FOLDER_MODE) != 0 && errno != EEXIST) /* another process may have been faster */
        return file_error(errno, "could not make folder \"%s\"", path);
    return folder_sync(parent);
}

struct error *folder_make(const char *path)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "make folder");

    return make_with_parents(scratch, path);
}

/* An open folder being listed; owns its descriptor. */
static void close_folder(DIR *d)
{
    closedir(d);
}
DEFINE_CLEANUP(DIR, close_folder);

/* The next name but "." and ".."; NULL at the end. */
static struct error *next_entry(DIR *d, const char *path, const struct dirent **out_entry)
{
    const struct dirent *entry;

    do {
        errno = 0;
        entry = readdir(d); /* NOLINT(concurrency-mt-unsafe): the stream is this function's caller's own */
    } while (entry != NULL && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    if (entry == NULL && errno != 0)
        return file_error(errno, "could not list folder \"%s\"", path);
    *out_entry = entry;
    return NULL;
}

/* Opened from `at`; *out_folder is NULL when it is missing. */
static struct error *open_folder(int at, const char *name, const char *path, DIR **out_folder)
{
    CLEANUP(fd_close) int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        *out_folder = NULL;
        return NULL;
    }
    *out_folder = fd < 0 ? NULL : fdopendir(fd);
    if (*out_folder == NULL)
        return file_error(errno, "could not open folder \"%s\"", path);
    (void)FD_TAKE(fd); /* the stream's now */
    return NULL;
}

static struct error *remove_tree(struct arena *a, int at, const char *name, const char *path)
{
    CLEANUP(close_folder) DIR *folder = NULL;
    const struct dirent *entry = NULL;

    TRY(open_folder(at, name, path, &folder));
    if (folder == NULL)
        return NULL;
    for (;;) {
        TRY(next_entry(folder, path, &entry));
        if (entry == NULL)
            break;
        const char *inner = arena_printf(a, "%s/%s", path, entry->d_name);
        if (unlinkat(dirfd(folder), entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR)
            return file_error(errno, "could not remove file \"%s\"", inner);
        TRY(remove_tree(a, dirfd(folder), entry->d_name, inner));
    }
    if (unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return file_error(errno, "could not remove folder \"%s\"", path);
    return NULL;
}

struct error *folder_remove(const char *path)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "remove folder");

    return remove_tree(scratch, AT_FDCWD, path, path);
}

static struct error *is_plain_file(DIR *folder, const struct dirent *entry, const char *path, bool *out_is)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN) {
        *out_is = entry->d_type == DT_REG;
        return NULL;
    }
    /* Some file systems leave the type out. */
    if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOENT)
        return file_error(errno, "could not look at file \"%s/%s\"", path, entry->d_name);
    *out_is = S_ISREG(st.st_mode);
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct error *folder_list(struct arena *a, const char *path, char ***out_names, size_t *out_n)
{
    CLEANUP(close_folder) DIR *folder = opendir(path);
    CLEANUP(buffer_free) struct buffer *names = buffer_new(); /* of char pointers */
    const struct dirent *entry = NULL;

    if (folder == NULL)
        return file_error(errno, "could not open folder \"%s\"", path);
    for (;;) {
        bool is_file = false;

        TRY(next_entry(folder, path, &entry));
        if (entry == NULL)
            break;
        TRY(is_plain_file(folder, entry, path, &is_file));
        if (is_file) {
            char *name = arena_strdup(a, entry->d_name);
            buffer_append(names, &name, sizeof name);
        }
    }
    char **sorted = arena_alloc(a, names->length);
    size_t n = names->length / sizeof *sorted;

    if (n > 0) {
        memcpy(sorted, names->bytes, names->length);
        qsort(sorted, n, sizeof *sorted, compare_names);
    }
    *out_names = sorted;
    *out_n = n;
    return NULL;
}

static struct error *read_all(int fd, const char *path, struct buffer *content)
{
    for (;;) {
        ssize_t n = read(fd, buffer_reserve(content, READ_STEP), READ_STEP);

        if (n == 0)
            return NULL;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(errno, "could not read file \"%s\"", path);
        buffer_added(content, (size_t)n);
        if (content->length > FILE_SIZE_MAX)
            return error_new(ERROR_CONFIG, "cannot read file \"%s\": larger than %d bytes", path, (int)FILE_SIZE_MAX);
    }
}

struct error *file_read(struct arena *a, const char *path, char **out_text, size_t *out_length)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CLEANUP(buffer_free) struct buffer *content = buffer_new();

    if (fd < 0 && errno == ENOENT) {
        *out_text = NULL;
        *out_length = 0;
        return NULL;
    }
    if (fd < 0)
        return file_error(errno, "could not open file \"%s\"", path);
    TRY(read_all(fd, path, content));

    char *text = arena_bytes(a, content->length + 1);
    memcpy(text, buffer_text(content), content->length + 1);
    *out_text = text;
    *out_length = content->length;
    return NULL;
}

static struct error *write_all(int fd, const char *path, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(errno, "could not write file \"%s\"", path);
        bytes += n;
        length -= (size_t)n;
    }
    return NULL;
}

static struct error *write_new(const char *path, const void *bytes, size_t length)
{
    /* What a crash left of an earlier try is cut to nothing. */
    CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return file_error(errno, "could not make file \"%s\"", path);
    TRY(write_all(fd, path, bytes, length));
    if (fsync(fd) != 0)
        return file_error(errno, "could not fsync file \"%s\"", path);
    return NULL;
}

struct error *file_replace(const char *path, const void *bytes, size_t length)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "replace file");
    const char *temporary = arena_printf(scratch, "%s.new", path);
    struct error *err = write_new(temporary, bytes, length);

    if (err == NULL && rename(temporary, path) != 0)
        err = file_error(errno, "could not rename file \"%s\" to \"%s\"", temporary, path);
    if (err != NULL) {
        unlink(temporary);
        return err;
    }
    return folder_sync(parent_of(scratch, path));
}

struct error *file_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return file_error(errno, "could not remove file \"%s\"", path);
    return NULL;
}

struct file_lock {
    int fd;
};

void file_lock_release(struct file_lock *l)
{
    if (l == NULL)
        return;
    close(l->fd);
    free(l);
}

/* False when the file was removed or replaced after it was opened: a lock on it excludes nobody. */
static bool is_still_named(int fd, const char *path)
{
    struct stat opened, named;

    return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

/* *out_fd is -1 when somebody else holds it. */
static struct error *lock_file(const char *path, int *out_fd)
{
    for (;;) {
        CLEANUP(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);

        if (fd < 0)
            return file_error(errno, "could not open lock file \"%s\"", path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            if (errno == EINTR)
                continue;
            if (errno != EWOULDBLOCK)
                return file_error(errno, "could not lock file \"%s\"", path);
            *out_fd = -1;
            return NULL;
        }
        if (is_still_named(fd, path)) {
            *out_fd = FD_TAKE(fd);
            return NULL;
        }
    }
}

struct error *file_lock_take(struct arena *a, const char *path, const char *who, struct file_lock **out_lock,
                             char **out_holder)
{
    CLEANUP(fd_close) int fd = -1;

    TRY(lock_file(path, &fd));
    if (fd < 0) {
        char *holder = NULL;
        size_t length = 0;

        TRY(file_read(a, path, &holder, &length));
        *out_lock = NULL;
        *out_holder = holder == NULL ? arena_strdup(a, "") : holder;
        return NULL;
    }
    if (ftruncate(fd, 0) != 0)
        return file_error(errno, "could not truncate lock file \"%s\"", path);
    TRY(write_all(fd, path, who, strlen(who)));

    struct file_lock *l = MEMORY_NEW(struct file_lock);
    l->fd = FD_TAKE(fd);
    *out_lock = l;
    *out_holder = NULL;
    return NULL;
}

struct error *disk_free_bytes(const char *path, uint64_t *out_bytes)
{
    struct statvfs vfs;

    if (statvfs(path, &vfs) != 0)
        return file_error(errno, "could not look at the file system of \"%s\"", path);
    *out_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize; /* without what is kept for root */
    return NULL;
}
