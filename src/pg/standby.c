#include "pg/standby.h"

#include "base/fault.h"
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

struct taking {
    struct pg_conn *c;
    struct arena *a;
    const char *lock;
    struct pg_snapshot_wish wish;
    bool has_export;

    struct pg_conn *watch; /* by a slot */
    struct pg_conn *replication;
    struct pg_slot_created slot;
};

MUST_USE static struct error *check_not_before(const struct taking *t, struct lsn position)
{
    if (!lsn_before(position, t->wish.not_before))
        return NULL;
    return error_new(ERROR_TRANSIENT, "the standby has replayed up to %s only, the slot begins at %s",
                     lsn_format(position).text, lsn_format(t->wish.not_before).text);
}

/*
 * Replay is a single process and reads only what was received: where it had replayed everything, and no more had come after the snapshot
 * was taken, none of it can have been replayed in between. WAL from an archive would come without being received.
 */
MUST_USE static struct error *take_at_rest(const struct taking *t, struct pg_snapshot *out, bool *out_done)
{
    struct lsn replayed, received;
    char **row;

    TRY(read_replayed(t->c, t->a, &replayed));
    TRY(check_not_before(t, replayed));
    TRY(begin(t->c, t->lock));
    TRY(read_snapshot(t->c, t->a, t->has_export, &row));
    *out_done = is_on(row[READ_IS_STANDBY]) && is_on(row[READ_IS_STREAMING]) && row[READ_RECEIVED] != NULL &&
                lsn_parse(row[READ_RECEIVED], &received) && lsn_equal(received, replayed);
    if (*out_done)
        return make(t->a, row, replayed, out);
    bool was_promoted = !is_on(row[READ_IS_STANDBY]);
    TRY(pg_execute(t->c, "giving the transaction up", "ROLLBACK"));
    return was_promoted ? error_new(ERROR_TRANSIENT, "the standby was promoted meanwhile") : NULL;
}

static void close_slot(struct taking *t)
{
    pg_conn_close(t->replication); /* the slot is temporary */
    pg_conn_close(t->watch);
}

MUST_USE static struct error *import(const struct taking *t, struct pg_snapshot *out)
{
    char **row;

    TRY(begin(t->c, t->lock));
    TRY(pg_execute_format(t->c, "importing the snapshot", "SET TRANSACTION SNAPSHOT %s",
                          pg_quote_literal(t->a, t->slot.snapshot)));
    TRY(read_snapshot(t->c, t->a, t->has_export, &row));
    FAULT_POINT("standby.imported");
    TRY(pg_standby_watched(t->watch));
    return make(t->a, row, t->slot.consistent_point, out);
}

MUST_USE static struct error *take_by_slot(struct taking *t, struct pg_snapshot *out)
{
    const struct pg_endpoint *standby = pg_conn_endpoint(t->c);
    struct pg_connect_options options = {
        .application_name = PQparameterStatus(pg_conn_handle(t->c), "application_name"), .stop = pg_conn_stop(t->c)};

    TRY(pg_standby_watch(standby, options, &t->watch));
    options.replication = true;
    TRY(pg_connect_patiently(standby, options, &t->replication));
    TRY(pg_slot_create(
        t->replication, t->a,
        &(struct pg_slot_create_options){.name = arena_printf(t->a, PG_SLOT_PREFIX "snapshot_%d", pg_conn_pid(t->c)),
                                         .is_temporary = true,
                                         .timeout_ms = t->wish.wait_ms,
                                         .observer = t->c,
                                         .waiting = pg_standby_tell_waiting},
        &t->slot));
    TRY(check_not_before(t, t->slot.consistent_point));
    return import(t, out);
}

MUST_USE static struct error *take(struct taking *t, struct pg_snapshot *out)
{
    bool is_done = false, ready;

    for (unsigned i = 0; i < REST_TRIES; i++) {
        TRY(take_at_rest(t, out, &is_done));
        if (is_done)
            return NULL;
        TRY(pg_conn_wait(t->c, false, REST_EVERY_MS, &ready));
    }
    log_info("taking a snapshot of the standby by a temporary slot, which waits for a record of its primary");
    struct error *err = take_by_slot(t, out);
    close_slot(t);
    return err;
}

struct error *pg_standby_snapshot(struct pg_conn *c, struct arena *a, const char *lock, struct pg_snapshot_wish wish,
                                  bool has_export, struct pg_snapshot *out)
{
    if (pg_conn_version(c) < DECODES_SINCE)
        return error_hint(error_new(ERROR_CONFIG, "cannot take a snapshot on the source: it is a standby"),
                          "A standby's snapshot does not name the transactions that are running (F14): give the "
                          "primary's address.");
    struct taking t = {.c = c, .a = a, .lock = lock, .wish = wish, .has_export = has_export};
    struct error *err = take(&t, out);
    if (err == NULL || pg_conn_is_broken(c) || PQtransactionStatus(pg_conn_handle(c)) == PQTRANS_IDLE)
        return err;
    struct error *failure = pg_execute(c, "giving the transaction up", "ROLLBACK"); /* the first error says more */
    error_free(failure);
    return err;
}
