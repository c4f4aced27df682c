#include "cli/canvas.h"

#include <stdarg.h>
#include <stdint.h>

static const char *const ink_codes[INK_COUNT] = {
    /* clang-format off */
    [INK_PLAIN] = "",
    [INK_BOLD] = "\033[1m",
    [INK_DIM] = "\033[2m",
    [INK_GOOD] = "\033[32m",
    [INK_BUSY] = "\033[36m",
    [INK_WARN] = "\033[33m",
    [INK_BAD] = "\033[31m",
    /* clang-format on */
};

/* One character: how many bytes and columns it has. */
struct glyph {
    unsigned bytes;
    unsigned columns;
    bool is_harmless; /* else a question mark is shown for it */
};

struct range {
    uint32_t first, last;
};

/* Unicode 15, EastAsianWidth.txt: W and F, in large strokes. */
static const struct range wide[] = {
    {0x1100, 0x115F}, {0x2E80, 0x303E}, {0x3041, 0xA4CF},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},
    {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD},
};

/* Combining marks take no column. Zero-width and direction characters could disguise a name: they are not harmless. */
static const struct range combining[] = {{0x0300, 0x036F}, {0x1AB0, 0x1AFF}, {0x20D0, 0x20FF}, {0xFE20, 0xFE2F}};
static const struct range harmful[] = {
    {0x00, 0x1F},     {0x7F, 0x9F},     {0x200B, 0x200F}, {0x2028, 0x202E},
    {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xD800, 0xDFFF},
};

static bool is_in(const struct range *ranges, size_t n, uint32_t code)
{
    for (size_t i = 0; i < n; i++) {
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    }
    return false;
}

static unsigned sequence_length(unsigned char first)
{
    static const struct {
        unsigned char mask, value, length;
    } forms[] = {{0x80, 0x00, 1}, {0xE0, 0xC0, 2}, {0xF0, 0xE0, 3}, {0xF8, 0xF0, 4}};

    for (unsigned i = 0; i < COUNT_OF(forms); i++) {
        if ((first & forms[i].mask) == forms[i].value)
            return forms[i].length;
    }
    return 0;
}

static struct glyph look_at(const char *at, bool has_utf8)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const struct glyph broken = {.bytes = 1, .columns = 1};
    unsigned length = sequence_length((unsigned char)*at);

    if (length == 0 || strnlen(at, length) < length)
        return broken;
    uint32_t code = length == 1 ? (unsigned char)*at : (unsigned char)*at & (0x7FU >> length);
    for (unsigned i = 1; i < length; i++) {
        if (((unsigned char)at[i] & 0xC0) != 0x80)
            return broken;
        code = code << 6 | ((unsigned char)at[i] & 0x3FU);
    }
    if (code < least[length] || code > 0x10FFFF)
        return broken;
    if ((!has_utf8 && length > 1) || is_in(harmful, COUNT_OF(harmful), code))
        return (struct glyph){.bytes = length, .columns = 1};
    if (is_in(combining, COUNT_OF(combining), code))
        return (struct glyph){.bytes = length, .columns = 0, .is_harmless = true};
    return (struct glyph){.bytes = length, .columns = is_in(wide, COUNT_OF(wide), code) ? 2 : 1, .is_harmless = true};
}

unsigned text_columns(const char *text, bool has_utf8)
{
    unsigned columns = 0;

    while (*text != '\0') {
        struct glyph g = look_at(text, has_utf8);

        columns += g.columns;
        text += g.bytes;
    }
    return columns;
}

struct canvas canvas_with(struct canvas_style style)
{
    return (struct canvas){.style = style};
}

void canvas_drop(struct canvas *c)
{
    buffer_drop(&c->text);
}

void canvas_clear(struct canvas *c)
{
    buffer_clear(&c->text);
    c->column = 0;
    c->n_lines = 0;
}

static const char *ellipsis(const struct canvas *c)
{
    return c->style.has_utf8 ? "…" : "~";
}

/* As much of the text as `columns` hold; too long a one ends in an ellipsis. Returns the columns used. */
static unsigned put_cut(struct canvas *c, const char *text, unsigned columns)
{
    bool is_whole = text_columns(text, c->style.has_utf8) <= columns;
    unsigned used = 0, room = is_whole ? columns : columns - (columns > 0);

    while (*text != '\0') {
        struct glyph g = look_at(text, c->style.has_utf8);

        if (used + g.columns > room)
            break;
        buffer_append(&c->text, g.is_harmless ? text : "?", g.is_harmless ? g.bytes : 1);
        used += g.columns;
        text += g.bytes;
    }
    if (!is_whole && used < columns) {
        buffer_append_text(&c->text, ellipsis(c));
        used++;
    }
    return used;
}

static bool is_full(const struct canvas *c)
{
    return c->style.height != 0 && c->n_lines + 1 >= c->style.height;
}

static unsigned room_left(const struct canvas *c)
{
    if (is_full(c))
        return 0;
    return c->style.width == 0 ? UINT32_MAX / 2 : c->style.width > c->column ? c->style.width - c->column : 0;
}

