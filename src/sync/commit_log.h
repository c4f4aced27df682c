/*
 * The last transactions that were received, in the order of their commits: where does a snapshot of the source cut it?
 *
 * (C1) A snapshot stands for a position only when everything it sees was committed before everything it does not see. That is
 * nearly always so, but a transaction becomes visible a moment after its commit record was written: of two that commit
 * at the same time the later one may be visible first. Such a snapshot has no position; whoever wants one takes another.
 *
 * The receiver notes, any thread asks. Thread-safe. Memory: COMMIT_LOG_SIZE entries, whatever is received.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/lsn.h"
#include "model/snapshot.h"

/*
 * What was received longer ago than this counts as visible. A transaction is invisible behind its commit record for as long
 * as its backend needs to be scheduled, or waits for a synchronous standby: the latter is asked for apart (worker/align.c).
 */
enum { COMMIT_LOG_SIZE = 65536 };

struct commit_log;

/* Lives in `a`. `size` 0 stands for COMMIT_LOG_SIZE. */
RETURNS_NONNULL struct commit_log *commit_log_new(struct arena *a, unsigned size);

/* Everything before `end` was received by an earlier process. Forgets what was noted. */
void commit_log_begin(struct commit_log *log, struct lsn end);

/* A COMMIT of transaction `xid` that ends at `end` was received. */
void commit_log_note(struct commit_log *log, uint32_t xid, struct lsn end);

/* The end of the last one. */
struct lsn commit_log_last(struct commit_log *log);

/* Until a COMMIT that ends beyond `lsn` was received; false when `timeout_ms` ran out. */
bool commit_log_wait(struct commit_log *log, struct lsn lsn, int timeout_ms);

/*
 * `upto` was read after the snapshot was taken, and everything committed before it was received. True when the snapshot sees exactly
 * the transactions that end at or before *out_cut. False: one that is invisible was committed before a visible one.
 */
MUST_USE bool commit_log_cut(struct commit_log *log, const struct snapshot *s, struct lsn upto, struct lsn *out_cut);
