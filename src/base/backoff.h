/*
 * How long to wait before the next try: 100 ms, doubling to 10 s, each with up to a quarter of jitter.
 *
 * A plain value; belongs to one thread.
 */
#pragma once

#include <stdint.h>

struct backoff {
    unsigned tries;
};

/* Milliseconds to wait before the next try. Counts the try. */
int backoff_next_ms(struct backoff *b);

/* After a success. */
void backoff_reset(struct backoff *b);
