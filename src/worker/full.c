#include "worker/full.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "pg/binary.h"
#include "pg/cells.h"
#include "pg/copy_table.h"
#include "pg/forced_security.h"
#include "pg/lineage.h"
#include "pg/schema.h"
#include "pg/schema_key.h"
#include "pg/schema_select.h"
#include "pg/set_aside.h"
#include "pg/snapshot.h"
#include "sync/pace.h"
#include "worker/copy_jobs.h"
#include "worker/drift.h"
#include "worker/extras.h"
#include "worker/latecomers.h"
#include "worker/prepare.h"

enum {
    WAIT_MS = 500,
    HEAP_BLOCK_BYTES = 8192,
    ESTIMATED_FROM = 8 << 20, /* bytes: the rows of smaller tables are not guessed */
};

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
        .programs = programs, .source = t->source, .folder = schema_folder(t), .stop = t->stop};
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

/* What becomes the copy's plan. */
struct copy_input {
    struct task *task;
    const struct schema *schema;
    struct catalog catalog; /* of the source, only tables that the dump has */
    struct copy_jobs_table *tables;
    uint32_t n_tables;
    struct copy_jobs_entry *entries;
    uint32_t n_entries;
    uint64_t altered_since; /* 0: the target follows no DDL */
    bool *put_off;          /* of tables */
    bool names_are_targets; /* read with the dump's snapshot */
};

static int compare_oid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Tables made since the dump are not on the target and not part of the copy. */
static void keep_dumped(const struct schema *schema, struct catalog *catalog)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < catalog->n_tables; i++) {
        if (schema_table_find(schema, catalog->tables[i].oid) != NULL)
            catalog->tables[kept++] = catalog->tables[i];
        else
            log_warn("table \"%s\".\"%s\" was made after the structure was dumped: it is not copied",
                     catalog->tables[i].schema, catalog->tables[i].name);
    }
    catalog->n_tables = kept;
}

/* In the snapshot that is copied where there is one; a restart looks at what is there now (G3 notices what changed). */
MUST_USE static struct error *read_catalog(struct task *t, struct pg_conn *source, struct arena *a, struct catalog *out)
{
    if (t->holder != NULL)
        TRY(pg_snapshot_import(source, pg_snapshot_of(t->holder)->id));
    TRY(catalog_read(source, a, out));
    chosen_filter_catalog(t->chosen, out);
    return t->holder == NULL ? NULL : pg_execute(source, "ending the catalog's snapshot", "COMMIT");
}

/* NOLINTNEXTLINE(readability-function-size): both sides, and where the answer goes */
MUST_USE static struct error *choose_formats(struct copy_input *in, struct pg_conn *source, struct pg_conn *target,
                                             struct arena *a, const char ***out_reasons)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "the target's catalog");
    struct task *t = in->task;
    struct type_list source_types, target_types;
    struct catalog target_catalog;
    struct server_facts target_facts;

    TRY(catalog_server(target, scratch, &target_facts));
    TRY(catalog_read(target, scratch, &target_catalog));
    TRY(binary_read_types(source, scratch, &source_types));
    TRY(binary_read_types(target, scratch, &target_types));
    const char **reasons = arena_alloc(a, (in->catalog.n_tables + 1) * sizeof *reasons);
    binary_choose(a, &(struct binary_side){t->source_facts.version_number, &in->catalog, &source_types},
                  &(struct binary_side){target_facts.version_number, &target_catalog, &target_types}, reasons);
    *out_reasons = reasons;
    return NULL;
}

