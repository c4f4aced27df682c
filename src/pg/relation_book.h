/*
 * The source's catalog as a relation_book for test_decoding: one query for each table that is asked for, on a session of
 * its own, opened when first needed.
 *
 * One thread. A lost session is ERROR_TRANSIENT and the next question opens a new one.
 */
#pragma once

#include "pg/endpoint.h"
#include "pg/test_decoding.h"
#include "sys/stop.h"

struct pg_relation_book_options {
    const struct pg_endpoint *endpoint; /* the source */
    const char *application_name;
    const char *encoding; /* of the names in the stream: the source's server encoding */
    const struct stop *stop;
};

struct pg_relation_book;

/* Everything pointed to must live as long. */
struct pg_relation_book *pg_relation_book_new(struct arena *a, struct pg_relation_book_options options);
struct relation_book pg_relation_book_port(struct pg_relation_book *b);
void pg_relation_book_close(struct pg_relation_book *b); /* the session */
