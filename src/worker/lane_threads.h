/*
 * The crew of sync/lanes.h: a thread for each lane but the first, which is the caller's.
 */
#pragma once

#include "base/error.h"
#include "sync/lanes.h"

struct lane_threads;

MUST_USE struct error *lane_threads_start(unsigned n_lanes, struct lane_threads **out_threads);

/* Waits for their end. No job may run. */
void lane_threads_stop(struct lane_threads *t);
DEFINE_CLEANUP(struct lane_threads, lane_threads_stop);

struct lane_crew lane_threads_crew(struct lane_threads *t);
