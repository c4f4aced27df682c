/*
 * One row of the source as it is now, for the values that the stream did not send: source_rows of ports/target.h.
 *
 * Its session on the source is made at the first question and again after it broke. Belongs to the thread that asks.
 * Errors: ERROR_TRANSIENT when the source cannot be asked now (tries once), ERROR_DATA when it has several such rows.
 */
#pragma once

#include "base/arena.h"
#include "pg/endpoint.h"
#include "ports/target.h"
#include "sys/stop.h"

struct pg_source_rows_options {
    const struct pg_endpoint *endpoint; /* the source */
    const char *application_name;
    const char *encoding; /* the source's server encoding: values travel in it */
    const struct stop *stop;
};

struct pg_source_rows;

/* Close it before `a` is freed. */
struct pg_source_rows *pg_source_rows_new(struct arena *a, struct pg_source_rows_options options);
void pg_source_rows_close(struct pg_source_rows *r);
DEFINE_CLEANUP(struct pg_source_rows, pg_source_rows_close);

/* The port. Good until pg_source_rows_close. */
struct source_rows pg_source_rows_port(struct pg_source_rows *r);
