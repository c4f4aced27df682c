#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer every allocation is a block of its own and has its exact size, so that overruns are seen. */
#ifdef __SANITIZE_ADDRESS__
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

NORETURN static void out_of_memory(const struct arena *a, size_t size)
{
    fprintf(stderr, "out of memory: %zu more bytes for \"%s\"\n", size, a->name);
    abort();
}

static size_t align_up(size_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

struct arena *arena_new(struct arena *parent, const char *name)
{
    struct arena *a = calloc(1, sizeof *a);

    if (a == NULL) {
        fprintf(stderr, "out of memory: creating \"%s\"\n", name);
        abort();
    }
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

static void free_blocks(struct arena *a)
{
    for (struct block *b = a->blocks, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    a->blocks = NULL;
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
    free_blocks(a);
    if (a->parent != NULL)
        leave_parent(a);
    free(a);
}

void arena_reset(struct arena *a)
{
    free_children(a);
    free_blocks(a);
}

static struct block *add_block(struct arena *a, size_t at_least)
{
    size_t size = at_least > BLOCK_SIZE ? at_least : BLOCK_SIZE;
    struct block *b = malloc(sizeof *b + size);

    if (b == NULL)
        out_of_memory(a, size);
    *b = (struct block){.next = a->blocks, .size = size};
    a->blocks = b;
    return b;
}

char *arena_bytes(struct arena *a, size_t size)
{
    struct block *b = a->blocks;

    size = align_up(size == 0 ? 1 : size);
    if (b == NULL || b->size - b->used < size)
        b = add_block(a, size);

    char *p = b->bytes + b->used;
    b->used += size;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    return memset(arena_bytes(a, size), 0, size);
}

char *arena_strdup(struct arena *a, const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(arena_alloc(a, size), text, size);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int length = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);

    size_t size = (size_t)length + 1;
    char *text = arena_alloc(a, size);
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
