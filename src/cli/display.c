#include "cli/display.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "cli/exit.h"
#include "cli/format.h"
#include "cli/frame.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/summary.h"
#include "control/json.h"
#include "control/status.h"

enum {
    PLAIN_EVERY_US = 10 * 1000 * 1000,
    EVENT_EVERY_US = 1000 * 1000,
    SECOND_US = 1000 * 1000,
    COLUMN_LOG = 11, /* of the text, after the time */
};

struct display {
    struct arena *arena;
    struct display_options options;
    pthread_mutex_t mutex; /* guards all below */
    struct meter meter;
    struct screen screen;
    struct canvas canvas; /* LIVE: what the screen shows */
    struct frame_view view;
    int64_t started_us;
    int64_t ticked_us;
    int64_t shown_us;   /* PLAIN, JSON: when progress was last told */
    int64_t history_us; /* when the last value went into view.history */
    int64_t phase_us[PHASE_COUNT];
    bool has_phase; /* `phase` was told */
    enum phase phase;
    uint64_t conflicts_told;
    uint64_t left_out_told;
    bool is_stop_told;
    const char *state_told; /* NULL: none yet */
};

struct display *display_new(struct display_options options)
{
    struct arena *arena = arena_new(NULL, "display");
    struct display *d = ARENA_NEW(arena, struct display);

    *d = (struct display){
        .arena = arena,
        .options = options,
        .screen = {.fd = options.fd},
        .view = {.progress = options.progress},
        .started_us = clock_now_us(),
        .ticked_us = clock_now_us(),
    };
    pthread_mutex_init(&d->mutex, NULL);
    return d;
}

void display_free(struct display *d)
{
    if (d == NULL)
        return;
    canvas_drop(&d->canvas);
    pthread_mutex_destroy(&d->mutex);
    arena_free(d->arena);
}

static struct canvas_style style_now(const struct display *d)
{
    return d->options.fixed_style != NULL ? *d->options.fixed_style : screen_style(d->options.fd);
}

static struct canvas scrolling_canvas(const struct display *d)
{
    return canvas_with(screen_scroll_style(style_now(d)));
}

static void write_out(const struct display *d, const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        ssize_t n = write(d->options.fd, text, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a sync goes on when nobody reads its output any more */
        text += n;
        left -= (size_t)n;
    }
}

/* Text above the bars, or just text. */
static void print(struct display *d, const struct canvas *c)
{
    if (d->options.mode == DISPLAY_LIVE)
        screen_print_above(&d->screen, buffer_text(&c->text), &d->canvas);
    else
        write_out(d, buffer_text(&c->text));
}

static void keep_history(struct display *d, int64_t now_us)
{
    struct frame_view *v = &d->view;

    if (now_us - d->history_us < SECOND_US || !v->reading.has_rates || progress_phase(v->progress) < PHASE_CATCH_UP)
        return;
    d->history_us = now_us;
    if (v->n_history == FRAME_HISTORY)
        memmove(v->history, v->history + 1, (FRAME_HISTORY - 1) * sizeof v->history[0]);
    else
        v->n_history++;
    v->history[v->n_history - 1] = v->reading.transactions_per_s;
}

/* What every mode needs to know at each tick. */
static void look(struct display *d, int64_t now_us)
{
    struct frame_view *v = &d->view;

    meter_sample(&d->meter, v->progress);
    v->reading = meter_read(&d->meter, v->progress);
    v->elapsed_s = (now_us - d->started_us) / SECOND_US;
    v->turn++;
    v->is_stopping = d->options.stop != NULL && stop_requested(d->options.stop);
    d->phase_us[progress_phase(v->progress)] += now_us - d->ticked_us;
    d->ticked_us = now_us;
    keep_history(d, now_us);
}

static void tick_live(struct display *d, int64_t now_us)
{
    (void)now_us;
    d->canvas.style = style_now(d);
    canvas_clear(&d->canvas);
    frame_draw(&d->canvas, &d->view);
    screen_draw(&d->screen, &d->canvas);
}

