/*
 * A change stream of the simplest kind, for tests of the spool: messages that say what they are, and their boundaries.
 *
 *     B xid | C end | R oid version | I oid version xid ordinal filler… | M anything
 *
 * Numbers are 8 bytes, big-endian. The filler of a row follows from xid and ordinal, so a row that was read can be
 * checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "ports/stream.h"

struct decoder tiny_decoder(void);

/* Each replaces what is in the buffer. */
void tiny_begin(struct buffer *b, uint64_t xid);
void tiny_commit(struct buffer *b, struct lsn end);
void tiny_relation(struct buffer *b, uint64_t oid, uint64_t version);
void tiny_row(struct buffer *b, uint64_t oid, uint64_t version, uint64_t xid, uint64_t ordinal, size_t filler);
void tiny_message(struct buffer *b);

struct tiny {
    char letter;
    struct lsn end;        /* C */
    uint64_t oid, version; /* R, I */
    uint64_t xid;          /* B, I */
    uint64_t ordinal;      /* I */
};

/* False when the bytes are no message or a row's filler is not what it was. */
bool tiny_parse(const char *bytes, size_t length, struct tiny *out);
