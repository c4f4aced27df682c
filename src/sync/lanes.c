#include "sync/lanes.h"

#include "base/fault.h"
#include "sync/deferred.h"
#include "sync/work.h"

struct lanes {
    struct lanes_options options;
    struct arena **scratch; /* one a lane */
    struct arena *recovery;
    struct deferred *deferred;
    struct apply_position *positions;
    struct lsn *ends;
    struct error **errors;
};

struct lanes *lanes_new(struct arena *task, struct lanes_options options)
{
    struct lanes *l = ARENA_NEW(task, struct lanes);

    *l = (struct lanes){
        .options = options,
        .scratch = arena_alloc(task, options.n * sizeof(struct arena *)),
        .recovery = arena_new(task, "lane recovery"),
        .deferred = deferred_new(task),
        .positions = arena_alloc(task, options.n * sizeof *l->positions),
        .ends = arena_alloc(task, options.n * sizeof *l->ends),
        .errors = arena_alloc(task, options.n * sizeof(struct error *)),
    };
    for (unsigned i = 0; i < options.n; i++)
        l->scratch[i] = arena_new(task, "lane");
    return l;
}

static struct target lane(const struct lanes *l, unsigned i)
{
    return l->options.targets[i];
}

/* The first error counts: the others are likely of the same cause. */
MUST_USE static struct error *run(struct lanes *l, struct error *(*job)(void *work, unsigned lane), void *work)
{
    struct error *first = NULL;

    l->options.crew.run(l->options.crew.self, l->options.n, job, work, l->errors);
    for (unsigned i = 0; i < l->options.n; i++) {
        struct error *err = TAKE(l->errors[i]);

        if (first == NULL)
            first = err;
        else
            error_free(err);
    }
    return first;
}

static void set_position(struct lanes *l, unsigned i, struct apply_position position)
{
    l->positions[i] = position;
    l->ends[i] = position.end;
}

struct error *lanes_resume(struct lanes *l)
{
    for (unsigned i = 0; i < l->options.n; i++) {
        struct apply_position position;

        TRY(lane(l, i).ops->resume(lane(l, i).self, &position));
        set_position(l, i, position);
    }
    return NULL;
}

struct apply_position lanes_least(const struct lanes *l)
{
    struct apply_position least = l->positions[0];

    for (unsigned i = 1; i < l->options.n; i++)
        if (lsn_before(l->ends[i], least.end))
            least = l->positions[i];
    return least;
}

struct apply_position lanes_most(const struct lanes *l)
{
    struct apply_position most = l->positions[0];

    for (unsigned i = 1; i < l->options.n; i++)
        if (lsn_before(most.end, l->ends[i]))
            most = l->positions[i];
    return most;
}

const struct lsn *lanes_ends(const struct lanes *l)
{
    return l->ends;
}

/* ---- one window ---- */

struct application {
    struct lanes *lanes;
    const struct fold_work *const *work;
    bool as_expected[LANES_MAX];
    const char *why[LANES_MAX]; /* in the lane's scratch */
};

static struct error *apply_share(void *self, unsigned i)
{
    struct application *x = self;
    struct target t = lane(x->lanes, i);

    arena_reset(x->lanes->scratch[i]);
    TRY(t.ops->begin_lane(t.self));
    TRY(work_send(t, x->work[i]));
    TRY(work_check(t, x->work[i]));
    FAULT_POINT("lanes.before_settle");
    return t.ops->settle(t.self, x->lanes->scratch[i], &x->as_expected[i], &x->why[i]);
}

struct error *lanes_apply(struct lanes *l, const struct fold_work *const *work, struct arena *a, const char **out_why)
{
    struct application x = {.lanes = l, .work = work};

    *out_why = NULL;
    TRY(run(l, apply_share, &x));
    for (unsigned i = 0; i < l->options.n && *out_why == NULL; i++)
        if (!x.as_expected[i])
            *out_why = x.why[i] == NULL ? "a lane touched other rows than expected" : arena_strdup(a, x.why[i]);
    if (*out_why != NULL)
        lanes_rollback(l);
    return NULL;
}

struct commitment {
    struct lanes *lanes;
    struct apply_position position;
    bool durable;
};

static struct error *commit_share(void *self, unsigned i)
{
    const struct commitment *x = self;
    struct target t = lane(x->lanes, i);

    if (i > 0)
        FAULT_POINT("lanes.before_other_commit"); /* from here on lanes may stand apart */
    TRY(t.ops->commit_lane(t.self, x->position, x->durable));
    set_position(x->lanes, i, x->position);
    return NULL;
}

struct error *lanes_commit(struct lanes *l, struct apply_position position, bool durable)
{
    struct commitment x = {.lanes = l, .position = position, .durable = durable};

    return run(l, commit_share, &x);
}

void lanes_note(struct lanes *l, struct apply_position position)
{
    for (unsigned i = 0; i < l->options.n; i++) {
        lane(l, i).ops->note_position(lane(l, i).self, position);
        set_position(l, i, position);
    }
}

void lanes_rollback(struct lanes *l)
{
    for (unsigned i = 0; i < l->options.n; i++)
        lane(l, i).ops->rollback(lane(l, i).self);
}

/* ---- lanes that stand apart ---- */

struct recovery {
    struct lanes *lanes;
    struct window *window;
    struct window_part part;
    struct lanes_recovery *how;
    unsigned lane;
};

static bool is_missing(const struct recovery *r, const struct window_transaction *t)
{
    return !lsn_before(t->commit, r->lanes->ends[r->lane]);
}

