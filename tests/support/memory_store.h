/*
 * A segment_store in memory with a power switch: a crash loses what was not synced, all of it or some, tears the last
 * append at any byte, leaves holes, and lets one segment lag behind the others. A failing append leaves half of its
 * bytes, as a full disk does. Thread-safe, as ports/store.h asks for.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "ports/store.h"
#include "support/fault.h"

struct memory_segment {
    uint64_t number;
    struct buffer bytes;
};

/* What a disk holds: segments in ascending order. */
struct memory_disk {
    struct memory_segment *segments;
    size_t n;
};

enum memory_change_kind {
    MEMORY_APPEND,
    MEMORY_TRUNCATE,
    MEMORY_REMOVE,
};

struct memory_change {
    enum memory_change_kind kind;
    uint64_t number;
    uint64_t size;       /* TRUNCATE: what remains */
    struct buffer bytes; /* APPEND */
};

struct memory_store {
    pthread_mutex_t mutex;
    struct memory_disk seen;       /* by the program */
    struct memory_disk durable;    /* as of the last sync */
    struct memory_change *changes; /* since */
    size_t n_changes;
    unsigned appends;    /* calls so far */
    struct fault *fault; /* strikes any call; NULL for none */
};

void memory_store_init(struct memory_store *m);
void memory_store_drop(struct memory_store *m);
struct segment_store memory_store(struct memory_store *m);

/* The power goes off: of what was not synced some part survives, which one `random` decides; none with 0. */
void memory_store_crash(struct memory_store *m, uint64_t random);

/* Bytes of a segment, to look at or to damage; NULL when there is none. */
struct buffer *memory_store_segment(struct memory_store *m, uint64_t number);

/* As if the disk had been written by somebody else. */
void memory_store_put(struct memory_store *m, uint64_t number, const void *bytes, size_t length);
