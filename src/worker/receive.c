#include "worker/receive.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/stream.h"
#include "sync/commit_log.h"
#include "sync/spool.h"
#include "sys/file.h"
#include "worker/catch_up.h"
#include "worker/history.h"
#include "worker/intake.h"
#include "worker/patience.h"

enum {
    SYNC_EVERY_MS = 100,
    SYNC_EVERY_BYTES = 8 * 1024 * 1024,
    PING_AFTER_MS = 10000, /* of silence: the server is asked to say something */
    SILENCE_MS = 60000,    /* without an answer the connection is given up; doubles each time it was no use */
    SILENCE_DOUBLINGS_MAX = 5,
    FEEDBACK_EVERY_MS = 1000,
    FEEDBACKS_A_TIMEOUT = 4, /* at least, of wal_sender_timeout */
    MESSAGES_A_ROUND = 10000,
    WAIT_WHILE_FULL_MS = 100,
    FULL_DISK_BYTES = 1024 * 1024, /* free is as good as nothing */
    ROOM_BYTES = 4 * 1024 * 1024,  /* more free than before is worth a try */
    ROOM_LOOKS = 60,
    ROOM_EVERY_MS = 1000,
};

struct receiver {
    struct task *task;
    struct pg_stream *stream;
    struct intake *intake;
    int64_t feedback_every_us;
    struct lsn durable;   /* on the spool's disk */
    struct lsn confirmed; /* what the source was told last */
    struct lsn heard;     /* the last WAL position that the source mentioned */
    struct lsn keepalive; /* to be recorded; LSN_NONE: none */
    size_t unsynced;      /* bytes */
    int64_t sync_due_us;
    int64_t feedback_due_us;
    int64_t heard_at_us; /* when anything came last */
    int64_t wall_us;     /* of this round: a look at the clock for each message costs as much as to decode it */
    int64_t ping_due_us;
    unsigned silences; /* connections given up one after the other */
    bool reply_requested;
    bool was_full;
    bool is_whole; /* no transactions in progress any more: their decoding failed */
};

/* (P4) Until the spool has it, a keepalive is nothing but a number to show. */
static void take_keepalive(struct receiver *r, const struct stream_message *m)
{
    r->reply_requested = r->reply_requested || m->reply_requested;
    r->keepalive = m->end;
}

MUST_USE static struct error *take_messages(struct receiver *r)
{
    struct stream_message m;
    bool has_heard = false;

    r->wall_us = clock_wall_us();
    for (unsigned i = 0; i < MESSAGES_A_ROUND; i++) {
        TRY(pg_stream_next(r->stream, &m));
        if (m.kind == STREAM_NOTHING)
            break;
        has_heard = true;
        r->heard = lsn_max(r->heard, m.end);
        if (m.kind == STREAM_KEEPALIVE) {
            take_keepalive(r, &m);
            continue;
        }
        r->keepalive = LSN_NONE; /* older than what came now */
        TRY(intake_take(r->intake, m.bytes, m.length, m.start, r->wall_us));
        r->unsynced += m.length;
    }
    if (has_heard) {
        r->heard_at_us = clock_now_us();
        r->silences = 0;
    }
    if (intake_is_waiting(r->intake))
        r->keepalive = LSN_NONE;
    if (!lsn_is_none(r->keepalive)) {
        TRY(spool_keepalive(r->task->spool, r->keepalive, r->wall_us));
        r->unsynced++;
        r->keepalive = LSN_NONE;
    }
    return NULL;
}

MUST_USE static struct error *sync_spool(struct receiver *r)
{
    int64_t now = clock_now_us();

    if (r->unsynced == 0 || (now < r->sync_due_us && r->unsynced < SYNC_EVERY_BYTES && !r->reply_requested))
        return NULL;
    TRY(spool_sync(r->task->spool, &r->durable));
    r->unsynced = 0;
    r->sync_due_us = now + SYNC_EVERY_MS * INT64_C(1000);
    return NULL;
}

/*
 * (P3) A source that shuts down waits until it is told of all it has sent, also of what is no commit: with --ack target the keepalives
 * count as well, or it would wait for ever, and keep the WAL of its other databases.
 */
static struct lsn may_be_forgotten(const struct receiver *r)
{
    struct lsn on_target = {atomic_load(&r->task->settled_lsn)};

    if (r->task->options->ack == ACK_TARGET && !atomic_load(&r->task->acks_spool) && lsn_before(on_target, r->durable))
        return on_target;
    return r->durable;
}

/*
 * A peer that is gone behind something that still answers (a proxy, a stopped host) only shows by its silence. A walsender that
 * decodes a huge transaction is silent, too, on older servers: so patience grows.
 */
