#include "sync/spool_relations.h"

#include "base/hash.h"
#include "base/memory.h"

enum { FIRST_CAPACITY = 64 };

void relations_drop(struct spool_relations *r)
{
    for (size_t i = 0; i < r->n; i++)
        buffer_drop(&r->held[i].bytes);
    free(r->held);
    free(r->slots);
    *r = (struct spool_relations){0};
}

/* Where the key is, or the free slot where it belongs. */
static uint32_t *slot_of(const struct spool_relations *r, uint64_t key)
{
    size_t at = hash_bytes(&key, sizeof key, 0) & (r->n_slots - 1);

    while (r->slots[at] != 0 && r->held[r->slots[at] - 1].key != key)
        at = (at + 1) & (r->n_slots - 1);
    return &r->slots[at];
}

/* Twice as many slots as relations at least, so that searches end soon. */
static void grow(struct spool_relations *r)
{
    r->capacity = r->capacity == 0 ? FIRST_CAPACITY : r->capacity * 2;
    r->held = memory_resize(r->held, r->capacity * sizeof *r->held, "relations of the spool");
    free(r->slots);
    r->n_slots = r->capacity * 2;
    r->slots = memory_new(r->n_slots * sizeof *r->slots, "relations of the spool");
    for (size_t i = 0; i < r->n; i++)
        *slot_of(r, r->held[i].key) = (uint32_t)(i + 1);
}

void relations_hold(struct spool_relations *r, uint32_t oid, bool is_type, const char *bytes, size_t length,
                    struct lsn wal)
{
    uint64_t key = (uint64_t)oid << 1 | is_type;

    if (r->n == r->capacity)
        grow(r);

    uint32_t *slot = slot_of(r, key);
    if (*slot == 0) {
        r->held[r->n++] = (struct held_relation){.key = key};
        *slot = (uint32_t)r->n;
    }
    struct held_relation *h = &r->held[*slot - 1];
    h->wal = wal;
    buffer_clear(&h->bytes);
    buffer_append(&h->bytes, bytes, length);
}
