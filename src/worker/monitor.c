#include "worker/monitor.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/clock_offset.h"
#include "model/growth.h"
#include "model/lag.h"
#include "pg/cells.h"
#include "pg/publication.h"
#include "pg/sequence.h"
#include "pg/slot.h"
#include "pg/standby.h"
#include "worker/drift.h"
#include "worker/selecting.h"

enum {
    EVERY_MS = 1000,
    HEARTBEAT_MS = 10000,
    SEQUENCES_MS = 60000,
    STRUCTURE_MS = 5000,
    STRUCTURE_SHARE = 50,
    DRIFT_MS = 30000,
    NEAR_S = 3600
};

struct monitor {
    struct task *task;
    struct arena *scratch; /* reset every round */
    struct pg_conn *source;
    struct pg_conn *target; /* for sequences; opened when first needed */
    bool is_failing;
    struct growth retained;
    bool is_near_limit;
    bool is_over_limit; /* --max-slot-wal */
    struct clock_offset clock;
    struct lag on_the_way;
    uint64_t snapshot; /* of the last look, hashed: it changes when a transaction that wrote ends, and only then */
    int64_t heartbeat_due_us;
    uint64_t transactions; /* received, when the last heartbeat was due */
    bool may_not_beat;
    int64_t sequences_due_us;
    int64_t structure_due_us;
    int64_t keys_due_us;
    bool is_keyless_told; /* that a table without key could not be given one */
    struct error *drift; /* how the structure was changed; told when what was committed before it was seen is applied */
    uint64_t drift_lsn;
    int64_t drift_until_us;
};

static int64_t after_ms(int64_t ms)
{
    return clock_now_us() + ms * 1000;
}

static void note_clock(struct monitor *m, int64_t asked_us, int64_t there_us)
{
    clock_offset_note(&m->clock, asked_us, there_us, clock_wall_us());
    if (m->clock.is_known)
        atomic_store(&m->task->counters->clock_offset_us, m->clock.offset_us);
}

/* What was committed on the source at one look must have come by the next; else it has been on the way since then. */
static void note_received(struct monitor *m, struct lsn inserted, struct lsn flushed, const char *snapshot_text)
{
    struct progress_counters *c = m->task->counters;
    uint64_t snapshot = hash_bytes(snapshot_text, strlen(snapshot_text), 0);
    struct lag_look look = {.at_us = clock_now_us(),
                            .there = flushed,
                            .inserted = inserted,
                            .here = {atomic_load(&c->received_lsn)},
                            .have_ended = snapshot != m->snapshot};

    m->snapshot = snapshot;
    atomic_store(&c->unheard_us, lag_note(&m->on_the_way, look));
}

MUST_USE static struct error *slot_is_good(const struct task *t, char **row)
{
    if (row[2] == NULL)
        return error_hint(
            error_new(ERROR_HISTORY, "history broken: replication slot \"%s\" does not exist on the source any more",
                      t->record->slot),
            "Somebody dropped it; what was committed since then cannot be had. Empty the target and start "
            "again after \"pgtide stop --force\".");
    if (row[8] != NULL && strcmp(row[8], "true") == 0)
        return error_hint(
            error_new(
                ERROR_HISTORY,
                "history broken: the standby invalidated replication slot \"%s\": its primary removed rows of the "
                "catalog that the slot needed, or has no wal_level = logical any more",
                t->record->slot),
            "Set hot_standby_feedback = on and primary_slot_name on the standby, wal_level = logical on the primary, "
            "then "
            "start again with an empty target after \"pgtide stop --force\".");
    if (row[3] != NULL && strcmp(row[3], "lost") == 0)
        return error_hint(
            error_new(ERROR_HISTORY, "history broken: the source removed WAL that replication slot \"%s\" needed",
                      t->record->slot),
            "max_slot_wal_keep_size was reached. Raise it, then start again after \"pgtide stop --force\".");
    return NULL;
}

