/*
 * argv -> struct command_line, by the tables of cli/command.h.
 *
 * Options stand anywhere after the command, as "--name value" or "--name=value"; after "--" nothing is an option. Every
 * text of the result is a copy in `a`, so that the caller may wipe argv. What is wrong is ERROR_USAGE; it names the
 * argument, why, and the nearest name that exists.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "cli/command.h"

MUST_USE struct error *command_line_parse(struct arena *a, int argc, const char *const *argv, struct command_line *out);