static void put_up_to(struct canvas *c, enum ink ink, const char *text, unsigned columns)
{
    bool is_coloured = c->style.has_colors && ink != INK_PLAIN && *text != '\0' && columns > 0;

    if (is_coloured)
        buffer_append_text(&c->text, ink_codes[ink]);
    c->column += put_cut(c, text, columns);
    if (is_coloured)
        buffer_append_text(&c->text, "\033[0m");
}

void canvas_put(struct canvas *c, enum ink ink, const char *text)
{
    put_up_to(c, ink, text, room_left(c));
}

void canvas_printf(struct canvas *c, enum ink ink, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    int length = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (length >= 0)
        canvas_put(c, ink, text);
    free(text);
}

void canvas_move_to(struct canvas *c, unsigned column)
{
    unsigned room = room_left(c);

    if (column > c->column) {
        unsigned n = column - c->column < room ? column - c->column : room;

        buffer_printf(&c->text, "%*s", (int)n, "");
        c->column += n;
    }
}

void canvas_put_wrapped(struct canvas *c, enum ink ink, const char *text, unsigned indent)
{
    while (*text != '\0') {
        size_t spaces = strspn(text, " "), word = strcspn(text + spaces, " ");
        char *piece = strndup(text, spaces + word);

        if (piece == NULL)
            return;
        text += spaces + word;
        if (c->style.wrap != 0 && c->column > indent &&
            c->column + text_columns(piece, c->style.has_utf8) > c->style.wrap) {
            canvas_end_line(c);
            canvas_move_to(c, indent);
            canvas_put(c, ink, piece + spaces);
        } else {
            canvas_put(c, ink, piece);
        }
        free(piece);
    }
}

void canvas_put_cell(struct canvas *c, enum ink ink, const char *text, unsigned columns)
{
    unsigned end = c->column + columns, room = room_left(c);

    put_up_to(c, ink, text, columns < room ? columns : room);
    canvas_move_to(c, end);
}

void canvas_mark(struct canvas *c, enum mark mark)
{
    static const struct {
        const char *utf8, *ascii;
        enum ink ink;
    } marks[MARK_COUNT] = {
        /* clang-format off */
        [MARK_DONE] = {"✓", "+", INK_GOOD},
        [MARK_WAITING] = {"·", ".", INK_DIM},
        [MARK_ALARM] = {"!", "!", INK_WARN},
        [MARK_FAILED] = {"✗", "x", INK_BAD},
        /* clang-format on */
    };

    canvas_put(c, marks[mark].ink, c->style.has_utf8 ? marks[mark].utf8 : marks[mark].ascii);
}

void canvas_spinner(struct canvas *c, unsigned turn)
{
    static const char *const utf8[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    static const char *const ascii[] = {"|", "/", "-", "\\"};

    canvas_put(c, INK_BUSY, c->style.has_utf8 ? utf8[turn % COUNT_OF(utf8)] : ascii[turn % COUNT_OF(ascii)]);
}

static void repeat(struct canvas *c, enum ink ink, const char *piece, unsigned n)
{
    struct buffer text = {0};

    for (unsigned i = 0; i < n; i++)
        buffer_append_text(&text, piece);
    canvas_put(c, ink, buffer_text(&text));
    buffer_drop(&text);
}

void canvas_bar(struct canvas *c, enum ink ink, double percent, unsigned columns)
{
    static const char *const utf8[] = {"━", "╸", "─"}, *const ascii[] = {"=", ">", "-"};
    const char *const *pieces = c->style.has_utf8 ? utf8 : ascii;
    unsigned halves = (unsigned)(percent / 100 * 2 * columns);

    if (halves > 2 * columns)
        halves = 2 * columns;
    repeat(c, ink, pieces[0], halves / 2);
    repeat(c, ink, pieces[1], halves % 2);
    repeat(c, INK_DIM, pieces[2], columns - halves / 2 - halves % 2);
}

void canvas_separator(struct canvas *c)
{
    canvas_put(c, INK_DIM, c->style.has_utf8 ? " · " : ", ");
}

void canvas_sparkline(struct canvas *c, enum ink ink, const double *values, unsigned n)
{
    static const char *const levels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const unsigned top = COUNT_OF(levels) - 1;
    double greatest = 0;
    struct buffer text = {0};

    if (!c->style.has_utf8)
        return;
    for (unsigned i = 0; i < n; i++)
        greatest = values[i] > greatest ? values[i] : greatest;
    for (unsigned i = 0; i < n; i++) {
        unsigned level = greatest > 0 ? (unsigned)(values[i] / greatest * top + 0.5) : 0;

        buffer_append_text(&text, levels[level]);
    }
    canvas_put(c, ink, buffer_text(&text));
    buffer_drop(&text);
}

void canvas_end_line(struct canvas *c)
{
    c->column = 0;
    if (is_full(c))
        return;
    while (c->text.length > 0 && c->text.bytes[c->text.length - 1] == ' ')
        c->text.length--;
    buffer_append_char(&c->text, '\n');
    c->n_lines++;
}
