#include "worker/monitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "pg/sequence.h"

enum { EVERY_MS = 1000, HEARTBEAT_MS = 10000, SEQUENCES_MS = 60000 };

struct monitor {
    struct task *task;
    struct arena *scratch; /* reset every round */
    struct pg_conn *source;
    struct pg_conn *target; /* for sequences; opened when first needed */
    bool is_failing;
    int64_t heartbeat_due_us;
    int64_t sequences_due_us;
};

static int64_t after_ms(int64_t ms)
{
    return clock_now_us() + ms * 1000;
}

static uint64_t number(const char *text)
{
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

/* The source's clock minus ours, as if the server had read it in the middle of the round trip. */
static void note_clock(struct task *t, const char *source_us, int64_t asked_us, int64_t answered_us)
{
    int64_t there = strtoll(source_us, NULL, 10);

    atomic_store(&t->clock_offset_us, there - (asked_us + (answered_us - asked_us) / 2));
}

MUST_USE static struct error *slot_is_good(const struct task *t, char **row)
{
    if (row[2] == NULL)
        return error_hint(error_new(ERROR_HISTORY,
                                    "history broken: replication slot \"%s\" does not exist on the source any more",
                                    t->record->slot),
                          "Somebody dropped it; what was committed since then cannot be had. Empty the target and start "
                          "again after \"pgtide stop --force\".");
    if (row[3] != NULL && strcmp(row[3], "lost") == 0)
        return error_hint(error_new(ERROR_HISTORY,
                                    "history broken: the source removed WAL that replication slot \"%s\" needed",
                                    t->record->slot),
                          "max_slot_wal_keep_size was reached. Raise it, then start again after \"pgtide stop --force\".");
    return NULL;
}

MUST_USE static struct error *look_at_source(struct monitor *m)
{
    static const char sql[] =
        "SELECT pg_current_wal_insert_lsn()::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text,"
        "       s.slot_name::text, to_jsonb(s) ->> 'wal_status',"
        "       pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint::text"
        "  FROM (SELECT) one LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name::text = $1";
    struct task *t = m->task;
    struct pg_rows rows;
    struct lsn insert;
    int64_t asked_us = clock_wall_us();

    TRY(pg_query(m->source, m->scratch, "looking at the source's WAL and slot", sql,
                 (const char *const[]){t->record->slot}, 1, &rows));
    char **row = rows.rows[0];
    note_clock(t, row[1], asked_us, clock_wall_us());
    if (lsn_parse(row[0], &insert))
        atomic_store(&t->counters->source_lsn, insert.value);
    atomic_store(&t->counters->slot_retained_bytes, number(row[4]));
    return slot_is_good(t, row);
}

/* A transaction that holds nothing else: an idle database's slot moves on, and so does what the target has durably. */
MUST_USE static struct error *beat(struct monitor *m)
{
    if (clock_now_us() < m->heartbeat_due_us)
        return NULL;
    m->heartbeat_due_us = after_ms(HEARTBEAT_MS);
    return pg_execute(m->source, "sending a heartbeat through the source's WAL",
                      "SELECT pg_catalog.pg_logical_emit_message(true, 'pgtide', 'heartbeat')");
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
    unsigned n = 0;
    TRY(sequence_read(m->source, m->scratch, &sequences, &n));
    return sequence_write(m->target, m->scratch, sequences, n);
}

MUST_USE static struct error *monitor_round(struct monitor *m)
{
    if (m->source == NULL)
        TRY(task_connect_source(m->task, "monitor", m->task->stream_stop, &m->source));
    TRY(look_at_source(m));
    TRY(beat(m));
    return refresh_sequences(m);
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
    while (err == NULL && !stop_requested(t->stream_stop)) {
        arena_reset(m.scratch);
        err = judge(&m, monitor_round(&m));
        if (err == NULL)
            stop_wait_ms(t->stream_stop, EVERY_MS);
    }
    pg_conn_close(m.source);
    pg_conn_close(m.target);
    arena_free(m.scratch);
    task_fail(t, err);
    return NULL;
}
