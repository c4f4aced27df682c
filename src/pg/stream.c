#include "pg/stream.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/fault.h"
#include "pg/conn.h"
#include "pg/endpoint_options.h"
#include "pg/error.h"
#include "pg/plugin_options.h"

enum {
    /* A flow is what brings so much over so long; single transactions, also in quick succession, are not. */
    FLOW_BYTES_PER_SECOND = 1000000,
    FLOW_WINDOW_US = 5000,
    NAP_US_MAX = 10000,
    SENDER_TIMEOUT_MS_LEAST = 30000,
    USER_TIMEOUT_MS = 60000, /* where the sender has none */
};

struct pg_stream {
    struct pg_conn *conn;
    struct pg_stream_options options;
    struct arena *arena;
    int sender_timeout_ms;
    char *message;   /* libpq's; of the last call */
    bool has_unsent; /* feedback that the socket did not take */
    unsigned flow;   /* in FLOW_BYTES_PER_SECOND, of the window before; 0: none */
    size_t gathered; /* bytes handed out since then */
    int64_t since_us;
};

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

/* ---- opening ---- */

static const char *start_command(struct arena *a, const struct pg_stream_options *o, int version)
{
    struct plugin_options wanted = {.publications = o->publications,
                                    .n_publications = o->n_publications,
                                    .binary = o->binary,
                                    .streams = !o->is_whole,
                                    .is_test_decoding = o->is_test_decoding};
    struct plugin_option options[PLUGIN_OPTIONS_MAX];
    unsigned n = plugin_options_list(a, &wanted, version, options);
    char *list = arena_strdup(a, "");

    for (unsigned i = 0; i < n; i++)
        list = arena_printf(a, "%s%s%s %s", list, i == 0 ? "" : ", ", pg_quote_identifier(a, options[i].name),
                            pg_quote_literal(a, options[i].value));
    return arena_printf(a, "START_REPLICATION SLOT %s LOGICAL %s (%s)", pg_quote_identifier(a, o->slot),
                        lsn_format(o->from).text, list);
}

/* What the server says about slots and publications, as what to do about it. */
static struct error *explain(struct error *err, const PGresult *result)
{
    static const struct {
        const char *sqlstate;
        const char *hint;
    } hints[] = {
        {"42704", "The slot or a publication it was to send is gone. What was committed since cannot be had any more: "
                  "run \"pgtide stop --force\", empty the target and synchronize again."},
        {"55000",
         "The source has removed WAL that the slot needed (max_slot_wal_keep_size), or the slot is not usable. Run "
         "\"pgtide stop --force\", empty the target and synchronize again."},
        {"55006", "Another session reads this slot; an earlier one of ours is gone within wal_sender_timeout."},
        {"42501", "The role needs REPLICATION: ALTER ROLE … REPLICATION on the source."},
    };

    for (size_t i = 0; i < COUNT_OF(hints); i++)
        if (pg_result_is(result, hints[i].sqlstate))
            return error_hint(err, "%s", hints[i].hint);
    return err;
}

static struct error *refused(struct pg_stream *s, const PGresult *result, const char *doing)
{
    const char *what = arena_printf(s->arena, "%s replication slot \"%s\" of the source \"%s\"", doing, s->options.slot,
                                    pg_endpoint_name(s->options.endpoint));

    return explain(pg_error(pg_conn_handle(s->conn), result, what), result);
}

/*
 * A server that gives up on us within seconds would do so while our disk syncs or a processor is scarce, and would decode a huge
 * transaction from its begin again and again: our session asks for more patience, which anybody may from 12 on.
 */
MUST_USE static struct error *settle_sender_timeout(struct pg_stream *s)
{
    const char *read_sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
    char *text = NULL;

    TRY(pg_query_text(s->conn, s->arena, "reading wal_sender_timeout", read_sql, NULL, 0, &text));
    s->sender_timeout_ms = text == NULL ? 0 : (int)strtol(text, NULL, 10);
    if (s->sender_timeout_ms == 0 || s->sender_timeout_ms >= SENDER_TIMEOUT_MS_LEAST ||
        pg_conn_version(s->conn) < 120000)
        return NULL;
    s->sender_timeout_ms = SENDER_TIMEOUT_MS_LEAST;
    return pg_execute_format(s->conn, "setting up the replication session", "SET wal_sender_timeout = %d",
                             SENDER_TIMEOUT_MS_LEAST);
}

/*
 * Whoever is frozen, not dead, has a kernel that goes on acknowledging: the server would wait in send() until he thaws, deaf to all, and its checkpointer
 * behind it as soon as it wants to take the slot away (max_slot_wal_keep_size). Anybody may ask for this from 12 on. What the user gave
 * for our end holds for the other one, too.
 */
