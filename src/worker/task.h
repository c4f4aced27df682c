/*
 * One running sync: what its threads share.
 *
 * Made and freed by the main thread; everything here is set before the threads that read it start, or is an atomic, or has
 * its own lock (progress, spool, wakes). The first error that is not a cancellation decides how the sync ends: whoever
 * finds it hands it to task_fail, which asks all others to stop.
 *
 * Threads: main draws and waits; the orchestrator (worker/sync.c) goes through the phases and owns `arena` while it runs; receiver,
 * feeder with its lane, and monitor are the stream's; the copy workers are copy_jobs'.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/meter.h"
#include "model/options.h"
#include "model/progress.h"
#include "model/snapshot.h"
#include "pg/catalog.h"
#include "pg/chosen.h"
#include "pg/conn.h"
#include "pg/endpoint.h"
#include "pg/left_out.h"
#include "pg/publication.h"
#include "pg/schema.h"
#include "pg/state.h"
#include "ports/store.h"
#include "sys/file.h"
#include "sys/stop.h"
#include "sys/thread.h"
#include "sys/wake.h"
#include "worker/history.h"
#include "worker/task_folder.h"
#include "worker/worker.h"

struct align;
struct selected;
struct commit_log;
struct pace;
struct spool;
struct pg_snapshot_holder;

/* Whether what waits on the source may be read by queries (worker/catch_up.h). */
struct query_trust {
    bool is_gone;      /* the source refused, or sessions broke again and again: no further query */
    bool is_suspended; /* the session before broke while a query ran: the next one is a walsender's from its begin on */
    unsigned broken;   /* sessions that broke so */
};

struct task {
    struct arena *arena;
    const struct sync_options *options;
    struct worker_hooks hooks;
    struct progress *progress;
    struct progress_counters *counters;
    struct stop *stop; /* the orchestrator and what it waits for: requested by the user's stop and by task_fail */
    struct stop *stream_stop; /* receiver, feeder, lane, monitor: likewise, and when everything is applied */

    struct pg_endpoint *source;
    struct pg_endpoint *target;
    const char *pair; /* "a:1/x to b:2/y", for messages */
    const char *folder;
    struct file_lock *lock;
    struct task_record *record;
    _Atomic bool has_record; /* for other threads: the record is there and stays */

    /* Found or made by worker/prepare, before the stream's threads start */
    struct server_facts source_facts;
    struct history history;    /* (P6) of the slot */
    struct left_out *left_out; /* told by whoever makes something on the target */
    struct pg_publication_names publications;
    bool is_binary;        /* the stream's values */
    bool is_test_decoding; /* the slot's plugin: no publication could be made */
    struct snapshot slot_saw;
    bool slot_saw_is_known;
    struct state state;                /* the target's, as of the start */
    struct pg_snapshot_holder *holder; /* of a slot just made; NULL when the synchronization was found */
    struct pg_conn *guard;             /* session on the target that holds the task's advisory lock */
    struct pg_conn *control;           /* session on the source that prepared the start, for the monitor; or NULL */
    struct lsn mark;                   /* written by it: when it is applied the target has caught up; or LSN_NONE */
    struct segment_store spool_store;
    struct spool *spool;

    /* Table level (worker/selecting.h) */
    struct selected *selected; /* of a task that goes on, from its file; else NULL */
    struct chosen *chosen;     /* NULL: the whole database, or not asked for yet */
    const char *
        selection_rules; /* one a line; NULL: the whole database. This and the next two do not change once has_record is set */
    bool selects_dependencies;
    unsigned n_selected;

    /* Set by worker/full before the feeder starts */
    const struct state_relation *relations; /* by source_oid */
    unsigned n_relations;
    const uint32_t *ignored; /* ascending */
    unsigned n_ignored;
    struct schema schema;
    struct schema_target *schema_target;
    bool
        is_whole; /* an earlier run has copied and made everything (full_find_whole): schema and schema_target are empty */
    bool may_be_replica; /* our sessions on the target may set session_replication_role */

    struct query_trust query_trust; /* the receiver's, over all that begins anew */

