#include "cli/compare_view.h"

#include <inttypes.h>

#include "cli/format.h"
#include "control/json.h"

enum {
    SHOWN_EACH = 10, /* differences of an entry; all kept ones are in the JSON form and in reports */
    EXCERPT_MAX = 160,
    EXCERPT_AROUND = 30,
    COLUMN_TEXT = 4,
    COLUMN_DETAIL = 6,
    PERCENT = 100,
};

static uint64_t n_differences(const struct compare_entry *e)
{
    return e->n_differences[ONLY_ON_SOURCE] + e->n_differences[ONLY_ON_TARGET] + e->n_differences[ON_BOTH];
}

struct counts {
    unsigned entries[VERDICT_COUNT];
    uint64_t differences;
    uint64_t things; /* rows or objects of the source */
};

static struct counts count(const struct compare_result *r, enum compare_kind kind)
{
    struct counts n = {0};

    for (unsigned i = 0; i < r->n_entries; i++) {
        const struct compare_entry *e = r->entries[i];

        if (e->kind != kind)
            continue;
        n.entries[e->verdict]++;
        n.differences += n_differences(e);
        n.things += e->source_count;
    }
    return n;
}

/* ---- sentences ---- */

const char *compare_headline(struct arena *a, const struct compare_result *r)
{
    switch (compare_verdict(r)) {
    case VERDICT_EQUAL:
        return arena_strdup(a, "both sides are equal");
    case VERDICT_DIFFERENT:
        return arena_strdup(a, r->was_cancelled ? "the two sides differ; the comparison was interrupted"
                                                : "the two sides differ");
    case VERDICT_NOT_COMPARED:
        return arena_strdup(a, r->was_cancelled ? "no difference was found, but the comparison was interrupted"
                                                : "no difference was found, but not everything could be compared");
    case VERDICT_COUNT:
        break;
    }
    return "";
}

const char *compare_meaning(struct arena *a, const struct compare_result *r)
{
    const struct compare_alignment *al = &r->alignment;

    if (al->is_aligned)
        return arena_printf(a, "Both sides as of position %s of the source; apply stood still for %" PRId64 " ms.",
                            lsn_format(al->position).text, (al->pause_us + 999) / 1000);
    if (!al->has_looked)
        return arena_strdup(a, "It ended before it was known whether what was read of both sides belongs together.");
    if (al->source_has_moved || al->target_has_moved)
        return arena_printf(
            a,
            "No sync of the pair runs here, and the %s moved meanwhile: two snapshots were compared that "
            "belong to no common moment, so a difference may be a change that was on its way.",
            al->source_has_moved && al->target_has_moved ? "source and the target"
            : al->source_has_moved                       ? "source"
                                                         : "target");
    return arena_strdup(a, "No sync of the pair runs here, and neither server wrote anything meanwhile: the snapshots "
                           "of both sides belong together.");
}

/* ---- definitions ---- */

static size_t common_start(const char *a, const char *b)
{
    size_t n = 0;

    while (a[n] != '\0' && a[n] == b[n])
        n++;
    return n;
}

static size_t common_end(const char *a, size_t a_length, const char *b, size_t b_length, size_t start)
{
    size_t n = 0;

    while (n + start < a_length && n + start < b_length && a[a_length - 1 - n] == b[b_length - 1 - n])
        n++;
    return n;
}

/* Not in the middle of a character of UTF-8. */
static size_t boundary_before(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[at] & 0xC0U) == 0x80)
        at--;
    return at;
}

static const char *cut(struct arena *a, const char *text, size_t length, size_t start, size_t end)
{
    size_t from = boundary_before(text, start > EXCERPT_AROUND ? start - EXCERPT_AROUND : 0);
    size_t to = length - end + EXCERPT_AROUND < length ? boundary_before(text, length - end + EXCERPT_AROUND) : length;

    const char *middle = arena_printf(a, "%.*s", (int)(to - from), text + from);
    return arena_printf(a, "%s%s%s", from > 0 ? "…" : "", compare_shortened(a, middle, (size_t)4 * EXCERPT_MAX),
                        to < length ? "…" : "");
}

