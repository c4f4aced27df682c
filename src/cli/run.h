/*
 * Runs a parsed command: calls the worker (worker/worker.h), shows what it does, says how the process ends.
 *
 * For the main thread, once a process: it takes the log's listener and levels while it runs.
 */
#pragma once

#include "cli/command.h"
#include "cli/exit.h"
#include "sys/stop.h"

/* Errors have been printed when it returns. `stop` is what signals request. */
enum exit_status command_run(const struct command_line *line, struct stop *stop);

/* "pgtide: …" and the hint, on standard error. */
void show_error(const struct error *err);
