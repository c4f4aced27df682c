/*
 * How fast a number of bytes grows: the WAL that the source keeps for a slot, looked at about once a second.
 *
 * Keeps the last minute. A plain value, zeroed before use; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GROWTH_SAMPLES = 64, GROWTH_WINDOW_US = 60 * 1000 * 1000 };

struct growth {
    struct {
        int64_t at_us;
        uint64_t bytes;
    } samples[GROWTH_SAMPLES]; /* a ring; the newest is at (n_taken - 1) % GROWTH_SAMPLES */
    uint64_t n_taken;
};

/* `at_us` by clock_now_us. */
void growth_note(struct growth *g, int64_t at_us, uint64_t bytes);

/* Bytes a second over the last minute, negative when it shrinks. False until three seconds are known. */
bool growth_rate(const struct growth *g, int64_t *out_per_second);

/* Seconds until `room` more bytes are used up at that rate; -1 when it does not grow or is not known. */
int64_t growth_seconds_until(const struct growth *g, uint64_t room);
