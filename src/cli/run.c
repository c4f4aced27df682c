#include "cli/run.h"

#include <limits.h>
#include <pwd.h>
#include <unistd.h>

#include <jansson.h>

#include "base/log.h"
#include "cli/compare_command.h"
#include "cli/conflicts_view.h"
#include "cli/cutover_command.h"
#include "cli/display.h"
#include "cli/help.h"
#include "cli/leftovers.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/status_view.h"
#include "control/json.h"
#include "sys/file.h"
#include "sys/thread.h"

enum { TICK_MS = 200 };

struct run {
    struct arena *arena;
    const struct command_line *line;
    struct sync_options options; /* as in the line, with everything filled in */
    struct stop *stop;
    enum exit_status status; /* of a command that ends without an error */
};

static const char *environment(const char *name)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): nobody here calls setenv */

    return value == NULL || value[0] == '\0' ? NULL : value;
}

/* ARCHITECTURE, "Where state lives". */
static struct error *default_state_dir(struct arena *a, const char **out_dir)
{
    const char *ours = environment("PGTIDE_STATE_DIR"), *xdg = environment("XDG_STATE_HOME");
    const char *home = environment("HOME");

    if (ours != NULL) {
        *out_dir = ours;
        return NULL;
    }
    if (xdg != NULL) {
        *out_dir = arena_printf(a, "%s/pgtide", xdg);
        return NULL;
    }
    if (home == NULL) {
        const struct passwd *user = getpwuid(getuid()); /* NOLINT(concurrency-mt-unsafe): before there are threads */

        home = user == NULL ? NULL : user->pw_dir;
    }
    if (home == NULL)
        return error_hint(error_new(ERROR_CONFIG, "could not find a folder for the state of syncs: no home directory"),
                          "Name one with --state-dir or the environment variable PGTIDE_STATE_DIR.");
    *out_dir = arena_printf(a, "%s/.local/state/pgtide", home);
    return NULL;
}

void show_error(const struct error *err)
{
    const char *hint = error_hint_text(err);

    fprintf(stderr, "pgtide: %s\n", error_message(err));
    if (hint != NULL)
        fprintf(stderr, "hint: %s\n", hint);
}

/* A document that could not be written whole must not pass for one. */
static struct error *print(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) == EOF)
        return error_new(ERROR_CONFIG, "could not write to standard output: %m");
    return NULL;
}

static struct error *print_document(const json_t *document)
{
    char *text = json_dumps(document, JSON_NUMBERS | JSON_INDENT(2));

    if (text == NULL)
        return error_new(ERROR_BUG, "the answer cannot be written as JSON");
    struct buffer lines = {0};
    buffer_append_text(&lines, text);
    buffer_append_char(&lines, '\n');
    free(text);
    struct error *err = print(buffer_text(&lines));
    buffer_drop(&lines);
    return err;
}

static struct canvas stdout_canvas(void)
{
    return canvas_with(screen_scroll_style(screen_style(STDOUT_FILENO)));
}

static struct error *print_canvas(struct canvas *c)
{
    struct error *err = print(buffer_text(&c->text));

    canvas_drop(c);
    return err;
}

/* Draws while the worker works in the main thread, so that bars move also when that waits for a server. */
struct ticker {
    struct display *display;
    struct stop *ended; /* ours */
    struct stop *stop;  /* the user's */
};

static struct error *tick_until_ended(void *self)
{
    struct ticker *t = self;
    bool is_told = false;

    do {
        if (!is_told && stop_requested(t->stop)) {
            log_info("stopping cleanly; the same command resumes");
            is_told = true;
        }
        display_tick(t->display);
    } while (!stop_wait_ms(t->ended, TICK_MS));
    return NULL;
}

static enum display_mode choose_mode(const struct command_line *line)
{
    if (line->wants_json)
        return DISPLAY_JSON;
    if (line->is_quiet)
        return DISPLAY_QUIET;
    return screen_is_live(STDOUT_FILENO) ? DISPLAY_LIVE : DISPLAY_PLAIN;
}

/* Where log lines go while the display is on. A standard error that is not the terminal gets them as always. */
static void route_log(enum display_mode mode, struct display *display)
{
    if (mode == DISPLAY_QUIET)
        log_set_stderr_level(LOG_ERROR);
    if (mode == DISPLAY_LIVE && isatty(STDERR_FILENO) == 1)
        log_set_listener(display_log, display);
}

typedef struct error *(*shown_work)(struct run *r, struct progress *progress, struct worker_hooks hooks);

static struct error *run_shown(struct run *r, shown_work work)
{
    enum display_mode mode = choose_mode(r->line);
    struct progress *progress = progress_new(r->arena);
    CLEANUP(stop_free) struct stop *ended = NULL;
    struct thread *thread = NULL;

