/*
 * Which lane writes a change: the division of a window over several sessions on the target.
 *
 * By a hash of table and key, or of the table alone (target_table.lane_rule). Two changes of one row are in one lane, so
 * their order is kept. The same change goes to the same lane in every life of the process, because after a crash between
 * the commits of two lanes the one must not do again what the other has done: so this function must not change, and the
 * target keeps the rules (pg/lane_rules.h).
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "sync/change.h"

enum { LANES_MAX = 64 };

/*
 * False when the change concerns more than one lane: TRUNCATE, a key that goes from one lane to another, a table that is
 * written alone. `scratch` may be reset after the call.
 */
bool division_lane(struct arena *scratch, unsigned n_lanes, const struct change *c, unsigned *out_lane);