/* `n` source transactions end with `t` and are the lane's now. */
MUST_USE static struct error *commit_recovered(const struct recovery *r, const struct window_transaction *t, uint64_t n)
{
    struct target target = lane(r->lanes, r->lane);
    struct apply_position position = {
        .end = t->end,
        .transactions = r->lanes->positions[r->lane].transactions + n,
        .committed_us = t->committed_us,
    };

    TRY(target.ops->commit_lane(target.self, position, false));
    set_position(r->lanes, r->lane, position);
    return NULL;
}

/* *out_done is false when the target was surprised; then nothing is done. */
MUST_USE static struct error *recover_at_once(const struct recovery *r, bool *out_done)
{
    struct target target = lane(r->lanes, r->lane);
    const struct window_transaction *last = NULL;
    const char *why = NULL;
    uint64_t n = 0;

    for (size_t i = 0; i < r->part.n_transactions; i++) {
        last = window_transaction(r->window, i);
        n += is_missing(r, last);
    }
    *out_done = true;
    if (n == 0)
        return NULL;
    TRY(target.ops->begin_lane(target.self));
    TRY(work_send(target, r->part.lane_work[r->lane]));
    TRY(work_check(target, r->part.lane_work[r->lane]));
    TRY(target.ops->settle(target.self, r->lanes->recovery, out_done, &why));
    if (*out_done)
        return commit_recovered(r, last, n);
    target.ops->rollback(target.self);
    return NULL;
}

static bool is_of_lane(void *self, const struct change *c)
{
    const struct recovery *r = self;
    unsigned its_lane = 0;

    return division_lane(r->lanes->recovery, r->lanes->options.n, c, &its_lane) && its_lane == r->lane;
}

MUST_USE static struct error *stopped(const struct recovery *r, const struct window_transaction *t,
                                      const struct change *change, struct apply_place place, struct error *err)
{
    return decision_needed(r->how->arena,
                           &(struct decision_place){.transaction = t,
                                                    .change = change,
                                                    .place = place,
                                                    .so_far = "what other lanes do of it may be applied, everything "
                                                              "before it is"},
                           err, &r->how->stop, &r->how->is_stopped);
}

MUST_USE static struct error *recover_changes(struct recovery *r, const struct window_transaction *t)
{
    struct exact_options options = r->how->options;
    struct apply_place place = {.commit = t->commit};

    for (size_t i = 0; i < t->n_changes; i++) {
        const struct change *c = window_change_at(r->window, t->first_change + i);

        arena_reset(r->lanes->recovery);
        if (!is_of_lane(r, c))
            continue;
        place.ordinal = i;
        options.decision = decision_at(r->how->decisions, place);
        options.left_out = deferred_left_out(r->lanes->deferred, t->first_change + i);
        struct error *err = exact_apply(lane(r->lanes, r->lane), r->lanes->recovery, options, t, c);
        if (err != NULL)
            return stopped(r, t, c, place, err);
    }
    return NULL;
}

enum { PIECES_FROM = 100, PIECE_CHANGES = 1000 };

MUST_USE static struct error *check_deferred(struct recovery *r, const struct window_transaction *t, bool *out_again)
{
    struct deferred_run run = {
        .target = lane(r->lanes, r->lane),
        .scratch = r->lanes->recovery,
        .options = r->how->options,
        .decisions = r->how->decisions,
        .window = r->window,
        .transaction = t,
        .place = {.commit = t->commit},
        .is_whole = true,
        .pieces_from = PIECES_FROM,
        .piece_changes = PIECE_CHANGES,
        .takes = is_of_lane,
        .self = r,
    };
    struct error *err = deferred_check(r->lanes->deferred, &run, out_again);

    return err == NULL ? NULL : stopped(r, t, run.change, run.place, err);
}

/* (P2) Changes are numbered as where one lane does all of them: decisions hold for both. */
MUST_USE static struct error *recover_transaction(struct recovery *r, const struct window_transaction *t)
{
    struct target target = lane(r->lanes, r->lane);
    uint64_t conflicts = *r->how->options.conflicts;
    bool again = true;

    deferred_forget(r->lanes->deferred);
    while (again) {
        TRY(target.ops->begin_lane(target.self));
        TRY(recover_changes(r, t));
        TRY(check_deferred(r, t, &again));
        if (again) {
            target.ops->rollback(target.self);
            *r->how->options.conflicts = conflicts;
        }
    }
    return commit_recovered(r, t, 1);
}

static bool is_decided_about(const struct recovery *r)
{
    for (size_t i = 0; i < r->part.n_transactions; i++)
        if (decisions_concern(r->how->decisions, window_transaction(r->window, i)->commit))
            return true;
    return false;
}

MUST_USE static struct error *recover_by_rows(struct recovery *r)
{
    for (size_t i = 0; i < r->part.n_transactions; i++) {
        const struct window_transaction *t = window_transaction(r->window, i);

        if (is_missing(r, t))
            TRY(recover_transaction(r, t));
    }
    return NULL;
}

struct error *lanes_recover(struct lanes *l, struct window *w, struct lanes_recovery *how)
{
    window_close(w);

    struct recovery r = {.lanes = l, .window = w, .part = window_part(w, WINDOW_COMPLETE), .how = how};
    bool has_head = window_part(w, WINDOW_HEAD).n_transactions > 0;
    if (r.part.n_transactions == 0 && !has_head)
        return NULL;
    if (has_head || r.part.lane_work == NULL)
        return error_new(ERROR_BUG, "transactions that lanes applied apart cannot be divided any more");
    for (r.lane = 0; r.lane < l->options.n; r.lane++) {
        bool is_done = false;

        FAULT_POINT("lanes.recover");
        if (r.part.exact_reason == NULL && !is_decided_about(&r))
            TRY(recover_at_once(&r, &is_done));
        if (!is_done)
            TRY(recover_by_rows(&r));
    }
    return NULL;
}
