#include "support/tiny_stream.h"

#include "base/cursor.h"

static void start(struct buffer *b, char letter)
{
    buffer_clear(b);
    buffer_append_char(b, letter);
}

void tiny_begin(struct buffer *b, uint64_t xid)
{
    start(b, 'B');
    buffer_append_u64(b, xid);
}

void tiny_commit(struct buffer *b, struct lsn end)
{
    start(b, 'C');
    buffer_append_u64(b, end.value);
}

void tiny_relation(struct buffer *b, uint64_t oid, uint64_t version)
{
    start(b, 'R');
    buffer_append_u64(b, oid);
    buffer_append_u64(b, version);
}

static char filler_of(uint64_t xid, uint64_t ordinal, size_t i)
{
    return (char)(xid * 31 + ordinal * 7 + i);
}

void tiny_row(struct buffer *b, uint64_t oid, uint64_t version, uint64_t xid, uint64_t ordinal, size_t filler)
{
    start(b, 'I');
    buffer_append_u64(b, oid);
    buffer_append_u64(b, version);
    buffer_append_u64(b, xid);
    buffer_append_u64(b, ordinal);

    char *at = buffer_reserve(b, filler);
    for (size_t i = 0; i < filler; i++)
        at[i] = filler_of(xid, ordinal, i);
    b->length += filler;
}

void tiny_message(struct buffer *b)
{
    start(b, 'M');
}

static bool parse_row(struct cursor *c, struct tiny *t)
{
    t->oid = cursor_u64(c);
    t->version = cursor_u64(c);
    t->xid = cursor_u64(c);
    t->ordinal = cursor_u64(c);

    size_t filler = cursor_left(c);
    const char *at = cursor_bytes(c, filler);
    for (size_t i = 0; at != NULL && i < filler; i++)
        if (at[i] != filler_of(t->xid, t->ordinal, i))
            return false;
    return true;
}

bool tiny_parse(const char *bytes, size_t length, struct tiny *out)
{
    struct cursor c = cursor_over(bytes, length);
    struct tiny t = {.letter = (char)cursor_u8(&c)};

    switch (t.letter) {
    case 'B':
        t.xid = cursor_u64(&c);
        break;
    case 'C':
        t.end.value = cursor_u64(&c);
        break;
    case 'R':
        t.oid = cursor_u64(&c);
        t.version = cursor_u64(&c);
        break;
    case 'I':
        if (!parse_row(&c, &t))
            return false;
        break;
    case 'M':
        break;
    default:
        return false;
    }
    *out = t;
    return !c.failed && cursor_left(&c) == 0;
}

MUST_USE static struct error *boundary(void *self, const char *bytes, size_t length, struct boundary *out)
{
    struct tiny t;

    (void)self;
    if (!tiny_parse(bytes, length, &t))
        return error_new(ERROR_DATA, "not a message of the tiny stream");
    *out = (struct boundary){.kind = BOUNDARY_NONE};
    if (t.letter == 'B')
        *out = (struct boundary){.kind = BOUNDARY_BEGIN, .xid = (uint32_t)t.xid};
    if (t.letter == 'C')
        *out = (struct boundary){.kind = BOUNDARY_COMMIT, .end = t.end};
    if (t.letter == 'R')
        *out = (struct boundary){.kind = BOUNDARY_RELATION, .oid = (uint32_t)t.oid};
    return NULL;
}

/* The spool asks for boundaries only. */
static const struct decoder_ops ops = {.boundary = boundary};

struct decoder tiny_decoder(void)
{
    return (struct decoder){.ops = &ops};
}
