/*
 * Lines of text for a terminal or a pipe: cut to the width, with or without colours, in UTF-8 or ASCII.
 *
 * Whatever is put on it is made harmless: control characters (names and server messages come from outside) and bytes
 * that are no UTF-8 become "?". Widths count columns: combining marks none, wide East Asian characters two. Belongs to
 * one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

struct canvas_style {
    unsigned width;  /* columns; 0: no limit, nothing is cut */
    unsigned wrap;   /* canvas_put_wrapped breaks lines here; 0: never */
    unsigned height; /* lines of the screen, of which the last is the cursor's; 0: no limit */
    bool has_colors;
    bool has_utf8;
};

enum ink {
    INK_PLAIN,
    INK_BOLD,
    INK_DIM,
    INK_GOOD,
    INK_BUSY,
    INK_WARN,
    INK_BAD,
    INK_COUNT,
};

enum mark {
    MARK_DONE,    /* check mark */
    MARK_WAITING, /* small dot */
    MARK_ALARM,
    MARK_FAILED,
    MARK_COUNT,
};

struct canvas {
    struct canvas_style style;
    struct buffer text; /* each line ended by "\n" */
    unsigned column;    /* of the line being written */
    unsigned n_lines;   /* ended ones */
};

/* A plain value that owns its buffer: canvas_drop. */
struct canvas canvas_with(struct canvas_style style);
void canvas_drop(struct canvas *c);
void canvas_clear(struct canvas *c);

void canvas_put(struct canvas *c, enum ink ink, const char *text);
PRINTF(3, 4)
void canvas_printf(struct canvas *c, enum ink ink, const char *fmt, ...);

/* At most `columns` of the text, cut with an ellipsis, then spaces up to `columns`. */
void canvas_put_cell(struct canvas *c, enum ink ink, const char *text, unsigned columns);

/* Breaks the text between words where it would pass style.wrap, and goes on at column `indent`. */
void canvas_put_wrapped(struct canvas *c, enum ink ink, const char *text, unsigned indent);

/* Spaces up to this column; nothing when it is past. */
void canvas_move_to(struct canvas *c, unsigned column);
void canvas_mark(struct canvas *c, enum mark mark);

/* Something that turns, for what is being worked on. */
void canvas_spinner(struct canvas *c, unsigned turn);
void canvas_bar(struct canvas *c, enum ink ink, double percent, unsigned columns);

/* " · " or ", " */
void canvas_separator(struct canvas *c);

/* One column a value, scaled to the greatest; nothing without UTF-8. */
void canvas_sparkline(struct canvas *c, enum ink ink, const double *values, unsigned n);
void canvas_end_line(struct canvas *c);

/* Columns that a text takes. */
unsigned text_columns(const char *text, bool has_utf8);
