/* model/forecast, through model/meter: runs with prices that nobody knows beforehand. The test owns the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/macros.h"
#include "model/cost.h"
#include "model/meter.h"

#define MB (UINT64_C(1024) * 1024)

enum { TICK_US = 500 * 1000, TICKS_MAX = 4000, JOBS_MAX = 64, WORKERS_MAX = 4, NOBODY = -1 };

/* ---- a copy that is played ---- */

struct job {
    enum work_kind kind;
    int after;         /* place of the job that must be done before; NOBODY: none */
    uint64_t cost;     /* as it is guessed */
    uint64_t size;     /* rows: bytes; what data.done counts */
    double seconds;    /* that it really takes one worker */
    bool is_silent;    /* nobody counts it before it is done */
    double done_s;     /* by now */
    uint64_t credited; /* of cost or size */
    bool is_done, is_taken;
};

struct play {
    struct arena *arena;
    struct progress *p;
    struct meter meter;
    struct job jobs[JOBS_MAX];
    int n_jobs;
    int workers;
    int at[WORKERS_MAX + 1]; /* job of each worker; the last makes the objects, when the others have ended */
    double paced;            /* share of the time in which a limit of speed lets rows rest */
    int64_t now_us;
    int64_t left[TICKS_MAX]; /* what was said */
    double percent[TICKS_MAX];
    int n_ticks;
};

static int setup(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    struct play *y = ARENA_NEW(a, struct play);

    y->arena = a;
    y->p = progress_new(a);
    y->now_us = 1000000;
    clock_set_for_test(y->now_us);
    *state = y;
    return 0;
}

static int teardown(void **state)
{
    struct play *y = *state;

    clock_set_for_test(-1);
    arena_free(y->arena);
    return 0;
}

static int add(struct play *y, struct job job)
{
    assert_true(y->n_jobs < JOBS_MAX);
    y->jobs[y->n_jobs] = job;
    return y->n_jobs++;
}

/* `mbs`: really copied in a second by one worker. */
static int add_table(struct play *y, uint64_t bytes, double mbs)
{
    return add(y, (struct job){.kind = WORK_ROWS, .after = NOBODY, .size = bytes, .seconds = (double)bytes / MB / mbs});
}

static int add_index(struct play *y, int table, uint64_t bytes, double seconds)
{
    return add(
        y, (struct job){
               .kind = WORK_BUILD, .after = table, .cost = cost_index(bytes, y->jobs[table].size), .seconds = seconds});
}

static int add_key(struct play *y, int table, double seconds)
{
    return add(y, (struct job){.kind = WORK_OBJECTS,
                               .after = NOBODY,
                               .cost = cost_foreign_key(y->jobs[table].size),
                               .seconds = seconds,
                               .is_silent = true});
}

static bool may_begin(const struct play *y, int place, bool is_last)
{
    const struct job *j = &y->jobs[place];

    return !j->is_taken && (j->kind == WORK_OBJECTS) == is_last && (j->after == NOBODY || y->jobs[j->after].is_done);
}

static bool rows_and_indexes_are_in(const struct play *y)
{
    for (int i = 0; i < y->n_jobs; i++)
        if (y->jobs[i].kind != WORK_OBJECTS && !y->jobs[i].is_done)
            return false;
    return true;
}

static void take_jobs(struct play *y)
{
    for (int w = 0; w <= y->workers; w++) {
        bool is_last = w == y->workers;

        for (int i = 0; i < y->n_jobs && y->at[w] == NOBODY && (!is_last || rows_and_indexes_are_in(y)); i++)
            if (may_begin(y, i, is_last)) {
                y->at[w] = i;
                y->jobs[i].is_taken = true;
            }
    }
}

static struct progress_step *step_of(struct play *y, enum work_kind kind)
{
    struct progress_counters *c = progress_counters(y->p);
    struct progress_step *const steps[WORK_KINDS] = {&c->data, &c->index, &c->objects};

    return steps[kind];
}

