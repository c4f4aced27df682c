/*
 * A growing run of bytes: text being composed, a message being encoded, a block on its way to a file.
 *
 * Owns its memory (malloc), grows by doubling, keeps its capacity over buffer_clear. Running out of memory ends the
 * process, as with arenas. Not thread-safe. `bytes` is always followed by a NUL that `length` does not count, so text
 * can be passed on as it is; before the first append `bytes` is NULL: use buffer_text.
 *
 *     CLEANUP(buffer_free) struct buffer *sql = buffer_new();
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct buffer {
    char *bytes;
    size_t length;
    size_t capacity;
};

RETURNS_NONNULL struct buffer *buffer_new(void);
void buffer_free(struct buffer *b);
DEFINE_CLEANUP(struct buffer, buffer_free);

/* For a buffer that is embedded in a struct or stands on the stack: frees the bytes, not the struct. */
void buffer_drop(struct buffer *b);

void buffer_clear(struct buffer *b);

/* Room for `more` bytes (and the NUL) after `length`; returns where they begin. buffer_added says how many were written. */
RETURNS_NONNULL char *buffer_reserve(struct buffer *b, size_t more);
void buffer_added(struct buffer *b, size_t written);

void buffer_append(struct buffer *b, const void *bytes, size_t length);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_append_char(struct buffer *b, char c);
PRINTF(2, 3)
void buffer_printf(struct buffer *b, const char *fmt, ...);
PRINTF(2, 0)
void buffer_vprintf(struct buffer *b, const char *fmt, va_list ap);

/* Big-endian, as on PostgreSQL's wire. */
void buffer_append_u16(struct buffer *b, uint16_t n);
void buffer_append_u32(struct buffer *b, uint32_t n);
void buffer_append_u64(struct buffer *b, uint64_t n);

/* Never NULL. Good until the next append. */
RETURNS_NONNULL const char *buffer_text(const struct buffer *b);
