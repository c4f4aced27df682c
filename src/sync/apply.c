#include "sync/apply.h"

#include <inttypes.h>

#include "base/fault.h"
#include "sync/deferred.h"
#include "sync/exact.h"
#include "sync/work.h"

enum { PIECES_FROM = 100, PIECE_CHANGES = 1000 };

struct apply {
    struct target target;
    struct apply_options options;
    struct arena *scratch; /* one change, or the answer to one window */
    struct arena *piece_arena;
    struct lsn asked_whole;    /* the transaction that was read again as a whole, by its commit */
    struct deferred *deferred; /* keys that are checked at the end of the source transaction in hand */
    struct arena *why_arena;
    const char *why_slow;

    struct apply_position position;
    struct lsn upto;
    struct lsn alone_until; /* transactions before it are lane 1's: dividing them did not go well */
    struct apply_counters counters;
    bool is_unflushed;  /* the last commit did not wait for the target's disk */
    bool is_open;       /* the target transaction of a source transaction that is not complete yet */
    bool must_resume;   /* before the first window, and after every error */
    uint64_t open_rows; /* counted when they are committed */
    uint64_t open_conflicts;
    uint64_t open_changes; /* of the source transaction that goes on in the next window */
    struct apply_stop stop;
    bool is_stopped;

    struct arena *pending_arena;
    struct window_message *pending; /* of that transaction: reached when it is committed */
    struct window_message **pending_end;
};

/* A window on its way through. */
struct execution {
    struct window *window;
    bool durable;
    const struct window_message *message; /* the next one to be reached */
};

struct apply *apply_new(struct arena *task, struct target target, struct apply_options options)
{
    struct apply *ap = ARENA_NEW(task, struct apply);

    ap->target = target;
    ap->options = options;
    if (options.pieces_from == 0)
        ap->options.pieces_from = PIECES_FROM;
    if (options.piece_changes == 0)
        ap->options.piece_changes = PIECE_CHANGES;
    ap->scratch = arena_new(task, "apply scratch");
    ap->piece_arena = arena_new(task, "apply piece");
    ap->deferred = deferred_new(task);
    ap->why_arena = arena_new(task, "apply reason");
    ap->pending_arena = arena_new(task, "apply messages");
    ap->pending_end = &ap->pending;
    ap->must_resume = true;
    return ap;
}

static void forget_messages(struct apply *ap)
{
    arena_reset(ap->pending_arena);
    ap->pending = NULL;
    ap->pending_end = &ap->pending;
}

static void forget_open_transaction(struct apply *ap)
{
    ap->is_open = false;
    ap->open_rows = 0;
    ap->open_conflicts = 0;
    ap->open_changes = 0;
    ap->must_resume = true;
    forget_messages(ap);
}

/* (A2) */
static void give_up(struct apply *ap)
{
    if (ap->options.lanes != NULL)
        lanes_rollback(ap->options.lanes);
    else
        ap->target.ops->rollback(ap->target.self);
    forget_open_transaction(ap);
}

MUST_USE static struct error *resume_lanes(struct lanes *l, struct apply_position *out)
{
    TRY(lanes_resume(l));
    *out = lanes_least(l);
    if (!lsn_equal(out->end, lanes_most(l).end))
        return error_new(ERROR_TRANSIENT, "a lane is at %s and another one at %s", lsn_format(out->end).text,
                         lsn_format(lanes_most(l).end).text);
    return NULL;
}

struct error *apply_resume(struct apply *ap, struct apply_position *out)
{
    struct apply_position position;

    forget_open_transaction(ap);
    if (ap->options.lanes != NULL) /* (P5) only the target knows what was committed */
        TRY(resume_lanes(ap->options.lanes, &position));
    else
        TRY(ap->target.ops->resume(ap->target.self, &position));
    ap->position = position;
    ap->upto = lsn_max(ap->upto, position.end);
    ap->is_unflushed = !lsn_is_none(position.end); /* seen, but perhaps not on its disk yet */
    ap->must_resume = false;
    *out = position;
    return NULL;
}

static void tell(const struct apply *ap, const struct window_message *m)
{
    if (ap->options.message != NULL)
        ap->options.message(ap->options.self, m);
}

/* The messages that are reached when so many transactions of the window are committed. */
static void deliver(struct apply *ap, struct execution *x, size_t n_committed)
{
    if (n_committed > 0) {
        for (const struct window_message *m = ap->pending; m != NULL; m = m->next)
            tell(ap, m);
        forget_messages(ap);
    }
    for (; x->message != NULL && x->message->needs <= n_committed; x->message = x->message->next)
        tell(ap, x->message);
}

