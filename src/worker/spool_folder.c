#include "worker/spool_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/file.h"

enum { NAME_BYTES = 40, DIGITS = 12 };

static const char suffix[] = ".spool";

struct spool_folder {
    const char *path;
    int fd;

    /* The segment being appended to; -1 when there is none. */
    int open_fd;
    uint64_t open_number;
    bool open_is_dirty;

    bool names_are_dirty; /* a file was made or removed since the last sync */
    bool all_are_dirty;   /* nobody knows what the process before us has synced */
};

struct segment_name {
    char text[NAME_BYTES];
};

static struct segment_name name_of(uint64_t number)
{
    struct segment_name name;

    snprintf(name.text, sizeof name.text, "%0*" PRIu64 "%s", DIGITS, number, suffix);
    return name;
}

/* False for a file that is none of ours. */
static bool parse_name(const char *text, uint64_t *out_number)
{
    char *end = NULL;
    uint64_t number = strtoull(text, &end, 10);

    if (strcmp(name_of(number).text, text) != 0)
        return false;
    *out_number = number;
    return true;
}

/* "could not <verb> \"<folder>/<segment>\": <cause>" for the errno of the call before. */
MUST_USE static struct error *failure(const struct spool_folder *f, const char *verb, uint64_t number)
{
    return file_error(errno, "could not %s \"%s/%s\"", verb, f->path, name_of(number).text);
}

MUST_USE static struct error *list(void *self, struct arena *a, uint64_t **out_numbers, size_t *out_n)
{
    const struct spool_folder *f = self;
    char **names = NULL;
    size_t n_names = 0;
    size_t n = 0;

    TRY(folder_list(a, f->path, &names, &n_names));

    uint64_t *numbers = arena_alloc(a, n_names * sizeof *numbers);
    for (size_t i = 0; i < n_names; i++)
        n += parse_name(names[i], &numbers[n]);
    *out_numbers = numbers;
    *out_n = n;
    return NULL;
}

MUST_USE static struct error *size(void *self, uint64_t number, uint64_t *out_bytes)
{
    const struct spool_folder *f = self;
    struct stat st;

    if (fstatat(f->fd, name_of(number).text, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return failure(f, "look at", number);
    *out_bytes = (uint64_t)st.st_size;
    return NULL;
}

/* A segment is not left before it is durable: then sync has one file to look after. */
MUST_USE static struct error *leave_open_segment(struct spool_folder *f)
{
    if (f->open_fd >= 0 && f->open_is_dirty && fdatasync(f->open_fd) != 0)
        return failure(f, "fdatasync", f->open_number);
    fd_close(&f->open_fd);
    f->open_is_dirty = false;
    return NULL;
}

MUST_USE static struct error *open_segment(struct spool_folder *f, uint64_t number)
{
    if (f->open_fd >= 0 && f->open_number == number)
        return NULL;
    TRY(leave_open_segment(f));
    f->open_fd = openat(f->fd, name_of(number).text, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->open_fd < 0)
        return failure(f, "open", number);
    f->open_number = number;
    f->names_are_dirty = true; /* it may just have been made */
    return NULL;
}

MUST_USE static struct error *append(void *self, uint64_t number, const void *bytes, size_t length)
{
    struct spool_folder *f = self;
    const char *at = bytes;

    TRY(open_segment(f, number));
    f->open_is_dirty = true;
    while (length > 0) {
        ssize_t n = write(f->open_fd, at, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_hint(failure(f, "write to", number),
                              "The spool keeps the source's changes until the target has them. "
                              "Make room on its file system; the sync goes on by itself.");
        at += n;
        length -= (size_t)n;
    }
    return NULL;
}

MUST_USE static struct error *sync_all(struct spool_folder *f)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "spool folder");
    uint64_t *numbers = NULL;
    size_t n = 0;

    TRY(list(f, a, &numbers, &n));
    for (size_t i = 0; i < n; i++) {
        CLEANUP(fd_close) int fd = openat(f->fd, name_of(numbers[i]).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0 || fsync(fd) != 0)
            return failure(f, "fsync", numbers[i]);
    }
    f->all_are_dirty = false;
    f->names_are_dirty = true;
    return NULL;
}

MUST_USE static struct error *sync_segments(void *self)
{
    struct spool_folder *f = self;

    if (f->all_are_dirty)
        TRY(sync_all(f));
    if (f->open_fd >= 0 && f->open_is_dirty && fdatasync(f->open_fd) != 0)
        return failure(f, "fdatasync", f->open_number);
    f->open_is_dirty = false;
    if (f->names_are_dirty && fsync(f->fd) != 0)
        return file_error(errno, "could not fsync folder \"%s\"", f->path);
    f->names_are_dirty = false;
    return NULL;
}

/* Opened anew each time: a number may come again after a cut, and then a descriptor kept would show the old file. */
MUST_USE static struct error *read_segment(void *self, uint64_t number, uint64_t offset, void *out, size_t length,
                                           size_t *out_length)
{
    const struct spool_folder *f = self;
    size_t got = 0;
    CLEANUP(fd_close) int fd = openat(f->fd, name_of(number).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return failure(f, "open", number);
    while (got < length) {
        ssize_t n = pread(fd, (char *)out + got, length - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure(f, "read", number);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *out_length = got;
    return NULL;
}

/* Durable at once: cuts are rare, and what was cut must not come back. */
MUST_USE static struct error *truncate_segment(void *self, uint64_t number, uint64_t bytes)
{
    struct spool_folder *f = self;

    TRY(open_segment(f, number));
    if (ftruncate(f->open_fd, (off_t)bytes) != 0)
        return failure(f, "truncate", number);
    return fsync(f->open_fd) == 0 ? NULL : failure(f, "fsync", number);
}

MUST_USE static struct error *remove_segment(void *self, uint64_t number)
{
    struct spool_folder *f = self;

    if (f->open_fd >= 0 && f->open_number == number) {
        fd_close(&f->open_fd);
        f->open_is_dirty = false;
    }
    if (unlinkat(f->fd, name_of(number).text, 0) != 0 && errno != ENOENT)
        return failure(f, "remove", number);
    f->names_are_dirty = true;
    return NULL;
}

static const struct segment_store_ops ops = {
    .list = list,
    .size = size,
    .append = append,
    .sync = sync_segments,
    .read = read_segment,
    .truncate = truncate_segment,
    .remove = remove_segment,
};

struct error *spool_folder_open(struct arena *a, const char *path, struct segment_store *out_store)
{
    TRY(folder_make(path));

    struct spool_folder *f = ARENA_NEW(a, struct spool_folder);
    *f = (struct spool_folder){.path = arena_strdup(a, path), .open_fd = -1, .all_are_dirty = true};
    f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return file_error(errno, "could not open folder \"%s\"", path);
    *out_store = (struct segment_store){.ops = &ops, .self = f};
    return NULL;
}

void spool_folder_close(struct segment_store store)
{
    struct spool_folder *f = store.self;

    if (f == NULL)
        return;
    fd_close(&f->open_fd);
    fd_close(&f->fd);
}
