/*
 * How far a sync is: the one source of what the display, --json and status show. It never lies: every number is counted where
 * the thing happens, percentages only rise, 100 is reached only when the phase is done.
 *
 * The counters are atomics: any thread adds, any thread reads (relaxed). The rest is guarded inside. One object a process,
 * made by worker, read by control and cli. Thread-safe.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "model/lsn.h"

/* In this order; a task that only follows skips to INCREMENTAL. */
enum phase {
    PHASE_STARTING,    /* connecting, prechecks, publication, slot, snapshot */
    PHASE_STRUCTURE,   /* schemas, types, functions, tables … restored */
    PHASE_DATA,        /* rows copied; indexes of finished tables are built meanwhile */
    PHASE_INDEX,       /* the remaining indexes and constraints */
    PHASE_CATCH_UP,    /* changes since the first snapshot are applied */
    PHASE_OBJECTS,     /* foreign keys, triggers, rules, views …, while changes are applied */
    PHASE_INCREMENTAL, /* following */
    PHASE_STOPPING,    /* sequences, cleaning up */
    PHASE_COMPLETED,
    PHASE_COUNT,
};

enum step_state {
    STEP_WAITING,
    STEP_RUNNING,
    STEP_DONE,
};

/* One of the four full phases (structure, data, index, objects): work done of work known. */
struct progress_step {
    /* structure: entries; data: bytes as the source estimated them; index, objects: their cost (model/cost), counted while they are made */
    _Atomic uint64_t done;
    _Atomic uint64_t total;
    _Atomic uint64_t entries_done, entries_total; /* index, objects: how many */
    _Atomic int state;                            /* enum step_state */
    _Atomic int shown;                            /* what progress_step_percent said, in tenths */
};

/* What the full phase consists of, by who does it and at what speed (model/forecast). */
enum work_kind {
    WORK_ROWS,    /* tables */
    WORK_BUILD,   /* indexes, constraints, statistics */
    WORK_OBJECTS, /* foreign keys, triggers …: one after the other */
    WORK_KINDS,
};

/* One table or index being worked on. */
struct progress_item {
    char name[160]; /* "schema.table", shortened, or "index schema.name" */
    uint64_t rows;
    uint64_t bytes;
    uint64_t bytes_expected;
};

enum { PROGRESS_ITEMS_MAX = 64 };

struct progress;

struct progress_counters {
    struct progress_step structure, data, index, objects;
    struct progress_step whole; /* data, index and objects: in milliseconds, as model/forecast weighs them */
    _Atomic uint64_t tables_done, tables_total;
    _Atomic uint64_t large_objects_done, large_objects_total; /* their bytes are of the data step */
    _Atomic unsigned workers;                                 /* of the copy */
    _Atomic unsigned at_work[WORK_KINDS];                     /* how many are at such a job just now */
    _Atomic uint64_t uncounted[WORK_KINDS];                   /* cost of what they are at that is not in `done` yet */
    _Atomic uint64_t
        chain[WORK_OBJECTS];   /* cost left of the table that has most: what no further worker would shorten */
    _Atomic uint64_t paced_ms; /* workers waited so long, all together, because of the limit of speed */
    _Atomic uint64_t rows_copied, bytes_copied; /* bytes as they passed through us */
    _Atomic int64_t started_us;                 /* clock_now_us */

    /* The stream; positions are LSNs */
    _Atomic uint64_t received_lsn; /* last WAL position heard of */
    _Atomic uint64_t spooled_lsn;  /* durable in the spool */
    _Atomic uint64_t applied_lsn;  /* all committed before it is applied; keepalives move it, not what is stored (P4) */
    _Atomic uint64_t source_lsn;   /* the source's WAL insert position when last asked */
    _Atomic uint64_t transactions_received, transactions_applied, rows_applied;
    _Atomic uint64_t transactions_before; /* of those applied, by earlier starts: their rows nobody counted */
    _Atomic uint64_t windows_fast, windows_slow;
    _Atomic uint64_t windows_divided; /* of the fast ones: over several lanes */
    _Atomic uint64_t conflicts;
    _Atomic uint64_t changes_left_out; /* received since the start, of tables that are not part of the task */

