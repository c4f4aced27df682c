/*
 * The spool: the change stream on local disk, from the receiver (one thread, the writer) to the feeder (one other
 * thread, the reader: sync/spool_reader.h). It lets the source forget its WAL while copies run, and survives kill -9
 * and power cuts.
 *
 * Append-only segments in a segment_store. A segment is never cut but at its end and is durable before the next one
 * begins, so only the last one can be torn. Each begins with copies of the RELATION and TYPE messages in force, so that
 * a reader can start there; segments begin between transactions unless one transaction is larger than a segment.
 *
 *     segment N:  header | RELATION copy … | BEGIN rows … COMMIT | KEEPALIVE | BEGIN rows … COMMIT | BEGIN rows …
 *                                                                                    complete ^          ^ visible
 *
 * What it promises:
 * (P3) spool_sync answers the end of the last complete transaction or keepalive that survives a power cut, never more.
 * (P4) A keepalive is recorded only when no transaction is open, and never counts as an apply position.
 *
 * After spool_open and spool_break the spool ends with a complete transaction (or keepalive): what came after it is cut
 * off, and the source is asked to go on from spool_end. A reader that had gone further gets ERROR_TRANSIENT.
 *
 * Every record is checksummed together with its place. Damage of what had been synced is ERROR_DATA and names segment
 * and offset; a torn tail that never was synced is cut off in silence. Damage in the very last synced bytes looks like
 * a torn tail from in here: whoever starts the stream compares spool_end with the slot's confirmed_flush_lsn (P6).
 *
 * Threads: spool_bytes from any; everything else from the writer only.
 *
 * Memory: a block of 256 KiB each for writer and reader, the RELATION messages in force and a few dozen bytes a
 * segment, whatever the size of messages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/lsn.h"
#include "ports/store.h"
#include "ports/stream.h"

enum { SPOOL_SEGMENT_BYTES = 64 * 1024 * 1024 };

struct spool_options {
    uint64_t task_tag; /* whose stream this is: a hash of all that (P6) names; segments of another one are refused */
    uint64_t segment_bytes; /* a new segment begins at the first COMMIT after this many; 0: SPOOL_SEGMENT_BYTES */
    uint64_t limit_bytes;   /* above this spool_is_full; 0: no limit */

    /* Called in the writer's thread when there is more to read (and when the reader has to look up). NULL for none. */
    void (*on_visible)(void *self);
    void *self;

    /* Called in the writer's thread with each COMMIT that was taken. NULL for none. */
    void (*on_commit)(void *commit_self, uint32_t xid, struct lsn end, int64_t committed_us, int64_t received_us);
    void *commit_self;
};

struct spool;

/*
 * Validates the segments, scans the last one, cuts off what is torn or incomplete, and syncs: spool_end may then be
 * confirmed (P3). `boundaries` is an instance of its own. ERROR_HISTORY: the segments belong to another task.
 * ERROR_CONFIG: another format. ERROR_DATA: damaged.
 */
MUST_USE struct error *spool_open(struct segment_store store, struct decoder boundaries, struct spool_options options,
                                  struct spool **out_spool);
void spool_close(struct spool *s); /* what was not written is dropped, as in a crash */
DEFINE_CLEANUP(struct spool, spool_close);

/*
 * Where the source has to go on: the end of the last complete transaction or recorded keepalive. LSN_NONE: nothing
 * yet.
 */
struct lsn spool_end(const struct spool *s);

/* Complete transactions since the stream began (spool_reset_to), over restarts. */
uint64_t spool_transactions(const struct spool *s);

/* True after a BEGIN and before its COMMIT. */
bool spool_in_transaction(const struct spool *s);

/*
 * A fresh stream from a new slot whose first transaction ends after `start`: everything else is removed. All or
 * nothing, also over a crash.
 */
MUST_USE struct error *spool_reset_to(struct spool *s, struct lsn start);

/*
 * Takes one message. `wal` is the start that the server gave it. ERROR_DATA when it does not fit into the stream (a
 * COMMIT without BEGIN, or with an end that the spool is already past). After any error the message was not taken: the
 * same call may be tried again when the error is ERROR_TRANSIENT (disk full), else spool_break.
 */
MUST_USE struct error *spool_append(struct spool *s, const char *bytes, size_t length, struct lsn wal,
                                    int64_t received_us);

/*
 * (P4) Remembers that the source has nothing for us before `end`. Ignored inside a transaction or when it is no news.
 */
MUST_USE struct error *spool_keepalive(struct spool *s, struct lsn end, int64_t received_us);

/*
 * Hands to the store what was taken (in one append) and so to the reader. spool_append does it by itself every 256
 * KiB.
 */
MUST_USE struct error *spool_write(struct spool *s);

/* The same unless all that waits is the beginning of a transaction, which would only wake the reader for nothing. */
MUST_USE struct error *spool_show(struct spool *s);

/*
 * (P3) Writes and syncs. The source may be told to forget everything before *out_durable. After a failure nobody knows
 * what the disk has: spool_break then cuts back to what was durable before.
 */
MUST_USE struct error *spool_sync(struct spool *s, struct lsn *out_durable);

/*
 * The connection was lost: drops what came after the last complete transaction and makes the rest durable, so that
 * spool_end may be confirmed afterwards (P3). Also required after spool_sync or spool_break failed; until it succeeds
 * nothing else is taken (ERROR_TRANSIENT). A new session of the source sends each RELATION again before its first
 * change, so none is remembered over a break.
 */
MUST_USE struct error *spool_break(struct spool *s);

/*
 * Removes the segments that nobody needs who goes on from `durable`, a position that the target has durably. Never
 * removes what the reader is at, nor the last segment. A full spool, or one whose disk is, that is all applied begins a new
 * one, so that it gets empty.
 */
MUST_USE struct error *spool_trim(struct spool *s, struct lsn durable);

uint64_t spool_bytes(const struct spool *s);

/*
 * Over the limit: stop reading from the source, keep calling spool_trim. Only ever true between transactions: a
 * transaction that has begun to arrive must be taken to its end, or nothing could be trimmed any more.
 */
bool spool_is_full(const struct spool *s);
