/*
 * The status document: what `pgtide status --json` prints and what the control command "status" answers. Its fields are
 * documented in docs/json.md; the progress events of `sync --json` have the same ones.
 *
 * Built from the counters of model/progress.h and a few facts that only the worker knows. Without a running sync the
 * worker fills a struct progress with what the state folder and the target say.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "model/meter.h"
#include "model/progress.h"

enum status_state {
    STATUS_NONE,        /* nothing is known of this pair */
    STATUS_RUNNING,     /* shown as the phase says: starting, full, incremental, stopping, completed */
    STATUS_INTERRUPTED, /* resumable, nobody runs */
    STATUS_FAILED,      /* likewise, and `problem` says why it ended */
    STATUS_COMPLETED,   /* stopped in the ordinary way */
};

/* Texts may be NULL; source and target are names for people, without passwords. */
struct status_facts {
    enum status_state state;
    int pid; /* 0: none */
    const char *task;
    const char *source, *target;
    const char *slot, *publication;
    const char *state_folder;
    const char *problem;
    const char *selection; /* rules, one a line; NULL: the whole database */
    bool with_dependencies;
    unsigned n_selected; /* tables, views, materialized views, sequences and foreign tables */
};

/* New reference. `progress` and `reading` may be NULL when nothing is known. */
json_t *status_document(const struct status_facts *facts, struct progress *progress,
                        const struct meter_reading *reading);

/* Adds the counters alone to an object: "phase", "steps", "tables", … */
void status_add_progress(json_t *document, struct progress *progress, const struct meter_reading *reading);

/* starting, full, incremental, stopping, completed (SPEC section 8) */
const char *status_phase_state(enum phase phase);

/* Likewise, or paused, or stopped (at a change, held): of a sync that runs. */
const char *status_running_state(struct progress *p);