/* What is left belongs to the transaction that stays open; the window's memory does not. */
static void keep_messages(struct apply *ap, const struct execution *x)
{
    for (const struct window_message *m = x->message; m != NULL; m = m->next) {
        struct window_message *copy = ARENA_NEW(ap->pending_arena, struct window_message);
        char *content = arena_alloc(ap->pending_arena, (size_t)m->length + 1);

        *copy = (struct window_message){.at = m->at, .length = m->length};
        copy->content = memcpy(content, m->content, m->length);
        *ap->pending_end = copy;
        ap->pending_end = &copy->next;
    }
}

MUST_USE static struct error *begin(struct apply *ap)
{
    TRY(ap->target.ops->begin(ap->target.self));
    ap->is_open = true;
    FAULT_POINT("apply.begin");
    return NULL;
}

static void note_commit(struct apply *ap, struct execution *x, struct apply_position position, size_t last)
{
    ap->is_open = false;
    ap->counters.transactions += position.transactions - ap->position.transactions;
    ap->position = position;
    ap->upto = lsn_max(ap->upto, position.end);
    ap->counters.rows += ap->open_rows;
    ap->counters.conflicts += ap->open_conflicts;
    ap->open_rows = 0;
    ap->open_conflicts = 0;
    deliver(ap, x, last + 1);
}

static struct apply_position position_after(const struct apply *ap, const struct window_transaction *t, size_t n)
{
    return (struct apply_position){
        .end = t->end,
        .transactions = ap->position.transactions + n,
        .committed_us = t->committed_us,
    };
}

/* Whether the commit of transaction `last` waits for the target's disk. */
static bool is_durable(const struct execution *x, size_t last)
{
    return x->durable && window_part(x->window, WINDOW_COMPLETE).n_transactions == last + 1;
}

static void committed(struct apply *ap, struct execution *x, struct apply_position position, size_t last)
{
    ap->is_unflushed = !is_durable(x, last);
    if (ap->options.lanes != NULL)
        lanes_note(ap->options.lanes, position);
    note_commit(ap, x, position, last);
}

/* (P1, A1) Up to and with transaction `last` of the window, and the rows it covers; `n` source transactions end with it. */
MUST_USE static struct error *commit(struct apply *ap, struct execution *x, size_t last, size_t n)
{
    struct apply_position position = position_after(ap, window_transaction(x->window, last), n);

    FAULT_POINT("apply.before_commit");
    TRY(ap->target.ops->commit(ap->target.self, position, is_durable(x, last)));
    FAULT_POINT("apply.after_commit");
    committed(ap, x, position, last);
    return NULL;
}

static size_t rows_of(const struct window *w, const struct window_part *part)
{
    size_t rows = 0;

    for (size_t i = 0; i < part->n_transactions; i++)
        rows += window_transaction(w, part->first_transaction + i)->n_changes;
    return rows;
}

/* What became of a part on the fast path. */
enum fast_end {
    FAST_APPLIED,
    FAST_COMMITTED, /* and what it was to end with */
    FAST_SURPRISED,
};

/* (P1, A1) Without waiting for what it did, where the target can do that. FAST_APPLIED: where it cannot, nothing is known yet. */
MUST_USE static struct error *try_commit_at_once(struct apply *ap, struct execution *x, const struct window_part *part,
                                                 enum fast_end *out_end, const char **out_why)
{
    static const enum fast_end ends[] = {
        [COMMIT_DONE] = FAST_COMMITTED,
        [COMMIT_SURPRISED] = FAST_SURPRISED,
        [COMMIT_NOT_POSSIBLE] = FAST_APPLIED,
    };
    size_t last = part->first_transaction + part->n_transactions - 1;
    struct apply_position position = position_after(ap, window_transaction(x->window, last), part->n_transactions);
    enum commit_verdict verdict;

    FAULT_POINT("apply.before_commit");
    TRY(ap->target.ops->commit_at_once(ap->target.self, ap->why_arena, position, is_durable(x, last), &verdict,
                                       out_why));
    *out_end = ends[verdict];
    if (verdict != COMMIT_DONE)
        return NULL;
    FAULT_POINT("apply.after_commit");
    ap->open_rows += rows_of(x->window, part);
    committed(ap, x, position, last);
    return NULL;
}

