#include "pg/target_cache.h"

#include "base/hash.h"

struct entry {
    struct prepared prepared; /* first: what callers hold */
    struct entry *next_in_bucket;
    struct entry *older, *newer;
    uint64_t hash;
    void *key;
    size_t length;
};

struct statement_cache {
    struct entry *entries;
    struct entry **buckets;
    struct entry *newest, *oldest;
    uint64_t names; /* given so far; none is given twice */
    unsigned used;
    unsigned capacity;
};

static void *zeroed(size_t n, size_t size)
{
    void *memory = calloc(n, size);

    if (memory == NULL)
        abort();
    return memory;
}

struct statement_cache *statement_cache_new(unsigned capacity)
{
    struct statement_cache *c = zeroed(1, sizeof *c);

    c->entries = zeroed(capacity, sizeof *c->entries);
    c->buckets = zeroed(capacity, sizeof(struct entry *));
    c->capacity = capacity;
    return c;
}

void statement_cache_free(struct statement_cache *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->used; i++)
        free(c->entries[i].key);
    free(c->entries);
    free(c->buckets);
    free(c);
}

static struct entry **bucket_of(struct statement_cache *c, uint64_t hash)
{
    return &c->buckets[hash % c->capacity];
}

static void unlink_age(struct statement_cache *c, struct entry *e)
{
    if (e->newer == NULL)
        c->newest = e->older;
    else
        e->newer->older = e->older;
    if (e->older == NULL)
        c->oldest = e->newer;
    else
        e->older->newer = e->newer;
}

static void link_newest(struct statement_cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    if (c->newest != NULL)
        c->newest->newer = e;
    else
        c->oldest = e;
    c->newest = e;
}

static void unlink_bucket(struct statement_cache *c, const struct entry *e)
{
    struct entry **at = bucket_of(c, e->hash);

    while (*at != e)
        at = &(*at)->next_in_bucket;
    *at = e->next_in_bucket;
}

/* One that holds nothing, not in a bucket and not in the order of age. */
static struct entry *free_entry(struct statement_cache *c, char *evicted)
{
    struct entry *e;

    evicted[0] = '\0';
    if (c->used < c->capacity)
        return &c->entries[c->used++];
    e = c->oldest;
    unlink_age(c, e);
    unlink_bucket(c, e);
    if (e->prepared.state == PREPARED_DONE)
        memcpy(evicted, e->prepared.name, sizeof e->prepared.name);
    free(TAKE(e->key));
    return e;
}

struct prepared *statement_cache_get(struct statement_cache *c, const void *key, size_t length, char evicted[static 24])
{
    uint64_t hash = hash_bytes(key, length, 0);
    struct entry *e = *bucket_of(c, hash);

    evicted[0] = '\0';
    while (e != NULL && (e->hash != hash || e->length != length || memcmp(e->key, key, length) != 0))
        e = e->next_in_bucket;
    if (e != NULL) {
        unlink_age(c, e);
        link_newest(c, e);
        return &e->prepared;
    }
    e = free_entry(c, evicted);
    *e = (struct entry){.hash = hash, .length = length, .key = memcpy(zeroed(1, length + 1), key, length)};
    snprintf(e->prepared.name, sizeof e->prepared.name, "p%llu", (unsigned long long)++c->names);
    e->next_in_bucket = *bucket_of(c, hash);
    *bucket_of(c, hash) = e;
    link_newest(c, e);
    return &e->prepared;
}

void statement_cache_forget(struct statement_cache *c)
{
    for (unsigned i = 0; i < c->used; i++)
        c->entries[i].prepared.state = PREPARED_NOT;
}
