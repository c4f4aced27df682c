/*
 * What a comparison that no running sync brings to one position must know of the two servers: whether they are standbys, and whether a sync of
 * the pair exists all the same, begun with other addresses or another state folder, or interrupted.
 *
 * One thread.
 */
#pragma once

#include "worker/compare_sides.h"

/*
 * By sessions of compare_sides_look; what is to be said becomes notes. With `repairs`, ERROR_CONFIG when the target is a standby, or
 * belongs to a sync that stands or cannot be reached: it would apply older changes to the rows that were repaired.
 */
MUST_USE struct error *compare_pair_look(struct compare_sides *s, struct compare_sessions *sessions, bool repairs,
                                         struct compare_collector *c);
