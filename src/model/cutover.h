/*
 * A cutover as values: what was asked for, its steps, what came of them. Done by worker/cutover, shown by cli.
 *
 * A report's texts live in the arena that worker_cutover was given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/check.h"

struct cutover_options {
    bool freeze;
    bool refresh_matviews;
    bool compares;                    /* the values of tables */
    const char *const *compare_rules; /* which, as sync_options.select; NULL: all */
    bool is_dry_run;                  /* look and plan, change nothing, start nothing */
    bool undo; /* only put the source back as it was before a freeze, also after a cutover that came to its end */
    unsigned downtime_s; /* give up and undo when writes stood still for longer; 0: no limit */
};

enum cutover_step {
    CUTOVER_ANALYZE,
    CUTOVER_FREEZE,
    CUTOVER_MARKER,
    CUTOVER_SEQUENCES,
    CUTOVER_LARGE_OBJECTS,
    CUTOVER_MATVIEWS,
    CUTOVER_COMPARE,
    CUTOVER_STOP,
    CUTOVER_STEP_COUNT,
};

enum cutover_state {
    CUTOVER_LEFT_OUT, /* was not asked for */
    CUTOVER_PLANNED,
    CUTOVER_RUNNING,
    CUTOVER_DONE,
    CUTOVER_FAILED,
    CUTOVER_STATE_COUNT,
};

struct cutover_step_report {
    enum cutover_state state;
    int64_t elapsed_us;
    const char *detail; /* what came of it: "12 sequences"; NULL */
};

enum cutover_outcome {
    CUTOVER_NOT_BEGUN, /* dry run, or not confirmed */
    CUTOVER_COMPLETED,
    CUTOVER_UNDONE,    /* it failed or was interrupted, and the source is as it was */
    CUTOVER_LEFT_HALF, /* it failed, and what is left is in the error */
    CUTOVER_OUTCOME_COUNT,
};

struct cutover_report {
    const struct check_item *items; /* the checklist as it was last looked at */
    unsigned n_items;
    struct cutover_step_report steps[CUTOVER_STEP_COUNT];
    enum cutover_outcome outcome;
    int64_t downtime_us;  /* for how long nobody could write: from the freeze to the end of the stop */
    const char *position; /* of the end, on the source; NULL before the marker */
    bool is_frozen;       /* the source's transactions are read-only by default still */
};

const char *cutover_step_name(enum cutover_step step);        /* "large-objects" */
const char *cutover_step_description(enum cutover_step step); /* what it will do, for people, without a full stop */
const char *cutover_state_name(enum cutover_state state);     /* "left-out" */
const char *cutover_outcome_name(enum cutover_outcome outcome);