static void tick_plain(struct display *d, int64_t now_us)
{
    enum phase phase = progress_phase(d->view.progress);
    bool is_new = !d->has_phase || phase != d->phase;

    if (!is_new && now_us - d->shown_us < PLAIN_EVERY_US)
        return;
    struct canvas c = canvas_with((struct canvas_style){0});
    canvas_printf(&c, INK_PLAIN, "[%s] ", format_duration(d->view.elapsed_s).text);
    if (is_new) {
        canvas_put(&c, INK_PLAIN, frame_phase_title(phase));
        canvas_end_line(&c);
    } else {
        frame_draw_plain(&c, &d->view);
    }
    print(d, &c);
    canvas_drop(&c);
    d->has_phase = true;
    d->phase = phase;
    d->shown_us = now_us;
}

/* Takes the document's members over. */
static void tell(struct display *d, const char *event, json_t *members)
{
    CLEANUP(json_decref)
    json_t *document = json_pack("{s:s, s:o}", "event", event, "time", json_moment(clock_wall_us()));

    json_object_update(document, members);
    json_decref(members);
    char *text = json_dumps(document, JSON_NUMBERS | JSON_COMPACT);
    if (text == NULL)
        return;
    struct buffer line = {0};
    buffer_append_text(&line, text);
    buffer_append_char(&line, '\n');
    write_out(d, buffer_text(&line)); /* one write: lines of several writers do not mix */
    buffer_drop(&line);
    free(text);
}

static void tell_phase(struct display *d)
{
    enum phase phase = progress_phase(d->view.progress);
    const char *state = status_running_state(d->view.progress);

    if (d->state_told == NULL || strcmp(state, d->state_told) != 0)
        tell(d, "state", json_pack("{s:s}", "state", state));
    d->state_told = state;
    if (d->has_phase && phase == d->phase)
        return;
    tell(d, "phase", json_pack("{s:s}", "phase", phase_name(phase)));
    d->has_phase = true;
    d->phase = phase;
    d->shown_us = 0;
}

static void tell_left_out(struct display *d)
{
    uint64_t n = atomic_load_explicit(&progress_counters(d->view.progress)->statements_left_out, memory_order_relaxed);

    if (n > d->left_out_told)
        tell(d, "left_out",
             json_pack("{s:o, s:o}", "statements", json_count(n), "file",
                       json_text(progress_left_out_file(d->view.progress))));
    d->left_out_told = n;
}

static void tick_json(struct display *d, int64_t now_us)
{
    uint64_t conflicts = atomic_load_explicit(&progress_counters(d->view.progress)->conflicts, memory_order_relaxed);

    tell_phase(d);
    if (d->view.is_stopping && !d->is_stop_told)
        tell(d, "state", json_pack("{s:s}", "state", "stopping"));
    d->is_stop_told = d->view.is_stopping;
    if (conflicts > d->conflicts_told)
        tell(d, "conflict", json_pack("{s:o}", "conflicts", json_count(conflicts)));
    d->conflicts_told = conflicts;
    tell_left_out(d);
    if (d->shown_us != 0 && now_us - d->shown_us < EVENT_EVERY_US)
        return;
    json_t *members = json_object();
    status_add_progress(members, d->view.progress, &d->view.reading);
    tell(d, "progress", members);
    d->shown_us = now_us;
}

static void tick_quiet(struct display *d, int64_t now_us)
{
    (void)d;
    (void)now_us;
}

void display_tick(struct display *d)
{
    static void (*const ticks[DISPLAY_MODE_COUNT])(struct display *, int64_t) = {
        /* clang-format off */
        [DISPLAY_LIVE] = tick_live,
        [DISPLAY_PLAIN] = tick_plain,
        [DISPLAY_JSON] = tick_json,
        [DISPLAY_QUIET] = tick_quiet,
        /* clang-format on */
    };
    int64_t now_us = clock_now_us();

    pthread_mutex_lock(&d->mutex);
    look(d, now_us);
    ticks[d->options.mode](d, now_us);
    pthread_mutex_unlock(&d->mutex);
}

