#include "cli/status_view.h"

#include "cli/format.h"
#include "model/meter.h"

enum { COLUMN_VALUE = 14 };

static const struct {
    const char *state, *says;
    enum ink ink;
} states[] = {
    {"none", "there is no sync of this pair", INK_PLAIN},
    {"starting", "running: connecting and checking", INK_BUSY},
    {"full", "running: copying", INK_BUSY},
    {"incremental", "running: following", INK_GOOD},
    {"paused", "running: applying is paused; \"pgtide resume\" goes on", INK_WARN},
    {"stopped", "running: applying has stopped at a change; \"pgtide resume\" goes on with a decision", INK_BAD},
    {"stopping", "running: setting sequences, cleaning up", INK_BUSY},
    {"completed", "completed; nothing runs", INK_GOOD},
    {"interrupted", "interrupted; the same \"pgtide sync\" command goes on from here", INK_WARN},
    {"failed", "failed; the same \"pgtide sync\" command tries again from here", INK_BAD},
};

static const char *text_of(const json_t *document, const char *name)
{
    return json_string_value(json_object_get(document, name));
}

/* Counts beyond 2^53 are strings. False when there is none. */
static bool count_of(const json_t *document, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(document, name);

    if (json_is_string(value)) {
        char *end = NULL;

        *out = strtoull(json_string_value(value), &end, 10);
        return *end == '\0';
    }
    *out = json_is_integer(value) && json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
    return json_is_integer(value);
}

static uint64_t count_or_zero(const json_t *document, const char *name)
{
    uint64_t n = 0;

    (void)count_of(document, name, &n);
    return n;
}

static void label(struct canvas *c, const char *text)
{
    canvas_move_to(c, 2);
    canvas_put(c, INK_DIM, text);
    canvas_move_to(c, COLUMN_VALUE);
}

static void text_line(struct canvas *c, const json_t *document, const char *name, const char *shown_as)
{
    const char *text = text_of(document, name);

    if (text == NULL)
        return;
    label(c, shown_as);
    canvas_put(c, INK_PLAIN, text);
    canvas_end_line(c);
}

static void state_line(struct canvas *c, const json_t *document)
{
    const char *state = text_of(document, "state");
    const json_t *pid = json_object_get(document, "pid");

    for (size_t i = 0; state != NULL && i < COUNT_OF(states); i++) {
        if (strcmp(state, states[i].state) == 0)
            canvas_put(c, states[i].ink, states[i].says);
    }
    if (json_is_integer(pid))
        canvas_printf(c, INK_DIM, " (pid %lld)", (long long)json_integer_value(pid));
    canvas_end_line(c);
}

/* Without a running sync nobody knows how far the steps were. */
static bool has_begun(const json_t *steps)
{
    for (enum meter_step i = 0; i < METER_FULL_STEPS; i++) {
        const char *state = text_of(json_object_get(steps, meter_step_name(i)), "state");

        if (state != NULL && strcmp(state, "waiting") != 0)
            return true;
    }
    return false;
}

static void step_line(struct canvas *c, const char *name, const json_t *step)
{
    const json_t *left = json_object_get(step, "seconds_left");
    double percent = json_number_value(json_object_get(step, "percent"));

    if (step == NULL)
        return;
    label(c, name);
    canvas_bar(c, percent >= 100 ? INK_GOOD : INK_BUSY, percent, 20);
    canvas_printf(c, INK_PLAIN, " %s", format_percent(percent).text);
    if (json_is_integer(left))
        canvas_printf(c, INK_PLAIN, "  %s left", format_duration(json_integer_value(left)).text);
    canvas_end_line(c);
}

static void step_lines(struct canvas *c, const json_t *document)
{
    const json_t *steps = json_object_get(document, "steps");

    if (!has_begun(steps))
        return;
    for (enum meter_step i = 0; i < METER_FULL_STEPS; i++)
        step_line(c, meter_step_name(i), json_object_get(steps, meter_step_name(i)));
    step_line(c, "in all", json_object_get(document, "whole"));
}

static void copied_line(struct canvas *c, const json_t *document)
{
    const json_t *tables = json_object_get(document, "tables");

    if (count_or_zero(tables, "total") == 0)
        return;
    label(c, "copied");
    canvas_printf(c, INK_PLAIN, "%s of %s tables", format_count(count_or_zero(tables, "done")).text,
                  format_count(count_or_zero(tables, "total")).text);
    if (count_or_zero(document, "bytes_copied") > 0) {
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s rows", format_count(count_or_zero(document, "rows_copied")).text);
        canvas_separator(c);
        canvas_put(c, INK_PLAIN, format_bytes(count_or_zero(document, "bytes_copied")).text);
    }
    canvas_end_line(c);
}

static void limit_line(struct canvas *c, const json_t *document)
{
    uint64_t limit = count_or_zero(document, "max_rate_mb"), age_s = 0;

    if (limit == 0 || !count_of(document, "snapshot_age_seconds", &age_s))
        return;
    label(c, "limit");
    canvas_printf(c, INK_PLAIN, "%s MB/s", format_count(limit).text);
    canvas_separator(c);
    canvas_printf(c, INK_PLAIN, "the source cannot vacuum what died in the last %s",
                  format_duration((int64_t)age_s).text);
    canvas_end_line(c);
}

