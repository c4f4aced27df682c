/*
 * Log lines are events of this process: state changes at info, degraded but handled at warn, error when someone must act.
 *
 * Each goes as one line to the sink: standard error until log_open, then (also) the task's log file; a live display may
 * take the terminal's copy instead (log_set_listener). Further lines of a message are indented by four, so that what a
 * server said cannot pass for an event of ours. Thread-safe. Only who decides about an error logs it, once.
 *
 *     log_info("copied table \"%s\", %" PRIu64 " rows", name, rows);
 *     log_error(err, "sync failed");     prints: <time> error sync failed: <message>, and the hint on a line of its own:     hint: <hint>
 */
#pragma once

#include "base/error.h"

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_LEVEL_COUNT,
};

/* Below this nothing is written. Default LOG_INFO; the environment's PGTIDE_LOG (a level's name) changes the default. */
void log_set_level(enum log_level lowest);

/* From now on every line is also appended to this file (created 0600). A file that cannot be opened is an error. */
MUST_USE struct error *log_open(const char *path);

/* The lowest level that goes to standard error (the file gets all). LOG_LEVEL_COUNT keeps standard error silent. */
void log_set_stderr_level(enum log_level lowest);

/*
 * Called instead of writing to standard error, with the lock held: must be short and must not log. NULL gives standard
 * error back. Used by the live display, which prints lines above its bars.
 */
void log_set_listener(void (*fn)(void *self, enum log_level level, const char *line), void *self);

PRINTF(1, 2)
void log_debug(const char *fmt, ...);
PRINTF(1, 2)
void log_info(const char *fmt, ...);
PRINTF(1, 2)
void log_warn(const char *fmt, ...);

/* `err` may be NULL; it stays the caller's. */
PRINTF(2, 3)
void log_error(const struct error *err, const char *fmt, ...);

const char *log_level_name(enum log_level level);
