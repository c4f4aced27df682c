/*
 * `pgtide cutover`: from a sync that follows to a target that the application may write to (SPEC section 9).
 *
 *     look -> confirm -> analyze -> freeze -> marker -> sequences -> large objects -> materialized views -> compare -> stop
 *                                   `--------- undone when anything fails up to here, or is interrupted ---------'
 *
 * The sync is asked by its control socket; where none runs, one is started in a thread of this process. (C2) The end is the
 * position of a marker that was written under the freeze: it is applied and on the target's disk, and the stop is refused by the
 * sync itself when the source was written to behind it. Without a freeze the marker alone proves that the application is quiet.
 *
 * (R1) What is changed on the source is recorded first (worker/freeze.h). Killed at any moment, the next call goes on: it takes the
 * freeze over, or undoes it when it is called without one, or only finishes the removal when the stop had begun.
 *
 * All functions run in the calling thread; the hooks are called in it. Everything lives in the arena given.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/cutover.h"
#include "model/options.h"
#include "sys/stop.h"

enum cutover_answer {
    CUTOVER_GO_ON,
    CUTOVER_LOOK_AGAIN,
    CUTOVER_GIVE_UP,
};

struct cutover_hooks {
    void *self;
    /* The checklist and the plan are in the report. Not called when an item failed, and for a dry run. */
    enum cutover_answer (*confirm)(void *self, const struct cutover_report *r);
    /* A step began or ended. */
    void (*stepped)(void *self, const struct cutover_report *r, enum cutover_step step);
};

/*
 * The report is filled in also where there is an error. ERROR_REFUSED when an item of the checklist failed or it was not
 * confirmed; ERROR_CANCELLED when `stop` was requested. What was frozen is undone before an error is returned.
 */
MUST_USE struct error *worker_cutover(const struct sync_options *sync, const struct cutover_options *options,
                                      struct cutover_hooks hooks, struct arena *a, struct stop *stop,
                                      struct cutover_report *out);
