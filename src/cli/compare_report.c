#include "cli/compare_report.h"

#include <errno.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "cli/compare_view.h"
#include "cli/format.h"
#include "control/json.h"
#include "sys/file.h"

enum report_form {
    REPORT_HTML,
    REPORT_JSON,
    REPORT_CSV,
    REPORT_SQL,
};

static const struct {
    const char *ending;
    enum report_form form;
} forms[] = {{".html", REPORT_HTML}, {".json", REPORT_JSON}, {".csv", REPORT_CSV}, {".sql", REPORT_SQL}};

struct compare_report {
    char *path;
    enum report_form form;
    FILE *file;
    struct compare_progress *progress;
    int failure; /* errno of the first write that failed; 0 */
};

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), of_ending = strlen(ending);

    return length > of_ending && strcmp(text + length - of_ending, ending) == 0;
}

static void put(struct compare_report *r, const char *text)
{
    if (r->failure == 0 && fputs(text, r->file) == EOF)
        r->failure = errno;
}

/* ---- CSV (RFC 4180) and SQL ---- */

static void put_field(struct compare_report *r, const char *text, const char *end)
{
    CLEANUP(buffer_free) struct buffer *field = buffer_new();

    buffer_append_char(field, '"');
    for (const char *at = text == NULL ? "" : text; *at != '\0'; at++) {
        if (*at == '"')
            buffer_append_char(field, '"');
        buffer_append_char(field, *at);
    }
    buffer_append_char(field, '"');
    buffer_append_text(field, end);
    put(r, buffer_text(field));
}

enum { CSV_FIELDS = 12 };

static void put_record(struct compare_report *r, const char *const *fields)
{
    for (unsigned i = 0; i < CSV_FIELDS; i++)
        put_field(r, fields[i], i + 1 < CSV_FIELDS ? "," : "\r\n");
}

/* One line for each column that differs; one for a row or object that is missing. */
static void put_csv(struct compare_report *r, enum compare_kind kind, const struct difference *d)
{
    bool is_again = atomic_load(&r->progress->step) == COMPARE_AGAIN;
    unsigned n = d->n_columns == 0 ? 1 : d->n_columns;

    for (unsigned i = 0; i < n; i++) {
        struct difference_column none = {0};
        const struct difference_column *column = d->n_columns == 0 ? &none : &d->columns[i];
        const char *fields[CSV_FIELDS] = {is_again ? "2" : "1",
                                          compare_kind_name(kind),
                                          d->what,
                                          d->identity,
                                          difference_side_name(d->side),
                                          column->name,
                                          column->source,
                                          column->target,
                                          d->select_source,
                                          d->select_target,
                                          d->repair};

        put_record(r, fields);
    }
}

/* A table that is missing, or was not compared: no row of it was found to differ, and silence would say that it is equal. */
static void put_csv_reasons(struct compare_report *r, const char *round, const struct compare_result *result)
{
    for (unsigned i = 0; i < result->n_entries; i++) {
        const struct compare_entry *e = result->entries[i];
        const char *fields[CSV_FIELDS] = {round, compare_kind_name(e->kind), e->name, [4] = verdict_name(e->verdict),
                                          [CSV_FIELDS - 1] = e->reason};

        if (e->verdict != VERDICT_EQUAL && e->reason != NULL)
            put_record(r, fields);
    }
}

static void put_all_csv_reasons(struct compare_report *r, const struct compare_result *result)
{
    if (result->before_repair != NULL)
        put_csv_reasons(r, "1", result->before_repair);
    put_csv_reasons(r, result->before_repair == NULL ? "1" : "2", result);
}

static void found(void *self, enum compare_kind kind, const struct difference *d)
{
    struct compare_report *r = self;

    if (r->form == REPORT_CSV) {
        put_csv(r, kind, d);
    } else if (d->repair != NULL) {
        put(r, d->repair);
        put(r, ";\n");
    }
}

struct compare_sink compare_report_sink(struct compare_report *r)
{
    bool is_streamed = r->form == REPORT_CSV || r->form == REPORT_SQL;

    return is_streamed ? (struct compare_sink){.found = found, .self = r} : (struct compare_sink){0};
}

