/*
 * What sync/spool.c and sync/spool_reader.c both see of a spool; the rest belongs to the writer alone.
 */
#pragma once

#include "sync/spool.h"
#include "sync/spool_index.h"

/* Constant from spool_open to spool_close, but for the index, which is thread-safe. */
struct spool_shared {
    struct segment_store store;
    uint64_t task_tag;
    struct spool_index index;
};

struct spool_shared *spool_shared(struct spool *s);