MUST_USE static struct error *check_silence(struct receiver *r, int64_t now)
{
    int64_t limit_us = (int64_t)SILENCE_MS * 1000 << r->silences;

    if (now - r->heard_at_us < limit_us)
        return NULL;
    if (r->silences < SILENCE_DOUBLINGS_MAX)
        r->silences++;
    return error_new(ERROR_TRANSIENT, "the source has not said anything for %d s, though it was asked to",
                     (int)(limit_us / 1000000));
}

static bool ping_is_due(struct receiver *r, int64_t now)
{
    if (now - r->heard_at_us < PING_AFTER_MS * INT64_C(1000) || now < r->ping_due_us)
        return false;
    r->ping_due_us = now + PING_AFTER_MS * INT64_C(1000);
    return true;
}

MUST_USE static struct error *send_feedback(struct receiver *r)
{
    struct progress_counters *c = r->task->counters;
    int64_t now = clock_now_us();

    if (!r->reply_requested && now < r->feedback_due_us)
        return NULL;
    if (!r->was_full)
        TRY(check_silence(r, now));
    struct lsn forget = may_be_forgotten(r);
    FAULT_POINT("receive.before_feedback");
    TRY(pg_stream_feedback(r->stream, lsn_max(r->heard, forget), forget, (struct lsn){atomic_load(&c->applied_lsn)},
                           ping_is_due(r, now)));
    r->confirmed = forget;
    r->reply_requested = false;
    r->feedback_due_us = now + r->feedback_every_us;
    return NULL;
}

static void show(struct receiver *r)
{
    struct progress_counters *c = r->task->counters;

    atomic_store(&c->received_lsn, r->heard.value);
    atomic_store(&c->spooled_lsn, r->durable.value);
    atomic_store(&c->spool_bytes, spool_bytes(r->task->spool) + intake_stored_bytes(r->intake));
    atomic_store(&c->transactions_received, spool_transactions(r->task->spool));
}

/* A huge transaction is being given to the spool: the source must hear of us all the same, and stop be heeded. */
static struct error *breathe(void *self)
{
    struct receiver *r = self;

    TRY(stop_check(r->task->stream_stop));
    r->heard_at_us = clock_now_us(); /* it is us who do not listen */
    r->wall_us = clock_wall_us();
    show(r);
    return send_feedback(r);
}

static int wait_ms(const struct receiver *r)
{
    int64_t due = r->feedback_due_us;

    if (r->unsynced > 0 && r->sync_due_us < due)
        due = r->sync_due_us;
    int64_t ms = (due - clock_now_us() + 999) / 1000;
    return ms < 0 ? 0 : (int)ms;
}

/* Over its limit the spool takes nothing more: the source keeps its WAL meanwhile, and is told that we live. */
MUST_USE static struct error *wait_or_rest(struct receiver *r)
{
    bool is_full = spool_is_full(r->task->spool);

    if (is_full != r->was_full)
        log_warn(is_full ? "the spool is full (%" PRIu64
                           " bytes): reading from the source stops until changes are applied"
                         : "the spool has room again (%" PRIu64 " bytes used): reading from the source goes on",
                 spool_bytes(r->task->spool));
    r->was_full = is_full;
    if (!is_full)
        return pg_stream_wait(r->stream, wait_ms(r));
    r->heard_at_us = clock_now_us(); /* it is us who do not listen */
    stop_wait_ms(r->task->stream_stop, WAIT_WHILE_FULL_MS);
    return NULL;
}

/* (P6) A server that answers at the same address need not be the same server. */
MUST_USE static struct error *check_history(const struct task *t, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "history");
    struct history now;

    TRY(history_read(source, scratch, &now));
    TRY(history_compare(&t->history, &now));
    return history_check_slot(source, t->record->slot, spool_end(t->spool));
}

static unsigned decoding_work_mem_kb(const struct sync_options *o)
{
    uint64_t bytes = o->decoding_work_mem == 0 ? SYNC_DECODING_WORK_MEM : o->decoding_work_mem;

    return (unsigned)(bytes / 1024);
}

/* ---- what waits is read by queries: worker/catch_up ---- */

static struct error *take_queried(void *self, const char *bytes, size_t length, struct lsn at)
{
    struct receiver *r = self;

    r->heard = lsn_max(r->heard, at);
    TRY(intake_take(r->intake, bytes, length, at, r->wall_us));
    r->unsynced += length;
    FAULT_POINT("receive.queried");
    return NULL;
}

