/*
 * Several sessions on the target that apply the shares of one window at the same time (--lanes).
 *
 *        window ──┬─ lane 1 ─ BEGIN, its batches, answers ─┐            ┌─ its position, COMMIT
 *                 ├─ lane 2 ─ BEGIN, its batches, answers ─┼─ all well? ┼─ its position, COMMIT
 *                 └─ lane 3 ─ BEGIN, its batches, answers ─┘            └─ its position, COMMIT
 *
 * Every window is a barrier: nobody commits before all lanes have their answers, and the next window begins when all have
 * committed. So the lanes' positions differ by one window at most, and only after a death between two commits. Then each
 * lane that is behind is brought to where the others are, with its share alone (lanes_recover), before anything else: only
 * in that moment the target is not as the source was at one commit (A1 holds at each barrier). Shares do not depend on
 * each other (sync/division.h). What cannot be divided lane 1 does alone, and moves the positions of all lanes in its own
 * transaction, so those never differ by it.
 *
 * A lane that waits for a lock of another lane would wait for ever, because that one waits at the barrier: begin_lane
 * gives such waits little time.
 *
 * One thread, but for the crew's while it runs.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "ports/target.h"
#include "sync/decision.h"
#include "sync/division.h"
#include "sync/exact.h"
#include "sync/window.h"

struct lanes;

/* Who runs a job for each lane, 0 to n - 1, at the same time where it can, and returns when all are done. */
struct lane_crew {
    void (*run)(void *self, unsigned n, struct error *(*job)(void *work, unsigned lane), void *work,
                struct error **out_errors);
    void *self;
};

struct lanes_options {
    unsigned n; /* 2 … LANES_MAX */
    const struct target *targets;
    struct lane_crew crew;
};

/* The targets must live as long. */
RETURNS_NONNULL struct lanes *lanes_new(struct arena *task, struct lanes_options options);

/* Every session connected, nothing open, and how far each lane is. */
MUST_USE struct error *lanes_resume(struct lanes *l);
struct apply_position lanes_least(const struct lanes *l);
struct apply_position lanes_most(const struct lanes *l);
const struct lsn *lanes_ends(const struct lanes *l); /* of each lane; change with the lanes */

/*
 * Everything up to the answers. *out_why is NULL, or says (in `a`) what surprised a lane; then everything is rolled back.
 * After an error call lanes_rollback.
 */
MUST_USE struct error *lanes_apply(struct lanes *l, const struct fold_work *const *work, struct arena *a,
                                   const char **out_why);

/* (P1) Each lane with its own position. After an error some lanes may have committed: lanes_resume tells. */
MUST_USE struct error *lanes_commit(struct lanes *l, struct apply_position position, bool durable);

/* Lane 1 has moved the positions of all. */
void lanes_note(struct lanes *l, struct apply_position position);

void lanes_rollback(struct lanes *l);

/* What decides about conflicts, and what became of it. */
struct lanes_recovery {
    struct exact_options options; /* for all changes */
    struct decisions decisions;

    struct arena *arena; /* where `stop` lives */
    struct apply_stop stop;
    bool is_stopped; /* after ERROR_DATA: `stop` says where, for the operator to decide */
};

/*
 * The share of each lane that is behind, one lane after another: at once, or where that surprises row by row. The window
 * was filled with lanes_ends as lanes_from; ERROR_BUG when it cannot be divided. Each transaction of a lane's that is done is
 * committed, so after an error only what is left is done when it is called again.
 */
MUST_USE struct error *lanes_recover(struct lanes *l, struct window *w, struct lanes_recovery *how);
