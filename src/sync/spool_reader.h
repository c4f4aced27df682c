/*
 * Reads the spool from a position on, while it is being written.
 *
 * One reader at a time, in one thread (another one than the writer's, or the same). It reads through a block of 256
 * KiB; payloads are copied once, into the caller's arena. Must be closed before the spool.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "sync/spool.h"

enum spool_record_kind {
    SPOOL_NONE,      /* nothing more to read now */
    SPOOL_MESSAGE,   /* as the output plugin sent it */
    SPOOL_RELATION,  /* a copy of a RELATION or TYPE message that came before the place where the reader began */
    SPOOL_KEEPALIVE, /* (P4) the source has nothing before `wal` that did not come before this record; no payload */
};

struct spool_record {
    enum spool_record_kind kind;
    const char *bytes; /* in the arena given */
    size_t length;
    struct lsn wal;      /* MESSAGE, RELATION: the WAL start it was sent with; KEEPALIVE: its position */
    int64_t received_us; /* when the receiver took it, by its clock (clock_wall_us) */
};

struct spool_reader;

/*
 * Begins at the newest segment that needs nothing before it for someone who has all transactions that end at or before
 * `from`. So transactions the caller already has may come first: he skips them (P2: by the COMMIT's end). LSN_NONE:
 * from the beginning. ERROR_HISTORY when the spool no longer has what comes after `from`.
 */
MUST_USE struct error *spool_reader_open(struct spool *s, struct lsn from, struct spool_reader **out_reader);
void spool_reader_close(struct spool_reader *r);
DEFINE_CLEANUP(struct spool_reader, spool_reader_close);

/*
 * The next record that the writer has made visible; incomplete transactions are delivered too. ERROR_TRANSIENT when
 * something already delivered was cut off (spool_break, spool_reset_to): begin again from the target's position.
 * ERROR_DATA: damaged.
 */
MUST_USE struct error *spool_reader_next(struct spool_reader *r, struct arena *a, struct spool_record *out);
