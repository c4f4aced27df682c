#include "pg/state.h"

#include <inttypes.h>
#include <poll.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "pg/cells.h"
#include "pg/sql.h"

enum {
    FENCE_TIMEOUT_MS = 60000,
    FENCE_LOOK_MS = 50,
    OUR_LOCKS = 0x70677469, /* "pgti": the first key of the advisory lock */
    WHOLE = 0,              /* among the dump ids, which begin at 1 */
};

static const char task_columns[] =
    "task, source_system, source_timeline::text, source_database_oid::text, "
    "source_database, slot, slot_lsn::text, slot_snapshot, version, structure_done::text";

static struct lsn lsn_of(const char *cell)
{
    struct lsn lsn = LSN_NONE;

    if (cell != NULL && !lsn_parse(cell, &lsn))
        lsn = LSN_NONE; /* the server writes no other text */
    return lsn;
}

static struct state_task task_of(char **cell)
{
    return (struct state_task){
        .task = cell[0],
        .source_system = cell[1],
        .source_timeline = cell_u32(cell[2]),
        .source_database_oid = cell_u32(cell[3]),
        .source_database = cell[4],
        .slot = cell[5],
        .slot_lsn = lsn_of(cell[6]),
        .slot_snapshot = cell[7],
        .version = cell[8],
        .structure_done = cell_bool(cell[9]),
    };
}

static struct error *has_tables(struct pg_conn *target, struct arena *a, bool *out)
{
    char *name;

    TRY(pg_query_text(target, a, "looking for the schema \"pgtide\"", "SELECT to_regclass('pgtide.task')::text", NULL,
                      0, &name));
    *out = name != NULL;
    return NULL;
}

static struct error *read_lanes(struct pg_conn *target, struct arena *a, const char *task, struct state *out)
{
    struct pg_rows answer;

    TRY(pg_query(target, a, "reading the positions of lanes",
                 "SELECT lane::text, lane_count::text, end_lsn::text, transactions::text, committed_us::text "
                 "FROM pgtide.lane WHERE task = $1 ORDER BY lane.lane",
                 &task, 1, &answer));
    out->n_lanes = answer.n_rows;
    out->lanes = arena_alloc(a, (answer.n_rows + 1U) * sizeof *out->lanes);
    for (unsigned r = 0; r < answer.n_rows; r++) {
        char **cell = answer.rows[r];

        out->lanes[r] = (struct state_lane){
            .lane = cell_u32(cell[0]),
            .lane_count = cell_u32(cell[1]),
            .position = {.end = lsn_of(cell[2]), .transactions = cell_u64(cell[3]), .committed_us = cell_i64(cell[4])},
        };
    }
    return NULL;
}

/* Of 100,000 tables: structs on their way to the arena, and the texts that most of them share with the one before. */
struct reading {
    struct arena *arena;
    struct buffer *rows;
    struct snapshot snapshot;
    const char *snapshot_text; /* NULL before the first */
};

static struct error *take_relation(void *self, const char *const *cell)
{
    struct reading *r = self;
    struct state_relation relation = {.source_oid = cell_u32(cell[0]),
                                      .gate = {.upto = lsn_of(cell[2])},
                                      .rows = cell_u64(cell[3]),
                                      .is_nameless = cell_bool(cell[4])};

    if (r->snapshot_text == NULL || strcmp(r->snapshot_text, cell[1]) != 0) {
        r->snapshot_text = arena_strdup(r->arena, cell[1]);
        struct error *err = snapshot_parse(r->arena, cell[1], &r->snapshot);
        if (err != NULL)
            return error_wrap(err, "reading the gate of the table with the oid %s on the source", cell[0]);
    }
    relation.gate.snapshot = r->snapshot;
    buffer_append(r->rows, &relation, sizeof relation);
    return NULL;
}

static struct error *take_done(void *self, const char *const *cell)
{
    struct reading *r = self;
    int dump_id = cell_int(cell[0]);

