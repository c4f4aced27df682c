#include "cli/report.h"

#include "control/json.h"

enum {
    COLUMN_TEXT = 4,
    COLUMN_REASON = 29,     /* beside the longest id */
    OBJECTS_SHOWN_MAX = 20, /* all of them are in the JSON form */
};

const struct report_look report_looks[CHECK_RESULT_COUNT] = {
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

static bool is_finding(const struct check_item *item)
{
    return item->result == CHECK_ALARM || item->result == CHECK_FAILED;
}

/* ---- all items, a line each ---- */

static void put_line(struct canvas *c, const struct check_item *item)
{
    bool is_told_below = is_finding(item);
    bool has_reason = item->reason != NULL && item->reason[0] != '\0';

    canvas_move_to(c, 2);
    canvas_mark(c, report_looks[item->result].mark);
    canvas_move_to(c, COLUMN_TEXT);
    canvas_put(c, report_looks[item->result].ink, item->id);
    canvas_move_to(c, COLUMN_REASON);
    if (is_told_below)
        canvas_printf(c, report_looks[item->result].ink, "%s%s", check_result_name(item->result),
                      item->is_accepted ? ", accepted" : "");
    else
        canvas_put_wrapped(c, INK_DIM, has_reason ? item->reason : item->title, COLUMN_REASON);
    canvas_end_line(c);
}

static void put_group(struct canvas *c, enum check_group group, const struct check_item *items, unsigned n)
{
    bool is_first = true;

    for (unsigned i = 0; i < n; i++) {
        if (items[i].group != group)
            continue;
        if (is_first) {
            canvas_put(c, INK_BOLD, check_group_name(group));
            canvas_end_line(c);
        }
        is_first = false;
        put_line(c, &items[i]);
    }
}

/* ---- findings ---- */

static void put_remedy(struct canvas *c, const struct check_item *item)
{
    if (item->fix != NULL) {
        canvas_move_to(c, COLUMN_TEXT);
        canvas_put(c, INK_DIM, item->n_repairs > 0 ? "to mend it (or by pgtide check --fix):" : "to mend it:");
        canvas_end_line(c);
        put_lines(c, INK_BUSY, item->fix, false);
    }
    if (item->result == CHECK_ALARM) {
        canvas_move_to(c, COLUMN_TEXT);
        canvas_printf(c, INK_DIM, "or accept it: --accept %s", item->id);
        canvas_end_line(c);
    }
}

static void put_finding(struct canvas *c, const struct check_item *item)
{
    canvas_move_to(c, 2);
    canvas_mark(c, report_looks[item->result].mark);
    canvas_move_to(c, COLUMN_TEXT);
    canvas_put(c, report_looks[item->result].ink, check_result_name(item->result));
    canvas_put(c, INK_PLAIN, ": ");
    canvas_put(c, INK_BOLD, item->title);
    canvas_printf(c, INK_DIM, "  %s%s", item->id, item->is_accepted ? ", accepted" : "");
    canvas_end_line(c);
    if (item->reason != NULL)
        put_lines(c, INK_PLAIN, item->reason, true);
    put_objects(c, item);
    if (!item->is_accepted)
        put_remedy(c, item);
    canvas_end_line(c);
}

/* What keeps it from beginning first. */
static void put_findings(struct canvas *c, const struct check_item *items, unsigned n)
{
    static const struct {
        enum check_result result;
        bool is_accepted;
    } order[] = {{CHECK_FAILED, false}, {CHECK_ALARM, false}, {CHECK_ALARM, true}};

    for (size_t o = 0; o < COUNT_OF(order); o++)
        for (unsigned i = 0; i < n; i++)
            if (items[i].result == order[o].result && items[i].is_accepted == order[o].is_accepted)
                put_finding(c, &items[i]);
}

/* ---- the sum ---- */

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

/* What to type next. */
static void put_next(struct canvas *c, const struct check_item *items, unsigned n)
{
    unsigned n_repairs = 0, n_alarms = 0;

    for (unsigned i = 0; i < n; i++) {
        if (!is_finding(&items[i]) || items[i].is_accepted)
            continue;
        n_repairs += items[i].n_repairs;
        n_alarms += items[i].result == CHECK_ALARM;
    }
    if (n_repairs > 0) {
        canvas_printf(c, INK_DIM, "  pgtide check --fix runs %u statement%s that %s safe, and checks again", n_repairs,
                      n_repairs == 1 ? "" : "s", n_repairs == 1 ? "is" : "are");
        canvas_end_line(c);
    }
    if (n_alarms == 0 || check_count(items, n).failed > 0)
        return;
    canvas_put(c, INK_DIM, "  to begin in spite of the alarms: --accept ");
    for (unsigned i = 0, n_named = 0; i < n; i++)
        if (items[i].result == CHECK_ALARM && !items[i].is_accepted)
            canvas_printf(c, INK_DIM, "%s%s", n_named++ == 0 ? "" : ",", items[i].id);
    canvas_end_line(c);
}

void report_draw(struct canvas *c, const struct check_item *items, unsigned n, enum report_extent extent)
{
    struct check_counts counts = check_count(items, n);

    for (enum check_group group = 0; extent == REPORT_ALL && group < CHECK_GROUP_COUNT; group++)
        put_group(c, group, items, n);
    if (extent == REPORT_ALL && counts.failed + counts.alarms + counts.accepted > 0)
        canvas_end_line(c);
    put_findings(c, items, n);
    put_counts(c, items, n);
    put_next(c, items, n);
}

void report_draw_repairs(struct canvas *c, const struct check_repair *repairs, unsigned n)
{
    if (n == 0)
        return;
    canvas_put(c, INK_BOLD, "done by --fix");
    canvas_end_line(c);
    for (unsigned i = 0; i < n; i++) {
        canvas_move_to(c, 2);
        canvas_mark(c, repairs[i].is_done ? MARK_DONE : MARK_FAILED);
        canvas_move_to(c, COLUMN_TEXT);
        canvas_printf(c, INK_DIM, "on the %s  ", repairs[i].on_source ? "source" : "target");
        canvas_put(c, repairs[i].is_done ? INK_PLAIN : INK_BAD, repairs[i].sql);
        canvas_end_line(c);
        if (repairs[i].problem != NULL)
            put_lines(c, INK_PLAIN, repairs[i].problem, true);
    }
    canvas_end_line(c);
}

static json_t *accounts_document(const struct check_item *item)
{
    json_t *can = json_array(), *cannot = json_array();

    for (unsigned i = 0; i < item->n_accounts; i++) {
        const struct check_account *x = &item->accounts[i];

        json_array_append_new(x->is_carried ? can : cannot,
                              json_pack("{s:o, s:o}", "name", json_text(x->name), "remark", json_text(x->remark)));
    }
    return json_pack("{s:o, s:o}", "can_be_synchronized", can, "cannot_be_synchronized", cannot);
}

static json_t *item_document(const struct check_item *item)
{
    json_t *objects = json_array();

    for (unsigned i = 0; i < item->n_objects; i++)
        json_array_append_new(objects, json_text(item->objects[i]));
    json_t *all = json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:i}", "id", item->id, "group",
                            check_group_name(item->group), "result", check_result_name(item->result), "accepted",
                            (int)item->is_accepted, "title", json_text(item->title), "reason", json_text(item->reason),
                            "objects", objects, "fix", json_text(item->fix), "safe_fixes", (int)item->n_repairs);
    if (item->accounts != NULL)
        json_object_set_new(all, "accounts", accounts_document(item));
    return all;
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

json_t *report_repairs_document(const struct check_repair *repairs, unsigned n)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < n; i++)
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:o, s:b, s:o}", "id", repairs[i].id, "side",
                                        repairs[i].on_source ? "source" : "target", "sql", json_text(repairs[i].sql),
                                        "done", (int)repairs[i].is_done, "problem", json_text(repairs[i].problem)));
    return all;
}
