#include "worker/full.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "pg/cells.h"
#include "pg/firing.h"
#include "pg/forced_security.h"
#include "pg/lineage.h"
#include "pg/schema.h"
#include "pg/schema_select.h"
#include "pg/set_aside.h"
#include "pg/snapshot.h"
#include "sync/pace.h"
#include "worker/copy_input.h"
#include "worker/drift.h"
#include "worker/extras.h"
#include "worker/latecomers.h"
#include "worker/prepare.h"

enum { WAIT_MS = 500 };

static char *schema_folder(const struct task *t)
{
    return arena_printf(t->arena, "%s/schema", t->folder);
}

/* ---- structure ---- */

/* pg_dump locks every table that it reads, which needs a right on it: those that are not selected need not be readable. */
MUST_USE static struct error *leave_out_unreadable(struct task *t, struct schema_dump_options *options)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct pg_rows rows;

    TRY(task_connect_source(t, "catalog", t->stop, &source));
    TRY(schema_unreadable_tables(source, t->arena, &rows));
    const char **names = arena_alloc(t->arena, (rows.n_rows + 1UL) * sizeof *names);
    options->n_leave_out = 0;
    for (unsigned r = 0; r < rows.n_rows; r++)
        if (!chosen_has(t->chosen, cell_u32(rows.rows[r][1])))
            names[options->n_leave_out++] = rows.rows[r][0];
    options->leave_out = names;
    return NULL;
}

/* What the dump will show. */
MUST_USE static struct error *remember_structure(struct task *t, const char *snapshot)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    TRY(task_connect_source(t, "structure", t->stop, &source));
    TRY(pg_snapshot_import(source, snapshot));
    return drift_remember(t, source);
}

/* pg_dump can only say that it does not know the snapshot; whether its holder is lost the holder tells. */
MUST_USE static struct error *explain_dump(struct pg_snapshot_holder *holder, struct error *cause)
{
    CLEANUP(error_free) struct error *err = cause;

    if (err != NULL && error_kind(err) == ERROR_CONFIG)
        TRY(pg_snapshot_keep(holder));
    return TAKE(err);
}

/* With the slot's own snapshot; a synchronization that was killed before its dump was finished takes a new one. */
MUST_USE static struct error *dump(struct task *t, const struct schema_programs *programs)
{
    struct schema_dump_options options = {
        .programs = programs,
        .source = t->source,
        .folder = schema_folder(t),
        .encoding = t->source_facts.encoding,
        .with_publications = t->record->has_publications,
        .stop = t->stop,
    };
    CLEANUP(pg_snapshot_release) struct pg_snapshot_holder *other = NULL;
    struct pg_conn *guard = NULL;

    if (t->holder == NULL) {
        const struct pg_connect_options session = {.application_name = task_session_name(t->arena, t, "dump"),
                                                   .stop = t->stop};

        const struct pg_snapshot_wish wish = {.may_be_standby = t->record->is_once,
                                              .not_before = t->state.task.slot_lsn};

        TRY(pg_snapshot_hold(t->source, session, wish, &other));
    }
    options.snapshot = pg_snapshot_of(t->holder == NULL ? other : t->holder)->id;
    if (t->chosen != NULL)
        TRY(leave_out_unreadable(t, &options));
    log_info("dumping the structure with %s", programs->pg_dump);
    TRY(prepare_guard(t, &guard));
    TRY(state_forget_done(guard, t->record->id));
    const struct state_relation structure = {.source_oid = TASK_STRUCTURE,
                                             .schema = "",
                                             .table = "",
                                             .gate = pg_snapshot_of(t->holder == NULL ? other : t->holder)->gate};
    TRY(state_set_relation(guard, t->record->id, &structure)); /* (G2) before the dump can be used */
    TRY(remember_structure(t, options.snapshot));
    return explain_dump(t->holder == NULL ? other : t->holder, schema_dump(t->arena, options));
}

