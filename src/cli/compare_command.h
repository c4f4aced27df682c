/* `pgtide compare`: runs it with a line of progress, writes the report, says what was found. */
#pragma once

#include "cli/command.h"
#include "cli/exit.h"
#include "sys/stop.h"

/* `options` are line->sync with everything filled in. *out_status is 0, 4 or 5 when there is no error. */
MUST_USE struct error *compare_command(const struct command_line *line, const struct sync_options *options,
                                       struct stop *stop, enum exit_status *out_status);
