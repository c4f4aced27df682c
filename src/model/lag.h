/*
 * Since when something has been on its way: the source's WAL position is noted now and then, and what was there at some moment
 * and has not come by now has been on its way since that moment.
 *
 * Right to the distance of two notes; with a long lag that distance grows. A plain value, zeroed before use; one thread.
 */
#pragma once

#include <stdint.h>

#include "model/lsn.h"

enum { LAG_NOTES = 128 };

struct lag {
    struct {
        struct lsn there;
        int64_t at_us;
    } notes[LAG_NOTES]; /* ascending; all of it has not come */
    unsigned n;
    int64_t gap_us; /* notes nearer to the last one are left out */
};

/* At `at_us` the source was at `there` and we at `here`. Answers since when something is on its way; 0: nothing is. */
int64_t lag_note(struct lag *l, int64_t at_us, struct lsn there, struct lsn here);
