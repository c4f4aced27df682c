/*
 * What the files of a copy worker share: copy_worker.c (the loop over the plan, its sessions), copy_worker_rows.c (jobs
 * that carry rows), copy_worker_entries.c (jobs that build).
 */
#pragma once

#include "base/backoff.h"
#include "worker/copy_worker.h"

struct copy_worker {
    struct copy_crew *crew;
    unsigned number;
    struct thread *thread;
    struct wake *wake;

    struct arena *scratch; /* of the job */
    struct pg_conn *source;
    struct pg_conn *target;
    unsigned build_kb; /* maintenance_work_mem of the target's session; 0: the server's */
    int former_pid;    /* of a lost backend on the target that may still run; 0: none */
    struct backoff backoff;

    struct copy_job *job;
    uint64_t job_rows;     /* counted in the progress, taken back when the job fails */
    bool may_be_committed; /* COMMIT was sent */
};

/* What became of a job that ran without an error. */
enum job_end {
    JOB_END_DONE,
    JOB_END_OPEN,    /* not yet: rows are to be copied */
    JOB_END_AGAIN,   /* nothing was written: the plan has changed under it */
    JOB_END_PUT_OFF, /* TABLE: it was altered, and the target has not followed yet */
};

/* Open and settled, anew where it was lost. */
MUST_USE struct error *copy_worker_open_source(struct copy_worker *w);
MUST_USE struct error *copy_worker_open_target(struct copy_worker *w);

/* (P5) A failed transaction answers ROLLBACK to COMMIT. */
MUST_USE struct error *copy_worker_commit(struct copy_worker *w);

/* Of the job, in the scratch arena. */
const struct copy_source_table **copy_worker_tables(const struct copy_worker *w);

/* TABLE, BUNCH, PART */
MUST_USE struct error *copy_run_rows(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end);

/* An earlier try of the parts left rows, under another snapshot. */
MUST_USE struct error *copy_run_empty(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end);

/* (G2, G3) All parts are committed, all with this one snapshot. */
MUST_USE struct error *copy_run_seal(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end);

MUST_USE struct error *copy_run_build(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end);
MUST_USE struct error *copy_run_analyze(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end);
