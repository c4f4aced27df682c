/*
 * Where one side of a task is: anything libpq takes as a conninfo (URI, key=value, service=), resolved once.
 *
 * Immutable after pg_endpoint_parse; may be read by several threads. The password never leaves it except into libpq
 * and, for pg_dump, into a password file (pg_endpoint_passfile).
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/secret.h"

struct pg_endpoint;

/* `side` is "source" or "target" and begins every message. ERROR_USAGE for a text that libpq cannot read. */
MUST_USE struct error *pg_endpoint_parse(struct arena *a, const char *side, const char *conninfo,
                                         struct pg_endpoint **out_endpoint);

/* "source" or "target". */
const char *pg_endpoint_side(const struct pg_endpoint *e);

/* "host:port/database" for people; no user, no password. Several hosts are joined by commas. */
const char *pg_endpoint_name(const struct pg_endpoint *e);

/* What tells this server and database from others, for the name of the state folder: hosts, ports, database. */
const char *pg_endpoint_key(const struct pg_endpoint *e);

const char *pg_endpoint_database(const struct pg_endpoint *e);
const char *pg_endpoint_user(const struct pg_endpoint *e);

/* The same server and login with another database ("postgres", to create a missing one). In `a`. */
struct pg_endpoint *pg_endpoint_with_database(struct arena *a, const struct pg_endpoint *e, const char *database);

/*
 * A conninfo without password for the argv of a PostgreSQL program. When there is a password, it is written to
 * `path` (0600) as a password file and the conninfo names it; the caller removes the file. In `a`.
 */
MUST_USE struct error *pg_endpoint_for_program(struct arena *a, const struct pg_endpoint *e, const char *path,
                                               char **out_conninfo);