static void applied_line(struct canvas *c, const json_t *document)
{
    const char *applied = text_of(document, "applied_lsn");

    if (applied == NULL)
        return;
    label(c, "applied");
    canvas_printf(c, INK_PLAIN, "%s transactions", format_count(count_or_zero(document, "transactions_applied")).text);
    if (count_or_zero(document, "rows_applied") > 0) {
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s rows%s", format_count(count_or_zero(document, "rows_applied")).text,
                      count_or_zero(document, "transactions_before") > 0 ? " since this start" : "");
    }
    canvas_separator(c);
    canvas_printf(c, INK_PLAIN, "up to %s", applied);
    canvas_end_line(c);
}

static void delay_line(struct canvas *c, const json_t *document)
{
    const json_t *delay = json_object_get(document, "delay_seconds");
    const json_t *receive = json_object_get(document, "receive_delay_seconds");
    uint64_t behind = 0;

    if (!json_is_number(delay))
        return;
    label(c, "delay");
    canvas_put(c, INK_PLAIN, format_delay(json_number_value(delay)).text);
    if (json_number_value(delay) >= 1 && json_is_number(receive))
        canvas_printf(c, INK_PLAIN, ", of that %s until it is here", format_delay(json_number_value(receive)).text);
    if (count_of(document, "wal_behind_bytes", &behind)) {
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s of WAL behind", format_bytes(behind).text);
    }
    canvas_end_line(c);
}

static void rate_line(struct canvas *c, const json_t *document)
{
    const json_t *transactions = json_object_get(document, "transactions_per_second");
    const json_t *rows = json_object_get(document, "rows_per_second");

    if (!json_is_number(transactions) || !json_is_number(rows) || text_of(document, "applied_lsn") == NULL)
        return;
    label(c, "rate");
    canvas_printf(c, INK_PLAIN, "%s transactions/s", format_rate(json_number_value(transactions)).text);
    canvas_separator(c);
    canvas_printf(c, INK_PLAIN, "%s rows/s", format_rate(json_number_value(rows)).text);
    canvas_end_line(c);
}

static void spool_lines(struct canvas *c, const json_t *document)
{
    uint64_t retained = count_or_zero(document, "slot_retained_bytes");
    uint64_t conflicts = count_or_zero(document, "conflicts"), spool = 0, left = 0;

    if (count_of(document, "spool_bytes", &spool) && (spool > 0 || retained > 0)) {
        label(c, "spool");
        canvas_printf(c, INK_PLAIN, "%s on disk", format_bytes(spool).text);
        if (retained > 0) {
            canvas_separator(c);
            canvas_printf(c, INK_PLAIN, "the source keeps %s of WAL", format_bytes(retained).text);
        }
        if (count_of(document, "slot_seconds_left", &left)) {
            canvas_separator(c);
            canvas_printf(c, INK_WARN, "its limit is reached in %s", format_duration((int64_t)left).text);
        }
        canvas_end_line(c);
    }
    if (conflicts > 0) {
        label(c, "conflicts");
        canvas_put(c, INK_WARN, format_count(conflicts).text);
        canvas_end_line(c);
    }
}

/* Table level: the first rules, and how many objects they choose. */
static void selection_line(struct canvas *c, const json_t *document)
{
    enum { SHOWN = 3 };
    const json_t *selection = json_object_get(document, "selection");
    uint64_t n = count_or_zero(selection, "n_rules");

    if (!json_is_object(selection))
        return;
    label(c, "selected");
    canvas_printf(c, INK_PLAIN, "%s objects", format_count(count_or_zero(selection, "objects")).text);
    canvas_separator(c);
    for (size_t i = 0; i < n && i < SHOWN; i++)
        canvas_printf(c, INK_PLAIN, "%s%s", i == 0 ? "" : ", ",
                      json_string_value(json_array_get(json_object_get(selection, "rules"), i)));
    if (n > SHOWN)
        canvas_printf(c, INK_PLAIN, ", … (%s rules)", format_count(n).text);
    if (json_is_true(json_object_get(selection, "with_dependencies")))
        canvas_put(c, INK_PLAIN, ", with dependencies");
    canvas_end_line(c);
}

void status_draw(struct canvas *c, const json_t *document)
{
    const char *state = text_of(document, "state");

    state_line(c, document);
    text_line(c, document, "problem", "problem");
    text_line(c, document, "source", "source");
    text_line(c, document, "target", "target");
    selection_line(c, document);
    step_lines(c, document);
    copied_line(c, document);
    limit_line(c, document);
    delay_line(c, document);
    rate_line(c, document);
    applied_line(c, document);
    spool_lines(c, document);
    if (state != NULL && strcmp(state, "completed") != 0)
        text_line(c, document, "slot", "slot");
    text_line(c, document, "state_folder", "folder");
}