void display_checked(void *self, const struct check_item *items, unsigned n)
{
    struct display *d = self;

    pthread_mutex_lock(&d->mutex);
    if (d->options.mode == DISPLAY_JSON) {
        tell(d, "check", report_document(items, n));
    } else if (d->options.mode != DISPLAY_QUIET || !check_allows_start(items, n)) {
        struct canvas c = scrolling_canvas(d);

        report_draw(&c, items, n, REPORT_FINDINGS);
        print(d, &c);
        canvas_drop(&c);
    }
    pthread_mutex_unlock(&d->mutex);
}

static void put_log_line(struct canvas *c, enum log_level level, const char *line)
{
    static const enum ink inks[LOG_LEVEL_COUNT] = {
        /* clang-format off */
        [LOG_DEBUG] = INK_DIM,
        [LOG_INFO] = INK_PLAIN,
        [LOG_WARN] = INK_WARN,
        [LOG_ERROR] = INK_BAD,
        /* clang-format on */
    };
    time_t now = (time_t)(clock_wall_us() / SECOND_US);
    char stamp[16];
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
    canvas_printf(c, INK_DIM, " %s  ", stamp);
    while (*line != '\0') {
        size_t length = strcspn(line, "\n");

        char *text = strndup(line, length);

        canvas_put_wrapped(c, inks[level], text == NULL ? "" : text, COLUMN_LOG);
        free(text);
        canvas_end_line(c);
        line += length + (line[length] == '\n');
        if (*line != '\0')
            canvas_move_to(c, COLUMN_LOG - 4); /* further lines come indented by four: under the text of the first */
    }
}

void display_log(void *self, enum log_level level, const char *line)
{
    struct display *d = self;

    pthread_mutex_lock(&d->mutex);
    struct canvas c = scrolling_canvas(d);
    put_log_line(&c, level, line);
    print(d, &c);
    canvas_drop(&c);
    pthread_mutex_unlock(&d->mutex);
}

static void tell_end(struct display *d, const struct summary *summary, const struct error *err)
{
    json_t *members = json_object();

    tick_json(d, clock_now_us());
    if (err != NULL) {
        tell(d, "error",
             json_pack("{s:s, s:o, s:o}", "kind", error_kind_name(error_kind(err)), "message",
                       json_text(error_message(err)), "hint", json_text(error_hint_text(err))));
    }
    status_add_progress(members, d->view.progress, &d->view.reading);
    summary_add(members, summary);
    tell(d, "done", members);
}

/* A refusal has its report, which says all there is to say. */
static bool has_summary(const struct display *d, enum exit_status status)
{
    return d->options.mode != DISPLAY_QUIET && status != EXIT_REFUSED && status != EXIT_USAGE;
}

void display_finish(struct display *d, const struct error *err)
{
    struct summary summary = {.status = exit_status(err), .progress = d->options.progress};

    pthread_mutex_lock(&d->mutex);
    look(d, clock_now_us());
    summary.elapsed_us = d->ticked_us - d->started_us;
    memcpy(summary.phase_us, d->phase_us, sizeof summary.phase_us);
    if (d->options.mode == DISPLAY_LIVE)
        screen_erase(&d->screen);
    canvas_clear(&d->canvas);
    if (d->options.mode == DISPLAY_JSON) {
        tell_end(d, &summary, err);
    } else if (has_summary(d, summary.status)) {
        struct canvas c = scrolling_canvas(d);

        summary_draw(&c, &summary);
        write_out(d, buffer_text(&c.text));
        canvas_drop(&c);
    }
    pthread_mutex_unlock(&d->mutex);
}