    /* The delay; progress_delay makes one of these. Times of commits are by the source's clock. */
    _Atomic int64_t delay_us;   /* source commit -> target commit of the newest one; 0 when nothing is left to apply */
    _Atomic int64_t pending_us; /* when the oldest one that is here and not applied was committed; 0: none */
    _Atomic int64_t arrived_us; /* progress_commit_came: when that one was committed, */
    _Atomic uint64_t arrived_lsn;    /* and where it ends: it counts until it is applied */
    _Atomic int64_t receive_us;      /* source commit -> received here, of the newest one */
    _Atomic int64_t unheard_us;      /* clock_now_us from when on the source has WAL that has not come; 0: none */
    _Atomic int64_t clock_offset_us; /* the source's clock minus ours */

    _Atomic uint64_t spool_bytes;
    _Atomic uint64_t slot_retained_bytes; /* WAL the source keeps for our slot */
    _Atomic uint64_t broken_keys; /* foreign keys that rows of the source break: left out or NOT VALID on the target */
    _Atomic uint64_t statements_left_out; /* that the target could not take: pg/left_out.h */
    _Atomic bool is_once;                 /* --type full: nothing is made on the source */
    _Atomic uint64_t compared_entries;    /* --type full: kinds of objects and tables compared at the end, */
    _Atomic uint64_t compared_different;  /* and those not found equal */
    _Atomic uint64_t max_rate_mb;         /* the copy's limit now, MB/s; 0: none */
    _Atomic int64_t snapshot_since_us;    /* by base/clock: when the copy's snapshot was taken; 0: none is held */
    _Atomic int64_t slot_growth;          /* of that, bytes a second over the last minute; 0: none, or not known yet */
    _Atomic uint64_t slot_room_bytes;     /* WAL until the source removes what the slot needs; 0: no such limit */
    _Atomic int64_t slot_seconds_left;    /* until then at that growth; 0: not known, or never */
    _Atomic bool is_paused;               /* applying is; receiving goes on */
    _Atomic bool is_stopped;              /* applying waits for a decision about a change; likewise */
};

/* Lives in `a`. */
struct progress *progress_new(struct arena *a);
struct progress_counters *progress_counters(struct progress *p);

enum phase progress_phase(struct progress *p);
void progress_set_phase(struct progress *p, enum phase phase);

/* Where the statements that were left out are written. By the thread that owns the arena. NULL: nowhere yet. */
void progress_set_left_out_file(struct progress *p, const char *path);
const char *progress_left_out_file(struct progress *p);

const char *phase_name(enum phase phase);

/*
 * A worker shows what it is at: a slot of its own, 0 to PROGRESS_ITEMS_MAX - 1. A name that is too long is cut between
 * characters of UTF-8 and ends in "…".
 */
void progress_item_begin(struct progress *p, unsigned slot, const char *name, uint64_t bytes_expected);
void progress_item_add(struct progress *p, unsigned slot, uint64_t rows, uint64_t bytes);
void progress_item_end(struct progress *p, unsigned slot);

/* The items being worked on now, copied. Returns how many. */
unsigned progress_items(struct progress *p, struct progress_item *out, unsigned max);

/*
 * How far the target is behind the source in time. It grows while a transaction is being applied or cannot be, and while the
 * source has what does not come; 0 when everything is applied, however long ago the last commit was. Clocks may differ.
 */
struct progress_delay {
    int64_t total_us;   /* commit on the source -> commit on the target */
    int64_t receive_us; /* of that: until it is here. What a loss of the source would cost (RPO) */
    int64_t apply_us;   /* the rest (RTO) */
};

/*
 * A COMMIT came, and what it commits is not yet where it could be applied: to bring a huge transaction there takes long. Only the first
 * one that is not applied counts. By one thread.
 */
void progress_commit_came(struct progress_counters *c, struct lsn end, int64_t committed_us);

struct progress_delay progress_delay(const struct progress_counters *c);

/*
 * 0 to 100 in whole tenths, rounded down; 100 only when the step is done; never less than what it said before, also when
 * the total turned out larger. Print it with %.1f: %.0f would round 99.9 up.
 */
double progress_step_percent(struct progress_step *s);