void compare_excerpt(struct arena *a, const char *source, const char *target, const char **out_source,
                     const char **out_target)
{
    *out_source = source;
    *out_target = target;
    if (source == NULL || target == NULL)
        return;
    size_t source_length = strlen(source), target_length = strlen(target);
    if (source_length <= EXCERPT_MAX && target_length <= EXCERPT_MAX)
        return;
    size_t start = common_start(source, target);
    size_t end = common_end(source, source_length, target, target_length, start);
    *out_source = cut(a, source, source_length, start, end);
    *out_target = cut(a, target, target_length, start, end);
}

/* ---- for people ---- */

static void put_value(struct canvas *c, const char *side, const char *name, const char *value)
{
    canvas_move_to(c, COLUMN_DETAIL + 2);
    canvas_printf(c, INK_DIM, "%s ", side);
    if (name != NULL)
        canvas_printf(c, INK_PLAIN, "%s = ", name);
    canvas_put(c, INK_PLAIN, value == NULL ? "NULL" : value);
    canvas_end_line(c);
}

static void put_row(struct canvas *c, const struct difference *d)
{
    for (unsigned i = 0; i < d->n_columns; i++) {
        put_value(c, "source:", d->columns[i].name, d->columns[i].source);
        put_value(c, "target:", d->columns[i].name, d->columns[i].target);
    }
}

static void put_definition(struct canvas *c, const struct difference *d)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "definition");
    const char *source, *target;

    compare_excerpt(scratch, d->columns[0].source, d->columns[0].target, &source, &target);
    if (source != NULL)
        put_value(c, "source:", NULL, source);
    if (target != NULL)
        put_value(c, "target:", NULL, target);
}

static void put_difference(struct canvas *c, enum compare_kind kind, const struct difference *d)
{
    canvas_move_to(c, COLUMN_DETAIL);
    canvas_printf(c, INK_BAD, "%s: ", difference_side_name(d->side));
    canvas_put(c, INK_PLAIN, d->identity);
    canvas_end_line(c);
    if (kind == COMPARE_VALUES && d->select_source != NULL)
        put_row(c, d);
    else if (d->n_columns > 0)
        put_definition(c, d);
}

static void put_entry(struct canvas *c, const struct compare_entry *e)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "entry");
    unsigned shown = e->n_kept > SHOWN_EACH ? SHOWN_EACH : e->n_kept;

    canvas_move_to(c, 2);
    canvas_mark(c, e->verdict == VERDICT_DIFFERENT ? MARK_FAILED : MARK_ALARM);
    canvas_move_to(c, COLUMN_TEXT);
    canvas_put(c, INK_BOLD, e->name);
    if (e->source_count != e->target_count)
        canvas_printf(c, INK_PLAIN, ": %s on the source, %s on the target", format_count(e->source_count).text,
                      format_count(e->target_count).text);
    if (e->reason != NULL)
        canvas_put_wrapped(
            c, INK_PLAIN,
            arena_printf(scratch, ": %s%s", e->verdict == VERDICT_NOT_COMPARED ? "not compared, " : "", e->reason),
            COLUMN_TEXT);
    canvas_end_line(c);
    for (unsigned i = 0; i < shown; i++)
        put_difference(c, e->kind, e->kept[i]);
    if (n_differences(e) > shown) {
        canvas_move_to(c, COLUMN_DETAIL);
        canvas_printf(c, INK_DIM, "and %s more", format_count(n_differences(e) - shown).text);
        canvas_end_line(c);
    }
}

static const char *const things[COMPARE_KIND_COUNT] = {
    [COMPARE_OBJECTS] = "objects", [COMPARE_ROWS] = "rows", [COMPARE_VALUES] = "rows", [COMPARE_ACCOUNTS] = "entries"};

