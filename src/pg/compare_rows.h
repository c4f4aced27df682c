/*
 * Compares one table on two sessions, each in its snapshot: sums of row hashes by bucket, then the rows of the buckets that
 * differ, merged in the order of their keys.
 *
 * Memory: the buckets, and a batch of rows of each side, whatever the number of differences. An error leaves both transactions
 * aborted: work under a savepoint.
 */
#pragma once

#include "base/error.h"
#include "model/compare.h"
#include "pg/compare_plan.h"
#include "pg/conn.h"

/* Who is told of rows that differ; cells are of compare_plan_rows, NULL where the row is missing; good for the call only. */
struct row_listener {
    MUST_USE struct error *(*differs)(void *self, const struct compare_plan *p, char *const *source_cells,
                                      char *const *target_cells);
    void *self;
};

struct compare_rows_options {
    struct pg_conn *source;
    struct pg_conn *target;
    const struct compare_plan *plan;
    unsigned max_rate_mb; /* 0: none */
    struct row_listener listener;
    struct compare_progress *progress; /* NULL: nobody looks */
};

struct compare_rows_counts {
    uint64_t source_rows, target_rows;
};

MUST_USE struct error *compare_rows_run(const struct compare_rows_options *options, struct compare_rows_counts *out);

/* Only how many rows there are. */
MUST_USE struct error *compare_rows_count(const struct compare_rows_options *options, struct compare_rows_counts *out);