/* The source comes first. Its own session, for ours are told to stop; the reason is on disk before the slot goes (R1). */
static void drop_slot(struct monitor *m, uint64_t retained)
{
    struct task *t = m->task;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "slot over its limit");
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct task_record record = *t->record;
    char *reason =
        arena_printf(a,
                     "the source kept %" PRIu64 " bytes of WAL for slot \"%s\", more than --max-slot-wal %" PRIu64
                     " allows: the slot was dropped",
                     retained, t->record->slot, t->options->max_slot_wal);

    record.reset_reason = reason;
    struct error *err = task_record_write(t->folder, &record);
    task_fail(
        t, error_hint(error_new(ERROR_HISTORY, "history broken: %s", reason),
                      "The target has all that was applied before. Run \"pgtide stop --force\", empty the target, and "
                      "synchronize again."));
    if (err == NULL)
        err = pg_connect(t->source,
                         (struct pg_connect_options){.application_name = task_session_name(a, t, "watchdog")}, &source);
    if (err == NULL)
        err = pg_slot_drop(source, t->record->slot);
    if (err != NULL)
        log_error(err, "could not drop slot \"%s\", for which the source keeps too much WAL", t->record->slot);
    error_free(err);
}

static void act_on_limit(struct monitor *m, uint64_t retained)
{
    struct task *t = m->task;
    uint64_t limit = t->options->max_slot_wal;
    bool is_over = limit != 0 && retained > limit;

    if (is_over == m->is_over_limit)
        return;
    m->is_over_limit = is_over;
    if (!is_over) {
        log_info("the source keeps less WAL for slot \"%s\" than --max-slot-wal again", t->record->slot);
        return;
    }
    log_warn("the source keeps %" PRIu64 " bytes of WAL for slot \"%s\", more than --max-slot-wal %" PRIu64 " allows",
             retained, t->record->slot, limit);
    switch (t->options->on_slot_limit) {
    case SLOT_LIMIT_ALERT:
        return;
    case SLOT_LIMIT_SPOOL:
        atomic_store(&t->acks_spool, true);
        return;
    case SLOT_LIMIT_DROP:
        drop_slot(m, retained);
        return;
    }
}

/* Of two limits the nearer one. */
static uint64_t room_within_ours(const struct task *t, uint64_t retained, uint64_t room)
{
    uint64_t limit = t->options->max_slot_wal;
    uint64_t ours = limit == 0 ? 0 : limit > retained ? limit - retained : 1;

    return ours == 0 || (room != 0 && room < ours) ? room : ours;
}

/*
 * The source drops WAL that the slot needs when max_slot_wal_keep_size is reached; safe_wal_size (13+) says how far that is. We
 * confirm what is durable in the spool, so only a full or broken spool or a lost connection lets it come near.
 */
static void note_retained(struct monitor *m, uint64_t retained, const char *safe)
{
    struct progress_counters *c = m->task->counters;
    int64_t growth = 0;
    int64_t room = cell_i64(safe);
    uint64_t room_bytes = safe == NULL ? 0 : room < 1 ? 1 : (uint64_t)room;

    room_bytes = room_within_ours(m->task, retained, room_bytes);
    growth_note(&m->retained, clock_now_us(), retained);
    if (!growth_rate(&m->retained, &growth))
        growth = 0;
    int64_t seconds = room_bytes == 0 ? -1 : growth_seconds_until(&m->retained, room_bytes);
    atomic_store(&c->slot_retained_bytes, retained);
    atomic_store(&c->slot_growth, growth);
    atomic_store(&c->slot_room_bytes, room_bytes);
    atomic_store(&c->slot_seconds_left, seconds < 0 ? 0 : seconds + 1);

    bool is_near = seconds >= 0 && seconds < NEAR_S;
    if (is_near && !m->is_near_limit)
        log_warn("the limit of WAL for slot \"%s\" is reached in about %" PRId64
                 " s (max_slot_wal_keep_size, --max-slot-wal): the "
                 "source keeps %" PRIu64 " bytes, %" PRId64
                 " more each second; raise the limit, or mend what holds up receiving",
                 m->task->record->slot, seconds, retained, growth);
    m->is_near_limit = is_near;
    act_on_limit(m, retained);
}