    struct thread *receiver;
    struct thread *follower;
    struct thread *monitor;
    struct thread *packer;
    struct commit_log *commits; /* as received */
    struct pace *pace;          /* how fast rows may be copied */
    struct align *align;        /* both sides at one position, for comparisons */
    struct wake *news;          /* the spool has more to read, or the lane is idle: for the feeder */
    struct wake *events;        /* something changed that the orchestrator may wait for */
    struct wake *ended;         /* the orchestrator has: for the main thread */
    struct meter meter;         /* the control server's thread alone */

    _Atomic uint64_t durable_lsn; /* of the last commit on the target's disk; the spool is trimmed below it */
    _Atomic uint64_t
        settled_lsn; /* that, or a keepalive beyond it: nothing committed before is missing on that disk (P3, P4) */
    _Atomic uint64_t until_lsn;   /* the feeder takes nothing that ends behind it; 0: no such limit */
    _Atomic bool is_at_until;     /* everything before until_lsn is applied */
    _Atomic bool acks_spool;      /* in spite of --ack target: the source kept too much WAL */
    _Atomic bool leaves_at_until; /* the feeder ends there */
    _Atomic uint64_t awaited_lsn; /* the orchestrator waits for this to be applied; 0: for nothing that apply does */
    _Atomic bool stop_asked;      /* "pgtide stop": finish normally */
    _Atomic uint64_t
        last_change_lsn; /* commit record of the source's newest change of rows; stored before it counts as applied */
    _Atomic uint64_t fence_lsn;      /* (C2) a stop is refused when the source was written to behind it; 0: no fence */
    _Atomic bool is_stop_refused;    /* it was: to be said to who asked */
    _Atomic uint64_t consistent_lsn; /* the newest gate's `upto`; 0 until all tables are copied */
    _Atomic bool is_consistent;      /* everything before it is applied */
    _Atomic bool rows_are_of_one_moment; /* that, with the tables that were put off: foreign keys can be checked */

    pthread_mutex_t mutex; /* of failure, held_cause and retry_cause */
    struct error *failure;
    char *held_cause;  /* applying waits for a decision about a change (worker/hold.h); NULL: it does not */
    char *retry_cause; /* applying was interrupted and is tried again by itself (worker/hold.h); NULL: it goes on */
    _Atomic bool is_retrying;
};

/* Instead of a table's oid: the gate of the structure. What DDL the dump has seen is not run again. */
#define TASK_STRUCTURE 0

/* (G2) The gate of a copied table of the source; NULL for one that was made later. */
const struct gate *task_gate(const struct task *t, uint32_t oid);

/* Tables that were there at the copy and are not part of it: members of extensions, and what was dropped before it was copied. */
bool task_ignores(const struct task *t, uint32_t oid);

/* The sessions' application_name: "pgtide <task id> <role>". In `a`. */
char *task_session_name(struct arena *a, const struct task *t, const char *role);

/* Takes `err` (may be NULL). The first one is kept and asks all threads to stop; a cancellation is only let go. */
void task_fail(struct task *t, struct error *err);

/* What task_fail kept, given away; NULL when nothing failed. */
struct error *task_take_failure(struct task *t);

/* The receiver has the COMMIT of a transaction that ends at `end`. Where a limit is set, what lies beyond it is nobody's delay. */
void task_commit_came(const struct task *t, struct lsn end, int64_t committed_us);

/* Sessions with ordinary statements; `stop` is t->stop or t->stream_stop, whichever ends the caller. Try until it works. */
MUST_USE struct error *task_connect_source(const struct task *t, const char *role, const struct stop *stop,
                                           struct pg_conn **out_conn);
MUST_USE struct error *task_connect_target(const struct task *t, const char *role, const struct stop *stop,
                                           struct pg_conn **out_conn);

/*
 * Writes a marker into the source's WAL (a logical message in a transaction of its own). Everything committed on the source before the
 * call is applied when counters->applied_lsn has reached *out_lsn. On a standby, where nothing can be written: what it has replayed.
 */
MUST_USE struct error *task_mark(struct pg_conn *source, struct lsn *out_lsn);
