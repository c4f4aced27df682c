/*
 * What of the source is not on the target as it is there, because the target could not take it: each statement, whole, with the reason.
 *
 * A file in the task's state folder, of SQL with comments, that only grows: it belongs to the task, so that a resume goes on with it and
 * tells nothing twice. The first ones are told in the log, too. A line that cannot be written is told there as well, so nothing is ever
 * only counted. Any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

struct left_out;

/* `count` is set to what the file holds, and follows it. Nothing is made before the first one is told. */
MUST_USE struct error *left_out_open(const char *path, _Atomic uint64_t *count, struct left_out **out);
void left_out_close(struct left_out *l);
DEFINE_CLEANUP(struct left_out, left_out_close);

/* `statement` with or without its semicolon. NULL for `l`: who is told elsewhere; only the debug log. */
void left_out_tell(struct left_out *l, const char *statement, const char *reason);

/* The same for who has told it in the log in other words. */
void left_out_note(struct left_out *l, const char *statement, const char *reason);
