#include "base/counted.h"

#include <inttypes.h>

const char *agreeing(uint64_t n, const char *one, const char *many)
{
    return n == 1 ? one : many;
}

char *counted(struct arena *a, uint64_t n, const char *one, const char *many)
{
    return arena_printf(a, "%" PRIu64 " %s", n, agreeing(n, one, many));
}
