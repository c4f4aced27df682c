/* What the precheck found, for people and for programs. Pure. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"
#include "model/check.h"

enum report_extent {
    REPORT_ALL,
    REPORT_FINDINGS, /* what passed is only counted */
};

/* Grouped; under each finding its objects and what mends it. */
void report_draw(struct canvas *c, const struct check_item *items, unsigned n, enum report_extent extent);

/* {"result": "passed" or "refused", "counts": {…}, "items": […]}; new reference. docs/json.md. */
json_t *report_document(const struct check_item *items, unsigned n);
