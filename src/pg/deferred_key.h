/*
 * Deferrable unique and exclusion constraints of a table of the target, and SQL that finds who violates them.
 *
 * The server checks them at COMMIT, by triggers that do not fire for replicas. So pairs of rows are looked for here, as they are in
 * the table: `a`, a row that was written, and `b`, another one that the constraint does not allow beside it.
 *
 * Plain values in the arena they were read into.
 */
#pragma once

#include "base/buffer.h"
#include "pg/conn.h"

struct deferred_key {
    const char *name;    /* of the constraint */
    const char *table;   /* quoted, with ONLY where it is no partitioned one; the table itself or a partition of it */
    const char *columns; /* "id, lower(v)", for messages */
    const char *values;  /* those of `a`, "a.pgtide_1, a.pgtide_2" */
    const char
        *source; /* what the constraint looks at, "SELECT tableoid AS pgtide_o, ctid AS pgtide_p, (id) AS pgtide_1" */
    const char *predicate; /* of the rows that it holds for, or NULL */
    const char *excludes;  /* what is true of two rows that exclude each other: "a.pgtide_1 = b.pgtide_1" */
    unsigned n_names;      /* those of its columns that are the table's, not expressions */
    const char **names;    /* as in the catalog */
    bool nulls_are_equal;  /* NULLS NOT DISTINCT */
};

struct deferred_keys {
    unsigned n;
    const struct deferred_key *keys;
    const char *tables; /* oids of table and partitions, "{1,2}", where n > 0 */
};

MUST_USE struct error *deferred_keys_read(struct pg_conn *conn, struct arena *a, uint32_t table,
                                          struct deferred_keys *out);

/* `(SELECT … FROM … WHERE …)` with further columns (", c AS d", or ""). */
void deferred_key_append_rows(struct buffer *sql, const struct deferred_key *key, const char *further);

/* `b` joined to `a`, which stands before it. */
void deferred_key_append_others(struct buffer *sql, const struct deferred_key *key, const char *further);
