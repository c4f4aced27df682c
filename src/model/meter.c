#include "model/meter.h"

#include "base/clock.h"
#include "model/cost.h"

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

struct meter_entries meter_entries(struct progress *p, enum meter_step step)
{
    const struct progress_counters *c = progress_counters(p);
    const struct progress_step *s = meter_progress_step(p, step);

    if (step == METER_STRUCTURE)
        return (struct meter_entries){read_counter(&s->done), read_counter(&s->total)};
    if (step == METER_DATA)
        return (struct meter_entries){read_counter(&c->tables_done), read_counter(&c->tables_total)};
    return (struct meter_entries){read_counter(&s->entries_done), read_counter(&s->entries_total)};
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

static void take_step(struct forecast_sample *s, enum work_kind kind, const struct progress_step *step)
{
    s->done[kind] = read_counter(&step->done);
    s->total[kind] = read_counter(&step->total);
}

static struct forecast_sample forecast_sample(struct progress *p, int64_t now_us)
{
    const struct progress_counters *c = progress_counters(p);
    struct forecast_sample s = {
        .at_us = now_us,
        .paced_ms = read_counter(&c->paced_ms),
        .workers = atomic_load_explicit(&c->workers, memory_order_relaxed),
    };

    take_step(&s, WORK_ROWS, &c->data);
    s.done[WORK_ROWS] += read_counter(&c->tables_done) * COST_OBJECT;
    s.total[WORK_ROWS] += read_counter(&c->tables_total) * COST_OBJECT;
    s.done[WORK_ROWS] += read_counter(&c->large_objects_done) * COST_LARGE_OBJECT;
    s.total[WORK_ROWS] += read_counter(&c->large_objects_total) * COST_LARGE_OBJECT;
    take_step(&s, WORK_BUILD, &c->index);
    take_step(&s, WORK_OBJECTS, &c->objects);
    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++) {
        s.at_work[kind] = atomic_load_explicit(&c->at_work[kind], memory_order_relaxed);
        s.uncounted[kind] = read_counter(&c->uncounted[kind]);
    }
    for (enum work_kind kind = 0; kind < WORK_OBJECTS; kind++)
        s.chain[kind] = read_counter(&c->chain[kind]);
    return s;
}

static uint64_t milliseconds(double seconds)
{
    return (uint64_t)(seconds * 1e3);
}

static void follow_whole(struct meter *m, struct progress *p, int64_t now_us)
{
    struct progress_step *whole = &progress_counters(p)->whole;
    const struct forecast_sample now = forecast_sample(p, now_us);

    forecast_take(&m->forecast, &now);
    if (atomic_load(&whole->state) != STEP_RUNNING) {
        m->whole_since_us = 0;
        return;
    }
    if (m->whole_since_us == 0)
        m->whole_since_us = now_us;
    const struct forecast_reading r = forecast_read(&m->forecast);
    atomic_store(&whole->total, milliseconds(r.done_s + r.left_s));
    atomic_store(&whole->done, milliseconds(r.done_s));
    (void)progress_step_percent(whole); /* what is never taken back */
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
    follow_whole(m, p, now.at_us);
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

static bool is_told(const struct meter *m, int64_t since_us)
{
    return since_us != 0 && newest(m)->at_us - since_us >= SILENCE_US;
}

static int64_t whole_seconds(double seconds)
{
    return seconds < 1e9 ? (int64_t)(seconds + 0.999) : -1;
}

static int64_t seconds_left(const struct meter *m, struct progress *p, enum meter_step step, uint64_t behind)
{
    double per_second = m->steps[step].per_second;

    if (!is_told(m, m->steps[step].since_us) || per_second <= 0)
        return -1;
    uint64_t left = behind;
    if (step != METER_CATCH_UP) {
        uint64_t done = read_counter(&meter_progress_step(p, step)->done);
        uint64_t total = read_counter(&meter_progress_step(p, step)->total);

        left = total > done ? total - done : 0;
    }
    return whole_seconds((double)left / per_second);
}

/*
 * Indexes are built while rows are copied: both end together, and the rate at which they are counted now says little. Rows do not
 * take longer than the copy.
 */
static void read_forecast(const struct meter *m, struct progress *p, struct meter_reading *out)
{
    const struct forecast_reading f = forecast_read(&m->forecast);
    int64_t *left = out->seconds_left;

    out->whole_seconds_left = -1;
    if (!is_told(m, m->whole_since_us))
        return;
    if (is_running(p, METER_INDEX)) {
        left[METER_INDEX] = whole_seconds(f.copy_s);
        if (left[METER_DATA] > left[METER_INDEX])
            left[METER_DATA] = left[METER_INDEX];
    }
    if (is_running(p, METER_OBJECTS))
        left[METER_OBJECTS] = whole_seconds(f.left_s - f.copy_s);
    if (progress_phase(p) != PHASE_CATCH_UP)
        out->whole_seconds_left = whole_seconds(f.left_s);
    else if (left[METER_CATCH_UP] >= 0)
        out->whole_seconds_left = whole_seconds(f.left_s + (double)left[METER_CATCH_UP]);
}

struct meter_reading meter_read(const struct meter *m, struct progress *p)
{
    struct meter_reading r = {.whole_seconds_left = -1};

    r.has_wal_behind = wal_behind(p, &r.wal_behind);
    for (enum meter_step step = 0; step < METER_STEPS; step++)
        r.seconds_left[step] = m->n_taken == 0 ? -1 : seconds_left(m, p, step, r.wal_behind);
    if (m->n_taken > 0)
        read_forecast(m, p, &r);
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
