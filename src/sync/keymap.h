/*
 * A hash table from 64-bit hashes to things; the caller compares what has the same hash.
 *
 * Open addressing, never more than half full, doubling. Nothing is removed. Zeroed memory is an empty one with no room:
 * keymap_reserve first. One thread; lives in the arena, which keeps the smaller tables until it is reset.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct keymap_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};

struct keymap {
    struct keymap_slot *slots;
    size_t mask; /* slots - 1, a power of two less one */
    size_t n;
};

/* Room for `more` further items. Slots found before are no longer good. */
void keymap_reserve(struct keymap *m, struct arena *a, size_t more);

/* The first slot to look at, and the next one: until it is free or what is sought. */
static inline struct keymap_slot *keymap_first(const struct keymap *m, uint64_t hash)
{
    return &m->slots[hash & m->mask];
}

static inline struct keymap_slot *keymap_next(const struct keymap *m, const struct keymap_slot *slot)
{
    return &m->slots[(size_t)(slot - m->slots + 1) & m->mask];
}

/* Into a slot that is free, or over what it holds for this hash. */
static inline void keymap_put(struct keymap *m, struct keymap_slot *slot, uint64_t hash, void *item)
{
    m->n += slot->item == NULL;
    *slot = (struct keymap_slot){hash, item};
}