    buffer_append(r->rows, &dump_id, sizeof dump_id);
    return NULL;
}

/* The rows as an array of structs in `a`. */
static void *kept(struct arena *a, const struct buffer *rows)
{
    void *array = arena_bytes(a, rows->length);

    return rows->length == 0 ? array : memcpy(array, rows->bytes, rows->length);
}

static struct error *read_relations(struct pg_conn *target, struct arena *a, const char *task, struct state *out)
{
    CLEANUP(buffer_free) struct buffer *rows = buffer_new();
    struct reading r = {.arena = a, .rows = rows};

    TRY(pg_query_each(target, "reading the gates of copied tables",
                      "SELECT source_oid::text, snapshot, upto::text, rows::text, (table_name = '')::text "
                      "FROM pgtide.relation WHERE task = $1 ORDER BY relation.source_oid",
                      &task, 1, (struct pg_row_taker){take_relation, &r}));
    out->n_relations = (unsigned)(rows->length / sizeof *out->relations);
    out->relations = kept(a, rows);
    return NULL;
}

static struct error *read_done(struct pg_conn *target, struct arena *a, const char *task, struct state *out)
{
    CLEANUP(buffer_free) struct buffer *rows = buffer_new();
    struct reading r = {.arena = a, .rows = rows};

    TRY(pg_query_each(target, "reading which entries of the structure are done",
                      "SELECT dump_id::text FROM pgtide.done WHERE task = $1 ORDER BY done.dump_id", &task, 1,
                      (struct pg_row_taker){take_done, &r}));
    out->n_done = (unsigned)(rows->length / sizeof *out->done);
    out->done = kept(a, rows);
    return NULL;
}

struct error *state_read(struct pg_conn *target, struct arena *a, const char *task, struct state *out)
{
    struct state state = {.exists = false};
    struct pg_rows answer;
    bool there = false;

    TRY(has_tables(target, a, &there));
    if (there) {
        TRY(pg_query(target, a, "reading the task's record",
                     arena_printf(a, "SELECT %s FROM pgtide.task WHERE task = $1", task_columns), &task, 1, &answer));
        state.exists = answer.n_rows == 1;
    }
    if (state.exists) {
        state.task = task_of(answer.rows[0]);
        TRY(read_lanes(target, a, task, &state));
        TRY(read_relations(target, a, task, &state));
        TRY(read_done(target, a, task, &state));
    }
    *out = state;
    return NULL;
}

bool state_has_relation(const struct state *s, uint32_t source_oid)
{
    for (unsigned low = 0, high = s->n_relations; low < high;) {
        unsigned middle = low + (high - low) / 2;

        if (s->relations[middle].source_oid == source_oid)
            return true;
        if (s->relations[middle].source_oid < source_oid)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool state_has_done(const struct state *s, int dump_id)
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

struct error *state_tasks(struct pg_conn *target, struct arena *a, struct state_task **out_tasks, unsigned *out_n)
{
    struct pg_rows answer = {.n_rows = 0};
    bool there = false;

    TRY(has_tables(target, a, &there));
    if (there)
        TRY(pg_query(target, a, "reading the list of tasks",
                     arena_printf(a, "SELECT %s FROM pgtide.task ORDER BY task", task_columns), NULL, 0, &answer));
    *out_n = answer.n_rows;
    *out_tasks = arena_alloc(a, (answer.n_rows + 1U) * sizeof **out_tasks);
    for (unsigned r = 0; r < answer.n_rows; r++)
        (*out_tasks)[r] = task_of(answer.rows[r]);
    return NULL;
}

/* A statement about one task whose parameters are texts; its answer is its number of rows. */
static struct error *run(struct pg_conn *target, const char *what, const char *sql, const char *const *params,
                         unsigned n_params)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "state statement");
    struct pg_rows ignored;

    return pg_query(target, scratch, what, sql, params, n_params, &ignored);
}

