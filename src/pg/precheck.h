/*
 * Everything that can be known before anything is begun: a table of checks, each with its reason, objects and fix.
 *
 * Opens its own sessions, changes nothing anywhere. The report lives in the arena; showing it is the caller's.
 */
#pragma once

#include <stdbool.h>

#include "model/check.h" /* what a finding is: shared with cli, which shows it */
#include "model/options.h"
#include "pg/chosen.h"
#include "pg/conn.h"

struct precheck_report {
    unsigned n_items;
    struct check_item *items;
    unsigned n_alarms;
    unsigned n_failed;
    struct chosen *chosen;  /* NULL: the whole database, or the source could not be asked */
    bool target_is_missing; /* the target's database is to be created */
};

struct precheck_options {
    const struct pg_endpoint *source;
    const struct pg_endpoint *target;
    const struct sync_options *sync; /* policies, skip_checks, publication, slot */
    struct selection *selection;     /* NULL: the whole database */
    const struct stop *stop;
};

/*
 * What cannot be asked is an item that FAILED, with one exception: where a server has answered and the connection is lost then, all
 * is asked again for a minute, and then comes ERROR_TRANSIENT. ERROR_USAGE: unknown id to skip.
 */
MUST_USE struct error *precheck_run(struct arena *a, struct precheck_options options, struct precheck_report *out);

/*
 * Runs what is safe of what mends the findings (check_item.repairs) that failed or are alarms nobody accepted: grants, REPLICA
 * IDENTITY FULL, updates of extensions. Never what restarts a server, touches its configuration, ends a session or drops
 * anything. Waits three seconds at most for a lock. What fails is told with its repair.
 */
MUST_USE struct error *precheck_mend(struct arena *a, struct precheck_options options,
                                     const struct precheck_report *report, struct check_repair **out_repairs,
                                     unsigned *out_n);

/* ERROR_USAGE, with the nearest name, when --accept or --skip-check names what is no check. */
MUST_USE struct error *precheck_names_known(const struct sync_options *options);

/* The ids, for help texts; NULL-terminated. */
const char *const *precheck_ids(void);
