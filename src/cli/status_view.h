/* The status document (control/status.h) for people. Pure; what a document lacks is left out. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"

void status_draw(struct canvas *c, const json_t *document);
