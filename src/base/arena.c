#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/memory.h"

/* gcc says it by a macro, clang by a feature. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HAS_ADDRESS_SANITIZER
#endif

/* Under AddressSanitizer every allocation is a block of its own and has its exact size, so that overruns are seen. */
#ifdef HAS_ADDRESS_SANITIZER
enum { BLOCK_SIZE = 0, ALIGNMENT = 1 };
#else
enum { BLOCK_SIZE = 16 * 1024, ALIGNMENT = alignof(max_align_t) };
#endif

struct block {
    struct block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) char bytes[];
};

struct arena {
    const char *name;
    struct arena *parent;
    struct arena *children; /* first child */
    struct arena *sibling;  /* next child of the same parent */
    struct block *blocks;   /* newest first */
};

static size_t align_up(size_t n, size_t alignment)
{
    return (n + alignment - 1) / alignment * alignment;
}

struct arena *arena_new(struct arena *parent, const char *name)
{
    struct arena *a = memory_new(sizeof *a, name);

    a->name = name;
    a->parent = parent;
    if (parent != NULL) {
        a->sibling = parent->children;
        parent->children = a;
    }
    return a;
}

static void free_children(struct arena *a)
{
    struct arena *child = a->children;

    a->children = NULL;
    while (child != NULL) {
        struct arena *next = child->sibling;

        child->parent = NULL;
        arena_free(child);
        child = next;
    }
}

static void free_blocks(struct block *first)
{
    for (struct block *b = first, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
}

static void leave_parent(struct arena *a)
{
    struct arena **link = &a->parent->children;

    while (*link != a)
        link = &(*link)->sibling;
    *link = a->sibling;
}

void arena_free(struct arena *a)
{
    if (a == NULL)
        return;
    free_children(a);
    free_blocks(a->blocks);
    if (a->parent != NULL)
        leave_parent(a);
    free(a);
}

void arena_reset(struct arena *a)
{
    struct block *kept = a->blocks;

    free_children(a);
    if (kept == NULL)
        return;
    free_blocks(kept->next);
    kept->next = NULL;
    kept->used = 0;
    if (kept->size != BLOCK_SIZE) { /* a common one is kept: many arenas are reset once a message */
        free(kept);
        a->blocks = NULL;
    }
}

static struct block *add_block(struct arena *a, size_t at_least)
{
    size_t size = at_least > BLOCK_SIZE ? at_least : BLOCK_SIZE;
    struct block *b = memory_resize(NULL, sizeof *b + size, a->name);

    *b = (struct block){.next = a->blocks, .size = size};
    a->blocks = b;
    return b;
}

/* Aligned for `alignment`, a power of two up to ALIGNMENT. */
static char *take(struct arena *a, size_t size, size_t alignment)
{
    struct block *b = a->blocks;
    size_t start = b == NULL ? 0 : align_up(b->used, alignment);

    assert(size < PTRDIFF_MAX - sizeof *b - ALIGNMENT); /* a size that wraps around would pass for a small one */
    if (size == 0)
        size = 1;
    if (b == NULL || start > b->size || b->size - start < size) {
        b = add_block(a, size);
        start = 0;
    }
    b->used = start + size;
    return b->bytes + start;
}

char *arena_bytes(struct arena *a, size_t size)
{
    return take(a, size, ALIGNMENT);
}

void *arena_alloc(struct arena *a, size_t size)
{
    return memset(arena_bytes(a, size), 0, size);
}

char *arena_strdup(struct arena *a, const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(take(a, size, 1), text, size); /* texts are many and short: they stand side by side */
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int length = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    assert(length >= 0);

    size_t size = (size_t)length + 1;
    char *text = take(a, size, 1);
    vsnprintf(text, size, fmt, again);
    va_end(again);
    return text;
}

size_t arena_used(const struct arena *a)
{
    size_t total = 0;

    for (const struct block *b = a->blocks; b != NULL; b = b->next)
        total += b->used;
    for (const struct arena *c = a->children; c != NULL; c = c->sibling)
        total += arena_used(c);
    return total;
}
