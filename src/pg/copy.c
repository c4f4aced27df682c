#include "pg/copy.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "pg/error.h"
#include "sys/deadline.h"

enum {
    PIECE = 64 * 1024,         /* one CopyData for the target: its costs a message are spread over many rows */
    PENDING_MAX = 1024 * 1024, /* rows that wait for the target, in whole pieces and a rest */
    ABORT_MS = 5000,           /* for the target to answer that its COPY has ended */
    BINARY_TRAILER = 1,        /* the trailer is a message of its own, so there may be one more than rows */
};

struct pump {
    struct pg_conn *source;
    struct pg_conn *target;
    PGconn *out; /* their handles */
    PGconn *in;
    const struct copy_statement *statement;
    unsigned index;
    struct copy_watch watch;

    struct buffer pending;
    size_t sent;    /* of pending */
    bool has_ended; /* the source has sent everything */

    uint64_t messages; /* from the source, about one a row */
    uint64_t reported;
    uint64_t unreported_bytes;
    uint64_t row_bytes; /* of the row that libpq gives in pieces */
    uint64_t largest_row;
    int64_t paused_until_us;
    unsigned notices;
    bool has_begun; /* a piece is on its way */
};

/* ---- what the target says while it is being sent to ---- */

static void count_notice(void *self, const PGresult *notice)
{
    struct pump *p = self;

    (void)notice;
    p->notices++;
}

/* Our sessions have pg_catalog alone on their search_path, as pg_restore's: somebody else's would decide which function is meant. */
static const char unqualified[] = "A function in a CHECK, an index, a domain or a generated column of this table names "
                                  "something without its schema, and "
                                  "pgtide's search_path is pg_catalog, as pg_restore's. ALTER FUNCTION ... SET "
                                  "search_path = ... on both sides, then run the same command "
                                  "again.";

/* Undefined table, function, object or schema. */
static bool names_nothing(const PGresult *result)
{
    return pg_result_is(result, "42P01") || pg_result_is(result, "42883") || pg_result_is(result, "42704") ||
           pg_result_is(result, "3F000");
}

/* The server's own words about `what`; `result` is not COMMAND_OK. */
MUST_USE static struct error *refusal(struct pg_conn *c, const struct pump *p, const PGresult *result)
{
    struct error *err = pg_error(pg_conn_handle(c), result, "COPY");
    bool is_source = c == p->source;

    err = error_wrap(err, "%s table \"%s\"", is_source ? "reading" : "writing", p->statement->name);
    return is_source || !names_nothing(result) ? err : error_hint(err, "%s", unqualified);
}

MUST_USE static struct error *lost(struct pg_conn *c, const struct pump *p)
{
    CLEANUP(error_free) struct error *cause = pg_error(pg_conn_handle(c), NULL, "connection lost");

    return error_new(ERROR_TRANSIENT, "%s \"%s\", copying table \"%s\": %s", pg_endpoint_side(pg_conn_endpoint(c)),
                     pg_endpoint_name(pg_conn_endpoint(c)), p->statement->name, error_message(cause));
}

/*
 * Ends the COPY on the target without its rows. Then its answer is read: *out_result is what it said, for the caller.
 */
MUST_USE static struct error *end_badly(struct pump *p, PGresult **out_result)
{
    if (PQputCopyEnd(p->in, "the copy was given up") < 0)
        return lost(p->target, p);
    return pg_conn_result(p->target, out_result);
}

/*
 * During COPY … FROM STDIN a server speaks only to refuse, or to give a notice, and libpq shows the refusal only after
 * the end of the COPY. So when something came that was no notice the COPY is ended, which changes nothing for a server
 * that has refused, and the refusal is read.
 */
MUST_USE static struct error *listen_to_target(struct pump *p)
{
    unsigned notices = p->notices;

    if (PQconsumeInput(p->in) == 0)
        return lost(p->target, p);
    (void)PQisBusy(p->in); /* hands out notices */
    if (p->notices != notices)
        return NULL;

    PGresult *result = NULL;
    TRY(end_badly(p, &result));
    struct error *err = refusal(p->target, p, result);
    PQclear(result);
    return err;
}

/* ---- from the source ---- */

static bool has_room(const struct pump *p)
{
    return p->pending.length < PENDING_MAX;
}

static bool is_paused(const struct pump *p)
{
    return p->paused_until_us != 0 && clock_now_us() < p->paused_until_us;
}

/* A piece that fills its room may be the last of its row: then two count as one, which the progress alone notices. */
static void count_piece(struct pump *p, size_t length)
{
    p->unreported_bytes += length;
    p->row_bytes += length;
    if (p->row_bytes > p->largest_row)
        p->largest_row = p->row_bytes;
    if (length == PIECE)
        return;
    p->messages++;
    p->row_bytes = 0;
}

