#include "model/lag.h"

#include <string.h>

static void forget_what_came(struct lag *l, struct lsn here)
{
    unsigned came = 0;

    while (came < l->n && !lsn_before(here, l->notes[came].there))
        came++;
    l->n -= came;
    memmove(l->notes, l->notes + came, l->n * sizeof *l->notes);
    if (l->n == 0)
        l->gap_us = 0;
}

/* Every second one, and from now on only so many; the oldest stays. */
static void thin_out(struct lag *l)
{
    l->gap_us = (l->notes[l->n - 1].at_us - l->notes[0].at_us) * 2 / l->n;
    for (unsigned i = 0; i < l->n / 2; i++)
        l->notes[i] = l->notes[(size_t)2 * i];
    l->n /= 2;
}

int64_t lag_note(struct lag *l, int64_t at_us, struct lsn there, struct lsn here)
{
    forget_what_came(l, here);
    int64_t since_us = l->n == 0 ? 0 : l->notes[0].at_us;

    if (!lsn_before(here, there) ||
        (l->n > 0 && (!lsn_before(l->notes[l->n - 1].there, there) || at_us - l->notes[l->n - 1].at_us < l->gap_us)))
        return since_us;
    if (l->n == LAG_NOTES)
        thin_out(l);
    l->notes[l->n].there = there;
    l->notes[l->n++].at_us = at_us;
    return since_us;
}
