/* What pg/conn.c needs of an endpoint beyond its public face: libpq's options as resolved. Immutable, thread-safe. */
#pragma once

#include "pg/endpoint.h"

struct pg_option {
    const char *keyword;
    const char *value;
};

/* All but the password; ends with a NULL keyword. */
const struct pg_option *pg_endpoint_options(const struct pg_endpoint *e);

/* NULL when it is not set. */
const char *pg_endpoint_option(const struct pg_endpoint *e, const char *keyword);

/* NULL when there is none, or when libpq is to look into a password file. */
const struct secret *pg_endpoint_password(const struct pg_endpoint *e);

unsigned pg_endpoint_hosts(const struct pg_endpoint *e);