static void report(struct pump *p)
{
    if (p->unreported_bytes == 0 && p->paused_until_us == 0)
        return;

    uint64_t rows = p->messages < BINARY_TRAILER + p->reported ? 0 : p->messages - BINARY_TRAILER - p->reported;
    if (p->watch.progress != NULL)
        p->watch.progress(p->watch.self, p->index, rows, p->unreported_bytes);
    if (p->watch.pace_ms != NULL) {
        int pause_ms = p->watch.pace_ms(p->watch.self, p->unreported_bytes);

        p->paused_until_us = pause_ms > 0 ? clock_now_us() + (int64_t)pause_ms * 1000 : 0;
    }
    p->reported += rows;
    p->unreported_bytes = 0;
}

/*
 * What libpq has of complete rows, as long as there is room. *out_idle: it needs more from the socket. Read in pieces out of
 * libpq's buffer, where PQgetCopyData would make a second row of the same size.
 */
MUST_USE static struct error *take_rows(struct pump *p, bool *out_idle)
{
    *out_idle = false;
    while (has_room(p)) {
        int length = PQgetlineAsync(p->out, buffer_reserve(&p->pending, PIECE), PIECE);

        if (length > 0) {
            buffer_added(&p->pending, (size_t)length);
            count_piece(p, (size_t)length);
            continue;
        }
        if (PQstatus(p->out) == CONNECTION_BAD)
            return lost(p->source, p);
        p->has_ended = length < 0;
        *out_idle = true;
        break;
    }
    report(p);
    return NULL;
}

/* ---- to the target ---- */

/* The next piece; a rest only when nothing will be added to it. False when there is none. */
static bool next_piece(const struct pump *p, const char **out_bytes, size_t *out_length)
{
    size_t left = p->pending.length - p->sent;

    if (left == 0 || (left < PIECE && !p->has_ended))
        return false;
    *out_bytes = p->pending.bytes + p->sent;
    *out_length = left < PIECE ? left : PIECE;
    return true;
}

static void drop_sent_rows(struct pump *p, size_t length)
{
    p->sent += length;
    /* What is left is less than a piece, unless pending is full and the target slow. */
    if (p->sent == p->pending.length || p->sent >= PENDING_MAX / 2) {
        memmove(p->pending.bytes, p->pending.bytes + p->sent, p->pending.length - p->sent);
        p->pending.length -= p->sent;
        p->sent = 0;
    }
}

MUST_USE static struct error *piece_sent(struct pump *p, size_t length)
{
    drop_sent_rows(p, length);
    if (p->has_begun)
        return NULL;
    p->has_begun = true;
    FAULT_POINT("copy.middle");
    return NULL;
}

/*
 * Sends until the socket is full or nothing is left. libpq holds one piece at most: it moves its whole buffer on a part
 * send.
 */
MUST_USE static struct error *send_pieces(struct pump *p, bool *out_blocked)
{
    const char *bytes;
    size_t length;

    for (;;) {
        int unsent = PQflush(p->in);

        if (unsent < 0)
            return listen_to_target(p);
        *out_blocked = unsent > 0;
        if (unsent > 0 || !next_piece(p, &bytes, &length))
            return NULL;

        int put = PQputCopyData(p->in, bytes, (int)length);
        if (put <= 0) /* 0: there is no memory for its buffer */
            return lost(p->target, p);
        TRY(piece_sent(p, length));
    }
}

/* ---- one statement ---- */

