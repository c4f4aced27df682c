/* `pgtide cutover`: shows the checklist, asks, shows the steps as they go. */
#pragma once

#include "cli/command.h"
#include "sys/stop.h"

/* `options` are line->sync with everything filled in. */
MUST_USE struct error *cutover_command(const struct command_line *line, const struct sync_options *options,
                                       struct stop *stop);
