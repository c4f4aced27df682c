#include "support/memory_store.h"

#include "base/memory.h"

/* ---- disks ---- */

static void disk_drop(struct memory_disk *d)
{
    for (size_t i = 0; i < d->n; i++)
        buffer_drop(&d->segments[i].bytes);
    free(d->segments);
    *d = (struct memory_disk){0};
}

static struct buffer *disk_find(struct memory_disk *d, uint64_t number)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->segments[i].number == number)
            return &d->segments[i].bytes;
    return NULL;
}

static struct buffer *disk_make(struct memory_disk *d, uint64_t number)
{
    struct buffer *found = disk_find(d, number);
    size_t at = 0;

    if (found != NULL)
        return found;
    d->segments = memory_resize(d->segments, (d->n + 1) * sizeof *d->segments, "segments");
    while (at < d->n && d->segments[at].number < number)
        at++;
    memmove(d->segments + at + 1, d->segments + at, (d->n - at) * sizeof *d->segments);
    d->segments[at] = (struct memory_segment){.number = number};
    d->n++;
    return &d->segments[at].bytes;
}

static void disk_remove(struct memory_disk *d, uint64_t number)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->segments[i].number == number) {
            buffer_drop(&d->segments[i].bytes);
            d->n--;
            memmove(d->segments + i, d->segments + i + 1, (d->n - i) * sizeof *d->segments);
            return;
        }
}

static void disk_copy(struct memory_disk *to, const struct memory_disk *from)
{
    disk_drop(to);
    for (size_t i = 0; i < from->n; i++)
        buffer_append(disk_make(to, from->segments[i].number), from->segments[i].bytes.bytes,
                      from->segments[i].bytes.length);
}

static void disk_change(struct memory_disk *d, const struct memory_change *c, size_t append_bytes)
{
    struct buffer *segment = NULL;

    switch (c->kind) {
    case MEMORY_APPEND:
        buffer_append(disk_make(d, c->number), c->bytes.bytes, append_bytes);
        break;
    case MEMORY_TRUNCATE:
        segment = disk_find(d, c->number);
        if (segment != NULL && segment->length > c->size)
            segment->length = (size_t)c->size;
        break;
    case MEMORY_REMOVE:
        disk_remove(d, c->number);
        break;
    }
}

/* ---- the store ---- */

static void forget_changes(struct memory_store *m)
{
    for (size_t i = 0; i < m->n_changes; i++)
        buffer_drop(&m->changes[i].bytes);
    free(m->changes);
    m->changes = NULL;
    m->n_changes = 0;
}

static void change(struct memory_store *m, struct memory_change c)
{
    m->changes = memory_resize(m->changes, (m->n_changes + 1) * sizeof *m->changes, "changes");
    m->changes[m->n_changes++] = c;
    disk_change(&m->seen, &c, c.bytes.length);
}

void memory_store_init(struct memory_store *m)
{
    *m = (struct memory_store){0};
    pthread_mutex_init(&m->mutex, NULL);
}

void memory_store_drop(struct memory_store *m)
{
    forget_changes(m);
    disk_drop(&m->seen);
    disk_drop(&m->durable);
    pthread_mutex_destroy(&m->mutex);
}

/* Zeroes some of what was appended to the segment since the sync: blocks reach a disk in any order. */
static void make_hole(struct buffer *segment, size_t synced, uint64_t random)
{
    if (segment == NULL || segment->length <= synced)
        return;
    size_t unsynced = segment->length - synced;
    size_t from = random % unsynced;

    memset(segment->bytes + synced + from, 0, (unsynced - from + 1) / 2);
}

static size_t length_on(struct memory_disk *d, uint64_t number)
{
    const struct buffer *segment = disk_find(d, number);

    return segment == NULL ? 0 : segment->length;
}

void memory_store_crash(struct memory_store *m, uint64_t random)
{
    size_t n = random % (m->n_changes + 1);
    size_t lags_from = (random >> 10) % (n + 1); /* from here on nothing happened to one of the segments */
    uint64_t lagging = (random >> 56) % 2 == 0 && lags_from < n ? m->changes[lags_from].number : 0;
    uint64_t last = n > 0 ? m->changes[n - 1].number : 0;
    size_t synced = length_on(&m->durable, last);

    for (size_t i = 0; i < n; i++) {
        const struct memory_change *c = &m->changes[i];
        size_t length = c->bytes.length;

        if (i >= lags_from && c->number == lagging)
            continue;
        if (i == n - 1 && (random >> 50) % 2 == 0) /* torn */
            length -= (random >> 20) % (length + 1);
        disk_change(&m->durable, c, length);
        if (c->number == last && length_on(&m->durable, last) < synced)
            synced = length_on(&m->durable, last);
    }
    if ((random >> 60) < 4)
        make_hole(disk_find(&m->durable, last), synced, random >> 32);
    forget_changes(m);
    disk_copy(&m->seen, &m->durable);
}

