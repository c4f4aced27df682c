/*
 * What every JSON document of ours has in common (jansson): how a count, a position and a moment are written.
 *
 *     CLEANUP(json_decref) json_t *reply = NULL;
 *
 * A document belongs to one thread at a time.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include "base/macros.h"
#include "model/lsn.h"

DEFINE_CLEANUP(json_t, json_decref);

/* For json_dumps: 33.3 and not 33.299999999999997. */
#define JSON_NUMBERS JSON_REAL_PRECISION(15)

/* New references, each. A number up to 2^53, which every reader of JSON keeps exactly; beyond that a string. */
json_t *json_count(uint64_t n);

/* "16/B374D848"; null for LSN_NONE. */
json_t *json_lsn(struct lsn lsn);

/* "2024-05-01T12:00:00.123Z" from Unix microseconds. */
json_t *json_moment(int64_t wall_us);

/* A string that may be NULL and may hold bytes that are no UTF-8 (they become U+FFFD), which JSON cannot carry. */
json_t *json_text(const char *text);
