/*
 * What to copy and to build next: tables, parts of large tables, bunches of small ones, then indexes and constraints.
 *
 * Pure; made once from what there is to do, asked by every worker for its next job, told how the job ended. The longest
 * remaining chain goes first (what a table not copied yet and its indexes not built yet cost: model/cost), so that the run
 * ends near max(longest chain, total / workers), and indexes of finished tables are built while others are copied.
 *
 * What it promises, in any order of completion and failure:
 * - a table counts as copied once, by the whole of one try; parts of one try share one snapshot (G3);
 * - an entry starts after its table's rows are in, after the entries it depends on, and alone on its table when it
 *   takes a lock that excludes other builders;
 * - a partitioned parent's entries come after the rows of all its partitions (an ACCESS EXCLUSIVE lock on the parent
 *   would wait for their COPY) and after their own entries; attaching a partition's index comes after both are there;
 * - everything is handed out sooner or later, and nothing after it is done.
 *
 * Not thread-safe: callers share it under their mutex. Lives in the arena it was made in, with its jobs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define COPY_NONE UINT32_MAX

/* A table. Partitioned parents are here too, for their entries: has_rows is false. */
struct copy_table {
    uint64_t bytes;       /* heap and TOAST on the source */
    uint32_t heap_blocks; /* of the heap alone: what ctid ranges are made of */
    uint32_t parent;      /* partitioned parent's place in the array, or COPY_NONE */
    bool has_rows;        /* rows are to be copied */
    bool can_split;       /* ctid ranges are cheap: heap, source 14 or newer, rows of ours only on the target */
    bool is_copied;       /* by an earlier run */
    bool may_be_dirty;    /* an earlier run may have left rows of it: empty it first */
};

enum copy_entry_kind {
    COPY_ENTRY_EXCLUSIVE, /* ALTER TABLE … ADD CONSTRAINT with an index of its own: locks out other builders while it is built */
    COPY_ENTRY_SHARED, /* CREATE INDEX: several on one table at a time, sharing its pages */
    COPY_ENTRY_TAKE, /* ALTER TABLE … ADD CONSTRAINT … USING INDEX: a moment, alone, when nothing shared is left on its table */
    COPY_ENTRY_ATTACH, /* ALTER INDEX … ATTACH PARTITION: on the parent, one at a time */
    COPY_ENTRY_KIND_COUNT,
};

struct copy_entry {
    int dump_id;
    enum copy_entry_kind kind;
    uint32_t table;     /* its place in the tables: what it locks */
    uint64_t bytes;     /* of the index on the source; 0: not known (model/cost) */
    const int *depends; /* dump ids; those not among the entries count as done */
    unsigned n_depends;
    bool is_built; /* by an earlier run */
};

struct copy_plan_rules {
    unsigned workers;     /* so many ask; at least 1 */
    unsigned builders;    /* at most so many jobs build indexes at a time; 0: no limit of its own */
    uint64_t split_above; /* bytes; 0 means COPY_SPLIT_ABOVE */
    uint64_t part_bytes;  /* 0 means COPY_PART_BYTES */
    bool whole_tables;    /* nothing is split: one stream has all the processors that there are */
    uint64_t small_below; /* tables up to this size go in bunches; 0 means COPY_SMALL_BELOW */
};

#define COPY_SPLIT_ABOVE (UINT64_C(512) << 20)
#define COPY_PART_BYTES  (UINT64_C(64) << 20) /* some 0.3 s: all workers end at about the same time */
#define COPY_SMALL_BELOW (UINT64_C(8) << 20)
enum { COPY_BUNCH_TABLES_MAX = 200 };

enum copy_job_kind {
    JOB_TABLE,   /* one table, one stream, one transaction with its state row */
    JOB_BUNCH,   /* several small tables in one transaction with their state rows */
    JOB_EMPTY,   /* TRUNCATE a table whose parts are about to be copied anew */
    JOB_PART,    /* rows with first_block <= block of ctid < end_block; no state row */
    JOB_SEAL,    /* all parts of the table are in: write its state row */
    JOB_BUILD,   /* entries, in this order, in one transaction */
    JOB_ANALYZE, /* tables whose rows and entries are in */
    JOB_KIND_COUNT,
};