/* By an earlier run. */
static bool was_copied(const struct state *state, uint32_t oid)
{
    for (unsigned low = 0, high = state->n_relations; low < high;) {
        unsigned middle = low + (high - low) / 2;

        if (state->relations[middle].source_oid == oid)
            return true;
        if (state->relations[middle].source_oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* The names of columns that have values of their own, or of 100,000 tables those of the one before. */
static const char *const *columns_of(struct arena *a, const struct catalog_table *table,
                                     const struct copy_jobs_table *before, unsigned *out_n)
{
    unsigned n = 0;
    bool is_shared = before != NULL;

    for (unsigned i = 0; i < table->n_columns; i++) {
        if (table->columns[i].generated != GENERATED_NOT)
            continue;
        is_shared = is_shared && n < before->n_columns && strcmp(before->columns[n], table->columns[i].name) == 0;
        n++;
    }
    *out_n = n;
    if (is_shared && n == before->n_columns)
        return before->columns;

    const char **columns = arena_alloc(a, (n + 1UL) * sizeof *columns);
    for (unsigned i = 0, at = 0; i < table->n_columns; i++)
        if (table->columns[i].generated == GENERATED_NOT)
            columns[at++] = arena_strdup(a, table->columns[i].name);
    return columns;
}

/* Nothing of it is the catalog's, which goes when the plan is made. */
static struct copy_jobs_table job_table(struct copy_input *in, const struct catalog_table *table,
                                        const char *text_reason)
{
    struct task *t = in->task;
    const struct copy_jobs_table *before = in->n_tables == 0 ? NULL : &in->tables[in->n_tables - 1];
    unsigned n;
    const char *const *columns = columns_of(t->arena, table, before, &n);
    bool is_shared = before != NULL && strcmp(before->schema, table->schema) == 0;

    if (text_reason != NULL && !was_copied(&t->state, table->oid))
        log_info("copying table \"%s\".\"%s\" in text format: %s", table->schema, table->name, text_reason);
    return (struct copy_jobs_table){
        .oid = table->oid,
        .schema = is_shared ? before->schema : arena_strdup(t->arena, table->schema),
        .name = arena_strdup(t->arena, table->name),
        .n_columns = n,
        .columns = columns,
        .is_binary = text_reason == NULL,
        .is_ours = t->options->if_not_empty != NOT_EMPTY_MERGE,
        .plan = {.bytes = table->heap_bytes + table->toast_bytes,
                 .heap_blocks = (uint32_t)(table->heap_bytes / HEAP_BLOCK_BYTES),
                 .parent = COPY_NONE,
                 .has_rows = true,
                 .can_split = table->is_heap && t->source_facts.version_number >= 140000 &&
                              t->options->if_not_empty != NOT_EMPTY_MERGE},
    };
}

static void add_table(struct copy_input *in, const struct catalog_table *table, const char *text_reason)
{
    const struct copy_jobs_table t = job_table(in, table, text_reason);

    in->tables[in->n_tables++] = t;
}

static uint32_t place_of(const struct copy_input *in, uint32_t oid)
{
    uint32_t low = 0, high = in->n_tables; /* sorted by oid */

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (in->tables[middle].oid == oid)
            return middle;
        if (in->tables[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return COPY_NONE;
}

static int compare_table(const void *a, const void *b)
{
    const struct copy_jobs_table *x = a, *y = b;

    return x->oid < y->oid ? -1 : x->oid > y->oid;
}

MUST_USE static struct error *list_late_tables(struct copy_input *in, const char *const *reasons)
{
    in->tables = arena_alloc(in->task->arena, (in->catalog.n_tables + 1) * sizeof *in->tables);
    for (unsigned i = 0; i < in->catalog.n_tables; i++)
        add_table(in, &in->catalog.tables[i], reasons[i]);
    qsort(in->tables, in->n_tables, sizeof *in->tables, compare_table);
    return NULL;
}

/* Leaves and, without rows of their own, the partitioned tables above them. */
MUST_USE static struct error *list_tables(struct copy_input *in, struct pg_conn *source, const char *const *reasons)
{
    struct task *t = in->task;
    struct partition *partitions = NULL;
    unsigned n_partitions = 0, n_partitioned = 0;

    TRY(lineage_partitions(source, t->arena, &partitions, &n_partitions));
    for (unsigned i = 0; i < in->schema->post.n_entries; i++)
        n_partitioned += in->schema->post.entries[i].table_is_partitioned || in->schema->post.entries[i].is_gone;
    in->tables =
        arena_alloc(t->arena, ((size_t)in->catalog.n_tables + n_partitions + n_partitioned + 1) * sizeof *in->tables);
    for (unsigned i = 0; i < in->catalog.n_tables; i++)
        add_table(in, &in->catalog.tables[i], reasons[i]);
    qsort(in->tables, in->n_tables, sizeof *in->tables, compare_table);

    uint32_t n_leaves = in->n_tables;
    for (unsigned i = 0; i < n_partitions; i++)
        in->tables[n_leaves++] = (struct copy_jobs_table){
            .oid = partitions[i].parent, .schema = "", .name = "", .plan = {.parent = COPY_NONE}};
    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        const struct entry *e = &in->schema->post.entries[i];
        bool is_gone = e->is_gone && place_of(in, e->table_oid) == COPY_NONE;

        if (e->table_is_partitioned || is_gone)
            in->tables[n_leaves++] = (struct copy_jobs_table){
                .oid = e->table_oid, .schema = "", .name = "", .is_gone = is_gone, .plan = {.parent = COPY_NONE}};
    }
    qsort(in->tables, n_leaves, sizeof *in->tables, compare_table);
    in->n_tables = 0;
    for (uint32_t i = 0; i < n_leaves; i++)
        if (i == 0 || in->tables[i].oid != in->tables[in->n_tables - 1].oid)
            in->tables[in->n_tables++] = in->tables[i];
        else if (!in->tables[i].is_gone)
            in->tables[in->n_tables - 1].is_gone = false; /* partitioned, with partitions */
    for (unsigned i = 0; i < n_partitions; i++) {
        uint32_t place = place_of(in, partitions[i].oid);

        if (place != COPY_NONE)
            in->tables[place].plan.parent = place_of(in, partitions[i].parent);
    }
    return NULL;
}

static bool is_built_with_rows(const struct entry *e)
{
    return e->kind == ENTRY_INDEX || e->kind == ENTRY_CONSTRAINT || e->kind == ENTRY_INDEX_ATTACH;
}

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

static const char *joined(struct arena *a, const struct entry *e)
{
    if (e->n_statements == 1)
        return e->statements[0];
    const char *sql = "";

    for (unsigned i = 0; i < e->n_statements; i++)
        sql = arena_printf(a, "%s%s\n", sql, e->statements[i]);
    return sql;
}

static enum copy_entry_kind lock_of(const struct entry *e)
{
    if (e->kind == ENTRY_INDEX_ATTACH)
        return COPY_ENTRY_ATTACH;
    return e->kind == ENTRY_INDEX && e->n_statements == 1 ? COPY_ENTRY_SHARED : COPY_ENTRY_EXCLUSIVE;
}

/*
 * Indexes of one tree of partitions are attached one after the other, whatever their level: of two sessions each could miss what the other
 * one is about to commit, and the index at the top would stay invalid for ever.
 */
static uint32_t place_to_lock(const struct copy_input *in, const struct entry *e)
{
    uint32_t table = place_of(in, e->table_oid);

    while (e->kind == ENTRY_INDEX_ATTACH && table != COPY_NONE && in->tables[table].plan.parent != COPY_NONE)
        table = in->tables[table].plan.parent;
    return table;
}

/* With its partitions. */
static uint64_t table_bytes(const struct copy_input *in, uint32_t oid)
{
    uint32_t place = place_of(in, oid);
    uint64_t bytes = 0;

    if (place == COPY_NONE || in->tables[place].plan.has_rows)
        return place == COPY_NONE ? 0 : in->tables[place].plan.bytes;
    for (uint32_t i = 0; i < in->n_tables; i++) {
        uint32_t up = i;

        while (up != COPY_NONE && up != place)
            up = in->tables[up].plan.parent;
        bytes += up == place && in->tables[i].plan.has_rows ? in->tables[i].plan.bytes : 0;
    }
    return bytes;
}

static void weigh_foreign_keys(struct copy_input *in)
{
    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        struct entry *e = &in->schema->post.entries[i];

        if (e->kind == ENTRY_FOREIGN_KEY)
            e->table_bytes = table_bytes(in, e->table_oid);
    }
}

static bool is_recorded(const struct state *s, int dump_id)
{
    for (unsigned low = 0, high = s->n_done; low < high;) {
        unsigned middle = low + (high - low) / 2;

        if (s->done[middle] == dump_id)
            return true;
        if (s->done[middle] < dump_id)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void add_entry(struct copy_input *in, const struct copy_jobs_entry *e)
{
    in->entries[in->n_entries++] = *e;
}

/*
 * Building indexes one after the other a key comes last or first alike; together with others it must not lock them out. A table with one
 * index is better off with the one statement, and small tables, whose entries are made in one transaction, too. What an earlier run has
 * divided stays so: its index is there.
 */
static bool may_divide(const struct copy_input *in, const struct entry *e, uint32_t table, const uint32_t *n_on_table)
{
    const struct task *t = in->task;

    if (e->kind != ENTRY_CONSTRAINT || e->is_gone || !in->tables[table].plan.has_rows ||
        t->options->if_not_empty != NOT_EMPTY_REFUSE)
        return false;
    if (is_recorded(&t->state, -e->id))
        return true;
    return t->options->jobs > 1 && n_on_table[table] > 1 && in->tables[table].plan.bytes > COPY_SMALL_BELOW;
}

/* The index has the negative id in the plan and in pgtide.done: a constraint has no second part of its own there, as foreign keys have. */
static bool add_divided(struct copy_input *in, const struct entry *e, const struct copy_jobs_entry *whole)
{
    struct arena *a = in->task->arena;
    struct schema_key key;
    struct copy_jobs_entry index = *whole, constraint = *whole;

    if (!schema_key_divide(a, e->statements[0], &key))
        return false;
    index.type = "INDEX";
    index.sql = key.index_sql;
    index.plan.dump_id = -e->id;
    index.plan.kind = COPY_ENTRY_SHARED;
    constraint.sql = key.constraint_sql;
    for (unsigned i = 1; i < e->n_statements; i++)
        constraint.sql = arena_printf(a, "%s\n%s", constraint.sql, e->statements[i]);
    constraint.plan.kind = COPY_ENTRY_TAKE;
    constraint.plan.bytes = 0;
    int *depends = arena_alloc(a, (e->n_dependencies + 1UL) * sizeof *depends);
    memcpy(depends, e->dependencies, e->n_dependencies * sizeof *depends);
    depends[e->n_dependencies] = -e->id;
    constraint.plan.depends = depends;
    constraint.plan.n_depends = e->n_dependencies + 1;
    add_entry(in, &index);
    add_entry(in, &constraint);
    return true;
}

/* COPY_NONE: the index of a materialized view, or of a table dropped meanwhile. It is made later, with the other objects. */
static uint32_t table_of_entry(const struct copy_input *in, const struct entry *e)
{
    if (!is_built_with_rows(e) || full_leaves_out(in->task, in->schema, e))
        return COPY_NONE;
    return place_to_lock(in, e);
}

static uint32_t *count_entries(const struct copy_input *in, struct arena *a, uint32_t *out_n)
{
    uint32_t *n = arena_alloc(a, (in->n_tables + 1) * sizeof *n);

    *out_n = 0;
    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        uint32_t table = table_of_entry(in, &in->schema->post.entries[i]);

        if (table == COPY_NONE)
            continue;
        n[table]++;
        ++*out_n;
    }
    return n;
}

static uint32_t count_divided(const struct copy_input *in, const uint32_t *n_on_table)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        const struct entry *e = &in->schema->post.entries[i];
        uint32_t table = table_of_entry(in, e);

        n += table != COPY_NONE && may_divide(in, e, table, n_on_table);
    }
    return n;
}

static void list_entries(struct copy_input *in)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "entries");
    struct task *t = in->task;
    uint32_t n = 0;
    const uint32_t *n_on_table = count_entries(in, scratch, &n);

    n += count_divided(in, n_on_table);
    in->entries = arena_alloc(t->arena, (n + 1UL) * sizeof *in->entries);
    for (unsigned i = 0; i < in->schema->post.n_entries; i++) {
        struct entry *e = &in->schema->post.entries[i];
        uint32_t table = table_of_entry(in, e);

        if (table == COPY_NONE)
            continue;
        const struct copy_jobs_entry whole = {
            .type = e->type,
            .name = e->name,
            .prelude = e->prelude,
            .sql = joined(t->arena, e),
            .plan = {.dump_id = e->id,
                     .kind = lock_of(e),
                     .table = table,
                     .bytes = e->index_bytes,
                     .depends = e->dependencies,
                     .n_depends = e->n_dependencies},
        };
        e->is_of_copy = true;
        if (!may_divide(in, e, table, n_on_table) || !add_divided(in, e, &whole))
            add_entry(in, &whole);
    }
}

