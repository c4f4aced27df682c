#include "model/lsn.h"

#include <inttypes.h>

struct lsn_text lsn_format(struct lsn lsn)
{
    struct lsn_text out;

    snprintf(out.text, sizeof out.text, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn.value >> 32), (uint32_t)lsn.value);
    return out;
}

static const char hex[] = "0123456789abcdefABCDEF";

/* One to eight hexadecimal digits, then `end`. */
static const char *parse_half(const char *at, char end, uint32_t *out)
{
    uint32_t n = 0;
    int digits = 0;

    for (; *at != end; at++, digits++) {
        const char *found = *at == '\0' ? NULL : strchr(hex, *at);
        int digit;

        if (found == NULL || digits == 8)
            return NULL;
        digit = (int)(found - hex);
        n = n * 16 + (uint32_t)(digit > 15 ? digit - 6 : digit);
    }
    *out = n;
    return digits == 0 ? NULL : at;
}

bool lsn_parse(const char *text, struct lsn *out)
{
    uint32_t high, low;
    const char *slash = parse_half(text, '/', &high);

    if (slash == NULL || parse_half(slash + 1, '\0', &low) == NULL)
        return false;
    *out = (struct lsn){(uint64_t)high << 32 | low};
    return true;
}
