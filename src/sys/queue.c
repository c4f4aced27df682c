#include "sys/queue.h"

#include <assert.h>
#include <pthread.h>

#include "base/memory.h"

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_full;
    pthread_cond_t not_empty;
    size_t capacity;
    size_t first; /* index of the oldest item */
    size_t length;
    bool is_closed;
    void *items[]; /* a ring */
};

struct queue *queue_new(size_t capacity)
{
    assert(capacity > 0);
    struct queue *q = memory_new(sizeof *q + capacity * sizeof q->items[0], "queue");

    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_full, NULL);
    pthread_cond_init(&q->not_empty, NULL);
    q->capacity = capacity;
    return q;
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->mutex);
    free(q);
}

static void push(struct queue *q, void *item)
{
    q->items[(q->first + q->length) % q->capacity] = item;
    q->length++;
    pthread_cond_signal(&q->not_empty);
}

static void *pop(struct queue *q)
{
    void *item = q->items[q->first];

    q->first = (q->first + 1) % q->capacity;
    q->length--;
    pthread_cond_signal(&q->not_full);
    return item;
}

bool queue_put(struct queue *q, void *item)
{
    assert(item != NULL); /* NULL is what an ended queue answers */
    pthread_mutex_lock(&q->mutex);
    while (q->length == q->capacity && !q->is_closed)
        pthread_cond_wait(&q->not_full, &q->mutex);

    bool is_open = !q->is_closed;
    if (is_open)
        push(q, item);
    pthread_mutex_unlock(&q->mutex);
    return is_open;
}

bool queue_try_put(struct queue *q, void *item)
{
    assert(item != NULL);
    pthread_mutex_lock(&q->mutex);
    bool has_room = !q->is_closed && q->length < q->capacity;
    if (has_room)
        push(q, item);
    pthread_mutex_unlock(&q->mutex);
    return has_room;
}

void *queue_take(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (q->length == 0 && !q->is_closed)
        pthread_cond_wait(&q->not_empty, &q->mutex);
    void *item = q->length == 0 ? NULL : pop(q);
    pthread_mutex_unlock(&q->mutex);
    return item;
}

void *queue_try_take(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    void *item = q->length == 0 ? NULL : pop(q);
    pthread_mutex_unlock(&q->mutex);
    return item;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->is_closed = true;
    pthread_cond_broadcast(&q->not_full);
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->mutex);
}

size_t queue_length(struct queue *q)
{
    pthread_mutex_lock(&q->mutex);
    size_t length = q->length;
    pthread_mutex_unlock(&q->mutex);
    return length;
}
