#include "pg/conn.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/backoff.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/conn_internal.h"
#include "pg/conn_refused.h"
#include "pg/endpoint_options.h"
#include "pg/error.h"
#include "pg/lock_wait.h"

enum {
    CONNECT_TIMEOUT_MS = 15000,
    UNACKNOWLEDGED_MS = 60000, /* then the network is taken for dead */
    FIRST_TOLD_MS = 5000,      /* how long a statement waits until it is asked for whom */
    TOLD_EVERY_MS = 60000,
    DRAIN_MS = 5000, /* for a cancelled statement to end */
    PARAMETERS_MAX = 64,
};

/* ---- waiting ---- */

static int milliseconds_left(int64_t deadline_us)
{
    if (deadline_us < 0)
        return -1;
    int64_t left_us = deadline_us - clock_now_us();
    return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

/* False when the time ran out or stop was requested. */
static bool wait_socket(int fd, short events, const struct stop *stop, int64_t deadline_us)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = stop == NULL ? -1 : stop_fd(stop), .events = POLLIN}};

    for (;;) {
        int n = poll(fds, 2, milliseconds_left(deadline_us));

        if (n < 0 && errno == EINTR)
            continue;
        return n > 0 && fds[1].revents == 0;
    }
}

static bool is_stopped(const struct stop *stop)
{
    return stop != NULL && stop_requested(stop);
}

/* Tells the server to give the statement up. Best effort: when it does not arrive, the statement ends by itself. */
static void cancel(struct pg_conn *c)
{
    char why[256];
    PGcancel *handle = PQgetCancel(c->pg);

    if (handle == NULL)
        return;
    if (PQcancel(handle, why, sizeof why) == 0)
        log_debug("could not cancel a statement on the %s \"%s\": %s", SIDE(c->endpoint), why);
    PQfreeCancel(handle);
}

/* After a cancel: the session is good for more when its results are read, else it counts as broken. */
static void drain(struct pg_conn *c)
{
    int64_t deadline_us = clock_now_us() + (int64_t)DRAIN_MS * 1000;

    while (PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF) {
        while (PQisBusy(c->pg)) {
            if (!wait_socket(PQsocket(c->pg), POLLIN, NULL, deadline_us) || PQconsumeInput(c->pg) == 0) {
                c->is_broken = true;
                return;
            }
        }
        PGresult *result = PQgetResult(c->pg);
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (result == NULL)
            return;
        if (is_copy(status))
            break;
    }
    c->is_broken = true;
}

static struct error *stopped(struct pg_conn *c)
{
    if (PQtransactionStatus(c->pg) == PQTRANS_ACTIVE) {
        cancel(c);
        drain(c);
    }
    return error_new(ERROR_CANCELLED, "stopped while waiting for the %s \"%s\"", SIDE(c->endpoint));
}

struct error *pg_conn_lost(struct pg_conn *c)
{
    CLEANUP(error_free) struct error *cause = pg_error(c->pg, NULL, "connection lost");

    c->is_broken = true;
    return error_new(ERROR_TRANSIENT, "%s \"%s\": %s", SIDE(c->endpoint), error_message(cause));
}

/* For an answer, however long it takes: when it is long, for whom we wait is said. True when it is there. */
static bool wait_answer(struct pg_conn *c)
{
    int64_t tell_us = clock_now_us() + (int64_t)FIRST_TOLD_MS * 1000;

    while (!wait_socket(PQsocket(c->pg), POLLIN, c->stop, tell_us)) {
        if (is_stopped(c->stop))
            return false;
        lock_wait_tell(c);
        tell_us = clock_now_us() + (int64_t)TOLD_EVERY_MS * 1000;
    }
    return true;
}

struct error *pg_conn_wait(struct pg_conn *c, bool for_write, int timeout_ms, bool *out_ready)
{
    int64_t deadline_us = timeout_ms < 0 ? -1 : clock_now_us() + (int64_t)timeout_ms * 1000;
    short events = (short)(POLLIN | (for_write ? POLLOUT : 0));

    if (PQsocket(c->pg) < 0)
        return pg_conn_lost(c);
    bool ready = timeout_ms < 0 && !for_write && !c->is_observer
                     ? wait_answer(c)
                     : wait_socket(PQsocket(c->pg), events, c->stop, deadline_us);
    if (is_stopped(c->stop))
        return stopped(c);
    *out_ready = ready;
    return NULL;
}

