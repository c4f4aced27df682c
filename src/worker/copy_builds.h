/*
 * How far the indexes, constraints and statistics of a copy are: the progress's index step, in what they cost (model/cost).
 *
 * A thing to build is an entry or the statistics of a table. What it is credited with only rises, whatever is built again. While one is
 * built the server says how far it is (pg/build_progress); that never makes it whole: being built does.
 */
#pragma once

#include "pg/conn.h"
#include "worker/copy_jobs.h"

struct copy_builds;
struct copy_credit;

/* Lives in `a`. */
struct copy_builds *copy_builds_new(struct arena *a, const struct copy_jobs_options *options);

/* Entries at their place, the statistics of tables behind them. */
uint32_t copy_builds_entry(uint32_t place);
uint32_t copy_builds_statistics(const struct copy_builds *b, uint32_t table);

/* What all of it costs. */
uint64_t copy_builds_total(const struct copy_builds *b);

/* A worker (from 1) begins with this, in a session of this process of the server; COPY_NONE: with nothing. Thread-safe. */
void copy_builds_begin(struct copy_builds *b, unsigned worker, int pid, uint32_t what);

/* It is there, by this run or an earlier one. Thread-safe. */
void copy_builds_credit(struct copy_builds *b, uint32_t what);

/* Asks the server. By one thread. */
MUST_USE struct error *copy_builds_ask(struct copy_builds *b, struct pg_conn *target, struct arena *scratch);

/*
 * Shows what is at work and not counted, and the longest chain: what is left of the table that will take longest, `credits` being what there
 * is of its rows. By one thread.
 */
void copy_builds_show_left(struct copy_builds *b, const struct copy_credit *credits, struct arena *scratch);
