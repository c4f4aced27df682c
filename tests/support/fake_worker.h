/*
 * worker/worker.h without servers: what the commands were called with, and answers of the test's choice. For tests of cli.
 * One thread.
 */
#pragma once

#include "model/compare.h"
#include "model/cutover.h"
#include "worker/worker.h"

struct fake_worker {
    /* Given by the test */
    enum error_kind outcome; /* ERROR_KIND_COUNT: success */
    const char *message;
    const struct check_item *items;
    unsigned n_items;
    struct check_repair *repairs; /* of a check with --fix */
    unsigned n_repairs;
    struct leftover *leftovers;
    unsigned n_leftovers;
    const struct difference *difference; /* what worker_compare finds; NULL: both sides are equal */
    const json_t *conflicts;             /* what worker_conflicts answers */
    void (*work)(struct progress *progress, struct stop *stop); /* what a sync does; NULL: nothing */

    /* Seen by the worker */
    unsigned n_calls;
    struct sync_options options; /* of the last call */
    char state_dir[256];
    const char *server;
    enum wait_for wait_for;
    int timeout_ms;
    bool has_force, is_gc, has_fix;
    struct compare_options compare;
    struct cutover_options cutover;
    enum resume_choice choice;
    char instead[64];
    const char *table;
};

extern struct fake_worker fake_worker;
