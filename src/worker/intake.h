/*
 * Between the stream of test_decoding and the spool: messages are translated to pgoutput's (pg/test_decoding), each
 * transaction waits until its COMMIT says where it ends (sync/assembly), then goes to the spool in one go.
 *
 * The receiver's thread alone.
 */
#pragma once

#include "base/error.h"
#include "model/lsn.h"
#include "worker/task.h"

struct intake;

/* Waiting transactions lie in the folder `held` of the task's folder; what a dead process left there is removed. */
MUST_USE struct error *intake_open(const struct task *t, struct intake **out_intake);
void intake_close(struct intake *in);
DEFINE_CLEANUP(struct intake, intake_close);

/* A new session of the source: it describes every table anew and sends unfinished transactions again. */
MUST_USE struct error *intake_restart(struct intake *in);

/* After an error the session must end (intake_restart). */
MUST_USE struct error *intake_take(struct intake *in, const char *bytes, size_t length, struct lsn at,
                                   int64_t received_us);

/* (P4) A transaction waits for its COMMIT: a keepalive now may speak of positions inside it. */
bool intake_is_waiting(const struct intake *in);
