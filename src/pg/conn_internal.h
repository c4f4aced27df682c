/*
 * What pg/conn.c (connecting, waiting) and pg/conn_query.c (statements) both see of a session.
 */
#pragma once

#include "pg/conn.h"

struct pg_conn {
    PGconn *pg;
    const struct pg_endpoint *endpoint;
    const struct stop *stop;
    bool is_observer;
    bool is_broken;
};

/* For messages: `source "db1:5432/shop"`. */
#define SIDE(e) pg_endpoint_side(e), pg_endpoint_name(e)

/* The session is broken from here on; the error says why. */
struct error *pg_conn_lost(struct pg_conn *c);

static inline bool is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}
