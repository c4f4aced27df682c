#include "pg/left_out.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "sys/file.h"

enum {
    TOLD = 100, /* a database of another owner has one such statement for each of its objects */
    SLOTS_FIRST = 256,
};

#define MARK "-- left out: "

static const char preface[] =
    "-- What of the source is not on the target as it is there: each statement that was not run, under the reason.\n"
    "-- To be read, and run one by one by who may; not as a whole.\n";

struct left_out {
    pthread_mutex_t mutex; /* guards all below */
    char *path;
    int fd; /* -1 until the first is told */
    _Atomic uint64_t *count;
    uint64_t *hashes; /* of the texts that the file holds, open addressing; 0: free */
    size_t n_slots;   /* a power of two */
    bool write_has_failed;
};

/* ---- which ones are there ---- */

/* False when it was there. */
static bool put_hash(uint64_t *hashes, size_t n_slots, uint64_t hash)
{
    size_t at = hash & (n_slots - 1);

    for (; hashes[at] != 0; at = (at + 1) & (n_slots - 1))
        if (hashes[at] == hash)
            return false;
    hashes[at] = hash;
    return true;
}

static void grow(struct left_out *l)
{
    size_t n = l->n_slots == 0 ? SLOTS_FIRST : 2 * l->n_slots;
    uint64_t *more = memory_new(n * sizeof *more, "left out");

    for (size_t i = 0; i < l->n_slots; i++)
        if (l->hashes[i] != 0)
            (void)put_hash(more, n, l->hashes[i]);
    free(l->hashes);
    l->hashes = more;
    l->n_slots = n;
}

static bool note(struct left_out *l, const char *text, size_t length)
{
    uint64_t hash = hash_bytes(text, length, 0);

    if (2 * (atomic_load(l->count) + 1) > l->n_slots)
        grow(l);
    if (!put_hash(l->hashes, l->n_slots, hash == 0 ? 1 : hash))
        return false;
    atomic_fetch_add(l->count, 1);
    return true;
}

/* From one mark to the next. A last one that was not written whole is another text than the one that is told again. */
static void note_all(struct left_out *l, const char *text)
{
    const char *at = strstr(text, "\n" MARK);

    while (at != NULL) {
        const char *next = strstr(at + 1, "\n" MARK);

        (void)note(l, at, next == NULL ? strlen(at) : (size_t)(next - at));
        at = next;
    }
}

struct error *left_out_open(const char *path, _Atomic uint64_t *count, struct left_out **out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "left out");
    struct left_out *l;
    char *text = NULL;
    size_t length = 0;

    TRY(file_read(scratch, path, &text, &length));
    l = MEMORY_NEW(struct left_out);
    *l = (struct left_out){.path = strdup(path), .fd = -1, .count = count};
    pthread_mutex_init(&l->mutex, NULL);
    atomic_store(count, 0);
    if (text != NULL)
        note_all(l, text);
    *out = l;
    return NULL;
}

void left_out_close(struct left_out *l)
{
    if (l == NULL)
        return;
    fd_close(&l->fd);
    pthread_mutex_destroy(&l->mutex);
    free(l->hashes);
    free(l->path);
    free(l);
}

/* ---- telling ---- */

/* "\n-- left out: why\nstatement;\n". A reason of several lines stays a comment. */
static void put_text(struct buffer *b, const char *statement, const char *reason)
{
    size_t length = strlen(statement);

    buffer_append_text(b, "\n" MARK);
    for (; *reason != '\0'; reason++) {
        buffer_append_char(b, *reason);
        if (*reason == '\n')
            buffer_append_text(b, "--     ");
    }
    while (length > 0 && (statement[length - 1] == '\n' || statement[length - 1] == ' '))
        length--;
    buffer_printf(b, "\n%.*s%s\n", (int)length, statement, length > 0 && statement[length - 1] == ';' ? "" : ";");
}

static bool write_whole(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

static bool append(struct left_out *l, const struct buffer *text)
{
    if (l->fd < 0) {
        l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (l->fd >= 0 && lseek(l->fd, 0, SEEK_END) == 0 && !write_whole(l->fd, preface, strlen(preface)))
            return false;
    }
    return l->fd >= 0 && write_whole(l->fd, text->bytes, text->length);
}

static void tell_failure(struct left_out *l)
{
    if (!l->write_has_failed)
        log_warn("could not write to \"%s\": %m; what is left out is told here", l->path);
    l->write_has_failed = true;
}

/* False when it was there already. */
static bool put(struct left_out *l, const char *statement, const char *reason, uint64_t *out_n, bool *out_is_written)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    put_text(text, statement, reason);
    pthread_mutex_lock(&l->mutex);
    bool is_new = note(l, text->bytes, text->length);
    *out_is_written = !is_new || append(l, text);
    *out_n = atomic_load(l->count);
    if (!*out_is_written)
        tell_failure(l);
    pthread_mutex_unlock(&l->mutex);
    return is_new;
}

void left_out_note(struct left_out *l, const char *statement, const char *reason)
{
    uint64_t n = 0;
    bool is_written = false;

    (void)put(l, statement, reason, &n, &is_written);
}

void left_out_tell(struct left_out *l, const char *statement, const char *reason)
{
    int shown = (int)strcspn(statement, "\n");
    uint64_t n = 0;
    bool is_written = false;
    bool is_new = l != NULL && put(l, statement, reason, &n, &is_written);

    if (!is_new || (n > TOLD && is_written))
        log_debug("left out \"%.*s\": %s", shown, statement, reason);
    else
        log_warn("left out \"%.*s\": %s", shown, statement, reason);
    if (is_new && n == TOLD)
        log_warn("%d statements were left out; these and further ones are in \"%s\"", TOLD, l->path);
}