struct error *state_create(struct pg_conn *target, const struct state_task *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "state");
    struct lsn_text lsn = lsn_format(task->slot_lsn);
    const char *params[] = {
        task->task,
        task->source_system,
        arena_printf(scratch, "%" PRIu32, task->source_timeline),
        arena_printf(scratch, "%" PRIu32, task->source_database_oid),
        task->source_database,
        task->slot,
        lsn_is_none(task->slot_lsn) ? NULL : lsn.text,
        task->slot_snapshot,
        task->version,
    };
    struct error *err = pg_execute(target, "creating the schema \"pgtide\"", sql_state);

    if (err != NULL)
        return error_hint(err, "The target user needs CREATE on the database: pgtide keeps its positions there.");
    return run(
        target, "writing the task's record",
        "INSERT INTO pgtide.task (task, source_system, source_timeline, source_database_oid, source_database, "
        "slot, slot_lsn, slot_snapshot, version) VALUES ($1, $2, $3::bigint, $4::oid, $5, $6, $7::pg_lsn, $8, $9) "
        "ON CONFLICT (task) DO NOTHING",
        params, COUNT_OF(params));
}

/* The row must be there: a missing one means that somebody removed the state under us. */
static struct error *update_task(struct pg_conn *target, const char *what, const char *sql, const char *const *params,
                                 unsigned n_params)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "state statement");
    struct pg_rows answer;

    TRY(pg_query(target, scratch, what, sql, params, n_params, &answer));
    if (answer.n_rows == 1)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG, "%s: the task \"%s\" has no row in pgtide.task", what, params[0]),
                      "The schema pgtide on the target was changed by somebody else. Run pgtide stop and begin again.");
}

struct error *state_set_slot(struct pg_conn *target, const struct state_task *task)
{
    struct lsn_text lsn = lsn_format(task->slot_lsn);
    const char *params[] = {task->task, task->slot, lsn_is_none(task->slot_lsn) ? NULL : lsn.text, task->slot_snapshot};

    return update_task(target, "writing down the slot",
                       "UPDATE pgtide.task SET slot = $2, slot_lsn = $3::pg_lsn, slot_snapshot = $4 WHERE task = $1 "
                       "RETURNING 1",
                       params, COUNT_OF(params));
}

struct error *state_set_structure_done(struct pg_conn *target, const char *task)
{
    return update_task(target, "writing down that the structure is done",
                       "UPDATE pgtide.task SET structure_done = true WHERE task = $1 RETURNING 1", &task, 1);
}

struct error *state_set_relation(struct pg_conn *target, const char *task, const struct state_relation *r)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "gate");
    struct lsn_text upto = lsn_format(r->gate.upto);
    const char *params[] = {
        task,
        arena_printf(scratch, "%" PRIu32, r->source_oid),
        r->schema,
        r->table,
        snapshot_format(scratch, &r->gate.snapshot),
        upto.text,
        arena_printf(scratch, "%" PRIu64, r->rows),
    };

    return run(target, "writing the gate of a copied table",
               "INSERT INTO pgtide.relation (task, source_oid, schema_name, table_name, snapshot, upto, rows) "
               "VALUES ($1, $2::oid, $3, $4, $5, $6::pg_lsn, $7::bigint) ON CONFLICT (task, source_oid) DO UPDATE "
               "SET schema_name = excluded.schema_name, table_name = excluded.table_name, "
               "snapshot = excluded.snapshot, upto = excluded.upto, rows = excluded.rows",
               params, COUNT_OF(params));
}

struct error *state_read_lanes(struct pg_conn *target, struct arena *a, const char *task, struct state *out)
{
    return read_lanes(target, a, task, out);
}

struct apply_position state_least(const struct state *s)
{
    struct apply_position least = {0};

    for (unsigned i = 0; i < s->n_lanes; i++)
        if (i == 0 || lsn_before(s->lanes[i].position.end, least.end))
            least = s->lanes[i].position;
    return least;
}

