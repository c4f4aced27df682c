#include "model/growth.h"

enum { LEAST_US = 3 * 1000 * 1000 };

void growth_note(struct growth *g, int64_t at_us, uint64_t bytes)
{
    unsigned at = (unsigned)(g->n_taken++ % GROWTH_SAMPLES);

    g->samples[at].at_us = at_us;
    g->samples[at].bytes = bytes;
}

bool growth_rate(const struct growth *g, int64_t *out_per_second)
{
    uint64_t kept = g->n_taken < GROWTH_SAMPLES ? g->n_taken : GROWTH_SAMPLES;

    if (kept < 2)
        return false;
    unsigned newest = (unsigned)((g->n_taken - 1) % GROWTH_SAMPLES), oldest = newest;
    for (uint64_t i = 1; i < kept; i++) {
        unsigned at = (unsigned)((g->n_taken - 1 - i) % GROWTH_SAMPLES);

        if (g->samples[newest].at_us - g->samples[at].at_us > GROWTH_WINDOW_US)
            break;
        oldest = at;
    }
    int64_t elapsed_us = g->samples[newest].at_us - g->samples[oldest].at_us;
    if (elapsed_us < LEAST_US)
        return false;
    double grown = (double)g->samples[newest].bytes - (double)g->samples[oldest].bytes;
    *out_per_second = (int64_t)(grown * 1e6 / (double)elapsed_us);
    return true;
}

int64_t growth_seconds_until(const struct growth *g, uint64_t room)
{
    int64_t per_second = 0;

    if (!growth_rate(g, &per_second) || per_second <= 0)
        return -1;
    uint64_t seconds = room / (uint64_t)per_second;
    return seconds > INT32_MAX ? -1 : (int64_t)seconds; /* in 68 years is never */
}