static void put_kind(struct canvas *c, const struct compare_result *r, enum compare_kind kind)
{
    struct counts n = count(r, kind);
    unsigned all = n.entries[VERDICT_EQUAL] + n.entries[VERDICT_DIFFERENT] + n.entries[VERDICT_NOT_COMPARED];
    const char *entries = kind == COMPARE_ROWS || kind == COMPARE_VALUES ? "tables" : "kinds";

    if (all == 0)
        return;
    canvas_mark(c, n.entries[VERDICT_DIFFERENT] > 0      ? MARK_FAILED
                   : n.entries[VERDICT_NOT_COMPARED] > 0 ? MARK_ALARM
                                                         : MARK_DONE);
    canvas_printf(c, INK_BOLD, " %s", compare_kind_name(kind));
    canvas_printf(c, INK_PLAIN, ": %u of %u %s equal, %s %s", n.entries[VERDICT_EQUAL], all, entries,
                  format_count(n.things).text, things[kind]);
    if (n.differences > 0)
        canvas_printf(c, INK_BAD, ", %s %s", format_count(n.differences).text,
                      n.differences == 1 ? "difference" : "differences");
    canvas_end_line(c);
    for (unsigned i = 0; i < r->n_entries; i++)
        if (r->entries[i]->kind == kind && r->entries[i]->verdict != VERDICT_EQUAL)
            put_entry(c, r->entries[i]);
}

static void put_sentence(struct canvas *c, enum ink ink, const char *sentence)
{
    canvas_put_wrapped(c, ink, sentence, 0);
    canvas_end_line(c);
}

static void put_repair(struct canvas *c, const struct compare_result *r)
{
    if (r->before_repair == NULL)
        return;
    put_sentence(c, INK_BOLD, "found before the repair:");
    for (enum compare_kind kind = 0; kind < COMPARE_KIND_COUNT; kind++)
        put_kind(c, r->before_repair, kind);
    canvas_printf(c, INK_BOLD, "%s rows were repaired on the target", format_count(r->n_repaired).text);
    if (r->alignment.is_aligned)
        canvas_printf(c, INK_PLAIN, "; apply stood still for %" PRId64 " ms", (r->repair_pause_us + 999) / 1000);
    canvas_end_line(c);
    put_sentence(c, INK_BOLD, "compared again:");
}

void compare_draw(struct canvas *c, const struct compare_result *r)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "comparison");
    enum verdict verdict = compare_verdict(r);

    put_repair(c, r);
    for (enum compare_kind kind = 0; kind < COMPARE_KIND_COUNT; kind++)
        put_kind(c, r, kind);
    canvas_mark(c, verdict == VERDICT_EQUAL ? MARK_DONE : verdict == VERDICT_DIFFERENT ? MARK_FAILED : MARK_ALARM);
    canvas_printf(c, INK_BOLD, " %s", compare_headline(scratch, r));
    canvas_end_line(c);
    put_sentence(c, INK_PLAIN, compare_meaning(scratch, r));
    for (const char *const *note = r->notes; *note != NULL; note++)
        put_sentence(c, INK_DIM, *note);
}

void compare_draw_progress(struct canvas *c, struct compare_progress *p, unsigned turn)
{
    enum compare_step step = (enum compare_step)atomic_load(&p->step);
    uint64_t done = atomic_load(&p->bytes_done), total = atomic_load(&p->bytes_total);
    uint64_t found = atomic_load(&p->n_differences);

    canvas_spinner(c, turn);
    canvas_printf(c, INK_BOLD, " %s", compare_step_name(step));
    if (step == COMPARE_COMPARING || step == COMPARE_AGAIN) {
        if (total > 0)
            canvas_put(c, INK_PLAIN, format_percent(PERCENT * (double)done / (double)total).text);
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%" PRIu64 " of %" PRIu64, atomic_load(&p->entries_done),
                      atomic_load(&p->entries_total));
        canvas_separator(c);
        canvas_printf(c, INK_PLAIN, "%s rows", format_count(atomic_load(&p->rows)).text);
    }
    if (found > 0) {
        canvas_separator(c);
        canvas_printf(c, INK_BAD, "%s differences", format_count(found).text);
    }
    canvas_end_line(c);
}

