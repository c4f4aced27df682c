#include "sync/keymap.h"

enum { FIRST_SLOTS = 256 };

void keymap_reserve(struct keymap *m, struct arena *a, size_t more)
{
    size_t slots = m->slots == NULL ? 0 : m->mask + 1;

    if ((m->n + more) * 2 <= slots)
        return;

    size_t wanted = slots == 0 ? FIRST_SLOTS : slots;
    while (wanted < (m->n + more) * 2)
        wanted *= 2;
    struct keymap wider = {.slots = arena_alloc(a, wanted * sizeof *wider.slots), .mask = wanted - 1, .n = m->n};

    for (size_t i = 0; i < slots; i++) {
        const struct keymap_slot *old = &m->slots[i];
        struct keymap_slot *slot = keymap_first(&wider, old->hash);

        if (old->item == NULL)
            continue;
        while (slot->item != NULL)
            slot = keymap_next(&wider, slot);
        *slot = *old;
    }
    *m = wider;
}
