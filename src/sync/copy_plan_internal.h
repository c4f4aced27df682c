/*
 * What the files of the copy plan share: copy_plan_make.c (making it), copy_plan_entries.c (what may be built, and when
 * a table is complete), copy_plan.c (jobs handed out and given back, and rows).
 */
#pragma once

#include "sync/copy_plan.h"
#include "sync/copy_queue.h"

/* Tables whose entries are built together: those of one bunch, or one partitioned parent. */
struct group {
    uint32_t *tables;
    uint32_t n;
    bool is_building; /* a job with entries of it is queued or handed out */
};

struct table {
    struct copy_table given;
    uint32_t n_parts; /* 1: not split */
    uint32_t parts_left;
    uint32_t epoch;   /* counts restarts; jobs of an older one are stale */
    uint32_t running; /* TABLE, EMPTY, PART and SEAL jobs handed out, stale ones included */
    bool is_copied;
    bool is_dirty;
    bool is_waiting; /* begins anew when nothing of it is running any more */
    uint64_t generation;
    uint64_t rows;

    uint32_t rows_below;    /* itself and the children whose rows, with all below them, are not in yet */
    uint32_t entries_below; /* entries of its descendants that are not built yet */
    uint32_t entries_left;
    uint32_t first_entry; /* in plan->by_table, n_entries of them */
    uint32_t n_entries;
    uint32_t building; /* its entries that are queued or handed out */
    bool is_exclusive; /* one of them locks out others */
    struct group *group;
    uint64_t row_cost_left; /* bytes, and what any object costs */
    uint64_t entry_cost_left;
};

enum entry_state {
    ENTRY_PENDING,
    ENTRY_QUEUED,
    ENTRY_BUILT,
};

struct entry {
    struct copy_entry given;
    enum entry_state state;
    const struct copy_job *job; /* QUEUED: in which */
    uint32_t *needs;            /* places of entries that must be built before */
    uint32_t n_needs;
    uint32_t needs_left;
    uint32_t *unblocks; /* places of entries that need this one */
    uint32_t n_unblocks;
};

struct copy_plan {
    struct arena *arena;
    struct copy_plan_rules rules;
    struct table *tables;
    uint32_t n_tables;
    struct entry *entries;
    uint32_t n_entries;
    uint32_t *by_table;      /* places of entries: by table, kind, the largest first, as given */
    struct copy_queue ready; /* all but BUILD */
    struct copy_queue builds;
    uint32_t *analyze; /* small tables that wait for a job of their own size */
    uint32_t n_analyze;
    uint32_t builders; /* BUILD jobs handed out */
    uint64_t generation;
    uint64_t order;
    bool ignores_descendants; /* nothing else was left to do: parents do not wait for their partitions' entries */
    struct copy_plan_counts counts;
};

/* ---- copy_plan.c ---- */

struct copy_job *plan_new_job(struct copy_plan *p, enum copy_job_kind kind);
void plan_push(struct copy_plan *p, struct copy_job *job);

/* A table's rows: whole or in parts, emptied before if need be. */
void plan_push_rows(struct copy_plan *p, uint32_t place);

uint64_t table_row_cost(const struct table *t);
uint64_t plan_entry_cost(const struct copy_plan *p, const struct entry *e);

/* Parts go side by side: a split table's rows take the time of one worker's share. */
uint64_t plan_chain(const struct copy_plan *p, const struct table *t);

/* ---- copy_plan_entries.c ---- */

/*
 * Queues what may be built on a table now: one that locks out others, alone, or else all that can go side by side. By kind, so what
 * builds an index of its own comes before these, and what only takes one after them.
 */
void plan_release(struct copy_plan *p, uint32_t place);
void plan_release_group(struct copy_plan *p, struct group *g);

/* One statement for all small tables that wait for theirs. */
void plan_push_small_analyzes(struct copy_plan *p);

/* Only tables with rows: partitioned parents have none of their own, and ANALYZE on them reads all partitions again. */
void plan_check_complete(struct copy_plan *p, uint32_t place);

/* Parents may be built on when the rows of all below them are in. */
void plan_rows_are_in(struct copy_plan *p, uint32_t place);
void plan_copied(struct copy_plan *p, uint32_t place);
void plan_built(struct copy_plan *p, const struct copy_job *job);
