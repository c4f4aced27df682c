#include "control/status.h"

#include "base/clock.h"
#include "control/json.h"

enum { RULES_SHOWN = 100 };

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

const char *status_phase_state(enum phase phase)
{
    static const char *const states[PHASE_COUNT] = {
        /* clang-format off */
        [PHASE_STARTING] = "starting",
        [PHASE_STRUCTURE] = "full",
        [PHASE_DATA] = "full",
        [PHASE_INDEX] = "full",
        [PHASE_CATCH_UP] = "full",
        [PHASE_OBJECTS] = "full",
        [PHASE_INCREMENTAL] = "incremental",
        [PHASE_STOPPING] = "stopping",
        [PHASE_COMPLETED] = "completed",
        /* clang-format on */
    };

    return states[phase];
}

/* One digit after the point: more would only flicker. */
static json_t *rate(double per_second)
{
    return json_real((double)(int64_t)(per_second * 10 + 0.5) / 10);
}

static json_t *percent(double percent)
{
    return json_real((double)(int64_t)(percent * 10) / 10); /* cut, not rounded: 100 means done */
}

static json_t *seconds_left(int64_t seconds)
{
    return seconds < 0 ? json_null() : json_integer((json_int_t)seconds);
}

static json_t *steps(struct progress *p, const struct meter_reading *reading)
{
    static const char *const states[] = {[STEP_WAITING] = "waiting", [STEP_RUNNING] = "running", [STEP_DONE] = "done"};
    json_t *all = json_object();

    for (enum meter_step i = 0; i < METER_FULL_STEPS; i++) {
        struct progress_step *step = meter_progress_step(p, i);
        int state = atomic_load_explicit(&step->state, memory_order_relaxed);
        const struct meter_entries n = meter_entries(p, i);

        json_object_set_new(all, meter_step_name(i),
                            json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "state", states[state], "percent",
                                      percent(progress_step_percent(step)), "done",
                                      json_count(read_counter(&step->done)), "total",
                                      json_count(read_counter(&step->total)), "entries_done", json_count(n.done),
                                      "entries_total", json_count(n.total), "seconds_left",
                                      seconds_left(reading == NULL ? -1 : reading->seconds_left[i])));
    }
    return all;
}

static json_t *done_of(const _Atomic uint64_t *done, const _Atomic uint64_t *total)
{
    return json_pack("{s:o, s:o}", "done", json_count(read_counter(done)), "total", json_count(read_counter(total)));
}

static json_t *whole(struct progress *p, const struct meter_reading *reading)
{
    struct progress_step *step = &progress_counters(p)->whole;

    return json_pack("{s:o, s:o}", "percent", percent(progress_step_percent(step)), "seconds_left",
                     seconds_left(reading == NULL ? -1 : reading->whole_seconds_left));
}

static json_t *items(struct progress *p)
{
    struct progress_item at_work[PROGRESS_ITEMS_MAX];
    unsigned n = progress_items(p, at_work, PROGRESS_ITEMS_MAX);
    json_t *all = json_array();

    for (unsigned i = 0; i < n; i++) {
        json_array_append_new(all, json_pack("{s:o, s:o, s:o, s:o}", "name", json_text(at_work[i].name), "rows",
                                             json_count(at_work[i].rows), "bytes", json_count(at_work[i].bytes),
                                             "bytes_expected", json_count(at_work[i].bytes_expected)));
    }
    return all;
}

static void add_counters(json_t *document, const struct progress_counters *c)
{
    const struct {
        const char *name;
        const _Atomic uint64_t *counter;
    } counts[] = {
        {"rows_copied", &c->rows_copied},
        {"bytes_copied", &c->bytes_copied},
        {"transactions_received", &c->transactions_received},
        {"transactions_applied", &c->transactions_applied},
        {"transactions_before", &c->transactions_before},
        {"rows_applied", &c->rows_applied},
        {"windows_fast", &c->windows_fast},
        {"windows_slow", &c->windows_slow},
        {"windows_divided", &c->windows_divided},
        {"conflicts", &c->conflicts},
        {"changes_left_out", &c->changes_left_out},
        {"broken_foreign_keys", &c->broken_keys},
        {"statements_left_out", &c->statements_left_out},
        {"compared", &c->compared_entries},
        {"compared_different", &c->compared_different},
        {"spool_bytes", &c->spool_bytes},
        {"slot_retained_bytes", &c->slot_retained_bytes},
    };
    const struct {
        const char *name;
        const _Atomic uint64_t *lsn;
    } positions[] = {
        {"received_lsn", &c->received_lsn},
        {"spooled_lsn", &c->spooled_lsn},
        {"applied_lsn", &c->applied_lsn},
        {"source_lsn", &c->source_lsn},
    };

    for (unsigned i = 0; i < COUNT_OF(counts); i++)
        json_object_set_new(document, counts[i].name, json_count(read_counter(counts[i].counter)));
    for (unsigned i = 0; i < COUNT_OF(positions); i++)
        json_object_set_new(document, positions[i].name, json_lsn((struct lsn){read_counter(positions[i].lsn)}));
}

/* Where they are to be read; there is no such file before there is one. */
static void add_left_out(json_t *document, struct progress *p)
{
    bool is_there = read_counter(&progress_counters(p)->statements_left_out) > 0;

    json_object_set_new(document, "left_out_file", json_text(is_there ? progress_left_out_file(p) : NULL));
}

/* What the slot costs the source, and until when. */
static void add_slot(json_t *document, const struct progress_counters *c)
{
    uint64_t room = read_counter(&c->slot_room_bytes);
    int64_t growth = atomic_load_explicit(&c->slot_growth, memory_order_relaxed);
    int64_t left = atomic_load_explicit(&c->slot_seconds_left, memory_order_relaxed);

    json_object_set_new(document, "slot_growth_bytes_per_second", json_integer((json_int_t)growth));
    json_object_set_new(document, "slot_room_bytes", room == 0 ? json_null() : json_count(room));
    json_object_set_new(document, "slot_seconds_left", seconds_left(left == 0 ? -1 : left));
}