struct error *compare_report_open(const char *path, struct compare_progress *progress,
                                  struct compare_report **out_report)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        if (!ends_with(path, forms[i].ending))
            continue;
        CLEANUP(compare_report_close) struct compare_report *r = MEMORY_NEW(struct compare_report);

        r->form = forms[i].form;
        r->progress = progress;
        r->path = strdup(path);
        r->file = fopen(path, "we");
        if (r->file == NULL)
            return file_error(errno, "could not write the report \"%s\"", path);
        if (r->form == REPORT_CSV)
            put(r, "round,kind,what,identity,difference,column,source,target,select_source,select_target,repair,"
                   "reason\r\n");
        if (r->form == REPORT_SQL)
            put(r, "-- Makes the target's rows those of the source. Deletions and insertions come in the order in "
                   "which they were\n"
                   "-- found; `pgtide compare --repair` orders them and keeps the sync still meanwhile.\n");
        *out_report = TAKE(r);
        return NULL;
    }
    return error_hint(
        error_new(ERROR_USAGE, "option \"--report\": \"%s\" ends in none of .html, .csv, .json, .sql", path),
        "The ending of the name chooses the form.");
}

void compare_report_close(struct compare_report *r)
{
    if (r == NULL)
        return;
    if (r->file != NULL)
        fclose(r->file);
    free(r->path);
    free(r);
}

/* ---- HTML ---- */

static void put_html(struct compare_report *r, const char *text)
{
    CLEANUP(buffer_free) struct buffer *escaped = buffer_new();

    for (const char *at = text == NULL ? "NULL" : text; *at != '\0'; at++) {
        switch (*at) {
        case '&':
            buffer_append_text(escaped, "&amp;");
            break;
        case '<':
            buffer_append_text(escaped, "&lt;");
            break;
        case '>':
            buffer_append_text(escaped, "&gt;");
            break;
        case '"':
            buffer_append_text(escaped, "&quot;");
            break;
        default:
            buffer_append_char(escaped, *at);
        }
    }
    put(r, buffer_text(escaped));
}

static void put_element(struct compare_report *r, const char *open, const char *text, const char *close)
{
    put(r, open);
    put_html(r, text);
    put(r, close);
}

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>pgtide "
    "comparison</title>\n<style>\n"
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 "
    "1rem}\n"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 "
    "1.5rem}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;"
    "border-bottom:1px solid #8886}\ntd.n{text-align:right}pre,code{font:13px/1.4 "
    "ui-monospace,monospace;white-space:pre-wrap;"
    "overflow-wrap:anywhere;margin:0}\n.equal{color:#187a2f}.different{color:#c62828}.not{color:#a86400}"
    "details{margin:.2rem 0}summary{cursor:pointer}\n</style></head><body>\n";

static const char *class_of(enum verdict verdict)
{
    static const char *const classes[VERDICT_COUNT] = {
        [VERDICT_EQUAL] = "equal", [VERDICT_DIFFERENT] = "different", [VERDICT_NOT_COMPARED] = "not"};

    return classes[verdict];
}

static void put_sql(struct compare_report *r, const char *label, const char *sql)
{
    if (sql == NULL)
        return;
    put_element(r, "<p>", label, "</p>");
    put_element(r, "<pre>", sql, ";</pre>");
}

static void put_difference(struct compare_report *r, const struct difference *d)
{
    put_element(r, "<tr><td>", difference_side_name(d->side), "</td><td>");
    put_element(r, "<code>", d->identity, "</code>");
    if (d->select_source != NULL) {
        put(r, "<details><summary>SQL</summary>");
        put_sql(r, "on the source", d->select_source);
        put_sql(r, "on the target", d->select_target);
        put_sql(r, "repair, on the target", d->repair);
        put(r, "</details>");
    }
    put(r, "</td><td>");
    for (unsigned i = 0; i < d->n_columns; i++) {
        put_element(r, "<b>", d->columns[i].name, "</b>");
        put_element(r, "<pre>source: ", d->columns[i].source, "</pre>");
        put_element(r, "<pre>target: ", d->columns[i].target, "</pre>");
    }
    put(r, "</td></tr>\n");
}

static void put_details(struct compare_report *r, const struct compare_entry *e)
{
    uint64_t all = e->n_differences[ONLY_ON_SOURCE] + e->n_differences[ONLY_ON_TARGET] + e->n_differences[ON_BOTH];

    if (e->n_kept == 0)
        return;
    put_element(r, "<h3>", e->name, "</h3><table><tr><th>Difference</th><th>Which</th><th>What</th></tr>\n");
    for (unsigned i = 0; i < e->n_kept; i++)
        put_difference(r, e->kept[i]);
    put(r, "</table>\n");
    if (all > e->n_kept) {
        put_element(r, "<p>and ", format_count(all - e->n_kept).text, " more; a report in CSV has them all.</p>\n");
    }
}