/* For the progress alone: of large tables, that are still to be copied. */
MUST_USE static struct error *estimate_rows(struct copy_input *in, struct pg_conn *source)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "estimates");

    for (uint32_t i = 0; i < in->n_tables; i++) {
        struct copy_jobs_table *t = &in->tables[i];
        const struct copy_source_table named = {.schema = t->schema, .name = t->name};

        if (!t->plan.has_rows || t->plan.bytes < ESTIMATED_FROM || was_copied(&in->task->state, t->oid))
            continue;
        struct error *err = copy_table_estimate(source, scratch, &named, t->plan.heap_blocks, &t->rows_expected);
        if (err != NULL && (pg_conn_is_broken(source) || error_kind(err) == ERROR_CANCELLED))
            return err;
        error_free(err); /* dropped meanwhile, or not to be read: that is said when it is copied */
        arena_reset(scratch);
    }
    return NULL;
}

MUST_USE static struct error *read_input(struct copy_input *in)
{
    struct task *t = in->task;
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "the source's catalog");
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    const char **reasons = NULL;
    uint32_t *ignored = NULL;

    TRY(task_connect_source(t, "catalog", t->stop, &source));
    TRY(task_connect_target(t, "catalog", t->stop, &target));
    TRY(read_catalog(t, source, scratch, &in->catalog));
    keep_dumped(in->schema, &in->catalog);
    TRY(choose_formats(in, source, target, scratch, &reasons));
    TRY(list_tables(in, source, reasons));
    TRY(estimate_rows(in, source));
    list_entries(in);
    weigh_foreign_keys(in);
    full_objects_weigh(t);
    in->catalog = (struct catalog){.n_tables = 0};
    TRY(lineage_of_extensions(source, t->arena, &ignored, &t->n_ignored));
    t->ignored = ignored;
    return NULL;
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

