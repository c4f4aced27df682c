/*
 * Where DDL is not carried (no right to make event triggers, --no-ddl, a given publication), what was changed about the source's tables
 * is found by looking: the file `structure` of the state folder holds them as they were dumped.
 *
 * Nothing is guessed: a change that the target does not have, too, ends the sync and is named. `--accept structure-drift` takes what is
 * there at the start as it is. Whoever holds the state folder's lock may write the file; one thread at a time.
 */
#pragma once

#include "worker/task.h"

/* Remembers the structure as the connection's snapshot shows it. */
MUST_USE struct error *drift_remember(struct task *t, struct pg_conn *source);

/* ERROR_CONFIG names what is different. With `may_accept` the user's --accept counts. Does nothing where DDL is carried. */
MUST_USE struct error *drift_check(struct task *t, struct pg_conn *source, bool may_accept);

/* A file of an earlier task. */
MUST_USE struct error *drift_forget(const char *folder);
