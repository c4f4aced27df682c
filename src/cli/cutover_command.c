#include "cli/cutover_command.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli/cutover_view.h"
#include "cli/screen.h"
#include "control/json.h"
#include "worker/cutover.h"

struct cutover_view {
    const struct command_line *line;
    struct stop *stop;
};

static struct canvas stdout_canvas(void)
{
    return canvas_with(screen_scroll_style(screen_style(STDOUT_FILENO)));
}

/* What cannot be written is dropped: a terminal that went away must not leave the source frozen. */
static void print_canvas(struct canvas *c)
{
    fputs(buffer_text(&c->text), stdout);
    fflush(stdout);
    canvas_drop(c);
}

/* One line from the terminal, or nothing when it ends or we are to stop. */
static void read_answer(struct stop *stop, char *out, size_t size)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = stop_fd(stop), .events = POLLIN}};

    out[0] = '\0';
    while (poll(fds, COUNT_OF(fds), -1) < 0)
        ;
    if ((fds[1].revents & POLLIN) == 0 && fgets(out, (int)size, stdin) == NULL)
        out[0] = '\0';
}

static enum cutover_answer confirm(void *self, const struct cutover_report *r)
{
    struct cutover_view *v = self;
    char answer[16];

    if (!v->line->wants_json) {
        struct canvas c = stdout_canvas();

        cutover_draw_plan(&c, r);
        print_canvas(&c);
    }
    if (v->line->says_yes)
        return CUTOVER_GO_ON;
    printf("Go on? y: yes, l: look again, anything else: no > ");
    fflush(stdout);
    read_answer(v->stop, answer, sizeof answer);
    if (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0)
        return CUTOVER_GO_ON;
    return strcmp(answer, "l\n") == 0 ? CUTOVER_LOOK_AGAIN : CUTOVER_GIVE_UP;
}

static void stepped(void *self, const struct cutover_report *r, enum cutover_step step)
{
    const struct cutover_view *v = self;

    if (v->line->wants_json)
        return;
    struct canvas c = stdout_canvas();
    cutover_draw_step(&c, r, step);
    print_canvas(&c);
}

MUST_USE static struct error *print_document(const struct cutover_report *r, const struct error *err)
{
    CLEANUP(json_decref) json_t *document = cutover_document(r, err == NULL ? NULL : error_message(err));
    char *text = json_dumps(document, JSON_NUMBERS | JSON_INDENT(2));

    if (text == NULL)
        return error_new(ERROR_BUG, "the report of a cutover cannot be written as JSON");
    bool is_written = puts(text) != EOF && fflush(stdout) != EOF;
    free(text);
    return is_written ? NULL : error_new(ERROR_CONFIG, "could not write to standard output: %m");
}

/* What the worker's confirmation has not shown: nothing was asked, or a refusal. */
static bool is_plan_shown(const struct command_line *line, const struct error *err)
{
    return !line->cutover.is_dry_run && (err == NULL || error_kind(err) != ERROR_REFUSED);
}

static void print_end(const struct command_line *line, const struct cutover_report *r, const struct error *err)
{
    struct canvas c = stdout_canvas();

    if (r->n_items > 0 && !is_plan_shown(line, err))
        cutover_draw_plan(&c, r);
    cutover_draw_end(&c, r);
    print_canvas(&c);
}

/* "all" and "none" are no rules when they stand alone. */
static void take_compare(const char *const *words, struct cutover_options *out)
{
    const char *only = words != NULL && words[0] != NULL && words[1] == NULL ? words[0] : "";

    out->compares = strcmp(only, "none") != 0;
    out->compare_rules = words == NULL || words[0] == NULL || !out->compares || strcmp(only, "all") == 0 ? NULL : words;
}

struct error *cutover_command(const struct command_line *line, const struct sync_options *options, struct stop *stop)
{
    CLEANUP(arena_free) struct arena *arena = arena_new(NULL, "cutover");
    struct cutover_view view = {.line = line, .stop = stop};
    struct cutover_options cutover = line->cutover;
    struct cutover_report report;
    bool asks = !line->says_yes && !cutover.is_dry_run && !cutover.undo;

    if (asks && (line->wants_json || isatty(STDIN_FILENO) != 1))
        return error_hint(error_new(ERROR_USAGE, "a cutover has to be confirmed, and there is no terminal to ask on"),
                          "Give --yes. With --dry-run instead it only says what it would do.");
    take_compare(line->cutover_compare, &cutover);
    struct error *err =
        worker_cutover(options, &cutover, (struct cutover_hooks){.self = &view, .confirm = confirm, .stepped = stepped},
                       arena, stop, &report);
    if (!line->wants_json) {
        print_end(line, &report, err);
        return err;
    }
    struct error *print_err = print_document(&report, err);
    if (err == NULL)
        return print_err;
    error_free(print_err);
    return err;
}
