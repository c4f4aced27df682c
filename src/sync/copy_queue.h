/*
 * Jobs of a copy that wait to be handed out: the one with the highest priority first; of equals the oldest (`order`).
 *
 * A heap in the arena that is given with each push. Zeroed it is empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "sync/copy_plan.h"

struct copy_queue {
    struct copy_job **jobs; /* the first one is next */
    size_t n;
    size_t capacity;
};

bool copy_queue_is_before(const struct copy_job *a, const struct copy_job *b);
void copy_queue_push(struct copy_queue *q, struct arena *a, struct copy_job *job);

/* Not of an empty one. */
struct copy_job *copy_queue_pop(struct copy_queue *q);
