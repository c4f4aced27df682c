#include "worker/copy_worker_internal.h"

#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "pg/copy.h"
#include "pg/standby.h"

enum {
    LARGE_ROW = 64 * 1024 * 1024, /* libpq keeps a buffer of that size: the session is opened anew afterwards */
};

/*
 * A bunch waits so long for its locks, shorter than deadlock_timeout: the application's DDL must not become the victim.
 */
#define BUNCH_LOCK_TIMEOUT "SET LOCAL lock_timeout = '800ms'; "

/* ---- progress ---- */

static void on_rows(void *self, unsigned index, uint64_t rows, uint64_t bytes)
{
    struct copy_worker *w = self;

    copy_crew_credit(w->crew, w->job->tables[index], rows, bytes);
    progress_item_add(w->crew->options->progress, w->number - 1, rows, bytes);
    atomic_fetch_add(&w->crew->counters->rows_copied, rows);
    atomic_fetch_add(&w->crew->counters->bytes_copied, bytes);
    w->job_rows += rows;
}

/* What an earlier try had added. */
static void begin_anew(const struct copy_worker *w)
{
    for (unsigned i = 0; i < w->job->n_tables; i++) {
        struct copy_credit *c = &w->crew->credits[w->job->tables[i]];

        atomic_store(&c->passed, 0);
        atomic_store(&c->passed_rows, 0);
        atomic_fetch_sub(&w->crew->counters->rows_copied, atomic_exchange(&c->rows, 0));
    }
}

static int on_pace(void *self, uint64_t bytes)
{
    const struct copy_worker *w = self;
    int pause_ms = w->crew->options->pace_ms(w->crew->options->pace_self, bytes);

    if (pause_ms > 0)
        atomic_fetch_add(&w->crew->counters->paced_ms, (uint64_t)pause_ms);
    return pause_ms;
}

static void make_alone(struct copy_worker *w, uint32_t table)
{
    pthread_mutex_lock(&w->crew->plan_mutex);
    copy_plan_alone(w->crew->plan, w->job, table);
    pthread_mutex_unlock(&w->crew->plan_mutex);
}

/* ---- reading a table ---- */

static struct error *gone(const struct copy_source_table *t)
{
    return error_hint(
        error_new(ERROR_CONFIG, "copying table \"%s.%s\": it was dropped or renamed on the source", t->schema, t->name),
        "Changes of the structure are not carried while a synchronization runs. Start the same command again: "
        "it goes on with the tables that are there; the dropped one stays on the target.");
}

/* Why a lock was refused. */
MUST_USE static struct error *explain_lock(struct copy_worker *w, struct error *cause)
{
    CLEANUP(error_free) struct error *err = cause;
    const struct copy_source_table *const table = &w->crew->tables[w->job->tables[0]];
    enum copy_table_state state = COPY_TABLE_INTACT;

    if (error_kind(err) != ERROR_CONFIG)
        return TAKE(err);
    TRY(pg_execute(w->source, "giving the transaction up", "ROLLBACK"));
    TRY(copy_table_check(w->source, w->scratch, &table, 1, &state));
    return state == COPY_TABLE_GONE ? gone(table) : TAKE(err);
}

/* Dropped or renamed: nothing of that name can be locked. */
static bool is_altered(struct copy_worker *w)
{
    const struct copy_source_table *const table = &w->crew->tables[w->job->tables[0]];
    bool altered = false;
    CLEANUP(error_free) struct error *err = copy_crew_find_altered(w->crew, w->scratch, &table, 1, &altered);

    return err == NULL && altered;
}

MUST_USE static struct error *put_off_unlocked(struct copy_worker *w, enum job_end *out_end)
{
    if (w->job->kind == JOB_PART) {
        make_alone(w, w->job->tables[0]);
        *out_end = JOB_END_AGAIN;
    } else {
        *out_end = JOB_END_PUT_OFF;
    }
    return NULL;
}

/*
 * Locks ACCESS SHARE. *out_is_locked is false when a bunch did not get its locks: its tables then come again one by
 * one.
 */
