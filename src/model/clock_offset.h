/*
 * How a server's clock differs from ours, from asking it what time it is: it answered somewhere in the round trip, so the shorter
 * that was the nearer the middle is to the truth. The best answer of the last minute counts, because clocks drift.
 *
 * A plain value, zeroed before use; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct clock_offset {
    int64_t offset_us; /* the server's clock minus ours */
    int64_t trip_us;   /* that it was found with */
    int64_t at_us;
    bool is_known;
};

/* Our clock when asked and when answered, the server's in between: all wall clocks. */
void clock_offset_note(struct clock_offset *c, int64_t asked_us, int64_t there_us, int64_t answered_us);