    TRY(stop_new(&ended));
    CLEANUP(display_free)
    struct display *display = display_new((struct display_options){
        .mode = mode,
        .fd = mode == DISPLAY_QUIET ? STDERR_FILENO : STDOUT_FILENO,
        .progress = progress,
        .stop = r->stop,
    });
    struct ticker ticker = {.display = display, .ended = ended, .stop = r->stop};

    route_log(mode, display);
    struct error *err = thread_start("display", tick_until_ended, &ticker, &thread);
    if (err == NULL)
        err = work(r, progress, (struct worker_hooks){.self = display, .checked = display_checked});
    stop_request(ended);
    if (thread != NULL)
        error_free(thread_join(thread));
    log_set_listener(NULL, NULL);
    display_finish(display, err);
    return err;
}

static struct error *sync_work(struct run *r, struct progress *progress, struct worker_hooks hooks)
{
    return worker_sync(&r->options, progress, r->stop, hooks);
}

static struct error *stop_work(struct run *r, struct progress *progress, struct worker_hooks hooks)
{
    return worker_stop(&r->options, r->line->has_force, progress, r->stop, hooks);
}

/* A file of this name, else the SQL itself. */
MUST_USE static struct error *read_replacement(struct arena *a, const char *given, const char **out_sql)
{
    char *text = NULL;
    size_t length;

    if (strpbrk(given, "\n;") == NULL && strlen(given) < PATH_MAX)
        TRY(file_read(a, given, &text, &length));
    *out_sql = text == NULL ? given : text;
    return NULL;
}

/* *out lives in `a`. */
static struct error *resume_decision(struct arena *a, const struct command_line *line, struct resume_decision *out)
{
    out->choice = line->skips_change          ? RESUME_SKIP_CHANGE
                  : line->skips_transaction   ? RESUME_SKIP_TRANSACTION
                  : line->overwrites          ? RESUME_OVERWRITE
                  : line->replacement != NULL ? RESUME_REPLACE
                                              : RESUME_AS_IS;
    return out->choice == RESUME_REPLACE ? read_replacement(a, line->replacement, &out->instead) : NULL;
}

static struct error *resume_work(struct run *r, struct progress *progress, struct worker_hooks hooks)
{
    struct resume_decision decision = {.choice = RESUME_AS_IS};

    TRY(resume_decision(r->arena, r->line, &decision));
    return worker_resume(&r->options, decision, progress, r->stop, hooks);
}

static struct error *run_resume(struct run *r)
{
    struct resume_decision decision = {.choice = RESUME_AS_IS};
    enum went_on what = WENT_ON_NOTHING;

    TRY(resume_decision(r->arena, r->line, &decision));
    TRY(worker_go_on(&r->options, decision, r->stop, &what));
    if (what == WENT_ON_NOTHING)
        return run_shown(r, resume_work);
    return r->line->wants_json || r->line->is_quiet ? NULL : print("applying goes on\n");
}

static struct error *run_pause(struct run *r)
{
    TRY(worker_pause(&r->options, r->stop));
    return r->line->wants_json ? NULL : print("applying is paused; receiving goes on\n");
}

static struct error *run_sync(struct run *r)
{
    return run_shown(r, sync_work);
}

static struct error *run_stop(struct run *r)
{
    return run_shown(r, stop_work);
}

static struct error *print_report(const struct run *r, const struct check_findings *found)
{
    if (r->line->wants_json) {
        CLEANUP(json_decref) json_t *document = report_document(found->items, found->n_items);

        json_object_set_new(document, "fixes", report_repairs_document(found->repairs, found->n_repairs));
        return print_document(document);
    }
    struct canvas c = stdout_canvas();
    report_draw_repairs(&c, found->repairs, found->n_repairs);
    report_draw(&c, found->items, found->n_items, REPORT_ALL);
    return print_canvas(&c);
}

static struct error *run_check(struct run *r)
{
    struct check_findings found = {.n_items = 0};
    struct error *err = worker_check(&r->options, r->line->wants_fix, r->arena, r->stop, &found);

    /* A refusal has its findings to show, too. */
    if (err != NULL && (error_kind(err) != ERROR_REFUSED || found.n_items == 0))
        return err;
    CLEANUP(error_free) struct error *refusal = err;
    TRY(print_report(r, &found));
    if (refusal == NULL && !check_allows_start(found.items, found.n_items))
        return error_new(ERROR_REFUSED, "the precheck refuses a sync of this pair");
    return TAKE(refusal);
}

static struct error *run_status(struct run *r)
{
    CLEANUP(json_decref) json_t *document = NULL;

    TRY(worker_status(&r->options, r->stop, &document));
    if (r->line->wants_json)
        return print_document(document);
    struct canvas c = stdout_canvas();
    status_draw(&c, document);
    return print_canvas(&c);
}

static struct error *run_wait(struct run *r)
{
    static const char *const reached[] = {[WAIT_INCREMENTAL] = "incremental", [WAIT_CAUGHT_UP] = "caught-up"};
    unsigned timeout_s = r->line->timeout_s;

