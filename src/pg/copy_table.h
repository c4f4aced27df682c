/*
 * A table as the copy sees it: the statements that carry it, and whether a snapshot still fits it.
 *
 * Text goes to the arena given. The check runs on the source in the transaction that will read the rows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/snapshot.h"
#include "pg/conn.h"

#define COPY_TABLE_END UINT32_MAX

struct copy_source_table {
    uint32_t oid; /* on the source */
    const char *schema;
    const char *name;
    unsigned n_columns;
    const char *const *columns; /* those with values of their own: no generated ones */
    bool is_binary;             /* false: text format */
};

struct copy_range {
    uint32_t first_block;
    uint32_t end_block; /* COPY_TABLE_END: to the end */
};

/* The plain form, for a whole table: no executor in between. */
char *copy_table_out(struct arena *a, const struct copy_source_table *t);

/*
 * About how many rows it has, from some hundred of its pages wherever they lie; what the statistics say may be of another time. 0: none
 * was found. For tables of many pages: it takes milliseconds.
 */
MUST_USE struct error *copy_table_estimate(struct pg_conn *source, struct arena *a, const struct copy_source_table *t,
                                           uint64_t heap_blocks, uint64_t *out_rows);

/* Rows by place (Tid Range Scan, 14+; before, each range is a scan of the whole table: F10). */
char *copy_table_range_out(struct arena *a, const struct copy_source_table *t, struct copy_range range);

/* `is_frozen`: the table was emptied in the same transaction and nobody else fills it (COPY, option FREEZE). */
char *copy_table_in(struct arena *a, const struct copy_source_table *t, bool is_frozen);

/* LOCK TABLE … IN ACCESS SHARE MODE, TRUNCATE, DELETE and ANALYZE of all of them, never of what inherits from them. */
char *copy_table_lock(struct arena *a, const struct copy_source_table *const *tables, unsigned n);
char *copy_table_truncate(struct arena *a, const struct copy_source_table *const *tables, unsigned n);
char *copy_table_delete(struct arena *a, const struct copy_source_table *const *tables, unsigned n);
char *copy_table_analyze(struct arena *a, const struct copy_source_table *const *tables, unsigned n);

/* Whether a foreign key leads to one of them, so that TRUNCATE would be refused. Asked of the target. */
MUST_USE struct error *copy_table_referenced(struct pg_conn *target, struct arena *a,
                                             const struct copy_source_table *const *tables, unsigned n,
                                             bool *out_referenced);

enum copy_table_state {
    COPY_TABLE_INTACT,
    COPY_TABLE_REWRITTEN, /* (F11, G3) or emptied, or made: this snapshot does not see its rows, and raises no error */
    COPY_TABLE_GONE,      /* dropped or renamed */
};

/* After the locks are taken: what is intact stays so until the transaction's end. out_states[i] is of tables[i]. */
MUST_USE struct error *copy_table_check(struct pg_conn *source, struct arena *a,
                                        const struct copy_source_table *const *tables, unsigned n,
                                        enum copy_table_state *out_states);

/*
 * Whether the definition of tables (columns, name, file) was changed by transactions from `since` on, or they are gone. Asked in
 * another session of the source while theirs is locked, because a snapshot does not show it. out_changed[i] is of tables[i].
 */
MUST_USE struct error *copy_table_changed_since(struct pg_conn *source, struct arena *a,
                                                const struct copy_source_table *const *tables, unsigned n,
                                                uint64_t since, bool *out_changed);

/* Tables that were copied in one transaction, with one gate. */
struct copy_record {
    const struct copy_source_table *const *tables;
    unsigned n;
    const struct gate *gate;
    const uint64_t *rows; /* of each */
};

/*
 * (P1, G2) The rows of pgtide.relation, in the transaction that wrote the tables'. A table that has one already is an
 * error.
 */
MUST_USE struct error *copy_table_record(struct pg_conn *target, struct arena *a, const char *task,
                                         const struct copy_record *record);

/* How many of the tables have a row of the task there. */
MUST_USE struct error *copy_table_recorded(struct pg_conn *target, struct arena *a, const char *task,
                                           const struct copy_source_table *const *tables, unsigned n,
                                           unsigned *out_recorded);

/* A table of the target that has pages: rows of somebody, or of a COPY of ours that was cut short. */
struct copy_filled {
    const char *schema;
    const char *name;
};

/* All of the database, sorted by schema, then name, bytewise. Lives in `a`. */
MUST_USE struct error *copy_table_filled(struct pg_conn *target, struct arena *a, struct copy_filled **out,
                                         unsigned *out_n);
bool copy_table_is_filled(const struct copy_filled *filled, unsigned n, const struct copy_source_table *t);
