/*
 * One change on the exact path: row by row in source order, where the conflict policy decides.
 *
 *                                    error        ignore       overwrite
 *   INSERT, a unique key exists      fail         skip         delete what is in the way, insert
 *   UPDATE hits a unique key         fail         skip         delete what is in the way, update
 *   UPDATE, row missing              fail         skip         insert the whole new row
 *   DELETE, row missing              skip         skip         skip
 *
 * Before the policy comes what the operator decided about this one change (`pgtide resume`): it is skipped untried, or
 * overwrites, or is a statement in whose place another is run.
 *
 * A row to be inserted whole whose large values were not sent gets them from the source as they are there now. If they have changed
 * since, a later change of the stream brings them again; if the row is gone there, so will it be here, and the change is skipped.
 *
 * (A4) What is skipped or overwritten is recorded by the target in the same transaction. A row that is there already as it should be is no
 * conflict under ignore and overwrite.
 *
 * One thread, inside a target transaction.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/options.h"
#include "ports/target.h"
#include "sync/change.h"
#include "sync/window.h"

struct exact_options {
    enum conflict_policy policy;
    struct resume_decision decision;
    struct source_rows source; /* fetch may be NULL: nobody can be asked */
    uint64_t *conflicts;       /* counted up for each one recorded */

    /* Deferrable keys, see sync/deferred.h */
    const struct row_result
        *left_out;      /* the change is not to be done: it would violate this at the end of its transaction */
    bool may_leave_out; /* exact_check: the transaction can be done again */
};

/*
 * ERROR_DATA names table, key, operation and what the target said; nothing of the change was done then. `a` is for this
 * call and may be reset after it.
 */
MUST_USE struct error *exact_apply(struct target target, struct arena *a, struct exact_options options,
                                   const struct window_transaction *transaction, const struct change *change);

/* What is to become of a change whose row is not alone. */
struct exact_verdict {
    bool must_leave_out;   /* the policy leaves it out, for which the transaction must be done again */
    struct row_result why; /* then: what to give as left_out; lives in the arena given */
};

/*
 * At the end of the transaction: whether the row that the change wrote is alone with its deferrable keys; if not, that is a conflict of
 * the change. Errors as above.
 */
MUST_USE struct error *exact_check(struct target target, struct arena *a, struct exact_options options,
                                   const struct window_transaction *transaction, const struct change *change,
                                   struct exact_verdict *out);