MUST_USE static struct error *settle_user_timeout(struct pg_stream *s)
{
    const char *given = pg_endpoint_option(s->options.endpoint, "tcp_user_timeout");
    int ms = s->sender_timeout_ms == 0 ? USER_TIMEOUT_MS : s->sender_timeout_ms;

    if (pg_conn_version(s->conn) < 120000)
        return NULL;
    return pg_execute_format(s->conn, "setting up the replication session", "SET tcp_user_timeout = %d",
                             given == NULL ? ms : (int)strtol(given, NULL, 10));
}

MUST_USE static struct error *start(struct pg_stream *s)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;
    PGconn *pg = pg_conn_handle(s->conn);
    int version = pg_conn_version(s->conn);

    if (s->options.decoding_work_mem_kb != 0 && version >= 130000)
        TRY(pg_execute_format(s->conn, "setting up the replication session", "SET logical_decoding_work_mem = %u",
                              s->options.decoding_work_mem_kb));
    TRY(settle_sender_timeout(s));
    TRY(settle_user_timeout(s));
    if (PQsetnonblocking(pg, 1) != 0 || PQsendQuery(pg, start_command(s->arena, &s->options, version)) != 1)
        return refused(s, NULL, "starting");
    TRY(pg_conn_result(s->conn, &result));
    if (PQresultStatus(result) != PGRES_COPY_BOTH)
        return refused(s, result, "starting");
    return NULL;
}

static struct pg_stream *stream_new(struct pg_stream_options options)
{
    struct pg_stream *s = calloc(1, sizeof *s);

    if (s == NULL)
        abort();
    s->options = options;
    s->since_us = clock_now_us();
    s->arena = arena_new(NULL, "replication stream");
    return s;
}

struct error *pg_stream_open(struct pg_stream_options options, struct pg_stream **out_stream)
{
    FAULT_POINT("stream.open");
    CLEANUP(pg_stream_close) struct pg_stream *s = stream_new(options);
    TRY(pg_connect(options.endpoint,
                   (struct pg_connect_options){
                       .application_name = options.application_name, .replication = true, .stop = options.stop},
                   &s->conn));
    TRY(start(s));
    *out_stream = TAKE(s);
    return NULL;
}

void pg_stream_close(struct pg_stream *s)
{
    if (s == NULL)
        return;
    PQfreemem(s->message);
    pg_conn_close(s->conn);
    arena_free(s->arena);
    free(s);
}

/* ---- reading ---- */

/* The server has ended the stream: with an error, or because it shuts down. */
static struct error *ended(struct pg_stream *s)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    TRY(pg_conn_result(s->conn, &result));
    if (result != NULL && PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_COPY_IN)
        return refused(s, result, "reading");
    return error_new(ERROR_TRANSIENT, "the source \"%s\" has ended the stream of replication slot \"%s\"",
                     pg_endpoint_name(s->options.endpoint), s->options.slot);
}

/* XLogData ('w') and primary keepalive ('k'). */
MUST_USE static struct error *parse(struct pg_stream *s, size_t length, struct stream_message *out)
{
    struct cursor c = cursor_over(s->message, length);
    char tag = (char)cursor_u8(&c);
    struct stream_message m = {.kind = STREAM_WAL};

    if (tag == 'w')
        m.start.value = cursor_u64(&c);
    m.end.value = cursor_u64(&c);
    m.sent_us = (int64_t)cursor_u64(&c) + CLOCK_PG_EPOCH_US;
    if (tag == 'k') {
        m.kind = STREAM_KEEPALIVE;
        m.reply_requested = cursor_u8(&c) != 0;
    }
    m.length = cursor_left(&c);
    m.bytes = c.at;
    if (c.failed || (tag != 'w' && tag != 'k'))
        return error_new(ERROR_BUG, "replication slot \"%s\": a message of kind %d and %zu bytes was not understood",
                         s->options.slot, tag, length);
    *out = m;
    return NULL;
}

struct error *pg_stream_next(struct pg_stream *s, struct stream_message *out)
{
    PQfreemem(TAKE(s->message));
    int length = PQgetCopyData(pg_conn_handle(s->conn), &s->message, 1);

    if (length == 0) {
        *out = (struct stream_message){.kind = STREAM_NOTHING};
        return NULL;
    }
    if (length < 0)
        return ended(s);
    s->gathered += (size_t)length;
    return parse(s, (size_t)length, out);
}

/* ---- waiting ---- */

static struct error *lost(struct pg_stream *s)
{
    return refused(s, NULL, "reading");
}

