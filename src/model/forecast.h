/*
 * How long the full phase still takes, and how much of it is done: rows, indexes with statistics, and the remaining objects as one.
 *
 * Each kind of work has a price: the seconds that a worker needs for one unit of its cost (model/cost). It begins as a guess and becomes
 * what is measured: that of rows at once; that of indexes is taken to be that of rows, without what a limit of speed costs those, until
 * some are built. What is left, at these prices, is divided among the workers, but takes no less than the longest chain, a table
 * and its indexes. Of what nobody counts before it is done (a sort, a VALIDATE) it is taken that it goes on as expected,
 * and when it takes longer, that a quarter of what it has taken is still to come.
 *
 * A plain value, zeroed before use; not thread-safe. Pure: whoever samples says the time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/progress.h"

struct forecast_sample {
    int64_t at_us;
    uint64_t done[WORK_KINDS], total[WORK_KINDS];
    unsigned at_work[WORK_KINDS];
    uint64_t uncounted[WORK_KINDS];
    uint64_t chain[WORK_OBJECTS];
    uint64_t paced_ms;
    unsigned workers;
};

struct forecast_price {
    double worked_s, done; /* lately: together they make the price */
    double paced_s;        /* of worked_s */
    double open_s;         /* worked since something was last counted */
    double silent_s;       /* seconds since then, or since somebody began with it */
};

struct forecast {
    struct forecast_sample last;
    bool has_last;
    struct forecast_price kinds[WORK_KINDS];
};

void forecast_take(struct forecast *f, const struct forecast_sample *now);

struct forecast_reading {
    double done_s; /* what is done would take so long now */
    double copy_s; /* left until rows and indexes are in */
    double left_s; /* left in all */
};

/* Zero before the first sample. */
struct forecast_reading forecast_read(const struct forecast *f);
