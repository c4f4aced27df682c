/*
 * Reads bytes that came from outside, never past their end.
 *
 * A read past the end gives zero (or an empty string) and sets `failed`, which stays set: a decoder reads a whole
 * message and asks once. A plain value over memory that somebody else owns; big-endian, as on PostgreSQL's wire.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"

struct cursor {
    const char *at;
    const char *end;
    bool failed;
};

static inline struct cursor cursor_over(const void *bytes, size_t length)
{
    static const char nothing[1]; /* NULL + 0 is undefined, and nothing to read is a legal message */

    if (length == 0)
        bytes = nothing;
    return (struct cursor){.at = bytes, .end = (const char *)bytes + length};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* `length` bytes where they stand, or NULL (and failed). */
static inline const char *cursor_bytes(struct cursor *c, size_t length)
{
    if (c->failed || cursor_left(c) < length) {
        c->failed = true;
        c->at = c->end;
        return NULL;
    }
    const char *bytes = c->at;
    c->at += length;
    return bytes;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    const char *p = cursor_bytes(c, 1);

    return p == NULL ? 0 : (uint8_t)*p;
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    uint16_t n = 0;
    const char *p = cursor_bytes(c, sizeof n);

    if (p != NULL)
        memcpy(&n, p, sizeof n);
    return __builtin_bswap16(n);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    uint32_t n = 0;
    const char *p = cursor_bytes(c, sizeof n);

    if (p != NULL)
        memcpy(&n, p, sizeof n);
    return __builtin_bswap32(n);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    uint64_t n = 0;
    const char *p = cursor_bytes(c, sizeof n);

    if (p != NULL)
        memcpy(&n, p, sizeof n);
    return __builtin_bswap64(n);
}

/* A NUL-terminated string where it stands. Never NULL: "" (and failed) when there is no NUL. */
static inline const char *cursor_text(struct cursor *c)
{
    const char *nul = c->failed || cursor_left(c) == 0 ? NULL : memchr(c->at, '\0', cursor_left(c));

    if (nul == NULL) {
        c->failed = true;
        c->at = c->end;
        return "";
    }
    const char *text = c->at;
    c->at = nul + 1;
    return text;
}
