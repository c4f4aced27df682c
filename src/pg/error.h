/*
 * Turns what libpq says into a `struct error`. The only place in the program that looks at an SQLSTATE to choose a
 * kind.
 *
 * Manual: "PostgreSQL Error Codes"; pg_error is also used for a NULL result (libpq's own words, ERROR_TRANSIENT).
 */
#pragma once

#include <stdbool.h>

#include <libpq-fe.h>

#include "base/error.h"

/* `what` is an attempt: "starting replication on slot \"pgtide_7\"". Primary message, DETAIL and SQLSTATE follow it. */
MUST_USE struct error *pg_error(PGconn *conn, const PGresult *result, const char *what);

/* What a caller can do about an SQLSTATE. */
enum error_kind pg_error_kind(const char *sqlstate);

/* True when the result's SQLSTATE begins with `prefix` ("23505", "08"). */
bool pg_result_is(const PGresult *result, const char *prefix);
