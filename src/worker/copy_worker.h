/*
 * One thread of the copy (worker/copy_jobs.h is what others see): two sessions, one job after the other.
 */
#pragma once

#include "worker/copy_crew.h"

/*
 * Its number, from 1, is its name in pg_stat_activity ("pgtide … copy 1") and its slot in the progress. All of a crew
 * are made before the first is started, because they ring each other; freed after all are joined.
 */
MUST_USE struct error *copy_worker_new(struct arena *a, struct copy_crew *crew, unsigned number,
                                       struct copy_worker **out_worker);
void copy_worker_free(struct copy_worker *w);
MUST_USE struct error *copy_worker_start(struct copy_worker *w);

/* NULL, too, for one that was not started. */
MUST_USE struct error *copy_worker_join(struct copy_worker *w);

/* Makes it look at the plan again. */
void copy_worker_ring(struct copy_worker *w);
