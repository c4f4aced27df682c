/* The three kinds of files that hold rules. */
#include <strings.h>

#include <jansson.h>

#include "base/buffer.h"
#include "model/selection.h"

enum { CELLS_MAX = 64 };

static const char *place(struct arena *a, const char *file, const char *what, unsigned n)
{
    return arena_printf(a, "\"%s\", %s %u", file, what, n);
}

static struct error *add_names(struct arena *a, struct selection_rules *rules, const char *schema, const char *name,
                               bool excludes, const char *where)
{
    if (schema[0] == '\0' || name[0] == '\0')
        return error_new(ERROR_USAGE, "%s: a schema and a table are needed, and one is empty", where);
    return selection_add(a, rules, arena_printf(a, "%s%s", excludes ? "!" : "", selection_exact(a, schema, name)),
                         where);
}

/* ---- a rule a line ---- */

static struct error *add_line(struct arena *a, struct selection_rules *rules, const char *line, const char *where)
{
    size_t length;

    while (*line == ' ' || *line == '\t')
        line++;
    length = strlen(line);
    while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL)
        length--;
    if (length == 0 || line[0] == '#')
        return NULL;
    return selection_add(a, rules, arena_printf(a, "%.*s", (int)length, line), where);
}

static struct error *add_lines(struct arena *a, struct selection_rules *rules, const char *file, const char *text)
{
    unsigned number = 1;

    for (const char *line = text; *line != '\0'; number++) {
        size_t length = strcspn(line, "\n");

        TRY(add_line(a, rules, arena_printf(a, "%.*s", (int)length, line), place(a, file, "line", number)));
        line += length + (line[length] == '\n');
    }
    return NULL;
}

/* ---- CSV ---- */

struct cell {
    const char *text;
    bool is_quoted;
};

struct csv {
    struct arena *a;
    const char *file;
    const char *at;
    unsigned line; /* of what is read next */
    struct cell cells[CELLS_MAX];
    unsigned n_cells;
};

/* A cell and what ends it: a comma, the end of the line or of the text. */
static struct error *read_cell(struct csv *c, struct cell *out)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    *out = (struct cell){.is_quoted = *c->at == '"'};
    if (!out->is_quoted) {
        const char *end = c->at + strcspn(c->at, ",\r\n"), *from = c->at + strspn(c->at, " \t");

        c->at = end;
        while (end > from && strchr(" \t", end[-1]) != NULL)
            end--;
        out->text = end > from ? arena_printf(c->a, "%.*s", (int)(end - from), from) : "";
        return NULL;
    }
    for (c->at++; *c->at != '"' || c->at[1] == '"'; c->at++) {
        if (*c->at == '\0')
            return error_new(ERROR_USAGE, "%s: a double quote is not closed", place(c->a, c->file, "line", c->line));
        c->at += *c->at == '"';
        c->line += *c->at == '\n';
        buffer_append_char(text, *c->at);
    }
    c->at++;
    if (strchr(",\r\n", *c->at) == NULL) /* or the end */
        return error_new(ERROR_USAGE, "%s: a comma is missing behind a quoted name",
                         place(c->a, c->file, "line", c->line));
    out->text = arena_strdup(c->a, buffer_text(text));
    return NULL;
}

/* Empty lines and comments have no cells. */
static struct error *read_row(struct csv *c)
{
    c->n_cells = 0;
    if (*c->at == '#')
        c->at += strcspn(c->at, "\n");
    while (*c->at != '\0' && *c->at != '\n' && *c->at != '\r') {
        if (c->n_cells == CELLS_MAX)
            return error_new(ERROR_USAGE, "%s: more than %d columns", place(c->a, c->file, "line", c->line), CELLS_MAX);
        TRY(read_cell(c, &c->cells[c->n_cells++]));
        if (*c->at == ',' && strchr("\r\n", *++c->at) != NULL && c->n_cells < CELLS_MAX)
            c->cells[c->n_cells++] = (struct cell){.text = ""};
    }
    c->at += *c->at == '\r';
    c->at += *c->at == '\n';
    return NULL;
}

static int column_named(const struct csv *c, const char *const *names)
{
    for (; *names != NULL; names++)
        for (unsigned i = 0; i < c->n_cells; i++)
            if (strcasecmp(c->cells[i].text, *names) == 0)
                return (int)i;
    return -1;
}

/* As a part of a rule: quoted cells are names, in others stars and question marks keep their meaning. */
static const char *as_part(struct arena *a, const struct cell *cell)
{
    CLEANUP(buffer_free) struct buffer *part = buffer_new();
    bool is_open = false;

    for (const char *p = cell->text; *p != '\0'; p++) {
        bool is_literal = cell->is_quoted || (*p != '*' && *p != '?');

        if (is_literal != is_open)
            buffer_append_char(part, '"');
        is_open = is_literal;
        if (*p == '"')
            buffer_append_char(part, '"');
        buffer_append_char(part, *p);
    }
    if (is_open)
        buffer_append_char(part, '"');
    return arena_strdup(a, buffer_text(part));
}

