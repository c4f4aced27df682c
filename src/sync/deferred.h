/*
 * Deferrable keys on the exact path: unique and exclusion constraints that may be violated until a transaction ends.
 *
 * The server checks them at COMMIT, but not for sessions that apply as replicas. So it is looked at here, when all changes of a source
 * transaction are done, and what is found is a conflict of the last change that wrote the row, with what policy and operator decide:
 *
 *     fail         the change is named
 *     overwrite    the other rows are deleted there and then
 *     skip         an inserted row is deleted again; an updated one can only be had as it was by doing the transaction again and leaving
 *                  that change out. This object remembers which ones.
 *
 * One thread, inside a target transaction.
 */
#pragma once

#include "sync/decision.h"
#include "sync/exact.h"
#include "sync/window.h"

struct deferred;

RETURNS_NONNULL struct deferred *deferred_new(struct arena *task);

/* Another source transaction begins. */
void deferred_forget(struct deferred *d);

/* What the change, by its number in the window, violated when it was done before; NULL: it is to be done. Good until deferred_forget. */
const struct row_result *deferred_left_out(const struct deferred *d, size_t change);
bool deferred_leaves_out_between(const struct deferred *d, size_t first, size_t n);

/* Whether it writes a row with such a key. */
bool deferred_concerns(const struct change *c);

/* The changes of a source transaction that are at hand. */
struct deferred_run {
    struct target target;
    struct arena *scratch;
    struct exact_options options; /* for all of them */
    struct decisions decisions;
    const struct window *window;
    const struct window_transaction *transaction;
    struct apply_place place; /* of the first of them; after an error of the one that is meant */
    bool is_whole;            /* they are all: it can be done again */
    unsigned pieces_from, piece_changes;
    bool (*takes)(void *self, const struct change *c); /* NULL: all of them are ours */
    void *self;

    const struct change *change; /* after an error: which one; NULL: it is none's */
};

/* *out_again: roll the target transaction back and do it again, with what deferred_left_out says. */
MUST_USE struct error *deferred_check(struct deferred *d, struct deferred_run *run, bool *out_again);
