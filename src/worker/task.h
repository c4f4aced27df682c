/*
 * One running sync: what its threads share.
 *
 * Made and freed by the main thread; everything here is set before the threads that read it start, or is an atomic, or has
 * its own lock (progress, spool, wakes). The first error that is not a cancellation decides how the sync ends: whoever
 * finds it hands it to task_fail, which asks all others to stop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/options.h"
#include "model/progress.h"
#include "pg/conn.h"
#include "pg/endpoint.h"
#include "sys/file.h"
#include "sys/stop.h"
#include "sys/wake.h"
#include "worker/task_folder.h"
#include "worker/worker.h"

struct spool;

struct task {
    struct arena *arena; /* the main thread's, then the orchestrator's; others have their own */
    const struct sync_options *options;
    struct worker_hooks hooks;
    struct progress *progress;
    struct progress_counters *counters;
    struct stop *stop; /* of this sync's threads: requested by the user's stop and by task_fail */

    struct pg_endpoint *source;
    struct pg_endpoint *target;
    const char *pair; /* "a:1/x -> b:2/y", for messages */
    const char *folder;
    struct file_lock *lock;
    struct task_record *record;
    const char *encoding; /* the source's server encoding: client_encoding on both sides */
    int source_version;   /* 150018 */

    struct spool *spool;
    struct wake *news;   /* the spool has more to read, or the lane is idle: for the feeder */
    struct wake *events; /* something changed that the orchestrator waits for */

    _Atomic uint64_t durable_lsn;    /* on the target's disk; the spool is trimmed below it */
    _Atomic uint64_t received_first; /* end of the slot's consistent point: where the stream begins */
    _Atomic uint64_t until_lsn;      /* the feeder takes nothing that ends behind it; 0: no such limit */
    _Atomic bool is_at_until;        /* it saw one that does, or the stream passed it */
    _Atomic bool stop_asked;         /* "pgtide stop": finish normally */
    _Atomic bool is_consistent;      /* the stream has passed the newest gate */
    _Atomic int64_t clock_offset_us; /* the source's clock minus ours */

    pthread_mutex_t mutex; /* of failure */
    struct error *failure;
};

/* The sessions' application_name: "pgtide <task id> <role>". In `a`. */
char *task_session_name(struct arena *a, const struct task *t, const char *role);

/* Takes `err` (may be NULL). The first one that is no cancellation is kept; every one asks all threads to stop. */
void task_fail(struct task *t, struct error *err);

/* What task_fail kept, given away; NULL when nothing failed. */
struct error *task_take_failure(struct task *t);

MUST_USE struct error *task_connect_source(struct task *t, const char *role, struct pg_conn **out_conn);
MUST_USE struct error *task_connect_target(struct task *t, const char *role, struct pg_conn **out_conn);
