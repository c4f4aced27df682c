/*
 * Which part of a backlog on the source is read next by a query, if any: a pure function of what is known (worker/catch_up).
 *
 * A query decodes from the slot's restart point on, which follows only every 15 s of activity, so what lies between that and the
 * confirmed position is decoded again for each window: windows must be large against it. And its whole answer waits on the source, in
 * work_mem, until it is sent: windows must be small enough for that, and the first one so small that applying begins early.
 *
 * The stream that follows decodes from the restart point on, too, and pays more for it. So the last window is worth its while also when
 * there is next to nothing in it: the restart point can move behind it (pg_slot_peek_mark).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/options.h"

enum {
    READ_WINDOW_ANSWER_BYTES = 64 * 1024 * 1024, /* work_mem of the session: up to there no temporary file arises */
    READ_WINDOW_WAL_BYTES = 512 * 1024 * 1024,   /* what one decodes at most; bounds the answer, too */
};

struct backlog {
    enum read_backlog wish;
    uint64_t behind; /* bytes of WAL from the confirmed position to the end */
    uint64_t again;  /* from the restart point to the confirmed position */
    uint64_t room;   /* bytes that the spool may still take; UINT64_MAX: no limit */

    /* Of the windows read so far */
    unsigned windows;
    bool has_reached_end; /* one of them was not cut short: the restart point has moved as far as it can */
    uint64_t wal;
    uint64_t messages;
    uint64_t bytes;
};

struct read_window {
    uint64_t wal;      /* bytes from the confirmed position on */
    uint32_t messages; /* it ends with the first transaction that makes it so many */
};

/* False: what is left is for the stream. */
bool read_window_next(const struct backlog *b, struct read_window *out);
