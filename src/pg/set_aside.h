/*
 * Constraints of the target that are NOT VALID, out of the way while rows are copied into their tables.
 *
 * Where the target follows DDL they must be there whenever a statement of the source is run, and a COPY would hold all rows to them, the old ones
 * that they were never checked for, too. What is taken away is written down in `pgtide.aside` in the same transaction, so a kill in between
 * costs nothing: whoever goes on puts it back before anything else. Statements of the caller's session, in transactions of their own.
 */
#pragma once

#include "base/arena.h"
#include "pg/conn.h"

/* `names`: tables, "schema.table" quoted; one that is not there has none. *out_n: how many were taken away. */
MUST_USE struct error *set_aside_take(struct pg_conn *target, const char *task, const char *const *names,
                                      unsigned n_names, unsigned *out_n);

/* All that were taken away by this task; nothing when there are none. */
MUST_USE struct error *set_aside_put_back(struct pg_conn *target, const char *task);
