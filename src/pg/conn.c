#include "pg/conn.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "base/backoff.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
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
    SQLSTATE_LENGTH = 5,
    TAKEN_COLUMNS_MAX = 32,
};

struct pg_conn {
    PGconn *pg;
    const struct pg_endpoint *endpoint;
    const struct stop *stop;
    bool is_observer;
    bool is_broken;
};

/* For messages: `source "db1:5432/shop"`. */
#define SIDE(e) pg_endpoint_side(e), pg_endpoint_name(e)

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

static bool is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
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

static struct error *lost(struct pg_conn *c)
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
        return lost(c);
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

static bool is_sqlstate(const char *text)
{
    return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_LENGTH && text[SQLSTATE_LENGTH] == ':';
}

/*
 * The next thing that a server refused with, or NULL at the end; *out_code is NULL where it was libpq that gave up. libpq
 * keeps no SQLSTATE of a failed connection, but writes it when asked to be verbose:
 * "connection to server at \"h\", port 1 failed: FATAL:  3D000: database …". One such line a host and attempt.
 */
static const char *next_refusal(const char *message, const char **out_code)
{
    static const char before[] = " failed: ";
    const char *severity = strstr(message, before);

    if (severity == NULL)
        return NULL;
    severity += strlen(before);
    const char *colon = severity + strcspn(severity, ":\n");
    const char *code = *colon == ':' ? colon + 1 + strspn(colon + 1, " ") : "";
    *out_code = is_sqlstate(code) ? code : NULL;
    return severity + strcspn(severity, "\n"); /* what follows in this line is the server's prose */
}

/* That of the last one, or NULL. */
static const char *find_sqlstate(const char *message)
{
    const char *found = NULL, *code;

    for (const char *p = next_refusal(message, &code); p != NULL; p = next_refusal(p, &code))
        found = code;
    return found;
}

static bool is_refused_with(const char *message, const char *sqlstate)
{
    const char *code;

    for (const char *p = next_refusal(message, &code); p != NULL; p = next_refusal(p, &code))
        if (code != NULL && strncmp(code, sqlstate, strlen(sqlstate)) == 0)
            return true;
    return false;
}

struct refusal {
    const char *sign; /* an SQLSTATE, or words of libpq, which speaks English as long as nobody calls setlocale */
    enum error_kind kind;
    const char *hint;
};

/* Words of a server's message that tell more than its SQLSTATE does. */
static const struct refusal refusals_in_words[] = {
    {"valid client certificate", ERROR_CONFIG,
     "The server wants a client certificate of this user: give sslcert= and sslkey=, signed by an authority in the "
     "server's ssl_ca_file."},
};

static const struct refusal refusals_of_server[] = {
    {"28P01", ERROR_CONFIG, "Check user and password; a password may stand in the URI, in ~/.pgpass or in PGPASSWORD."},
    {"28", ERROR_CONFIG,
     "Check that the role exists and may log in, and that pg_hba.conf on the server has a line for this user, "
     "database, "
     "address and kind of connection (with or without TLS, replication); reload the server after it."},
    {"3D000", ERROR_CONFIG, "Check the database name, or create the database."},
    {"42501", ERROR_CONFIG, "GRANT CONNECT ON DATABASE to this user, and for the source give the role REPLICATION."},
    {"53300", ERROR_TRANSIENT, "All connections of the server are in use: raise max_connections or close some."},
    {"57P03", ERROR_TRANSIENT, "The server is starting up, shutting down or recovering: wait until it is ready."},
    {"55000", ERROR_CONFIG, "The database does not accept connections (datallowconn)."},
    {"08P01", ERROR_CONFIG,
     "A connection pooler seems to stand in front of the server: it refuses settings that pgtide gives its sessions. "
     "Connect to the server itself."},
};

