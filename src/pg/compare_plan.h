/*
 * What is asked of the servers to compare one table: catalogs in, SQL out.
 *
 * A row is hashed by pg/compare_hash where both servers have its functions and agree on a probe, else as 64 bits of md5 of its
 * text. Sessions print alike (pg/conn.h), and what servers before 12 print otherwise (floating point, geometry) is hashed by its send
 * function when one side is such a server.
 *
 *     first pass   SELECT count(*), sum(hash) FROM t
 *     then         SELECT bucket, count(*), sum(hash) FROM t GROUP BY 1, only if the sums differ
 *     second pass  SELECT order, key, hash, columns FROM t WHERE bucket = ANY (…) ORDER BY 1, 2
 *
 * The bucket is that of the key (an integer key's low bits, else its hash), so that both versions of a changed row are in one;
 * without a key it is that of the row, and the key is the row itself: a multiset.
 *
 * Everything lives in the arena given and is immutable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pg/conn.h"

struct compare_column {
    const char *name;
    int16_t attnum;
    const char *type_text;
    uint32_t type;
    bool is_generated;
    bool is_identity;
    bool has_floats;  /* somewhere inside */
    const char *send; /* the same on each server: of a built-in type, or one made of such; NULL */
    bool is_not_null;
};

struct compare_table {
    uint32_t oid;
    const char *schema;
    const char *name;
    bool is_partitioned;
    uint64_t bytes;
    double rows_estimated;
    uint64_t pages; /* of the heap; partitioned: of the largest part */
    unsigned n_key;
    const int16_t *key; /* attnums; none: no key */
    unsigned n_columns;
    const struct compare_column *columns;
};

/* By schema and name, bytewise. */
struct compare_catalog {
    int version;
    const char *encoding; /* of the server */
    unsigned n_tables;
    const struct compare_table *tables;
};

MUST_USE struct error *compare_catalog_read(struct pg_conn *c, struct arena *a, struct compare_catalog *out);

/* How both servers hash; see above. */
struct compare_dialect {
    bool has_fast_hash;
    bool encodings_differ;
    bool floats_differ;
};

MUST_USE struct error *compare_dialect_find(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                            const struct compare_catalog *s, const struct compare_catalog *t,
                                            struct compare_dialect *out);

struct plan_column {
    const char *name;
    bool is_key;
    bool is_written; /* false: generated on the target */
    const char *
        canon; /* the form that is compared when it is not the column's text: a further column of the second pass; NULL */
};

struct compare_plan {
    const struct compare_table *source, *target;
    const char *title;  /* "schema.table" */
    unsigned n_columns; /* on both sides */
    const struct plan_column *columns;
    bool has_key;
    bool needs_overriding;                 /* an identity column on the target */
    const char *missing;                   /* a sentence about columns that only one side has; NULL */
    const char *refusal;                   /* why it cannot be compared; NULL */
    const char *from_source, *from_target; /* with ONLY where the table is not partitioned */
    const char *row;                       /* expression: the row's text */
    const char *hash;                      /* of it */
    const char *key_text, *order;          /* expressions of the second pass */
    const char *key_hash;                  /* bigint, to be masked to a bucket */
};

void compare_plan_make(struct arena *a, const struct compare_dialect *d, const struct compare_table *source,
                       const struct compare_table *target, struct compare_plan *out);

/* `where` is "" or a condition. */
char *compare_plan_sums(struct arena *a, const struct compare_plan *p, const char *table, unsigned n_buckets,
                        const char *where);
char *compare_plan_rows(struct arena *a, const struct compare_plan *p, const char *table, unsigned n_buckets,
                        const unsigned *buckets, unsigned n);

/* One row of the second pass: cells are [order, key text, hash, each column, each canonical form]. */
enum { PLAN_ORDER, PLAN_KEY, PLAN_HASH, PLAN_FIRST_COLUMN };

/* "id = '4' AND …", or the comparison of the whole row when there is no key. */
char *compare_plan_where(struct arena *a, const struct compare_plan *p, char *const *cells);

/* A cell in a statement. */
const char *compare_plan_literal(struct arena *a, const char *text);

/* Statements for the target, without semicolon: they touch exactly one row. */
char *compare_plan_insert(struct arena *a, const struct compare_plan *p, char *const *source_cells);
char *compare_plan_delete(struct arena *a, const struct compare_plan *p, char *const *target_cells);
char *compare_plan_update(struct arena *a, const struct compare_plan *p, char *const *source_cells,
                          char *const *target_cells);

/* Whether column `i` differs between two rows of one key. */
bool compare_plan_column_differs(const struct compare_plan *p, unsigned i, char *const *source_cells,
                                 char *const *target_cells);
