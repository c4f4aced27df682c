#include "model/forecast.h"

/* A guess counts as if it had been measured for so many seconds. */
#define GUESS_ROWS_S 0.3
#define GUESS_S      2.0
#define GUESS_PRICE  (1 / 100e6) /* seconds of a worker for a byte of a table */
#define PRICE_LEAST  (1 / 500e6) /* of a guess that comes from another kind */
#define PRICE_MOST   (1 / 30e6)
#define PACED_SHARE  0.3
#define MEMORY_S     30.0 /* of work: after so much of it a change of speed counts for about two thirds */
#define OVERTIME     0.25 /* of what something has taken longer than expected: so much is still to come */

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static double gained(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) : 0;
}

/* Counts what was worked when something comes of it: a sort that takes a minute says nothing before it is done. */
static void follow(struct forecast_price *k, double seconds, double worked_s, double paced_s, double done)
{
    k->open_s += worked_s;
    k->silent_s = worked_s > 0 ? k->silent_s + seconds : 0;
    k->paced_s += paced_s;
    if (done <= 0)
        return;
    k->worked_s += k->open_s;
    k->done += done;
    k->open_s = 0;
    k->silent_s = 0;
    if (k->worked_s > MEMORY_S) {
        double kept = MEMORY_S / k->worked_s;

        k->worked_s *= kept;
        k->done *= kept;
        k->paced_s *= kept;
    }
}

void forecast_take(struct forecast *f, const struct forecast_sample *now)
{
    const struct forecast_sample *last = &f->last;
    double seconds = (double)(now->at_us - last->at_us) / 1e6;

    for (enum work_kind kind = 0; f->has_last && kind < WORK_KINDS; kind++) {
        double paced_s = kind == WORK_ROWS ? gained(last->paced_ms, now->paced_ms) / 1e3 : 0;
        double at_work = (double)(last->at_work[kind] + now->at_work[kind]) / 2;

        follow(&f->kinds[kind], seconds, at_work * seconds, paced_s, gained(last->done[kind], now->done[kind]));
    }
    f->last = *now;
    f->has_last = true;
}

static double with_guess(const struct forecast_price *k, double worked_s, double guess, double guess_s)
{
    return (worked_s + guess_s) / (k->done + guess_s / guess);
}

/*
 * Of rows, which come steadily: the guess is weighed by time. By bytes (with_guess, for what comes in lumps) it would be those of a fast copy, which
 * one that a limit holds back needs minutes to outweigh: 10 s were left and 4 were said.
 */
static double price_of_rows(const struct forecast_price *k)
{
    double measured = k->done > 0 ? k->worked_s / k->done : GUESS_PRICE;

    return (k->worked_s * measured + GUESS_ROWS_S * GUESS_PRICE) / (k->worked_s + GUESS_ROWS_S);
}

/* For other work. A worker that rests most of the time says nothing about the machine. */
static double price_of_machine(const struct forecast_price *rows)
{
    double worked_s = most(rows->worked_s - rows->paced_s, 0);

    if (rows->paced_s > PACED_SHARE * rows->worked_s)
        return GUESS_PRICE;
    return most(PRICE_LEAST, least(PRICE_MOST, with_guess(rows, worked_s, GUESS_PRICE, GUESS_ROWS_S)));
}

static void find_prices(const struct forecast *f, double *out)
{
    const struct forecast_price *k = f->kinds;

    out[WORK_ROWS] = price_of_rows(&k[WORK_ROWS]);
    out[WORK_BUILD] = with_guess(&k[WORK_BUILD], k[WORK_BUILD].worked_s, price_of_machine(&k[WORK_ROWS]), GUESS_S);
    out[WORK_OBJECTS] = with_guess(&k[WORK_OBJECTS], k[WORK_OBJECTS].worked_s,
                                   most(PRICE_LEAST, least(PRICE_MOST, out[WORK_BUILD])), GUESS_S);
}

/* In seconds of one worker. */
static double left_of(const struct forecast *f, enum work_kind kind, double price)
{
    const struct forecast_sample *s = &f->last;
    double left = gained(s->done[kind], s->total[kind]);
    double uncounted = least(left, (double)s->uncounted[kind]);
    double at_work = (double)s->at_work[kind];

    if (uncounted <= 0 || at_work <= 0)
        return left * price;
    double expected_s = uncounted * price / at_work;
    double open_s = f->kinds[kind].silent_s;
    return (left - uncounted) * price + most(expected_s - open_s, OVERTIME * open_s) * at_work;
}

static double chain_of(const struct forecast *f, const double *prices)
{
    const struct forecast_sample *s = &f->last;
    double build_s = (double)s->chain[WORK_BUILD] * prices[WORK_BUILD];

    if (s->chain[WORK_ROWS] == 0)
        build_s = most(build_s - f->kinds[WORK_BUILD].silent_s, 0);
    return (double)s->chain[WORK_ROWS] * prices[WORK_ROWS] + build_s;
}

struct forecast_reading forecast_read(const struct forecast *f)
{
    struct forecast_reading r = {0};
    double prices[WORK_KINDS];
    double workers = f->last.workers == 0 ? 1 : (double)f->last.workers;

    if (!f->has_last)
        return r;
    find_prices(f, prices);
    double left_s = left_of(f, WORK_ROWS, prices[WORK_ROWS]) + left_of(f, WORK_BUILD, prices[WORK_BUILD]);
    r.copy_s = most(left_s / workers, chain_of(f, prices));
    r.left_s = r.copy_s + left_of(f, WORK_OBJECTS, prices[WORK_OBJECTS]);
    r.done_s =
        ((double)f->last.done[WORK_ROWS] * prices[WORK_ROWS] + (double)f->last.done[WORK_BUILD] * prices[WORK_BUILD]) /
            workers +
        (double)f->last.done[WORK_OBJECTS] * prices[WORK_OBJECTS];
    return r;
}