MUST_USE static struct error *load_or_dump(struct task *t, struct schema *out)
{
    struct schema_programs programs;
    bool found = false;

    if (t->holder == NULL) /* a new slot has a new snapshot: an older dump may not fit it */
        TRY(schema_load_pre(t->arena, schema_folder(t), out, &found));
    if (found)
        return NULL;
    if (t->state.task.structure_done && t->holder == NULL)
        return error_hint(
            error_new(ERROR_CONFIG, "the dump of the structure in \"%s\" is gone", schema_folder(t)),
            "It says which indexes and constraints are still to be made. Start again with an empty target "
            "after \"pgtide stop --force\".");
    TRY(schema_find_programs(t->arena, t->source_facts.version_number / 10000, t->stop, &programs));
    TRY(dump(t, &programs));
    TRY(schema_load_pre(t->arena, schema_folder(t), out, &found));
    return found ? NULL : error_new(ERROR_BUG, "the dump just made cannot be found");
}

static void structure_progress(void *self, unsigned n_entries)
{
    struct task *t = self;

    atomic_store(&t->counters->structure.done, n_entries);
}

MUST_USE static struct error *restore_structure(struct task *t, const struct schema *schema,
                                                struct schema_target *schema_target)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    struct progress_step *step = &t->counters->structure;

    atomic_store(&step->total, schema->pre.n_entries);
    atomic_store(&step->state, STEP_RUNNING);
    if (!t->state.task.structure_done) {
        TRY(task_connect_target(t, "structure", t->stop, &target));
        FAULT_POINT("full.before_structure");
        TRY(schema_restore_pre(target, schema_target, schema, structure_progress, t));
        FAULT_POINT("full.after_structure");
        TRY(state_set_structure_done(target, t->record->id));
    }
    atomic_store(&step->done, schema->pre.n_entries);
    atomic_store(&step->state, STEP_DONE);
    return NULL;
}

/* ---- rows and indexes ---- */

bool full_leaves_out(const struct task *t, const struct schema *schema, const struct entry *e)
{
    if (t->options->with_indexes)
        return false;
    if (e->kind == ENTRY_INDEX)
        return !e->is_unique && !e->is_identity;
    if (e->kind != ENTRY_INDEX_ATTACH)
        return false;
    for (unsigned i = 0; i < e->n_dependencies; i++) {
        const struct entry *needed = script_find(&schema->post, e->dependencies[i]);

        if (needed != NULL && needed->kind == ENTRY_INDEX && full_leaves_out(t, schema, needed))
            return true;
    }
    return false;
}

static int compare_oid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* The phase shown: rows first, and "index" for what is left when the last row is in. */
static void show_phase(struct task *t)
{
    if (progress_phase(t->progress) == PHASE_DATA && atomic_load(&t->counters->data.state) == STEP_DONE)
        progress_set_phase(t->progress, PHASE_INDEX);
}

/* Tables that were there before us may have the index or constraint already. */
static struct error *run_kept_entry(void *self, struct pg_conn *target, uint32_t place)
{
    const struct copy_input *in = self;
    const struct entry *e = script_find(&in->schema->post, in->entries[place].plan.dump_id);

    if (e == NULL)
        return error_new(ERROR_BUG, "%s %s is not in the dump", in->entries[place].type, in->entries[place].name);
    return schema_run_entry(target, in->task->schema_target, e, ENTRY_WHOLE);
}

static int take_pace(void *self, uint64_t bytes)
{
    return pace_take(self, bytes);
}

/*
 * How many processors one stream of rows, or one index, can have for its sessions; 0: not known. Where both servers run on this machine
 * a stream (COPY out, COPY in and ours between) takes two: parts of a table side by side are slower there than one after the other, and leave rows
 * and their indexes in disorder.
 */
static unsigned processors_each(const struct task *t)
{
    enum { STREAM_TAKES = 2 };
    unsigned each = thread_processors() / STREAM_TAKES;

    if (!t->source_facts.is_local || !pg_conn_is_local(t->guard))
        return 0;
    return each == 0 ? 1 : each;
}

