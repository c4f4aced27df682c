/*
 * A terminal on which some lines are redrawn in place while others scroll above them.
 *
 * Only cursor movement and erasing from ECMA-48 are used; nothing stays switched on, so that a kill at any moment leaves
 * a usable terminal. Not thread-safe. What cannot be written is dropped: a sync does not end because its terminal did.
 */
#pragma once

#include <stdbool.h>

#include "cli/canvas.h"

struct screen {
    int fd;
    unsigned n_drawn; /* lines below which the cursor stands */
    unsigned width;   /* when they were drawn */
};

/*
 * What the terminal on `fd` can do. Not a terminal: no limit and no colours. Colours go with NO_COLOR (no-color.org);
 * UTF-8 is what the locale says (LC_ALL, LC_CTYPE, LANG).
 */
struct canvas_style screen_style(int fd);

/* The same for lines that scroll: broken between words and never cut. Into a pipe they go whole. */
struct canvas_style screen_scroll_style(struct canvas_style style);

/* A terminal that can move its cursor (TERM is not "dumb"). */
bool screen_is_live(int fd);

/* Puts the lines of `c` in place of those drawn last. */
void screen_draw(struct screen *s, const struct canvas *c);

/* Scrolls `text` (lines that end with "\n") in above what is drawn, which `c` holds. */
void screen_print_above(struct screen *s, const char *text, const struct canvas *c);

/* Removes what is drawn. */
void screen_erase(struct screen *s);
