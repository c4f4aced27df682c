#include "cli/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *environment(const char *name)
{
    const char *value = getenv(name); /* NOLINT(concurrency-mt-unsafe): nobody here calls setenv */

    return value == NULL ? "" : value;
}

/* POSIX: the first of these that is set and not empty rules. */
static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *locale = environment(names[i]);

        if (locale[0] != '\0')
            return strcasestr(locale, "utf-8") != NULL || strcasestr(locale, "utf8") != NULL;
    }
    return false;
}

bool screen_is_live(int fd)
{
    const char *term = environment("TERM");

    return isatty(fd) == 1 && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

struct canvas_style screen_style(int fd)
{
    struct canvas_style style = {.has_utf8 = locale_is_utf8()};
    struct winsize size;

    if (isatty(fd) != 1)
        return style;
    style.width = 80;
    style.height = 24;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
        style.width = size.ws_col;
        style.height = size.ws_row;
    }
    style.has_colors = screen_is_live(fd) && environment("NO_COLOR")[0] == '\0';
    return style;
}

struct canvas_style screen_scroll_style(struct canvas_style style)
{
    style.wrap = style.width;
    style.width = 0;
    style.height = 0;
    return style;
}

static void write_all(int fd, const struct buffer *b)
{
    const char *at = buffer_text(b);
    size_t left = b->length;

    while (left > 0) {
        ssize_t n = write(fd, at, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        at += n;
        left -= (size_t)n;
    }
}

/* Cursor to where the first drawn line begins. */
static void rewind_to_top(const struct screen *s, struct buffer *out)
{
    if (s->n_drawn > 0)
        buffer_printf(out, "\033[%uA", s->n_drawn);
    buffer_append_char(out, '\r');
}

/*
 * Each line is erased before it is written, and what is below in the end: nothing of longer ones stays. Not after it: a
 * line as wide as the screen leaves the cursor on its last column, and that would be erased.
 */
static void lines_in_place(struct buffer *out, const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        buffer_append_text(out, "\033[2K");
        buffer_append(out, text, length);
        buffer_append_char(out, '\n');
        text += length + (text[length] == '\n');
    }
}

/* A terminal made narrower has wrapped the lines that are on it: there are more of them to go up. */
static void notice_width(struct screen *s, unsigned width)
{
    if (width != 0 && s->width > width)
        s->n_drawn *= (s->width + width - 1) / width;
    s->width = width;
}

void screen_draw(struct screen *s, const struct canvas *c)
{
    struct buffer out = {0};

    notice_width(s, c->style.width);
    rewind_to_top(s, &out);
    lines_in_place(&out, buffer_text(&c->text));
    buffer_append_text(&out, "\033[J");
    write_all(s->fd, &out);
    buffer_drop(&out);
    s->n_drawn = c->n_lines;
}

void screen_print_above(struct screen *s, const char *text, const struct canvas *c)
{
    struct buffer out = {0};

    notice_width(s, c->style.width);
    rewind_to_top(s, &out);
    buffer_append_text(&out, "\033[J"); /* a long line wraps over what is drawn */
    buffer_append_text(&out, text);
    buffer_append_text(&out, buffer_text(&c->text));
    write_all(s->fd, &out);
    buffer_drop(&out);
    s->n_drawn = c->n_lines;
}

void screen_erase(struct screen *s)
{
    struct buffer out = {0};

    rewind_to_top(s, &out);
    buffer_append_text(&out, "\033[J");
    write_all(s->fd, &out);
    buffer_drop(&out);
    s->n_drawn = 0;
}
