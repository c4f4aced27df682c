/*
 * The first pass of a value comparison: rows counted and their 64-bit hashes summed, bucket by bucket, on both sides.
 *
 * Sums, not xor: with xor two equal rows would cancel each other. A sum of up to 2^63 signed 64-bit numbers fits into 128 bits. A
 * bucket that was read in parts is added up. Two buckets with the same count and the same sum are taken for equal: for rows
 * that differ the chance is 2^-64.
 *
 * Plain object, one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

struct buckets;

/* `n` is a power of two. */
RETURNS_NONNULL struct buckets *buckets_new(struct arena *a, unsigned n);

/* How many to make for about `rows`: so that a bucket that differs is cheap to read and the table of them stays small. */
unsigned buckets_for_rows(double rows);

/* Adds `rows` rows whose hashes sum up to `sum`, a decimal number as numeric prints it. False: out of range or no number. */
MUST_USE bool buckets_add(struct buckets *b, unsigned bucket, uint64_t rows, const char *sum);

uint64_t buckets_rows(const struct buckets *b);

/* The numbers of those that differ, ascending, in `a`. Both have as many buckets. */
unsigned buckets_differing(const struct buckets *source, const struct buckets *target, struct arena *a, unsigned **out);
