#include "model/clock_offset.h"

static const int64_t GOOD_FOR_US = 60 * INT64_C(1000000);

void clock_offset_note(struct clock_offset *c, int64_t asked_us, int64_t there_us, int64_t answered_us)
{
    int64_t trip_us = answered_us - asked_us;
    bool is_stale = answered_us - c->at_us > GOOD_FOR_US || answered_us < c->at_us;

    if (trip_us < 0 || (c->is_known && !is_stale && trip_us > c->trip_us))
        return; /* our own clock was set meanwhile, or we know better */
    *c = (struct clock_offset){
        .offset_us = there_us - (asked_us + trip_us / 2),
        .trip_us = trip_us,
        .at_us = answered_us,
        .is_known = true,
    };
}
