#include "worker/spool_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "sys/file.h"
#include "worker/spool_pack.h"

enum {
    NAME_BYTES = 40,
    DIGITS = 12,
    PLAIN_OLDEST = 4, /* the next to be read */
    PLAIN_NEWEST = 2, /* the one being written, and the one that a cut may concern */
};

static const char suffix[] = ".spool";
static const char packed_suffix[] = ".spool.zst";
static const char made_suffix[] = ".spool.made"; /* half of something; removed when met */

struct spool_folder {
    const char *path;
    int fd;

    /* The segment being appended to; -1 when there is none. */
    int open_fd;
    uint64_t open_number;
    bool open_is_dirty;

    /* Of names, when a packed segment takes a plain one's place; and of the block that was unpacked last. */
    pthread_mutex_t lock;
    char *unpacked;
    size_t unpacked_length; /* 0: none */
    uint64_t unpacked_number, unpacked_block;

    bool names_are_dirty; /* a file was made or removed since the last sync */
    bool all_are_dirty;   /* nobody knows what the process before us has synced */
};

struct segment_name {
    char text[NAME_BYTES];
};

static struct segment_name name_with(uint64_t number, const char *ending)
{
    struct segment_name name;

    snprintf(name.text, sizeof name.text, "%0*" PRIu64 "%s", DIGITS, number, ending);
    return name;
}

static struct segment_name name_of(uint64_t number)
{
    return name_with(number, suffix);
}

/* False for a file that is none of ours. */
static bool parse_name(const char *text, uint64_t *out_number)
{
    char *end = NULL;
    uint64_t number = strtoull(text, &end, 10);

    if (strcmp(name_of(number).text, text) != 0 && strcmp(name_with(number, packed_suffix).text, text) != 0)
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
    for (size_t i = 0; i < n_names;
         i++) /* in the order of names: a segment both plain and packed comes twice in a row */
        if (parse_name(names[i], &numbers[n]) && (n == 0 || numbers[n] != numbers[n - 1]))
            n++;
    *out_numbers = numbers;
    *out_n = n;
    return NULL;
}