/* The first that is found counts: what is special comes before what is general. */
static const struct refusal refusals_of_libpq[] = {
    {"Temporary failure in name resolution", ERROR_TRANSIENT,
     "The name service of this machine did not answer: check /etc/resolv.conf and the network, or give an address."},
    {"could not translate host name", ERROR_CONFIG,
     "Check the host name and the name service of this machine, or give an address (hostaddr=)."},
    {"no password supplied", ERROR_CONFIG,
     "The server asks for a password: put it into the URI, into ~/.pgpass or into PGPASSWORD."},
    {"does not match host name", ERROR_CONFIG,
     "The server's certificate is for another name: connect by a name that is in the certificate (hostaddr= can give "
     "the address beside it), have a certificate made for this name, or, if a trusted authority is proof enough for "
     "you, use sslmode=verify-ca."},
    {"certificate verify failed", ERROR_CONFIG,
     "The server's certificate is not signed by an authority in sslrootcert, or it has expired: give the right "
     "sslrootcert, or renew the certificate."},
    {"root certificate file", ERROR_CONFIG,
     "Give the file with the certificates that you trust by sslrootcert=, or use a weaker sslmode."},
    {"private key", ERROR_CONFIG,
     "Check sslkey: that it belongs to sslcert, that nobody else may read it (chmod 0600), and sslpassword."},
    {"alert", ERROR_CONFIG,
     "The server refused during the TLS handshake: it may want a client certificate (sslcert=, sslkey=) of an "
     "authority that it trusts, or another TLS version."},
    {"certificate", ERROR_CONFIG,
     "Check the TLS certificates: sslrootcert for the server's, sslcert and sslkey for ours, and sslmode."},
    {"unexpected eof", ERROR_TRANSIENT,
     "The server, or what stands between, ended the connection within the TLS handshake."},
    {"does not support SSL", ERROR_CONFIG, "Turn ssl on on the server, or use sslmode=prefer or disable."},
    {"SSL error", ERROR_CONFIG, "Check TLS versions, sslmode and certificates of both sides."},
    {"Connection refused", ERROR_TRANSIENT,
     "Check that the server runs, listens on this address (listen_addresses) and port, and that no firewall is "
     "between."},
    {"No such file or directory", ERROR_TRANSIENT,
     "Check that the server runs and that the folder of its socket (unix_socket_directories) and the port are right."},
    {"timed out", ERROR_TRANSIENT, "Check address, port and firewalls: packets get no answer."},
    {"No route to host", ERROR_TRANSIENT, "Check address and routing."},
    {"Network is unreachable", ERROR_TRANSIENT, "Check address and routing."},
    {"Permission denied", ERROR_CONFIG, "Check the permissions of the server's socket and of the key files."},
    {"hot standby mode", ERROR_TRANSIENT,
     "None of the servers is what target_session_attrs asks for: check it, and which of them is the primary."},
    {"session is ", ERROR_TRANSIENT,
     "None of the servers is what target_session_attrs asks for: check it, and which of them is the primary."},
    {"service file", ERROR_CONFIG, "Check the service file."},
    {"channel binding", ERROR_CONFIG,
     "channel_binding=require needs TLS and SCRAM passwords on the server: use them, or channel_binding=prefer."},
    {"invalid target_session_attrs", ERROR_CONFIG, "Check target_session_attrs in the connection string."},
    {"invalid integer value", ERROR_CONFIG, "Check the numbers in the connection string and in the PG* environment."},
};

/*
 * Of several attempts the one that is explained best counts: with sslmode=prefer a wrong password with TLS is followed by
 * an attempt without, for which there may be no line in pg_hba.conf.
 */
static const struct refusal *explain(const char *message)
{
    bool has_sqlstate = find_sqlstate(message) != NULL;

    for (size_t i = 0; has_sqlstate && i < COUNT_OF(refusals_in_words); i++)
        if (strstr(message, refusals_in_words[i].sign) != NULL)
            return &refusals_in_words[i];
    for (size_t i = 0; has_sqlstate && i < COUNT_OF(refusals_of_server); i++)
        if (is_refused_with(message, refusals_of_server[i].sign))
            return &refusals_of_server[i];
    for (size_t i = 0; !has_sqlstate && i < COUNT_OF(refusals_of_libpq); i++)
        if (strstr(message, refusals_of_libpq[i].sign) != NULL)
            return &refusals_of_libpq[i];
    return NULL;
}

/* One line of the several that libpq writes, without the place in the server's sources. */
static void append_cause(struct buffer *b, const char *message)
{
    for (const char *line = message; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        size_t indent = strspn(line, " \t");

        if (strncmp(line, "LOCATION:", strlen("LOCATION:")) != 0 && length > indent)
            buffer_printf(b, "%s%.*s", b->length == 0 ? "" : "; ", (int)(length - indent), line + indent);
        line += length + (line[length] == '\n');
    }
}

static struct error *refused(const struct pg_endpoint *e, const char *message)
{
    CLEANUP(buffer_free) struct buffer *cause = buffer_new();
    const struct refusal *why = explain(message);
    const char *sqlstate = find_sqlstate(message);
    enum error_kind kind = ERROR_TRANSIENT; /* cut off in the middle */

    if (why != NULL)
        kind = why->kind;
    else if (sqlstate != NULL)
        kind = pg_error_kind(sqlstate);
    append_cause(cause, message);

    struct error *err = error_new(kind, "could not connect to the %s \"%s\" as user \"%s\": %s", SIDE(e),
                                  pg_endpoint_user(e), buffer_text(cause));
    return why == NULL ? err : error_hint(err, "%s", why->hint);
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
    {110000, "SET jit = off;"}, /* compiling a catalog query takes seconds, running it milliseconds */
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
        const char *sqlstate = find_sqlstate(PQerrorMessage(c->pg));

