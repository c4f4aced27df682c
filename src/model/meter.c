#include "model/meter.h"

#include "base/clock.h"

enum {
    SAMPLE_EVERY_US = 200 * 1000,
    WINDOW_US = 10 * 1000 * 1000,
    MEMORY_US = 15 * 1000 * 1000, /* after this time a change of speed counts for about two thirds */
    SILENCE_US = 3 * 1000 * 1000, /* no time left is told before a step has run this long */
};

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static bool wal_behind(struct progress *p, uint64_t *out_bytes)
{
    uint64_t source = read_counter(&progress_counters(p)->source_lsn);
    uint64_t applied = read_counter(&progress_counters(p)->applied_lsn);

    *out_bytes = source > applied ? source - applied : 0;
    return source != 0 && applied != 0;
}

const char *meter_step_name(enum meter_step step)
{
    static const char *const names[METER_STEPS] = {
        /* clang-format off */
        [METER_STRUCTURE] = "structure",
        [METER_DATA] = "data",
        [METER_INDEX] = "index",
        [METER_OBJECTS] = "objects",
        [METER_CATCH_UP] = "catch-up",
        /* clang-format on */
    };

    return names[step];
}

struct progress_step *meter_progress_step(struct progress *p, enum meter_step step)
{
    struct progress_counters *c = progress_counters(p);
    struct progress_step *const steps[METER_FULL_STEPS] = {&c->structure, &c->data, &c->index, &c->objects};

    return steps[step];
}

static const struct meter_sample *newest(const struct meter *m)
{
    return &m->samples[(m->n_taken - 1) % METER_SAMPLES];
}

static struct meter_sample take(struct progress *p)
{
    const struct progress_counters *c = progress_counters(p);
    struct meter_sample s = {
        .at_us = clock_now_us(),
        .rows_copied = read_counter(&c->rows_copied),
        .bytes_copied = read_counter(&c->bytes_copied),
        .transactions_applied = read_counter(&c->transactions_applied),
        .rows_applied = read_counter(&c->rows_applied),
    };

    for (enum meter_step step = 0; step < METER_FULL_STEPS; step++)
        s.step_done[step] = read_counter(&meter_progress_step(p, step)->done);
    (void)wal_behind(p, &s.wal_behind);
    return s;
}

/* Counters go back when a target crashes or a table is copied again: that is no work done. */
static double gained(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) : 0;
}

/* Work done between two samples; for the catch-up what the gap has shrunk by, which may be negative. */
static double work_between(const struct meter_sample *from, const struct meter_sample *to, enum meter_step step)
{
    if (step == METER_CATCH_UP)
        return (double)from->wal_behind - (double)to->wal_behind;
    return gained(from->step_done[step], to->step_done[step]);
}

static bool is_running(struct progress *p, enum meter_step step)
{
    uint64_t unused;

    if (step == METER_CATCH_UP)
        return progress_phase(p) >= PHASE_CATCH_UP && wal_behind(p, &unused);
    return atomic_load_explicit(&meter_progress_step(p, step)->state, memory_order_relaxed) == STEP_RUNNING;
}

static void follow_step(struct meter *m, struct progress *p, enum meter_step step, const struct meter_sample *last,
                        const struct meter_sample *now)
{
    if (!is_running(p, step)) {
        m->steps[step].since_us = 0;
        return;
    }
    if (m->steps[step].since_us == 0) {
        m->steps[step].since_us = now->at_us;
        m->steps[step].per_second = 0;
        return;
    }
    if (last == NULL)
        return;
    double elapsed_us = (double)(now->at_us - last->at_us);
    double age_us = (double)(now->at_us - m->steps[step].since_us);
    double per_second = work_between(last, now, step) * 1e6 / elapsed_us;
    /* While the step is young every sample counts alike: the first one would otherwise be believed for long. */
    double memory_us = age_us < MEMORY_US ? age_us - elapsed_us : MEMORY_US;

    m->steps[step].per_second += (per_second - m->steps[step].per_second) * elapsed_us / (memory_us + elapsed_us);
}

void meter_sample(struct meter *m, struct progress *p)
{
    struct meter_sample now = take(p);
    const struct meter_sample *last = m->n_taken == 0 ? NULL : newest(m);

    if (last != NULL && now.at_us - last->at_us < SAMPLE_EVERY_US)
        return;
    for (enum meter_step step = 0; step < METER_STEPS; step++)
        follow_step(m, p, step, last, &now);
    m->samples[m->n_taken++ % METER_SAMPLES] = now;
}

/* The oldest sample that is still in the window. */
static const struct meter_sample *window_start(const struct meter *m)
{
    uint64_t kept = m->n_taken < METER_SAMPLES ? m->n_taken : METER_SAMPLES;
    const struct meter_sample *oldest = newest(m);

    for (uint64_t back = 2; back <= kept; back++) {
        const struct meter_sample *s = &m->samples[(m->n_taken - back) % METER_SAMPLES];

        /* With samples far apart the window is the last two. */
        if (back > 2 && newest(m)->at_us - s->at_us > WINDOW_US)
            break;
        oldest = s;
    }
    return oldest;
}

static int64_t seconds_left(const struct meter *m, struct progress *p, enum meter_step step, uint64_t behind)
{
    int64_t since_us = m->steps[step].since_us;
    double per_second = m->steps[step].per_second;

    if (since_us == 0 || newest(m)->at_us - since_us < SILENCE_US || per_second <= 0)
        return -1;
    uint64_t left = behind;
    if (step != METER_CATCH_UP) {
        uint64_t done = read_counter(&meter_progress_step(p, step)->done);
        uint64_t total = read_counter(&meter_progress_step(p, step)->total);

        left = total > done ? total - done : 0;
    }
    double seconds = (double)left / per_second;
    return seconds < 1e9 ? (int64_t)(seconds + 0.999) : -1;
}

struct meter_reading meter_read(const struct meter *m, struct progress *p)
{
    struct meter_reading r = {0};

    r.has_wal_behind = wal_behind(p, &r.wal_behind);
    for (enum meter_step step = 0; step < METER_STEPS; step++)
        r.seconds_left[step] = m->n_taken == 0 ? -1 : seconds_left(m, p, step, r.wal_behind);
    if (m->n_taken < 2)
        return r;

    const struct meter_sample *from = window_start(m), *to = newest(m);
    double seconds = (double)(to->at_us - from->at_us) / 1e6;

    r.has_rates = true;
    r.rows_copied_per_s = gained(from->rows_copied, to->rows_copied) / seconds;
    r.bytes_copied_per_s = gained(from->bytes_copied, to->bytes_copied) / seconds;
    r.transactions_per_s = gained(from->transactions_applied, to->transactions_applied) / seconds;
    r.rows_applied_per_s = gained(from->rows_applied, to->rows_applied) / seconds;
    return r;
}
