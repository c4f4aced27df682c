/*
 * Rows written as one word, for tests that read as sentences: "1|a|~|?|#ff".
 *
 * Fields are parted by '|': '~' is NULL, '?' is UNCHANGED, '#' and hexadecimal digits are BINARY, all else is TEXT.
 */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "model/row.h"

/* n values in `a`; fields that are missing are NULL. */
struct value *row_from_text(struct arena *a, const char *text, unsigned n);

void row_to_text(struct buffer *b, const struct value *row, unsigned n);

/* A copy of everything in `a`. */
struct value *row_copy(struct arena *a, const struct value *row, unsigned n);