MUST_USE static struct error *copy_rows(struct copy_input *in)
{
    struct task *t = in->task;
    const unsigned each = processors_each(t);
    struct copy_jobs *jobs = NULL;
    const struct copy_build_memory memory = copy_plan_divide_memory(
        t->options->index_memory == 0 ? COPY_BUILD_MEMORY : t->options->index_memory, t->options->jobs);
    const struct copy_jobs_options options = {
        .source = t->source,
        .target = t->target,
        .task = t->record->id,
        .encoding = t->source_facts.encoding,
        .workers = t->options->jobs,
        .tables = in->tables,
        .n_tables = in->n_tables,
        .entries = in->entries,
        .n_entries = in->n_entries,
        .altered_since = in->altered_since,
        .put_off = in->put_off,
        .names_are_targets = in->names_are_targets,
        .holder = TAKE(t->holder),
        .slot_saw = t->slot_saw_is_known ? &t->slot_saw : NULL,
        .slot_lsn = t->state.task.slot_lsn,
        .may_be_standby = t->record->is_once,
        .run_entry = t->options->if_not_empty == NOT_EMPTY_REFUSE ? NULL : run_kept_entry,
        .run_self = in,
        .rules = {.builders = memory.builders, .whole_tables = each == 1},
        .build_memory = memory,
        .parallel_maintenance = each == 0 ? -1 : (int)each,
        .pace_ms = take_pace,
        .pace_self = t->pace,
        .progress = t->progress,
        .stop = t->stop,
        .ended = t->events,
    };

    TRY(copy_jobs_start(t->arena, &options, &jobs));
    while (!copy_jobs_ended(jobs)) {
        wake_wait(t->events, NULL, WAIT_MS);
        show_phase(t);
    }
    TRY(copy_jobs_join(jobs));
    show_phase(t);
    return NULL;
}

static void take_gates(struct task *t)
{
    struct lsn newest = t->state.task.slot_lsn;

    t->relations = t->state.relations;
    t->n_relations = t->state.n_relations;
    for (unsigned i = 0; i < t->n_relations; i++)
        newest = lsn_max(newest, t->relations[i].gate.upto);
    atomic_store(&t->consistent_lsn, newest.value);
}

/* (G2) Every gate from where it was written: with the rows. */
struct error *full_read_gates(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_target(t, "gates", t->stop, &target));
    TRY(state_read(target, t->arena, t->record->id, &t->state));
    take_gates(t);
    return NULL;
}

static bool is_chosen(const void *self, uint32_t oid)
{
    return chosen_has(self, oid);
}

static enum existing existing_may_stay(const struct task *t)
{
    if (t->options->if_not_empty != NOT_EMPTY_REFUSE)
        return EXISTING_ALL;
    return t->chosen == NULL ? EXISTING_NONE : EXISTING_SHARED;
}

MUST_USE static struct error *read_target_roles(struct task *t, struct schema_target **out)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_target(t, "roles", t->stop, &target));
    FAULT_POINT("full.before_roles");
    return schema_target_new(target, t->arena, t->record->id, existing_may_stay(t), t->left_out, out);
}

/* A target that is restarted just now. */
struct error *full_open_schema_target(struct task *t)
{
    struct backoff backoff = {0};

    while (t->schema_target == NULL) {
        struct error *err = read_target_roles(t, &t->schema_target);

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        log_warn("could not read the target's roles, trying again: %s", error_message(err));
        error_free(err);
        if (stop_wait_ms(t->stop, backoff_next_ms(&backoff)))
            return stop_check(t->stop);
    }
    return NULL;
}

/* With a selection both parts: what belongs to what is told by either. */
MUST_USE static struct error *open_schema(struct task *t, struct schema *schema)
{
    TRY(load_or_dump(t, schema));
    if (t->chosen != NULL) {
        TRY(schema_load_post(t->arena, schema_folder(t), schema));
        schema_select(schema,
                      &(struct schema_choice){.is_chosen = is_chosen, .self = t->chosen, .left_out = t->left_out});
    }
    return full_open_schema_target(t);
}

/* The tables are there: from here on it is about what comes with and after their rows. */
MUST_USE static struct error *open_post(struct task *t, struct schema *schema)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;

    schema_forget_pre(t->arena, schema);
    memory_trim();
    if (t->chosen == NULL)
        TRY(schema_load_post(t->arena, schema_folder(t), schema));
    TRY(task_connect_source(t, "catalog", t->stop, &source));
    TRY(schema_resolve(source, t->arena, schema));
    if (t->record->has_ddl) {
        unsigned n = schema_adopt_dropped(schema);

        if (n > 0)
            log_info(
                "%u indexes and constraints were dropped on the source since the structure was dumped: they are made, "
                "and dropped when the target follows",
                n);
    }
    memory_trim();
    return NULL;
}