struct error *state_set_lanes(struct pg_conn *target, const char *task, unsigned n, struct apply_position position)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "lanes");
    struct lsn_text end = lsn_format(position.end);
    const char *params[] = {
        task,
        arena_printf(scratch, "%u", n),
        end.text,
        arena_printf(scratch, "%" PRIu64, position.transactions),
        arena_printf(scratch, "%" PRId64, position.committed_us),
    };

    /* One statement that deletes and inserts could meet its own keys: the rows of lanes that stay are updated. */
    return run(target, "setting the number of lanes",
               "WITH gone AS (DELETE FROM pgtide.lane WHERE task = $1 AND lane > $2::int) "
               "INSERT INTO pgtide.lane (task, lane, lane_count, end_lsn, transactions, committed_us) "
               "SELECT $1, n, $2::int, $3::pg_lsn, $4::int8, $5::int8 FROM generate_series(1, $2::int) n "
               "ON CONFLICT (task, lane) DO UPDATE SET lane_count = excluded.lane_count, end_lsn = excluded.end_lsn, "
               "transactions = excluded.transactions, committed_us = excluded.committed_us",
               params, COUNT_OF(params));
}

bool state_is_whole(const struct state *s)
{
    bool is_found = false;

    for (unsigned i = 0; i < s->n_done && s->done[i] <= WHOLE; i++)
        is_found = s->done[i] == WHOLE;
    return is_found;
}

struct error *state_set_whole(struct pg_conn *target, const char *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "whole");
    const char *params[] = {task, arena_printf(scratch, "%d", WHOLE)};

    return run(target, "writing down that everything is there",
               "INSERT INTO pgtide.done (task, dump_id) VALUES ($1, $2::int) ON CONFLICT DO NOTHING", params,
               COUNT_OF(params));
}

struct error *state_forget_whole(struct pg_conn *target, const char *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "whole");
    const char *params[] = {task, arena_printf(scratch, "%d", WHOLE)};

    return run(target, "taking back that everything is there",
               "DELETE FROM pgtide.done WHERE task = $1 AND dump_id = $2::int", params, COUNT_OF(params));
}

struct error *state_forget_done(struct pg_conn *target, const char *task)
{
    return run(target, "forgetting which entries of the structure are done", "DELETE FROM pgtide.done WHERE task = $1",
               &task, 1);
}

struct error *state_drop(struct pg_conn *target, const char *task)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "state");
    const char *name = pg_quote_literal(scratch, task);
    bool there = false;

    TRY(has_tables(target, scratch, &there));
    if (!there)
        return NULL;
    FAULT_POINT("state.before_drop");
    /* The lock keeps another task from arriving between the look and the drop. One statement list: one transaction. */
    struct error *err = pg_execute_format(
        target, "removing the task from the schema \"pgtide\"",
        "LOCK TABLE pgtide.task IN ACCESS EXCLUSIVE MODE;"
        "DELETE FROM pgtide.lane WHERE task = %1$s; DELETE FROM pgtide.lane_table WHERE task = %1$s; DELETE FROM "
        "pgtide.relation WHERE task = %1$s;"
        "DELETE FROM pgtide.done WHERE task = %1$s; DELETE FROM pgtide.conflict WHERE task = %1$s;"
        "DELETE FROM pgtide.task WHERE task = %1$s;"
        /* Where the database is the source of another synchronization, its capture of DDL is in the schema, too. */
        "DO $$ BEGIN IF to_regclass('pgtide.aside') IS NOT NULL THEN DELETE FROM pgtide.aside WHERE task = %1$s; END "
        "IF; "
        "IF NOT EXISTS (SELECT FROM pgtide.task) THEN DROP TABLE IF EXISTS pgtide.aside; "
        "DROP TABLE pgtide.lane, pgtide.lane_table, pgtide.relation, pgtide.done, pgtide.conflict, pgtide.task; "
        "IF NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'pgtide'::regnamespace) AND NOT EXISTS "
        "(SELECT FROM pg_catalog.pg_proc WHERE pronamespace = 'pgtide'::regnamespace) THEN DROP SCHEMA pgtide; "
        "END IF; END IF; END $$",
        name);
    if (err != NULL)
        return error_hint(err, "The schema pgtide stays on the target; it is small. \"pgtide slots gc\" removes it, or "
                               "DROP SCHEMA pgtide CASCADE when no synchronization uses it.");
    return NULL;
}

