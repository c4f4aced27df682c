#include "sync/window.h"

#include <assert.h>

#include "sync/division.h"

enum { ROWS_DEFAULT = 50000, BATCH_ROWS_DEFAULT = 10000, LANE_ROWS_DEFAULT = 500, FIRST_CAPACITY = 64 };

#define BYTES_DEFAULT       ((size_t)16 << 20)
#define BATCH_BYTES_DEFAULT ((size_t)4 << 20)

struct window {
    struct arena *arena;
    struct window_limits limits;

    struct change *changes;
    size_t n_changes, changes_capacity;
    struct window_transaction *transactions;
    size_t n_transactions, transactions_capacity;
    struct window_message *first_message, *last_message;
    struct lsn upto;

    size_t n_dropped;
    size_t n_bytes;
    bool is_open;
    bool is_closed;
    bool is_divided;
    struct arena *scratch;
    struct fold *fold;   /* of the part being filled, when it is not divided */
    struct fold **lanes; /* when it is */
    struct window_part parts[WINDOW_PART_COUNT];
};

struct window *window_new(struct arena *parent, struct window_limits limits)
{
    struct window *w = ARENA_NEW(parent, struct window);

    w->arena = arena_new(parent, "window");
    w->scratch = arena_new(parent, "window key");
    w->limits = (struct window_limits){
        .rows = limits.rows == 0 ? ROWS_DEFAULT : limits.rows,
        .bytes = limits.bytes == 0 ? BYTES_DEFAULT : limits.bytes,
        .fold = {.batch_rows = limits.fold.batch_rows == 0 ? BATCH_ROWS_DEFAULT : limits.fold.batch_rows,
                 .batch_bytes = limits.fold.batch_bytes == 0 ? BATCH_BYTES_DEFAULT : limits.fold.batch_bytes},
        .lanes = limits.lanes,
        .lane_rows = limits.lane_rows == 0 ? LANE_ROWS_DEFAULT : limits.lane_rows,
        .lanes_from = limits.lanes_from,
    };
    window_reset(w);
    return w;
}

void window_reset(struct window *w)
{
    arena_reset(w->arena);
    *w = (struct window){.arena = w->arena, .scratch = w->scratch, .limits = w->limits};
    w->fold = fold_new(w->arena, w->limits.fold);
    w->is_divided = w->limits.lanes > 1;
    w->lanes = arena_alloc(w->arena, (w->limits.lanes + 1UL) * sizeof(struct fold *));
    for (unsigned i = 0; w->is_divided && i < w->limits.lanes; i++)
        w->lanes[i] = fold_new(w->arena, w->limits.fold);
}

struct arena *window_arena(struct window *w)
{
    return w->arena;
}

/* Arrays grow by doubling in the arena: what the smaller ones held is given back with the rest. */
static void *grown(struct arena *a, const void *items, size_t n, size_t size, size_t *capacity)
{
    size_t wider = *capacity == 0 ? FIRST_CAPACITY : 2 * *capacity;
    void *copy = arena_bytes(a, wider * size);

    if (n > 0)
        memcpy(copy, items, n * size);
    *capacity = wider;
    return copy;
}

void window_begin(struct window *w, uint32_t xid, struct lsn commit, int64_t committed_us, bool continues)
{
    assert(!w->is_closed && !w->is_open);
    assert(!continues || w->n_transactions == 0);
    w->is_divided = w->is_divided && !continues; /* one session has it open */
    if (w->n_transactions == w->transactions_capacity)
        w->transactions =
            grown(w->arena, w->transactions, w->n_transactions, sizeof *w->transactions, &w->transactions_capacity);
    w->transactions[w->n_transactions++] = (struct window_transaction){
        .xid = xid,
        .begins = !continues,
        .commit = commit,
        .committed_us = committed_us,
        .first_change = w->n_changes,
    };
    w->is_open = true;
}

static struct window_transaction *open_transaction(const struct window *w)
{
    assert(w->is_open && !w->is_closed);
    return &w->transactions[w->n_transactions - 1];
}

