/* --help and shell completion, written from the tables of cli/command.h. Pure. */
#pragma once

#include "base/buffer.h"
#include "cli/command.h"

/* All commands, examples, exit statuses. */
void help_overview(struct buffer *out);

/* One command: its arguments, options and examples. */
void help_command(struct buffer *out, enum command command);

/* A script for bash that completes commands, options and the words they take. */
void completion_bash(struct buffer *out);