MUST_USE static struct error *lock_tables(struct copy_worker *w, bool *out_is_locked, enum job_end *out_end)
{
    const char *sql = copy_table_lock(w->scratch, copy_worker_tables(w), w->job->n_tables);
    bool is_bunch = w->job->n_tables > 1;

    if (is_bunch)
        sql = arena_printf(w->scratch, BUNCH_LOCK_TIMEOUT "%s", sql);
    struct error *err = pg_execute(w->source, "locking tables to be copied", sql);
    *out_is_locked = err == NULL;
    if (err == NULL)
        return NULL;
    if (!is_bunch && error_kind(err) == ERROR_CONFIG && is_altered(w)) {
        error_free(err);
        return put_off_unlocked(w, out_end);
    }
    if (!is_bunch)
        return explain_lock(w, err);
    if (pg_conn_is_broken(w->source) || error_kind(err) == ERROR_CANCELLED)
        return err;
    log_debug("%s; tables of the bunch are copied one by one", error_message(err));
    error_free(err);
    while (w->job->n_tables > 0)
        make_alone(w, w->job->tables[0]);
    return NULL;
}

/* (G3) The table was rewritten after the shared snapshot: it gets a snapshot and a gate of its own, locked before. */
MUST_USE static struct error *take_own_snapshot(struct copy_worker *w, struct gate *out_gate)
{
    const struct copy_source_table *const table = &w->crew->tables[w->job->tables[0]];
    struct pg_snapshot own;
    enum copy_table_state state;

    log_info("table \"%s.%s\" was rewritten after the snapshot was taken: it gets one of its own", table->schema,
             table->name);
    TRY(pg_execute(w->source, "giving the transaction up", "ROLLBACK"));
    TRY(pg_snapshot_take(w->source, w->scratch, copy_table_lock(w->scratch, &table, 1),
                         copy_crew_wish(w->crew->options), &own));
    TRY(copy_table_check(w->source, w->scratch, &table, 1, &state));
    if (state == COPY_TABLE_REWRITTEN && pg_standby_is(w->source)) /* its snapshot may be older than the lock */
        return error_new(ERROR_TRANSIENT, "table \"%s.%s\" was rewritten again meanwhile", table->schema, table->name);
    if (state != COPY_TABLE_INTACT)
        return gone(table);
    *out_gate = own.gate;
    return NULL;
}

/* (F11, G3) What the snapshot does not show rightly is taken out of the job. *out_stays is false when it was a part. */
MUST_USE static struct error *check_tables(struct copy_worker *w, struct gate *gate, bool *out_stays)
{
    const struct copy_source_table *const *tables = copy_worker_tables(w);
    unsigned n = w->job->n_tables;
    enum copy_table_state *states = arena_alloc(w->scratch, n * sizeof *states);

    *out_stays = true;
    TRY(copy_table_check(w->source, w->scratch, tables, n, states));
    for (unsigned i = 0; i < n; i++) {
        if (states[i] == COPY_TABLE_GONE)
            return gone(tables[i]);
        if (states[i] == COPY_TABLE_INTACT)
            continue;
        if (w->job->kind == JOB_TABLE)
            return take_own_snapshot(w, gate);
        make_alone(w, (uint32_t)(tables[i] - w->crew->tables));
        *out_stays = w->job->kind != JOB_PART;
    }
    return NULL;
}

/* What was altered leaves a bunch and is no longer copied in parts; alone it is put off. *out_end is set when nothing is left to copy now. */
MUST_USE static struct error *leave_out_altered(struct copy_worker *w, enum job_end *out_end)
{
    const struct copy_source_table *const *tables = copy_worker_tables(w);
    unsigned n = w->job->n_tables;
    bool *altered = arena_alloc(w->scratch, (n + 1) * sizeof *altered);

    TRY(copy_crew_find_altered(w->crew, w->scratch, tables, n, altered));
    for (unsigned i = 0; i < n; i++) {
        if (!altered[i])
            continue;
        if (w->job->kind == JOB_TABLE) {
            *out_end = JOB_END_PUT_OFF;
            return NULL;
        }
        make_alone(w, (uint32_t)(tables[i] - w->crew->tables));
        if (w->job->kind == JOB_PART)
            *out_end = JOB_END_AGAIN;
    }
    return NULL;
}