/* ---- for programs ---- */

static json_t *difference_document(const struct difference *d)
{
    json_t *columns = json_array();

    for (unsigned i = 0; i < d->n_columns; i++)
        json_array_append_new(columns,
                              json_pack("{s:o, s:o, s:o}", "name", json_text(d->columns[i].name), "source",
                                        json_text(d->columns[i].source), "target", json_text(d->columns[i].target)));
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "difference", difference_side_name(d->side), "what",
                     json_text(d->what), "identity", json_text(d->identity), "columns", columns, "select_source",
                     json_text(d->select_source), "select_target", json_text(d->select_target), "repair",
                     json_text(d->repair));
}

static json_t *entry_document(const struct compare_entry *e)
{
    json_t *differences = json_array();

    for (unsigned i = 0; i < e->n_kept; i++)
        json_array_append_new(differences, difference_document(e->kept[i]));
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", compare_kind_name(e->kind), "name",
                     json_text(e->name), "result", verdict_name(e->verdict), "reason", json_text(e->reason),
                     "source_count", json_count(e->source_count), "target_count", json_count(e->target_count),
                     "only_on_source", json_count(e->n_differences[ONLY_ON_SOURCE]), "only_on_target",
                     json_count(e->n_differences[ONLY_ON_TARGET]), "different", json_count(e->n_differences[ON_BOTH]),
                     "differences", differences);
}

static json_t *entries_document(const struct compare_result *r)
{
    json_t *entries = json_array();

    for (unsigned i = 0; i < r->n_entries; i++)
        json_array_append_new(entries, entry_document(r->entries[i]));
    return entries;
}

/* With one decimal. */
static json_t *ms(bool is_known, int64_t us)
{
    int64_t tenths = us / 100;

    return is_known ? json_real((double)tenths / 10) : json_null();
}

static json_t *seconds(int64_t us)
{
    int64_t ms = us / 1000;

    return json_real((double)ms / 1000);
}

json_t *compare_document(const struct compare_result *r)
{
    const struct compare_alignment *al = &r->alignment;
    json_t *notes = json_array();

    for (const char *const *note = r->notes; *note != NULL; note++)
        json_array_append_new(notes, json_text(*note));
    json_t *document = json_pack(
        "{s:s, s:s?, s:s?, s:b, s:o, s:o, s:i, s:o, s:o, s:b, s:o, s:o, s:o}", "result",
        verdict_name(compare_verdict(r)), "source", r->source, "target", r->target, "aligned", (int)al->is_aligned,
        "position", json_lsn(al->position), "pause_ms", ms(al->is_aligned, al->pause_us), "tries", (int)al->tries,
        "source_moved", al->has_looked ? json_boolean(al->source_has_moved) : json_null(), "target_moved",
        al->has_looked ? json_boolean(al->target_has_moved) : json_null(), "interrupted", (int)r->was_cancelled,
        "seconds", seconds(r->elapsed_us), "notes", notes, "entries", entries_document(r));
    if (r->before_repair != NULL)
        json_object_set_new(document, "repair",
                            json_pack("{s:o, s:o, s:o}", "rows", json_count(r->n_repaired), "pause_ms",
                                      ms(al->is_aligned, r->repair_pause_us), "found",
                                      entries_document(r->before_repair)));
    return document;
}

enum exit_status compare_exit_status(const struct compare_result *r)
{
    static const enum exit_status statuses[VERDICT_COUNT] = {
        [VERDICT_EQUAL] = EXIT_DONE, [VERDICT_DIFFERENT] = EXIT_DIFFERENT, [VERDICT_NOT_COMPARED] = EXIT_NOT_COMPARED};

    return statuses[compare_verdict(r)];
}
