#include "model/nearest.h"

#include <limits.h>
#include <string.h>

enum { LETTERS_MAX = 63 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    /* Three rows of the table: a swap of neighbours looks two rows back (optimal string alignment). */
    unsigned rows[3][LETTERS_MAX + 1];

    if (n > LETTERS_MAX || m > LETTERS_MAX)
        return UINT_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i - 1) % 3];

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = before[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            now[j] = least(now[j], least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

void nearest_try(struct nearest *best, const char *typed, const char *name)
{
    unsigned distance = edit_distance(typed, name);
    size_t third = strlen(name) / 3;

    if (distance > (third < 2 ? 2 : third) || distance >= strlen(name))
        return;
    if (best->name == NULL || distance < best->distance)
        *best = (struct nearest){name, distance};
}
