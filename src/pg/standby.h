/*
 * Snapshots of a standby that have a position in the stream of its commits (DESIGN, G2). From PostgreSQL 16 on.
 *
 * An ordinary snapshot does not name there who was running (PEERS F14). Which commits it sees can be known all the same, in two ways:
 *
 *   at rest    all that has come from the primary was replayed before the snapshot was taken, and nothing more had come when it was
 *              there: it sees what was committed before that position, and nothing else.
 *   by a slot  the snapshot exported with a logical slot just made sees what was committed before the slot's consistent point, and nothing
 *              else. The slot waits until the primary writes down which transactions run: every 15 s while it is written to, at a
 *              checkpoint, or at SELECT pg_log_standby_snapshot() there.
 *
 * Trap: nothing keeps the rows that a slot's snapshot sees between its consistent point and its import: replay may remove them, and a
 * reader would miss them without a word. So a session watches from before the slot on: it has an older snapshot, so replay cannot
 * remove such a row without ending it.
 *
 * Belongs to one thread at a time.
 */
#pragma once

#include "pg/snapshot.h"

/* Whether the server was a standby when it last told. Such a session never writes. */
bool pg_standby_is(struct pg_conn *c);

/* `waiting` of pg_slot_create, for where nobody else is told: a line in the log. */
void pg_standby_tell_waiting(void *self, const char *what);

/* Opens the session that watches; before the slot. */
MUST_USE struct error *pg_standby_watch(const struct pg_endpoint *standby, struct pg_connect_options options,
                                        struct pg_conn **out_watch);

/* ERROR_TRANSIENT: rows may be gone that a snapshot imported meanwhile should see. After the import. */
MUST_USE struct error *pg_standby_watched(struct pg_conn *watch);

/*
 * BEGIN with a new snapshot whose gate is its position alone: `covers` need not be looked at, `not_before` is. ERROR_TRANSIENT when the
 * standby has not replayed so far, was promoted, or has not made the slot within `wait_ms` (0: for ever). `lock` as in pg_snapshot_take,
 * but it may come after what the snapshot shows.
 */
MUST_USE struct error *pg_standby_snapshot(struct pg_conn *c, struct arena *a, const char *lock,
                                           struct pg_snapshot_wish wish, bool has_export, struct pg_snapshot *out);