MUST_USE static struct error *settle(struct apply *ap, enum fast_end *out_end, const char **out_why)
{
    bool as_expected;

    FAULT_POINT("apply.before_settle");
    TRY(ap->target.ops->settle(ap->target.self, ap->why_arena, &as_expected, out_why));
    *out_end = as_expected ? FAST_APPLIED : FAST_SURPRISED;
    return NULL;
}

/* Deferrable keys that were violated while the transaction that ends here was still under way. */
MUST_USE static struct error *check_doubted(struct apply *ap, enum fast_end *out_end, const char **out_why)
{
    bool as_expected;

    TRY(ap->target.ops->check_doubted(ap->target.self, ap->why_arena, &as_expected, out_why));
    *out_end = as_expected ? FAST_APPLIED : FAST_SURPRISED;
    return NULL;
}

/* A part that ends in the midst of a transaction is applied: deferrable keys may be violated, but that must be known. */
MUST_USE static struct error *look_for_doubts(struct apply *ap, const struct fold_work *work)
{
    bool as_expected;
    const char *why = NULL;

    if (!work_has_deferred(work))
        return NULL;
    TRY(ap->target.ops->savepoint(ap->target.self));
    TRY(work_check(ap->target, work));
    TRY(ap->target.ops->settle(ap->target.self, ap->why_arena, &as_expected, &why));
    if (as_expected)
        return NULL;
    work_doubt(ap->target, work);
    return ap->target.ops->rollback_to_savepoint(ap->target.self);
}

MUST_USE static struct error *undo(struct apply *ap, bool to_savepoint)
{
    if (to_savepoint)
        return ap->target.ops->rollback_to_savepoint(ap->target.self);
    ap->target.ops->rollback(ap->target.self);
    ap->is_open = false;
    return NULL;
}

/*
 * Everything at once. When the target answers anything but what was expected, *out_why is set and the target transaction is
 * as it was before: rolled back, or, when it already held the beginning of a large transaction, back at the savepoint.
 */
MUST_USE static struct error *apply_fast(struct apply *ap, struct execution *x, const struct window_part *part,
                                         bool ends_with_commit, enum fast_end *out_end, const char **out_why)
{
    bool continues = ap->is_open;
    const char *why = NULL;

    *out_end = FAST_APPLIED;
    if (continues)
        TRY(ap->target.ops->savepoint(ap->target.self));
    else
        TRY(begin(ap));
    TRY(work_send(ap->target, part->work));
    if (ends_with_commit)
        TRY(work_check(ap->target, part->work));
    if (ends_with_commit && !continues)
        TRY(try_commit_at_once(ap, x, part, out_end, &why));
    if (*out_end == FAST_APPLIED)
        TRY(settle(ap, out_end, &why));
    if (*out_end == FAST_APPLIED && continues && ends_with_commit)
        TRY(check_doubted(ap, out_end, &why));
    if (*out_end != FAST_SURPRISED)
        return NULL;
    *out_why = why == NULL ? "the target touched other rows than expected" : why;
    return undo(ap, continues);
}

static bool is_decided_about(const struct apply *ap, const struct window *w, const struct window_part *part)
{
    for (size_t i = 0; i < part->n_transactions; i++)
        if (decisions_concern(ap->options.decisions, window_transaction(w, part->first_transaction + i)->commit))
            return true;
    return false;
}

/* Some changes of one transaction that follow each other. */
struct piece {
    const struct window *window;
    const struct window_transaction *transaction;
    size_t first; /* in the window */
    size_t n;
    struct apply_place place; /* of the first */
};

static bool piece_is_decided_about(const struct apply *ap, const struct piece *p)
{
    struct apply_place place = p->place;

    for (size_t i = 0; i < p->n && ap->options.decisions.n > 0; i++, place.ordinal++)
        if (decision_at(ap->options.decisions, place).choice != RESUME_AS_IS)
            return true;
    return deferred_leaves_out_between(ap->deferred, p->first, p->n);
}

/*
 * One bad row among many must not make all others slow: so a piece is tried as on the fast path. *out_done is false when it
 * must be done row by row; then nothing of it is done.
 */
MUST_USE static struct error *try_piece(struct apply *ap, const struct piece *p, bool *out_done)
{
    struct fold *fold = fold_new(
        ap->piece_arena, (struct fold_limits){.batch_rows = ap->options.piece_changes, .batch_bytes = SIZE_MAX});
    const char *why = NULL;

    *out_done = false;
    for (size_t i = 0; i < p->n; i++)
        fold_change(fold, window_change_at(p->window, p->first + i));
    const struct fold_work *work = fold_finish(fold, &why);
    if (why != NULL)
        return NULL;
    TRY(ap->target.ops->savepoint(ap->target.self));
    TRY(work_send(ap->target, work));
    TRY(ap->target.ops->settle(ap->target.self, ap->piece_arena, out_done, &why));
    return *out_done ? NULL : ap->target.ops->rollback_to_savepoint(ap->target.self);
}