MUST_USE static struct error *look_at_source(struct monitor *m)
{
    static const char sql[] =
        "SELECT w.insert::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text,"
        "       s.slot_name::text, to_jsonb(s) ->> 'wal_status',"
        "       greatest(0, pg_wal_lsn_diff(w.written, s.restart_lsn))::bigint::text,"
        "       to_jsonb(s) ->> 'safe_wal_size', w.flushed::text, w.ended, to_jsonb(s) ->> 'conflicting'"
        "  FROM (SELECT CASE WHEN r.it THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS insert,"
        "               CASE WHEN r.it THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS written,"
        "               CASE WHEN r.it THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS flushed,"
        /* a standby's snapshot does not show each end of a transaction: there all WAL counts */
        "               CASE WHEN r.it THEN pg_last_wal_replay_lsn()::text ELSE txid_current_snapshot()::text END AS "
        "ended"
        "          FROM (SELECT pg_is_in_recovery() AS it) r) w"
        "  LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name::text = $1";
    struct task *t = m->task;
    struct pg_rows rows;
    struct lsn insert, flushed;
    int64_t asked_us = clock_wall_us();

    TRY(pg_query(m->source, m->scratch, "looking at the source's WAL and slot", sql,
                 (const char *const[]){t->record->slot}, 1, &rows));
    char **row = rows.rows[0];
    note_clock(m, asked_us, strtoll(row[1], NULL, 10));
    if (lsn_parse(row[0], &insert)) {
        atomic_store(&t->counters->source_lsn, insert.value);
        if (lsn_parse(row[6], &flushed))
            note_received(m, insert, flushed, row[7]);
    }
    note_retained(m, cell_u64(row[4]), row[5]);
    return slot_is_good(t, row);
}

/*
 * A transaction that holds nothing else: an idle database's slot moves on, and so does what the target has durably. Where
 * transactions come anyway it is not needed; where we may not, keepalives move the slot.
 */
MUST_USE static struct error *beat(struct monitor *m)
{
    uint64_t transactions = atomic_load(&m->task->counters->transactions_received);

    if (m->may_not_beat || pg_standby_is(m->source) || clock_now_us() < m->heartbeat_due_us)
        return NULL;
    bool is_idle = transactions == m->transactions;
    m->heartbeat_due_us = after_ms(HEARTBEAT_MS);
    m->transactions = transactions + is_idle; /* ours will come */
    if (!is_idle)
        return NULL;
    struct error *err = pg_execute(m->source, "sending a heartbeat through the source's WAL",
                                   "SELECT pg_catalog.pg_logical_emit_message(true, 'pgtide', 'heartbeat')");
    if (err == NULL || error_kind(err) == ERROR_TRANSIENT)
        return err;
    m->may_not_beat = true;
    log_info("no heartbeats are sent, so an idle source's slot moves by keepalives alone: %s", error_message(err));
    error_free(err);
    return NULL;
}

MUST_USE static struct error *refresh_sequences(struct monitor *m)
{
    struct task *t = m->task;

    if (progress_phase(t->progress) != PHASE_INCREMENTAL || clock_now_us() < m->sequences_due_us)
        return NULL;
    m->sequences_due_us = after_ms(SEQUENCES_MS);
    if (m->target == NULL)
        TRY(task_connect_target(t, "sequences", t->stream_stop, &m->target));
    struct sequence *sequences = NULL;
    struct chosen *chosen = NULL;
    unsigned n = 0;
    TRY(selecting_now(t, m->source, m->scratch, &chosen));
    TRY(sequence_read(m->source, m->scratch, chosen_filter(chosen), &sequences, &n));
    return sequence_write(m->target, m->scratch, sequences, n);
}

/*
 * Whoever makes a table without key, or takes one's key away, must be able to update it all the same. Event triggers see to it in the same
 * transaction; where there are none, and where somebody said NOTHING, it is seen here a moment later.
 */
MUST_USE static struct error *look_at_keys(struct monitor *m)
{
    const struct task *t = m->task;
    int64_t began_us = clock_now_us();
    const char *done = NULL, *failed = NULL;

    if (!t->record->owns_publication || t->is_test_decoding || pg_standby_is(m->source) || began_us < m->keys_due_us)
        return NULL;
    TRY(pg_publication_mend_keyless(m->source, m->scratch, t->record->publication, &done, &failed));
    m->keys_due_us = clock_now_us() + (clock_now_us() - began_us) * STRUCTURE_SHARE;
    if (done != NULL)
        log_warn(
            "published and without key, these could not be updated on the source; they got REPLICA IDENTITY FULL: %s",
            done);
    if (failed != NULL && !m->is_keyless_told)
        log_warn("the source refuses UPDATE and DELETE of a table, because it is published and has no key; give it "
                 "one, or REPLICA "
                 "IDENTITY FULL: %s",
                 failed);
    m->is_keyless_told = failed != NULL;
    return NULL;
}

