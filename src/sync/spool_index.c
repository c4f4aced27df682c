#include "sync/spool_index.h"

#include "base/memory.h"

static const struct spool_place NOT_CUT = {UINT64_MAX, UINT64_MAX};

void index_init(struct spool_index *x)
{
    *x = (struct spool_index){.cut = NOT_CUT, .reader_at = UINT64_MAX};
    pthread_mutex_init(&x->mutex, NULL);
}

void index_drop(struct spool_index *x)
{
    free(x->segments);
    pthread_mutex_destroy(&x->mutex);
}

/* With the mutex held. */
static void add(struct spool_index *x, struct segment_info info)
{
    if (x->n == x->capacity) {
        x->capacity = x->capacity == 0 ? 16 : x->capacity * 2;
        x->segments = memory_resize(x->segments, x->capacity * sizeof *x->segments, "segments of the spool");
    }
    x->segments[x->n++] = info;
    x->bytes += info.bytes;
}

void index_push(struct spool_index *x, struct segment_info info)
{
    pthread_mutex_lock(&x->mutex);
    add(x, info);
    pthread_mutex_unlock(&x->mutex);
}

void index_grow(struct spool_index *x, uint64_t visible_bytes)
{
    pthread_mutex_lock(&x->mutex);
    struct segment_info *last = &x->segments[x->n - 1];
    x->bytes += visible_bytes - last->bytes;
    last->bytes = visible_bytes;
    pthread_mutex_unlock(&x->mutex);
}

/* With the mutex held. */
static void announce_cut(struct spool_index *x, struct spool_place place)
{
    if (place_before(place, x->cut))
        x->cut = place;
    x->generation++;
    x->bytes = 0;
    for (size_t i = 0; i < x->n; i++)
        x->bytes += x->segments[i].bytes;
}

void index_cut(struct spool_index *x, struct spool_place place)
{
    pthread_mutex_lock(&x->mutex);
    while (x->n > 1 && x->segments[x->n - 1].number > place.segment)
        x->n--;
    x->segments[x->n - 1].bytes = place.offset;
    announce_cut(x, place);
    pthread_mutex_unlock(&x->mutex);
}

void index_reset(struct spool_index *x, struct segment_info info)
{
    pthread_mutex_lock(&x->mutex);
    x->n = 0;
    add(x, info);
    announce_cut(x, (struct spool_place){0, 0});
    pthread_mutex_unlock(&x->mutex);
}

/*
 * Index of the newest segment where one can begin who has everything up to `from`, or n. All that came before a clean
 * segment ended at or before its base.
 */
static size_t newest_start(const struct spool_index *x, struct lsn from)
{
    for (size_t i = x->n; i > 0; i--) {
        const struct segment_info *s = &x->segments[i - 1];

        if (s->is_clean && !lsn_before(from, s->base))
            return i - 1;
    }
    return x->n;
}

bool index_oldest_unneeded(struct spool_index *x, struct lsn durable, uint64_t *out_number)
{
    pthread_mutex_lock(&x->mutex);
    size_t start = newest_start(x, durable);
    bool unneeded = start > 0 && start < x->n && x->segments[0].number < x->reader_at;
    if (unneeded)
        *out_number = x->segments[0].number;
    pthread_mutex_unlock(&x->mutex);
    return unneeded;
}

void index_remove_oldest(struct spool_index *x)
{
    pthread_mutex_lock(&x->mutex);
    x->bytes -= x->segments[0].bytes;
    x->n--;
    memmove(x->segments, x->segments + 1, x->n * sizeof *x->segments);
    pthread_mutex_unlock(&x->mutex);
}

/* With the mutex held. */
static enum start_verdict find_start(const struct spool_index *x, struct lsn from, size_t *out_i)
{
    if (x->reader_at != UINT64_MAX)
        return START_TAKEN;
    *out_i = newest_start(x, from);
    if (*out_i < x->n)
        return START_FOUND;
    *out_i = 0;
    return lsn_is_none(from) && x->segments[0].is_origin ? START_FOUND : START_TOO_OLD;
}

enum start_verdict index_start(struct spool_index *x, struct lsn from, uint64_t *out_segment, uint64_t *out_generation,
                               struct lsn *out_base)
{
    size_t i = 0;

    pthread_mutex_lock(&x->mutex);
    enum start_verdict verdict = find_start(x, from, &i);
    *out_base = x->segments[i].base;
    if (verdict == START_FOUND) {
        *out_segment = x->reader_at = x->segments[i].number;
        *out_generation = x->generation;
        x->cut = NOT_CUT;
    }
    pthread_mutex_unlock(&x->mutex);
    return verdict;
}

void index_leave(struct spool_index *x)
{
    pthread_mutex_lock(&x->mutex);
    x->reader_at = UINT64_MAX;
    pthread_mutex_unlock(&x->mutex);
}

uint64_t index_look(struct spool_index *x, uint64_t segment, bool *out_is_last)
{
    uint64_t bytes = 0;

    *out_is_last = true;
    pthread_mutex_lock(&x->mutex);
    x->reader_at = segment;
    uint64_t first = x->segments[0].number;
    if (segment >= first && segment - first < x->n) { /* else it was cut off: the generation tells */
        bytes = x->segments[segment - first].bytes;
        *out_is_last = segment - first == x->n - 1;
    }
    pthread_mutex_unlock(&x->mutex);
    return bytes;
}

bool index_still_good(struct spool_index *x, struct spool_place at, uint64_t *out_generation)
{
    pthread_mutex_lock(&x->mutex);
    bool good = !place_before(x->cut, at);
    if (good) {
        *out_generation = x->generation;
        x->cut = NOT_CUT;
    }
    pthread_mutex_unlock(&x->mutex);
    return good;
}
