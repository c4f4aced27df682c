/*
 * How fast the copy may go, by the time of day: what --max-rate and "pgtide speed" take.
 *
 * "20": 20 MB/s all day. "50@22:00-06:00": 50 MB/s in this window, no limit outside. "20,50@22:00-06:00,off@12:00-13:00": an
 * entry without a window is for the rest of the day, "off" is no limit. Windows are of each day, do not overlap, and may
 * pass midnight. Pure, a plain value; zeroed: no limit at all.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"

enum {
    RATE_WINDOWS_MAX = 3,
    RATE_MB_MAX = 9999,
    RATE_BYTES_A_MB = 1024 * 1024,
    MINUTES_A_DAY = 24 * 60,
};

struct rate_window {
    unsigned from_minute,
        until_minute;  /* of the day; until is not part of it, and less than from when it passes midnight */
    unsigned mb_per_s; /* 0: no limit */
};

struct rate_plan {
    unsigned mb_per_s; /* outside of the windows; 0: no limit */
    unsigned n_windows;
    struct rate_window windows[RATE_WINDOWS_MAX];
};

/* ERROR_USAGE that says what is wrong with `text`. */
MUST_USE struct error *rate_plan_parse(const char *text, struct rate_plan *out);

/* In the form that rate_plan_parse takes. In `a`. */
char *rate_plan_format(struct arena *a, const struct rate_plan *plan);

/* MB/s at this minute of the day; 0: no limit. */
unsigned rate_plan_at(const struct rate_plan *plan, unsigned minute);

/* False: there is no limit at any time. */
bool rate_plan_limits(const struct rate_plan *plan);
