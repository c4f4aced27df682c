#include "cli/frame.h"

#include <stdarg.h>

#include "base/clock.h"
#include "cli/format.h"
#include "model/lsn.h"

enum {
    COLUMN_LABEL = 3,
    COLUMN_VALUE = 14,
    WIDTH_NARROW = 60, /* below this, items have no numbers and bars are short */
    WIDTH_WIDE = 110,
    ITEM_COLUMNS_MAX = 44,
    ITEM_NUMBERS_COLUMNS = 23,
};

static const struct {
    const char *label;
    const char *unit; /* of done and total; NULL: bytes */
} step_looks[METER_STEPS] = {
    /* clang-format off */
    [METER_STRUCTURE] = {"structure", "entries"},
    [METER_DATA] = {"data", NULL},
    [METER_INDEX] = {"indexes", "entries"},
    [METER_OBJECTS] = {"objects", "entries"},
    [METER_CATCH_UP] = {"catch-up", NULL},
    /* clang-format on */
};

static uint64_t count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static int step_state(struct progress *p, enum meter_step step)
{
    return atomic_load_explicit(&meter_progress_step(p, step)->state, memory_order_relaxed);
}

const char *frame_phase_title(enum phase phase)
{
    static const char *const titles[PHASE_COUNT] = {
        /* clang-format off */
        [PHASE_STARTING] = "connecting and checking",
        [PHASE_STRUCTURE] = "restoring the structure",
        [PHASE_DATA] = "copying rows",
        [PHASE_INDEX] = "building indexes",
        [PHASE_CATCH_UP] = "catching up",
        [PHASE_OBJECTS] = "adding foreign keys, triggers and views",
        [PHASE_INCREMENTAL] = "following",
        [PHASE_STOPPING] = "setting sequences, cleaning up",
        [PHASE_COMPLETED] = "completed",
        /* clang-format on */
    };

    return titles[phase];
}

/* What stands still matters more than the phase in which it does. */
static const char *title(struct progress *p)
{
    const struct progress_counters *c = progress_counters(p);

    if (atomic_load_explicit(&c->is_stopped, memory_order_relaxed))
        return "stopped at a change: pgtide resume goes on, with a decision";
    if (atomic_load_explicit(&c->is_paused, memory_order_relaxed))
        return "paused: pgtide resume goes on";
    return frame_phase_title(progress_phase(p));
}

static unsigned bar_columns(const struct canvas *c)
{
    return c->style.width == 0 || c->style.width >= WIDTH_WIDE ? 32 : c->style.width >= WIDTH_NARROW ? 20 : 10;
}

/* What follows the value before it: a separator between, none in front of the first. */
static void part(struct canvas *c, bool *is_first, const char *text)
{
    if (!*is_first)
        canvas_separator(c);
    canvas_put(c, INK_PLAIN, text);
    *is_first = false;
}

PRINTF(3, 4)
static void partf(struct canvas *c, bool *is_first, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    part(c, is_first, text);
}

static void time_left(struct canvas *c, bool *is_first, int64_t seconds)
{
    if (seconds >= 0)
        partf(c, is_first, "%s left", format_duration(seconds).text);
}

static void copy_rates(struct canvas *c, bool *is_first, const struct meter_reading *r)
{
    if (!r->has_rates)
        return;
    partf(c, is_first, "%s/s", format_bytes((uint64_t)r->bytes_copied_per_s).text);
    partf(c, is_first, "%s rows/s", format_rate(r->rows_copied_per_s).text);
}

