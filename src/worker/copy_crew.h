/*
 * What the workers of a copy share (worker/copy_jobs.h is what others see): the plan, the snapshot, and how far it all
 * is.
 *
 * Locks are taken in this order: snapshot_mutex, then plan_mutex; neither is held while rows are copied.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "pg/copy_table.h"
#include "worker/copy_builds.h"
#include "worker/copy_jobs.h"

/* How much of a table the progress was credited with: it only rises, whatever is copied again. */
struct copy_credit {
    _Atomic uint64_t passed, passed_rows; /* bytes and rows of the present try */
    _Atomic uint64_t credited;
    _Atomic uint64_t rows; /* of parts that are in */
};

struct copy_worker;

struct copy_crew {
    const struct copy_jobs_options *options;
    const struct copy_source_table *tables; /* as options->tables, in the same places */
    struct copy_credit *credits;
    struct copy_builds *builds;
    struct progress_counters *counters;

    pthread_mutex_t plan_mutex;
    struct copy_plan *plan;
    uint32_t n_put_off;      /* guarded by plan_mutex, as options->put_off is */
    atomic_bool is_given_up; /* a worker failed for good: no new jobs */

    pthread_mutex_t snapshot_mutex;
    struct arena *arena;               /* of the snapshots, which live as long as the crew */
    struct pg_snapshot_holder *holder; /* NULL when none is needed any more */
    unsigned generation;               /* of the newest snapshot, from 1; 0: there was none */
    struct pg_snapshot *snapshots;     /* by generation: gates are needed after their holder is gone */

    pthread_mutex_t checker_mutex; /* taken last, alone */
    struct pg_conn *checker;       /* a session on the source that sees what is now */

    struct copy_worker **workers;
    unsigned n_workers;
    atomic_uint running;
    struct wake *ended; /* rung by each worker at its end, after `running` is counted down */
};

/* Adds to the data step what so much more of a table means. Thread-safe. */
void copy_crew_credit(struct copy_crew *crew, uint32_t table, uint64_t rows, uint64_t bytes);

/* The whole table is in. Thread-safe. */
void copy_crew_credit_all(struct copy_crew *crew, uint32_t table);

/* With plan_mutex held, or before there are threads. */
void copy_crew_show_counts(struct copy_crew *crew);

/* What later snapshots must be. */
struct pg_snapshot_wish copy_crew_wish(const struct copy_jobs_options *o);

/* With snapshot_mutex held: takes over a holder. On an error the holder stays the caller's. */
MUST_USE struct error *copy_crew_take_snapshot(struct copy_crew *crew, struct pg_snapshot_holder *holder);

/* With snapshot_mutex held: nobody will need it any more. */
void copy_crew_release_snapshot(struct copy_crew *crew);

/* With snapshot_mutex held: a new holder in the place of a lost or missing one, and the plan is told (G3). Patient. */
MUST_USE struct error *copy_crew_renew_snapshot(struct copy_crew *crew);

/*
 * With snapshot_mutex held: looks whether the holder lives, and renews it when not. NULL: it lives.
 * ERROR_TRANSIENT: it was lost, and there is a new one.
 */
MUST_USE struct error *copy_crew_keep_snapshot(struct copy_crew *crew);

/* Which of the tables, locked by the caller, the target has not followed yet: options->altered_since. Any thread. */
MUST_USE struct error *copy_crew_find_altered(struct copy_crew *crew, struct arena *a,
                                              const struct copy_source_table *const *tables, unsigned n,
                                              bool *out_altered);

/*
 * BEGIN on a session of the source with the shared snapshot. ERROR_TRANSIENT, too, when it was lost: there is a new one
 * then.
 */
MUST_USE struct error *copy_crew_import(struct copy_crew *crew, struct pg_conn *source, unsigned *out_generation,
                                        struct gate *out_gate);