/* *out_end is set when the source is not ready to be read, because nothing is left to do. */
MUST_USE static struct error *begin_reading(struct copy_worker *w, struct gate *out_gate, enum job_end *out_end)
{
    unsigned generation = 0;
    bool is_locked = false, stays = true;

    TRY(copy_worker_open_source(w));
    TRY(copy_crew_import(w->crew, w->source, &generation, out_gate));
    if (w->job->kind == JOB_PART && generation != w->job->generation) {
        *out_end = JOB_END_AGAIN; /* (G3) the other parts have another snapshot */
        return NULL;
    }
    TRY(lock_tables(w, &is_locked, out_end));
    FAULT_POINT("copy.after_lock");
    if (is_locked)
        TRY(leave_out_altered(w, out_end));
    if (*out_end != JOB_END_DONE)
        return NULL;
    if (is_locked && w->job->n_tables > 0)
        TRY(check_tables(w, out_gate, &stays));
    if (!stays)
        *out_end = JOB_END_AGAIN;
    else
        *out_end = w->job->n_tables > 0 ? JOB_END_OPEN : JOB_END_DONE;
    return NULL;
}

/* ---- writing a table ---- */

static bool is_emptied(const struct copy_worker *w, uint32_t table)
{
    const struct copy_jobs_table *t = &w->crew->options->tables[table];
    uint64_t small_below = w->crew->options->rules.small_below;
    bool is_large_stream =
        w->job->kind == JOB_TABLE && t->plan.bytes > (small_below == 0 ? COPY_SMALL_BELOW : small_below);

    return t->is_ours && w->job->kind != JOB_PART && (w->job->must_empty || is_large_stream);
}

/* TRUNCATE, or where foreign keys are there already, DELETE. */
MUST_USE static struct error *empty(struct copy_worker *w, const struct copy_source_table *const *tables, unsigned n,
                                    bool *out_truncated)
{
    bool is_referenced = false;

    TRY(copy_table_referenced(w->target, w->scratch, tables, n, &is_referenced));
    *out_truncated = !is_referenced;
    return pg_execute(w->target, "emptying tables on the target",
                      is_referenced ? copy_table_delete(w->scratch, tables, n)
                                    : copy_table_truncate(w->scratch, tables, n));
}

/* A table that is filled in the transaction that truncated it can be written frozen: no later rewrite of its pages. */
MUST_USE static struct error *empty_tables(struct copy_worker *w, bool *out_truncated)
{
    const struct copy_source_table **tables = copy_worker_tables(w);
    unsigned n = 0;

    for (unsigned i = 0; i < w->job->n_tables; i++)
        if (is_emptied(w, w->job->tables[i]))
            tables[n++] = tables[i];
    return n == 0 ? NULL : empty(w, tables, n, out_truncated);
}

static struct copy_statement *statements_of(const struct copy_worker *w, bool may_freeze)
{
    struct copy_statement *statements = arena_alloc(w->scratch, w->job->n_tables * sizeof *statements);

    for (unsigned i = 0; i < w->job->n_tables; i++) {
        const struct copy_source_table *t = &w->crew->tables[w->job->tables[i]];
        bool is_frozen = may_freeze && w->job->kind == JOB_TABLE && is_emptied(w, w->job->tables[i]);

        statements[i].name = arena_printf(w->scratch, "%s.%s", t->schema, t->name);
        statements[i].in_sql = copy_table_in(w->scratch, t, is_frozen);
        statements[i].out_sql =
            w->job->kind == JOB_PART
                ? copy_table_range_out(w->scratch, t, (struct copy_range){w->job->first_block, w->job->end_block})
                : copy_table_out(w->scratch, t);
    }
    return statements;
}

MUST_USE static struct error *record(struct copy_worker *w, const struct gate *gate, const uint64_t *rows)
{
    const struct copy_record what = {
        .tables = copy_worker_tables(w), .n = w->job->n_tables, .gate = gate, .rows = rows};

    return copy_table_record(w->target, w->scratch, w->crew->options->task, &what);
}