static void step_detail(struct canvas *c, const struct frame_view *v, enum meter_step step)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    struct progress_step *s = meter_progress_step(v->progress, step);
    const struct meter_entries n = meter_entries(v->progress, step);
    const char *unit = step_looks[step].unit;
    int state = step_state(v->progress, step);
    bool is_first = true;

    if (state == STEP_WAITING) {
        canvas_put(c, INK_DIM, "waiting");
        return;
    }
    if (state == STEP_DONE && unit != NULL) {
        partf(c, &is_first, "%s %s", format_count(n.total).text, unit);
    } else if (state == STEP_DONE) {
        partf(c, &is_first, "%s", format_bytes(count(&counters->bytes_copied)).text);
        partf(c, &is_first, "%s rows", format_count(count(&counters->rows_copied)).text);
    } else {
        partf(c, &is_first, "%s of %s", unit == NULL ? format_bytes(count(&s->done)).text : format_count(n.done).text,
              unit == NULL ? format_bytes(count(&s->total)).text : format_count(n.total).text);
        time_left(c, &is_first, v->reading.seconds_left[step]);
    }
}

static void step_mark(struct canvas *c, const struct frame_view *v, int state)
{
    if (state == STEP_RUNNING)
        canvas_spinner(c, v->turn);
    else
        canvas_mark(c, state == STEP_DONE ? MARK_DONE : MARK_WAITING);
}

static void step_line(struct canvas *c, const struct frame_view *v, enum meter_step step)
{
    int state = step_state(v->progress, step);
    double percent = progress_step_percent(meter_progress_step(v->progress, step));

    canvas_move_to(c, 1);
    step_mark(c, v, state);
    canvas_move_to(c, COLUMN_LABEL);
    canvas_put(c, state == STEP_WAITING ? INK_DIM : INK_PLAIN, step_looks[step].label);
    canvas_move_to(c, COLUMN_VALUE);
    canvas_bar(c, state == STEP_DONE ? INK_GOOD : INK_BUSY, percent, bar_columns(c));
    canvas_printf(c, state == STEP_WAITING ? INK_DIM : INK_PLAIN, " %s  ", format_percent(percent).text);
    step_detail(c, v, step);
    canvas_end_line(c);
}

static void behind_parts(struct canvas *c, bool *is_first, const struct frame_view *v)
{
    if (v->reading.has_wal_behind)
        partf(c, is_first, "%s of WAL behind", format_bytes(v->reading.wal_behind).text);
}

/* The source goes on while we catch up: there is no honest percentage, only how much is left. */
static void catch_up_line(struct canvas *c, const struct frame_view *v)
{
    enum phase phase = progress_phase(v->progress);
    bool is_first = true;

    canvas_move_to(c, 1);
    step_mark(c, v, phase > PHASE_CATCH_UP ? STEP_DONE : phase == PHASE_CATCH_UP ? STEP_RUNNING : STEP_WAITING);
    canvas_move_to(c, COLUMN_LABEL);
    canvas_put(c, phase < PHASE_CATCH_UP ? INK_DIM : INK_PLAIN, step_looks[METER_CATCH_UP].label);
    canvas_move_to(c, COLUMN_VALUE);
    if (phase == PHASE_CATCH_UP) {
        behind_parts(c, &is_first, v);
        time_left(c, &is_first, v->reading.seconds_left[METER_CATCH_UP]);
    }
    if (phase < PHASE_CATCH_UP)
        canvas_put(c, INK_DIM, "waiting");
    canvas_end_line(c);
}

static void title_line(struct canvas *c, const struct frame_view *v)
{
    struct formatted elapsed = format_duration(v->elapsed_s);
    unsigned columns = text_columns(elapsed.text, c->style.has_utf8);

    canvas_move_to(c, 1);
    canvas_put(c, INK_DIM, "pgtide  ");
    canvas_put(c, INK_BOLD, title(v->progress));
    if (v->is_stopping)
        canvas_put(c, INK_WARN, "  stopping");
    if (c->style.width > c->column + columns + 2)
        canvas_move_to(c, c->style.width - columns - 1);
    else
        canvas_put(c, INK_DIM, "  ");
    canvas_put(c, INK_DIM, elapsed.text);
    canvas_end_line(c);
}

static void label(struct canvas *c, const char *text)
{
    canvas_move_to(c, COLUMN_LABEL);
    canvas_put(c, INK_DIM, text);
    canvas_move_to(c, COLUMN_VALUE);
}

