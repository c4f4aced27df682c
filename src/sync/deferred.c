#include "sync/deferred.h"

#include "sync/fold.h"
#include "sync/work.h"

struct left_out {
    struct left_out *next;
    size_t change; /* in the window */
    struct row_result why;
};

struct deferred {
    struct arena *arena;
    struct arena *piece;
    struct left_out *first;
};

struct deferred *deferred_new(struct arena *task)
{
    struct deferred *d = ARENA_NEW(task, struct deferred);

    d->arena = arena_new(task, "deferred keys");
    d->piece = arena_new(task, "deferred keys of a piece");
    return d;
}

void deferred_forget(struct deferred *d)
{
    if (d->first != NULL)
        arena_reset(d->arena);
    d->first = NULL;
}

const struct row_result *deferred_left_out(const struct deferred *d, size_t change)
{
    for (const struct left_out *l = d->first; l != NULL; l = l->next)
        if (l->change == change)
            return &l->why;
    return NULL;
}

bool deferred_leaves_out_between(const struct deferred *d, size_t first, size_t n)
{
    for (const struct left_out *l = d->first; l != NULL; l = l->next)
        if (l->change >= first && l->change - first < n)
            return true;
    return false;
}

bool deferred_concerns(const struct change *c)
{
    return c->table != NULL && c->table->has_deferred && c->op != BATCH_DELETE && c->refusal == NULL;
}

static bool is_meant(const struct deferred_run *run, const struct change *c)
{
    return deferred_concerns(c) && (run->takes == NULL || run->takes(run->self, c));
}

static const struct change *change_at(const struct deferred_run *run, size_t i)
{
    return window_change_at(run->window, run->transaction->first_change + i);
}

static bool concerns_any(const struct deferred_run *run)
{
    for (size_t i = 0; i < run->transaction->n_changes; i++)
        if (is_meant(run, change_at(run, i)))
            return true;
    return false;
}

/* Many at once. Changes that cannot be folded are looked at one by one. */
MUST_USE static struct error *piece_is_clean(struct deferred *d, const struct deferred_run *run, size_t first, size_t n,
                                             bool *out_is_clean)
{
    struct fold *fold =
        fold_new(d->piece, (struct fold_limits){.batch_rows = run->piece_changes, .batch_bytes = SIZE_MAX});
    const char *why = NULL;

    *out_is_clean = false;
    for (size_t i = first; i < first + n; i++)
        if (is_meant(run, change_at(run, i)))
            fold_change(fold, change_at(run, i));
    const struct fold_work *work = fold_finish(fold, &why);
    if (why != NULL)
        return NULL;
    TRY(run->target.ops->savepoint(run->target.self));
    TRY(work_check(run->target, work));
    TRY(run->target.ops->settle(run->target.self, d->piece, out_is_clean, &why));
    return *out_is_clean ? NULL : run->target.ops->rollback_to_savepoint(run->target.self);
}

static void leave_out(struct deferred *d, size_t change, const struct row_result *why)
{
    struct left_out *l = ARENA_NEW(d->arena, struct left_out);

    *l = (struct left_out){.next = d->first, .change = change, .why = {.outcome = ROW_DUPLICATE}};
    l->why.constraint = why->constraint == NULL ? NULL : arena_strdup(d->arena, why->constraint);
    d->first = l;
}

MUST_USE static struct error *check_change(struct deferred *d, struct deferred_run *run, size_t i, bool *out_again)
{
    const struct change *c = change_at(run, i);
    struct exact_options options = run->options;
    struct exact_verdict verdict;
    struct apply_place place = {.commit = run->place.commit, .ordinal = run->place.ordinal + i};

    options.decision = decision_at(run->decisions, place);
    options.left_out = deferred_left_out(d, run->transaction->first_change + i);
    options.may_leave_out = run->is_whole;
    struct error *err = exact_check(run->target, run->scratch, options, run->transaction, c, &verdict);
    bool must_leave_out = err == NULL && verdict.must_leave_out;
    if (must_leave_out)
        leave_out(d, run->transaction->first_change + i, &verdict.why);
    arena_reset(run->scratch);
    *out_again |= must_leave_out;
    if (err != NULL) {
        run->change = c;
        run->place = place;
    }
    return err;
}

/* From the last to the first: the last one that wrote a row is the one that counts. */
MUST_USE static struct error *check_piece(struct deferred *d, struct deferred_run *run, size_t first, size_t n,
                                          bool *out_again)
{
    bool is_clean = false;

    if (run->transaction->n_changes >= run->pieces_from) {
        TRY(piece_is_clean(d, run, first, n, &is_clean));
        arena_reset(d->piece);
    }
    for (size_t i = n; i > 0 && !is_clean; i--)
        if (is_meant(run, change_at(run, first + i - 1)))
            TRY(check_change(d, run, first + i - 1, out_again));
    return NULL;
}

struct error *deferred_check(struct deferred *d, struct deferred_run *run, bool *out_again)
{
    size_t n = 0;

    *out_again = false;
    if (!concerns_any(run))
        return NULL;
    for (size_t left = run->transaction->n_changes; left > 0; left -= n) {
        n = left < run->piece_changes ? left : run->piece_changes;
        TRY(check_piece(d, run, left - n, n, out_again));
    }
    return NULL;
}
