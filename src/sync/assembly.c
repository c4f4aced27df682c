#include "sync/assembly.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/cursor.h"

enum { FRAME_HEADER_BYTES = 8 }; /* length, subxid */

/* A transaction: blocks of whole messages in a segment of the store, then a tail in memory. */
struct held {
    uint32_t xid;
    uint64_t segment; /* 0: nothing stored yet */
    size_t *blocks;   /* their sizes, in order */
    size_t n_blocks;
    size_t n_room;
    uint64_t stored;
    struct buffer tail;
    struct buffer aborted; /* subxids, as uint32_t; sorted before they are looked for */
    struct held *next;
};

struct assembly {
    struct segment_store store;
    struct arena *arena; /* of one transaction's reading back */
    struct held *first;
    uint64_t n_segments; /* ever used */
    uint64_t stored;
};

static void held_free(struct held *h)
{
    buffer_drop(&h->tail);
    buffer_drop(&h->aborted);
    free(h->blocks);
    free(h);
}

static void forget_all(struct assembly *a)
{
    while (a->first != NULL) {
        struct held *h = a->first;

        a->first = h->next;
        held_free(h);
    }
    a->stored = 0;
}

MUST_USE static struct error *remove_stored(struct assembly *a)
{
    uint64_t *numbers = NULL;
    size_t n = 0;

    TRY(a->store.ops->list(a->store.self, a->arena, &numbers, &n));
    for (size_t i = 0; i < n; i++)
        TRY(a->store.ops->remove(a->store.self, numbers[i]));
    arena_reset(a->arena);
    return NULL;
}

struct error *assembly_open(struct segment_store store, struct assembly **out_assembly)
{
    CLEANUP(assembly_close) struct assembly *a = calloc(1, sizeof *a);

    if (a == NULL)
        abort();
    a->store = store;
    a->arena = arena_new(NULL, "transactions in the making");
    TRY(remove_stored(a));
    *out_assembly = TAKE(a);
    return NULL;
}

void assembly_close(struct assembly *a)
{
    if (a == NULL)
        return;
    forget_all(a);
    arena_free(a->arena);
    free(a);
}

struct error *assembly_reset(struct assembly *a)
{
    forget_all(a);
    return remove_stored(a);
}

static struct held **find(struct assembly *a, uint32_t xid)
{
    struct held **at = &a->first;

    while (*at != NULL && (*at)->xid != xid)
        at = &(*at)->next;
    return at;
}

static struct held *find_or_begin(struct assembly *a, uint32_t xid)
{
    struct held **at = find(a, xid);

    if (*at == NULL) {
        struct held *h = calloc(1, sizeof *h);

        if (h == NULL)
            abort();
        h->xid = xid;
        *at = h;
    }
    return *at;
}

static void note_block(struct held *h, size_t bytes)
{
    if (h->n_blocks == h->n_room) {
        h->n_room = h->n_room == 0 ? 16 : h->n_room * 2;
        h->blocks = realloc(h->blocks, h->n_room * sizeof *h->blocks);
        if (h->blocks == NULL)
            abort();
    }
    h->blocks[h->n_blocks++] = bytes;
}

MUST_USE static struct error *put_aside(struct assembly *a, struct held *h)
{
    if (h->segment == 0)
        h->segment = ++a->n_segments;
    TRY(a->store.ops->append(a->store.self, h->segment, h->tail.bytes, h->tail.length));
    note_block(h, h->tail.length);
    h->stored += h->tail.length;
    a->stored += h->tail.length;
    if (h->tail.capacity > (size_t)4 * ASSEMBLY_BLOCK_BYTES)
        buffer_drop(&h->tail); /* one huge message must not stay */
    buffer_clear(&h->tail);
    return NULL;
}

struct error *assembly_add(struct assembly *a, uint32_t xid, uint32_t subxid, const char *bytes, size_t length)
{
    struct held *h = find_or_begin(a, xid);

    buffer_append_u32(&h->tail, (uint32_t)length);
    buffer_append_u32(&h->tail, subxid);
    buffer_append(&h->tail, bytes, length);
    return h->tail.length < ASSEMBLY_BLOCK_BYTES ? NULL : put_aside(a, h);
}

MUST_USE static struct error *forget(struct assembly *a, struct held **at)
{
    struct held *h = *at;
    uint64_t segment = h->segment;

    *at = h->next;
    a->stored -= h->stored;
    held_free(h);
    return segment == 0 ? NULL : a->store.ops->remove(a->store.self, segment);
}

struct error *assembly_abort(struct assembly *a, uint32_t xid, uint32_t subxid)
{
    struct held **at = find(a, xid);

    if (*at == NULL)
        return NULL;
    if (xid == subxid)
        return forget(a, at);
    buffer_append(&(*at)->aborted, &subxid, sizeof subxid);
    return NULL;
}

static int compare_xids(const void *left, const void *right)
{
    uint32_t l, r;

    memcpy(&l, left, sizeof l);
    memcpy(&r, right, sizeof r);
    return l < r ? -1 : l > r;
}

static void sort_aborted(struct held *h)
{
    if (h->aborted.length > 0)
        qsort(h->aborted.bytes, h->aborted.length / sizeof(uint32_t), sizeof(uint32_t), compare_xids);
}

/* Loops with a savepoint a row abort as many as there are rows. */
static bool is_aborted(const struct held *h, uint32_t subxid)
{
    return h->aborted.length > 0 &&
           bsearch(&subxid, h->aborted.bytes, h->aborted.length / sizeof subxid, sizeof subxid, compare_xids) != NULL;
}

MUST_USE static struct error *give(const struct held *h, const char *bytes, size_t length, struct assembly_sink sink)
{
    struct cursor c = cursor_over(bytes, length);

    while (cursor_left(&c) >= FRAME_HEADER_BYTES) {
        uint32_t size = cursor_u32(&c);
        uint32_t subxid = cursor_u32(&c);
        const char *message = cursor_bytes(&c, size);

        if (message != NULL && !is_aborted(h, subxid))
            TRY(sink.take(sink.self, message, size));
    }
    return c.failed ? error_new(ERROR_DATA, "what was put aside of transaction %u is damaged", h->xid) : NULL;
}

MUST_USE static struct error *give_blocks(struct assembly *a, const struct held *h, struct assembly_sink sink)
{
    uint64_t offset = 0;

    for (size_t i = 0; i < h->n_blocks; i++) {
        size_t got = 0;

        arena_reset(a->arena);
        char *bytes = arena_bytes(a->arena, h->blocks[i]);
        TRY(a->store.ops->read(a->store.self, h->segment, offset, bytes, h->blocks[i], &got));
        TRY(give(h, bytes, got, sink));
        offset += h->blocks[i];
    }
    arena_reset(a->arena);
    return NULL;
}

struct error *assembly_commit(struct assembly *a, uint32_t xid, struct assembly_sink sink)
{
    struct held **at = find(a, xid);

    if (*at == NULL)
        return NULL;
    sort_aborted(*at);
    TRY(give_blocks(a, *at, sink));
    TRY(give(*at, (*at)->tail.bytes, (*at)->tail.length, sink));
    return forget(a, at);
}

uint64_t assembly_stored_bytes(const struct assembly *a)
{
    return a->stored;
}
