#include "pg/slot_peek.h"

#include <inttypes.h>

#include "base/buffer.h"
#include "base/cursor.h"
#include "base/fault.h"
#include "pg/error.h"
#include "pg/plugin_options.h"

enum {
    MARK_MS = 100,
    LOOK_EVERY_MS = 1000,
    SILENCE_MS = 120000, /* a proxy may hold up a connection whose other end is gone */
    HEADER_BYTES = 19,   /* of COPY's binary format: signature, flags, length of what extends it */
    LSN_BYTES = 8,
    COLUMNS = 2,
    BEFORE_MESSAGE_BYTES = 2 + 4 + LSN_BYTES, /* the number of columns, the position with its length */
    NO_MORE_ROWS = UINT16_MAX,
    PIECE = 8192, /* of a row; most fit */
    WARM_WAITS = 4,
};

struct peek {
    struct pg_conn *conn;
    const char *what; /* the attempt, for messages */
    struct pg_peek_sink sink;
    struct buffer row; /* in the making; with the header before the first one */
    bool has_header;
    unsigned n_waits;
    unsigned silent_ms;
};

struct error *pg_slot_peek_settings(struct pg_conn *c, uint64_t answer_bytes, unsigned decoding_kb)
{
    const char *what = "setting up the session that reads the backlog";

    TRY(pg_execute_format(c, what, "SET work_mem = '%" PRIu64 "kB'", answer_bytes / 1024));
    if (decoding_kb == 0 || pg_conn_version(c) < 130000)
        return NULL;
    return pg_execute_format(c, what, "SET logical_decoding_work_mem = %u", decoding_kb);
}

struct error *pg_slot_backlog(struct pg_conn *c, struct arena *a, const char *slot, struct pg_slot_backlog *out)
{
    const char *sql = "SELECT coalesce(restart_lsn, '0/0')::text, coalesce(confirmed_flush_lsn, '0/0')::text,"
                      "       pg_current_wal_flush_lsn()::text"
                      "  FROM pg_replication_slots WHERE slot_name = $1";
    struct pg_slot_backlog found = {.exists = false};
    struct pg_rows rows;

    TRY(pg_query(c, a, arena_printf(a, "reading the backlog of replication slot \"%s\"", slot), sql, &slot, 1, &rows));
    if (rows.n_rows > 0)
        found.exists = lsn_parse(rows.rows[0][0], &found.restart) && lsn_parse(rows.rows[0][1], &found.confirmed) &&
                       lsn_parse(rows.rows[0][2], &found.written);
    *out = found;
    return NULL;
}

/* Waits for transactions that write, as every slot does; the record is written before that. */
struct error *pg_slot_peek_mark(struct pg_conn *c, struct arena *a)
{
    const char *what = "having the running transactions written down";
    const char *name = arena_printf(a, "pgtide_mark_%d", pg_conn_pid(c));
    CLEANUP(error_free) struct error *err = NULL;
    CLEANUP(error_free) struct error *left = NULL;
    struct pg_rows rows;

    TRY(pg_execute_format(c, what, "SET statement_timeout = %d", MARK_MS));
    err = pg_query(c, a, what, "SELECT pg_create_logical_replication_slot($1, 'pgoutput', true)", &name, 1, &rows);
    if (err == NULL) /* else the server has dropped it */
        left = pg_query(c, a, what, "SELECT pg_drop_replication_slot($1)", &name, 1, &rows);
    if (pg_conn_is_broken(c))
        return error_new(ERROR_TRANSIENT, "%s: the connection is lost", what);
    return pg_execute(c, what, "SET statement_timeout = 0");
}

static const char *command(struct arena *a, const struct pg_peek_options *o, int version)
{
    struct plugin_options wanted = {
        .publications = o->publications, .n_publications = o->n_publications, .binary = o->binary};
    struct plugin_option options[PLUGIN_OPTIONS_MAX];
    unsigned n = plugin_options_list(a, &wanted, version, options);
    char *list = arena_strdup(a, "");

    for (unsigned i = 0; i < n; i++)
        list = arena_printf(a, "%s, %s, %s", list, pg_quote_literal(a, options[i].name),
                            pg_quote_literal(a, options[i].value));
    return arena_printf(a,
                        "COPY (SELECT lsn, data FROM pg_logical_slot_peek_binary_changes(%s, '%s', %" PRIu32
                        "%s)) TO STDOUT (FORMAT binary)",
                        pg_quote_literal(a, o->slot), lsn_format(o->upto).text, o->messages, list);
}

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

static struct error *refused(const struct peek *p, const PGresult *result)
{
    return pg_error(pg_conn_handle(p->conn), result, p->what);
}

MUST_USE static struct error *expect_end(struct peek *p)
{
    PGresult *more = NULL;

    do {
        PQclear(more);
        TRY(pg_conn_result(p->conn, &more));
    } while (more != NULL);
    return NULL;
}

/* The next result is to be of that kind. A refusal is read to its end: the session is good for more. */
MUST_USE static struct error *expect(struct peek *p, ExecStatusType status)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    TRY(pg_conn_result(p->conn, &result));
    if (PQresultStatus(result) == status)
        return NULL;
    struct error *err = refused(p, result);
    CLEANUP(error_free) struct error *lost = expect_end(p);
    return err;
}

