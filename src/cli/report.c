#include "cli/report.h"

#include "control/json.h"

enum {
    COLUMN_TEXT = 4,
    OBJECTS_SHOWN_MAX = 20, /* all of them are in the JSON form */
};

static const struct {
    enum mark mark;
    enum ink ink;
} looks[CHECK_RESULT_COUNT] = {
    /* clang-format off */
    [CHECK_PASSED] = {MARK_DONE, INK_PLAIN},
    [CHECK_ALARM] = {MARK_ALARM, INK_WARN},
    [CHECK_FAILED] = {MARK_FAILED, INK_BAD},
    [CHECK_SKIPPED] = {MARK_WAITING, INK_DIM},
    /* clang-format on */
};

/* Each line of a text that has several, indented. Only prose is broken into more: SQL is there to be copied. */
static void put_lines(struct canvas *c, enum ink ink, const char *text, bool is_prose)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        canvas_move_to(c, COLUMN_TEXT);
        char *line = strndup(text, length);

        if (line != NULL && is_prose)
            canvas_put_wrapped(c, ink, line, COLUMN_TEXT);
        else if (line != NULL)
            canvas_put(c, ink, line);
        free(line);
        canvas_end_line(c);
        text += length + (text[length] == '\n');
    }
}

static void put_objects(struct canvas *c, const struct check_item *item)
{
    unsigned shown = item->n_objects > OBJECTS_SHOWN_MAX ? OBJECTS_SHOWN_MAX - 1 : item->n_objects;

    for (unsigned i = 0; i < shown; i++) {
        canvas_move_to(c, COLUMN_TEXT + 2);
        canvas_put(c, INK_PLAIN, item->objects[i]);
        canvas_end_line(c);
    }
    if (shown < item->n_objects) {
        canvas_move_to(c, COLUMN_TEXT + 2);
        canvas_printf(c, INK_DIM, "and %u more", item->n_objects - shown);
        canvas_end_line(c);
    }
}

static void put_item(struct canvas *c, const struct check_item *item)
{
    bool is_finding = item->result == CHECK_ALARM || item->result == CHECK_FAILED;

    canvas_move_to(c, 2);
    canvas_mark(c, looks[item->result].mark);
    canvas_move_to(c, COLUMN_TEXT);
    canvas_put(c, looks[item->result].ink, item->title);
    canvas_printf(c, INK_DIM, "  %s%s", item->id, item->is_accepted ? ", accepted" : "");
    canvas_end_line(c);
    if (item->reason != NULL)
        put_lines(c, is_finding ? INK_PLAIN : INK_DIM, item->reason, true);
    if (!is_finding)
        return;
    put_objects(c, item);
    if (item->is_accepted)
        return;
    if (item->fix != NULL) {
        canvas_move_to(c, COLUMN_TEXT);
        canvas_put(c, INK_DIM, "to mend it:");
        canvas_end_line(c);
        put_lines(c, INK_BUSY, item->fix, false);
    }
    if (item->result == CHECK_ALARM) {
        canvas_move_to(c, COLUMN_TEXT);
        canvas_printf(c, INK_DIM, "or accept it: --accept %s", item->id);
        canvas_end_line(c);
    }
}

static bool is_shown(const struct check_item *item, enum report_extent extent)
{
    return extent == REPORT_ALL || item->result == CHECK_ALARM || item->result == CHECK_FAILED;
}

static void put_group(struct canvas *c, enum check_group group, const struct check_item *items, unsigned n,
                      enum report_extent extent)
{
    bool is_first = true;

    for (unsigned i = 0; i < n; i++) {
        if (items[i].group != group || !is_shown(&items[i], extent))
            continue;
        if (is_first) {
            canvas_put(c, INK_BOLD, check_group_name(group));
            canvas_end_line(c);
        }
        is_first = false;
        put_item(c, &items[i]);
    }
}

static void put_count(struct canvas *c, bool *is_first, unsigned n, enum ink ink, const char *what)
{
    if (n == 0)
        return;
    if (!*is_first)
        canvas_separator(c);
    canvas_printf(c, ink, "%u %s", n, what);
    *is_first = false;
}

static void put_counts(struct canvas *c, const struct check_item *items, unsigned n)
{
    struct check_counts counts = check_count(items, n);
    bool is_first = true;

    canvas_mark(c, check_allows_start(items, n) ? MARK_DONE : MARK_FAILED);
    canvas_put(c, INK_BOLD, " precheck: ");
    put_count(c, &is_first, counts.passed, INK_PLAIN, "passed");
    put_count(c, &is_first, counts.failed, INK_BAD, "failed");
    put_count(c, &is_first, counts.alarms, INK_WARN, counts.alarms == 1 ? "alarm" : "alarms");
    put_count(c, &is_first, counts.accepted, INK_PLAIN, counts.accepted == 1 ? "alarm accepted" : "alarms accepted");
    put_count(c, &is_first, counts.skipped, INK_DIM, "not checked");
    canvas_end_line(c);
}

void report_draw(struct canvas *c, const struct check_item *items, unsigned n, enum report_extent extent)
{
    for (enum check_group group = 0; group < CHECK_GROUP_COUNT; group++)
        put_group(c, group, items, n, extent);
    put_counts(c, items, n);
}

static json_t *item_document(const struct check_item *item)
{
    json_t *objects = json_array();

    for (unsigned i = 0; i < item->n_objects; i++)
        json_array_append_new(objects, json_text(item->objects[i]));
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "id", item->id, "group", check_group_name(item->group),
                     "result", check_result_name(item->result), "accepted", (int)item->is_accepted, "title",
                     json_text(item->title), "reason", json_text(item->reason), "objects", objects, "fix",
                     json_text(item->fix));
}

json_t *report_document(const struct check_item *items, unsigned n)
{
    struct check_counts counts = check_count(items, n);
    json_t *all = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(all, item_document(&items[i]));
    return json_pack("{s:s, s:{s:i, s:i, s:i, s:i, s:i}, s:o}", "result",
                     check_allows_start(items, n) ? "passed" : "refused", "counts", "passed", (int)counts.passed,
                     "alarms", (int)counts.alarms, "accepted", (int)counts.accepted, "failed", (int)counts.failed,
                     "skipped", (int)counts.skipped, "items", all);
}
