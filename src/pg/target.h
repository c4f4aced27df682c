/*
 * The target of ports/target.h over one libpq session in pipeline mode: one lane of apply.
 *
 * Fast path: batches become prepared, set-based statements (unnest of arrays, or lists of VALUES where arrays cannot carry a type) or
 * COPY; nothing is waited for until settle, unsent bytes are capped, results are read while sending. Exact path: row(), one change
 * and its answer. Positions live in pgtide.lane and move in the transaction of the rows they cover (P1).
 *
 * One thread uses a target. Which tables there are and how they are written is asked by a pg_table_resolver with a session of
 * its own (pg/target_table.h), so that the feeder's thread can ask while the lane's thread applies.
 *
 * Errors: connections, deadlocks, lack of resources are ERROR_TRANSIENT, then call resume; a stop request is ERROR_CANCELLED;
 * what the server refuses for good is ERROR_CONFIG; rows that it refuses are an outcome (settle) or ERROR_DATA (row).
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/endpoint.h"
#include "ports/target.h"
#include "sys/stop.h"

struct pg_target_options {
    const struct pg_endpoint *endpoint;
    const char *application_name; /* "pgtide 0f3a… lane 1" */
    const char *encoding;         /* the source's server encoding: values travel in it */
    const char *task;             /* the rows of pgtide.lane and pgtide.conflict that are ours */
    unsigned lane;                /* 1 … lane_count */
    unsigned lane_count;
    const struct stop *stop; /* NULL: cannot be stopped */
    const _Atomic bool
        *checks_keys; /* false while rows are of several moments: foreign keys may have to stay NOT VALID. NULL: true */
};

struct pg_target;

/* No connection yet: resume makes it, tries once and says ERROR_TRANSIENT when it cannot. Close it before `a` is freed. */
struct pg_target *pg_target_new(struct arena *a, struct pg_target_options options);

/* The port. Good until pg_target_close. */
struct target pg_target_port(struct pg_target *t);

/* Rolls back what is open. */
void pg_target_close(struct pg_target *t);
DEFINE_CLEANUP(struct pg_target, pg_target_close);

/*
 * False after a resume that was not allowed to set session_replication_role = replica: then triggers and foreign keys of the target
 * fire for what is applied, and the worker must create them only when apply has ended.
 */
bool pg_target_is_replica(const struct pg_target *t);

/* Process id of the lane's backend, 0 without a session. For fences that must spare it. */
int pg_target_backend_pid(const struct pg_target *t);

/*
 * As target_ops.table, on the lane's own session: inside a transaction that has run DDL only it sees the tables as they are. For
 * another thread than the lane's while the lane has nothing to do.
 */
MUST_USE struct error *pg_target_table_inside(struct pg_target *t, struct arena *a,
                                              const struct stream_relation *relation, struct target_table **out);