        snprintf(out_sqlstate, SQLSTATE_LENGTH + 1, "%s", sqlstate == NULL ? "" : sqlstate);
        return refused(e, PQerrorMessage(c->pg));
    }

    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    if (PQsetnonblocking(c->pg, 1) != 0)
        return lost(c);
    relax_timeout(c);
    TRY(settle_session(c, options));
    *out_conn = TAKE(c);
    return NULL;
}

/*
 * On catalogs that were never analyzed the planner expects so much of a lookup that it is compiled first, for 20 to 30 ms each time. Not among
 * `every_session`: a server of 10 would refuse the name.
 */
MUST_USE static struct error *leave_jit_out(struct pg_conn *c)
{
    return pg_conn_version(c) < 110000 ? NULL : pg_execute(c, "setting up the session", "SET jit = off");
}

struct error *pg_connect(const struct pg_endpoint *e, struct pg_connect_options options, struct pg_conn **out_conn)
{
    char sqlstate[SQLSTATE_LENGTH + 1];

    FAULT_POINT("conn.connect");
    TRY(connect_once(e, &options, sqlstate, out_conn));
    struct error *err = options.replication || options.as_application ? NULL : leave_jit_out(*out_conn);
    if (err != NULL)
        pg_conn_close(TAKE(*out_conn));
    return err;
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

/* ---- asking ---- */

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

struct error *pg_conn_flush(struct pg_conn *c)
{
    for (;;) {
        int left = PQflush(c->pg);
        bool ready;

        if (left == 0)
            return NULL;
        if (left < 0)
            return lost(c);
        TRY(pg_conn_wait(c, true, -1, &ready));
        if (PQconsumeInput(c->pg) == 0) /* or server and we could both wait for the other to read */
            return lost(c);
    }
}

struct error *pg_conn_result(struct pg_conn *c, PGresult **out_result)
{
    bool ready;

    TRY(pg_conn_flush(c));
    while (PQisBusy(c->pg)) {
        TRY(pg_conn_wait(c, false, -1, &ready));
        if (PQconsumeInput(c->pg) == 0)
            return lost(c);
    }
    *out_result = PQgetResult(c->pg);
    return NULL;
}

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY;
}

static struct error *failed(struct pg_conn *c, const PGresult *result, const char *what)
{
    struct error *err = pg_error(c->pg, result, what);

    if (PQstatus(c->pg) != CONNECTION_OK)
        c->is_broken = true;
    return error_wrap(err, "%s \"%s\"", SIDE(c->endpoint));
}

/* Reads to the end of the command; the last result is the caller's unless an earlier one was an error. */
static struct error *collect(struct pg_conn *c, const char *what, PGresult **out_last)
{
    CLEANUP(error_free) struct error *first = NULL;
    CLEANUP(pgresult_clear) PGresult *last = NULL;

    for (;;) {
        PGresult *next = NULL;
        struct error *err = pg_conn_result(c, &next);

        if (err != NULL)
            return error_wrap(err, "%s", what);
        if (next == NULL)
            break;
        PQclear(last);
        last = next;
        if (is_copy(PQresultStatus(last))) {
            c->is_broken = true; /* reading on would not end */
            return error_new(ERROR_BUG, "%s \"%s\": %s: a COPY where a query was expected", SIDE(c->endpoint), what);
        }
        if (is_error(last) && first == NULL)
            first = failed(c, last, what);
    }
    if (first != NULL)
        return TAKE(first);
    *out_last = TAKE(last);
    return NULL;
}

static struct error *run(struct pg_conn *c, const char *what, const char *sql, const char *const *params,
                         unsigned n_params, PGresult **out_last)
{
    /* Without parameters by the simple protocol: it is all that a walsender knows, and it takes several statements. */
    int sent = n_params == 0 ? PQsendQuery(c->pg, sql)
                             : PQsendQueryParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0);

    if (sent == 0)
        return error_wrap(lost(c), "%s", what);
    return collect(c, what, out_last);
}

/* NOLINTNEXTLINE(readability-function-size): a statement and its parameters belong together */
struct error *pg_query(struct pg_conn *c, struct arena *a, const char *what, const char *sql, const char *const *params,
                       unsigned n_params, struct pg_rows *out_rows)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    TRY(run(c, what, sql, params, n_params, &result));
    struct pg_rows rows = {.n_rows = (unsigned)PQntuples(result), .n_columns = (unsigned)PQnfields(result)};
    char **cells = arena_alloc(a, ((size_t)rows.n_rows * rows.n_columns + 1) * sizeof *cells);

    rows.rows = arena_alloc(a, (rows.n_rows + 1U) * sizeof *rows.rows);
    for (unsigned r = 0; r < rows.n_rows; r++) {
        rows.rows[r] = cells + (size_t)r * rows.n_columns;
        for (unsigned column = 0; column < rows.n_columns; column++)
            if (!PQgetisnull(result, (int)r, (int)column))
                rows.rows[r][column] = arena_strdup(a, PQgetvalue(result, (int)r, (int)column));
    }
    rows.tag = arena_strdup(a, result == NULL ? "" : PQcmdStatus(result));
    *out_rows = rows;
    return NULL;
}

