/* What pgtide left behind on a server, for people and for programs. Pure. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"
#include "worker/worker.h"

void leftovers_draw(struct canvas *c, const struct leftover *leftovers, unsigned n);

/* {"leftovers": […]}; new reference. docs/json.md. */
json_t *leftovers_document(const struct leftover *leftovers, unsigned n);
