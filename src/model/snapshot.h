/*
 * A snapshot of the source and the gate that a copied table puts before the change stream (DESIGN, G2).
 *
 * pg_current_snapshot() answers "xmin:xmax:xip,xip,…" with 64-bit transaction ids, top-level ones only (txid_current_snapshot()
 * before 13). A transaction is seen when it was committed for that snapshot. On a standby the list is empty: there a gate is right only
 * where its position is exactly the snapshot's (pg/standby.h). BEGIN in the stream carries 32 bits of the same top-level id.
 *
 * Plain values, immutable once made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"

struct snapshot {
    uint64_t xmin;
    uint64_t xmax;
    const uint64_t *running; /* ascending, xmin <= id < xmax */
    size_t n_running;
};

/* Lives in `a`. ERROR_DATA for a text that is no snapshot. */
MUST_USE struct error *snapshot_parse(struct arena *a, const char *text, struct snapshot *out);
char *snapshot_format(struct arena *a, const struct snapshot *s);

bool snapshot_sees(const struct snapshot *s, uint64_t xid);

/* Whether `newer` sees every transaction that `older` saw. */
bool snapshot_covers(const struct snapshot *newer, const struct snapshot *older);

/* The 64-bit id nearest to `near` whose low 32 bits are `xid`. */
uint64_t xid_widen(uint32_t xid, uint64_t near);

struct gate {
    struct snapshot snapshot;
    struct lsn
        upto; /* the source's WAL insert position, read after the snapshot was taken; a standby's: that of the snapshot */
};

/*
 * (G2) Whether a change of transaction `xid`, whose commit record is at `commit`, is missing in what was copied and so
 * must be applied. At or after `upto` nothing can be in the snapshot, and ids need not be widened for ever.
 */
bool gate_lets_through(const struct gate *g, uint32_t xid, struct lsn commit);
