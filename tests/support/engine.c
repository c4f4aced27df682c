#include "support/engine.h"

/* One after the other, each time beginning with another one: any order must do. */
static void run_crew(void *self, unsigned n, struct error *(*job)(void *work, unsigned lane), void *work,
                     struct error **out_errors)
{
    struct engine *e = self;

    e->first_lane++;
    for (unsigned i = 0; i < n; i++) {
        unsigned lane = (e->first_lane + i) % n;

        out_errors[lane] = job(work, lane);
    }
}

static struct lanes *open_lanes(struct engine *e, unsigned n)
{
    struct target *targets = arena_alloc(e->arena, n * sizeof *targets);

    targets[0] = model_target(e->model);
    for (unsigned i = 1; i < n; i++)
        targets[i] = model_target(model_target_lane(e->model, i));
    return lanes_new(e->arena,
                     (struct lanes_options){.n = n, .targets = targets, .crew = {.run = run_crew, .self = e}});
}

void engine_start(struct engine *e, struct script *script, struct model_target *target, struct engine_options options)
{
    *e = (struct engine){
        .arena = arena_new(NULL, "engine"),
        .reader = {.script = script, .visible = SIZE_MAX, .fault = options.fault},
        .script = script,
        .model = target,
    };
    if (options.lanes > 1) {
        options.apply.lanes = open_lanes(e, options.lanes);
        options.limits.lanes = options.lanes;
    }
    e->options = options;
    e->feeder = feeder_new(e->arena, script_decoder(script), model_target_resolver(target));
    e->apply = apply_new(e->arena, model_target(target), options.apply);
    feeder_set_until(e->feeder, options.until);
    for (unsigned i = 0; i < COUNT_OF(e->windows); i++)
        e->windows[i] = window_new(e->arena, options.limits);
}

/* What worker/follow does when lanes stand apart. */
MUST_USE static struct error *bring_together(struct engine *e, unsigned n)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "bring together");
    struct script_reader reader = {.script = e->script, .visible = SIZE_MAX, .fault = e->options.fault};
    struct lanes *lanes = open_lanes(e, n);
    struct window_limits limits = e->options.limits;
    struct feeder *feeder = feeder_new(a, script_decoder(e->script), model_target_resolver(e->model));
    enum feeder_state state = FEEDER_MORE;
    uint64_t conflicts = 0;

    e->n_brought_together++;
    TRY(lanes_resume(lanes));
    limits.rows = UINT32_MAX / 2; /* what lanes did apart was one window, whatever its limits were */
    limits.bytes = SIZE_MAX / 2;
    limits.lanes = n;
    limits.lanes_from = lanes_ends(lanes);
    feeder_restart(feeder, script_source(&reader), lanes_least(lanes).end);
    feeder_set_until(feeder, lanes_most(lanes).end);
    while (state != FEEDER_AT_END) {
        struct window *w = window_new(a, limits);

        TRY(feeder_step(feeder, w, UINT32_MAX, &state));
        e->recovery = (struct lanes_recovery){
            .options = {.policy = e->options.apply.on_conflict, .conflicts = &conflicts},
            .decisions = e->options.apply.decisions,
            .arena = e->arena,
        };
        TRY(lanes_recover(lanes, w, &e->recovery));
    }
    return NULL;
}

MUST_USE static struct error *resume_lanes(struct engine *e)
{
    unsigned n = e->options.lanes == 0 ? 1 : e->options.lanes;

    if (model_target_lanes_are_apart(e->model))
        TRY(bring_together(e, model_target_n_lanes(e->model)));
    model_target_set_lanes(e->model, n);
    return NULL;
}

void engine_end(struct engine *e)
{
    arena_free(e->arena);
    *e = (struct engine){0};
}

struct error *engine_resume(struct engine *e)
{
    TRY(resume_lanes(e));
    TRY(apply_resume(e->apply, &e->resumed));
    e->reader.cursor = 0;
    for (unsigned i = 0; i < COUNT_OF(e->windows); i++)
        window_reset(e->windows[i]);
    feeder_restart(e->feeder, script_source(&e->reader), e->resumed.end);
    return NULL;
}

struct error *engine_turn(struct engine *e, unsigned budget, enum feeder_state *out_state)
{
    struct window *w = e->windows[e->turn];

    e->turn = !e->turn;
    window_reset(w);
    TRY(feeder_step(e->feeder, w, budget, out_state));
    window_close(w);
    return apply_window(e->apply, w, false);
}

struct error *engine_run(struct engine *e)
{
    enum feeder_state state = FEEDER_MORE;

    TRY(engine_resume(e));
    while (state == FEEDER_MORE || state == FEEDER_FULL || state == FEEDER_BARRIER)
        TRY(engine_turn(e, UINT32_MAX, &state));
    return NULL;
}
