/*
 * Reading the conflict log of a task from the target (A4); pg/target writes it, in the transactions that it speaks of.
 *
 * The log goes with the schema `pgtide` at a normal stop; whoever stops reads it first.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"

/*
 * Calls `take` for each conflict in the order in which they were recorded, with its JSON document (docs/json.md) on one line, good for
 * the call. `table` is "schema.table", "table" or NULL for all. Nothing when there is no such task or schema. The session
 * should have client_encoding UTF8, which JSON is in.
 */
MUST_USE struct error *conflict_log_read(struct pg_conn *target, const char *task, const char *table,
                                         struct error *(*take)(void *self, const char *document), void *self);
