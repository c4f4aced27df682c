/*
 * `pgtide compare`: are two live databases equal?
 *
 * While a sync of the pair runs, both sides are read as of one position of the source (worker/align.h): the answer is exact (C1).
 * Without one two snapshots are compared, and the result says whether either side moved meanwhile.
 *
 *     align -> every worker imports both snapshots -> release (apply goes on) -> compare -> [repair -> align -> compare again]
 *
 * A repair runs while apply is kept standing at one position: what it writes is what the source had there, and nothing else
 * writes. It is one transaction a table.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/compare.h"
#include "model/options.h"
#include "sys/stop.h"

/*
 * The result lives in `a`. What `stop` interrupts is no error: the result says so and has what was found. The sink sees every
 * difference of the first comparison and, after a repair, those that are left.
 */
MUST_USE struct error *worker_compare(const struct sync_options *options, const struct compare_options *compare,
                                      struct compare_sink sink, struct compare_progress *progress, struct arena *a,
                                      struct stop *stop, struct compare_result *out);
