/*
 * How a sync looks: the block of lines on a terminal, and the one line that goes into a pipe. Pure: what is drawn
 * depends on the view alone.
 */
#pragma once

#include <stdint.h>

#include "cli/canvas.h"
#include "model/meter.h"
#include "model/progress.h"

enum { FRAME_HISTORY = 60 };

struct frame_view {
    struct progress *progress;
    struct meter_reading reading;
    int64_t elapsed_s;
    unsigned turn;                 /* counts up with each drawing: what turns turns */
    double history[FRAME_HISTORY]; /* transactions a second, one value a second, oldest first */
    unsigned n_history;
    bool is_stopping; /* a stop was asked for */
};

/* At most style.height - 1 lines: the cursor needs the last one. */
void frame_draw(struct canvas *c, const struct frame_view *view);

/* One line: "data 57 %, 12.3 GB of 21.4 GB, 48.2 MB/s, 4 min left" */
void frame_draw_plain(struct canvas *c, const struct frame_view *view);

/* "copying rows" */
const char *frame_phase_title(enum phase phase);