static struct error *rest_from_query(void *self)
{
    struct receiver *r = self;

    r->wall_us = clock_wall_us();
    TRY(spool_show(r->task->spool));
    TRY(sync_spool(r));
    TRY(spool_trim(r->task->spool, (struct lsn){atomic_load(&r->task->durable_lsn)}));
    show(r);
    return NULL;
}

static struct error *settle_queried(void *self, struct lsn upto, struct lsn *out_forget)
{
    struct receiver *r = self;

    if (!lsn_is_none(upto))
        TRY(spool_keepalive(r->task->spool, upto, clock_wall_us()));
    r->heard = lsn_max(r->heard, upto);
    TRY(spool_sync(r->task->spool, &r->durable));
    r->unsynced = 0;
    TRY(rest_from_query(r));
    *out_forget = may_be_forgotten(r);
    return NULL;
}

/* By the session that looks whether the slot is still ours; afterwards that is looked at again, as somebody may have used it meanwhile. */
MUST_USE static struct error *check_and_catch_up(struct receiver *r)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "check");
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    struct task *t = r->task;
    bool has_read = false;

    TRY(pg_connect(
        t->source,
        (struct pg_connect_options){.application_name = task_session_name(scratch, t, "check"), .stop = t->stream_stop},
        &conn));
    TRY(check_history(t, conn));
    r->wall_us = clock_wall_us();
    TRY(catch_up_run(&(struct catch_up){.task = t,
                                        .source = conn,
                                        .decoding_work_mem_kb = decoding_work_mem_kb(t->options),
                                        .take = take_queried,
                                        .rest = rest_from_query,
                                        .settle = settle_queried,
                                        .self = r},
                     &has_read));
    return has_read ? history_check_slot(conn, t->record->slot, spool_end(t->spool)) : NULL;
}

/* ---- the session ---- */

/* Often enough for the server's patience. */
static int64_t feedback_every_us(const struct pg_stream *stream)
{
    int64_t timeout_us = (int64_t)pg_stream_sender_timeout_ms(stream) * 1000;
    int64_t every_us = (int64_t)FEEDBACK_EVERY_MS * 1000;

    return timeout_us == 0 || timeout_us / FEEDBACKS_A_TIMEOUT > every_us ? every_us : timeout_us / FEEDBACKS_A_TIMEOUT;
}

MUST_USE static struct error *open_stream(struct receiver *r)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "receiver");
    struct task *t = r->task;

    return pg_stream_open((struct pg_stream_options){.endpoint = t->source,
                                                     .application_name = task_session_name(scratch, t, "receiver"),
                                                     .slot = t->record->slot,
                                                     .publications = t->publications.names,
                                                     .n_publications = t->publications.n,
                                                     .from = spool_end(t->spool),
                                                     .binary = t->is_binary,
                                                     .is_whole = r->is_whole,
                                                     .decoding_work_mem_kb = decoding_work_mem_kb(t->options),
                                                     .is_test_decoding = t->is_test_decoding,
                                                     .nap_us = PG_STREAM_NAP_US,
                                                     .stop = t->stream_stop},
                          &r->stream);
}

/* What a full disk has no room for is cut off, and its commits come again; what is applied makes room. */
MUST_USE static struct error *break_spool(const struct task *t)
{
    struct lsn before = spool_end(t->spool);

    TRY(spool_break(t->spool));
    if (lsn_before(spool_end(t->spool), before))
        commit_log_begin(t->commits, spool_end(t->spool));
    return spool_trim(t->spool, (struct lsn){atomic_load(&t->durable_lsn)});
}

MUST_USE static struct error *receive_session(struct receiver *r)
{
    struct task *t = r->task;

    TRY(break_spool(t));
    r->durable = spool_end(t->spool);
    r->keepalive = LSN_NONE;
    r->unsynced = 0;
    TRY(intake_restart(r->intake));
    TRY(check_and_catch_up(r));
    TRY(open_stream(r));
    r->feedback_every_us = feedback_every_us(r->stream);
    r->heard_at_us = clock_now_us();
    log_info("receiving changes from %s on", lsn_format(spool_end(t->spool)).text);
    while (!stop_requested(t->stream_stop)) {
        if (!spool_is_full(t->spool))
            TRY(take_messages(r));
        TRY(spool_show(t->spool));
        FAULT_POINT("receive.written");
        TRY(sync_spool(r));
        TRY(spool_trim(t->spool, (struct lsn){atomic_load(&t->durable_lsn)}));
        TRY(send_feedback(r));
        show(r);
        TRY(wait_or_rest(r));
    }
    return NULL;
}

