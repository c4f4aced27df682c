/*
 * Which alarms of the precheck somebody accepted, when and who (SPEC section 4): in the log, and in the state folder as the
 * file `accepted`, one JSON object a line. About the task that begins now: what an earlier one accepted is replaced.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/check.h"

MUST_USE struct error *accepted_record(struct arena *a, const char *folder, const struct check_item *items, unsigned n);
