/*
 * The pump: rows from COPY … TO STDOUT of one session into COPY … FROM STDIN of another, as they are.
 *
 * Nothing is looked at: rows of the source become pieces of a byte stream (header and trailer of the binary format pass
 * with it) that goes to the target some 64 KB at a time. Both sockets are served at once, so source and target work at
 * the same time; at most about 1 MB is kept between them. A row of N bytes needs N: libpq's buffer, which it is sent from in
 * pieces.
 *
 * Several COPYs go as one list of statements on both sides, so that a small table costs no round trip of its own.
 * Transactions are the caller's. One thread owns both sessions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "pg/conn.h"

struct copy_statement {
    const char *name;    /* for messages: schema.table */
    const char *out_sql; /* COPY … TO STDOUT … */
    const char *in_sql;  /* COPY … FROM STDIN … in the same format */
};

struct copy_watch {
    void *self;
    /* Now and then: what came from the source since the last call, of statement `index`. NULL for none. */
    void (*progress)(void *self, unsigned index, uint64_t rows, uint64_t bytes);
    /* Rate limit: milliseconds to wait after these bytes before more is read; then it is asked again, with 0 or more. 0: go on. NULL for none. */
    int (*pace_ms)(void *self, uint64_t bytes);
};

struct copy_outcome {
    uint64_t *rows;       /* of each statement; the caller's array */
    uint64_t largest_row; /* bytes: a session that carried a large one keeps a buffer of that size until it is closed */
};

/*
 * (G4) ERROR_DATA with both numbers when the servers counted differently. What the target refuses is noticed while
 * sending. Stops with the source session's `stop`.
 *
 * After an error the source session is in the middle of a COPY: close it. The target's COPY has been ended so that
 * ROLLBACK works, unless pg_conn_is_broken says otherwise. Notices of the target should be off (client_min_messages =
 * error).
 */
MUST_USE struct error *copy_pump(struct pg_conn *source, struct pg_conn *target,
                                 const struct copy_statement *statements, unsigned n, struct copy_watch watch,
                                 struct copy_outcome *out);
