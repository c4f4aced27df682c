#include "sync/division.h"

#include "base/hash.h"

static unsigned lane_of_key(const struct target_table *table, const struct value *key, unsigned n_lanes)
{
    uint64_t hash = table->relation->oid;

    for (unsigned i = 0; i < table->n_key; i++) {
        hash = hash_bytes(&key[i].length, sizeof key[i].length, hash);
        hash = hash_bytes(key[i].bytes, value_has_bytes(&key[i]) ? key[i].length : 0, hash);
    }
    return (unsigned)((hash >> 32) % n_lanes);
}

static unsigned lane_of_table(const struct target_table *table, unsigned n_lanes)
{
    uint64_t hash = hash_bytes(&table->relation->oid, sizeof table->relation->oid, 0);

    return (unsigned)((hash >> 32) % n_lanes);
}

/* The row has one key before and another after. */
static bool lane_of_rekey(struct arena *scratch, unsigned n_lanes, const struct change *c, unsigned *out_lane)
{
    *out_lane = lane_of_key(c->table, c->key, n_lanes);
    return lane_of_key(c->table, change_key_of(scratch, c->table, c->new_row), n_lanes) == *out_lane;
}

bool division_lane(struct arena *scratch, unsigned n_lanes, const struct change *c, unsigned *out_lane)
{
    if (c->table == NULL || c->refusal != NULL || c->table->mode == TABLE_DDL)
        return false;
    switch (c->table->lane_rule) {
    case LANE_BY_TABLE:
        *out_lane = lane_of_table(c->table, n_lanes);
        return true;
    case LANE_BY_KEY:
        if (c->op == BATCH_REKEY)
            return lane_of_rekey(scratch, n_lanes, c, out_lane);
        *out_lane = lane_of_key(c->table, c->key, n_lanes);
        return true;
    case LANE_ALONE:
        break;
    }
    return false;
}
