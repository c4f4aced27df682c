/* "Did you mean …?": which of some names is nearest to what was typed. Pure. */
#pragma once

#include <stddef.h>

/* Counts inserted, left out, changed and swapped letters; texts longer than 63 bytes are as far as can be. */
unsigned edit_distance(const char *a, const char *b);

struct nearest {
    const char *name; /* NULL: nothing is near */
    unsigned distance;
};

/* Keeps the nearer of what `best` holds and `name`. Near is up to a third of a name's letters, at least two. */
void nearest_try(struct nearest *best, const char *typed, const char *name);
