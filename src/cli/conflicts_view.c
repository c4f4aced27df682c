#include "cli/conflicts_view.h"

#include <inttypes.h>

enum { INDENT = 4 };

static const char *text_of(const json_t *document, const char *member)
{
    const char *text = json_string_value(json_object_get(document, member));

    return text == NULL ? "" : text;
}

/* A row, or a list of rows, as compact JSON. */
static void row_line(struct canvas *c, const json_t *conflict, const char *member)
{
    const json_t *row = json_object_get(conflict, member);
    char *text = row == NULL || json_is_null(row) ? NULL : json_dumps(row, JSON_COMPACT | JSON_ENCODE_ANY);

    if (text == NULL)
        return;
    canvas_move_to(c, INDENT);
    canvas_printf(c, INK_DIM, "%s ", member);
    canvas_put_wrapped(c, INK_PLAIN, text, INDENT + 4);
    canvas_end_line(c);
    free(text);
}

static void conflict_lines(struct canvas *c, const json_t *conflict)
{
    if (json_object_get(conflict, "text") != NULL) { /* of a database whose text is in no known encoding */
        canvas_put(c, INK_PLAIN, text_of(conflict, "text"));
        canvas_end_line(c);
        return;
    }
    canvas_mark(c, MARK_ALARM);
    canvas_printf(c, INK_BOLD, " %s", text_of(conflict, "table"));
    canvas_printf(c, INK_PLAIN, " %s: ", text_of(conflict, "kind"));
    canvas_printf(c, INK_WARN, "%s", text_of(conflict, "action"));
    canvas_printf(c, INK_PLAIN, " (%s)", text_of(conflict, "policy"));
    canvas_printf(c, INK_DIM, " at %s, source transaction %" JSON_INTEGER_FORMAT ", %s", text_of(conflict, "at"),
                  json_integer_value(json_object_get(conflict, "xid")), text_of(conflict, "lsn"));
    canvas_end_line(c);
    row_line(c, conflict, "key");
    row_line(c, conflict, "old");
    row_line(c, conflict, "new");
}

static void stopped_lines(struct canvas *c, const json_t *stopped)
{
    canvas_mark(c, MARK_FAILED);
    canvas_printf(c, INK_BOLD, " stopped");
    canvas_printf(c, INK_DIM, " at %s, source transaction %" JSON_INTEGER_FORMAT ", %s", text_of(stopped, "at"),
                  json_integer_value(json_object_get(stopped, "xid")), text_of(stopped, "lsn"));
    canvas_end_line(c);
    canvas_move_to(c, INDENT);
    canvas_put_wrapped(c, INK_PLAIN, text_of(stopped, "statement"), INDENT);
    canvas_end_line(c);
    canvas_move_to(c, INDENT);
    canvas_put_wrapped(c, INK_BAD, text_of(stopped, "cause"), INDENT);
    canvas_end_line(c);
    canvas_move_to(c, INDENT);
    canvas_put_wrapped(c, INK_PLAIN,
                       json_is_true(json_object_get(stopped, "ddl"))
                           ? "Mend the cause and run \"pgtide resume\", or decide: pgtide resume with --skip-change, "
                             "--skip-transaction or --replace-with FILE or SQL."
                           : "Mend the cause and run \"pgtide resume\", or decide: pgtide resume with --skip-change, "
                             "--skip-transaction or --overwrite.",
                       INDENT);
    canvas_end_line(c);
}

void conflicts_draw(struct canvas *c, const json_t *document)
{
    const json_t *conflicts = json_object_get(document, "conflicts"), *stopped = json_object_get(document, "stopped");

    for (size_t i = 0; i < json_array_size(conflicts); i++)
        conflict_lines(c, json_array_get(conflicts, i));
    if (json_is_object(stopped))
        stopped_lines(c, stopped);
    if (json_array_size(conflicts) == 0 && !json_is_object(stopped)) {
        canvas_put(c, INK_PLAIN, "no conflict is recorded");
        canvas_end_line(c);
    }
}