/* (G2) Every gate from where it was written: with the rows. */
struct error *full_read_gates(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;
    struct lsn newest = t->state.task.slot_lsn;

    TRY(task_connect_target(t, "gates", t->stop, &target));
    TRY(state_read(target, t->arena, t->record->id, &t->state));
    t->relations = t->state.relations;
    t->n_relations = t->state.n_relations;
    for (unsigned i = 0; i < t->n_relations; i++)
        newest = lsn_max(newest, t->relations[i].gate.upto);
    atomic_store(&t->consistent_lsn, newest.value);
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
MUST_USE static struct error *open_schema_target(struct task *t, struct schema_target **out)
{
    struct backoff backoff = {0};

    for (;;) {
        struct error *err = read_target_roles(t, out);

        if (err == NULL || error_kind(err) != ERROR_TRANSIENT)
            return err;
        log_warn("could not read the target's roles, trying again: %s", error_message(err));
        error_free(err);
        if (stop_wait_ms(t->stop, backoff_next_ms(&backoff)))
            return stop_check(t->stop);
    }
}

/* With a selection both parts: what belongs to what is told by either. */
MUST_USE static struct error *open_schema(struct task *t, struct schema *schema, struct schema_target **out)
{
    TRY(load_or_dump(t, schema));
    if (t->chosen != NULL) {
        TRY(schema_load_post(t->arena, schema_folder(t), schema));
        schema_select(schema, is_chosen, t->chosen);
    }
    return open_schema_target(t, out);
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
    const char **reasons = NULL;

    TRY(task_connect_source(t, "catalog", t->stop, &source));
    TRY(task_connect_target(t, "catalog", t->stop, &target));
    TRY(catalog_read(source, t->arena, &in->catalog));
    TRY(keep_late(t, &in->catalog, oids, n));
    TRY(choose_formats(in, source, target, t->arena, &reasons));
    return list_late_tables(in, reasons);
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

        uint32_t place = place_of(in, oid);

        if (!was_copied(&t->state, oid) && (place == COPY_NONE || in->tables[place].is_gone))
            gone[n++] = oid;
    }
    return record_gone(t, gone, n);
}

