/*
 * A bounded queue of pointers between threads. Any number of producers and consumers.
 *
 * Closing lets consumers take what is left and then tells them; producers are refused at once. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct queue;

RETURNS_NONNULL struct queue *queue_new(size_t capacity);
void queue_free(struct queue *q); /* what is still in it is the caller's to have taken out */
DEFINE_CLEANUP(struct queue, queue_free);

/* Blocks while full. False when closed: the item stays the caller's. */
MUST_USE bool queue_put(struct queue *q, void *item);

/* False when full or closed. */
MUST_USE bool queue_try_put(struct queue *q, void *item);

/* Blocks while empty. NULL when closed and empty. */
void *queue_take(struct queue *q);

/* NULL when there is nothing now. */
void *queue_try_take(struct queue *q);

void queue_close(struct queue *q);
size_t queue_length(struct queue *q);