    TRY(worker_wait(&r->options, r->line->wait_for, timeout_s == 0 ? -1 : (int)timeout_s * 1000, r->stop));
    if (r->line->wants_json) {
        CLEANUP(json_decref) json_t *document = json_pack("{s:s}", "reached", reached[r->line->wait_for]);

        return print_document(document);
    }
    return r->line->is_quiet ? NULL : print(r->line->wait_for == WAIT_CAUGHT_UP ? "caught up\n" : "following\n");
}

static struct error *run_slots(struct run *r)
{
    struct leftover *leftovers = NULL;
    unsigned n = 0, n_problems = 0;
    const struct slots_options options = {
        .state_dir = r->options.state_dir, .gc = r->line->slots == SLOTS_GC, .force = r->line->has_force};

    TRY(worker_slots(r->line->server, options, r->arena, r->stop, &leftovers, &n));
    for (unsigned i = 0; i < n; i++)
        n_problems += leftovers[i].problem != NULL;
    if (r->line->wants_json) {
        CLEANUP(json_decref) json_t *document = leftovers_document(leftovers, n);

        TRY(print_document(document));
    } else {
        struct canvas c = stdout_canvas();

        leftovers_draw(&c, leftovers, n);
        TRY(print_canvas(&c));
    }
    if (n_problems > 0)
        return error_new(ERROR_CONFIG, "%u of the things that pgtide left behind could not be removed", n_problems);
    return NULL;
}

static struct error *run_conflicts(struct run *r)
{
    CLEANUP(json_decref) json_t *document = NULL;

    TRY(worker_conflicts(&r->options, r->line->table, r->stop, &document));
    if (r->line->wants_json)
        return print_document(document);
    struct canvas c = stdout_canvas();
    conflicts_draw(&c, document);
    return print_canvas(&c);
}

static struct error *run_speed(struct run *r)
{
    const char *text = NULL;

    TRY(worker_speed(&r->options, r->arena, r->stop, &text));
    if (r->line->wants_json) {
        CLEANUP(json_decref) json_t *document = json_pack("{s:s}", "max_rate", text);

        return print_document(document);
    }
    if (strcmp(text, "off") == 0)
        return print("the copy goes as fast as it can\n");
    return print(arena_printf(r->arena, "the copy's limit is %s MB/s\n", text));
}

static struct error *run_compare(struct run *r)
{
    return compare_command(r->line, &r->options, r->stop, &r->status);
}

static struct error *run_cutover(struct run *r)
{
    return cutover_command(r->line, &r->options, r->stop);
}

static struct error *run_completion(struct run *r)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    switch (r->line->shell) {
    case SHELL_BASH:
        completion_bash(text);
        break;
    }
    return print(buffer_text(text));
}

static struct error *run_help(struct run *r)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    if (r->line->wants_version)
        buffer_append_text(text, "pgtide " PGTIDE_VERSION "\n");
    else if (r->line->command == COMMAND_HELP)
        help_overview(text);
    else
        help_command(text, r->line->command);
    return print(buffer_text(text));
}

/* NULL: not in this version; parsing has refused it. */
static struct error *(*const runs[COMMAND_COUNT])(struct run *) = {
    /* clang-format off */
    [COMMAND_SYNC] = run_sync,
    [COMMAND_CHECK] = run_check,
    [COMMAND_STATUS] = run_status,
    [COMMAND_WAIT] = run_wait,
    [COMMAND_STOP] = run_stop,
    [COMMAND_SLOTS] = run_slots,
    [COMMAND_COMPARE] = run_compare,
    [COMMAND_CUTOVER] = run_cutover,
    [COMMAND_RESUME] = run_resume,
    [COMMAND_CONFLICTS] = run_conflicts,
    [COMMAND_SPEED] = run_speed,
    [COMMAND_PAUSE] = run_pause,
    [COMMAND_COMPLETION] = run_completion,
    [COMMAND_HELP] = run_help,
    /* clang-format on */
};

static struct error *run(struct run *r)
{
    if (r->line->wants_help || r->line->wants_version)
        return run_help(r);
    if (runs[r->line->command] == NULL)
        return error_new(ERROR_BUG, "nothing runs command \"%s\"", command_spec(r->line->command)->name);
    if (r->options.state_dir == NULL)
        TRY(default_state_dir(r->arena, &r->options.state_dir));
    return runs[r->line->command](r);
}

enum exit_status command_run(const struct command_line *line, struct stop *stop)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(NULL, "command");
    struct run r = {.arena = arena, .line = line, .options = line->sync, .stop = stop};
    CLEANUP(error_free) struct error *err = run(&r);

    /* Who pressed Ctrl-C knows why it ended. */
    if (err != NULL && !(error_kind(err) == ERROR_CANCELLED && stop_requested(stop)))
        show_error(err);
    return err == NULL ? r.status : exit_status(err);
}
