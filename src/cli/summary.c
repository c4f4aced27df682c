#include "cli/summary.h"

#include "cli/format.h"
#include "control/json.h"

enum { COLUMN_VALUE = 12 };

static uint64_t count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void label(struct canvas *c, const char *text)
{
    canvas_move_to(c, 2);
    canvas_put(c, INK_DIM, text);
    canvas_move_to(c, COLUMN_VALUE);
}

static void outcome_line(struct canvas *c, const struct summary *s)
{
    struct formatted elapsed = format_duration(s->elapsed_us / 1000000);

    if (s->status == EXIT_DONE) {
        canvas_mark(c, MARK_DONE);
        canvas_printf(c, INK_BOLD, " done in %s", elapsed.text);
    } else if (s->status == EXIT_INTERRUPTED) {
        canvas_mark(c, MARK_ALARM);
        canvas_printf(c, INK_BOLD, " interrupted after %s", elapsed.text);
        canvas_put(c, INK_PLAIN, "; the same command goes on from here");
    } else {
        canvas_mark(c, MARK_FAILED);
        canvas_printf(c, INK_BOLD, " ended after %s", elapsed.text);
    }
    canvas_end_line(c);
}

static void copied_line(struct canvas *c, const struct progress_counters *p)
{
    if (count(&p->tables_total) == 0)
        return;
    label(c, "copied");
    canvas_printf(c, INK_PLAIN, "%s of %s tables", format_count(count(&p->tables_done)).text,
                  format_count(count(&p->tables_total)).text);
    if (count(&p->bytes_copied) > 0) { /* else an earlier run did it all */
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s rows", format_count(count(&p->rows_copied)).text);
        canvas_separator(c);
        canvas_put(c, INK_PLAIN, format_bytes(count(&p->bytes_copied)).text);
    }
    canvas_end_line(c);
}

static void broken_line(struct canvas *c, const struct progress_counters *p)
{
    uint64_t broken = count(&p->broken_keys);

    if (broken == 0)
        return;
    label(c, "broken");
    canvas_printf(c, INK_WARN, "%s foreign key%s", format_count(broken).text, broken == 1 ? "" : "s");
    canvas_put(c, INK_PLAIN, ": rows of the source have no match; NOT VALID or left out on the target, see the log");
    canvas_end_line(c);
}

static void left_out_line(struct canvas *c, struct progress *p)
{
    uint64_t n = count(&progress_counters(p)->statements_left_out);

    if (n == 0)
        return;
    label(c, "left out");
    canvas_printf(c, INK_WARN, "%s statement%s", format_count(n).text, n == 1 ? "" : "s");
    canvas_put(c, INK_PLAIN, " that the target could not take: ");
    canvas_put(c, INK_PLAIN, progress_left_out_file(p));
    canvas_end_line(c);
}

static void compared_line(struct canvas *c, const struct progress_counters *p)
{
    uint64_t entries = count(&p->compared_entries), different = count(&p->compared_different);

    if (entries == 0)
        return;
    label(c, "compared");
    if (different == 0)
        canvas_printf(c, INK_GOOD, "%s kinds of objects and tables are equal", format_count(entries).text);
    else
        canvas_printf(c, INK_WARN, "%s of %s kinds of objects and tables are not equal, see the log",
                      format_count(different).text, format_count(entries).text);
    canvas_end_line(c);
}

static void phases_line(struct canvas *c, const struct summary *s)
{
    bool is_first = true;

    for (enum phase phase = PHASE_STRUCTURE; phase <= PHASE_OBJECTS; phase++) {
        int64_t seconds = s->phase_us[phase] / 1000000;

        if (seconds == 0)
            continue;
        if (is_first)
            label(c, "time");
        else
            canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s %s", phase_name(phase), format_duration(seconds).text);
        is_first = false;
    }
    if (!is_first)
        canvas_end_line(c);
}

static void applied_line(struct canvas *c, const struct progress_counters *p)
{
    struct lsn applied = {count(&p->applied_lsn)};
    uint64_t conflicts = count(&p->conflicts);

    if (lsn_is_none(applied))
        return;
    label(c, "applied");
    canvas_printf(c, INK_PLAIN, "%s transactions", format_count(count(&p->transactions_applied)).text);
    canvas_separator(c);
    canvas_printf(c, INK_PLAIN, "%s rows%s", format_count(count(&p->rows_applied)).text,
                  count(&p->transactions_before) > 0 ? " since this start" : "");
    canvas_separator(c);
    canvas_printf(c, INK_PLAIN, "up to %s", lsn_format(applied).text);
    canvas_end_line(c);
    if (conflicts == 0)
        return;
    label(c, "conflicts");
    canvas_put(c, INK_WARN, format_count(conflicts).text);
    canvas_put(c, INK_PLAIN, ", recorded on the target in pgtide.conflict");
    canvas_end_line(c);
}

static void remains_line(struct canvas *c, const struct summary *s)
{
    bool is_made = progress_phase(s->progress) > PHASE_STARTING;
    bool is_once = atomic_load(&progress_counters(s->progress)->is_once);

    if (s->status == EXIT_DONE) {
        label(c, "left");
        canvas_put(c, INK_PLAIN, "nothing of pgtide's on either server");
        canvas_end_line(c);
    } else if (is_made) {
        label(c, "left");
        canvas_put_wrapped(
            c, INK_PLAIN,
            is_once ? "the schema pgtide on the target; \"pgtide stop --force\" removes it"
                    : "a slot and a publication on the source, which keeps WAL for them; the schema pgtide on "
                      "the target. \"pgtide stop\" with the same arguments removes them",
            COLUMN_VALUE);
        canvas_end_line(c);
    }
}

void summary_draw(struct canvas *c, const struct summary *s)
{
    outcome_line(c, s);
    copied_line(c, progress_counters(s->progress));
    broken_line(c, progress_counters(s->progress));
    left_out_line(c, s->progress);
    compared_line(c, progress_counters(s->progress));
    phases_line(c, s);
    applied_line(c, progress_counters(s->progress));
    remains_line(c, s);
}

static json_t *seconds(int64_t us)
{
    return json_real((double)us / 1e6);
}

void summary_add(json_t *document, const struct summary *s)
{
    json_t *phases = json_object();

    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        if (s->phase_us[phase] > 0)
            json_object_set_new(phases, phase_name(phase), seconds(s->phase_us[phase]));
    }
    json_object_set_new(document, "exit_status", json_integer(s->status));
    json_object_set_new(document, "seconds", seconds(s->elapsed_us));
    json_object_set_new(document, "phase_seconds", phases);
}
