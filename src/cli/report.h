/* What the precheck found, for people and for programs. Pure. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"
#include "model/check.h"

/* How results look, wherever they stand. */
struct report_look {
    enum mark mark;
    enum ink ink;
};
extern const struct report_look report_looks[CHECK_RESULT_COUNT];

enum report_extent {
    REPORT_ALL,
    REPORT_FINDINGS, /* what passed is only counted */
};

/* All items by group, a line each; then what is to be done, failures first, with objects and what mends them; then the sum. */
void report_draw(struct canvas *c, const struct check_item *items, unsigned n, enum report_extent extent);

/* What --fix ran, and what came of it; nothing when it ran nothing. */
void report_draw_repairs(struct canvas *c, const struct check_repair *repairs, unsigned n);

/* {"result": "passed" or "refused", "counts": {…}, "items": […]}; new reference. docs/json.md. */
json_t *report_document(const struct check_item *items, unsigned n);
json_t *report_repairs_document(const struct check_repair *repairs, unsigned n); /* [{"id", "side", "sql", …}] */