/* ---- tables that were altered meanwhile ---- */

static void take_put_off(const struct copy_input *in, uint32_t *oids, unsigned *out_n)
{
    *out_n = 0;
    for (uint32_t i = 0; i < in->n_tables; i++)
        if (in->put_off[i])
            oids[(*out_n)++] = in->tables[i].oid;
}

/*
 * (G2) Dropped before they were copied. Their changes are in the stream up to the drop; a gate that has seen all of them keeps these
 * from a table that never had its rows.
 */
MUST_USE static struct error *record_gone(struct task *t, const uint32_t *oids, unsigned n)
{
    CLEANUP(pg_snapshot_release) struct pg_snapshot_holder *now = NULL;
    const struct pg_connect_options session = {.application_name = task_session_name(t->arena, t, "gone"),
                                               .stop = t->stop};
    struct pg_conn *guard = NULL;

    if (n == 0)
        return NULL;
    TRY(pg_snapshot_hold(t->source, session, (struct pg_snapshot_wish){.not_before = t->state.task.slot_lsn}, &now));
    TRY(prepare_guard(t, &guard));
    for (unsigned i = 0; i < n; i++) {
        const struct state_relation gone = {
            .source_oid = oids[i], .schema = "", .table = "", .gate = pg_snapshot_of(now)->gate};

        TRY(state_set_relation(guard, t->record->id, &gone));
    }
    return NULL;
}

/* Of the tables with these oids those that are there; the others are recorded as gone. */
MUST_USE static struct error *keep_late(struct task *t, struct catalog *catalog, const uint32_t *oids, unsigned n)
{
    uint32_t *gone = arena_alloc(t->arena, (n + 1) * sizeof *gone);
    unsigned kept = 0, n_gone = 0;

    for (unsigned i = 0; i < catalog->n_tables; i++)
        if (bsearch(&catalog->tables[i].oid, oids, n, sizeof *oids, compare_oid) != NULL)
            catalog->tables[kept++] = catalog->tables[i];
    catalog->n_tables = kept;
    for (unsigned i = 0; i < n; i++) {
        bool is_there = false;

        for (unsigned c = 0; c < kept && !is_there; c++)
            is_there = catalog->tables[c].oid == oids[i];
        if (!is_there)
            gone[n_gone++] = oids[i];
    }
    return record_gone(t, gone, n_gone);
}

MUST_USE static struct error *read_late_input(struct copy_input *in, const uint32_t *oids, unsigned n)
{
    struct task *t = in->task;
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "catalog", t->stop, &source));
    TRY(task_connect_target(t, "catalog", t->stop, &target));
    TRY(catalog_read(source, t->arena, &in->catalog));
    TRY(keep_late(t, &in->catalog, oids, n));
    return copy_input_list_late(in, source, target);
}

/* A CHECK that is NOT VALID is one that old rows need not pass, and is there for the statements of the source. */
MUST_USE static struct error *set_checks_aside(const struct copy_input *in)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "checks of late tables");
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    const struct task *t = in->task;
    const char **names = arena_alloc(scratch, (in->n_tables + 1) * sizeof *names);
    unsigned n = 0;

    for (uint32_t i = 0; i < in->n_tables; i++)
        names[i] = pg_quote_name(scratch, in->tables[i].schema, in->tables[i].name);
    TRY(task_connect_target(t, "checks", t->stop, &target));
    TRY(set_aside_take(target, t->record->id, names, in->n_tables, &n));
    if (n > 0)
        log_info("%u CHECK%s NOT VALID: set aside until these tables are copied", n, n == 1 ? " is" : "s are");
    return NULL;
}

/* Also what a process took away that was killed before it came to this. */
MUST_USE static struct error *put_back_aside(const struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    if (!t->record->has_ddl)
        return NULL;
    TRY(task_connect_target(t, "checks", t->stop, &target));
    return set_aside_put_back(target, t->record->id);
}