static void append_change(struct window *w, struct change c)
{
    if (w->n_changes == w->changes_capacity)
        w->changes = grown(w->arena, w->changes, w->n_changes, sizeof *w->changes, &w->changes_capacity);
    w->changes[w->n_changes++] = c;
    open_transaction(w)->n_changes++;
}

/* (G2) What the table's copy has seen must not be applied again, and everything else must be. */
static bool is_let_through(const struct window *w, const struct target_table *table)
{
    const struct window_transaction *t = open_transaction(w);

    if (table->mode == TABLE_IGNORED)
        return false;
    return table->gate == NULL || gate_lets_through(table->gate, t->xid, t->commit);
}

void window_change(struct window *w, const struct target_table *table, const struct event *event)
{
    if (!is_let_through(w, table)) {
        w->n_dropped++;
        return;
    }
    append_change(w, change_from_event(w->arena, table, event));
}

void window_truncate(struct window *w, struct target_table *const *tables, unsigned n, bool restart_identity)
{
    const struct target_table **kept = arena_alloc(w->arena, n * sizeof(struct target_table *));
    unsigned n_kept = 0;

    for (unsigned i = 0; i < n; i++)
        if (is_let_through(w, tables[i]))
            kept[n_kept++] = tables[i];
    if (n_kept == 0) {
        w->n_dropped++;
        return;
    }

    struct change_truncate *truncate = ARENA_NEW(w->arena, struct change_truncate);
    *truncate = (struct change_truncate){.tables = kept, .n_tables = n_kept, .restart_identity = restart_identity};
    append_change(w, (struct change){.truncate = truncate});
}

static void fold_transaction(const struct window *w, struct fold *fold, const struct window_transaction *t)
{
    for (size_t i = 0; i < t->n_changes; i++)
        fold_change(fold, &w->changes[t->first_change + i]);
}

static bool lane_has(const struct window *w, unsigned lane, const struct window_transaction *t)
{
    return w->limits.lanes_from != NULL && lsn_before(t->commit, w->limits.lanes_from[lane]);
}

/* False: it cannot be divided. */
static bool divide_transaction(struct window *w, const struct window_transaction *t)
{
    for (size_t i = 0; i < t->n_changes; i++) {
        const struct change *c = &w->changes[t->first_change + i];
        unsigned lane;

        arena_reset(w->scratch);
        if (!division_lane(w->scratch, w->limits.lanes, c, &lane))
            return false;
        if (!lane_has(w, lane, t))
            fold_change(w->lanes[lane], c);
    }
    return true;
}

static void fold_complete(const struct window *w, struct fold *fold)
{
    for (size_t i = 0; i < w->n_transactions; i++)
        if (w->transactions[i].ends)
            fold_transaction(w, fold, &w->transactions[i]);
}

/* Folded transaction by transaction, while its rows are in the processor's cache. */
static void take_transaction(struct window *w, const struct window_transaction *t)
{
    if (!w->is_divided) {
        fold_transaction(w, w->fold, t);
        return;
    }
    w->is_divided = divide_transaction(w, t);
    if (!w->is_divided)
        fold_complete(w, w->fold);
}

void window_commit(struct window *w, struct lsn end, int64_t received_us)
{
    struct window_transaction *t = open_transaction(w);

    t->ends = true;
    t->end = end;
    t->received_us = received_us;
    w->is_open = false;
    take_transaction(w, t);
}

void window_message(struct window *w, struct lsn at, const char *content, uint32_t length)
{
    struct window_message *m = ARENA_NEW(w->arena, struct window_message);

    assert(!w->is_closed);
    *m = (struct window_message){
        .at = at,
        .content = memcpy(arena_alloc(w->arena, (size_t)length + 1), content, length),
        .length = length,
        .needs = w->n_transactions,
    };
    if (w->last_message == NULL)
        w->first_message = m;
    else
        w->last_message->next = m;
    w->last_message = m;
}

void window_set_upto(struct window *w, struct lsn upto)
{
    assert(!w->is_closed);
    w->upto = lsn_max(w->upto, upto);
}