/* Until a socket is ready, stop is requested or a pause is over. */
MUST_USE static struct error *wait_for_news(struct pump *p, bool is_blocked)
{
    bool wants_rows = has_room(p) && !p->has_ended;
    /* One that ran out since the caller looked still counts: rows that libpq has already are taken then, and no socket tells of them. */
    bool pauses = wants_rows && p->paused_until_us != 0;
    const struct stop *stop = pg_conn_stop(p->source);
    struct pollfd fds[] = {
        {.fd = wants_rows && !pauses ? PQsocket(p->out) : -1, .events = POLLIN},
        {.fd = PQsocket(p->in), .events = (short)(POLLIN | (is_blocked ? POLLOUT : 0))},
        {.fd = stop == NULL ? -1 : stop_fd(stop), .events = POLLIN},
    };

    deadline_poll(fds, COUNT_OF(fds), pauses ? p->paused_until_us : DEADLINE_NEVER);
    if (fds[2].revents != 0)
        return error_new(ERROR_CANCELLED, "stopped while copying table \"%s\"", p->statement->name);
    if ((fds[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0)
        TRY(listen_to_target(p));
    /* After each pause something is read: a pace that asks for one after another slows the copy down and never ends it. */
    bool may_read = fds[0].revents != 0 || (pauses && !is_paused(p));
    return may_read && PQconsumeInput(p->out) == 0 ? lost(p->source, p) : NULL;
}

MUST_USE static struct error *transfer(struct pump *p)
{
    for (;;) {
        bool is_idle = true, is_blocked = false;

        if (!p->has_ended && !is_paused(p))
            TRY(take_rows(p, &is_idle));
        TRY(send_pieces(p, &is_blocked));
        if (p->has_ended && p->pending.length == 0 && !is_blocked)
            return NULL;
        if (is_blocked || (is_idle && !p->has_ended))
            TRY(wait_for_news(p, is_blocked));
    }
}

MUST_USE static struct error *expect(struct pump *p, struct pg_conn *c, ExecStatusType status)
{
    PGresult *result = NULL;

    TRY(pg_conn_result(c, &result));
    struct error *err = PQresultStatus(result) == status ? NULL : refusal(c, p, result);
    PQclear(result);
    return err;
}

MUST_USE static struct error *read_count(struct pump *p, struct pg_conn *c, uint64_t *out_rows)
{
    PGresult *result = NULL;
    struct error *err = NULL;

    TRY(pg_conn_result(c, &result));
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        *out_rows = strtoull(PQcmdTuples(result), NULL, 10);
    else
        err = refusal(c, p, result);
    PQclear(result);
    return err;
}

/* (G4) The servers' own counts, from both command tags. */
MUST_USE static struct error *finish(struct pump *p, uint64_t *out_rows)
{
    uint64_t read = 0, written = 0;

    TRY(read_count(p, p->source, &read));
    if (PQputCopyEnd(p->in, NULL) < 0)
        return lost(p->target, p);
    TRY(read_count(p, p->target, &written));
    if (read != written)
        return error_hint(
            error_new(ERROR_DATA, "copying table \"%s\": the source sent %" PRIu64 " rows and the target took %" PRIu64,
                      p->statement->name, read, written),
            "Look for triggers or rules on the target's table that drop rows; its copy was rolled back.");
    if (p->watch.progress != NULL && read > p->reported)
        p->watch.progress(p->watch.self, p->index, read - p->reported, 0);
    *out_rows = read;
    return NULL;
}

/* The target's session is to stay usable: its COPY must end, if it has begun, before anything else can be said. */
static void give_up(struct pump *p)
{
    int64_t deadline_us = deadline_after_ms(ABORT_MS);

    while (PQtransactionStatus(p->in) == PQTRANS_ACTIVE) {
        PGresult *result;

        /* A statement of the list that follows may begin its own COPY. */
        if (PQputCopyEnd(p->in, "the copy was given up") < 0 && PQstatus(p->in) == CONNECTION_BAD)
            return;
        while (PQflush(p->in) > 0 || PQisBusy(p->in)) {
            struct pollfd fd = {.fd = PQsocket(p->in), .events = POLLIN | POLLOUT};

            if (PQflush(p->in) == 0)
                fd.events = POLLIN;
            if (deadline_poll(&fd, 1, deadline_us) == 0 || PQconsumeInput(p->in) == 0)
                return;
        }
        result = PQgetResult(p->in);
        PQclear(result);
    }
}

MUST_USE static struct error *run_one(struct pump *p, uint64_t *out_rows)
{
    TRY(expect(p, p->source, PGRES_COPY_OUT));
    TRY(expect(p, p->target, PGRES_COPY_IN));
    TRY(transfer(p));
    return finish(p, out_rows);
}

/* ---- the list ---- */

MUST_USE static struct error *send_list(struct pg_conn *c, const struct copy_statement *statements, unsigned n,
                                        bool is_source)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    for (unsigned i = 0; i < n; i++) {
        buffer_append_text(sql, is_source ? statements[i].out_sql : statements[i].in_sql);
        buffer_append_text(sql, ";\n");
    }
    if (PQsendQuery(pg_conn_handle(c), buffer_text(sql)) == 0)
        return pg_error(pg_conn_handle(c), NULL, "sending COPY");
    return pg_conn_flush(c);
}

MUST_USE static struct error *expect_end(struct pump *p, struct pg_conn *c)
{
    PGresult *result = NULL;

    TRY(pg_conn_result(c, &result));
    if (result == NULL)
        return NULL;
    struct error *err = refusal(c, p, result);
    PQclear(result);
    return err;
}

MUST_USE static struct error *run_list(struct pump *p, const struct copy_statement *statements, unsigned n,
                                       struct copy_outcome *out)
{
    p->statement = statements;
    TRY(send_list(p->source, statements, n, true));
    TRY(send_list(p->target, statements, n, false));
    for (unsigned i = 0; i < n; i++) {
        p->statement = &statements[i];
        p->index = i;
        p->messages = p->reported = p->row_bytes = 0;
        p->has_ended = false;
        assert(p->pending.length == 0);
        TRY(run_one(p, &out->rows[i]));
    }
    TRY(expect_end(p, p->source));
    return expect_end(p, p->target);
}

struct error *copy_pump(struct pg_conn *source, struct pg_conn *target, const struct copy_statement *statements,
                        unsigned n, struct copy_watch watch, struct copy_outcome *out)
{
    struct pump p = {
        .source = source,
        .target = target,
        .out = pg_conn_handle(source),
        .in = pg_conn_handle(target),
        .watch = watch,
    };
    PQnoticeReceiver before = PQsetNoticeReceiver(p.in, count_notice, &p);
    struct error *err = run_list(&p, statements, n, out);

    if (err != NULL)
        give_up(&p);
    PQsetNoticeReceiver(p.in, before, NULL);
    out->largest_row = p.largest_row;
    buffer_drop(&p.pending);
    return err;
}