struct error *full_copy_late(struct task *t, uint64_t altered_since, uint32_t *oids, unsigned *n_oids)
{
    struct copy_input *in = ARENA_NEW(t->arena, struct copy_input);

    *in = (struct copy_input){.task = t, .schema = &t->schema, .altered_since = altered_since};
    TRY(read_late_input(in, oids, *n_oids));
    in->put_off = arena_alloc(t->arena, (in->n_tables + 1) * sizeof *in->put_off);
    TRY(set_checks_aside(in));
    FAULT_POINT("full.checks_aside");
    TRY(copy_rows(in));
    TRY(put_back_aside(t));
    take_put_off(in, oids, n_oids);
    return full_read_gates(t);
}

/* Dumped, not copied, and not there any more: dropped while nobody ran. */
MUST_USE static struct error *record_dropped(struct copy_input *in)
{
    struct task *t = in->task;
    uint32_t *gone = arena_alloc(t->arena, (in->schema->n_tables + 1UL) * sizeof *gone);
    unsigned n = 0;

    for (unsigned i = 0; i < in->schema->n_tables; i++) {
        uint32_t oid = in->schema->tables[i].oid;

        uint32_t place = copy_input_place(in, oid);

        if (!state_has_relation(&t->state, oid) && (place == COPY_NONE || in->tables[place].is_gone))
            gone[n++] = oid;
    }
    return record_gone(t, gone, n);
}

/* Where the target follows no DDL, another name is another table's there. */
MUST_USE static struct error *refuse_renamed(const struct copy_input *in)
{
    for (unsigned i = 0; i < in->schema->n_tables; i++) {
        const struct schema_table *e = &in->schema->tables[i];
        uint32_t place = copy_input_place(in, e->oid);
        const struct copy_jobs_table *t = place == COPY_NONE ? NULL : &in->tables[place];

        if (t == NULL || !t->plan.has_rows || state_has_relation(&in->task->state, t->oid) ||
            strchr(t->name, '\n') != NULL || /* the dump's list has such names otherwise */
            (strcmp(t->name, e->name) == 0 && strcmp(t->schema, e->schema) == 0))
            continue;
        return error_hint(error_new(ERROR_CONFIG,
                                    "table \"%s.%s\" of the source has become \"%s.%s\" before it was copied",
                                    e->schema, e->name, t->schema, t->name),
                          "DDL is not carried here. Give it its former name until it is copied.");
    }
    return NULL;
}

/*
 * Rows of a later snapshot may not fit what was dropped before it, such as a UNIQUE: that is made on the empty table, and the rows come when
 * the target has followed.
 */
static void put_off_unindexed(struct copy_input *in)
{
    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        const struct entry *e = &in->schema->post.entries[i];
        uint32_t place = e->is_gone ? copy_input_place(in, e->table_oid) : COPY_NONE;

        if (place != COPY_NONE && in->tables[place].plan.has_rows &&
            !state_has_relation(&in->task->state, e->table_oid))
            in->put_off[place] = true;
    }
}

/* Only where the target follows DDL can it come to have what the source's table has become. */
MUST_USE static struct error *watch_for_ddl(struct copy_input *in)
{
    struct task *t = in->task;
    struct pg_conn *guard = NULL;
    struct state now;

    in->put_off = arena_alloc(t->arena, (in->n_tables + 1) * sizeof *in->put_off);
    if (!t->record->has_ddl)
        return in->names_are_targets ? NULL : refuse_renamed(in);
    TRY(prepare_guard(t, &guard));
    TRY(state_read(guard, t->arena, t->record->id, &now));
    if (now.n_relations > 0 && now.relations[0].source_oid == TASK_STRUCTURE)
        in->altered_since = now.relations[0].gate.snapshot.xmin;
    put_off_unindexed(in);
    return t->state.task.structure_done ? record_dropped(in) : NULL;
}

/* They are on the target: 100,000 need not be asked for one by one. */
static void count_built(const struct script *post)
{
    for (unsigned i = 0; i < post->n_entries; i++)
        post->entries[i].is_made = post->entries[i].is_made || post->entries[i].is_of_copy;
}

