#include "pg/conn_refused.h"

#include <string.h>

#include "base/buffer.h"
#include "pg/error.h"

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

const char *conn_refused_sqlstate(const char *message)
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
    bool has_sqlstate = conn_refused_sqlstate(message) != NULL;

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

struct error *conn_refused(const struct pg_endpoint *e, const char *message)
{
    CLEANUP(buffer_free) struct buffer *cause = buffer_new();
    const struct refusal *why = explain(message);
    const char *sqlstate = conn_refused_sqlstate(message);
    enum error_kind kind = ERROR_TRANSIENT; /* cut off in the middle */

    if (why != NULL)
        kind = why->kind;
    else if (sqlstate != NULL)
        kind = pg_error_kind(sqlstate);
    append_cause(cause, message);

    struct error *err = error_new(kind, "could not connect to the %s \"%s\" as user \"%s\": %s", pg_endpoint_side(e),
                                  pg_endpoint_name(e), pg_endpoint_user(e), buffer_text(cause));
    return why == NULL ? err : error_hint(err, "%s", why->hint);
}