static void copied_parts(struct canvas *c, const struct progress_counters *counters)
{
    bool is_first = true;

    partf(c, &is_first, "%s tables", format_count(count(&counters->tables_done)).text);
    if (count(&counters->bytes_copied) == 0)
        return; /* an earlier run did it all */
    partf(c, &is_first, "%s rows", format_count(count(&counters->rows_copied)).text);
    partf(c, &is_first, "%s", format_bytes(count(&counters->bytes_copied)).text);
}

static void copied_line(struct canvas *c, const struct frame_view *v)
{
    canvas_move_to(c, 1);
    canvas_mark(c, MARK_DONE);
    label(c, "copied");
    copied_parts(c, progress_counters(v->progress));
    canvas_end_line(c);
}

static void tables_line(struct canvas *c, const struct frame_view *v)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    bool is_first = true;

    label(c, "tables");
    partf(c, &is_first, "%s of %s", format_count(count(&counters->tables_done)).text,
          format_count(count(&counters->tables_total)).text);
    partf(c, &is_first, "%s rows", format_count(count(&counters->rows_copied)).text);
    copy_rates(c, &is_first, &v->reading);
    canvas_end_line(c);
}

/* Only with a limit: what it costs the source is then a choice of the user's. */
static void limit_line(struct canvas *c, const struct frame_view *v)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    int64_t since_us = atomic_load_explicit(&counters->snapshot_since_us, memory_order_relaxed);
    bool is_first = true;

    if (count(&counters->max_rate_mb) == 0)
        return;
    label(c, "limit");
    partf(c, &is_first, "%s MB/s", format_count(count(&counters->max_rate_mb)).text);
    if (since_us != 0)
        partf(c, &is_first, "the source cannot vacuum what died in the last %s",
              format_duration((clock_now_us() - since_us) / INT64_C(1000000)).text);
    canvas_end_line(c);
}

static void item_line(struct canvas *c, const struct progress_item *item)
{
    bool is_narrow = c->style.width != 0 && c->style.width < WIDTH_NARROW;
    unsigned name_columns = c->style.width == 0 ? ITEM_COLUMNS_MAX : c->style.width * 2 / 5;
    bool has_share = item->bytes_expected > 0 && item->bytes > 0; /* an index is built on the server: nobody counts */
    /* Estimates are estimates: a table larger than expected is not done before it is. */
    double percent = has_share ? (double)item->bytes * 100 / (double)item->bytes_expected : 0;

    canvas_move_to(c, COLUMN_LABEL);
    canvas_put_cell(c, INK_PLAIN, item->name, name_columns > ITEM_COLUMNS_MAX ? ITEM_COLUMNS_MAX : name_columns);
    if (!is_narrow) {
        unsigned numbers_end = c->column + ITEM_NUMBERS_COLUMNS;

        if (item->rows + item->bytes > 0)
            canvas_printf(c, INK_DIM, " %8s rows %8s", format_count_short(item->rows).text,
                          format_bytes(item->bytes).text);
        canvas_move_to(c, numbers_end);
    }
    if (has_share) {
        percent = percent > 99 ? 99 : percent;
        canvas_put(c, INK_PLAIN, "  ");
        canvas_bar(c, INK_BUSY, percent, is_narrow ? 6 : 10);
        canvas_printf(c, INK_PLAIN, " %s", format_percent(percent).text);
    }
    canvas_end_line(c);
}

/* Last, because there may be many: as many as the screen has room for. */
static void item_lines(struct canvas *c, const struct frame_view *v)
{
    struct progress_item items[PROGRESS_ITEMS_MAX];
    unsigned n = progress_items(v->progress, items, PROGRESS_ITEMS_MAX);
    unsigned used = c->n_lines + 1;
    unsigned room = c->style.height == 0 ? n : c->style.height > used ? c->style.height - used : 0;
    unsigned shown = n <= room ? n : room > 0 ? room - 1 : 0;

    for (unsigned i = 0; i < shown; i++)
        item_line(c, &items[i]);
    if (shown < n && room > 0) {
        canvas_move_to(c, COLUMN_LABEL);
        canvas_printf(c, INK_DIM, "and %u more", n - shown);
        canvas_end_line(c);
    }
}

