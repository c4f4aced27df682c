/* A cutover for people and for programs: checklist, plan, steps as they go, and the end. Pure. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"
#include "model/cutover.h"

/* The checklist, then what each step will do. */
void cutover_draw_plan(struct canvas *c, const struct cutover_report *r);

/* One line: what begins, or how it ended and how long it took. */
void cutover_draw_step(struct canvas *c, const struct cutover_report *r, enum cutover_step step);

/* How it ended, and for how long nobody could write. */
void cutover_draw_end(struct canvas *c, const struct cutover_report *r);

/* docs/json.md; new reference. `error` may be NULL. */
json_t *cutover_document(const struct cutover_report *r, const char *error);
