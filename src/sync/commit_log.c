#include "sync/commit_log.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct commit {
    uint32_t xid;
    struct lsn end;
};

struct commit_log {
    pthread_mutex_t mutex;
    pthread_cond_t noted;
    struct commit *commits; /* a ring */
    unsigned size;
    uint64_t n;        /* noted since begin; commits[(n - 1) % size] is the last */
    struct lsn before; /* where the oldest one that is kept follows */
};

struct commit_log *commit_log_new(struct arena *a, unsigned size)
{
    struct commit_log *log = ARENA_NEW(a, struct commit_log);
    pthread_condattr_t monotonic;

    log->size = size == 0 ? COMMIT_LOG_SIZE : size;
    log->commits = arena_alloc(a, log->size * sizeof *log->commits);
    pthread_mutex_init(&log->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&log->noted, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return log;
}

void commit_log_begin(struct commit_log *log, struct lsn end)
{
    pthread_mutex_lock(&log->mutex);
    log->n = 0;
    log->before = end;
    pthread_mutex_unlock(&log->mutex);
}

void commit_log_note(struct commit_log *log, uint32_t xid, struct lsn end)
{
    pthread_mutex_lock(&log->mutex);
    struct commit *c = &log->commits[log->n % log->size];
    if (log->n >= log->size)
        log->before = c->end;
    *c = (struct commit){.xid = xid, .end = end};
    log->n++;
    pthread_cond_broadcast(&log->noted);
    pthread_mutex_unlock(&log->mutex);
}

static struct lsn last(const struct commit_log *log)
{
    return log->n == 0 ? log->before : log->commits[(log->n - 1) % log->size].end;
}

struct lsn commit_log_last(struct commit_log *log)
{
    pthread_mutex_lock(&log->mutex);
    struct lsn end = last(log);
    pthread_mutex_unlock(&log->mutex);
    return end;
}

static struct timespec moment_after_ms(int ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

bool commit_log_wait(struct commit_log *log, struct lsn lsn, int timeout_ms)
{
    struct timespec until = moment_after_ms(timeout_ms);
    int failure = 0;

    pthread_mutex_lock(&log->mutex);
    while (!lsn_before(lsn, last(log)) && failure != ETIMEDOUT)
        failure = pthread_cond_timedwait(&log->noted, &log->mutex, &until);
    bool is_received = lsn_before(lsn, last(log));
    pthread_mutex_unlock(&log->mutex);
    return is_received;
}

/* At or after `upto` nothing can be in the snapshot. Commit records do not overlap, so a commit's end says where it began. */
static bool is_seen(const struct commit *c, const struct snapshot *s, struct lsn upto)
{
    return !lsn_before(upto, c->end) && snapshot_sees(s, xid_widen(c->xid, s->xmax));
}

bool commit_log_cut(struct commit_log *log, const struct snapshot *s, struct lsn upto, struct lsn *out_cut)
{
    bool has_gap = false, is_prefix = true;

    pthread_mutex_lock(&log->mutex);
    uint64_t first = log->n > log->size ? log->n - log->size : 0;
    struct lsn cut = log->before;
    for (uint64_t i = first; i < log->n && is_prefix; i++) {
        const struct commit *c = &log->commits[i % log->size];
        bool seen = is_seen(c, s, upto);

        is_prefix = !(seen && has_gap);
        has_gap = has_gap || !seen;
        if (seen)
            cut = c->end;
    }
    pthread_mutex_unlock(&log->mutex);
    if (is_prefix)
        *out_cut = cut;
    return is_prefix;
}
