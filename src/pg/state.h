/*
 * The schema `pgtide` on the target: identity, positions and gates of each task that writes here (sql/state.sql has
 * the tables).
 *
 * While a synchronization is interrupted this is the truth about the target: it is written in the same transactions as
 * the rows it speaks of (P1). All functions run in the caller's transaction when there is one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/lsn.h"
#include "model/snapshot.h"
#include "pg/conn.h"
#include "ports/target.h"

/* (P6) What the progress belongs to. */
struct state_task {
    const char *task; /* 12 hexadecimal digits */
    const char *source_system;
    uint32_t source_timeline;
    uint32_t source_database_oid;
    const char *source_database;
    const char *slot;          /* NULL before it is made */
    struct lsn slot_lsn;       /* LSN_NONE before it is made */
    const char *slot_snapshot; /* pg_current_snapshot() of the slot's snapshot; NULL before */
    const char *version;       /* of the pgtide that began */
    bool structure_done;
};

struct state_lane {
    unsigned lane;
    unsigned lane_count;
    struct apply_position position;
};

/* (G2) A copied table. */
struct state_relation {
    uint32_t source_oid;
    const char *schema; /* written for people; not read back */
    const char *table;
    bool is_nameless; /* read: `table` was "" */
    struct gate gate;
    uint64_t rows;
};

struct state {
    bool exists; /* false: no schema or no such task; nothing else is set */
    struct state_task task;
    unsigned n_lanes;
    struct state_lane *lanes; /* by lane */
    unsigned n_relations;
    struct state_relation *relations; /* by source_oid */
    unsigned n_done;
    int *done; /* dump ids, ascending; a validated foreign key as its negative id */
};

/* Everything that was to be copied and made is there (state_set_whole): a start need not look for what is missing. */
bool state_is_whole(const struct state *s);

MUST_USE struct error *state_read(struct pg_conn *target, struct arena *a, const char *task, struct state *out);

/* Whether a table was copied, an entry of the structure made: by an earlier run. */
bool state_has_relation(const struct state *s, uint32_t source_oid);
bool state_has_done(const struct state *s, int dump_id);

/* The tasks that have a row here, ours or not. */
MUST_USE struct error *state_tasks(struct pg_conn *target, struct arena *a, struct state_task **out_tasks,
                                   unsigned *out_n);

/* Makes schema and tables when missing, and the task's row when missing. */
MUST_USE struct error *state_create(struct pg_conn *target, const struct state_task *task);

/* slot, slot_lsn, slot_snapshot of `task` are written. */
MUST_USE struct error *state_set_slot(struct pg_conn *target, const struct state_task *task);
MUST_USE struct error *state_set_structure_done(struct pg_conn *target, const char *task);

/* Written in the transaction that copied the rows, or replaced when the table is copied anew. */
MUST_USE struct error *state_set_relation(struct pg_conn *target, const char *task, const struct state_relation *r);

/* Only n_lanes and lanes of *out. */
MUST_USE struct error *state_read_lanes(struct pg_conn *target, struct arena *a, const char *task, struct state *out);

/* Everything before it is applied, by every lane. Zeros without lanes. */
struct apply_position state_least(const struct state *s);

/* So many lanes, all at `position`. Only when they stand together there, or there are none yet. */
MUST_USE struct error *state_set_lanes(struct pg_conn *target, const char *task, unsigned n,
                                       struct apply_position position);

/*
 * To be said when nothing is missing any more, and taken back before anything that a start would have to mend. Commits keep their order in a
 * server's WAL, so where this is found after a crash, all that was committed before it is there as well.
 */
MUST_USE struct error *state_set_whole(struct pg_conn *target, const char *task);
MUST_USE struct error *state_forget_whole(struct pg_conn *target, const char *task);

/* The archive was lost: its dump ids mean nothing now. */
MUST_USE struct error *state_forget_done(struct pg_conn *target, const char *task);

/* Removes all rows of the task, and the schema with the last task. Missing things are fine. */
MUST_USE struct error *state_drop(struct pg_conn *target, const char *task);

/*
 * Ends every other session of the task on this server (application_name 'pgtide <task> …') and waits until they are
 * gone, at most 60 s: what a dead process had sent, COMMIT included, runs on until then, so the position must not be
 * read before. `spare` are pids of our own living sessions; the one used here is spared by itself.
 */
MUST_USE struct error *state_fence(struct pg_conn *target, const char *task, const int *spare, unsigned n_spare);

/*
 * Ends one former backend of our own by pid, when its application_name still begins with 'pgtide <task> ', and waits.
 */
MUST_USE struct error *state_fence_backend(struct pg_conn *target, const char *task, int pid);

/* The advisory lock of a living task, held until the session ends. *out_taken is false when another session has it. */
MUST_USE struct error *state_lock(struct pg_conn *target, const char *task, bool *out_taken);
