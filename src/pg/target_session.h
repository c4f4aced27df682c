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

    struct apply_position position; /* as this session knows pgtide.lane */
    bool in_transaction;
    bool has_savepoint;
    bool asserts_all; /* the server itself checks the counts of all that was sent since begin */

    struct prepared move; /* of the position; needed at each commit */
    struct statement_cache *cache;
    unsigned prepares_open; /* sent since answers were last waited for */
    struct statement_params *params;
    struct buffer *key;
};

/* A slice of rows as one statement: prepared when needed, sent, to be counted. Lives in t->scratch until sent. */
MUST_USE struct error *target_send(struct pg_target *t, const struct statement_input *in);

/* The change of a batch, for messages: "updating". */
const char *target_doing(enum batch_op op);

/* ERROR_BUG without a session: the engine must resume first. */
MUST_USE struct error *target_connected(const struct pg_target *t);

/* The failure as an error, after what depends on its SQLSTATE was done. */
MUST_USE struct error *target_failure(struct pg_target *t);

/* target_ops.row and target_ops.conflict */
MUST_USE struct error *target_row(void *self, struct arena *a, const struct row_change *change,
                                  enum row_overwrite overwrite, struct row_result *out);
MUST_USE struct error *target_conflict(void *self, const struct conflict *conflict);