static bool needs_no_quotes(const struct cell *cell)
{
    return cell->text[0] != '\0' && strpbrk(cell->text, cell->is_quoted ? "\"*?.,#!" : "\".,#!") == NULL;
}

static struct error *add_row(struct csv *c, struct selection_rules *rules, int schema, int table, const char *where)
{
    struct cell s = c->cells[schema], t = c->cells[table];
    bool excludes = !s.is_quoted && s.text[0] == '!';

    s.text += excludes;
    if (s.text[0] == '\0' || t.text[0] == '\0')
        return error_new(ERROR_USAGE, "%s: a schema and a table are needed, and one is empty", where);
    return selection_add(c->a, rules,
                         arena_printf(c->a, "%s%s.%s", excludes ? "!" : "",
                                      needs_no_quotes(&s) ? s.text : as_part(c->a, &s),
                                      needs_no_quotes(&t) ? t.text : as_part(c->a, &t)),
                         where);
}

static struct error *add_csv(struct arena *a, struct selection_rules *rules, const char *file, const char *text)
{
    static const char *const schema_names[] = {"schema", "schema_name", "table_schema", NULL};
    static const char *const table_names[] = {"table", "name", "table_name", "object", NULL};
    struct csv c = {.a = a, .file = file, .at = text, .line = 1};
    int schema = 0, table = 1;
    bool is_first = true;

    while (*c.at != '\0') {
        const char *where = place(a, file, "line", c.line);

        TRY(read_row(&c));
        c.line++;
        if (c.n_cells == 0)
            continue;
        bool is_head = is_first && column_named(&c, schema_names) >= 0 && column_named(&c, table_names) >= 0;
        is_first = false;
        if (is_head) {
            schema = column_named(&c, schema_names);
            table = column_named(&c, table_names);
            continue;
        }
        if ((int)c.n_cells <= (schema > table ? schema : table))
            return error_hint(
                error_new(ERROR_USAGE, "%s: it has %u column%s, a schema and a table are needed", where, c.n_cells,
                          c.n_cells == 1 ? "" : "s"),
                "Columns are parted by commas: sales,orders. A list of rules needs another ending than .csv.");
        TRY(add_row(&c, rules, schema, table, where));
    }
    return NULL;
}

/* ---- JSON ---- */

static const char *text_of(const json_t *object, const char *first, const char *second)
{
    const char *text = json_string_value(json_object_get(object, first));

    return text != NULL || second == NULL ? text : json_string_value(json_object_get(object, second));
}

static struct error *add_entry(struct arena *a, struct selection_rules *rules, const json_t *entry, const char *where)
{
    if (json_is_string(entry))
        return selection_add(a, rules, json_string_value(entry), where);
    const char *schema = text_of(entry, "schema", NULL), *name = text_of(entry, "table", "name");

    if (schema == NULL || name == NULL)
        return error_hint(error_new(ERROR_USAGE, "%s: neither a rule nor an object with schema and table", where),
                          "Entries are texts such as \"sales.*\" or objects such as {\"schema\": \"sales\", \"table\": "
                          "\"orders\"}.");
    return add_names(a, rules, schema, name, json_is_true(json_object_get(entry, "exclude")), where);
}

static void json_release_cleanup_(json_t **j)
{
    json_decref(*j);
}

static struct error *add_json(struct arena *a, struct selection_rules *rules, const char *file, const char *text,
                              size_t length)
{
    json_error_t wrong;
    CLEANUP(json_release) json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &wrong);
    size_t i;
    json_t *entry;

    if (document == NULL)
        return error_new(ERROR_USAGE, "%s: %s", place(a, file, "line", (unsigned)wrong.line), wrong.text);
    if (!json_is_array(document))
        return error_new(ERROR_USAGE, "\"%s\": it is JSON, but no array of rules", file);
    json_array_foreach(document, i, entry) TRY(add_entry(a, rules, entry, place(a, file, "entry", (unsigned)i + 1)));
    return NULL;
}

/* ---- any ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);

    return length >= n && strcasecmp(text + length - n, end) == 0;
}

struct error *selection_add_file(struct arena *a, struct selection_rules *rules, const char *file, const char *text,
                                 size_t length)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    unsigned before = rules->n;

    if (strlen(text) != length)
        return error_new(ERROR_USAGE, "\"%s\" holds a NUL byte", file);
    if (strncmp(text, byte_order_mark, strlen(byte_order_mark)) == 0)
        text += strlen(byte_order_mark);
    const char *first = text + strspn(text, " \t\r\n");
    if (*first == '[' || *first == '{')
        TRY(add_json(a, rules, file, text, strlen(text)));
    else if (ends_with(file, ".csv"))
        TRY(add_csv(a, rules, file, text));
    else
        TRY(add_lines(a, rules, file, text));
    return rules->n > before ? NULL : error_new(ERROR_USAGE, "\"%s\" holds no rule", file);
}