/* PostgreSQL's own defect, met in decoding. */
static bool is_defect(const struct error *err)
{
    return strstr(error_message(err), "SQLSTATE XX") != NULL;
}

/*
 * Some of them are met only while a transaction is in progress that alters tables and is rolled back in part: once it has ended, the source
 * knows which of its changes count. Then it is the source that holds large transactions, on its own disk.
 */
static bool may_wait_for_commits(struct receiver *r, const struct error *err)
{
    if (r->is_whole || r->task->is_test_decoding || !is_defect(err))
        return false;
    r->is_whole = true;
    log_warn("the source could not decode a transaction that is in progress; from now on each comes when it is "
             "committed: %s",
             error_message(err));
    return true;
}

/* Reading on is impossible, and what was not received yet cannot be had from this slot. */
static struct error *explain(const struct receiver *r, struct error *err)
{
    if (!is_defect(err))
        return err;
    return error_hint(
        error_new(ERROR_HISTORY, "history broken: the source cannot decode its WAL for slot \"%s\": %s",
                  r->task->record->slot, error_message(err)),
        "That is an internal error of the source, which came again at each try. Nothing was lost on either side, but "
        "the changes from here on cannot be had from this slot: \"pgtide stop --force\", empty the target, and "
        "synchronize again. The source's log says more.");
}

/* Where somebody can do something, as make room on a full disk, the hint says what. */
static void tell_broken(const struct error *err)
{
    const char *hint = error_hint_text(err);

    log_warn("the change stream broke, connecting again: %s%s%s", error_message(err), hint == NULL ? "" : ". ",
             hint == NULL ? "" : hint);
}

static uint64_t free_bytes(const struct task *t)
{
    uint64_t bytes = 0;
    CLEANUP(error_free) struct error *err = disk_free_bytes(t->folder, &bytes);

    return err == NULL ? bytes : UINT64_MAX;
}

/*
 * Each new connection has the source decode from its restart point on and send what has no room again. So it is made when there is
 * more room than what is cut off gave back: because somebody made some, or because what was applied is not kept any more; and
 * from time to time, for who knows.
 */
static void wait_for_room(const struct task *t)
{
    if (free_bytes(t) > FULL_DISK_BYTES)
        return;

    CLEANUP(error_free) struct error *err = break_spool(t); /* tried again by the next session */
    uint64_t before = free_bytes(t);
    for (unsigned i = 0; i < ROOM_LOOKS && err == NULL && free_bytes(t) < before + ROOM_BYTES; i++) {
        if (stop_wait_ms(t->stream_stop, ROOM_EVERY_MS))
            return;
        err = spool_trim(t->spool, (struct lsn){atomic_load(&t->durable_lsn)});
    }
}

/*
 * A server whose bytes we do not take ends the stream within a minute (pg/stream.c). A new one would have it decode again what has no place yet.
 */
static void wait_while_full(struct task *t)
{
    while (spool_is_full(t->spool) && !stop_wait_ms(t->stream_stop, WAIT_WHILE_FULL_MS)) {
        CLEANUP(error_free) struct error *err = spool_trim(t->spool, (struct lsn){atomic_load(&t->durable_lsn)});

        if (err != NULL)
            return; /* tried again by the next session */
    }
}

MUST_USE static struct error *receive_for_ever(struct receiver *r)
{
    struct task *t = r->task;
    struct patience patience = {.failures = 0};
    struct lsn reached = LSN_NONE;

    for (;;) {
        int64_t began_us = clock_now_us();
        struct error *err = receive_session(r);

        pg_stream_close(TAKE(r->stream));
        if (err == NULL)
            return NULL;
        if (clock_now_us() - began_us > INT64_C(10) * 1000000 || lsn_before(reached, r->durable))
            patience_renew(&patience); /* what has no room on the disk came in vain */
        reached = r->durable;
        if (may_wait_for_commits(r, err)) {
            error_free(err);
            continue;
        }
        if (!patience_allows(&patience, err))
            return explain(r, err);
        if (patience.backoff.tries == 0)
            tell_broken(err);
        error_free(err);
        wait_for_room(t);
        wait_while_full(t);
        if (patience_wait(&patience, t->stream_stop))
            return NULL;
    }
}

struct error *receive_run(void *self)
{
    struct receiver r = {.task = self};
    struct error *err = intake_open((struct intake_options){.task = r.task, .breathe = breathe, .self = &r}, &r.intake);

    if (err == NULL)
        err = receive_for_ever(&r);
    intake_close(r.intake);
    task_fail(r.task, err == NULL ? NULL : error_wrap(err, "receiving changes"));
    return NULL;
}
