#include "model/compare.h"

#include <pthread.h>

static const char interrupted[] = "the comparison was interrupted";

struct compare_collector {
    struct arena *arena;
    struct compare_sink sink;
    struct compare_progress *progress;
    pthread_mutex_t mutex;
    struct compare_entry **entries;
    unsigned n_entries, room;
    const char **notes;
    unsigned n_notes;
    unsigned n_kept;
};

const char *compare_kind_name(enum compare_kind kind)
{
    static const char *const names[COMPARE_KIND_COUNT] = {
        [COMPARE_OBJECTS] = "object",
        [COMPARE_ROWS] = "rows",
        [COMPARE_VALUES] = "values",
        [COMPARE_ACCOUNTS] = "accounts",
    };

    return names[kind];
}

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[VERDICT_COUNT] = {
        [VERDICT_EQUAL] = "equal",
        [VERDICT_DIFFERENT] = "different",
        [VERDICT_NOT_COMPARED] = "not compared",
    };

    return names[verdict];
}

const char *difference_side_name(enum difference_side side)
{
    static const char *const names[DIFFERENCE_SIDE_COUNT] = {
        [ONLY_ON_SOURCE] = "only on source",
        [ONLY_ON_TARGET] = "only on target",
        [ON_BOTH] = "different",
    };

    return names[side];
}

const char *compare_step_name(enum compare_step step)
{
    static const char *const names[COMPARE_STEP_COUNT] = {
        [COMPARE_STARTING] = "connecting",   [COMPARE_ALIGNING] = "bringing both sides to one position",
        [COMPARE_COMPARING] = "comparing",   [COMPARE_REPAIRING] = "repairing",
        [COMPARE_AGAIN] = "comparing again",
    };

    return names[step];
}

struct compare_collector *compare_collector_new(struct arena *a, struct compare_sink sink,
                                                struct compare_progress *progress)
{
    struct compare_collector *c = ARENA_NEW(a, struct compare_collector);

    c->arena = a;
    c->sink = sink;
    c->progress = progress;
    pthread_mutex_init(&c->mutex, NULL);
    return c;
}

/* With the mutex held: room for one more pointer in a list that doubles. */
static void *room_for(struct arena *a, void *list, unsigned n)
{
    if (n != 0 && (n & (n - 1)) != 0)
        return list;
    void *wider = arena_alloc(a, (n == 0 ? 1 : 2 * (size_t)n) * sizeof(void *));
    if (n > 0)
        memcpy(wider, list, n * sizeof(void *));
    return wider;
}

struct compare_entry *compare_entry_begin(struct compare_collector *c, enum compare_kind kind, const char *name)
{
    pthread_mutex_lock(&c->mutex);
    struct compare_entry *e = ARENA_NEW(c->arena, struct compare_entry);
    *e = (struct compare_entry){
        .kind = kind, .name = arena_strdup(c->arena, name), .verdict = VERDICT_NOT_COMPARED, .reason = interrupted};
    c->entries = room_for(c->arena, c->entries, c->n_entries);
    c->entries[c->n_entries++] = e;
    pthread_mutex_unlock(&c->mutex);
    return e;
}

void compare_entry_done(struct compare_collector *c, struct compare_entry *e)
{
    pthread_mutex_lock(&c->mutex);
    if (e->reason == interrupted) {
        e->verdict = e->verdict == VERDICT_NOT_COMPARED ? VERDICT_EQUAL : e->verdict;
        e->reason = NULL;
    }
    pthread_mutex_unlock(&c->mutex);
}

static const char *copy_text(struct arena *a, const char *text)
{
    return text == NULL ? NULL : arena_strdup(a, text);
}

