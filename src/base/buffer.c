#include "base/buffer.h"

#include <assert.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 256 };

struct buffer *buffer_new(void)
{
    return MEMORY_NEW(struct buffer);
}

void buffer_drop(struct buffer *b)
{
    free(b->bytes);
    *b = (struct buffer){0};
}

void buffer_free(struct buffer *b)
{
    if (b == NULL)
        return;
    buffer_drop(b);
    free(b);
}

void buffer_clear(struct buffer *b)
{
    b->length = 0;
    if (b->bytes != NULL)
        b->bytes[0] = '\0';
}

char *buffer_reserve(struct buffer *b, size_t more)
{
    assert(more < PTRDIFF_MAX - b->length); /* a size that wraps around would pass for a small one */
    size_t needed = b->length + more + 1;

    if (needed > b->capacity) {
        size_t capacity = b->capacity == 0 ? FIRST_CAPACITY : b->capacity;

        while (capacity < needed)
            capacity *= 2;
        b->bytes = memory_resize(b->bytes, capacity, "buffer");
        b->capacity = capacity;
        b->bytes[b->length] = '\0';
    }
    return b->bytes + b->length;
}

void buffer_added(struct buffer *b, size_t written)
{
    assert(written < b->capacity - b->length);
    b->length += written;
    b->bytes[b->length] = '\0';
}

void buffer_append(struct buffer *b, const void *bytes, size_t length)
{
    char *end = buffer_reserve(b, length);

    if (length > 0) /* `bytes` may be NULL, which memcpy does not take */
        memcpy(end, bytes, length);
    buffer_added(b, length);
}

void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_append_char(struct buffer *b, char c)
{
    buffer_append(b, &c, 1);
}

void buffer_vprintf(struct buffer *b, const char *fmt, va_list ap)
{
    va_list measured;

    va_copy(measured, ap);
    int length = vsnprintf(NULL, 0, fmt, measured);
    va_end(measured);
    assert(length >= 0);
    vsnprintf(buffer_reserve(b, (size_t)length), (size_t)length + 1, fmt, ap);
    buffer_added(b, (size_t)length);
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buffer_vprintf(b, fmt, ap);
    va_end(ap);
}

void buffer_append_u16(struct buffer *b, uint16_t n)
{
    n = __builtin_bswap16(n);
    buffer_append(b, &n, sizeof n);
}

void buffer_append_u32(struct buffer *b, uint32_t n)
{
    n = __builtin_bswap32(n);
    buffer_append(b, &n, sizeof n);
}

void buffer_append_u64(struct buffer *b, uint64_t n)
{
    n = __builtin_bswap64(n);
    buffer_append(b, &n, sizeof n);
}

const char *buffer_text(const struct buffer *b)
{
    return b->bytes == NULL ? "" : b->bytes;
}
