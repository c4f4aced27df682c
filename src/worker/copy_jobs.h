/*
 * The copy workers: threads that carry out a copy plan (sync/copy_plan.h) until every row is in and every index is
 * built.
 *
 * Each worker has a session on the source, importing the shared snapshot for each job, and one on the target. What is
 * finished is in the target with the rows it belongs to, in the same transaction: pgtide.relation has a row for each
 * copied table (its gate and its row count), pgtide.done one for each entry. So a restart, after whatever killed us,
 * goes on with what is missing, and needs to be told nothing.
 *
 * Lost sessions are opened again without end, backing off; a former backend of the worker on the target is terminated
 * and waited for before the job is looked at again. When the holder of the snapshot is lost, tables not finished get a
 * new snapshot and a new gate (G2), tables copied in part begin anew (G3). Any other error fails the run, names the
 * table, and leaves the others to finish what they are at.
 *
 * copy_jobs_start, copy_jobs_ended, copy_jobs_join: one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/progress.h"
#include "model/snapshot.h"
#include "pg/endpoint.h"
#include "pg/snapshot.h"
#include "sync/copy_plan.h"
#include "sys/stop.h"
#include "sys/wake.h"

/* `plan.is_copied` and `plan.may_be_dirty` are filled in here, from the target's state. */
struct copy_jobs_table {
    uint32_t oid; /* on the source */
    const char *schema;
    const char *name;
    unsigned n_columns;
    const char *const *columns; /* those that have values of their own: no generated ones */
    bool is_binary;             /* false: text format (a type cannot travel in binary between these servers) */
    bool is_gone;               /* dropped on the source: no rows, but entries that the target will be told to drop */
    bool is_ours;               /* the target's table held nothing before us: may be emptied and filled frozen */
    uint64_t rows_expected;     /* about: for the progress, whose unit is the table's bytes; 0: not known */
    struct copy_table plan;
};

/* `plan.is_built` is filled in here. */
struct copy_jobs_entry {
    const char *type; /* for people: "INDEX" */
    const char *name;
    const char *prelude; /* settings it was dumped with: SET …; may be "" */
    const char *sql;
    struct copy_entry plan;
};

struct copy_jobs_options {
    const struct pg_endpoint *source;
    const struct pg_endpoint *target;
    const char *task;     /* id: names sessions and state rows */
    const char *encoding; /* client_encoding of both sides: the source's server encoding */
    unsigned workers;     /* 1 to PROGRESS_ITEMS_MAX */
    const struct copy_jobs_table *tables;
    uint32_t n_tables;
    const struct copy_jobs_entry *entries;
    uint32_t n_entries;
    struct pg_snapshot_holder *holder; /* the first snapshot, taken over and released here; NULL: take a new one */
    const struct snapshot *slot_saw;   /* later snapshots must cover what the slot's saw. NULL: any will do */
    struct lsn slot_lsn;               /* a standby's must not be older than its consistent point */
    bool may_be_standby;               /* nothing follows, so nobody uses the gates */
    /*
     * Builds the entry at this place of `entries` in a transaction of its own with its row of pgtide.done, and does
     * nothing when it has one (schema_run_entry): for targets where some of it may be there already. Any worker. NULL:
     * prelude and sql are run as they are, those of a bunch of tables in one transaction.
     */
    struct error *(*run_entry)(void *self, struct pg_conn *target, uint32_t place);
    void *run_self;
    /*
     * Tables whose definition was changed by transactions from this id on, or that are gone, are not copied: the target has
     * not made these changes yet. put_off[i] is set for them; their entries are built as if their rows were in. 0: no table is.
     */
    uint64_t altered_since;
    bool names_are_targets; /* also of altered tables: they were read with the dump's snapshot */
    bool *put_off;
    struct copy_plan_rules rules;               /* `workers` is set here */
    struct copy_build_memory build_memory;      /* of which each index takes what its size needs */
    int parallel_maintenance;                   /* workers of one CREATE INDEX; -1 leaves the server's */
    int (*pace_ms)(void *self, uint64_t bytes); /* rate limit over all workers; called by any of them; NULL for none */
    void *pace_self;
    struct progress *progress; /* data and index steps, tables, rows, bytes, items 0 to workers - 1 */
    struct stop *stop;
    struct wake *ended; /* rung when it has ended; NULL for none */
};

struct copy_jobs;

/* `options` with all it points to must live until join, `a` too. On an error the holder is released. */
MUST_USE struct error *copy_jobs_start(struct arena *a, const struct copy_jobs_options *options,
                                       struct copy_jobs **out_jobs);

/* True when join will not block. */
bool copy_jobs_ended(const struct copy_jobs *jobs);

/*
 * Waits for the end. On success every table and entry is in the target, and on its disk: that was asked after the last
 * commit, because a target that crashes forgets what was committed with synchronous_commit off; what it forgot was done
 * again.
 */
MUST_USE struct error *copy_jobs_join(struct copy_jobs *jobs);
