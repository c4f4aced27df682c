/*
 * The conflict log for people: two lines a conflict, and where apply is stopped. From the document of worker_conflicts.
 */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"

void conflicts_draw(struct canvas *c, const json_t *document);