/* ---- connecting ---- */

/* Values that are in force before the first statement. "\\ " and the like: the server splits `options` at blanks. */
static void append_setting(struct buffer *options, const char *name, const char *value)
{
    buffer_printf(options, "%s-c %s=", options->length == 0 ? "" : " ", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == ' ' || *p == '\\' || *p == '\t' || *p == '\n')
            buffer_append_char(options, '\\');
        buffer_append_char(options, *p);
    }
}

static void append_settings(struct buffer *options, const char *const *pairs)
{
    for (; pairs != NULL && *pairs != NULL; pairs += 2)
        append_setting(options, pairs[0], pairs[1]);
}

static const char *const every_session[] = {
    /* clang-format off */
    "search_path", "pg_catalog",
    "DateStyle", "ISO",
    "IntervalStyle", "postgres",
    "extra_float_digits", "3",
    "bytea_output", "hex",
    "TimeZone", "UTC",
    "lc_monetary", "C",
    "xmloption", "content", /* a document is content, too */
    "array_nulls", "on",
    "standard_conforming_strings", "on",
    "quote_all_identifiers", "off",
    "default_transaction_isolation", "read committed",
    "default_transaction_deferrable", "off",
    "client_min_messages", "warning",
    "row_security", "off",
    "statement_timeout", "0",
    "lock_timeout", "0",
    "idle_in_transaction_session_timeout", "0",
    "default_transaction_read_only", "off", /* a frozen source is still ours to clean up */
    NULL,
    /* clang-format on */
};

/* Given where the user gave none of their own. */
static const char *const network_defaults[] = {
    /* clang-format off */
    "keepalives", "1",
    "keepalives_idle", "30",
    "keepalives_interval", "10",
    "keepalives_count", "3",
    NULL,
    /* clang-format on */
};

struct parameters {
    const char *keywords[PARAMETERS_MAX + 1];
    const char *values[PARAMETERS_MAX + 1];
    unsigned n;
};

static void parameter(struct parameters *p, const char *keyword, const char *value)
{
    if (value == NULL || p->n == PARAMETERS_MAX)
        return;
    p->keywords[p->n] = keyword;
    p->values[p->n++] = value;
}

/* libpq counts whole seconds; 0 and less mean for ever, which no unattended program should wait. */
static int connect_timeout_ms(const struct pg_endpoint *e)
{
    const char *given = pg_endpoint_option(e, "connect_timeout");
    long seconds = given == NULL ? 0 : strtol(given, NULL, 10);

    return seconds > 0 && seconds < INT_MAX / 1000 ? (int)seconds * 1000 : CONNECT_TIMEOUT_MS;
}

static PGconn *start(const struct pg_endpoint *e, const struct pg_connect_options *wanted)
{
    struct parameters p = {.n = 0};
    char user_timeout[16];
    CLEANUP(buffer_free) struct buffer *options = buffer_new();

    for (const struct pg_option *o = pg_endpoint_options(e); o->keyword != NULL; o++)
        parameter(&p, o->keyword, o->value);
    for (const char *const *d = network_defaults; *d != NULL; d += 2)
        parameter(&p, d[0], pg_endpoint_option(e, d[0]) == NULL ? d[1] : NULL);

    buffer_append_text(options, pg_endpoint_option(e, "options") == NULL ? "" : pg_endpoint_option(e, "options"));
    append_settings(options, wanted->as_application ? NULL : every_session);
    append_settings(options, wanted->settings);

    /*
     * PQconnectPoll knows no timeout: an address that swallows packets would eat all our time before the next one of
     * the same name is tried. Linux ends connect() by this option too (since 4.19); afterwards it is set for the
     * session.
     */
    snprintf(user_timeout, sizeof user_timeout, "%d", connect_timeout_ms(e) / 2);
    parameter(&p, "tcp_user_timeout", user_timeout);
    parameter(&p, "options", buffer_text(options));
    parameter(&p, "application_name", wanted->application_name);
    parameter(&p, "client_encoding", wanted->encoding);
    parameter(&p, "replication", wanted->replication ? "database" : NULL);
    if (pg_endpoint_password(e) != NULL)
        parameter(&p, "password", secret_reveal(pg_endpoint_password(e)));
    return PQconnectStartParams(p.keywords, p.values, 0);
}