static struct exact_options exact_options(struct apply *ap)
{
    return (struct exact_options){
        .policy = ap->options.on_conflict, .source = ap->options.source, .conflicts = &ap->open_conflicts};
}

static struct error *stopped(struct apply *ap, const struct window_transaction *t, const struct change *change,
                             struct apply_place place, struct error *err)
{
    return decision_needed(ap->why_arena,
                           &(struct decision_place){.transaction = t,
                                                    .change = change,
                                                    .place = place,
                                                    .so_far = "nothing of it was applied, everything before it is"},
                           err, &ap->stop, &ap->is_stopped);
}

MUST_USE static struct error *apply_piece_by_rows(struct apply *ap, const struct piece *p)
{
    struct exact_options options = exact_options(ap);
    struct apply_place place = p->place;

    for (size_t i = 0; i < p->n; i++, place.ordinal++) {
        const struct change *change = window_change_at(p->window, p->first + i);

        options.decision = decision_at(ap->options.decisions, place);
        options.left_out = deferred_left_out(ap->deferred, p->first + i);
        struct error *err = exact_apply(ap->target, ap->scratch, options, p->transaction, change);
        arena_reset(ap->scratch);
        if (err != NULL)
            return stopped(ap, p->transaction, change, place, err);
    }
    return NULL;
}

MUST_USE static struct error *apply_piece(struct apply *ap, const struct piece *p)
{
    bool is_done = false;

    if (p->transaction->n_changes >= ap->options.pieces_from && !piece_is_decided_about(ap, p)) {
        TRY(try_piece(ap, p, &is_done));
        arena_reset(ap->piece_arena);
    }
    return is_done ? NULL : apply_piece_by_rows(ap, p);
}

MUST_USE static struct error *apply_changes_exactly(struct apply *ap, const struct window *w,
                                                    const struct window_transaction *t)
{
    struct piece p = {.window = w, .transaction = t, .first = t->first_change};

    p.place = (struct apply_place){.commit = t->commit, .ordinal = t->begins ? 0 : ap->open_changes};
    for (size_t left = t->n_changes; left > 0; left -= p.n) {
        p.n = left < ap->options.piece_changes ? left : ap->options.piece_changes;
        TRY(apply_piece(ap, &p));
        p.first += p.n;
        p.place.ordinal += p.n;
    }
    return NULL;
}

/* How far into a transaction that goes on in the next window the changes were counted. */
static void count_changes(struct apply *ap, const struct window *w, const struct window_part *part)
{
    const struct window_transaction *t = window_transaction(w, part->first_transaction + part->n_transactions - 1);

    ap->open_changes = t->ends ? 0 : (t->begins ? 0 : ap->open_changes) + t->n_changes;
}

/* A transaction that goes on in the next window: its end will look at the tables that it writes. */
static void doubt_changes(struct apply *ap, const struct window *w, const struct window_transaction *t)
{
    for (size_t i = 0; i < t->n_changes; i++) {
        const struct change *c = window_change_at(w, t->first_change + i);

        if (deferred_concerns(c))
            ap->target.ops->doubt(ap->target.self, c->table);
    }
}

/*
 * What a transaction that came in parts has done before this window is not at hand. It is asked for again: now that its end is here, it comes as a
 * whole, unless it is larger than a window. False when that was tried.
 */
static bool may_come_whole(struct apply *ap, const struct window_transaction *t)
{
    if (t->begins || lsn_equal(ap->asked_whole, t->commit))
        return false;
    ap->asked_whole = t->commit;
    return true;
}

/* Takes the error. */
MUST_USE static struct error *ask_again(const struct window_transaction *t, struct error *err)
{
    struct error *again = error_new(ERROR_TRANSIENT, "source transaction %" PRIu32 " is read again as a whole: %s",
                                    t->xid, error_message(err));

    error_free(err);
    return again;
}

