/*
 * Shows a running sync: bars that are redrawn in place on a terminal, lines in a pipe, events for programs, or nothing.
 *
 * Reads the struct progress and nothing else of the worker. Thread-safe: a ticker draws, any thread may log meanwhile.
 * Time is base/clock's.
 */
#pragma once

#include "base/error.h"
#include "base/log.h"
#include "cli/canvas.h"
#include "model/check.h"
#include "model/progress.h"
#include "sys/stop.h"

enum display_mode {
    DISPLAY_LIVE,  /* a terminal: bars, log lines scroll above them */
    DISPLAY_PLAIN, /* a line at each change of phase and every ten seconds; no control characters */
    DISPLAY_JSON,  /* one event a line: docs/json.md */
    DISPLAY_QUIET,
    DISPLAY_MODE_COUNT,
};

struct display_options {
    enum display_mode mode;
    int fd;                                 /* where it is shown */
    struct progress *progress;              /* must live as long as the display */
    const struct stop *stop;                /* to say that it is stopping; NULL: never */
    const struct canvas_style *fixed_style; /* NULL: ask the terminal, each time */
};

struct display;

RETURNS_NONNULL struct display *display_new(struct display_options options);
void display_free(struct display *d);
DEFINE_CLEANUP(struct display, display_free);

/* About five times a second, from any thread. Must not be called with the log's lock held, and does not log. */
void display_tick(struct display *d);

/* A worker_hooks.checked: the findings of the precheck. `self` is the display. */
void display_checked(void *self, const struct check_item *items, unsigned n);

/* A log listener (log_set_listener) for DISPLAY_LIVE: the line scrolls above the bars. `self` is the display. */
void display_log(void *self, enum log_level level, const char *line);

/* The last word: the bars go, the summary comes. `err` stays the caller's, who also prints it; NULL for success. */
void display_finish(struct display *d, const struct error *err);
