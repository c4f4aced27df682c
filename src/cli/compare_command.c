#include "cli/compare_command.h"

#include <unistd.h>

#include "cli/compare_report.h"
#include "cli/compare_view.h"
#include "cli/screen.h"
#include "control/json.h"
#include "sys/thread.h"
#include "worker/compare.h"

enum { TICK_MS = 200, PLAIN_EVERY_TICKS = 50 };

struct ticker {
    struct compare_progress *progress;
    struct stop *ended;
    bool is_live; /* a terminal: one line, drawn again; else a line now and then */
};

static void tick(const struct ticker *t, struct screen *screen, unsigned turn)
{
    struct canvas c = canvas_with(screen_style(STDERR_FILENO));

    compare_draw_progress(&c, t->progress, turn);
    if (t->is_live)
        screen_draw(screen, &c);
    else if (turn % PLAIN_EVERY_TICKS == PLAIN_EVERY_TICKS - 1)
        fputs(buffer_text(&c.text), stderr);
    canvas_drop(&c);
}

static struct error *tick_until_ended(void *self)
{
    struct ticker *t = self;
    struct screen screen = {.fd = STDERR_FILENO};

    for (unsigned turn = 0; !stop_wait_ms(t->ended, TICK_MS); turn++)
        tick(t, &screen, turn);
    if (t->is_live)
        screen_erase(&screen);
    return NULL;
}

MUST_USE static struct error *take_kinds(const char *const *words, struct compare_options *out)
{
    for (; words != NULL && *words != NULL; words++) {
        enum compare_kind kind = 0;

        while (kind < COMPARE_KIND_COUNT && strcmp(compare_kind_name(kind), *words) != 0)
            kind++;
        if (kind == COMPARE_KIND_COUNT)
            return error_hint(
                error_new(ERROR_USAGE, "option \"--kind\": \"%s\" is none of object, rows, values, accounts", *words),
                "See \"pgtide compare --help\".");
        out->kinds[kind] = true;
    }
    return NULL;
}

/* Progress goes to standard error, so that the answer alone is on standard output. */
MUST_USE static struct error *run_with_ticker(const struct command_line *line, struct compare_progress *progress,
                                              struct error *(*work)(void *self), void *self)
{
    CLEANUP(stop_free) struct stop *ended = NULL;
    struct thread *thread = NULL;

    if (line->wants_json || line->is_quiet)
        return work(self);
    TRY(stop_new(&ended));
    struct ticker ticker = {.progress = progress, .ended = ended, .is_live = screen_is_live(STDERR_FILENO)};
    TRY(thread_start("display", tick_until_ended, &ticker, &thread));
    struct error *err = work(self);
    stop_request(ended);
    error_free(thread_join(thread));
    return err;
}

struct comparison {
    struct arena *arena;
    const struct sync_options *sync;
    struct compare_options options;
    struct compare_progress progress;
    struct compare_report *report; /* NULL: none is asked for */
    struct stop *stop;
    struct compare_result result;
};

static struct error *compare(void *self)
{
    struct comparison *c = self;
    struct compare_sink sink = c->report == NULL ? (struct compare_sink){0} : compare_report_sink(c->report);

    return worker_compare(c->sync, &c->options, sink, &c->progress, c->arena, c->stop, &c->result);
}

MUST_USE static struct error *print(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) == EOF)
        return error_new(ERROR_CONFIG, "could not write to standard output: %m");
    return NULL;
}

MUST_USE static struct error *show(const struct command_line *line, const struct compare_result *result)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "answer");

    if (line->wants_json) {
        CLEANUP(json_decref) json_t *document = compare_document(result);
        char *text = json_dumps(document, JSON_NUMBERS | JSON_INDENT(2));

        if (text == NULL)
            return error_new(ERROR_BUG, "the answer cannot be written as JSON");
        struct error *err = print(arena_printf(scratch, "%s\n", text));
        free(text);
        return err;
    }
    if (line->is_quiet)
        return NULL;
    struct canvas c = canvas_with(screen_scroll_style(screen_style(STDOUT_FILENO)));
    compare_draw(&c, result);
    struct error *err = print(buffer_text(&c.text));
    canvas_drop(&c);
    return err;
}

struct error *compare_command(const struct command_line *line, const struct sync_options *options, struct stop *stop,
                              enum exit_status *out_status)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "compare");
    CLEANUP(compare_report_close) struct compare_report *report = NULL;
    struct comparison c = {.arena = a, .sync = options, .options = line->compare, .stop = stop};

    c.options.jobs = options->jobs;
    TRY(take_kinds(line->compare_kinds, &c.options));
    if (line->report != NULL)
        TRY(compare_report_open(line->report, &c.progress, &report));
    c.report = report;
    TRY(run_with_ticker(line, &c.progress, compare, &c));
    if (report != NULL)
        TRY(compare_report_finish(report, &c.result));
    TRY(show(line, &c.result));
    *out_status = compare_exit_status(&c.result);
    return NULL;
}
