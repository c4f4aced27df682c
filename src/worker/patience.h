/*
 * Whether what failed is tried again: what the network or a busy server did, for ever, with growing pauses; what nobody can mend
 * by waiting, never; everything else three times, for the cause may have been a moment's.
 *
 * A plain value, zeroed before use; one thread.
 */
#pragma once

#include <stdbool.h>

#include "base/backoff.h"
#include "base/error.h"
#include "sys/stop.h"

struct patience {
    struct backoff backoff;
    unsigned failures; /* of the kind that is not tried for ever, one after the other */
};

/* Something worked since. */
void patience_renew(struct patience *p);

/* Counts the failure. False: give up. */
bool patience_allows(struct patience *p, const struct error *err);

/* The pause before the next try; true when stopped. */
bool patience_wait(struct patience *p, const struct stop *stop);
