#include "worker/catch_up.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "model/read_window.h"
#include "pg/slot_peek.h"
#include "pg/standby.h"
#include "sync/spool.h"

enum { BROKEN_MAX = 3 };

struct reading {
    const struct catch_up *c;
    struct arena *scratch; /* reset with each window */
    struct backlog backlog;
    struct lsn confirmed;
    struct lsn
        goal; /* where the WAL ended at the begin: who wants queries gets the stream behind it, however fast more comes */
    bool is_refused; /* by ourselves: `take` or `rest` failed, not the source */
};

static uint64_t room_of(const struct task *t)
{
    uint64_t limit = t->options->max_spool, used = spool_bytes(t->spool);

    if (limit == 0)
        return UINT64_MAX;
    return used < limit ? limit - used : 0;
}

static uint64_t bytes_between(struct lsn from, struct lsn to)
{
    return lsn_before(from, to) ? to.value - from.value : 0;
}

/* *out_may_read: the slot is where the spool ends. */
MUST_USE static struct error *look(struct reading *r, bool *out_may_read)
{
    const struct task *t = r->c->task;
    struct pg_slot_backlog found;

    TRY(pg_slot_backlog(r->c->source, r->scratch, t->record->slot, &found));
    if (lsn_is_none(r->goal))
        r->goal = found.written;
    r->confirmed = found.confirmed;
    r->backlog.again = bytes_between(found.restart, found.confirmed);
    r->backlog.behind = bytes_between(found.confirmed, r->backlog.wish == READ_BACKLOG_QUERY ? r->goal : found.written);
    r->backlog.room = room_of(t);
    *out_may_read = found.exists && lsn_equal(found.confirmed, spool_end(t->spool));
    return NULL;
}

static struct error *take(void *self, const char *bytes, size_t length, struct lsn at)
{
    struct reading *r = self;

    r->backlog.messages++;
    r->backlog.bytes += length;
    struct error *err = r->c->take(r->c->self, bytes, length, at);
    r->is_refused = err != NULL;
    return err;
}

static struct error *rest(void *self)
{
    struct reading *r = self;
    struct error *err = r->c->rest(r->c->self);

    r->is_refused = err != NULL;
    return err;
}

#ifdef PGTIDE_FAULTS
/* Several windows of a backlog that is small. */
static void make_smaller(struct read_window *w)
{
    const char *most =
        getenv("PGTIDE_READ_WINDOW"); /* NOLINT(concurrency-mt-unsafe): nothing changes the environment */
    unsigned long n = most == NULL ? 0 : strtoul(most, NULL, 10);

    if (n > 0 && n < w->messages)
        w->messages = (uint32_t)n;
}
#else
static void make_smaller(const struct read_window *w)
{
    (void)w;
}
#endif

/* *out_upto: nothing is missing before it; LSN_NONE: not known. */
MUST_USE static struct error *read_window(struct reading *r, const struct read_window *w, struct lsn *out_upto)
{
    const struct task *t = r->c->task;
    uint64_t had = r->backlog.messages;
    uint64_t wal = w->wal < r->backlog.behind ? w->wal : r->backlog.behind;
    struct pg_peek_options options = {.slot = t->record->slot,
                                      .publications = t->publications.names,
                                      .n_publications = t->publications.n,
                                      .binary = t->is_binary,
                                      .upto = {r->confirmed.value + wal},
                                      .messages = w->messages};

    log_debug("reading up to %" PRIu64 " bytes of WAL or %" PRIu32 " messages from %s on by a query", wal, w->messages,
              lsn_format(r->confirmed).text);
    TRY(pg_slot_peek(r->c->source, &options, (struct pg_peek_sink){.take = take, .rest = rest, .self = r}));
    FAULT_POINT("catch_up.read");
    bool is_cut_short = r->backlog.messages - had >= w->messages;
    *out_upto = is_cut_short ? LSN_NONE : options.upto;
    r->backlog.has_reached_end = r->backlog.has_reached_end || (!is_cut_short && wal == r->backlog.behind);
    r->backlog.windows++;
    return NULL;
}

static bool may_advance(const struct reading *r)
{
    return pg_slot_may_advance(pg_conn_version(r->c->source));
}

