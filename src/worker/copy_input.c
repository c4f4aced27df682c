#include "worker/copy_input.h"

#include "base/log.h"
#include "model/cost.h"
#include "pg/binary.h"
#include "pg/copy_table.h"
#include "pg/lineage.h"
#include "pg/schema_key.h"
#include "pg/snapshot.h"
#include "worker/full.h"

enum {
    HEAP_BLOCK_BYTES = 8192,
    ESTIMATED_FROM = 8 << 20, /* bytes: the rows of smaller tables are not guessed */
};

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

    if (text_reason != NULL && !state_has_relation(&t->state, table->oid))
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

uint32_t copy_input_place(const struct copy_input *in, uint32_t oid)
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

struct error *copy_input_list_late(struct copy_input *in, struct pg_conn *source, struct pg_conn *target)
{
    const char **reasons = NULL;

    TRY(choose_formats(in, source, target, in->task->arena, &reasons));
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
        bool is_gone = e->is_gone && copy_input_place(in, e->table_oid) == COPY_NONE;

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
        uint32_t place = copy_input_place(in, partitions[i].oid);

        if (place != COPY_NONE)
            in->tables[place].plan.parent = copy_input_place(in, partitions[i].parent);
    }
    return NULL;
}

static bool is_built_with_rows(const struct entry *e)
{
    return e->kind == ENTRY_INDEX || e->kind == ENTRY_CONSTRAINT || e->kind == ENTRY_INDEX_ATTACH;
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
    uint32_t table = copy_input_place(in, e->table_oid);

    while (e->kind == ENTRY_INDEX_ATTACH && table != COPY_NONE && in->tables[table].plan.parent != COPY_NONE)
        table = in->tables[table].plan.parent;
    return table;
}

/* With its partitions. */
static uint64_t table_bytes(const struct copy_input *in, uint32_t oid)
{
    uint32_t place = copy_input_place(in, oid);
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
    if (state_has_done(&t->state, -e->id))
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

        if (!t->plan.has_rows || t->plan.bytes < ESTIMATED_FROM || state_has_relation(&in->task->state, t->oid))
            continue;
        struct error *err = copy_table_estimate(source, scratch, &named, t->plan.heap_blocks, &t->rows_expected);
        if (err != NULL && (pg_conn_is_broken(source) || error_kind(err) == ERROR_CANCELLED))
            return err;
        error_free(err); /* dropped meanwhile, or not to be read: that is said when it is copied */
        arena_reset(scratch);
    }
    return NULL;
}

struct error *copy_input_read(struct copy_input *in)
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

void copy_input_show(const struct copy_input *in)
{
    struct progress_counters *c = in->task->counters;
    uint64_t rows = 0, builds = 0, n = 0;

    for (uint32_t i = 0; i < in->n_tables; i++) {
        const struct copy_table *t = &in->tables[i].plan;

        rows += t->has_rows ? t->bytes : 0;
        builds += t->has_rows ? cost_analyze(t->bytes) : 0;
        n += t->has_rows;
    }
    for (uint32_t i = 0; i < in->n_entries; i++)
        builds += copy_entry_cost(&in->entries[i].plan, in->tables[in->entries[i].plan.table].plan.bytes);
    atomic_store(&c->data.total, rows);
    atomic_store(&c->index.total, builds);
    atomic_store(&c->tables_total, n);
    atomic_store(&c->workers, in->task->options->jobs);
    atomic_store(&c->data.state, STEP_RUNNING);
    atomic_store(&c->whole.state, STEP_RUNNING);
}
