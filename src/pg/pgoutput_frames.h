/*
 * Transactions that pgoutput sends while they are in progress, in pieces (protocol 2 on, "streaming"): who a message belongs to.
 *
 *     STREAM START xid   changes, each with the xid of its (sub)transaction   STREAM STOP
 *     STREAM ABORT xid subxid            what came for subxid is void; all of it when they are the same
 *     STREAM COMMIT xid                  here its place in the order of commits is
 *
 * Without streaming a change has no xid. pgoutput_frame tells the one from the other and gives each change in the form that it has
 * in a whole transaction, which is what pg/pgoutput decodes. Pure; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"

enum frame_kind {
    FRAME_WHOLE, /* of a transaction that comes in whole, or of none */
    FRAME_START, /* what comes now is of `xid` */
    FRAME_PIECE, /* a change of `subxid`, which is of the transaction started */
    FRAME_STOP,
    FRAME_COMMIT,
    FRAME_ABORT,
};

struct frame {
    enum frame_kind kind;
    uint32_t xid;      /* START, COMMIT, ABORT, PIECE: the transaction */
    uint32_t subxid;   /* PIECE, ABORT */
    const char *bytes; /* WHOLE, PIECE: the message as pg/pgoutput decodes it */
    size_t length;
    struct lsn commit, end;  /* COMMIT */
    int64_t committed_pg_us; /* COMMIT: as the server sends it */
};

/* Where a session is between messages; zeroed before use. */
struct frames {
    bool is_open; /* between START and STOP */
    uint32_t xid;
};

/* ERROR_DATA for what cannot be. A PIECE's bytes are in `a`. */
MUST_USE struct error *pgoutput_frame(struct frames *f, struct arena *a, const char *bytes, size_t length,
                                      struct frame *out);

enum { FRAME_BEGIN_BYTES = 21, FRAME_COMMIT_BYTES = 26 };

/* BEGIN and COMMIT, for a FRAME_COMMIT, as a whole transaction has them. */
void pgoutput_frame_begin(const struct frame *commit, char out[FRAME_BEGIN_BYTES]);
void pgoutput_frame_commit(const struct frame *commit, char out[FRAME_COMMIT_BYTES]);