/* (P3) What was read is durable before the source may forget it. *out_is_there: the next window can begin behind it. */
MUST_USE static struct error *settle(struct reading *r, struct lsn upto, bool *out_is_there)
{
    const struct task *t = r->c->task;
    struct lsn forget = LSN_NONE, confirmed = LSN_NONE;
    struct error *err = r->c->settle(r->c->self, upto, &forget);

    r->is_refused = err != NULL;
    TRY(err);
    FAULT_POINT("catch_up.durable");
    struct lsn end = spool_end(t->spool);
    *out_is_there = lsn_equal(r->confirmed, end);
    if (*out_is_there || !lsn_equal(forget, end) || !may_advance(r))
        return NULL;
    TRY(pg_slot_advance(r->c->source, r->scratch, t->record->slot, end, &confirmed));
    FAULT_POINT("catch_up.advanced");
    *out_is_there = lsn_equal(confirmed, end);
    return NULL;
}

/* Where the slot can be read from. A spool that is further than the source was told has it told now. */
MUST_USE static struct error *arrive(struct reading *r, bool *out_is_there)
{
    TRY(look(r, out_is_there));
    if (*out_is_there)
        return NULL;
    TRY(settle(r, LSN_NONE, out_is_there));
    return *out_is_there ? look(r, out_is_there) : NULL;
}

MUST_USE static struct error *prepare(struct reading *r)
{
    TRY(pg_slot_peek_settings(r->c->source, READ_WINDOW_ANSWER_BYTES, r->c->decoding_work_mem_kb));
    if (!may_advance(r))
        return NULL;
    TRY(pg_slot_peek_mark(r->c->source, r->scratch));
    r->goal = LSN_NONE; /* behind the mark */
    bool is_there;
    return look(r, &is_there);
}

MUST_USE static struct error *read_windows(struct reading *r, bool *out_has_read)
{
    const struct task *t = r->c->task;
    bool is_there = false;
    struct read_window window;

    TRY(arrive(r, &is_there));
    while (is_there && !stop_requested(t->stream_stop) && read_window_next(&r->backlog, &window)) {
        struct lsn before = spool_end(t->spool), upto = LSN_NONE;

        arena_reset(r->scratch);
        if (!*out_has_read)
            TRY(prepare(r));
        *out_has_read = true;
        make_smaller(&window);
        TRY(read_window(r, &window, &upto));
        TRY(settle(r, upto, &is_there));
        r->backlog.wal += bytes_between(before, spool_end(t->spool));
        if (lsn_equal(spool_end(t->spool), before))
            return NULL;
        if (is_there)
            TRY(look(r, &is_there));
    }
    return NULL;
}

/*
 * The stream may do what the query could not: a walsender needs no right to a function, no work_mem and no temporary file, and sends a
 * transaction in pieces. A session that is lost may have been lost by the query (a server out of memory), or by the network.
 */
MUST_USE static struct error *leave_to_stream(struct reading *r, struct error *err)
{
    struct query_trust *trust = &r->c->task->query_trust;

    if (r->is_refused || error_kind(err) == ERROR_CANCELLED)
        return err;
    if (pg_conn_is_broken(r->c->source) || error_kind(err) == ERROR_TRANSIENT) {
        trust->is_suspended = true;
        trust->is_gone = ++trust->broken >= BROKEN_MAX;
        return err;
    }
    trust->is_gone = true;
    if (spool_in_transaction(r->c->task->spool)) { /* the rest of it can only come from its begin on */
        struct error *again = error_new(ERROR_TRANSIENT, "%s", error_message(err));

        error_free(err);
        return again;
    }
    log_warn("the changes that wait on the source could not be read by a query, the stream reads them, which costs the "
             "source more: "
             "%s",
             error_message(err));
    error_free(err);
    return NULL;
}

static bool can_be_used(const struct catch_up *c)
{
    struct query_trust *trust = &c->task->query_trust;
    bool is_suspended = trust->is_suspended;

    trust->is_suspended = false;
    return !is_suspended && !trust->is_gone && c->task->options->read_backlog != READ_BACKLOG_STREAM &&
           !c->task->is_test_decoding && !pg_standby_is(c->source);
}

struct error *catch_up_run(struct catch_up *c, bool *out_has_read)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "reading the backlog");
    struct reading r = {.c = c, .scratch = scratch, .backlog = {.wish = c->task->options->read_backlog}};

    if (!can_be_used(c))
        return NULL;
    struct error *err = read_windows(&r, out_has_read);
    if (r.backlog.messages > 0)
        log_info("%" PRIu64 " changes (%" PRIu64 " bytes) that waited on the source were read by queries",
                 r.backlog.messages, r.backlog.bytes);
    return err == NULL ? NULL : leave_to_stream(&r, err);
}
