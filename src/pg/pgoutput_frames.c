#include "pg/pgoutput_frames.h"

#include <inttypes.h>

#include "base/cursor.h"

enum { XID_BYTES = 4 };

/* After these letters comes the xid of the (sub)transaction while a stream is open. */
static bool carries_xid(char letter)
{
    return letter != '\0' && strchr("RYIUDTM", letter) != NULL;
}

MUST_USE static struct error *malformed(const char *bytes, size_t length)
{
    return error_new(ERROR_DATA, "the source sent a malformed message '%c' of %zu bytes", bytes[0], length);
}

MUST_USE static struct error *out_of_place(const char *what, uint32_t xid)
{
    return error_new(ERROR_DATA, "the source sent %s of transaction %" PRIu32 " out of place", what, xid);
}

MUST_USE static struct error *read_start(struct frames *f, struct cursor *c, struct frame *out)
{
    out->kind = FRAME_START;
    out->xid = cursor_u32(c);
    cursor_u8(c); /* whether it is the first piece */
    if (f->is_open)
        return out_of_place("the start", out->xid);
    *f = (struct frames){.is_open = true, .xid = out->xid};
    return NULL;
}

MUST_USE static struct error *read_stop(struct frames *f, struct cursor *c, struct frame *out)
{
    (void)c;
    out->kind = FRAME_STOP;
    out->xid = f->xid;
    if (!f->is_open)
        return out_of_place("the stop", f->xid);
    f->is_open = false;
    return NULL;
}

MUST_USE static struct error *read_commit(struct frames *f, struct cursor *c, struct frame *out)
{
    out->kind = FRAME_COMMIT;
    out->xid = cursor_u32(c);
    cursor_u8(c); /* flags: none are defined */
    out->commit.value = cursor_u64(c);
    out->end.value = cursor_u64(c);
    out->committed_pg_us = (int64_t)cursor_u64(c);
    return f->is_open ? out_of_place("the commit", out->xid) : NULL;
}

/* A parallel worker would be told position and time, too; we do not ask for that. */
MUST_USE static struct error *read_abort(struct frames *f, struct cursor *c, struct frame *out)
{
    out->kind = FRAME_ABORT;
    out->xid = cursor_u32(c);
    out->subxid = cursor_u32(c);
    return f->is_open ? out_of_place("the abort", out->xid) : NULL;
}

MUST_USE static struct error *read_piece(struct frames *f, struct arena *a, const char *bytes, size_t length,
                                         struct frame *out)
{
    struct cursor c = cursor_over(bytes + 1, length - 1);

    out->kind = FRAME_PIECE;
    out->xid = f->xid;
    out->subxid = cursor_u32(&c);
    if (c.failed)
        return malformed(bytes, length);
    char *whole = arena_bytes(a, length - XID_BYTES);
    whole[0] = bytes[0];
    memcpy(whole + 1, bytes + 1 + XID_BYTES, length - 1 - XID_BYTES);
    out->bytes = whole;
    out->length = length - XID_BYTES;
    return NULL;
}

struct error *pgoutput_frame(struct frames *f, struct arena *a, const char *bytes, size_t length, struct frame *out)
{
    static const struct {
        char letter;
        MUST_USE struct error *(*read)(struct frames *f, struct cursor *c, struct frame *out);
    } kinds[] = {{'S', read_start}, {'E', read_stop}, {'c', read_commit}, {'A', read_abort}};

    *out = (struct frame){.kind = FRAME_WHOLE, .bytes = bytes, .length = length};
    if (length == 0)
        return error_new(ERROR_DATA, "the source sent an empty message");
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct cursor c = cursor_over(bytes + 1, length - 1);

        if (kinds[i].letter != bytes[0])
            continue;
        TRY(kinds[i].read(f, &c, out));
        return c.failed || cursor_left(&c) > 0 ? malformed(bytes, length) : NULL;
    }
    if (!f->is_open)
        return NULL;
    if (carries_xid(bytes[0]))
        return read_piece(f, a, bytes, length, out);
    if (bytes[0] == 'O') { /* where it came from: of the transaction as such */
        out->kind = FRAME_PIECE;
        out->xid = out->subxid = f->xid;
        return NULL;
    }
    return error_new(ERROR_DATA, "the source sent a message '%c' within a piece of transaction %" PRIu32, bytes[0],
                     f->xid);
}

static char *put(char *at, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        at[i] = (char)(uint8_t)(value >> (8 * (n_bytes - 1 - i)));
    return at + n_bytes;
}

void pgoutput_frame_begin(const struct frame *commit, char out[FRAME_BEGIN_BYTES])
{
    char *at = out;

    *at++ = 'B';
    at = put(at, commit->commit.value, sizeof(uint64_t));
    at = put(at, (uint64_t)commit->committed_pg_us, sizeof(uint64_t));
    put(at, commit->xid, XID_BYTES);
}

void pgoutput_frame_commit(const struct frame *commit, char out[FRAME_COMMIT_BYTES])
{
    char *at = out;

    *at++ = 'C';
    *at++ = 0;
    at = put(at, commit->commit.value, sizeof(uint64_t));
    at = put(at, commit->end.value, sizeof(uint64_t));
    put(at, (uint64_t)commit->committed_pg_us, sizeof(uint64_t));
}