/* Where the target follows no DDL, another name is another table's there. */
MUST_USE static struct error *refuse_renamed(const struct copy_input *in)
{
    for (unsigned i = 0; i < in->schema->n_tables; i++) {
        const struct schema_table *e = &in->schema->tables[i];
        uint32_t place = place_of(in, e->oid);
        const struct copy_jobs_table *t = place == COPY_NONE ? NULL : &in->tables[place];

        if (t == NULL || !t->plan.has_rows || was_copied(&in->task->state, t->oid) ||
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
        uint32_t place = e->is_gone ? place_of(in, e->table_oid) : COPY_NONE;

        if (place != COPY_NONE && in->tables[place].plan.has_rows && !was_copied(&in->task->state, e->table_oid))
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

/* Each start: a stop that was interrupted may have forced it already. */
MUST_USE static struct error *lift_forced_security(struct task *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *source = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *target = NULL;

    TRY(task_connect_source(t, "row security", t->stop, &source));
    TRY(task_connect_target(t, "row security", t->stop, &target));
    return forced_security_lift(source, target, t->chosen);
}

struct error *full_copy(struct task *t)
{
    struct copy_input *in = ARENA_NEW(t->arena, struct copy_input);

    progress_set_phase(t->progress, PHASE_STRUCTURE);
    TRY(open_schema(t, &t->schema, &t->schema_target));
    TRY(restore_structure(t, &t->schema, t->schema_target));
    TRY(lift_forced_security(t));
    TRY(open_post(t, &t->schema));
    TRY(extras_copy(t));
    progress_set_phase(t->progress, PHASE_DATA);
    *in = (struct copy_input){.task = t, .schema = &t->schema, .names_are_targets = t->holder != NULL};
    TRY(read_input(in));
    TRY(watch_for_ddl(in));
    memory_trim();
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