/* ---- sessions ---- */

static bool pause_is_stopped(const struct stop *stop, int ms)
{
    if (stop != NULL)
        return stop_wait_ms(stop, ms);
    poll(NULL, 0, ms);
    return false;
}

/* Runs `sql`, which ends sessions and answers with those that are still there, until there are none. */
static struct error *end_sessions(struct pg_conn *target, const char *sql, const char *const *params, unsigned n_params)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "fence");
    int64_t deadline_us = clock_now_us() + (int64_t)FENCE_TIMEOUT_MS * 1000;
    struct pg_rows answer;

    for (;;) {
        TRY(pg_query(target, scratch, "ending former sessions of this task", sql, params, n_params, &answer));
        if (answer.n_rows == 0)
            return NULL;
        if (clock_now_us() > deadline_us)
            return error_hint(
                error_new(ERROR_TRANSIENT,
                          "former session of this task with pid %s on the target did not end "
                          "within %d s",
                          answer.rows[0][0], FENCE_TIMEOUT_MS / 1000),
                "What it still runs would come on top of what is applied now. See pg_stat_activity, and end "
                "it with pg_terminate_backend.");
        if (pause_is_stopped(pg_conn_stop(target), FENCE_LOOK_MS))
            return error_new(ERROR_CANCELLED, "stopped while ending former sessions of this task");
        arena_reset(scratch);
    }
}

/* Only sessions of our database: the same task id cannot write to another one. */
static const char fence_sql[] = "SELECT pid::text, pg_terminate_backend(pid)::text FROM pg_stat_activity "
                                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                                "AND left(application_name, length($1)) = $1 AND pid <> ALL ($2::int[])";

static const char fence_backend_sql[] = "SELECT pid::text, pg_terminate_backend(pid)::text FROM pg_stat_activity "
                                        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                                        "AND left(application_name, length($1)) = $1 AND pid = $2::int";

struct error *state_fence(struct pg_conn *target, const char *task, const int *spare, unsigned n_spare)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "fence");
    const char *pids = "{";

    for (unsigned i = 0; i < n_spare; i++)
        pids = arena_printf(scratch, "%s%s%d", pids, i == 0 ? "" : ",", spare[i]);
    const char *params[] = {arena_printf(scratch, "pgtide %s ", task), arena_printf(scratch, "%s}", pids)};
    return end_sessions(target, fence_sql, params, COUNT_OF(params));
}

struct error *state_fence_backend(struct pg_conn *target, const char *task, int pid)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "fence");
    const char *params[] = {arena_printf(scratch, "pgtide %s ", task), arena_printf(scratch, "%d", pid)};

    return end_sessions(target, fence_backend_sql, params, COUNT_OF(params));
}

struct error *state_lock(struct pg_conn *target, const char *task, bool *out_taken)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "lock");
    uint32_t key = (uint32_t)hash_bytes(task, strlen(task), 0);
    const char *params[] = {arena_printf(scratch, "%d", OUR_LOCKS), arena_printf(scratch, "%" PRId32, (int32_t)key)};
    char *taken;

    TRY(pg_query_text(target, scratch, "taking the lock of this task",
                      "SELECT pg_try_advisory_lock($1::int, $2::int)::text", params, COUNT_OF(params), &taken));
    *out_taken = cell_bool(taken);
    return NULL;
}
