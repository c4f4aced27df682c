#include "pg/snapshot.h"

#include "base/log.h"
#include "base/memory.h"
#include "pg/standby.h"

enum { AGAIN_MS = 50 }; /* a COMMIT waits for its standby that long and longer */

struct pg_snapshot_holder {
    struct arena *arena;
    struct pg_conn *conn;
    struct pg_snapshot snapshot;
};

/*
 * One statement: it runs under the snapshot that it names, and the position is read while it runs, so after (G2). Where the gate
 * counts, a standby refuses the question for the position.
 */
static const char *reading(const struct pg_conn *c, struct arena *a, bool has_export, bool may_be_standby)
{
    return arena_printf(a, "SELECT %s()::text, %s::text, %s",
                        pg_conn_version(c) >= 130000 ? "pg_current_snapshot" : "txid_current_snapshot",
                        may_be_standby ? "(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                                         "ELSE pg_current_wal_insert_lsn() END)"
                                       : "pg_current_wal_insert_lsn()",
                        has_export ? "pg_export_snapshot()" : "NULL");
}

MUST_USE static struct error *read_snapshot(struct pg_conn *c, struct arena *a, bool has_export, bool may_be_standby,
                                            struct pg_snapshot *out)
{
    struct pg_rows rows;
    struct pg_snapshot s = {0};

    TRY(pg_query(c, a, "reading the snapshot and its position", reading(c, a, has_export, may_be_standby), NULL, 0,
                 &rows));
    if (rows.n_rows != 1 || rows.rows[0][0] == NULL || rows.rows[0][1] == NULL ||
        !lsn_parse(rows.rows[0][1], &s.gate.upto))
        return error_new(ERROR_BUG, "the source answered no snapshot and position");
    s.text = rows.rows[0][0];
    s.id = rows.rows[0][2];
    TRY(snapshot_parse(a, s.text, &s.gate.snapshot));
    *out = s;
    return NULL;
}

struct error *pg_snapshot_import(struct pg_conn *c, const char *id)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "snapshot import");

    TRY(pg_execute(c, "beginning a transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    struct error *err =
        pg_execute_format(c, "importing the snapshot", "SET TRANSACTION SNAPSHOT %s", pg_quote_literal(scratch, id));

    if (err == NULL || (error_kind(err) != ERROR_DATA && error_kind(err) != ERROR_CONFIG))
        return err;
    /* 22023, from 17 on 42704: an identifier dies with the session that exported it. */
    CLEANUP(error_free) struct error *unknown = err;
    return error_new(ERROR_TRANSIENT, "the session that held the snapshot is lost: %s", error_message(unknown));
}

MUST_USE static struct error *take_once(struct pg_conn *c, struct arena *a, const char *lock, bool has_export,
                                        bool may_be_standby, struct pg_snapshot *out)
{
    TRY(pg_execute(c, "beginning a transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    if (lock != NULL)
        TRY(pg_execute(c, "locking a table", lock));
    return read_snapshot(c, a, has_export, may_be_standby, out);
}

MUST_USE static struct error *take(struct pg_conn *c, struct arena *a, const char *lock, struct pg_snapshot_wish wish,
                                   bool has_export, struct pg_snapshot *out)
{
    if (!wish.may_be_standby && pg_standby_is(c))
        return pg_standby_snapshot(c, a, lock, wish, has_export, out);
    for (unsigned tries = 1;; tries++) {
        bool ready;
        struct error *err = take_once(c, a, lock, has_export, wish.may_be_standby, out);

        if (err == NULL && (wish.covers == NULL || snapshot_covers(&out->gate.snapshot, wish.covers)))
            return NULL;
        if (!pg_conn_is_broken(c)) {
            CLEANUP(error_free)
            struct error *failure =
                pg_execute(c, "giving the transaction up", "ROLLBACK"); /* the first error says more */

            if (err == NULL)
                err = TAKE(failure);
        }
        TRY(err);
        if (tries == 1)
            log_debug("a transaction that the slot saw is still running for others: the snapshot is taken again");
        TRY(pg_conn_wait(c, false, AGAIN_MS, &ready));
    }
}

struct error *pg_snapshot_take(struct pg_conn *c, struct arena *a, const char *lock, struct pg_snapshot_wish wish,
                               struct pg_snapshot *out)
{
    return take(c, a, lock, wish, false, out);
}

struct error *pg_snapshot_export(struct pg_conn *c, struct arena *a, struct pg_snapshot_wish wish,
                                 struct pg_snapshot *out)
{
    return take(c, a, NULL, wish, true, out);
}

MUST_USE static struct error *settle(struct pg_snapshot_holder *h, struct pg_snapshot_wish wish)
{
    bool has_position = !lsn_is_none(wish.consistent_point);

    if (wish.import == NULL)
        return take(h->conn, h->arena, NULL, wish, true, &h->snapshot);
    TRY(pg_snapshot_import(h->conn, wish.import));
    TRY(read_snapshot(h->conn, h->arena, true, wish.may_be_standby || has_position, &h->snapshot));
    if (has_position)
        h->snapshot.gate.upto = wish.consistent_point;
    return NULL;
}

struct error *pg_snapshot_hold(const struct pg_endpoint *source, struct pg_connect_options options,
                               struct pg_snapshot_wish wish, struct pg_snapshot_holder **out_holder)
{
    CLEANUP(pg_snapshot_release) struct pg_snapshot_holder *h = MEMORY_NEW(struct pg_snapshot_holder);

    h->arena = arena_new(NULL, "snapshot holder");
    TRY(pg_connect_patiently(source, options, &h->conn));
    struct error *err = settle(h, wish);
    if (err != NULL)
        return error_wrap(err, "holding a snapshot of the source");
    *out_holder = TAKE(h);
    return NULL;
}

const struct pg_snapshot *pg_snapshot_of(const struct pg_snapshot_holder *h)
{
    return &h->snapshot;
}

struct error *pg_snapshot_keep(struct pg_snapshot_holder *h)
{
    struct error *err = pg_execute(h->conn, "keeping the snapshot", "SELECT 1");

    if (err == NULL && PQtransactionStatus(pg_conn_handle(h->conn)) != PQTRANS_INTRANS)
        err = error_new(ERROR_TRANSIENT, "keeping the snapshot: its transaction has ended");
    return err;
}

void pg_snapshot_release(struct pg_snapshot_holder *h)
{
    if (h == NULL)
        return;
    pg_conn_close(h->conn);
    arena_free(h->arena);
    free(h);
}
