/* What a comparison found, for people and for programs. Pure. */
#pragma once

#include <jansson.h>

#include "cli/canvas.h"
#include "cli/exit.h"
#include "model/compare.h"

/* What differs with its details, what could not be compared and why; what is equal is counted. */
void compare_draw(struct canvas *c, const struct compare_result *r);

/* One line while it runs. */
void compare_draw_progress(struct canvas *c, struct compare_progress *p, unsigned turn);

/* docs/json.md; new reference. */
json_t *compare_document(const struct compare_result *r);

/* "equal", or how both sides are not, in one sentence; good for as long as `a`. */
const char *compare_headline(struct arena *a, const struct compare_result *r);

/* What the two snapshots have to do with each other, a sentence. */
const char *compare_meaning(struct arena *a, const struct compare_result *r);

/*
 * The part of two definitions in which they differ, with a little around it; short ones whole. In `a`.
 */
void compare_excerpt(struct arena *a, const char *source, const char *target, const char **out_source,
                     const char **out_target);

enum exit_status compare_exit_status(const struct compare_result *r);
