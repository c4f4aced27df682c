/*
 * Rows as they travel: opaque values, four states a column (DESIGN, A3).
 *
 * Nothing here interprets a value. Memory belongs to whoever made it: the window, for changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

enum value_state {
    VALUE_NULL,
    VALUE_TEXT,      /* the type's output function, in the source's server encoding */
    VALUE_BINARY,    /* the type's send function */
    VALUE_UNCHANGED, /* TOASTed and not touched by this update: there are no bytes to read */
    VALUE_STATE_COUNT,
};

struct value {
    const char *bytes; /* NULL unless TEXT or BINARY; not NUL-terminated, unless has_nul */
    uint32_t length;
    enum value_state state : 8;
    bool has_nul; /* behind its bytes: a large one need not be copied to get it */
};

static inline bool value_has_bytes(const struct value *v)
{
    return v->state == VALUE_TEXT || v->state == VALUE_BINARY;
}

static inline bool value_equal(const struct value *a, const struct value *b)
{
    return a->state == b->state &&
           (!value_has_bytes(a) || (a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0));
}