static void credit(struct play *y, struct job *j)
{
    uint64_t all = j->kind == WORK_ROWS ? j->size : j->cost;
    double share = j->is_done ? 1 : j->done_s / j->seconds;
    uint64_t now = j->is_silent && !j->is_done ? 0 : (uint64_t)((double)all * share);

    atomic_fetch_add(&step_of(y, j->kind)->done, now - j->credited);
    j->credited = now;
}

static void work(struct play *y, int worker, double seconds)
{
    struct job *j = &y->jobs[y->at[worker]];

    j->done_s += seconds;
    j->is_done = j->done_s >= j->seconds;
    credit(y, j);
    if (j->kind == WORK_ROWS && y->paced > 0)
        atomic_fetch_add(&progress_counters(y->p)->paced_ms, (uint64_t)(seconds * y->paced * 1e3));
    if (!j->is_done)
        return;
    y->at[worker] = NOBODY;
    if (j->kind == WORK_ROWS)
        atomic_fetch_add(&progress_counters(y->p)->tables_done, 1);
}

static uint64_t left_to_build(const struct play *y, int table)
{
    uint64_t left = 0;

    for (int i = 0; i < y->n_jobs; i++)
        if (y->jobs[i].kind == WORK_BUILD && y->jobs[i].after == table)
            left += y->jobs[i].cost - y->jobs[i].credited;
    return left;
}

static void show(struct play *y)
{
    struct progress_counters *c = progress_counters(y->p);
    uint64_t uncounted[WORK_KINDS] = {0};
    unsigned at_work[WORK_KINDS] = {0};
    uint64_t most = 0;

    for (int w = 0; w <= y->workers; w++) {
        const struct job *j = y->at[w] == NOBODY ? NULL : &y->jobs[y->at[w]];

        if (j == NULL)
            continue;
        at_work[j->kind]++;
        uncounted[j->kind] += j->kind == WORK_ROWS ? 0 : j->cost - j->credited;
    }
    for (enum work_kind kind = 0; kind < WORK_KINDS; kind++) {
        c->at_work[kind] = at_work[kind];
        c->uncounted[kind] = uncounted[kind];
    }
    for (int i = 0; i < y->n_jobs; i++) {
        uint64_t rows = y->jobs[i].kind == WORK_ROWS ? y->jobs[i].size - y->jobs[i].credited : 0;

        if (rows + left_to_build(y, i) > most) {
            most = rows + left_to_build(y, i);
            c->chain[WORK_ROWS] = rows;
            c->chain[WORK_BUILD] = most - rows;
        }
    }
    if (most == 0)
        c->chain[WORK_ROWS] = c->chain[WORK_BUILD] = 0;
}

static void begin(struct play *y)
{
    struct progress_counters *c = progress_counters(y->p);

    progress_set_phase(y->p, PHASE_DATA);
    c->workers = (unsigned)y->workers;
    for (int w = 0; w <= y->workers; w++)
        y->at[w] = NOBODY;
    for (int i = 0; i < y->n_jobs; i++) {
        const struct job *j = &y->jobs[i];

        c->tables_total += j->kind == WORK_ROWS;
        step_of(y, j->kind)->total += j->kind == WORK_ROWS ? j->size : j->cost;
    }
    c->whole.state = c->data.state = c->index.state = STEP_RUNNING;
}

static void tick(struct play *y)
{
    struct progress_counters *c = progress_counters(y->p);

    clock_set_for_test(y->now_us += TICK_US);
    show(y);
    meter_sample(&y->meter, y->p);
    y->left[y->n_ticks] = meter_read(&y->meter, y->p).whole_seconds_left;
    y->percent[y->n_ticks++] = progress_step_percent(&c->whole);
    assert_true(y->n_ticks < TICKS_MAX);
}

static void play(struct play *y)
{
    begin(y);
    for (;;) {
        take_jobs(y);
        bool is_over = true;

        for (int w = 0; w <= y->workers; w++) {
            is_over = is_over && y->at[w] == NOBODY;
            if (y->at[w] != NOBODY)
                work(y, w, TICK_US / 1e6);
        }
        if (is_over)
            break;
        tick(y);
    }
    atomic_store(&progress_counters(y->p)->whole.state, STEP_DONE);
}

