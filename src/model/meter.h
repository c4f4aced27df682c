/*
 * From counters to rates and to the time that is left: what the display, --json and status say beside the counts.
 *
 * A meter samples a struct progress now and then (from four times a second to once in some seconds) and keeps the last
 * ten seconds. Rates are over that window; the time left of a step comes from a rate that forgets slowly, that of the indexes and of the
 * whole from model/forecast; none is told before the step has run for three seconds. A plain value, zeroed before use; not thread-safe: who shares it locks it. Times are
 * by base/clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/forecast.h"
#include "model/progress.h"

/* What has a percentage: the four steps of the full phase, then the catch-up, which is measured in WAL behind. */
enum meter_step {
    METER_STRUCTURE,
    METER_DATA,
    METER_INDEX,
    METER_OBJECTS,
    METER_FULL_STEPS,
    METER_CATCH_UP = METER_FULL_STEPS,
    METER_STEPS,
};

enum { METER_SAMPLES = 48 };

struct meter_sample {
    int64_t at_us;
    uint64_t rows_copied, bytes_copied;
    uint64_t transactions_applied, rows_applied;
    uint64_t step_done[METER_FULL_STEPS];
    uint64_t wal_behind;
};

struct meter {
    struct meter_sample samples[METER_SAMPLES]; /* a ring; the newest is at (n_taken - 1) % METER_SAMPLES */
    uint64_t n_taken;
    struct {
        int64_t since_us;  /* when the step was first seen running; 0: not yet */
        double per_second; /* decayed */
    } steps[METER_STEPS];
    struct forecast forecast;
    int64_t whole_since_us; /* as steps[].since_us */
};

struct meter_reading {
    bool has_rates; /* false until there are two samples */
    double rows_copied_per_s, bytes_copied_per_s;
    double transactions_per_s, rows_applied_per_s;
    bool has_wal_behind;               /* both positions are known */
    uint64_t wal_behind;               /* bytes of the source's WAL that are not applied yet */
    int64_t seconds_left[METER_STEPS]; /* -1: not known */
    int64_t
        whole_seconds_left; /* of the full phase: data, indexes, objects, and of the catch-up between them what is known */
};

/* Calls less than 0.2 s after the last sample do nothing. Weighs progress_counters' `whole` anew. */
void meter_sample(struct meter *m, struct progress *p);
struct meter_reading meter_read(const struct meter *m, struct progress *p);

/* structure, data, index, objects */
const char *meter_step_name(enum meter_step step);
struct progress_step *meter_progress_step(struct progress *p, enum meter_step step);

/* How many things a step is about: entries of the dump, tables. */
struct meter_entries {
    uint64_t done, total;
};
struct meter_entries meter_entries(struct progress *p, enum meter_step step);
