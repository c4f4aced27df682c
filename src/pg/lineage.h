/*
 * Which relations of the source belong to others: partitions to their parents, tables to extensions. Set queries, sorted by oid.
 *
 * Manual: pg_inherits, pg_depend (deptype 'e'). Everything lives in the arena given.
 */
#pragma once

#include <stdint.h>

#include "pg/conn.h"

struct partition {
    uint32_t oid;
    uint32_t parent;
};

/* Every table that is a partition, leaves and inner ones. */
MUST_USE struct error *lineage_partitions(struct pg_conn *source, struct arena *a, struct partition **out,
                                          unsigned *out_n);

/* Tables that extensions made: part of CREATE EXTENSION, not of the copy. */
MUST_USE struct error *lineage_of_extensions(struct pg_conn *source, struct arena *a, uint32_t **out, unsigned *out_n);
