#include "pg/standby.h"

#include "base/log.h"
#include "pg/slot.h"

enum { DECODES_SINCE = 160000, REST_TRIES = 50, REST_EVERY_MS = 20 };

bool pg_standby_is(struct pg_conn *c)
{
    const char *answer = PQparameterStatus(pg_conn_handle(c), "in_hot_standby"); /* from 14 on */

    return answer != NULL && strcmp(answer, "on") == 0;
}

void pg_standby_tell_waiting(void *self, const char *what)
{
    (void)self;
    log_warn("the slot is waiting for %s", what);
}

/* ---- the watch ---- */

struct error *pg_standby_watch(const struct pg_endpoint *standby, struct pg_connect_options options,
                               struct pg_conn **out_watch)
{
    CLEANUP(pg_conn_close) struct pg_conn *watch = NULL;

    TRY(pg_connect_patiently(standby, options, &watch));
    TRY(pg_execute(watch, "beginning a transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    TRY(pg_execute(watch, "taking a snapshot that watches", "SELECT 1"));
    *out_watch = TAKE(watch);
    return NULL;
}

struct error *pg_standby_watched(struct pg_conn *watch)
{
    struct error *err = pg_execute(watch, "looking whether the standby removed rows", "SELECT 1");

    if (err == NULL || error_kind(err) == ERROR_CANCELLED)
        return err;
    CLEANUP(error_free) struct error *cause = err;
    return error_hint(error_new(ERROR_TRANSIENT, "the standby may have removed rows that its slot's snapshot sees: %s",
                                error_message(cause)),
                      "hot_standby_feedback = on on the standby avoids it.");
}

/* ---- a snapshot ---- */

enum { READ_SNAPSHOT, READ_ID, READ_RECEIVED, READ_IS_STREAMING, READ_IS_STANDBY };

/* In the snapshot's own statement, so after it was taken. */
MUST_USE static struct error *read_snapshot(struct pg_conn *c, struct arena *a, bool has_export, char ***out_row)
{
    struct pg_rows rows;

    TRY(pg_query(c, a, "reading the standby's snapshot and its position",
                 arena_printf(a,
                              "SELECT pg_current_snapshot()::text, %s, pg_last_wal_receive_lsn()::text,"
                              "       (current_setting('restore_command') = '' AND"
                              "        EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL))::text,"
                              "       pg_is_in_recovery()::text",
                              has_export ? "pg_export_snapshot()" : "NULL"),
                 NULL, 0, &rows));
    *out_row = rows.rows[0];
    return NULL;
}

MUST_USE static struct error *begin(struct pg_conn *c, const char *lock)
{
    TRY(pg_execute(c, "beginning a transaction", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    return lock == NULL ? NULL : pg_execute(c, "locking a table", lock);
}

MUST_USE static struct error *make(struct arena *a, char **row, struct lsn position, struct pg_snapshot *out)
{
    struct pg_snapshot s = {.id = row[READ_ID], .text = row[READ_SNAPSHOT], .gate.upto = position};

    TRY(snapshot_parse(a, s.text, &s.gate.snapshot));
    *out = s;
    return NULL;
}

static bool is_on(const char *text)
{
    return text != NULL && strcmp(text, "true") == 0;
}

MUST_USE static struct error *read_replayed(struct pg_conn *c, struct arena *a, struct lsn *out)
{
    char *text = NULL;

    TRY(pg_query_text(c, a, "asking up to where the standby has replayed", "SELECT pg_last_wal_replay_lsn()::text",
                      NULL, 0, &text));
    if (text == NULL || !lsn_parse(text, out))
        return error_new(ERROR_TRANSIENT, "the server does not say up to where it has replayed");
    return NULL;
}

/*
 * Replay is a single process and reads only what was received: where it had replayed everything, and no more had come after the snapshot
 * was taken, none of it can have been replayed in between. WAL from an archive would come without being received.
 */
MUST_USE static struct error *take_at_rest(struct pg_conn *c, struct arena *a, const char *lock,
                                           struct pg_snapshot_wish wish, bool has_export, struct pg_snapshot *out,
                                           bool *out_done)
{
    struct lsn replayed, received;
    char **row;

    TRY(read_replayed(c, a, &replayed));
    if (lsn_before(replayed, wish.not_before))
        return error_new(ERROR_TRANSIENT, "the standby has replayed up to %s only, the slot begins at %s",
                         lsn_format(replayed).text, lsn_format(wish.not_before).text);
    TRY(begin(c, lock));
    TRY(read_snapshot(c, a, has_export, &row));
    *out_done = is_on(row[READ_IS_STANDBY]) && is_on(row[READ_IS_STREAMING]) && row[READ_RECEIVED] != NULL &&
                lsn_parse(row[READ_RECEIVED], &received) && lsn_equal(received, replayed);
    if (*out_done)
        return make(a, row, replayed, out);
    bool was_promoted = !is_on(row[READ_IS_STANDBY]);
    TRY(pg_execute(c, "giving the transaction up", "ROLLBACK"));
    return was_promoted ? error_new(ERROR_TRANSIENT, "the standby was promoted meanwhile") : NULL;
}

struct slot_session {
    struct pg_conn *watch;
    struct pg_conn *replication;
    struct pg_slot_created slot;
};

static void close_slot(struct slot_session *s)
{
    pg_conn_close(s->replication); /* the slot is temporary */
    pg_conn_close(s->watch);
}

MUST_USE static struct error *import(struct pg_conn *c, struct arena *a, const char *lock, bool has_export,
                                     struct slot_session *s, struct pg_snapshot *out)
{
    char **row;

    TRY(begin(c, lock));
    TRY(pg_execute_format(c, "importing the snapshot", "SET TRANSACTION SNAPSHOT %s",
                          pg_quote_literal(a, s->slot.snapshot)));
    TRY(read_snapshot(c, a, has_export, &row));
    TRY(pg_standby_watched(s->watch));
    return make(a, row, s->slot.consistent_point, out);
}

MUST_USE static struct error *take_by_slot(struct pg_conn *c, struct arena *a, const char *lock,
                                           struct pg_snapshot_wish wish, bool has_export, struct slot_session *s,
                                           struct pg_snapshot *out)
{
    struct pg_connect_options options = {.application_name = PQparameterStatus(pg_conn_handle(c), "application_name"),
                                         .stop = pg_conn_stop(c)};

    TRY(pg_standby_watch(pg_conn_endpoint(c), options, &s->watch));
    options.replication = true;
    TRY(pg_connect_patiently(pg_conn_endpoint(c), options, &s->replication));
    TRY(pg_slot_create(
        s->replication, a,
        &(struct pg_slot_create_options){.name = arena_printf(a, PG_SLOT_PREFIX "snapshot_%d", pg_conn_pid(c)),
                                         .is_temporary = true,
                                         .timeout_ms = wish.wait_ms,
                                         .observer = c,
                                         .waiting = pg_standby_tell_waiting},
        &s->slot));
    if (lsn_before(s->slot.consistent_point, wish.not_before))
        return error_new(ERROR_TRANSIENT, "the standby has replayed up to %s only, the slot begins at %s",
                         lsn_format(s->slot.consistent_point).text, lsn_format(wish.not_before).text);
    return import(c, a, lock, has_export, s, out);
}

MUST_USE static struct error *take(struct pg_conn *c, struct arena *a, const char *lock, struct pg_snapshot_wish wish,
                                   bool has_export, struct pg_snapshot *out)
{
    struct slot_session session = {0};
    bool is_done = false, ready;

    for (unsigned i = 0; i < REST_TRIES; i++) {
        TRY(take_at_rest(c, a, lock, wish, has_export, out, &is_done));
        if (is_done)
            return NULL;
        TRY(pg_conn_wait(c, false, REST_EVERY_MS, &ready));
    }
    log_info("taking a snapshot of the standby by a temporary slot, which waits for a record of its primary");
    struct error *err = take_by_slot(c, a, lock, wish, has_export, &session, out);
    close_slot(&session);
    return err;
}

struct error *pg_standby_snapshot(struct pg_conn *c, struct arena *a, const char *lock, struct pg_snapshot_wish wish,
                                  bool has_export, struct pg_snapshot *out)
{
    if (pg_conn_version(c) < DECODES_SINCE)
        return error_hint(error_new(ERROR_CONFIG, "cannot take a snapshot on the source: it is a standby"),
                          "A standby's snapshot does not name the transactions that are running (F14): give the "
                          "primary's address.");
    struct error *err = take(c, a, lock, wish, has_export, out);
    if (err == NULL || pg_conn_is_broken(c) || PQtransactionStatus(pg_conn_handle(c)) == PQTRANS_IDLE)
        return err;
    struct error *failure = pg_execute(c, "giving the transaction up", "ROLLBACK"); /* the first error says more */
    error_free(failure);
    return err;
}
