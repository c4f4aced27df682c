/*
 * Apply: executes windows on the target, each source transaction exactly once.
 *
 *   fast    one target transaction for all complete source transactions of the window: batches, then counts are compared
 *           with what was expected, then position and COMMIT. A transaction larger than a window stays open over
 *           several, with a savepoint before each further one.
 *   exact   after any surprise the same changes again in source order, every source transaction in a target transaction of its
 *           own: one by one, and in a large transaction first in pieces, so that only the piece with the surprise is done one by
 *           one. Only there the conflict policy decides (SPEC, section 6).
 *
 * (P1) The position is written with the rows it covers. (P5) Applied is what COMMIT answered COMMIT to.
 * (A1) Every commit leaves the target as the source was at one commit. (A2) After an error nothing of the transaction in
 * progress is visible. (A4) What a policy skips or overwrites is recorded in the same transaction.
 *
 * One thread, which owns the target. After an error of any kind everything open is rolled back, and the only call that
 * makes sense is apply_resume; then the feeder must be restarted at the position.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/options.h"
#include "ports/target.h"
#include "sync/decision.h"
#include "sync/lanes.h"
#include "sync/window.h"

struct apply;

struct apply_options {
    enum conflict_policy on_conflict;
    struct decisions decisions; /* good as long as apply, or until apply_decide */
    struct source_rows source;  /* fetch may be NULL */
    struct lanes *lanes;        /* more than one session, the target given is that of lane 1. NULL: that one alone */

    /* On the exact path a transaction with so many changes is tried in pieces of so many first. 0: 100 and 1000. */
    unsigned pieces_from, piece_changes;

    /*
     * Called for each logical message of ours once everything before it and its own transaction are committed. At least
     * once: again after a restart, also for transactions applied before it. NULL: nobody wants to know.
     */
    void (*message)(void *self, const struct window_message *message);
    void *self;
};

/* Since apply_new. */
struct apply_counters {
    uint64_t transactions;
    uint64_t rows; /* changes of the source */
    uint64_t windows_fast;
    uint64_t windows_slow;
    uint64_t conflicts;
    uint64_t windows_divided; /* of the fast ones: by several lanes */
};

RETURNS_NONNULL struct apply *apply_new(struct arena *task, struct target target, struct apply_options options);

/*
 * Connects where needed, and says where the feeder must go on. With lanes that stand apart ERROR_TRANSIENT: bring them
 * together (lanes_recover) and ask again.
 */
MUST_USE struct error *apply_resume(struct apply *ap, struct apply_position *out);

/* The operator decided again, between two windows: in place of those of the options. */
void apply_decide(struct apply *ap, struct decisions decisions);

/*
 * Windows in the order in which they were filled; closes the window if that was not done. With `durable` the last commit waits for
 * the target's disk, and so makes the earlier ones durable.
 *
 * ERROR_DATA: a change that cannot be applied, or a conflict that the policy does not decide; the transactions before it are
 * committed. ERROR_TRANSIENT: apply_resume and go on.
 */
MUST_USE struct error *apply_window(struct apply *ap, struct window *w, bool durable);

/* Where the last apply_window stopped with ERROR_DATA; NULL after any other end. Good until the next apply_window. */
const struct apply_stop *apply_stopped(const struct apply *ap);

/* Rolls back what is open: before stopping inside a transaction. */
void apply_abandon(struct apply *ap);

/* Everything committed is on the target's disk. */
bool apply_is_flushed(const struct apply *ap);

/* A target transaction is open: the last window ended inside a source transaction. */
bool apply_is_open(const struct apply *ap);

/* The last position that was committed. `transactions` is what the three-way count compares. */
struct apply_position apply_position(const struct apply *ap);

/* Everything the source committed before this is applied: the position or, beyond it, a keepalive (P4). */
struct lsn apply_upto(const struct apply *ap);

struct apply_counters apply_counters(const struct apply *ap);

/* What sent the last window on the exact path, for the log; NULL when none was. Good until the next apply_window. */
const char *apply_why_slow(const struct apply *ap);
