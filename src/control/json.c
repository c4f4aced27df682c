#include "control/json.h"

#include <inttypes.h>
#include <time.h>

#include "base/buffer.h"

json_t *json_count(uint64_t n)
{
    const uint64_t exact_up_to = UINT64_C(1) << 53;

    return n <= exact_up_to ? json_integer((json_int_t)n) : json_sprintf("%" PRIu64, n);
}

json_t *json_lsn(struct lsn lsn)
{
    return lsn_is_none(lsn) ? json_null() : json_string(lsn_format(lsn).text);
}

json_t *json_moment(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    char text[40];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + used, sizeof text - used, ".%03dZ", (int)(wall_us / 1000 % 1000));
    return json_string(text);
}

/* Bytes that the sequence at `at` has by its first byte, when it is all there; jansson judges the rest. */
static size_t sequence_length(const char *at)
{
    unsigned char first = (unsigned char)*at;
    size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    return strnlen(at, length) == length ? length : 1;
}

json_t *json_text(const char *text)
{
    if (text == NULL)
        return json_null();
    json_t *whole = json_string(text);
    if (whole != NULL)
        return whole;

    CLEANUP(buffer_free) struct buffer *mended = buffer_new();
    for (const char *at = text; *at != '\0';) {
        size_t length = sequence_length(at);
        CLEANUP(json_decref) json_t *piece = json_stringn(at, length);

        buffer_append_text(mended, piece == NULL ? "\xEF\xBF\xBD" : json_string_value(piece));
        at += piece == NULL ? 1 : length;
    }
    return json_string(buffer_text(mended));
}
