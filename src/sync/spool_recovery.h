/*
 * What a crash left of a spool: which segments count, and where the last complete transaction ends (internal to the
 * spool).
 *
 * Only looks; spool_open then removes and cuts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ports/store.h"
#include "ports/stream.h"
#include "sync/spool_block.h"
#include "sync/spool_index.h"

struct spool_recovery {
    uint64_t highest;              /* number of the newest segment in the store, whatever it is; 0 when there is none */
    struct segment_info *segments; /* those that count, ascending, without gaps; in the arena given */
    size_t n;                      /* 0: there is no spool yet */
    struct spool_mark complete;    /* in the last that counts: everything after it is torn or incomplete */
};

/* ERROR_DATA for damage, ERROR_HISTORY for segments of another task, ERROR_CONFIG for another format. */
MUST_USE struct error *spool_recover(struct spool_block *b, struct decoder boundaries, struct arena *a,
                                     struct spool_recovery *out);