/* When it ends nobody is there to see to it: once more, by a session that has not been told to stop. */
static void look_at_keys_at_the_end(struct monitor *m)
{
    const struct task *t = m->task;

    if (t->record->has_ddl || !t->record->owns_publication || m->source == NULL || m->is_failing)
        return;
    pg_conn_close(TAKE(m->source));
    m->keys_due_us = 0;
    struct error *err =
        pg_connect(t->source, (struct pg_connect_options){.application_name = task_session_name(m->scratch, t, "keys")},
                   &m->source);
    if (err == NULL)
        err = look_at_keys(m);
    if (err != NULL)
        log_debug("could not look for tables without key: %s", error_message(err));
    error_free(err);
}

/* A large catalog takes its time: no more than a small share of it is spent on looking. */
MUST_USE static struct error *look_at_structure(struct monitor *m)
{
    int64_t began_us = clock_now_us();

    if (progress_phase(m->task->progress) != PHASE_INCREMENTAL || began_us < m->structure_due_us)
        return NULL;
    struct error *err = drift_check(m->task, m->source, false);
    if (err != NULL && error_kind(err) != ERROR_CONFIG)
        return err;
    m->structure_due_us = after_ms(STRUCTURE_MS) + (clock_now_us() - began_us) * STRUCTURE_SHARE;
    if (m->drift == NULL) {
        m->drift_lsn = atomic_load(&m->task->counters->source_lsn);
        m->drift_until_us = after_ms(DRIFT_MS);
    }
    error_free(m->drift);
    m->drift = err;
    return NULL;
}

/* The rows before the change fit the target as it is; whoever changes it should not have to think of them. */
static struct error *take_drift(struct monitor *m)
{
    if (m->drift == NULL ||
        (atomic_load(&m->task->counters->applied_lsn) < m->drift_lsn && clock_now_us() < m->drift_until_us))
        return NULL;
    return TAKE(m->drift);
}

/* The session of the start goes on as ours: it knows the catalogs. */
MUST_USE static struct error *take_control(struct monitor *m)
{
    m->source = TAKE(m->task->control);
    return m->source == NULL
               ? NULL
               : pg_execute_format(m->source, "naming the session", "SET application_name = %s",
                                   pg_quote_literal(m->scratch, task_session_name(m->scratch, m->task, "monitor")));
}

MUST_USE static struct error *monitor_round(struct monitor *m)
{
    if (m->source == NULL)
        TRY(take_control(m));
    if (m->source == NULL)
        TRY(task_connect_source(m->task, "monitor", m->task->stream_stop, &m->source));
    TRY(look_at_source(m));
    TRY(look_at_keys(m));
    TRY(beat(m));
    TRY(refresh_sequences(m));
    return look_at_structure(m);
}

/* What a broken history means is the only thing decided here; the rest is looked at again in a second. */
MUST_USE static struct error *judge(struct monitor *m, struct error *err)
{
    if (err == NULL) {
        m->is_failing = false;
        return NULL;
    }
    if (error_kind(err) == ERROR_HISTORY)
        return err;
    if (atomic_load(&m->task->counters->unheard_us) == 0)
        atomic_store(&m->task->counters->unheard_us, clock_now_us()); /* who knows what is committed there */
    if (!m->is_failing && error_kind(err) != ERROR_CANCELLED)
        log_warn("could not look at the source, trying again: %s", error_message(err));
    m->is_failing = true;
    error_free(err);
    pg_conn_close(TAKE(m->source));
    pg_conn_close(TAKE(m->target));
    return NULL;
}

struct error *monitor_run(void *self)
{
    struct task *t = self;
    struct monitor m = {.task = t, .scratch = arena_new(NULL, "monitor")};
    struct error *err = NULL;

    m.sequences_due_us = after_ms(SEQUENCES_MS);
    m.keys_due_us = after_ms(EVERY_MS); /* the first changes come first */
    m.heartbeat_due_us = m.keys_due_us;
    while (err == NULL && !stop_requested(t->stream_stop)) {
        arena_reset(m.scratch);
        err = judge(&m, monitor_round(&m));
        if (err == NULL)
            err = take_drift(&m);
        if (err == NULL)
            stop_wait_ms(t->stream_stop, EVERY_MS);
    }
    look_at_keys_at_the_end(&m);
    pg_conn_close(m.source);
    pg_conn_close(m.target);
    arena_free(m.scratch);
    error_free(m.drift);
    task_fail(t, err);
    return NULL;
}
