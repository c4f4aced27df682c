#include "model/read_window.h"

enum {
    BEGIN_BYTES = 16 * 1024 * 1024, /* of WAL: less is read by the stream before a query would be through */
    END_BYTES = 8 * 1024 * 1024,
    AGAIN_BYTES = 512 * 1024 * 1024,
    COST_MAX =
        3, /* of what a window decodes, how much may be more than its own: the stream costs some three times as much */
    FIRST_MESSAGES = 65536,
    MESSAGES_MAX = 16 * 1024 * 1024,
    MESSAGE_BYTES_GUESS = 256, /* before any was seen */
    ANSWER_BYTES_LEAST = 1024 * 1024,
    ROW_BYTES = 48, /* beside the message itself, in the server's memory */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many fit into the answer. */
static uint64_t fitting(const struct backlog *b, uint64_t answer)
{
    uint64_t each = (b->messages == 0 ? MESSAGE_BYTES_GUESS : b->bytes / b->messages) + ROW_BYTES;
    uint64_t n = answer / each;

    return least(b->messages == 0 ? least(n, FIRST_MESSAGES) : n, MESSAGES_MAX) + 1;
}

/* WAL that the window comes to, as far as can be known. */
static uint64_t expected_wal(const struct backlog *b, const struct read_window *w)
{
    uint64_t whole = least(b->behind, w->wal);

    if (b->messages == 0)
        return whole;
    return least(whole, b->wal * w->messages / b->messages);
}

static bool is_cheaper(const struct backlog *b, const struct read_window *w)
{
    uint64_t wal = expected_wal(b, w);
    bool is_small = b->behind < (b->windows == 0 ? BEGIN_BYTES : END_BYTES);

    if (b->again > AGAIN_BYTES)
        return false;
    if (b->windows > 0 && !b->has_reached_end && wal >= b->behind)
        return !is_small || b->again >= END_BYTES;
    return !is_small && b->again <= (COST_MAX - 1) * wal;
}

bool read_window_next(const struct backlog *b, struct read_window *out)
{
    uint64_t answer = least(READ_WINDOW_ANSWER_BYTES, b->room / 2);

    if (b->wish == READ_BACKLOG_STREAM || b->behind == 0 || answer < ANSWER_BYTES_LEAST)
        return false;
    struct read_window w = {.wal = READ_WINDOW_WAL_BYTES, .messages = (uint32_t)fitting(b, answer)};
    if (b->wish != READ_BACKLOG_QUERY && !is_cheaper(b, &w))
        return false;
    *out = w;
    return true;
}
