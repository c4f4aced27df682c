/*
 * Everything before the first thread of the stream: sessions, the target's database and state, publication, slot, snapshot, spool.
 *
 * A synchronization is made once and then found again. (R1) What is about to be made is in the task file before it is made. (G1)
 * Publication, then slot, then snapshots. (P6) What is found is compared with what was recorded before anything is read from it.
 */
#pragma once

#include "pg/precheck.h"
#include "worker/task.h"

/* Runs the precheck and marks what the options accept. */
MUST_USE struct error *prepare_report(struct arena *a, struct precheck_options options, struct precheck_report *out);

/* ERROR_REFUSED, naming the items, unless a synchronization may begin. */
MUST_USE struct error *prepare_judge(struct arena *a, const struct precheck_report *report);

/*
 * The main thread: precheck of a synchronization that is to begin; hands the report to hooks.checked. *out_chosen is what the
 * selection (NULL: the whole database) chooses.
 */
MUST_USE struct error *prepare_check(struct task *t, struct arena *a, struct selection *selection,
                                     struct chosen **out_chosen);

/* True when the task file speaks of a synchronization that can go on. */
bool prepare_finds_task(const struct task *t);

/*
 * The orchestrator: makes or finds, until the spool is open and t->state says what the target has. For --type full there is no spool,
 * the snapshot is an ordinary one, and nothing is made on the source.
 */
MUST_USE struct error *prepare_run(struct task *t);

/* Closes what prepare_run opened, so that it may be called again. */
void prepare_forget(struct task *t);

/* t->guard, made again when the target was restarted since. Of the orchestrator alone. */
MUST_USE struct error *prepare_guard(struct task *t, struct pg_conn **out_conn);
