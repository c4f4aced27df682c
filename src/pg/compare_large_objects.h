/*
 * Compares large objects: what belongs to each (owner, rights, comment), or its contents.
 *
 * Both sides are read page by page in order of their oids and merged, so memory does not grow with the number of objects, and a page
 * costs one round trip. Under the snapshots of the sessions' transactions. One thread.
 */
#pragma once

#include "base/error.h"
#include "model/compare.h"
#include "pg/conn.h"

/* One entry "large object", of kind COMPARE_OBJECTS or COMPARE_VALUES; none where no side has one. */
MUST_USE struct error *compare_large_objects_run(struct pg_conn *source, struct pg_conn *target, enum compare_kind kind,
                                                 struct compare_collector *collector);