/* What a slow copy costs: the source vacuums nothing that died since the snapshot was taken. */
static void add_copy(json_t *document, const struct progress_counters *c)
{
    uint64_t max_rate = read_counter(&c->max_rate_mb);
    int64_t since_us = atomic_load_explicit(&c->snapshot_since_us, memory_order_relaxed);
    int64_t age_s = (clock_now_us() - since_us) / INT64_C(1000000);

    json_object_set_new(document, "max_rate_mb", max_rate == 0 ? json_null() : json_count(max_rate));
    json_object_set_new(document, "snapshot_age_seconds",
                        since_us == 0 ? json_null() : json_integer((json_int_t)age_s));
}

static json_t *delay(bool is_known, int64_t us)
{
    return is_known ? json_real((double)us / 1e6) : json_null();
}

static void add_delay(json_t *document, const struct progress_counters *c, bool is_known)
{
    struct progress_delay d = progress_delay(c);

    json_object_set_new(document, "delay_seconds", delay(is_known, d.total_us));
    json_object_set_new(document, "receive_delay_seconds", delay(is_known, d.receive_us));
    json_object_set_new(document, "apply_delay_seconds", delay(is_known, d.apply_us));
}

static void add_rates(json_t *document, const struct meter_reading *r)
{
    bool is_known = r != NULL && r->has_rates;

    json_object_set_new(document, "rows_per_second", is_known ? rate(r->rows_applied_per_s) : json_null());
    json_object_set_new(document, "transactions_per_second", is_known ? rate(r->transactions_per_s) : json_null());
    json_object_set_new(document, "copy_rows_per_second", is_known ? rate(r->rows_copied_per_s) : json_null());
    json_object_set_new(document, "copy_bytes_per_second", is_known ? rate(r->bytes_copied_per_s) : json_null());
    json_object_set_new(document, "catch_up_seconds_left",
                        seconds_left(r == NULL ? -1 : r->seconds_left[METER_CATCH_UP]));
    json_object_set_new(document, "wal_behind_bytes",
                        r != NULL && r->has_wal_behind ? json_count(r->wal_behind) : json_null());
}

void status_add_progress(json_t *document, struct progress *p, const struct meter_reading *reading)
{
    const struct progress_counters *c = progress_counters(p);
    enum phase phase = progress_phase(p);
    bool has_delay = phase >= PHASE_CATCH_UP && read_counter(&c->applied_lsn) != 0;

    json_object_set_new(document, "phase", json_string(phase_name(phase)));
    json_object_set_new(document, "whole", whole(p, reading));
    json_object_set_new(document, "steps", steps(p, reading));
    json_object_set_new(document, "tables", done_of(&c->tables_done, &c->tables_total));
    json_object_set_new(document, "large_objects", done_of(&c->large_objects_done, &c->large_objects_total));
    add_counters(document, c);
    add_left_out(document, p);
    add_slot(document, c);
    add_copy(document, c);
    add_delay(document, c, has_delay);
    add_rates(document, reading);
    /* Past the catch-up every table's gate is behind what is applied: from there on (A1) holds at each commit. */
    json_object_set_new(document, "consistent", json_boolean(phase > PHASE_CATCH_UP));
}

const char *status_running_state(struct progress *p)
{
    bool is_paused = atomic_load_explicit(&progress_counters(p)->is_paused, memory_order_relaxed);

    if (atomic_load_explicit(&progress_counters(p)->is_stopped, memory_order_relaxed))
        return "stopped";
    return is_paused ? "paused" : status_phase_state(progress_phase(p));
}

static const char *state_name(const struct status_facts *f, struct progress *p)
{
    static const char *const names[] = {
        /* clang-format off */
        [STATUS_NONE] = "none",
        [STATUS_RUNNING] = "starting",
        [STATUS_INTERRUPTED] = "interrupted",
        [STATUS_FAILED] = "failed",
        [STATUS_COMPLETED] = "completed",
        /* clang-format on */
    };

    return f->state == STATUS_RUNNING && p != NULL ? status_running_state(p) : names[f->state];
}

/* The whole list may be as long as a file. */
static json_t *selection(const struct status_facts *f)
{
    json_t *rules = json_array();
    size_t n = 0;

    if (f->selection == NULL) {
        json_decref(rules);
        return json_null();
    }
    for (const char *line = f->selection;; n++) {
        size_t length = strcspn(line, "\n");

        if (n < RULES_SHOWN)
            json_array_append_new(rules, json_stringn(line, length));
        if (line[length] == '\0')
            break;
        line += length + 1;
    }
    return json_pack("{s:o, s:I, s:b, s:I}", "rules", rules, "n_rules", (json_int_t)n + 1, "with_dependencies",
                     (int)f->with_dependencies, "objects", (json_int_t)f->n_selected);
}

json_t *status_document(const struct status_facts *f, struct progress *p, const struct meter_reading *reading)
{
    json_t *document = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "state", state_name(f, p), "pid",
                                 f->pid == 0 ? json_null() : json_integer(f->pid), "task", json_text(f->task), "source",
                                 json_text(f->source), "target", json_text(f->target), "slot", json_text(f->slot),
                                 "publication", json_text(f->publication), "state_folder", json_text(f->state_folder),
                                 "problem", json_text(f->problem));
    json_object_set_new(document, "selection", selection(f));

    if (p != NULL) {
        status_add_progress(document, p, reading);
        json_object_set_new(document, "items", items(p));
    }
    return document;
}
