/*
 * The SQL expression that hashes columns of a row to 64 bits, the same on two servers whatever their versions.
 *
 * Columns of the common types are hashed without being printed, by the functions of hash partitioning ("extended", 11 on; their results
 * do not change between versions, because rows are found in partitions by them). Each takes the hash so far as its seed:
 *
 *     hashtextextended(coalesce(name, ''), hashint4extended(id, 0))
 *
 * so the order of columns counts and what moves from one row to another shows. Everything else is printed as one row and its text hashed.
 * Every function that is used is injective in what a column can hold, up to the 64 bits of its result:
 * - hashint8extended folds a number to 32 bits before it mixes, so its upper half is hashed as well; likewise timestamps, by their seconds;
 * - NULL is hashed as a value that stands for it, and a mask of bits tells which values are NULL;
 * - types whose equality is looser than identity (numeric, floats, intervals, citext …) are printed, and so are columns beyond the
 *   hundredth, because calls within calls need stack on the server.
 *
 * Everything lives in the arena given.
 */
#pragma once

#include "base/arena.h"
#include "pg/compare_plan.h"

/* A column as both sides have it. */
struct hash_column {
    const struct compare_column *source, *target;
    const char *form; /* what is printed when its type is none of the common ones */
};

const char *compare_hash_columns(struct arena *a, const struct compare_dialect *d, const struct hash_column *columns,
                                 unsigned n);

/* Of a text: NULL for SQL NULL. */
const char *compare_hash_text(struct arena *a, const struct compare_dialect *d, const char *text);

/* Asks one server what its functions make of some values: those of two servers that answer the same can be compared. */
extern const char compare_hash_probe[];
