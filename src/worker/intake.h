/*
 * Between the source's stream and the spool, which takes only whole transactions in the order of their commits.
 *
 * pgoutput: what comes whole goes to the spool as it came; pieces of a transaction in progress wait (sync/assembly) until its
 * STREAM COMMIT. test_decoding: messages are translated to pgoutput's (pg/test_decoding), each transaction waits until its COMMIT says
 * where it ends. What waited goes to the spool in one go.
 *
 * The receiver's thread alone.
 */
#pragma once

#include "base/error.h"
#include "model/lsn.h"
#include "worker/task.h"

struct intake;

struct intake_options {
    const struct task *task;

    /* Giving a huge transaction to the spool takes long: called now and then, so that the source hears of us; its error ends it. */
    MUST_USE struct error *(*breathe)(void *self);
    void *self;
};

/* Waiting transactions lie in the folder `held` of the task's folder; what a dead process left there is removed. */
MUST_USE struct error *intake_open(struct intake_options options, struct intake **out_intake);
void intake_close(struct intake *in);
DEFINE_CLEANUP(struct intake, intake_close);

/* A new session of the source: it describes every table anew and sends unfinished transactions again. */
MUST_USE struct error *intake_restart(struct intake *in);

/* After an error the session must end (intake_restart). */
MUST_USE struct error *intake_take(struct intake *in, const char *bytes, size_t length, struct lsn at,
                                   int64_t received_us);

/*
 * (P4) A transaction waits for its COMMIT, which lies before the WAL that a keepalive now speaks of. Not so for pieces of a
 * transaction in progress: its COMMIT is still to be written, and after a restart all of it comes again.
 */
bool intake_is_waiting(const struct intake *in);

/* On disk, beside the spool. */
uint64_t intake_stored_bytes(const struct intake *in);
