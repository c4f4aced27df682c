/*
 * Why a connection could not be made: libpq's message read for its kind, with a hint what to do about it.
 *
 * Pure. Of a message that tells of several attempts (hosts, with and without TLS) the one that is explained best counts.
 */
#pragma once

#include "base/error.h"
#include "pg/endpoint.h"

enum { SQLSTATE_LENGTH = 5 };

/* `message` is PQerrorMessage of a connection whose verbosity is PQERRORS_VERBOSE, in English. */
struct error *conn_refused(const struct pg_endpoint *e, const char *message);

/* Where in it the SQLSTATE of the last refusal stands; NULL where no server answered it. */
const char *conn_refused_sqlstate(const char *message);
