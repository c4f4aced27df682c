/*
 * Turns what libpq says into a `struct error`. The only place in the program that looks at an SQLSTATE to choose a kind.
 *
 * Manual: "PostgreSQL Error Codes"; pg_error is also used for a NULL result (libpq's own words, ERROR_TRANSIENT).
 */
#pragma once

#include <libpq-fe.h>

#include "base/error.h"

/* `what` is an attempt: "starting replication on slot \"pgtide_7\"". Primary message, DETAIL and SQLSTATE follow it. */
MUST_USE struct error *pg_error(PGconn *conn, const PGresult *result, const char *what);

/* True when the result's SQLSTATE begins with `prefix` ("23505", "08"). */
int pg_result_is(const PGresult *result, const char *prefix);
