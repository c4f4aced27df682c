#include "cli/cutover_view.h"

#include "cli/report.h"
#include "control/json.h"

enum { INDENT = 4, OBJECTS_SHOWN_MAX = 20, COLUMN_DESCRIPTION = 23 };

static void put_line(struct canvas *c, enum ink ink, const char *text)
{
    canvas_move_to(c, INDENT);
    canvas_put_wrapped(c, ink, text, INDENT);
    canvas_end_line(c);
}

static void put_item(struct canvas *c, const struct check_item *item)
{
    unsigned shown = item->n_objects > OBJECTS_SHOWN_MAX ? OBJECTS_SHOWN_MAX : item->n_objects;

    canvas_mark(c, report_looks[item->result].mark);
    canvas_printf(c, report_looks[item->result].ink, " %s", item->title);
    canvas_printf(c, INK_DIM, "  %s", item->id);
    canvas_end_line(c);
    if (item->reason != NULL)
        put_line(c, item->result == CHECK_PASSED ? INK_DIM : INK_PLAIN, item->reason);
    for (unsigned i = 0; i < shown; i++)
        put_line(c, INK_PLAIN, item->objects[i]);
    if (shown < item->n_objects) {
        canvas_move_to(c, INDENT);
        canvas_printf(c, INK_DIM, "and %u more", item->n_objects - shown);
        canvas_end_line(c);
    }
    if (item->fix != NULL) {
        canvas_move_to(c, INDENT);
        canvas_printf(c, INK_BUSY, "to mend it: %s", item->fix);
        canvas_end_line(c);
    }
}

void cutover_draw_plan(struct canvas *c, const struct cutover_report *r)
{
    canvas_put(c, INK_BOLD, "checklist");
    canvas_end_line(c);
    for (unsigned i = 0; i < r->n_items; i++)
        put_item(c, &r->items[i]);
    canvas_put(c, INK_BOLD, "steps");
    canvas_end_line(c);
    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++) {
        bool is_planned = r->steps[s].state != CUTOVER_LEFT_OUT;

        canvas_mark(c, MARK_WAITING);
        canvas_printf(c, is_planned ? INK_PLAIN : INK_DIM, " %s", cutover_step_name(s));
        canvas_move_to(c, COLUMN_DESCRIPTION);
        canvas_put_wrapped(c, INK_DIM, is_planned ? cutover_step_description(s) : "left out", COLUMN_DESCRIPTION);
        canvas_end_line(c);
    }
}

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

void cutover_draw_step(struct canvas *c, const struct cutover_report *r, enum cutover_step step)
{
    const struct cutover_step_report *s = &r->steps[step];

    if (s->state == CUTOVER_RUNNING) {
        canvas_printf(c, INK_BUSY, "  %s: %s", cutover_step_name(step), cutover_step_description(step));
        canvas_end_line(c);
        return;
    }
    canvas_mark(c, s->state == CUTOVER_DONE ? MARK_DONE : MARK_FAILED);
    canvas_printf(c, s->state == CUTOVER_DONE ? INK_PLAIN : INK_BAD, " %s: %s%.2f s", cutover_step_name(step),
                  s->state == CUTOVER_DONE ? "" : "failed after ", seconds(s->elapsed_us));
    if (s->detail != NULL)
        canvas_printf(c, INK_DIM, ", %s", s->detail);
    canvas_end_line(c);
}

static const char *const endings[CUTOVER_OUTCOME_COUNT] = {
    [CUTOVER_NOT_BEGUN] = "nothing was changed",
    [CUTOVER_COMPLETED] = "cut over: the application may write to the target",
    [CUTOVER_UNDONE] = "undone: the application may write to the source as before",
    [CUTOVER_LEFT_HALF] = "not ended: the same command goes on",
};

void cutover_draw_end(struct canvas *c, const struct cutover_report *r)
{
    canvas_mark(c, r->outcome == CUTOVER_LEFT_HALF ? MARK_FAILED : MARK_DONE);
    canvas_printf(c, INK_BOLD, " %s", endings[r->outcome]);
    canvas_end_line(c);
    if (r->downtime_us > 0) {
        canvas_move_to(c, INDENT);
        canvas_printf(c, INK_PLAIN, "nobody could write for %.2f s", seconds(r->downtime_us));
        canvas_end_line(c);
    }
    if (r->is_frozen)
        put_line(c, INK_PLAIN, "the source stays read-only by default; the same command with --undo opens it again");
}

static json_t *item_document(const struct check_item *item)
{
    json_t *objects = json_array();

    for (unsigned i = 0; i < item->n_objects; i++)
        json_array_append_new(objects, json_text(item->objects[i]));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "id", item->id, "result", check_result_name(item->result),
                     "title", json_text(item->title), "reason", json_text(item->reason), "objects", objects, "fix",
                     json_text(item->fix));
}

json_t *cutover_document(const struct cutover_report *r, const char *error)
{
    json_t *items = json_array(), *steps = json_array();

    for (unsigned i = 0; i < r->n_items; i++)
        json_array_append_new(items, item_document(&r->items[i]));
    for (enum cutover_step s = 0; s < CUTOVER_STEP_COUNT; s++)
        json_array_append_new(
            steps, json_pack("{s:s, s:s, s:s, s:f, s:o}", "step", cutover_step_name(s), "does",
                             cutover_step_description(s), "state", cutover_state_name(r->steps[s].state), "seconds",
                             seconds(r->steps[s].elapsed_us), "detail", json_text(r->steps[s].detail)));
    return json_pack("{s:s, s:o, s:o, s:f, s:o, s:b, s:o}", "outcome", cutover_outcome_name(r->outcome), "checklist",
                     items, "steps", steps, "write_downtime_seconds", seconds(r->downtime_us), "position",
                     json_text(r->position), "source_is_frozen", (int)r->is_frozen, "error", json_text(error));
}