/* (P1) Rows and the row of pgtide.relation in one transaction. Parts have none: the seal writes it. */
MUST_USE static struct error *write_rows(struct copy_worker *w, const struct gate *gate, uint64_t *rows)
{
    struct copy_outcome outcome = {.rows = rows};
    const struct copy_watch watch = {
        .self = w,
        .progress = on_rows,
        .pace_ms = w->crew->options->pace_ms == NULL ? NULL : on_pace,
    };
    bool is_truncated = false;

    TRY(pg_execute(w->target, "beginning a transaction", "BEGIN"));
    TRY(empty_tables(w, &is_truncated));
    TRY(copy_pump(w->source, w->target, statements_of(w, is_truncated), w->job->n_tables, watch, &outcome));
    if (w->job->kind != JOB_PART)
        TRY(record(w, gate, rows));
    FAULT_POINT("copy.before_commit");
    TRY(copy_worker_commit(w));
    FAULT_POINT("copy.after_commit");
    if (outcome.largest_row > LARGE_ROW)
        pg_conn_close(TAKE(w->source));
    return NULL;
}

/* ---- jobs ---- */

/*
 * A job that comes again may have been committed after all: its transaction is over by now, so this is the truth (P5).
 */
MUST_USE static struct error *find_recorded(struct copy_worker *w, bool *out_is_recorded)
{
    unsigned recorded = 0;

    *out_is_recorded = false;
    if (w->job->tries == 0)
        return NULL;
    TRY(copy_table_recorded(w->target, w->scratch, w->crew->options->task, copy_worker_tables(w), w->job->n_tables,
                            &recorded));
    if (recorded != 0 && recorded != w->job->n_tables)
        return error_new(ERROR_BUG, "of %u tables copied in one transaction %u are recorded", w->job->n_tables,
                         recorded);
    *out_is_recorded = recorded > 0;
    return NULL;
}

struct error *copy_run_rows(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct gate gate;
    bool is_recorded = false, is_truncated = false;

    FAULT_POINT("copy.table_begin");
    TRY(copy_worker_open_target(w));
    if (w->job->kind != JOB_PART) {
        TRY(find_recorded(w, &is_recorded));
        if (is_recorded)
            return NULL;
        begin_anew(w);
    }
    TRY(begin_reading(w, &gate, out_end));
    /* Parts of it may be there: what will be run on the target should meet an empty table. */
    if (*out_end == JOB_END_PUT_OFF && w->job->must_empty && w->crew->options->names_are_targets)
        return empty(w, copy_worker_tables(w), 1, &is_truncated);
    if (*out_end != JOB_END_OPEN)
        return NULL;

    uint64_t *rows = arena_alloc(w->scratch, w->job->n_tables * sizeof *rows);
    TRY(write_rows(w, &gate, rows));
    if (w->job->kind == JOB_PART)
        FAULT_POINT("copy.part_committed");
    *out_rows = rows[0];
    *out_end = JOB_END_DONE;
    return NULL;
}

struct error *copy_run_empty(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_source_table *const *tables = copy_worker_tables(w);
    bool is_altered_now = false, is_truncated = false;

    (void)out_rows;
    (void)out_end;
    begin_anew(w);
    /* What was renamed has a name that may be another table's on the target. Its parts will put it off. */
    TRY(copy_crew_find_altered(w->crew, w->scratch, tables, 1, &is_altered_now));
    if (is_altered_now)
        return NULL;
    TRY(copy_worker_open_target(w));
    return empty(w, tables, 1, &is_truncated);
}

struct error *copy_run_seal(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct copy_crew *crew = w->crew;
    bool is_recorded = false;

    (void)out_rows;
    (void)out_end;
    TRY(copy_worker_open_target(w));
    TRY(find_recorded(w, &is_recorded));
    if (is_recorded)
        return NULL;

    pthread_mutex_lock(&crew->snapshot_mutex);
    const struct gate gate = crew->snapshots[w->job->generation].gate;
    pthread_mutex_unlock(&crew->snapshot_mutex);
    TRY(pg_execute(w->target, "beginning a transaction", "BEGIN"));
    TRY(record(w, &gate, &w->job->rows));
    return copy_worker_commit(w);
}