MUST_USE static struct error *begin(struct peek *p, const char *sql)
{
    if (PQsendQuery(pg_conn_handle(p->conn), sql) != 1)
        return refused(p, NULL);
    return expect(p, PGRES_COPY_OUT);
}

/* A piece that is full may be the last one of its row all the same: the row says how long it is. */
static bool is_whole(const struct peek *p, size_t piece)
{
    struct cursor c = cursor_over(p->row.bytes, p->row.length);

    if (piece < PIECE)
        return true;
    cursor_bytes(&c, (p->has_header ? 0 : HEADER_BYTES) + BEFORE_MESSAGE_BYTES);
    return cursor_u32(&c) <= cursor_left(&c);
}

/* A row: its position and the message. The header comes before the first one, in the same message of the protocol. */
MUST_USE static struct error *take_row(struct peek *p)
{
    struct cursor c = cursor_over(p->row.bytes, p->row.length);
    struct lsn at;

    if (!p->has_header)
        cursor_bytes(&c, HEADER_BYTES);
    p->has_header = true;
    uint16_t columns = cursor_u16(&c);
    if (columns == NO_MORE_ROWS && !c.failed)
        return NULL;
    bool has_position = columns == COLUMNS && cursor_u32(&c) == LSN_BYTES;
    at.value = cursor_u64(&c);
    uint32_t message = cursor_u32(&c);
    if (!has_position || c.failed || message != cursor_left(&c))
        return error_new(ERROR_BUG, "%s: a row of %zu bytes was not understood", p->what, p->row.length);
    return p->sink.take(p->sink.self, c.at, message, at);
}

/*
 * libpq reads no more at once than its buffer holds, 16 KiB, which a row that is not fetched makes it double. So the first times it reads twice:
 * later on there are fewer calls of the kernel for the same bytes.
 */
MUST_USE static struct error *read_socket(struct peek *p)
{
    PGconn *conn = pg_conn_handle(p->conn);
    bool is_read = PQconsumeInput(conn) != 0;

    if (is_read && p->n_waits++ < WARM_WAITS)
        is_read = PQconsumeInput(conn) != 0;
    return is_read ? NULL : refused(p, NULL);
}

/* Until more has come. */
MUST_USE static struct error *wait_for_more(struct peek *p)
{
    bool ready = false;

    TRY(p->sink.rest(p->sink.self));
    TRY(pg_conn_wait(p->conn, false, LOOK_EVERY_MS, &ready));
    p->silent_ms = ready ? 0 : p->silent_ms + LOOK_EVERY_MS;
    if (p->silent_ms >= SILENCE_MS)
        return error_new(ERROR_TRANSIENT, "%s: the source has not said anything for %d s", p->what, SILENCE_MS / 1000);
    return ready ? read_socket(p) : NULL;
}

/* In pieces out of libpq's buffer: PQgetCopyData would allocate each row. */
MUST_USE static struct error *take_rows(struct peek *p)
{
    for (;;) {
        int length = PQgetlineAsync(pg_conn_handle(p->conn), buffer_reserve(&p->row, PIECE), PIECE);

        if (length < 0)
            return NULL; /* the end, or an error that comes as the next result */
        if (length == 0) {
            TRY(wait_for_more(p));
            continue;
        }
        buffer_added(&p->row, (size_t)length);
        if (!is_whole(p, (size_t)length))
            continue;
        TRY(take_row(p));
        buffer_clear(&p->row);
    }
}

struct error *pg_slot_peek(struct pg_conn *c, const struct pg_peek_options *options, struct pg_peek_sink sink)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "query of a slot");
    struct peek p = {
        .conn = c,
        .what = arena_printf(a, "querying replication slot \"%s\"", options->slot),
        .sink = sink,
    };

    FAULT_POINT("slot_peek.begin");
    TRY(begin(&p, command(a, options, pg_conn_version(c))));
    struct error *err = take_rows(&p);
    buffer_drop(&p.row);
    TRY(err);
    TRY(expect(&p, PGRES_COMMAND_OK));
    return expect_end(&p);
}

bool pg_slot_may_advance(int version)
{
    static const int mended[] = {130021, 140018, 150013, 160009, 170005};

    for (size_t i = 0; i < COUNT_OF(mended); i++)
        if (version / 10000 == mended[i] / 10000)
            return version >= mended[i];
    return version >= 180000;
}

struct error *pg_slot_advance(struct pg_conn *c, struct arena *a, const char *slot, struct lsn to,
                              struct lsn *out_confirmed)
{
    const char *params[] = {slot, arena_strdup(a, lsn_format(to).text)};
    const char *what = arena_printf(a, "advancing replication slot \"%s\" to %s", slot, params[1]);
    char *text = NULL;

    TRY(pg_query_text(c, a, what, "SELECT end_lsn::text FROM pg_replication_slot_advance($1, $2::pg_lsn)", params,
                      COUNT_OF(params), &text));
    if (text == NULL || !lsn_parse(text, out_confirmed))
        return error_new(ERROR_BUG, "%s: the answer is no WAL position", what);
    return NULL;
}