/* ---- what is promised ---- */

static void expect_a_good_forecast(struct play *y)
{
    play(y);
    double whole = y->n_ticks * (TICK_US / 1e6);

    assert_true(whole > 30);
    for (int i = 0; i < y->n_ticks; i++) {
        double passed = (i + 1) * (TICK_US / 1e6), left = whole - passed;

        assert_true(i == 0 || y->percent[i] >= y->percent[i - 1]);
        if (passed < whole / 5)
            continue;
        double slack = 1 + whole / 20; /* what nobody counts has a guess of a price until it is done */
        if ((double)y->left[i] < left / 2 - slack || (double)y->left[i] > left * 2 + slack)
            fail_msg("after %.1f of %.1f s it said %d s and %.1f %%", passed, whole, (int)y->left[i], y->percent[i]);
    }
    assert_true(progress_step_percent(&progress_counters(y->p)->whole) >= 100);
}

static void one_large_table_and_its_key(void **state)
{
    struct play *y = *state;

    y->workers = 2;
    int t = add_table(y, 4000 * MB, 100);
    add_index(y, t, 600 * MB, 15);
    expect_a_good_forecast(y);
}

/* Half as fast as was thought, all of it. */
static void a_slow_machine(void **state)
{
    struct play *y = *state;

    y->workers = 2;
    int t = add_table(y, 2000 * MB, 40);
    add_index(y, t, 300 * MB, 25);
    add_index(y, t, 300 * MB, 30);
    add_key(y, t, 20);
    expect_a_good_forecast(y);
}

static void many_tables_of_all_sizes(void **state)
{
    struct play *y = *state;

    y->workers = 4;
    for (uint64_t i = 1; i <= 12; i++) {
        int t = add_table(y, i * i * 20 * MB, i % 2 == 0 ? 60 : 120);

        add_index(y, t, i * i * 3 * MB, 0.1 * (double)(i * i));
        add_index(y, t, i * i * 4 * MB, 0.15 * (double)(i * i));
    }
    expect_a_good_forecast(y);
}

/* 4 MB/s by a limit: that says nothing of how long indexes take. */
static void rows_that_a_limit_of_speed_holds_back(void **state)
{
    struct play *y = *state;

    y->workers = 2;
    y->paced = 0.96;
    int t = add_table(y, 200 * MB, 4);
    add_index(y, t, 60 * MB, 2);
    expect_a_good_forecast(y);
}

/* A server before 12 tells nothing, and nobody tells how far a VALIDATE is: it took all of what was expected, and more. */
static void what_nobody_counts_before_it_is_done(void **state)
{
    struct play *y = *state;

    y->workers = 1;
    int t = add_table(y, 2000 * MB, 100);
    int index = add_index(y, t, 300 * MB, 10);

    y->jobs[index].is_silent = true;
    add_key(y, t, 10);
    expect_a_good_forecast(y);
}

static void a_resumed_copy_begins_where_it_was(void **state)
{
    struct play *y = *state;
    struct progress_counters *c = progress_counters(y->p);

    y->workers = 1;
    c->data.total = c->data.done = 3000 * MB; /* by an earlier run */
    int t = add_table(y, 3000 * MB, 100);
    add_index(y, t, 300 * MB, 10);
    expect_a_good_forecast(y);
    assert_true(y->percent[0] > 30);
}

static void nothing_is_told_before_three_seconds(void **state)
{
    struct play *y = *state;

    y->workers = 1;
    add_table(y, 1000 * MB, 100);
    play(y);
    assert_int_equal(y->left[3], -1);
    assert_true(y->left[8] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_large_table_and_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(many_tables_of_all_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_a_limit_of_speed_holds_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_counts_before_it_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resumed_copy_begins_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_told_before_three_seconds, setup, teardown),
    };

    return cmocka_run_group_tests_name("model/forecast", tests, NULL, NULL);
}