MUST_USE static struct error *check_doubted_exactly(struct apply *ap, const struct deferred_run *run)
{
    const struct window_transaction *t = run->transaction;
    bool as_expected;
    const char *why = NULL;

    TRY(ap->target.ops->check_doubted(ap->target.self, ap->why_arena, &as_expected, &why));
    if (as_expected)
        return NULL;

    struct error *err = error_hint(error_new(ERROR_DATA, "at its end %s", why),
                                   "Nothing is lost. Change or delete one of the two rows on the target, then run "
                                   "\"pgtide resume\"; or leave the whole transaction out: pgtide resume "
                                   "--skip-transaction.");
    return may_come_whole(ap, t) ? ask_again(t, err) : stopped(ap, t, NULL, run->place, err);
}

/* Deferrable keys, when all changes of the transaction that are at hand are done. *out_again: undo it and do it again. */
MUST_USE static struct error *check_deferred(struct apply *ap, const struct window *w,
                                             const struct window_transaction *t, bool *out_again)
{
    struct deferred_run run = {
        .target = ap->target,
        .scratch = ap->scratch,
        .options = exact_options(ap),
        .decisions = ap->options.decisions,
        .window = w,
        .transaction = t,
        .place = {.commit = t->commit, .ordinal = t->begins ? 0 : ap->open_changes},
        .is_whole = t->begins,
        .pieces_from = ap->options.pieces_from,
        .piece_changes = ap->options.piece_changes,
    };

    *out_again = false;
    if (!t->ends) {
        doubt_changes(ap, w, t);
        return NULL;
    }
    struct error *err = deferred_check(ap->deferred, &run, out_again);
    if (err != NULL && error_kind(err) == ERROR_DATA && may_come_whole(ap, t))
        return ask_again(t, err);
    if (err != NULL)
        return stopped(ap, t, run.change, run.place, err);
    return t->begins ? NULL : check_doubted_exactly(ap, &run);
}

MUST_USE static struct error *apply_transaction_exactly(struct apply *ap, const struct window *w,
                                                        const struct window_transaction *t)
{
    bool again = true;

    deferred_forget(ap->deferred);
    while (again) {
        if (!ap->is_open)
            TRY(begin(ap));
        TRY(apply_changes_exactly(ap, w, t));
        TRY(check_deferred(ap, w, t, &again));
        if (again) {
            TRY(undo(ap, false));
            ap->open_conflicts = 0;
        }
    }
    return NULL;
}

/* (A1, A2) Each source transaction in a target transaction of its own, so that those before a bad one are committed. */
MUST_USE static struct error *apply_exactly(struct apply *ap, struct execution *x, const struct window_part *part)
{
    FAULT_POINT("apply.slow_path");
    for (size_t i = 0; i < part->n_transactions; i++) {
        const struct window_transaction *t = window_transaction(x->window, part->first_transaction + i);

        TRY(apply_transaction_exactly(ap, x->window, t));
        ap->open_rows += t->n_changes;
        if (t->ends)
            TRY(commit(ap, x, part->first_transaction + i, 1));
    }
    return NULL;
}

/* *out_done is false when lane 1 must do it alone; then nothing is done. */
MUST_USE static struct error *apply_divided(struct apply *ap, struct execution *x, const struct window_part *part,
                                            bool *out_done)
{
    size_t last = part->first_transaction + part->n_transactions - 1;
    struct apply_position position = position_after(ap, window_transaction(x->window, last), part->n_transactions);
    struct lsn before = ap->alone_until;
    const char *why = NULL;

    *out_done = false;
    if (lsn_before(window_transaction(x->window, part->first_transaction)->commit, ap->alone_until))
        return NULL;
    ap->alone_until = position.end; /* unless it goes well */
    TRY(lanes_apply(ap->options.lanes, part->lane_work, ap->why_arena, &why));
    if (why != NULL)
        return NULL;
    ap->open_rows = rows_of(x->window, part);
    FAULT_POINT("lanes.before_commit");
    TRY(lanes_commit(ap->options.lanes, position, x->durable));
    FAULT_POINT("lanes.after_commit");
    ap->is_unflushed = !x->durable;
    ap->alone_until = before;
    ap->counters.windows_divided++;
    note_commit(ap, x, position, last);
    *out_done = true;
    return NULL;
}

/* A divided part is done by the lanes, or made whole for lane 1. */
MUST_USE static struct error *try_lanes(struct apply *ap, struct execution *x, struct window_part *part, bool *out_done)
{
    *out_done = false;
    if (part->lane_work == NULL || part->exact_reason != NULL)
        return NULL;
    if (!is_decided_about(ap, x->window, part))
        TRY(apply_divided(ap, x, part, out_done));
    if (!*out_done)
        part->work = window_undivided_work(x->window, &part->exact_reason);
    return NULL;
}

