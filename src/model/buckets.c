#include "model/buckets.h"

#include <assert.h>

enum { ROWS_A_BUCKET = 256, BUCKETS_MAX = 16384, DIGITS_MAX = 38 };

struct bucket {
    uint64_t rows;
    unsigned __int128 sum; /* of the signed hashes, modulo 2^128 */
};

struct buckets {
    unsigned n;
    struct bucket *all;
};

struct buckets *buckets_new(struct arena *a, unsigned n)
{
    struct buckets *b = ARENA_NEW(a, struct buckets);

    assert(n > 0 && (n & (n - 1)) == 0);
    b->n = n;
    b->all = arena_alloc(a, n * sizeof *b->all);
    return b;
}

unsigned buckets_for_rows(double rows)
{
    unsigned n = 1;

    while (n < BUCKETS_MAX && (double)n * ROWS_A_BUCKET < rows)
        n *= 2;
    return n;
}

static bool parse_sum(const char *text, unsigned __int128 *out)
{
    bool is_negative = text[0] == '-';
    const char *digits = text + is_negative;
    unsigned __int128 n = 0;
    unsigned i = 0;

    for (; digits[i] >= '0' && digits[i] <= '9' && i < DIGITS_MAX; i++)
        n = n * 10 + (unsigned)(digits[i] - '0');
    if (i == 0 || digits[i] != '\0')
        return false;
    *out = is_negative ? -n : n;
    return true;
}

bool buckets_add(struct buckets *b, unsigned bucket, uint64_t rows, const char *sum)
{
    unsigned __int128 n = 0;

    if (bucket >= b->n || sum == NULL || !parse_sum(sum, &n))
        return false;
    b->all[bucket].rows += rows;
    b->all[bucket].sum += n;
    return true;
}

uint64_t buckets_rows(const struct buckets *b)
{
    uint64_t rows = 0;

    for (unsigned i = 0; i < b->n; i++)
        rows += b->all[i].rows;
    return rows;
}

unsigned buckets_differing(const struct buckets *source, const struct buckets *target, struct arena *a, unsigned **out)
{
    unsigned *numbers = arena_alloc(a, (source->n + 1U) * sizeof *numbers);
    unsigned n = 0;

    assert(source->n == target->n);
    for (unsigned i = 0; i < source->n; i++)
        if (source->all[i].rows != target->all[i].rows || source->all[i].sum != target->all[i].sum)
            numbers[n++] = i;
    *out = numbers;
    return n;
}