static void spool_line(struct canvas *c, const struct frame_view *v)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    uint64_t retained = count(&counters->slot_retained_bytes);
    int64_t left = atomic_load_explicit(&counters->slot_seconds_left, memory_order_relaxed);
    bool is_first = true;

    label(c, "spool");
    partf(c, &is_first, "%s on disk", format_bytes(count(&counters->spool_bytes)).text);
    if (retained > 0)
        partf(c, &is_first, "the source keeps %s of WAL", format_bytes(retained).text);
    if (left > 0)
        partf(c, &is_first, "its limit is reached in %s", format_duration(left).text);
    canvas_end_line(c);
}

static double delay_seconds(const struct progress_counters *counters)
{
    return (double)progress_delay(counters).total_us / 1e6;
}

static void rate_parts(struct canvas *c, bool *is_first, const struct meter_reading *r)
{
    if (!r->has_rates)
        return;
    partf(c, is_first, "%s transactions/s", format_rate(r->transactions_per_s).text);
    partf(c, is_first, "%s rows/s", format_rate(r->rows_applied_per_s).text);
}

static void follow_lines(struct canvas *c, const struct frame_view *v)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    double delay = delay_seconds(counters);
    uint64_t conflicts = count(&counters->conflicts);
    struct lsn applied = {count(&counters->applied_lsn)};
    bool is_first = true;

    label(c, "delay");
    canvas_put(c, delay < 1 ? INK_GOOD : delay < 60 ? INK_PLAIN : INK_WARN, format_delay(delay).text);
    if (delay >= 1)
        canvas_printf(c, INK_PLAIN, ", of that %s until it is here",
                      format_delay((double)progress_delay(counters).receive_us / 1e6).text);
    canvas_end_line(c);

    label(c, "rate");
    rate_parts(c, &is_first, &v->reading);
    if (c->style.width == 0 || c->style.width >= c->column + 2 + v->n_history) {
        canvas_put(c, INK_PLAIN, "  ");
        canvas_sparkline(c, INK_BUSY, v->history, v->n_history);
    }
    canvas_end_line(c);

    label(c, "applied");
    is_first = true;
    partf(c, &is_first, "%s transactions", format_count(count(&counters->transactions_applied)).text);
    partf(c, &is_first, "%s rows%s", format_count(count(&counters->rows_applied)).text,
          count(&counters->transactions_before) > 0 ? " since this start" : "");
    canvas_end_line(c);

    label(c, "behind");
    is_first = true;
    if (v->reading.has_wal_behind)
        partf(c, &is_first, "%s of WAL", format_bytes(v->reading.wal_behind).text);
    if (!lsn_is_none(applied))
        partf(c, &is_first, "applied up to %s", lsn_format(applied).text);
    canvas_end_line(c);

    spool_line(c, v);
    if (conflicts > 0) {
        label(c, "conflicts");
        canvas_put(c, INK_WARN, format_count(conflicts).text);
        canvas_end_line(c);
    }
}

/* Rows, indexes and objects as one. */
static void whole_line(struct canvas *c, const struct frame_view *v)
{
    struct progress_step *whole = &progress_counters(v->progress)->whole;
    bool is_waiting = atomic_load_explicit(&whole->state, memory_order_relaxed) == STEP_WAITING;
    double percent = progress_step_percent(whole);
    bool is_first = true;

    canvas_move_to(c, COLUMN_LABEL);
    canvas_put(c, is_waiting ? INK_DIM : INK_BOLD, "in all");
    canvas_move_to(c, COLUMN_VALUE);
    canvas_bar(c, INK_BUSY, percent, bar_columns(c));
    canvas_printf(c, is_waiting ? INK_DIM : INK_BOLD, " %s  ", format_percent(percent).text);
    time_left(c, &is_first, v->reading.whole_seconds_left);
    canvas_end_line(c);
}