void window_count_bytes(struct window *w, size_t bytes)
{
    w->n_bytes += bytes;
}

/*
 * Transactions count as rows, so that empty ones fill a window too. Inside a transaction there is a quarter more, because a
 * window that reaches its end saves the target a savepoint and a commit.
 */
bool window_is_oversized(const struct window *w)
{
    return w->n_bytes >= 2 * w->limits.bytes;
}

bool window_is_full(const struct window *w)
{
    size_t rows = w->limits.rows, bytes = w->limits.bytes;

    if (w->is_open) {
        rows += rows / 4;
        bytes += bytes / 4;
    }
    return w->n_changes + w->n_transactions >= rows || w->n_bytes >= bytes;
}

bool window_is_empty(const struct window *w)
{
    return w->n_transactions == 0 && w->first_message == NULL && lsn_is_none(w->upto);
}

bool window_is_open(const struct window *w)
{
    return w->is_open;
}

static void finish_part(struct window *w, enum window_part_kind kind, size_t first, size_t n)
{
    struct window_part *part = &w->parts[kind];

    part->first_transaction = first;
    part->n_transactions = n;
    part->work = fold_finish(w->fold, &part->exact_reason);
}

static void finish_divided(struct window *w, size_t n)
{
    struct window_part *part = &w->parts[WINDOW_COMPLETE];
    const struct fold_work **work = arena_alloc(w->arena, w->limits.lanes * sizeof(struct fold_work *));

    part->n_transactions = n;
    part->lane_work = work;
    for (unsigned i = 0; i < w->limits.lanes && part->exact_reason == NULL; i++)
        work[i] = fold_finish(w->lanes[i], &part->exact_reason);
}

const struct fold_work *window_undivided_work(struct window *w, const char **out_reason)
{
    struct fold *fold = fold_new(w->arena, w->limits.fold);

    fold_complete(w, fold);
    return fold_finish(fold, out_reason);
}

/* Few changes are done sooner by one session than by several that wait for each other. */
static bool is_worth_dividing(const struct window *w)
{
    size_t n = w->is_open ? open_transaction(w)->first_change : w->n_changes;

    return w->is_divided && (w->limits.lanes_from != NULL || n >= w->limits.lane_rows);
}

void window_close(struct window *w)
{
    if (w->is_closed)
        return;

    size_t n_complete = w->n_transactions - w->is_open;
    if (is_worth_dividing(w)) {
        finish_divided(w, n_complete);
    } else {
        if (w->is_divided)
            fold_complete(w, w->fold);
        finish_part(w, WINDOW_COMPLETE, 0, n_complete);
    }
    if (w->is_open) {
        w->fold = fold_new(w->arena, w->limits.fold);
        fold_transaction(w, w->fold, open_transaction(w));
        finish_part(w, WINDOW_HEAD, n_complete, 1);
    }
    w->is_closed = true;
}

struct window_part window_part(const struct window *w, enum window_part_kind kind)
{
    assert(w->is_closed);
    return w->parts[kind];
}

const struct window_transaction *window_transaction(const struct window *w, size_t i)
{
    assert(i < w->n_transactions);
    return &w->transactions[i];
}

const struct change *window_change_at(const struct window *w, size_t i)
{
    assert(i < w->n_changes);
    return &w->changes[i];
}

const struct window_message *window_messages(const struct window *w)
{
    return w->first_message;
}

struct lsn window_upto(const struct window *w)
{
    return w->upto;
}

int64_t window_committed_us(const struct window *w)
{
    return w->n_transactions == 0 ? 0 : w->transactions[0].committed_us;
}

int64_t window_last_committed_us(const struct window *w)
{
    return w->n_transactions == 0 ? 0 : w->transactions[w->n_transactions - 1].committed_us;
}

bool window_begins_inside(const struct window *w)
{
    return w->n_transactions > 0 && !w->transactions[0].begins;
}

size_t window_n_changes(const struct window *w)
{
    return w->n_changes;
}

size_t window_n_dropped(const struct window *w)
{
    return w->n_dropped;
}