/* Each start: a stop that was interrupted may have set it already. */
MUST_USE static struct error *lift_what_is_set_at_the_end(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "row security", t->stop, &source));
    TRY(task_connect_target(t, "row security", t->stop, &target));
    TRY(forced_security_lift(source, target, t->chosen));
    return firing_lift(source, target, t->chosen);
}

static void show_copied(struct task *t)
{
    struct progress_counters *c = t->counters;

    atomic_store(&c->structure.state, STEP_DONE);
    atomic_store(&c->data.state, STEP_DONE);
    atomic_store(&c->index.state, STEP_DONE);
}

/*
 * --type incremental: what the target has is what the source had at the slot's position, says who asked for it. There are no gates, so all
 * of the stream is carried.
 */
MUST_USE static struct error *take_as_copied(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    struct pg_conn *guard = NULL;
    uint32_t *ignored = NULL;

    TRY(task_connect_source(t, "structure", t->stop, &source));
    if (!t->state.task.structure_done) {
        if (t->holder != NULL)
            TRY(pg_snapshot_import(source, pg_snapshot_of(t->holder)->id));
        TRY(drift_remember(t, source));
        TRY(prepare_guard(t, &guard));
        FAULT_POINT("full.before_structure");
        TRY(state_set_structure_done(guard, t->record->id));
    }
    pg_snapshot_release(TAKE(t->holder));
    TRY(lineage_of_extensions(source, t->arena, &ignored, &t->n_ignored));
    t->ignored = ignored;
    show_copied(t);
    return full_read_gates(t);
}

/* ---- a start that finds everything there ---- */

struct error *full_find_whole(struct task *t, struct pg_conn *source)
{
    uint32_t *ignored = NULL;

    /* Views are to be filled at each start that says so. */
    t->is_whole = state_is_whole(&t->state) && !t->options->populate_matviews;
    if (!t->is_whole)
        return NULL;
    TRY(lineage_of_extensions(source, t->arena, &ignored, &t->n_ignored));
    t->ignored = ignored;
    /* Set on the source since by statements that were carried: as at any other start. */
    TRY(forced_security_lift(source, t->guard, t->chosen));
    return firing_lift(source, t->guard, t->chosen);
}

static void go_on(struct task *t)
{
    struct progress_counters *c = t->counters;
    uint64_t n = 0;

    take_gates(t);
    for (unsigned i = 0; i < t->n_relations; i++)
        n += t->relations[i].source_oid != TASK_STRUCTURE && !t->relations[i].is_nameless;
    atomic_store(&c->tables_total, n);
    atomic_store(&c->tables_done, n);
    show_copied(t);
    atomic_store(&t->rows_are_of_one_moment, true);
}

struct error *full_copy(struct task *t)
{
    if (t->is_whole) {
        go_on(t);
        return NULL;
    }
    if (t->record->has_no_copy) {
        TRY(lift_what_is_set_at_the_end(t));
        return take_as_copied(t);
    }

    struct copy_input *in = ARENA_NEW(t->arena, struct copy_input);

    progress_set_phase(t->progress, PHASE_STRUCTURE);
    TRY(open_schema(t, &t->schema));
    TRY(restore_structure(t, &t->schema, t->schema_target));
    TRY(lift_what_is_set_at_the_end(t));
    TRY(open_post(t, &t->schema));
    progress_set_phase(t->progress, PHASE_DATA);
    *in = (struct copy_input){.task = t, .schema = &t->schema, .names_are_targets = t->holder != NULL};
    TRY(copy_input_read(in));
    TRY(watch_for_ddl(in));
    memory_trim();
    copy_input_show(in);
    TRY(extras_copy(t));
    TRY(copy_rows(in));
    count_built(&t->schema.post);
    memory_trim();
    TRY(full_read_gates(t));

    uint32_t *late = arena_alloc(t->arena, (in->n_tables + 1) * sizeof *late);
    unsigned n_late = 0;
    take_put_off(in, late, &n_late);
    TRY(put_back_aside(t));
    TRY(full_objects_before_ddl(t));
    return n_late == 0 ? NULL : latecomers_copy(t, late, n_late);
}