/* Valid until it is given back by done, failed or unknown. */
struct copy_job {
    enum copy_job_kind kind;
    unsigned n_tables;
    uint32_t *tables; /* places; BUILD: none */
    unsigned n_entries;
    uint32_t *entries;    /* places; BUILD only */
    bool must_empty;      /* TABLE, BUNCH: earlier rows may be there */
    unsigned part, parts; /* PART: 0 to parts - 1 */
    uint32_t first_block;
    uint32_t end_block;  /* COPY_NONE: to the table's end, wherever that is by now */
    uint64_t generation; /* PART: of the snapshot it must be copied with. SEAL: of the one its parts were copied with */
    uint64_t rows;       /* SEAL: rows of all parts */
    unsigned tries;      /* failures so far */

    /* The plan's own. */
    uint64_t priority;
    uint64_t order;
    uint32_t epoch;
};

enum copy_next {
    NEXT_JOB,
    NEXT_WAIT,     /* nothing now; ask again when a job has ended */
    NEXT_FINISHED, /* everything is done */
    NEXT_STUCK,    /* entries wait for each other in a circle: the dump's dependencies are broken */
};

/* What the entry costs (model/cost), on a table of so many bytes. */
uint64_t copy_entry_cost(const struct copy_entry *e, uint64_t table_bytes);

/* What index builds may take of the target's memory, all together: so many at a time, so much each. */
struct copy_build_memory {
    unsigned builders;
    unsigned each_kb; /* at most */
};

/*
 * In equal parts for the workers; fewer of them build at a time where the parts would be too small to sort with. One statement's parallel
 * workers share its part: PostgreSQL counts maintenance_work_mem once a statement.
 */
struct copy_build_memory copy_plan_divide_memory(uint64_t total_bytes, unsigned workers);

/*
 * maintenance_work_mem for an index of `bytes`. PostgreSQL (utils/sort/tuplesort.c) sorts runs of this size and merges them, as many at a
 * time as have a buffer in it, each 264 kB; the square root is what merges all in one pass. Anything above only costs: 20 million integers
 * take 3.8 s with 64 MB, 4.2 s with 512 MB, 6.1 s with 1 GB (fresh memory, and caches too small for it). The server gives each participant of
 * a parallel build 32 MB or does without it: `parallel` of them and the leader get as much.
 */
unsigned copy_plan_build_kb(const struct copy_build_memory *memory, uint64_t bytes, unsigned parallel);

#define COPY_BUILD_MEMORY (UINT64_C(1) << 30) /* bytes, unless said otherwise */

struct copy_plan;

/* Copies what it needs; the arrays may go, but `depends` must live as long as `a`. */
struct copy_plan *copy_plan_new(struct arena *a, const struct copy_table *tables, uint32_t n_tables,
                                const struct copy_entry *entries, uint32_t n_entries, struct copy_plan_rules rules);

enum copy_next copy_plan_next(struct copy_plan *p, struct copy_job **out_job);

/* `rows` is for PART, which are summed up for SEAL. */
void copy_plan_done(struct copy_plan *p, struct copy_job *job, uint64_t rows);

/* Its transaction was rolled back: it comes again. */
void copy_plan_failed(struct copy_plan *p, struct copy_job *job);

/*
 * As failed, but nobody knows whether its transaction was committed: a PART's table begins anew, other jobs come again.
 */
void copy_plan_unknown(struct copy_plan *p, struct copy_job *job);

/*
 * This table of a BUNCH or PART job cannot be copied with the shared snapshot, or not together with others (G3): it
 * comes again whole, in a TABLE job of its own. A BUNCH goes on without it; a PART has to be given back as failed.
 */
void copy_plan_alone(struct copy_plan *p, struct copy_job *job, uint32_t place);

/* (G3) From now on jobs are for another snapshot; tables copied in part begin anew. */
void copy_plan_snapshot_lost(struct copy_plan *p, uint64_t generation);

struct copy_plan_counts {
    uint32_t tables, tables_copied; /* with rows */
    uint32_t entries, entries_built;
    uint32_t running; /* jobs handed out */
};
struct copy_plan_counts copy_plan_counts(const struct copy_plan *p);
