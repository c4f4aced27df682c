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

/* Commits that no note stands for yet may lie up to here; LSN_NONE: there are none. What is not flushed cannot come. */
static struct lsn unnoted(struct lag *l, const struct lag_look *look)
{
    if (look->have_ended)
        l->commits_before = lsn_max(l->commits_before, look->inserted);
    struct lsn upto = lsn_before(l->commits_before, look->there) ? l->commits_before : look->there;
    return lsn_before(l->noted_upto, upto) ? upto : LSN_NONE;
}

int64_t lag_note(struct lag *l, struct lag_look look)
{
    struct lsn upto = unnoted(l, &look);

    forget_what_came(l, look.here);
    int64_t since_us = l->n == 0 ? 0 : l->notes[0].at_us;

    if (lsn_is_none(upto) || (l->n > 0 && look.at_us - l->notes[l->n - 1].at_us < l->gap_us))
        return since_us;
    l->noted_upto = upto;
    if (!lsn_before(look.here, upto))
        return since_us;
    if (l->n == LAG_NOTES)
        thin_out(l);
    l->notes[l->n].there = upto;
    l->notes[l->n++].at_us = look.at_us;
    return since_us;
}