MUST_USE static struct error *apply_part(struct apply *ap, struct execution *x, enum window_part_kind kind)
{
    struct window_part part = window_part(x->window, kind);
    enum fast_end end = FAST_SURPRISED;
    bool is_done = false;

    if (part.n_transactions == 0)
        return NULL;
    TRY(try_lanes(ap, x, &part, &is_done));
    if (is_done)
        return NULL;

    const char *why = part.exact_reason;
    if (why == NULL && is_decided_about(ap, x->window, &part))
        why = "the operator decided about one of its changes";
    if (why == NULL)
        TRY(apply_fast(ap, x, &part, kind == WINDOW_COMPLETE, &end, &why));
    if (why != NULL) {
        ap->why_slow = arena_strdup(ap->why_arena, why);
        TRY(apply_exactly(ap, x, &part));
        count_changes(ap, x->window, &part);
        return NULL;
    }
    count_changes(ap, x->window, &part);
    if (end == FAST_COMMITTED)
        return NULL;
    ap->open_rows += rows_of(x->window, &part);
    if (kind == WINDOW_HEAD)
        return look_for_doubts(ap, part.work);
    return commit(ap, x, part.first_transaction + part.n_transactions - 1, part.n_transactions);
}

/* A commit that changes nothing and waits for the disk: what was committed before it is there too. */
MUST_USE static struct error *flush(struct apply *ap)
{
    TRY(ap->target.ops->begin(ap->target.self));
    TRY(ap->target.ops->commit(ap->target.self, ap->position, true));
    ap->is_unflushed = false;
    return NULL;
}

MUST_USE static struct error *execute(struct apply *ap, struct window *w, bool durable)
{
    struct execution x = {.window = w, .durable = durable, .message = window_messages(w)};

    deliver(ap, &x, 0);
    TRY(apply_part(ap, &x, WINDOW_COMPLETE));
    TRY(apply_part(ap, &x, WINDOW_HEAD));
    if (durable && ap->is_unflushed && !ap->is_open)
        TRY(flush(ap));
    keep_messages(ap, &x);
    ap->upto = lsn_max(ap->upto, window_upto(w)); /* (P4) live only */
    return NULL;
}

MUST_USE static struct error *check_order(const struct apply *ap, const struct window *w)
{
    bool has_transactions =
        window_part(w, WINDOW_COMPLETE).n_transactions + window_part(w, WINDOW_HEAD).n_transactions > 0;

    if (ap->must_resume)
        return error_new(ERROR_BUG, "a window came before the position was asked for");
    if (has_transactions && window_begins_inside(w) != ap->is_open)
        return error_new(ERROR_BUG, ap->is_open ? "a window came that does not go on with the open transaction"
                                                : "a window came that begins inside a transaction that is not open");
    return NULL;
}

MUST_USE static struct error *check_and_execute(struct apply *ap, struct window *w, bool durable)
{
    TRY(check_order(ap, w));
    FAULT_POINT("apply.between_windows");
    return execute(ap, w, durable);
}

struct error *apply_window(struct apply *ap, struct window *w, bool durable)
{
    window_close(w);
    arena_reset(ap->why_arena);
    ap->why_slow = NULL;
    ap->is_stopped = false;

    struct error *err = check_and_execute(ap, w, durable);
    if (err != NULL) {
        give_up(ap);
        return err;
    }
    if (ap->why_slow != NULL)
        ap->counters.windows_slow++;
    else if (!window_is_empty(w))
        ap->counters.windows_fast++;
    return NULL;
}

void apply_decide(struct apply *ap, struct decisions decisions)
{
    ap->options.decisions = decisions;
}

void apply_abandon(struct apply *ap)
{
    give_up(ap);
}

const struct apply_stop *apply_stopped(const struct apply *ap)
{
    return ap->is_stopped ? &ap->stop : NULL;
}

bool apply_is_flushed(const struct apply *ap)
{
    return !ap->is_unflushed;
}

bool apply_is_open(const struct apply *ap)
{
    return ap->is_open;
}

struct apply_position apply_position(const struct apply *ap)
{
    return ap->position;
}

struct lsn apply_upto(const struct apply *ap)
{
    return ap->upto;
}

struct apply_counters apply_counters(const struct apply *ap)
{
    return ap->counters;
}

const char *apply_why_slow(const struct apply *ap)
{
    return ap->why_slow;
}
