/*
 * Rows into batches: all rows of a batch have, column by column, the same state but for NULL (ports/target.h).
 *
 * Rows are put in one after the other; each joins an open batch that it fits, or opens another. Batches come out in the
 * order in which they were opened. Few signatures are usual (which columns are UNCHANGED), so the newest batches are tried one by
 * one. One thread; lives in the arena.
 */
#pragma once

#include "base/arena.h"
#include "ports/target.h"
#include "sync/fold.h"

struct batches;

/* `n_rows` is how many rows will be put in at most. */
RETURNS_NONNULL struct batches *batches_new(struct arena *a, const struct target_table *table, enum batch_op op,
                                            struct fold_limits limits, unsigned n_rows);

void batches_add(struct batches *b, struct batch_row row);

/* Appends one step for each batch; returns the new end of the list. */
RETURNS_NONNULL const struct fold_work **batches_append(const struct batches *b, const struct fold_work **end);
