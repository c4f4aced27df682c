/*
 * The change stream as the engine sees it: messages of an output plugin, decoded.
 *
 * In production pg/pgoutput decodes; in unit tests a script does. A decoder is a pure object over bytes: it keeps the
 * relations it was told about and nothing else, and does no I/O. One thread each; the receiver and the feeder have one
 * of their own.
 *
 * Life of a stream (protocol version 1 to 4, "Logical Streaming Replication Protocol"):
 *
 *     BEGIN  RELATION* (INSERT | UPDATE | DELETE | TRUNCATE | MESSAGE | RELATION | TYPE | ORIGIN)*  COMMIT
 *     MESSAGE (not transactional, between transactions)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "model/relation.h"
#include "model/row.h"

enum event_kind {
    EVENT_BEGIN,
    EVENT_COMMIT,
    EVENT_RELATION,
    EVENT_TYPE,
    EVENT_ORIGIN,
    EVENT_INSERT,
    EVENT_UPDATE,
    EVENT_DELETE,
    EVENT_TRUNCATE,
    EVENT_MESSAGE,
    EVENT_KIND_COUNT,
};

/* What an UPDATE or DELETE says about the row as it was. */
enum old_row {
    OLD_ABSENT, /* UPDATE whose identity did not change: take it from the new row */
    OLD_KEY,    /* identity columns only, the others are VALUE_NULL and mean nothing */
    OLD_FULL,
};

struct event {
    enum event_kind kind;

    /* BEGIN, COMMIT. (P2) Only `end` orders transactions; BEGIN knows `commit` alone and has `end` LSN_NONE. */
    uint32_t xid;         /* BEGIN: top-level transaction id, low 32 bits */
    struct lsn commit;    /* the commit record's first byte */
    struct lsn end;       /* COMMIT: the byte after it */
    int64_t committed_us; /* by the source's clock, Unix microseconds */

    /* RELATION: the new version. INSERT, UPDATE, DELETE: the version in force. */
    const struct stream_relation *relation;
    enum old_row old_kind;
    const struct value *old_row; /* relation->n_columns values, or NULL when OLD_ABSENT */
    const struct value *new_row; /* relation->n_columns values; NULL for DELETE */

    /* TRUNCATE */
    const struct stream_relation *const *truncated;
    unsigned n_truncated;
    bool cascade;
    bool restart_identity;

    /* MESSAGE (pg_logical_emit_message) */
    bool is_transactional;
    struct lsn message_at;
    const char *prefix;
    const char *content; /* not NUL-terminated */
    uint32_t content_length;
};

/* What the receiver must know of a message without decoding rows. */
enum boundary_kind {
    BOUNDARY_NONE, /* part of the open transaction, or outside of any */
    BOUNDARY_BEGIN,
    BOUNDARY_COMMIT,   /* `end` is set */
    BOUNDARY_RELATION, /* RELATION or TYPE: must be known to whoever reads on from here; `oid` is set */
};

struct boundary {
    enum boundary_kind kind;
    struct lsn end;
    int64_t committed_us; /* COMMIT: by the source's clock */
    uint32_t oid;
    bool is_type; /* RELATION: a TYPE message; a relation and a type may have the same oid */
    uint32_t xid; /* BEGIN */
};

struct decoder_ops {
    /* Every byte comes from outside: any input gives a boundary or ERROR_DATA, never undefined behaviour. */
    MUST_USE struct error *(*boundary)(void *self, const char *bytes, size_t length, struct boundary *out);

    /*
     * Rows and their value arrays live in `a`; the bytes of values point into `bytes`, which must live as long.
     * Relations live as long as the decoder.
     */
    MUST_USE struct error *(*decode)(void *self, struct arena *a, const char *bytes, size_t length, struct event *out);
};

struct decoder {
    const struct decoder_ops *ops;
    void *self;
};