/* True when it ended, well or badly; false when the time ran out or stop was requested. */
static bool poll_until_connected(PGconn *pg, const struct stop *stop, int64_t deadline_us)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        if (!wait_socket(PQsocket(pg), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, stop, deadline_us))
            return false;
        state = PQconnectPoll(pg);
    }
    return true;
}

static void ignore_notice(void *self, const PGresult *notice)
{
    const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

    (void)self;
    log_debug("server notice: %s", text == NULL ? "" : text);
}

/* The time for connecting is over: from now on bytes that nobody acknowledges end the session after a minute. */
static void relax_timeout(struct pg_conn *c)
{
    const char *given = pg_endpoint_option(c->endpoint, "tcp_user_timeout");
    unsigned ms = given == NULL ? UNACKNOWLEDGED_MS : (unsigned)strtoul(given, NULL, 10);

    /* A local socket has no such option; that is fine. */
    (void)setsockopt(PQsocket(c->pg), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

/* Settings that older servers do not know: in the startup message they would be refused. */
static const struct {
    int version;
    const char *sql;
} later_settings[] = {
    /* on catalogs that were never analyzed the planner has each lookup compiled: 20 to 30 ms, seconds for a large query */
    {110000, "SET jit = off;"},
    {140000, "SET idle_session_timeout = 0;"},
    {170000, "SET transaction_timeout = 0;"},
};

/* What the startup message cannot hold, also because the value is the server's. One round trip. */
static struct error *settle_session(struct pg_conn *c, const struct pg_connect_options *wanted)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    const char *server_encoding = PQparameterStatus(c->pg, "server_encoding");
    const char *client_encoding = PQparameterStatus(c->pg, "client_encoding");

    if (wanted->as_application)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(later_settings); i++)
        if (pg_conn_version(c) >= later_settings[i].version)
            buffer_append_text(sql, later_settings[i].sql);
    if (wanted->encoding == NULL && server_encoding != NULL && client_encoding != NULL &&
        strcmp(server_encoding, client_encoding) != 0)
        buffer_printf(sql, "SET client_encoding = '%s';", server_encoding);
    return sql->length == 0 ? NULL : pg_execute(c, "setting up the session", buffer_text(sql));
}

/* NOLINTBEGIN(clang-analyzer-unix.Malloc): the analyzer does not know CLEANUP */
/* *out_sqlstate (SQLSTATE_LENGTH + 1 bytes) is "" unless the server itself refused. */
static struct error *connect_once(const struct pg_endpoint *e, const struct pg_connect_options *options,
                                  char *out_sqlstate, struct pg_conn **out_conn)
{
    int timeout_ms = connect_timeout_ms(e) * (int)pg_endpoint_hosts(e);
    CLEANUP(pg_conn_close) struct pg_conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        abort();
    *c = (struct pg_conn){
        .pg = start(e, options), .endpoint = e, .stop = options->stop, .is_observer = options->is_observer};
    out_sqlstate[0] = '\0';
    if (c->pg == NULL)
        return error_new(ERROR_TRANSIENT, "could not connect to the %s \"%s\": out of memory", SIDE(e));
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);

    bool ended = PQstatus(c->pg) == CONNECTION_BAD ||
                 poll_until_connected(c->pg, options->stop, clock_now_us() + (int64_t)timeout_ms * 1000);
    if (is_stopped(options->stop))
        return error_new(ERROR_CANCELLED, "stopped while connecting to the %s \"%s\"", SIDE(e));
    if (!ended)
        return error_hint(
            error_new(ERROR_TRANSIENT, "could not connect to the %s \"%s\": timed out after %d s", SIDE(e),
                      timeout_ms / 1000),
            "Check address, port and firewalls, and whether the server answers at all; connect_timeout in "
            "the connection string sets the time to wait.");
    if (PQstatus(c->pg) != CONNECTION_OK) {
        const char *sqlstate = conn_refused_sqlstate(PQerrorMessage(c->pg));

        snprintf(out_sqlstate, SQLSTATE_LENGTH + 1, "%s", sqlstate == NULL ? "" : sqlstate);
        return conn_refused(e, PQerrorMessage(c->pg));
    }

    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    if (PQsetnonblocking(c->pg, 1) != 0)
        return pg_conn_lost(c);
    relax_timeout(c);
    TRY(settle_session(c, options));
    *out_conn = TAKE(c);
    return NULL;
}

