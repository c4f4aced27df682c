/*
 * The conflict log outside of the target: it survives a normal stop as file `conflicts` of the state folder, a JSON document
 * a line (docs/json.md).
 */
#pragma once

#include "base/error.h"
#include "worker/task.h"

/* Copies the log before the schema on the target is dropped; keeps an earlier copy when there is nothing to copy. */
MUST_USE struct error *conflicts_export(const struct task *t);

/* Removes the copy of an earlier task; a missing one is fine. */
MUST_USE struct error *conflicts_forget(const char *folder);
