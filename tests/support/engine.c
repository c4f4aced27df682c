#include "support/engine.h"

void engine_start(struct engine *e, struct script *script, struct model_target *target, struct engine_options options)
{
    *e = (struct engine){
        .arena = arena_new(NULL, "engine"),
        .reader = {.script = script, .visible = SIZE_MAX, .fault = options.fault},
    };
    e->feeder = feeder_new(e->arena, script_decoder(script), model_target_resolver(target));
    e->apply = apply_new(e->arena, model_target(target), options.apply);
    feeder_set_until(e->feeder, options.until);
    for (unsigned i = 0; i < COUNT_OF(e->windows); i++)
        e->windows[i] = window_new(e->arena, options.limits);
}

void engine_end(struct engine *e)
{
    arena_free(e->arena);
    *e = (struct engine){0};
}

struct error *engine_resume(struct engine *e)
{
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