static void put_entry(struct compare_report *r, const struct compare_entry *e)
{
    const uint64_t counts[] = {e->source_count, e->target_count, e->n_differences[ONLY_ON_SOURCE],
                               e->n_differences[ONLY_ON_TARGET], e->n_differences[ON_BOTH]};

    put_element(r, "<tr><td>", compare_kind_name(e->kind), "</td>");
    put_element(r, "<td><code>", e->name, "</code></td>");
    put_element(r, "<td class=\"", class_of(e->verdict), "\">");
    put_element(r, "", verdict_name(e->verdict), "</td>");
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        put_element(r, "<td class=n>", format_count(counts[i]).text, "</td>");
    put_element(r, "<td>", e->reason == NULL ? "" : e->reason, "</td></tr>\n");
}

static void put_entries(struct compare_report *r, const struct compare_result *result, bool is_equal)
{
    put(r, "<table><tr><th>Kind</th><th>Name</th><th>Result</th><th>Source</th><th>Target</th><th>Only on source</th>"
           "<th>Only on target</th><th>Different</th><th></th></tr>\n");
    for (unsigned i = 0; i < result->n_entries; i++)
        if ((result->entries[i]->verdict == VERDICT_EQUAL) == is_equal)
            put_entry(r, result->entries[i]);
    put(r, "</table>\n");
}

/* What is not equal first: who opens the page looks for that. */
static void put_result(struct compare_report *r, const struct compare_result *result)
{
    unsigned n_equal = 0;

    for (unsigned i = 0; i < result->n_entries; i++)
        n_equal += result->entries[i]->verdict == VERDICT_EQUAL;
    if (n_equal < result->n_entries)
        put_entries(r, result, false);
    for (unsigned i = 0; i < result->n_entries; i++)
        put_details(r, result->entries[i]);
    if (n_equal == 0)
        return;
    put(r, n_equal == result->n_entries ? "<details open>" : "<details>");
    put_element(r, "<summary>equal: ", format_count(n_equal).text, " (kinds of objects, tables)</summary>\n");
    put_entries(r, result, true);
    put(r, "</details>\n");
}

static void put_page(struct compare_report *r, const struct compare_result *result)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "report");
    CLEANUP(json_decref) json_t *now = json_moment(clock_wall_us());

    put(r, head);
    put(r, "<h1>pgtide comparison</h1>\n");
    put_element(r, "<p>source <code>", result->source, "</code>, ");
    put_element(r, "target <code>", result->target, "</code></p>\n");
    put_element(r, "<p><b class=\"", class_of(compare_verdict(result)), "\">");
    put_element(r, "", compare_headline(scratch, result), "</b></p>\n");
    put_element(r, "<p>", compare_meaning(scratch, result), "</p>\n");
    put_element(r, "<p>", json_string_value(now), "</p>\n");
    for (const char *const *note = result->notes; *note != NULL; note++)
        put_element(r, "<p>", *note, "</p>\n");
    if (result->before_repair != NULL) {
        put_element(r, "<p>", format_count(result->n_repaired).text, " rows were repaired on the target.</p>\n");
        put(r, "<h2>Before the repair</h2>\n");
        put_result(r, result->before_repair);
        put(r, "<h2>After the repair</h2>\n");
    }
    put_result(r, result);
    put(r, "</body></html>\n");
}

static void put_json(struct compare_report *r, const struct compare_result *result)
{
    CLEANUP(json_decref) json_t *document = compare_document(result);

    if (json_dumpf(document, r->file, JSON_NUMBERS | JSON_INDENT(2)) != 0)
        r->failure = errno == 0 ? EIO : errno;
    put(r, "\n");
}

struct error *compare_report_finish(struct compare_report *r, const struct compare_result *result)
{
    switch (r->form) {
    case REPORT_HTML:
        put_page(r, result);
        break;
    case REPORT_JSON:
        put_json(r, result);
        break;
    case REPORT_CSV:
        put_all_csv_reasons(r, result);
        break;
    case REPORT_SQL:
        break;
    }
    if (fflush(r->file) == EOF && r->failure == 0)
        r->failure = errno;
    return r->failure == 0 ? NULL : file_error(r->failure, "could not write the report \"%s\"", r->path);
}
