/*
 * Both sides at one position of the source, while a sync runs (C1): for `pgtide compare`.
 *
 *     working -> ready -> released        another request may come
 *           \-> failed
 *
 * How: apply is told to go no further than what has been received; a snapshot is taken on the source; when that cuts the
 * commit order (sync/commit_log.h) apply goes on exactly to the cut; a snapshot is taken and exported on the target; apply goes
 * on. Nothing is held back and nothing is applied ahead, so the recorded position needs nothing added (P1). The pause is
 * the time from apply standing still to its going on.
 *
 * Threads: align_limit and align_at_limit are the feeder's; begin, poll and release are the control server's; the work is done
 * in a thread of its own. One request at a time: its lease ends when nobody polls for ALIGN_LEASE_MS.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"

enum { ALIGN_LEASE_MS = 30000 };

struct align;
struct task;

RETURNS_NONNULL struct align *align_new(struct arena *a, struct task *t);

/* Ends what is going on. */
void align_close(struct align *al);

/* ---- the feeder ---- */

/* Apply nothing that ends beyond this; LSN_NONE: no limit. */
struct lsn align_limit(const struct align *al);

/* Nothing is in flight and `position` is the end of the last transaction applied, all that end at or before `limit` are. */
void align_at_limit(struct align *al, struct lsn limit, struct lsn position);

/* ---- control ---- */

struct align_view {
    bool is_ready;
    char source_snapshot[64]; /* to be imported before release */
    char target_snapshot[64];
    struct lsn position;
    unsigned tries;
    int64_t pause_us; /* so far, when the hold is kept */
};

/*
 * With `hold` apply stays where it is until the release. ERROR_TRANSIENT while another request is in work; ERROR_CONFIG before
 * the sync follows.
 */
MUST_USE struct error *align_begin(struct align *al, bool hold);

/* Renews the lease. The request's error, once, when it failed. */
MUST_USE struct error *align_poll(struct align *al, struct align_view *out);

/* The snapshots are given up and apply goes on. Says how long it stood still. */
void align_release(struct align *al, int64_t *out_pause_us);