static void step_lines(struct canvas *c, const struct frame_view *v)
{
    step_line(c, v, METER_STRUCTURE);
    step_line(c, v, METER_DATA);
    step_line(c, v, METER_INDEX);
    catch_up_line(c, v);
    step_line(c, v, METER_OBJECTS);
    whole_line(c, v);
    canvas_end_line(c);
}

void frame_draw(struct canvas *c, const struct frame_view *v)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    enum phase phase = progress_phase(v->progress);
    bool is_applying = phase >= PHASE_CATCH_UP && count(&counters->applied_lsn) != 0;

    canvas_end_line(c); /* apart from what scrolls above */
    title_line(c, v);
    canvas_end_line(c);
    if (phase > PHASE_STARTING && phase < PHASE_INCREMENTAL)
        step_lines(c, v);
    if (phase >= PHASE_INCREMENTAL && count(&counters->tables_total) > 0)
        copied_line(c, v);
    if (phase >= PHASE_DATA && phase < PHASE_CATCH_UP)
        tables_line(c, v);
    if (phase >= PHASE_DATA && phase < PHASE_INDEX)
        limit_line(c, v);
    if (is_applying)
        follow_lines(c, v);
    else if (count(&counters->received_lsn) != 0)
        spool_line(c, v);
    item_lines(c, v);
}

static void plain_step(struct canvas *c, const struct frame_view *v, enum meter_step step)
{
    struct progress_step *whole = &progress_counters(v->progress)->whole;
    double percent = progress_step_percent(meter_progress_step(v->progress, step));
    bool is_first = false;

    canvas_printf(c, INK_PLAIN, "%s %d %%, ", step_looks[step].label, (int)percent);
    step_detail(c, v, step);
    if (step == METER_DATA)
        copy_rates(c, &is_first, &v->reading);
    if (atomic_load_explicit(&whole->state, memory_order_relaxed) == STEP_RUNNING) {
        partf(c, &is_first, "in all %d %%", (int)progress_step_percent(whole));
        time_left(c, &is_first, v->reading.whole_seconds_left);
    }
}

static void plain_follow(struct canvas *c, const struct frame_view *v, const char *title)
{
    const struct progress_counters *counters = progress_counters(v->progress);
    uint64_t conflicts = count(&counters->conflicts);
    bool is_first = true;

    canvas_printf(c, INK_PLAIN, "%s: ", title);
    partf(c, &is_first, "delay %s", format_delay(delay_seconds(counters)).text);
    rate_parts(c, &is_first, &v->reading);
    behind_parts(c, &is_first, v);
    if (conflicts > 0)
        partf(c, &is_first, "%s conflicts", format_count(conflicts).text);
}

void frame_draw_plain(struct canvas *c, const struct frame_view *v)
{
    /* The step that a phase is about; METER_STEPS: none. */
    static const enum meter_step step_of[PHASE_COUNT] = {
        /* clang-format off */
        [PHASE_STARTING] = METER_STEPS,
        [PHASE_STRUCTURE] = METER_STRUCTURE,
        [PHASE_DATA] = METER_DATA,
        [PHASE_INDEX] = METER_INDEX,
        [PHASE_CATCH_UP] = METER_CATCH_UP,
        [PHASE_OBJECTS] = METER_OBJECTS,
        [PHASE_INCREMENTAL] = METER_CATCH_UP,
        [PHASE_STOPPING] = METER_STEPS,
        [PHASE_COMPLETED] = METER_STEPS,
        /* clang-format on */
    };
    enum phase phase = progress_phase(v->progress);
    enum meter_step step = step_of[phase];

    if (step == METER_STEPS)
        canvas_put(c, INK_PLAIN, frame_phase_title(phase));
    else if (step == METER_CATCH_UP)
        plain_follow(c, v, frame_phase_title(phase));
    else
        plain_step(c, v, step);
    canvas_end_line(c);
}
