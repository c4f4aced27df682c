/* What a sync or stop says in its end. Pure. */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "cli/canvas.h"
#include "cli/exit.h"
#include "model/progress.h"

struct summary {
    enum exit_status status;
    struct progress *progress;
    int64_t elapsed_us;
    int64_t phase_us[PHASE_COUNT]; /* time spent in each */
};

/* A few lines: what was copied, how long each phase took, what was applied, what remains on the servers. */
void summary_draw(struct canvas *c, const struct summary *s);

/* Adds "exit_status", "seconds", "phase_seconds" to an object. */
void summary_add(json_t *document, const struct summary *s);
