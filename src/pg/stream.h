/*
 * The replication connection: START_REPLICATION, messages in, feedback out.
 *
 * Protocol: "Streaming Replication Protocol" and "Logical Streaming Replication Parameters". Asks pgoutput for the highest
 * protocol version that the server knows (1, from 14 on 2, from 15 on 3, from 16 on 4), without two-phase; logical messages from
 * 14 on, and from there on transactions that outgrow decoding_work_mem in pieces while they are in progress (pg/pgoutput_frames).
 *
 *     TRY(pg_stream_open(options, &stream));
 *     for (;;) {
 *         TRY(pg_stream_next(stream, &message));
 *         if (message.kind == STREAM_NOTHING)
 *             TRY(pg_stream_wait(stream, timeout_ms));
 *         …
 *     }
 *
 * How we read decides what the source pays: read as they come, each message is a send, a packet and a wake-up of its own, which
 * cost a walsender more than decoding does. So while more than a megabyte a second flows, pg_stream_wait naps whenever all that has
 * arrived was read, and lets more gather: nap_us for each megabyte a second, 10 ms at most, which only a backlog reaches; what comes
 * in drops never waits for a nap. (300,000 transactions of one insert: 3.9 s of the source's CPU with naps of 300 us whatever flows,
 * 1.7 s so, 1.8 s with a subscription of PostgreSQL 15, which is slow to read because it applies.)
 *
 * A slot of test_decoding sends text (pg/test_decoding).
 *
 * One thread. Errors: a lost connection and a server that shuts down are ERROR_TRANSIENT: open a new stream; a slot or a
 * publication that is missing or lost is ERROR_CONFIG.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/lsn.h"
#include "pg/endpoint.h"
#include "sys/stop.h"

enum { PG_STREAM_NAP_US = 300 };

struct pg_stream_options {
    const struct pg_endpoint *endpoint; /* the source */
    const char *application_name;       /* "pgtide 0f3a… receiver" */
    const char *slot;
    const char *const *publications;
    unsigned n_publications;
    struct lsn from;               /* LSN_NONE: where the slot was confirmed up to */
    bool is_test_decoding;         /* the slot's output plugin; publications and binary mean nothing then */
    bool binary;                   /* from 14 on; older servers send text */
    bool is_whole;                 /* transactions come when they are committed, however large */
    unsigned decoding_work_mem_kb; /* logical_decoding_work_mem of the session, from 13 on; 0: the server's */
    unsigned nap_us;               /* PG_STREAM_NAP_US, for each megabyte a second; 0: never nap */
    const struct stop *stop;       /* NULL: cannot be stopped */
};

struct pg_stream;

/* Connects and starts, tries once. */
MUST_USE struct error *pg_stream_open(struct pg_stream_options options, struct pg_stream **out_stream);
void pg_stream_close(struct pg_stream *s);
DEFINE_CLEANUP(struct pg_stream, pg_stream_close);

enum stream_message_kind {
    STREAM_NOTHING,   /* nothing complete has arrived: pg_stream_wait */
    STREAM_WAL,       /* a message of the output plugin */
    STREAM_KEEPALIVE, /* (P4) says where the server is; it moves no apply position */
};

struct stream_message {
    enum stream_message_kind kind;
    struct lsn start;  /* WAL */
    struct lsn end;    /* the server's WAL end as of sending */
    int64_t sent_us;   /* by the source's clock, Unix microseconds */
    const char *bytes; /* WAL: the plugin's message; until the next call */
    size_t length;
    bool reply_requested; /* KEEPALIVE: feedback is due at once, else the server takes us for dead */
};

/* Never waits. Gives all that libpq has buffered before it says STREAM_NOTHING. */
MUST_USE struct error *pg_stream_next(struct pg_stream *s, struct stream_message *out);

/*
 * Until something may have arrived, or `timeout_ms` (-1: none) is over; sends what is left of feedback meanwhile.
 * ERROR_CANCELLED when stopped; the stream is still good for a last feedback.
 */
MUST_USE struct error *pg_stream_wait(struct pg_stream *s, int timeout_ms);

/*
 * (P3) `flushed` is what the source may forget: the caller has it durably. Positions are ends: everything before them.
 * Does not wait: what the socket does not take now goes with the next wait.
 */
MUST_USE struct error *pg_stream_feedback(struct pg_stream *s, struct lsn written, struct lsn flushed,
                                          struct lsn applied, bool reply);

/* Milliseconds without a word from us after which the server ends the stream (wal_sender_timeout); 0: never. */
int pg_stream_sender_timeout_ms(const struct pg_stream *s);

/* For whoever waits for more than the stream: readable when pg_stream_wait would return. */
int pg_stream_fd(const struct pg_stream *s);

/* Of the server, 150018; and process id of the walsender. */
int pg_stream_server_version(const struct pg_stream *s);
int pg_stream_backend_pid(const struct pg_stream *s);
