/*
 * Where one side of a task is: anything libpq takes as a conninfo (URI, key=value, service=), resolved once.
 *
 * Immutable after pg_endpoint_parse; may be read by several threads. The password never leaves it except into libpq
 * and, for pg_dump, into a file (pg_endpoint_for_program).
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

/* What a PostgreSQL program needs to log in; nothing secret is in argv or the environment. */
struct pg_program_login {
    const char *conninfo;    /* without passwords, for argv */
    const char *environment; /* "PGSERVICEFILE=…" for the child; NULL: none */
    const char *files[2];    /* 0600, with what is secret; the caller removes them; NULL: none */
};

/* Passwords go into files in `folder`: ours for the server as a password file, that of sslkey as a service. In `a`. */
MUST_USE struct error *pg_endpoint_for_program(struct arena *a, const struct pg_endpoint *e, const char *folder,
                                               struct pg_program_login *out_login);