static int open_packed(const struct spool_folder *f, uint64_t number)
{
    return openat(f->fd, name_with(number, packed_suffix).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

MUST_USE static struct error *size(void *self, uint64_t number, uint64_t *out_bytes)
{
    const struct spool_folder *f = self;
    struct stat st;

    if (fstatat(f->fd, name_of(number).text, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        *out_bytes = (uint64_t)st.st_size;
        return NULL;
    }
    CLEANUP(fd_close) int fd = errno == ENOENT ? open_packed(f, number) : -1;
    return fd < 0 ? failure(f, "look at", number) : spool_packed_size(fd, out_bytes);
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

        if (fd < 0 && errno == ENOENT)
            continue; /* packed, and synced with that */
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

/* Good until the next call; *out_length is 0 behind the last block. Under the lock. */
MUST_USE static struct error *unpack_block(struct spool_folder *f, int fd, uint64_t number, uint64_t block)
{
    if (f->unpacked_length > 0 && f->unpacked_number == number && f->unpacked_block == block)
        return NULL;
    if (f->unpacked == NULL)
        f->unpacked = memory_resize(NULL, SPOOL_PACK_BLOCK_BYTES, "unpacked block of the spool");
    f->unpacked_length = 0;
    f->unpacked_number = number;
    f->unpacked_block = block;
    struct error *err = spool_packed_block(fd, block, f->unpacked, &f->unpacked_length);
    return err == NULL ? NULL : error_wrap(err, "reading \"%s/%s\"", f->path, name_with(number, packed_suffix).text);
}

/* NOLINTNEXTLINE(readability-function-size): what to read, from where and to where */
MUST_USE static struct error *copy_blocks(struct spool_folder *f, int fd, uint64_t number, uint64_t offset, char *out,
                                          size_t length, size_t *out_length)
{
    *out_length = 0;
    while (*out_length < length) {
        size_t from = (size_t)(offset % SPOOL_PACK_BLOCK_BYTES);

        TRY(unpack_block(f, fd, number, offset / SPOOL_PACK_BLOCK_BYTES));
        if (f->unpacked_length <= from)
            return NULL;
        size_t n = f->unpacked_length - from < length - *out_length ? f->unpacked_length - from : length - *out_length;
        memcpy(out + *out_length, f->unpacked + from, n);
        *out_length += n;
        offset += n;
    }
    return NULL;
}

MUST_USE static struct error *read_packed(struct spool_folder *f, uint64_t number, uint64_t offset, void *out,
                                          size_t length, size_t *out_length)
{
    CLEANUP(fd_close) int fd = open_packed(f, number);

    if (fd < 0)
        return failure(f, "open", number);
    pthread_mutex_lock(&f->lock);
    struct error *err = copy_blocks(f, fd, number, offset, out, length, out_length);
    pthread_mutex_unlock(&f->lock);
    return err;
}

/* Opened anew each time: a number may come again after a cut, and then a descriptor kept would show the old file. */
MUST_USE static struct error *read_segment(void *self, uint64_t number, uint64_t offset, void *out, size_t length,
                                           size_t *out_length)
{
    struct spool_folder *f = self;
    size_t got = 0;
    CLEANUP(fd_close) int fd = openat(f->fd, name_of(number).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT)
        return read_packed(f, number, offset, out, length, out_length);
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

/* Plain again, to be cut. Under the lock. */
MUST_USE static struct error *unpack_segment(struct spool_folder *f, uint64_t number)
{
    struct segment_name packed = name_with(number, packed_suffix);
    struct segment_name made = name_with(number, made_suffix);

    f->unpacked_length = 0;
    if (faccessat(f->fd, packed.text, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? NULL : failure(f, "look at", number);
    if (faccessat(f->fd, name_of(number).text, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
        TRY(spool_unpack(f->fd, packed.text, made.text));
        if (renameat(f->fd, made.text, f->fd, name_of(number).text) != 0)
            return failure(f, "rename", number);
    }
    f->names_are_dirty = true;
    return unlinkat(f->fd, packed.text, 0) == 0 ? NULL : failure(f, "remove", number);
}

/* Durable at once: cuts are rare, and what was cut must not come back. */
MUST_USE static struct error *truncate_segment(void *self, uint64_t number, uint64_t bytes)
{
    struct spool_folder *f = self;

    pthread_mutex_lock(&f->lock);
    struct error *err = unpack_segment(f, number);
    pthread_mutex_unlock(&f->lock);
    TRY(err);
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
    pthread_mutex_lock(&f->lock);
    bool is_gone = unlinkat(f->fd, name_of(number).text, 0) == 0 || errno == ENOENT;
    is_gone = is_gone && (unlinkat(f->fd, name_with(number, packed_suffix).text, 0) == 0 || errno == ENOENT);
    struct error *err = is_gone ? NULL : failure(f, "remove", number);
    f->unpacked_length = 0;
    pthread_mutex_unlock(&f->lock);
    f->names_are_dirty = true;
    return err;
}

/* ---- packing ---- */

/* The newest that may be: the reader comes to it last. Being read, an old one would be unpacked at once. */
MUST_USE static struct error *choose(struct spool_folder *f, uint64_t *out_number, uint64_t *out_bytes)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "spool folder");
    uint64_t *numbers = NULL;
    size_t n = 0;

    *out_number = 0;
    TRY(list(f, a, &numbers, &n));
    for (size_t i = n < PLAIN_NEWEST ? 0 : n - PLAIN_NEWEST; i-- > PLAIN_OLDEST;) {
        struct stat st;

        if (fstatat(f->fd, name_of(numbers[i]).text, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue; /* packed, or gone */
        *out_number = numbers[i];
        *out_bytes = (uint64_t)st.st_size;
        return NULL;
    }
    return NULL;
}

/* The packed file is durable; nothing must have happened to the plain one meanwhile. Under the lock. */
MUST_USE static struct error *take_its_place(struct spool_folder *f, uint64_t number, uint64_t bytes)
{
    struct segment_name made = name_with(number, made_suffix);
    struct stat st;

    if (fstatat(f->fd, name_of(number).text, &st, AT_SYMLINK_NOFOLLOW) != 0 || (uint64_t)st.st_size != bytes) {
        unlinkat(f->fd, made.text, 0);
        return NULL;
    }
    if (renameat(f->fd, made.text, f->fd, name_with(number, packed_suffix).text) != 0)
        return failure(f, "rename", number);
    if (fsync(f->fd) != 0)
        return file_error(errno, "could not fsync folder \"%s\"", f->path);
    return unlinkat(f->fd, name_of(number).text, 0) == 0 ? NULL : failure(f, "remove", number);
}

struct error *spool_folder_pack(struct segment_store store, bool *out_packed)
{
    struct spool_folder *f = store.self;
    uint64_t number = 0, bytes = 0;

    TRY(choose(f, &number, &bytes));
    *out_packed = number != 0;
    if (number == 0)
        return NULL;
    struct segment_name made = name_with(number, made_suffix);
    struct error *err = spool_pack(f->fd, name_of(number).text, made.text);
    if (err == NULL) {
        pthread_mutex_lock(&f->lock);
        err = take_its_place(f, number, bytes);
        pthread_mutex_unlock(&f->lock);
    } else {
        unlinkat(f->fd, made.text, 0);
    }
    return err;
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

/* What a dead process was packing. */
MUST_USE static struct error *remove_half_made(const struct spool_folder *f)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "spool folder");
    char **names = NULL;
    size_t n = 0;

    TRY(folder_list(a, f->path, &names, &n));
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(names[i]);

        if (length > strlen(made_suffix) && strcmp(names[i] + length - strlen(made_suffix), made_suffix) == 0 &&
            unlinkat(f->fd, names[i], 0) != 0 && errno != ENOENT)
            return file_error(errno, "could not remove \"%s/%s\"", f->path, names[i]);
    }
    return NULL;
}

struct error *spool_folder_open(struct arena *a, const char *path, struct segment_store *out_store)
{
    TRY(folder_make(path));

    struct spool_folder *f = ARENA_NEW(a, struct spool_folder);
    *f = (struct spool_folder){.path = arena_strdup(a, path), .open_fd = -1, .all_are_dirty = true};
    f->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return file_error(errno, "could not open folder \"%s\"", path);
    pthread_mutex_init(&f->lock, NULL);
    *out_store = (struct segment_store){.ops = &ops, .self = f};
    return remove_half_made(f);
}

void spool_folder_close(struct segment_store store)
{
    struct spool_folder *f = store.self;

    if (f == NULL)
        return;
    fd_close(&f->open_fd);
    fd_close(&f->fd);
    free(TAKE(f->unpacked));
    pthread_mutex_destroy(&f->lock);
}
