/*
 * Since when something that was committed has been on its way: the source's WAL position is noted now and then, and what was there
 * at some moment and has not come by now has been on its way since that moment.
 *
 * Only commits count. WAL of a transaction in progress is nobody's delay, so a position is noted only where a transaction has ended
 * since the look before; else the lag of a huge transaction would begin before its commit, and fall while its rows come.
 *
 * Right to the distance of two notes; with a long lag that distance grows. A plain value, zeroed before use; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/lsn.h"

enum { LAG_NOTES = 128 };

struct lag {
    struct {
        struct lsn there;
        int64_t at_us;
    } notes[LAG_NOTES]; /* ascending; all of it has not come */
    unsigned n;
    int64_t gap_us;            /* notes nearer to the last one are left out */
    struct lsn commits_before; /* those that are known lie before it */
    struct lsn noted_upto;     /* notes stand for those before it */
};

struct lag_look {
    int64_t at_us;
    struct lsn there; /* the source had flushed it: it can come */
    struct lsn
        inserted; /* read after it was seen which transactions have ended: their commits lie before it, perhaps not flushed yet */
    struct lsn here; /* has come */
    bool have_ended; /* transactions that wrote, since the last look; true where that is not known */
};

/* Answers since when something is on its way; 0: nothing is. */
int64_t lag_note(struct lag *l, struct lag_look look);