struct buffer *memory_store_segment(struct memory_store *m, uint64_t number)
{
    return disk_find(&m->seen, number);
}

void memory_store_put(struct memory_store *m, uint64_t number, const void *bytes, size_t length)
{
    buffer_append(disk_make(&m->seen, number), bytes, length);
    disk_copy(&m->durable, &m->seen);
}

/* ---- calls ---- */

MUST_USE static struct error *list(void *self, struct arena *a, uint64_t **out_numbers, size_t *out_n)
{
    struct memory_store *m = self;

    TRY(fault_maybe(m->fault, "list"));
    *out_numbers = arena_alloc(a, m->seen.n * sizeof **out_numbers);
    *out_n = m->seen.n;
    for (size_t i = 0; i < m->seen.n; i++)
        (*out_numbers)[i] = m->seen.segments[i].number;
    return NULL;
}

MUST_USE static struct error *size(void *self, uint64_t number, uint64_t *out_bytes)
{
    struct memory_store *m = self;
    const struct buffer *segment = disk_find(&m->seen, number);

    TRY(fault_maybe(m->fault, "size"));
    if (segment == NULL)
        return error_new(ERROR_CONFIG, "there is no segment %llu", (unsigned long long)number);
    *out_bytes = segment->length;
    return NULL;
}

MUST_USE static struct error *append(void *self, uint64_t number, const void *bytes, size_t length)
{
    struct memory_store *m = self;
    struct error *err = fault_maybe(m->fault, "append");
    struct memory_change c = {.kind = MEMORY_APPEND, .number = number};

    buffer_append(&c.bytes, bytes, err == NULL ? length : length / 2);
    pthread_mutex_lock(&m->mutex);
    m->appends++;
    change(m, c);
    pthread_mutex_unlock(&m->mutex);
    return err;
}

MUST_USE static struct error *sync_all(void *self)
{
    struct memory_store *m = self;

    TRY(fault_maybe(m->fault, "sync"));
    for (size_t i = 0; i < m->n_changes; i++)
        disk_change(&m->durable, &m->changes[i], m->changes[i].bytes.length);
    forget_changes(m);
    return NULL;
}

/* By the reader's thread. */
MUST_USE static struct error *read_segment(void *self, uint64_t number, uint64_t offset, void *out, size_t length,
                                           size_t *out_length)
{
    struct memory_store *m = self;

    TRY(fault_maybe(m->fault, "read"));
    pthread_mutex_lock(&m->mutex);
    const struct buffer *segment = disk_find(&m->seen, number);
    *out_length = 0;
    if (segment != NULL && offset < segment->length) {
        size_t left = segment->length - (size_t)offset;

        *out_length = left < length ? left : length;
        memcpy(out, segment->bytes + offset, *out_length);
    }
    pthread_mutex_unlock(&m->mutex);
    return segment != NULL ? NULL : error_new(ERROR_CONFIG, "there is no segment %llu", (unsigned long long)number);
}

MUST_USE static struct error *truncate_segment(void *self, uint64_t number, uint64_t bytes)
{
    struct memory_store *m = self;

    TRY(fault_maybe(m->fault, "truncate"));
    pthread_mutex_lock(&m->mutex);
    change(m, (struct memory_change){.kind = MEMORY_TRUNCATE, .number = number, .size = bytes});
    pthread_mutex_unlock(&m->mutex);
    return NULL;
}

MUST_USE static struct error *remove_segment(void *self, uint64_t number)
{
    struct memory_store *m = self;

    TRY(fault_maybe(m->fault, "remove"));
    pthread_mutex_lock(&m->mutex);
    change(m, (struct memory_change){.kind = MEMORY_REMOVE, .number = number});
    pthread_mutex_unlock(&m->mutex);
    return NULL;
}

static const struct segment_store_ops ops = {
    .list = list,
    .size = size,
    .append = append,
    .sync = sync_all,
    .read = read_segment,
    .truncate = truncate_segment,
    .remove = remove_segment,
};

struct segment_store memory_store(struct memory_store *m)
{
    return (struct segment_store){.ops = &ops, .self = m};
}
