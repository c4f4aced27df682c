/*
 * The text that test_decoding writes, word by word (pg/test_decoding.h shows it).
 *
 * Pure; every byte is from outside. What is taken lies in the message, or in the scratch arena where a quote was doubled.
 * After a false, or an error, the place where it went wrong is where `at` stands: text_malformed tells it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/row.h"

/* Bytes of the message. */
struct slice {
    const char *at;
    size_t length;
};

/* " name[type]:value" */
struct cell {
    struct slice name; /* as it stands, quoted or not */
    struct slice type;
    struct value value;
};

struct cells {
    struct cell *items;
    unsigned n;
    unsigned room;
};

/* The message being read. */
struct text {
    const char *bytes;
    size_t length;
    const char *at;
    const char *end;
    struct arena *scratch; /* of the message */
};

bool slice_equal(struct slice a, struct slice b);
bool slice_is(struct slice s, const char *text);

/* An identifier without its quotes. */
struct slice slice_plain(struct arena *a, struct slice name);
const char *slice_text(struct arena *a, struct slice s);

MUST_USE struct error *text_malformed(const struct text *t);
size_t text_left(const struct text *t);

/* Takes `word` when it comes next. */
bool text_takes(struct text *t, const char *word);
bool text_take_number(struct text *t, uint64_t *out);

/* As quote_identifier writes it. */
bool text_take_identifier(struct text *t, struct slice *out);

/* "2026-11-23 09:18:50.12345+00)" at the end: our sessions have TimeZone UTC. */
bool text_take_time(struct text *t, int64_t *out_us);

/* Up to the end of the message or " new-tuple:". */
MUST_USE struct error *text_take_cells(struct text *t, struct cells *out);
