/*
 * Snapshots of the source: held, exported, imported, and made gates of (DESIGN, G2).
 *
 * A holder is a session in a read-only REPEATABLE READ transaction. Workers import what it exports; a transaction that
 * has imported a snapshot keeps it also when the holder dies, but nobody can import it any more (PEERS F3). The holder
 * must say something now and then: call pg_snapshot_keep every PG_SNAPSHOT_KEEP_MS.
 *
 * Belongs to one thread at a time. Manual: "Snapshot Synchronization Functions", SET TRANSACTION SNAPSHOT.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/snapshot.h"
#include "pg/conn.h"

enum { PG_SNAPSHOT_KEEP_MS = 30000 };

struct pg_snapshot {
    const char *id;   /* for SET TRANSACTION SNAPSHOT; NULL when it was not exported */
    const char *text; /* pg_current_snapshot(), txid_current_snapshot() before 13 */
    struct gate gate; /* the same text parsed, and the WAL insert position read after the snapshot was taken */
};

struct pg_snapshot_holder;

struct pg_snapshot_wish {
    const char *import;            /* the slot's exported snapshot; NULL: take a new one */
    const struct snapshot *covers; /* what a new one must see, see pg_snapshot_take; NULL: any will do */
    bool may_be_standby;           /* nobody uses the gate: a copy that ends by itself, a comparison */

    /* A standby's (pg/standby.h) */
    struct lsn
        consistent_point;  /* of the slot whose snapshot is imported: the gate's position. LSN_NONE: a primary's */
    struct lsn not_before; /* a new one must be of this position or a later one: the slot's */
    int wait_ms;           /* so long a new one may take; 0: for ever */
};

/*
 * Connects patiently with `options`, which say who we are. ERROR_CONFIG on a standby before 16, whose snapshots make no gates
 * (F14), unless it may be one: then the gate's position is what was replayed, and its snapshot knows not who was running. From
 * 16 on a standby's gates are positions (pg/standby.h), which may take a while.
 */
MUST_USE struct error *pg_snapshot_hold(const struct pg_endpoint *source, struct pg_connect_options options,
                                        struct pg_snapshot_wish wish, struct pg_snapshot_holder **out_holder);

/* Lives as long as the holder. */
const struct pg_snapshot *pg_snapshot_of(const struct pg_snapshot_holder *h);

/*
 * A small statement, so that nothing in between takes the session for idle. ERROR_TRANSIENT when it is lost: hold anew.
 */
MUST_USE struct error *pg_snapshot_keep(struct pg_snapshot_holder *h);

/* Ends the transaction: the source may vacuum again. */
void pg_snapshot_release(struct pg_snapshot_holder *h);
DEFINE_CLEANUP(struct pg_snapshot_holder, pg_snapshot_release);

/* BEGIN with an exported snapshot. ERROR_TRANSIENT when the holder is gone; pg_snapshot_keep tells. */
MUST_USE struct error *pg_snapshot_import(struct pg_conn *c, const char *id);

/*
 * BEGIN with a snapshot of this session's own, not exported. `lock` is a statement that runs first, as LOCK TABLE takes
 * no snapshot: what it locked cannot be rewritten between lock and snapshot (G3). NULL for none.
 *
 * With `covers` (`import` is not looked at): a snapshot in which something is running that this one saw is thrown away and taken again. That
 * happens where a COMMIT waits for a synchronous standby: logical decoding saw the commit record, others still see it
 * running.
 *
 * Only the transaction is left open on success; after an error there is none, or the session is broken.
 */
MUST_USE struct error *pg_snapshot_take(struct pg_conn *c, struct arena *a, const char *lock,
                                        struct pg_snapshot_wish wish, struct pg_snapshot *out);

/* The same, exported, on either side and without lock: importers may come while the transaction lives. */
MUST_USE struct error *pg_snapshot_export(struct pg_conn *c, struct arena *a, struct pg_snapshot_wish wish,
                                          struct pg_snapshot *out);
