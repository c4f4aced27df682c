#include "cli/leftovers.h"

#include "control/json.h"

static const char *fate(const struct leftover *l)
{
    return l->is_unknown  ? "what is in it is not known"
           : l->removed   ? "removed"
           : l->in_use    ? "in use by a running sync"
           : l->resumable ? "resumable"
                          : "abandoned";
}

static void draw_one(struct canvas *c, const struct leftover *l)
{
    canvas_mark(c, l->problem != NULL ? MARK_FAILED : l->removed || l->in_use ? MARK_DONE : MARK_ALARM);
    canvas_printf(c, INK_PLAIN, " %s ", l->kind);
    canvas_printf(c, INK_BOLD, "\"%s\"", l->name);
    if (l->database != NULL)
        canvas_printf(c, INK_PLAIN, " in database \"%s\"", l->database);
    canvas_printf(c, INK_PLAIN, ": %s", fate(l));
    if (l->detail != NULL)
        canvas_printf(c, INK_DIM, ", %s", l->detail);
    canvas_end_line(c);
    if (l->problem != NULL) {
        canvas_move_to(c, 4);
        canvas_printf(c, INK_BAD, l->is_unknown ? "could not be looked into: %s" : "could not be removed: %s",
                      l->problem);
        canvas_end_line(c);
    }
}

void leftovers_draw(struct canvas *c, const struct leftover *leftovers, unsigned n)
{
    if (n == 0) {
        canvas_put(c, INK_PLAIN, "nothing of pgtide's is on this server");
        canvas_end_line(c);
    }
    for (unsigned i = 0; i < n; i++)
        draw_one(c, &leftovers[i]);
}

json_t *leftovers_document(const struct leftover *leftovers, unsigned n)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < n; i++) {
        const struct leftover *l = &leftovers[i];

        json_array_append_new(all,
                              json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o}", "kind", json_text(l->kind),
                                        "database", json_text(l->database), "name", json_text(l->name), "detail",
                                        json_text(l->detail), "in_use", (int)l->in_use, "resumable", (int)l->resumable,
                                        "removed", (int)l->removed, "problem", json_text(l->problem)));
    }
    return json_pack("{s:o}", "leftovers", all);
}
