/*
 * Translates the output plugin test_decoding into the messages of pgoutput: the way when no publication can be made (a
 * source user that is neither superuser nor owner of the tables; test_decoding needs REPLICATION alone).
 *
 * So the spool, the feeder and all that follows know one format, and what one decoder does right the other does too.
 * Source of the format: contrib/test_decoding/test_decoding.c of PostgreSQL 10 to 18, with the options include-xids and
 * include-timestamp:
 *
 *     BEGIN 693
 *     table public.t: INSERT: id[integer]:1 name[text]:'it''s' flags[bit varying]:B'101' big[text]:unchanged-toast-datum
 *     table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 name[text]:null
 *     table public.t: DELETE: id[integer]:2        or (no-tuple-data)
 *     table public.t, public.u: TRUNCATE: restart_seqs cascade        or (no-flags)
 *     message: transactional: 1 prefix: pgtide, sz: 9 content:heartbeat
 *     COMMIT 693 (at 2026-11-23 09:18:50.12345+00)
 *
 * What the text does not say and pgoutput does:
 * - oids, identity and which columns are generated: asked of a relation_book at the first change of a table in a session
 *   and whenever a change shows other columns than the last one.
 * - the commit record's position: `commit` is given as the byte before its end, which orders the same, because records do
 *   not overlap (P2).
 *
 * Left out, as a publication would: tables that the book does not know (dropped since, or not carried), generated columns,
 * UPDATE and DELETE of tables without identity. Not seen: a table renamed on the source; its old changes are looked for
 * under the old name.
 *
 * Pure: bytes in, bytes out, every byte from outside. Any input gives messages or ERROR_DATA. One thread, one object a session.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "model/relation.h"

struct described_column {
    const char *name;
    uint32_t type;
    int32_t typmod;
    bool in_identity;
    bool is_generated;
};

struct described_relation {
    uint32_t oid;
    bool is_carried; /* a table of the user, not a partitioned one (its leaves are named) */
    enum replica_identity identity;
    unsigned n_columns;
    struct described_column *columns;
};

/* What the source's catalog says now. */
struct relation_book {
    /* *out lives in `a`. *out_exists is false when there is none of that name. */
    MUST_USE struct error *(*describe)(void *self, struct arena *a, const char *schema, const char *name,
                                       bool *out_exists, struct described_relation *out);
    void *self;
};

enum translated_kind {
    TRANSLATED_BEGIN,   /* `xid` is set; nothing was emitted */
    TRANSLATED_CHANGE,  /* part of the open transaction */
    TRANSLATED_COMMIT,  /* `xid`, `committed_us` are set; nothing was emitted */
    TRANSLATED_OUTSIDE, /* a message that belongs to no transaction */
};

struct translated {
    enum translated_kind kind;
    uint32_t xid;
    int64_t committed_us; /* Unix microseconds by the source's clock */
};

/* Takes pgoutput messages, in order; the bytes are good until it returns. */
struct translation_sink {
    MUST_USE struct error *(*take)(void *self, const char *bytes, size_t length);
    void *self;
};

struct test_decoding;

/* Its tables live in `a`; end it before `a` is freed. */
struct test_decoding *test_decoding_new(struct arena *a, struct relation_book book);
void test_decoding_end(struct test_decoding *t);

/* `at` is the position that the server gave with the message. */
MUST_USE struct error *test_decoding_translate(struct test_decoding *t, const char *bytes, size_t length, struct lsn at,
                                               struct translation_sink sink, struct translated *out);

enum { TRANSLATED_FRAME_BYTES = 26 };

/* BEGIN and COMMIT for a transaction whose COMMIT came with position `end`. Returns the message's length. */
size_t test_decoding_begin(const struct translated *commit, struct lsn end, char out[TRANSLATED_FRAME_BYTES]);
size_t test_decoding_commit(const struct translated *commit, struct lsn end, char out[TRANSLATED_FRAME_BYTES]);
