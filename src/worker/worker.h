/*
 * The commands of the one-shot command line, as functions: what cli calls and bin wires.
 *
 * All run in the calling thread and return when the command is done. `stop` ends each of them early with ERROR_CANCELLED;
 * a sync is then resumable by the same call. Kinds of error and what they mean for the exit status: control of that is
 * cli's (ERROR_USAGE 2, ERROR_REFUSED 3, ERROR_CANCELLED 130, any other 1).
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/check.h"
#include "model/options.h"
#include "model/progress.h"
#include "sys/stop.h"

struct worker_hooks {
    void *self;
    void (*tick)(void *self); /* about five times a second, from the calling thread: the display; NULL for none */
    /* The precheck's findings, before anything is made. Once; also when it refuses. */
    void (*checked)(void *self, const struct check_item *items, unsigned n);
};

/* Precheck, full, incremental, until options->until says so; a second call with the same pair goes on where the first was. */
MUST_USE struct error *worker_sync(const struct sync_options *options, struct progress *progress, struct stop *stop,
                                   struct worker_hooks hooks);

/*
 * Only the precheck. With `fix` what is safe is mended first (pg/precheck.h), and all asked again. *out live in `a`. ERROR_REFUSED when
 * something failed or an alarm was not accepted; then they are set all the same.
 */
MUST_USE struct error *worker_check(const struct sync_options *options, bool fix, struct arena *a, struct stop *stop,
                                    struct check_findings *out);

/*
 * The status document (control/status.h): the running sync's own answer; without one, what the state folder and the target
 * say. New reference: json_decref it.
 */
MUST_USE struct error *worker_status(const struct sync_options *options, struct stop *stop, json_t **out_document);

enum wait_for {
    WAIT_INCREMENTAL,
    WAIT_CAUGHT_UP, /* all that was committed on the source at the call is applied */
};

/* ERROR_CONFIG when no sync of the pair runs or it ends while we wait; ERROR_TRANSIENT when `timeout_ms` (-1: none) ran out. */
MUST_USE struct error *worker_wait(const struct sync_options *options, enum wait_for what, int timeout_ms,
                                   struct stop *stop);

/*
 * Normal stop: what was committed on the source at the call is applied, sequences set, slot and all else that pgtide made removed. Talks to the
 * running sync or, without one, goes on with it in this process until then. `force` removes without applying.
 */
MUST_USE struct error *worker_stop(const struct sync_options *options, bool force, struct progress *progress,
                                   struct stop *stop, struct worker_hooks hooks);

/*
 * Applying stands still from now on, between two transactions, or goes on; receiving goes on, so the source keeps no WAL for it. The
 * next start is paused as well. ERROR_CONFIG when none runs.
 */
MUST_USE struct error *worker_pause(const struct sync_options *options, struct stop *stop);

enum went_on {
    WENT_ON_NOTHING, /* none runs that stands still */
    WENT_ON_PAUSED,
    WENT_ON_STOPPED, /* at a change, with the decision */
};

/* Lets a running sync whose applying stands still go on. With a choice only one that stopped at a change (--on-stop hold). */
MUST_USE struct error *worker_go_on(const struct sync_options *options, struct resume_decision decision,
                                    struct stop *stop, enum went_on *out);

/*
 * Goes on with an interrupted sync, as worker_sync does; with a choice only with one that stopped at a change, about which the
 * choice is recorded first. A pause ends.
 */
MUST_USE struct error *worker_resume(const struct sync_options *options, struct resume_decision decision,
                                     struct progress *progress, struct stop *stop, struct worker_hooks hooks);

/*
 * {"conflicts": [...], "stopped": {...} or null}: what was recorded (docs/json.md), of `table` only unless NULL, and the change at which
 * apply is stopped. Also after a normal stop. New reference.
 */
MUST_USE struct error *worker_conflicts(const struct sync_options *options, const char *table, struct stop *stop,
                                        json_t **out_document);

/*
 * Tells the running sync its new limit of speed, options->max_rate. *out_text: the one in force, as --max-rate takes it, in `a`.
 * ERROR_CONFIG when no sync of the pair runs.
 */
MUST_USE struct error *worker_speed(const struct sync_options *options, struct arena *a, struct stop *stop,
                                    const char **out_text);

/* What pgtide left behind on a server, all of its databases. */
struct leftover {
    const char *kind; /* "replication slot", "publication", "schema" */
    const char *database;
    const char *name;
    const char *detail; /* what it costs: "inactive, keeps 1.2 GB of WAL" */
    bool in_use;        /* by a running pgtide */
    bool resumable;     /* the state folder of its task is on this machine */
    bool removed;
    bool is_unknown;     /* a database that could not be looked into: `problem` says why */
    const char *problem; /* why it could not be removed; NULL */
};

struct slots_options {
    const char *state_dir;
    bool gc;    /* remove what is neither in use nor resumable */
    bool force; /* with gc: what is not in use */
};

/* Lives in `a`. */
MUST_USE struct error *worker_slots(const char *conninfo, struct slots_options options, struct arena *a,
                                    struct stop *stop, struct leftover **out_leftovers, unsigned *out_n);
