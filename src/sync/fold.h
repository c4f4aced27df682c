/*
 * Many changes made few: one net change a row, in batches that can be written at once.
 *
 * Changes go in, in source order; at the end batches and TRUNCATEs come out, in the order in which they must be written.
 * Per table and key (compared by bytes):
 *
 *     INSERT then UPDATE   one INSERT          UPDATE then UPDATE   one UPDATE         DELETE then INSERT   both, in that order
 *     INSERT then DELETE   nothing             UPDATE then DELETE   one DELETE         anything else        cannot be: exact path
 *
 * (Two INSERTs of one key, with no DELETE between, a source cannot make; they come out as two, for the target to refuse.)
 *
 * UNCHANGED takes the value of an earlier change of the same row where there is one. Net changes of one table form a *run*; the
 * rows of a run have different keys, so their order does not matter but for this: deletes, updates, rekeys, inserts. A change
 * that would make order matter (a key touched by an UPDATE that changes keys, TRUNCATE, another version of the table, rows without a
 * key) closes the run and opens another. Runs of different tables do not depend on each other: foreign keys and triggers
 * do not fire in our sessions (session_replication_role = replica). Whatever else makes them depend, say a unique value that moves from
 * row to row, fails on the target and is done again on the exact path.
 *
 * One thread. Everything lives in the arena, which must outlive what came out.
 */
#pragma once

#include "sync/change.h"

struct fold;

struct fold_limits {
    unsigned batch_rows; /* of one batch */
    size_t batch_bytes;  /* of values; one larger row is let through */
};

/* One step of the work: a batch, or else a TRUNCATE. */
struct fold_work {
    const struct fold_work *next;
    const struct batch *batch;
    const struct change_truncate *truncate;
};

RETURNS_NONNULL struct fold *fold_new(struct arena *a, struct fold_limits limits);

/* What the change points to must live as long as the arena; the change itself is not kept. */
void fold_change(struct fold *f, const struct change *c);

/*
 * What is to be done; NULL when there is nothing. *out_reason is NULL, or says why these changes cannot be folded and must
 * be applied one by one; then nothing else is meaningful. Call once.
 */
const struct fold_work *fold_finish(struct fold *f, const char **out_reason);
