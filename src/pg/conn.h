/*
 * A session on a PostgreSQL server, and simple questions to it.
 *
 * Belongs to one thread at a time. Every wait also waits for `stop`: then the running statement is cancelled
 * (PQcancel) and ERROR_CANCELLED comes back. A statement that waits for a lock tells whose (pg/lock_wait.h). Errors name the side, what was attempted and the server's words; their
 * kind comes from pg/error.h. After ERROR_TRANSIENT ask pg_conn_is_broken whether the session is still good.
 *
 * Every session: client_encoding is the source's server encoding when given, search_path = pg_catalog, DateStyle
 * ISO, IntervalStyle postgres, extra_float_digits 3, bytea_output hex, TimeZone UTC, lc_monetary C, row_security off
 * (a policy raises an error instead of filtering in silence), xmloption content, array_nulls on, read committed, statement, lock, idle and transaction timeouts 0,
 * transactions read-write whatever the database's default, jit off (11 and later), TCP keepalives on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/endpoint.h"
#include "pg/quote.h" /* whoever asks quotes */
#include "sys/stop.h"

struct pg_conn;

struct pg_connect_options {
    const char *application_name; /* "pgtide 0f3a… copy 1"; required */
    const char *encoding;         /* client_encoding; NULL leaves the server's own: its server_encoding */
    const char *const *settings;  /* pairs name, value, …, NULL: given in `options`, so in force from the start */
    bool replication;             /* a walsender session on the database (replication=database) */
    bool as_application;          /* without the settings of every session: what others get who connect */
    bool is_observer;             /* what it asks waits for no lock, so that nobody need say whose */
    const struct stop *stop;      /* NULL: cannot be stopped */
};

/* Tries once, within connect_timeout (ours: 15 s). The cause is named exactly, with a hint what to do about it. */
MUST_USE struct error *pg_connect(const struct pg_endpoint *e, struct pg_connect_options options,
                                  struct pg_conn **out_conn);

/* Whether the database of the endpoint is there: asked by connecting (SQLSTATE 3D000). Other refusals are errors. */
MUST_USE struct error *pg_database_exists(const struct pg_endpoint *e, const struct stop *stop, bool *out_exists);

/*
 * Tries until it works, backing off, as long as errors are transient; `stop` ends it. Logs the first failure and the
 * success.
 */
MUST_USE struct error *pg_connect_patiently(const struct pg_endpoint *e, struct pg_connect_options options,
                                            struct pg_conn **out_conn);

/* For who asks now and then: as pg_connect where *conn is NULL or broken, which is closed first; else nothing. */
MUST_USE struct error *pg_conn_keep(const struct pg_endpoint *e, struct pg_connect_options options,
                                    struct pg_conn **conn);

/* Cancels what still runs in it. */
void pg_conn_close(struct pg_conn *c);
DEFINE_CLEANUP(struct pg_conn, pg_conn_close);

PGconn *pg_conn_handle(struct pg_conn *c);
const struct pg_endpoint *pg_conn_endpoint(const struct pg_conn *c);
const struct stop *pg_conn_stop(const struct pg_conn *c);
int pg_conn_version(const struct pg_conn *c); /* 150018 */
int pg_conn_pid(const struct pg_conn *c);     /* of the backend, as the start of the session told */
const char *pg_conn_tls(const struct pg_conn *c, const char **out_cipher); /* "TLSv1.3"; NULL without TLS */

/* Whether bytes stay on this machine: a socket in the file system, or a loopback address. */
bool pg_conn_is_local(const struct pg_conn *c);
bool pg_address_is_local(const char *host, const char *address); /* the same of libpq's host and hostaddr */
bool pg_conn_is_broken(const struct pg_conn *c);

/* Waits until the socket is readable (or writable, if `for_write`), for `timeout_ms` (-1: none) or stop. */
MUST_USE struct error *pg_conn_wait(struct pg_conn *c, bool for_write, int timeout_ms, bool *out_ready);

/* A result whose memory is the arena's: rows[r][c] is text or NULL. Good for catalogs and settings, not for data. */
struct pg_rows {
    unsigned n_rows;
    unsigned n_columns;
    char ***rows;
    char *tag; /* command tag */
};

/* One statement with text parameters (NULL for SQL NULL). `what` is the attempt: "reading the list of tables". */
MUST_USE struct error *pg_query(struct pg_conn *c, struct arena *a, const char *what, const char *sql,
                                const char *const *params, unsigned n_params, struct pg_rows *out_rows);

/* Gets each row as it comes, for answers of any length: cells (NULL for SQL NULL) are good until it returns. */
struct pg_row_taker {
    struct error *(*take)(void *self, const char *const *cells);
    void *self;
};

/* As pg_query, without ever holding the answer. Of at most 32 columns. The taker's error, or the statement's, is passed up. */
MUST_USE struct error *pg_query_each(struct pg_conn *c, const char *what, const char *sql, const char *const *params,
                                     unsigned n_params, struct pg_row_taker taker);

/* Exactly one row with one column; *out_text is NULL for SQL NULL. ERROR_BUG otherwise. */
MUST_USE struct error *pg_query_text(struct pg_conn *c, struct arena *a, const char *what, const char *sql,
                                     const char *const *params, unsigned n_params, char **out_text);

/* One or several statements, results thrown away; without BEGIN they are one implicit transaction. */
MUST_USE struct error *pg_execute(struct pg_conn *c, const char *what, const char *sql);
MUST_USE PRINTF(3, 4)
struct error *pg_execute_format(struct pg_conn *c, const char *what, const char *fmt, ...);

/*
 * Sends what libpq still holds, reading meanwhile so that nobody blocks. The session is in libpq's non-blocking mode.
 */
MUST_USE struct error *pg_conn_flush(struct pg_conn *c);

/* Reads the next result (NULL at the end of a command), waiting for stop too. The caller clears it. */
MUST_USE struct error *pg_conn_result(struct pg_conn *c, PGresult **out_result);
