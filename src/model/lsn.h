/*
 * A position in the source's write-ahead log.
 *
 * A struct and not a uint64_t, so that the compiler refuses to mix a position with a byte count or a transaction id.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct lsn {
    uint64_t value;
};

#define LSN_NONE ((struct lsn){0})

/* "FFFFFFFF/FFFFFFFF" and a NUL. */
enum { LSN_TEXT_SIZE = 18 };

struct lsn_text {
    char text[LSN_TEXT_SIZE];
};

static inline bool lsn_before(struct lsn a, struct lsn b)
{
    return a.value < b.value;
}

static inline bool lsn_equal(struct lsn a, struct lsn b)
{
    return a.value == b.value;
}

static inline bool lsn_is_none(struct lsn a)
{
    return a.value == 0;
}

static inline struct lsn lsn_max(struct lsn a, struct lsn b)
{
    return lsn_before(a, b) ? b : a;
}

/* "16/B374D848", as PostgreSQL writes it: `log_info("at %s", lsn_format(at).text)`. */
struct lsn_text lsn_format(struct lsn lsn);

/* False, and *out untouched, unless the whole text is a position. */
bool lsn_parse(const char *text, struct lsn *out);