MUST_USE static struct error *send_rest(struct pg_stream *s)
{
    int left = PQflush(pg_conn_handle(s->conn));

    s->has_unsent = left > 0;
    return left < 0 ? lost(s) : NULL;
}

static bool is_readable_now(const struct pg_stream *s)
{
    struct pollfd fd = {.fd = PQsocket(pg_conn_handle(s->conn)), .events = POLLIN};

    return poll(&fd, 1, 0) > 0;
}

/*
 * Lets data gather in the socket; only a stop request ends it early. While we read, each message that the server sends is a packet of
 * its own and wakes us, which costs it more than decoding; while we rest they gather behind few. So the more flows, the longer: a
 * flow of some 30 MB/s, which is a backlog, is read every 10 ms.
 */
static void nap(const struct pg_stream *s)
{
    unsigned us = s->options.nap_us * s->flow < NAP_US_MAX ? s->options.nap_us * s->flow : NAP_US_MAX;
    struct timespec time = {.tv_nsec = (long)us * 1000};
    struct pollfd fd = {.fd = s->options.stop == NULL ? -1 : stop_fd(s->options.stop), .events = POLLIN};

    ppoll(&fd, 1, &time, NULL);
}

/* Called with all that had arrived handed out. A long wait makes the rate low, so what comes after it is read at once. */
static void nap_while_flowing(struct pg_stream *s)
{
    int64_t elapsed_us = clock_now_us() - s->since_us;

    if (elapsed_us >= FLOW_WINDOW_US) {
        s->flow = (unsigned)((int64_t)s->gathered * 1000000 / elapsed_us / FLOW_BYTES_PER_SECOND);
        s->gathered = 0;
        s->since_us += elapsed_us;
    }
    if (s->flow > 0 && s->options.nap_us > 0)
        nap(s);
}

/*
 * Not pg_conn_wait: on a stop request that one cancels what runs, and here the last feedback is still to be sent.
 * *out_ready is false when the time ran out.
 */
MUST_USE static struct error *wait_for_socket(struct pg_stream *s, int timeout_ms, bool *out_ready)
{
    struct pollfd fds[2] = {
        {.fd = PQsocket(pg_conn_handle(s->conn)), .events = (short)(POLLIN | (s->has_unsent ? POLLOUT : 0))},
        {.fd = s->options.stop == NULL ? -1 : stop_fd(s->options.stop), .events = POLLIN},
    };
    int n;

    do
        n = poll(fds, COUNT_OF(fds), timeout_ms);
    while (n < 0 && errno == EINTR);
    if (fds[1].revents != 0)
        return stop_check(s->options.stop);
    *out_ready = n > 0;
    return NULL;
}

struct error *pg_stream_wait(struct pg_stream *s, int timeout_ms)
{
    bool ready = true;

    FAULT_POINT("stream.wait");
    if (PQsocket(pg_conn_handle(s->conn)) < 0)
        return lost(s);
    if (s->has_unsent)
        TRY(send_rest(s));
    if (s->options.stop != NULL)
        TRY(stop_check(s->options.stop));
    if (!is_readable_now(s)) {
        nap_while_flowing(s);
        TRY(wait_for_socket(s, timeout_ms, &ready));
    }
    if (ready && PQconsumeInput(pg_conn_handle(s->conn)) == 0)
        return lost(s);
    return NULL;
}

/* ---- feedback ---- */

struct error *pg_stream_feedback(struct pg_stream *s, struct lsn written, struct lsn flushed, struct lsn applied,
                                 bool reply)
{
    /* Standby status update */
    CLEANUP(buffer_free) struct buffer *message = buffer_new();

    buffer_append_char(message, 'r');
    buffer_append_u64(message, written.value);
    buffer_append_u64(message, flushed.value);
    buffer_append_u64(message, applied.value);
    buffer_append_u64(message, (uint64_t)(clock_wall_us() - CLOCK_PG_EPOCH_US));
    buffer_append_char(message, reply ? 1 : 0);
    if (PQputCopyData(pg_conn_handle(s->conn), message->bytes, (int)message->length) < 0)
        return lost(s);
    return send_rest(s);
}

int pg_stream_sender_timeout_ms(const struct pg_stream *s)
{
    return s->sender_timeout_ms;
}

int pg_stream_fd(const struct pg_stream *s)
{
    return PQsocket(pg_conn_handle(s->conn));
}

int pg_stream_server_version(const struct pg_stream *s)
{
    return pg_conn_version(s->conn);
}

int pg_stream_backend_pid(const struct pg_stream *s)
{
    return pg_conn_pid(s->conn);
}
