/*
 * What writer and reader of a spool share: which segments there are, how far the last one may be read, and what was cut
 * off (internal to the spool).
 *
 * The writer announces here first what it is about to cut, then cuts. The reader looks at the generation after it has
 * read: if that has moved, what it read may be gone. Thread-safe.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/lsn.h"
#include "sync/spool_format.h"

struct segment_info {
    uint64_t number;
    struct lsn base;
    bool is_clean; /* begins between transactions */
    bool is_origin;
    uint64_t bytes; /* that may be read */
};

struct spool_index {
    pthread_mutex_t mutex;         /* guards all but the atomics */
    struct segment_info *segments; /* ascending, without gaps */
    size_t n;
    size_t capacity;
    struct spool_place cut; /* the earliest cut that the reader has not yet looked at */
    uint64_t reader_at;     /* segment; UINT64_MAX without a reader */
    _Atomic uint64_t generation;
    _Atomic uint64_t bytes; /* in all segments */
};

void index_init(struct spool_index *x);
void index_drop(struct spool_index *x);

/*
 * Writer: a new last segment; more to read in it; the end of everything after a place; a fresh stream of one segment.
 */
void index_push(struct spool_index *x, struct segment_info info);
void index_grow(struct spool_index *x, uint64_t visible_bytes);
void index_cut(struct spool_index *x, struct spool_place place);
void index_reset(struct spool_index *x, struct segment_info info);

/* Writer: the oldest segment, if nobody needs it who goes on from `durable`; and that it has been removed. */
bool index_oldest_unneeded(struct spool_index *x, struct lsn durable, uint64_t *out_number);
void index_remove_oldest(struct spool_index *x);

enum start_verdict {
    START_FOUND,
    START_TOO_OLD, /* changes between the position and the first segment are not here */
    START_TAKEN,   /* there is a reader */
};

/*
 * Reader: registers it at the newest segment that will do for `from`. *out_base is where the spool begins when that is
 * too late.
 */
enum start_verdict index_start(struct spool_index *x, struct lsn from, uint64_t *out_segment, uint64_t *out_generation,
                               struct lsn *out_base);
void index_leave(struct spool_index *x);

/* Reader: it is in this segment now, whose readable bytes are returned; *out_is_last: there is none after it. */
uint64_t index_look(struct spool_index *x, uint64_t segment, bool *out_is_last);

/* Reader: false when something before `at` was cut off; else it knows of all cuts up to *out_generation. */
bool index_still_good(struct spool_index *x, struct spool_place at, uint64_t *out_generation);
