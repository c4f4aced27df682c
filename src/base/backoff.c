#include "base/backoff.h"

#include "base/clock.h"

enum { FIRST_MS = 100, LAST_MS = 10000, DOUBLINGS_MAX = 7 };

int backoff_next_ms(struct backoff *b)
{
    unsigned doublings = b->tries < DOUBLINGS_MAX ? b->tries : DOUBLINGS_MAX;
    int ms = FIRST_MS << doublings;

    b->tries++;
    if (ms > LAST_MS)
        ms = LAST_MS;
    return ms + (int)(clock_now_us() % (ms / 4 + 1)); /* the clock's microseconds are random enough to part clients */
}

void backoff_reset(struct backoff *b)
{
    b->tries = 0;
}