static struct error *take_tuples(const PGresult *result, const struct pg_row_taker *taker)
{
    const char *cells[TAKEN_COLUMNS_MAX] = {NULL};
    int n_columns = PQnfields(result);

    assert(n_columns <= TAKEN_COLUMNS_MAX);
    for (int r = 0; r < PQntuples(result); r++) {
        for (int column = 0; column < n_columns; column++)
            cells[column] = PQgetisnull(result, r, column) ? NULL : PQgetvalue(result, r, column);
        TRY(taker->take(taker->self, cells));
    }
    return NULL;
}

/* NOLINTNEXTLINE(readability-function-size): as pg_query */
struct error *pg_query_each(struct pg_conn *c, const char *what, const char *sql, const char *const *params,
                            unsigned n_params, struct pg_row_taker taker)
{
    CLEANUP(error_free) struct error *first = NULL;

    if (PQsendQueryParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0) == 0 ||
        PQsetSingleRowMode(c->pg) == 0)
        return error_wrap(lost(c), "%s", what);
    for (;;) {
        CLEANUP(pgresult_clear) PGresult *next = NULL;
        struct error *err = pg_conn_result(c, &next);

        if (err != NULL)
            return error_wrap(err, "%s", what);
        if (next == NULL)
            return TAKE(first);
        if (first != NULL)
            continue; /* to the end of the command */
        if (PQresultStatus(next) == PGRES_SINGLE_TUPLE)
            first = take_tuples(next, &taker);
        else if (is_error(next))
            first = failed(c, next, what);
    }
}

/* NOLINTNEXTLINE(readability-function-size): as pg_query */
struct error *pg_query_text(struct pg_conn *c, struct arena *a, const char *what, const char *sql,
                            const char *const *params, unsigned n_params, char **out_text)
{
    struct pg_rows rows = {.n_rows = 0};

    TRY(pg_query(c, a, what, sql, params, n_params, &rows));
    if (rows.n_rows != 1 || rows.n_columns != 1)
        return error_new(ERROR_BUG, "%s \"%s\": %s: expected one value, got %u rows with %u columns", SIDE(c->endpoint),
                         what, rows.n_rows, rows.n_columns);
    *out_text = rows.rows[0][0];
    return NULL;
}

struct error *pg_execute(struct pg_conn *c, const char *what, const char *sql)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    return run(c, what, sql, NULL, 0, &result);
}

struct error *pg_execute_format(struct pg_conn *c, const char *what, const char *fmt, ...)
{
    va_list ap;
    char *sql = NULL;

    va_start(ap, fmt);
    int length = vasprintf(&sql, fmt, ap);
    va_end(ap);
    if (length < 0)
        abort();
    struct error *err = pg_execute(c, what, sql);
    free(sql);
    return err;
}

/* ---- quoting ---- */

static void append_doubled(struct buffer *b, const char *text, char quote, bool double_backslash)
{
    buffer_append_char(b, quote);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == quote || (double_backslash && *p == '\\'))
            buffer_append_char(b, *p);
        buffer_append_char(b, *p);
    }
    buffer_append_char(b, quote);
}

char *pg_quote_identifier(struct arena *a, const char *name)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    append_doubled(b, name, '"', false);
    return arena_strdup(a, buffer_text(b));
}

char *pg_quote_name(struct arena *a, const char *schema, const char *name)
{
    return arena_printf(a, "%s.%s", pg_quote_identifier(a, schema), pg_quote_identifier(a, name));
}

/* E'...' when there is a backslash: right whatever standard_conforming_strings says. */
char *pg_quote_literal(struct arena *a, const char *text)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();
    bool has_backslash = strchr(text, '\\') != NULL;

    if (has_backslash)
        buffer_append_char(b, 'E');
    append_doubled(b, text, '\'', has_backslash);
    return arena_strdup(a, buffer_text(b));
}

const char *pg_text_array(struct arena *a, const char *const *texts, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    buffer_append_char(text, '{');
    for (unsigned i = 0; i < n; i++) {
        buffer_append_text(text, i == 0 ? "\"" : ",\"");
        for (const char *at = texts[i]; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\')
                buffer_append_char(text, '\\');
            buffer_append_char(text, *at);
        }
        buffer_append_char(text, '"');
    }
    buffer_append_char(text, '}');
    return arena_strdup(a, buffer_text(text));
}
