/*
 * Changes of a replication slot read by a query: pg_logical_slot_peek_binary_changes, and pg_replication_slot_advance.
 *
 * A walsender pays a recv for each record of WAL and a send for each message; a query pays neither, a third of the processor's time
 * for the same changes. It gives whole transactions in the order of their commits, the same messages as the stream without
 * transactions in progress, and moves nothing: the next call gives the same again until the slot is advanced.
 *
 * Of pgoutput only. An ordinary session of a role with REPLICATION; the slot must be free (55006). The server gathers the answer before it
 * sends the first row, in work_mem or a temporary file: so a call is silent while it decodes.
 *
 * A session belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/lsn.h"
#include "pg/conn.h"

struct pg_slot_backlog {
    bool exists;
    struct lsn restart;   /* decoding begins here, whatever was confirmed */
    struct lsn confirmed; /* a query gives what was committed from here on */
    struct lsn written;   /* the end of the WAL on the server's disk */
};

MUST_USE struct error *pg_slot_backlog(struct pg_conn *c, struct arena *a, const char *slot,
                                       struct pg_slot_backlog *out);

/*
 * A slot's restart point can only be at a record of the running transactions, which a server writes every 15 s of activity, and moves when
 * the slot is advanced over it. Has one written, which needs no right that a reader of slots has not: a temporary slot begins with it.
 * Waits for 100 ms at most; whether it worked shows the next backlog. ERROR_TRANSIENT: the session is lost.
 */
MUST_USE struct error *pg_slot_peek_mark(struct pg_conn *c, struct arena *a);

struct pg_peek_options {
    const char *slot;
    const char *const *publications;
    unsigned n_publications;
    bool binary;
    struct lsn upto;   /* not beyond the end of the WAL: then all that was committed before it has come, unless */
    uint32_t messages; /* a transaction made it so many: the last one of the answer */
};

struct pg_peek_sink {
    /* Each message; the bytes are good until it returns. */
    struct error *(*take)(void *self, const char *bytes, size_t length, struct lsn at);
    /* All that has come was taken. Often. */
    struct error *(*rest)(void *self);
    void *self;
};

/* So much memory that an answer of `answer_bytes` stays in it. `decoding_kb` is logical_decoding_work_mem, from 13 on. */
MUST_USE struct error *pg_slot_peek_settings(struct pg_conn *c, uint64_t answer_bytes, unsigned decoding_kb);

/*
 * Begins where the slot was confirmed up to. Stop cancels it. After an error the session may be in the middle of the answer: close
 * it. ERROR_TRANSIENT when nothing came for two minutes. The sink's errors are passed up.
 */
MUST_USE struct error *pg_slot_peek(struct pg_conn *c, const struct pg_peek_options *options, struct pg_peek_sink sink);

/*
 * Whether the server may be asked to move a slot. Not before 11; and before 13.21, 14.18, 15.13, 16.9 and 17.5 (11 and 12: ever) the
 * move lets go of rows of the catalog that what is still to be decoded needs.
 */
bool pg_slot_may_advance(int version);

/* (P3) The source may forget what lies before `to`. *out_confirmed: where the slot is then. */
MUST_USE struct error *pg_slot_advance(struct pg_conn *c, struct arena *a, const char *slot, struct lsn to,
                                       struct lsn *out_confirmed);
