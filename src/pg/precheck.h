/*
 * Everything that can be known before anything is begun: a table of checks, each with its reason, objects and fix.
 *
 * Opens its own sessions, changes nothing anywhere. The report lives in the arena; showing it is the caller's.
 */
#pragma once

#include <stdbool.h>

#include "model/options.h"
#include "pg/conn.h"

enum check_result {
    CHECK_PASSED,
    CHECK_ALARM,   /* must be accepted */
    CHECK_FAILED,  /* nothing may start */
    CHECK_NOT_RUN, /* skipped by the user, or a check that it needs failed: see reason; counts as neither */
    CHECK_RESULT_COUNT,
};

/* "passed", "alarm", "failed", "not run" */
const char *check_result_name(enum check_result r);

struct check_item {
    const char *id; /* "source-wal-level" */
    const char
        *group; /* network, version, privilege, parameter, target state, object conflict, source facts, program */
    const char *title; /* "Source writes logical WAL" */
    enum check_result result;
    const char *reason;         /* a sentence; never NULL */
    const char *const *objects; /* the first 50 concerned, NULL-terminated; never NULL */
    unsigned n_objects;         /* all */
    const char *fix;            /* SQL or setting that mends it; NULL when there is none or nothing to mend */
    bool fix_on_source;         /* where `fix` runs */
};

struct precheck_report {
    unsigned n_items;
    struct check_item *items;
    unsigned n_alarms;
    unsigned n_failed;
    bool target_is_missing; /* the target's database is to be created */
};

struct precheck_options {
    const struct pg_endpoint *source;
    const struct pg_endpoint *target;
    const struct sync_options *sync; /* policies, skip_checks, publication, slot */
    const struct stop *stop;
};

/* An error only for ERROR_CANCELLED and bugs: what cannot be asked is an item that FAILED. ERROR_USAGE: unknown id to skip. */
MUST_USE struct error *precheck_run(struct arena *a, struct precheck_options options, struct precheck_report *out);

/* The ids, for help texts and for checking --accept; NULL-terminated. */
const char *const *precheck_ids(void);
