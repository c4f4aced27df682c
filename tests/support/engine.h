/*
 * The engine of a test: feeder and apply in turn, over a script and a model target, with two windows as in production.
 *
 * One engine is one life of a process: throw it away and make another on the same script and target to see a restart.
 */
#pragma once

#include "support/model_target.h"
#include "support/script_stream.h"
#include "sync/apply.h"
#include "sync/feeder.h"

struct engine_options {
    struct window_limits limits;
    struct apply_options apply;
    struct fault *fault; /* strikes the reader; give the target its own */
    struct lsn until;
    unsigned lanes; /* 0 or 1: none */
};

struct engine {
    struct arena *arena; /* of this life */
    struct script_reader reader;
    struct feeder *feeder;
    struct apply *apply;
    struct window *windows[2];
    unsigned turn;
    struct apply_position resumed; /* what apply_resume answered last */

    struct engine_options options;
    struct script *script;
    struct model_target *model;
    struct target *targets;         /* of the lanes */
    unsigned first_lane;            /* with which the crew begins: changes */
    unsigned n_brought_together;    /* how often lanes stood apart */
    struct lanes_recovery recovery; /* the last time */
};

void engine_start(struct engine *e, struct script *script, struct model_target *target, struct engine_options options);

/* Of one that was never started, too. */
void engine_end(struct engine *e);

/* Asks for the position and reads from there. */
MUST_USE struct error *engine_resume(struct engine *e);

/* One window: at most `budget` records, then it is executed. */
MUST_USE struct error *engine_turn(struct engine *e, unsigned budget, enum feeder_state *out_state);

/* Until nothing is left to read. */
MUST_USE struct error *engine_run(struct engine *e);