static const struct difference *copy_difference(struct arena *a, const struct difference *d)
{
    struct difference *copy = ARENA_NEW(a, struct difference);
    struct difference_column *columns = arena_alloc(a, (d->n_columns + 1U) * sizeof *columns);

    for (unsigned i = 0; i < d->n_columns; i++)
        columns[i] = (struct difference_column){.name = copy_text(a, d->columns[i].name),
                                                .source = copy_text(a, d->columns[i].source),
                                                .target = copy_text(a, d->columns[i].target)};
    *copy = (struct difference){.side = d->side,
                                .what = copy_text(a, d->what),
                                .identity = copy_text(a, d->identity),
                                .n_columns = d->n_columns,
                                .columns = columns,
                                .select_source = copy_text(a, d->select_source),
                                .select_target = copy_text(a, d->select_target),
                                .repair = copy_text(a, d->repair)};
    return copy;
}

void compare_entry_differs(struct compare_collector *c, struct compare_entry *e, const struct difference *d)
{
    pthread_mutex_lock(&c->mutex);
    e->verdict = VERDICT_DIFFERENT;
    e->n_differences[d->side]++;
    if (c->progress != NULL)
        atomic_fetch_add(&c->progress->n_differences, 1);
    if (e->n_kept < COMPARE_KEPT_EACH && c->n_kept < COMPARE_KEPT) {
        e->kept = room_for(c->arena, (void *)e->kept, e->n_kept);
        e->kept[e->n_kept++] = copy_difference(c->arena, d);
        c->n_kept++;
    }
    if (c->sink.found != NULL)
        c->sink.found(c->sink.self, e->kind, d);
    pthread_mutex_unlock(&c->mutex);
}

static void judge(struct compare_collector *c, struct compare_entry *e, enum verdict verdict, const char *reason)
{
    pthread_mutex_lock(&c->mutex);
    e->verdict = verdict;
    e->reason = copy_text(c->arena, reason);
    pthread_mutex_unlock(&c->mutex);
}

void compare_entry_is_different(struct compare_collector *c, struct compare_entry *e, const char *reason)
{
    judge(c, e, VERDICT_DIFFERENT, reason);
}

/* What was found before it could not be gone on with stays found. */
void compare_entry_not_compared(struct compare_collector *c, struct compare_entry *e, const char *reason)
{
    judge(c, e, e->verdict == VERDICT_DIFFERENT ? VERDICT_DIFFERENT : VERDICT_NOT_COMPARED, reason);
}

void compare_note(struct compare_collector *c, const char *sentence)
{
    pthread_mutex_lock(&c->mutex);
    c->notes = room_for(c->arena, (void *)c->notes, c->n_notes);
    c->notes[c->n_notes++] = arena_strdup(c->arena, sentence);
    pthread_mutex_unlock(&c->mutex);
}

static int by_kind_and_name(const void *left, const void *right)
{
    const struct compare_entry *const *l = left, *const *r = right;

    if ((*l)->kind != (*r)->kind)
        return (*l)->kind < (*r)->kind ? -1 : 1;
    return strcmp((*l)->name, (*r)->name);
}

void compare_result_close(struct compare_collector *c, struct compare_result *out)
{
    if (c->n_entries > 0)
        qsort((void *)c->entries, c->n_entries, sizeof *c->entries, by_kind_and_name);
    c->notes = room_for(c->arena, (void *)c->notes, c->n_notes);
    c->notes[c->n_notes] = NULL;
    out->entries = c->entries;
    out->n_entries = c->n_entries;
    out->notes = c->notes;
    pthread_mutex_destroy(&c->mutex);
}

enum verdict compare_verdict(const struct compare_result *r)
{
    enum verdict all = r->was_cancelled ? VERDICT_NOT_COMPARED : VERDICT_EQUAL;

    for (unsigned i = 0; i < r->n_entries; i++) {
        if (r->entries[i]->verdict == VERDICT_DIFFERENT)
            return VERDICT_DIFFERENT;
        if (r->entries[i]->verdict == VERDICT_NOT_COMPARED)
            all = VERDICT_NOT_COMPARED;
    }
    return all;
}

const char *compare_shortened(struct arena *a, const char *text, size_t max)
{
    if (text == NULL || strlen(text) <= max)
        return copy_text(a, text);
    while (max > 0 && ((unsigned char)text[max] & 0xC0U) == 0x80)
        max--;
    return arena_printf(a, "%.*s…", (int)max, text);
}