struct error *pg_connect(const struct pg_endpoint *e, struct pg_connect_options options, struct pg_conn **out_conn)
{
    char sqlstate[SQLSTATE_LENGTH + 1];

    FAULT_POINT("conn.connect");
    return connect_once(e, &options, sqlstate, out_conn);
}

struct error *pg_conn_keep(const struct pg_endpoint *e, struct pg_connect_options options, struct pg_conn **conn)
{
    if (*conn != NULL && !pg_conn_is_broken(*conn))
        return NULL;
    pg_conn_close(TAKE(*conn));
    return pg_connect(e, options, conn);
}

struct error *pg_connect_patiently(const struct pg_endpoint *e, struct pg_connect_options options,
                                   struct pg_conn **out_conn)
{
    struct backoff pause = {0};

    for (;;) {
        struct error *err = pg_connect(e, options, out_conn);

        if (err == NULL && pause.tries > 0)
            log_info("connected to the %s \"%s\" again", SIDE(e));
        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        if (pause.tries == 0)
            log_warn("%s; trying again until it works", error_message(err));
        error_free(err);

        int ms = backoff_next_ms(&pause);
        if (options.stop == NULL)
            poll(NULL, 0, ms);
        else if (stop_wait_ms(options.stop, ms))
            return error_new(ERROR_CANCELLED, "stopped while connecting to the %s \"%s\"", SIDE(e));
    }
}

struct error *pg_database_exists(const struct pg_endpoint *e, const struct stop *stop, bool *out_exists)
{
    char sqlstate[SQLSTATE_LENGTH + 1];
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;
    struct pg_connect_options options = {.application_name = "pgtide", .stop = stop};
    struct error *err = connect_once(e, &options, sqlstate, &c);

    if (err != NULL && strcmp(sqlstate, "3D000") != 0)
        return err;
    *out_exists = err == NULL;
    error_free(err);
    return NULL;
}

/* NOLINTEND(clang-analyzer-unix.Malloc) */

void pg_conn_close(struct pg_conn *c)
{
    if (c == NULL)
        return;
    /* Whoever reconnects waits for what this session still runs, so it had better end soon. */
    if (c->pg != NULL && !c->is_broken && PQtransactionStatus(c->pg) == PQTRANS_ACTIVE)
        cancel(c);
    PQfinish(c->pg);
    free(c);
}

/* ---- what it is ---- */

PGconn *pg_conn_handle(struct pg_conn *c)
{
    return c->pg;
}

const struct pg_endpoint *pg_conn_endpoint(const struct pg_conn *c)
{
    return c->endpoint;
}

const struct stop *pg_conn_stop(const struct pg_conn *c)
{
    return c->stop;
}

int pg_conn_version(const struct pg_conn *c)
{
    return PQserverVersion(c->pg);
}

int pg_conn_pid(const struct pg_conn *c)
{
    return PQbackendPID(c->pg);
}

const char *pg_conn_tls(const struct pg_conn *c, const char **out_cipher)
{
    if (PQsslInUse(c->pg) == 0)
        return NULL;
    *out_cipher = PQsslAttribute(c->pg, "cipher");
    return PQsslAttribute(c->pg, "protocol");
}

bool pg_address_is_local(const char *host, const char *address)
{
    if (host != NULL && (host[0] == '/' || host[0] == '@'))
        return true;
    if (address == NULL || address[0] == '\0')
        return host == NULL || host[0] == '\0'; /* the built-in default is a socket */
    return strncmp(address, "127.", strlen("127.")) == 0 || strcmp(address, "::1") == 0;
}

bool pg_conn_is_local(const struct pg_conn *c)
{
    return pg_address_is_local(PQhost(c->pg), PQhostaddr(c->pg));
}

bool pg_conn_is_broken(const struct pg_conn *c)
{
    return c->is_broken || PQstatus(c->pg) != CONNECTION_OK;
}
