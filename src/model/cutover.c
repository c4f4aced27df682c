#include "model/cutover.h"

static const struct {
    const char *name;
    const char *description;
} step_texts[CUTOVER_STEP_COUNT] = {
    /* clang-format off */
    [CUTOVER_ANALYZE] = {"analyze", "ANALYZE the target while the source is still in use"},
    [CUTOVER_FREEZE] = {"freeze", "make the source read-only, end its sessions, lock its tables against writes"},
    [CUTOVER_MARKER] = {"marker", "write a marker on the source and wait until it is applied and on the target's disk"},
    [CUTOVER_SEQUENCES] = {"sequences", "set all sequences on the target to the values of the source, and read them back"},
    [CUTOVER_LARGE_OBJECTS] = {"large-objects", "copy the large objects that differ"},
    [CUTOVER_MATVIEWS] = {"materialized-views", "refresh the materialized views on the target"},
    [CUTOVER_COMPARE] = {"compare", "compare every row of both sides"},
    [CUTOVER_STOP] = {"stop", "make sure that nobody wrote, stop the sync, remove what pgtide made on both servers"},
    /* clang-format on */
};

static const char *const state_names[CUTOVER_STATE_COUNT] = {
    [CUTOVER_LEFT_OUT] = "left-out", [CUTOVER_PLANNED] = "planned", [CUTOVER_RUNNING] = "running",
    [CUTOVER_DONE] = "done",         [CUTOVER_FAILED] = "failed",
};

static const char *const outcome_names[CUTOVER_OUTCOME_COUNT] = {
    [CUTOVER_NOT_BEGUN] = "not-begun",
    [CUTOVER_COMPLETED] = "completed",
    [CUTOVER_UNDONE] = "undone",
    [CUTOVER_LEFT_HALF] = "left-half",
};

const char *cutover_step_name(enum cutover_step step)
{
    return step_texts[step].name;
}

const char *cutover_step_description(enum cutover_step step)
{
    return step_texts[step].description;
}

const char *cutover_state_name(enum cutover_state state)
{
    return state_names[state];
}

const char *cutover_outcome_name(enum cutover_outcome outcome)
{
    return outcome_names[outcome];
}
