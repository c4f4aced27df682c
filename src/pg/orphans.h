/*
 * Rows that break a foreign key: what is said about one that cannot be validated.
 *
 * The key is described by the source, where it always exists; the rows are looked for on the target. Text lives in `a`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "pg/conn.h"

struct orphans {
    const char *table;      /* quoted */
    const char *referenced; /* likewise */
    const char *select;     /* shows all of them */
    const char *example;    /* the columns of one: "(7,b)"; NULL when there is none */
    uint64_t rows;
};

/* *out_found is false when the source has no foreign key of this oid any more. */
MUST_USE struct error *orphans_find(struct pg_conn *source, struct pg_conn *target, struct arena *a, uint32_t key_oid,
                                    bool *out_found, struct orphans *out);
