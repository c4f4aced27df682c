/*
 * What pg/target and its exact path (pg/target_row) share: the session of one lane. For these two only.
 */
#pragma once

#include "pg/statement.h"
#include "pg/target.h"
#include "pg/target_pipe.h"

struct pg_target {
    struct pg_target_options options;
    struct arena *arena;   /* as long as the target */
    struct arena *scratch; /* of the call in progress */
    struct pg_table_resolver *resolver;

    struct pg_conn *conn; /* NULL: none yet, or given up */
    struct pipe *pipe;    /* as long as conn */
    int pid;              /* of its backend; 0 without one */
    int former_pid;       /* of a backend that may still run what it was sent; 0: none */
    bool is_replica;

    size_t largest; /* bytes of values in a statement of this session */

    struct apply_position position; /* as this session knows pgtide.lane */
    bool in_transaction;
    bool has_savepoint;
    bool asserts_all; /* the server itself checks the counts of all that was sent since begin */

    /* Deferrable keys, of the transaction in hand */
    struct arena *doubts; /* what the next ones live in */
    struct doubted_table *doubted;
    uint32_t alone_with; /* nobody else writes to the table with this oid; 0: not known of any */

    struct prepared begin, move, end; /* a transaction, the position in it, its COMMIT */
    struct prepared join;             /* how what comes next is joined */
    struct statement_cache *cache;
    unsigned prepares_open; /* sent since answers were last waited for */
    struct statement_params *params;
    struct buffer *key;
};

/* Nothing of the transaction before is of interest any more. */
void target_check_begin(struct pg_target *t);

/* target_ops.check and its kin: pg/target_check. */
struct error *target_check(void *self, const struct batch *batch);
struct error *target_check_row(void *self, struct arena *a, const struct row_change *change, enum row_remedy remedy,
                               struct row_result *out);
void target_doubt(void *self, const struct target_table *table);
struct error *target_check_doubted(void *self, struct arena *a, bool *out_as_expected, const char **out_why);

/* A statement made for one occasion: values become parameters, and the text refers to them by number. */
struct question {
    struct pg_target *t;
    struct buffer *sql;
    uint32_t *types;
    unsigned n;
};

struct question question_new(struct pg_target *t, struct buffer *sql, unsigned params_max);
unsigned question_text(struct question *q, const char *text);

/* The parameter as an expression of the column's type, in scratch. */
const char *question_value(struct question *q, const struct column_plan *column, const struct value *v);

/* *out_rows (may be NULL) is good until the pipe forgets. */
MUST_USE struct error *question_ask(struct question *q, const char *what, PGresult **out_rows);

/* Rows that were deleted, as texts. */
struct removals {
    struct arena *arena;
    unsigned n;
    unsigned capacity;
    const struct value **rows;
};
void removals_add(struct removals *r, const PGresult *rows, unsigned n_columns);

/* A slice of rows as one statement: prepared when needed, sent, to be counted. Lives in t->scratch until sent. */
MUST_USE struct error *target_send(struct pg_target *t, const struct statement_input *in);

/* For messages: what a check is doing, and the change of a batch, "updating". */
extern const char target_checking[];
const char *target_doing(enum batch_op op);

/* ERROR_BUG without a session: the engine must resume first. */
MUST_USE struct error *target_connected(const struct pg_target *t);

/* The failure as an error, after what depends on its SQLSTATE was done. */
MUST_USE struct error *target_failure(struct pg_target *t);

/* target_ops.row and target_ops.conflict */
MUST_USE struct error *target_row(void *self, struct arena *a, const struct row_change *change,
                                  enum row_overwrite overwrite, struct row_result *out);
MUST_USE struct error *target_conflict(void *self, const struct conflict *conflict);
