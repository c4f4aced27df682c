#include "model/progress.h"

#include <assert.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/macros.h"

struct item {
    bool is_active;
    char name[sizeof((struct progress_item *)NULL)->name];
    _Atomic uint64_t rows; /* added to without the mutex, often */
    _Atomic uint64_t bytes;
    uint64_t bytes_expected;
};

struct progress {
    struct progress_counters counters;
    _Atomic int phase;
    pthread_mutex_t mutex; /* guards `items`, but for their counters */
    struct item items[PROGRESS_ITEMS_MAX];
    struct arena *arena;
    _Atomic(const char *) left_out_file;
};

struct progress *progress_new(struct arena *a)
{
    struct progress *p = ARENA_NEW(a, struct progress);

    pthread_mutex_init(&p->mutex, NULL); /* holds nothing that would have to be given back */
    p->arena = a;
    return p;
}

struct progress_counters *progress_counters(struct progress *p)
{
    return &p->counters;
}

enum phase progress_phase(struct progress *p)
{
    return (enum phase)atomic_load(&p->phase);
}

void progress_set_phase(struct progress *p, enum phase phase)
{
    assert(phase < PHASE_COUNT);
    atomic_store(&p->phase, (int)phase);
}

void progress_set_left_out_file(struct progress *p, const char *path)
{
    atomic_store(&p->left_out_file, (const char *)arena_strdup(p->arena, path));
}

const char *progress_left_out_file(struct progress *p)
{
    return atomic_load(&p->left_out_file);
}

const char *phase_name(enum phase phase)
{
    static const char *const names[PHASE_COUNT] = {
        /* clang-format off */
        [PHASE_STARTING] = "starting",
        [PHASE_STRUCTURE] = "structure",
        [PHASE_DATA] = "data",
        [PHASE_INDEX] = "index",
        [PHASE_CATCH_UP] = "catch-up",
        [PHASE_OBJECTS] = "objects",
        [PHASE_INCREMENTAL] = "incremental",
        [PHASE_STOPPING] = "stopping",
        [PHASE_COMPLETED] = "completed",
        /* clang-format on */
    };

    assert(phase < PHASE_COUNT);
    return names[phase];
}

static bool is_inside_character(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80; /* UTF-8 continuation bytes are 10xxxxxx */
}

/* JSON takes no half characters, so the cut is before one. */
static void shorten(char *out, size_t size, const char *name)
{
    static const char ellipsis[] = "…";
    size_t length = strlen(name);

    if (length < size) {
        memcpy(out, name, length + 1);
        return;
    }
    length = size - sizeof ellipsis;
    while (length > 0 && is_inside_character(name[length]))
        length--;
    snprintf(out, size, "%.*s%s", (int)length, name, ellipsis);
}

void progress_item_begin(struct progress *p, unsigned slot, const char *name, uint64_t bytes_expected)
{
    assert(slot < PROGRESS_ITEMS_MAX);
    struct item *item = &p->items[slot];

    pthread_mutex_lock(&p->mutex);
    shorten(item->name, sizeof item->name, name);
    atomic_store_explicit(&item->rows, 0, memory_order_relaxed);
    atomic_store_explicit(&item->bytes, 0, memory_order_relaxed);
    item->bytes_expected = bytes_expected;
    item->is_active = true;
    pthread_mutex_unlock(&p->mutex);
}

void progress_item_add(struct progress *p, unsigned slot, uint64_t rows, uint64_t bytes)
{
    assert(slot < PROGRESS_ITEMS_MAX);
    atomic_fetch_add_explicit(&p->items[slot].rows, rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->items[slot].bytes, bytes, memory_order_relaxed);
}

void progress_item_end(struct progress *p, unsigned slot)
{
    assert(slot < PROGRESS_ITEMS_MAX);
    pthread_mutex_lock(&p->mutex);
    p->items[slot].is_active = false;
    pthread_mutex_unlock(&p->mutex);
}

static struct progress_item copy_of(struct item *item)
{
    struct progress_item copy = {
        .rows = atomic_load_explicit(&item->rows, memory_order_relaxed),
        .bytes = atomic_load_explicit(&item->bytes, memory_order_relaxed),
        .bytes_expected = item->bytes_expected,
    };

    memcpy(copy.name, item->name, sizeof copy.name);
    return copy;
}

unsigned progress_items(struct progress *p, struct progress_item *out, unsigned max)
{
    unsigned n = 0;

    pthread_mutex_lock(&p->mutex);
    for (unsigned i = 0; i < PROGRESS_ITEMS_MAX && n < max; i++) {
        if (p->items[i].is_active)
            out[n++] = copy_of(&p->items[i]);
    }
    pthread_mutex_unlock(&p->mutex);
    return n;
}

enum { TENTHS_DONE = 1000, TENTHS_ALMOST = 999 };

static int tenths_now(struct progress_step *s)
{
    uint64_t done = atomic_load_explicit(&s->done, memory_order_relaxed);
    uint64_t total = atomic_load_explicit(&s->total, memory_order_relaxed);

    if (atomic_load(&s->state) == STEP_DONE)
        return TENTHS_DONE;
    if (total == 0)
        return 0;

    double tenths = (double)done / (double)total * TENTHS_DONE;
    return tenths > TENTHS_ALMOST ? TENTHS_ALMOST : (int)tenths; /* totals of bytes are estimates: may be far above */
}

double progress_step_percent(struct progress_step *s)
{
    int now = tenths_now(s);
    int before = atomic_load(&s->shown);

    /* Several readers: the highest number that any of them was told stays. A failed exchange reads `before` anew. */
    while (before < now && !atomic_compare_exchange_weak(&s->shown, &before, now))
        ;
    return (double)(now > before ? now : before) / 10.0;
}

static int64_t read_us(const _Atomic int64_t *us)
{
    return atomic_load_explicit(us, memory_order_relaxed);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of those that came and are not applied; 0: none. */
static int64_t arrived_us(const struct progress_counters *c)
{
    return atomic_load(&c->arrived_lsn) > atomic_load(&c->applied_lsn) ? read_us(&c->arrived_us) : 0;
}

void progress_commit_came(struct progress_counters *c, struct lsn end, int64_t committed_us)
{
    if (arrived_us(c) != 0)
        return;
    atomic_store(&c->arrived_us, committed_us);
    atomic_store(&c->arrived_lsn, end.value);
}

/* Of two times the earlier one; 0 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

struct progress_delay progress_delay(const struct progress_counters *c)
{
    int64_t pending_us = earlier(read_us(&c->pending_us), arrived_us(c));
    int64_t unheard_us = read_us(&c->unheard_us);
    int64_t there_us = clock_wall_us() + read_us(&c->clock_offset_us);
    struct progress_delay d = {.total_us = read_us(&c->delay_us)};

    if (pending_us != 0)
        d.total_us = larger(1, there_us - pending_us);
    if (d.total_us > 0)
        d.receive_us = larger(0, read_us(&c->receive_us));
    if (unheard_us != 0)
        d.receive_us = larger(d.receive_us, clock_now_us() - unheard_us);
    d.total_us = larger(larger(0, d.total_us), d.receive_us);
    d.apply_us = d.total_us - d.receive_us;
    return d;
}
