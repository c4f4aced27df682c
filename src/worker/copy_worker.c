#include "worker/copy_worker.h"

#include <inttypes.h>

#include "base/backoff.h"
#include "base/buffer.h"
#include "base/fault.h"
#include "base/log.h"
#include "pg/copy.h"
#include "pg/standby.h"
#include "pg/state.h"
#include "sys/thread.h"

enum {
    LARGE_ROW = 64 * 1024 * 1024, /* libpq keeps a buffer of that size: the session is opened anew afterwards */
};

/*
 * A bunch waits so long for its locks, shorter than deadlock_timeout: the application's DDL must not become the victim.
 */
#define BUNCH_LOCK_TIMEOUT "SET LOCAL lock_timeout = '800ms'; "

struct copy_worker {
    struct copy_crew *crew;
    unsigned number;
    struct thread *thread;
    struct wake *wake;

    struct arena *scratch; /* of the job */
    struct pg_conn *source;
    struct pg_conn *target;
    unsigned build_kb; /* maintenance_work_mem of the target's session; 0: the server's */
    int former_pid;    /* of a lost backend on the target that may still run; 0: none */
    struct backoff backoff;

    struct copy_job *job;
    uint64_t job_rows;     /* counted in the progress, taken back when the job fails */
    bool may_be_committed; /* COMMIT was sent */
};

/* What became of a job that ran without an error. */
enum job_end {
    JOB_END_DONE,
    JOB_END_OPEN,    /* not yet: rows are to be copied */
    JOB_END_AGAIN,   /* nothing was written: the plan has changed under it */
    JOB_END_PUT_OFF, /* TABLE: it was altered, and the target has not followed yet */
};

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

static void begin_build(struct copy_worker *w, uint32_t what)
{
    copy_builds_begin(w->crew->builds, w->number, pg_conn_pid(w->target), what);
}

static enum work_kind work_kind(const struct copy_job *job)
{
    return job->kind == JOB_BUILD || job->kind == JOB_ANALYZE ? WORK_BUILD : WORK_ROWS;
}

/* ---- sessions ---- */

static const char *session_name(const struct copy_worker *w)
{
    return arena_printf(w->scratch, "pgtide %s copy %u", w->crew->options->task, w->number);
}

MUST_USE static struct error *open_source(struct copy_worker *w)
{
    if (w->source != NULL && !pg_conn_is_broken(w->source))
        return NULL;
    pg_conn_close(TAKE(w->source));
    const struct pg_connect_options options = {
        .application_name = session_name(w),
        .encoding = w->crew->options->encoding,
        .stop = w->crew->options->stop,
    };
    return pg_connect_patiently(w->crew->options->source, options, &w->source);
}

/*
 * Not everyone may be a replica. There is nothing yet that would fire or check: triggers and foreign keys come later.
 */
MUST_USE static struct error *become_replica(struct pg_conn *c)
{
    CLEANUP(error_free)
    struct error *err = pg_execute(c, "becoming a replica", "SET session_replication_role = replica");

    if (err == NULL || pg_conn_is_broken(c) || error_kind(err) == ERROR_CANCELLED)
        return TAKE(err);
    log_debug("%s", error_message(err));
    return NULL;
}

MUST_USE static struct error *settle_target(struct copy_worker *w)
{
    const struct copy_jobs_options *o = w->crew->options;

    /*
     * A COMMIT that the former session had sent runs on after it is gone: only then its outcome can be looked up (P5).
     */
    if (w->former_pid != 0)
        TRY(state_fence_backend(w->target, o->task, w->former_pid));
    w->former_pid = 0;
    if (o->parallel_maintenance >= 0 && pg_conn_version(w->target) >= 110000)
        TRY(pg_execute_format(w->target, "limiting parallel builds", "SET max_parallel_maintenance_workers = %d",
                              o->parallel_maintenance));
    return become_replica(w->target);
}

static void close_target(struct copy_worker *w)
{
    if (w->target != NULL && w->former_pid == 0)
        w->former_pid = pg_conn_pid(w->target);
    pg_conn_close(TAKE(w->target));
    w->build_kb = 0;
}

MUST_USE static struct error *open_target(struct copy_worker *w)
{
    const char *const settings[] = {
        "synchronous_commit", "off", "client_min_messages", "error", NULL,
    };

    if (w->target != NULL && !pg_conn_is_broken(w->target))
        return NULL;
    close_target(w);
    const struct pg_connect_options options = {
        .application_name = session_name(w),
        .encoding = w->crew->options->encoding,
        .settings = settings,
        .stop = w->crew->options->stop,
    };
    TRY(pg_connect_patiently(w->crew->options->target, options, &w->target));
    struct error *err = settle_target(w);
    if (err != NULL) {
        int former_pid = w->former_pid; /* the one not fenced yet, not the one just opened */

        pg_conn_close(TAKE(w->target));
        w->former_pid = former_pid;
    }
    return err;
}

/* (P5) A failed transaction answers ROLLBACK to COMMIT. */
MUST_USE static struct error *commit_target(struct copy_worker *w)
{
    struct pg_rows answer;

    w->may_be_committed = true;
    TRY(pg_query(w->target, w->scratch, "committing on the target", "COMMIT", NULL, 0, &answer));
    if (strcmp(answer.tag, "COMMIT") != 0)
        return error_new(ERROR_DATA, "committing on the target: it answered %s", answer.tag);
    return NULL;
}

/* Nothing of a job is left open; a session that cannot be cleared is closed. */
static void clear_session(struct copy_worker *w, struct pg_conn **c)
{
    if (*c == NULL)
        return;

    PGTransactionStatusType status = PQtransactionStatus(pg_conn_handle(*c));
    bool is_clear = status == PQTRANS_IDLE;
    if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) {
        CLEANUP(error_free) struct error *err = pg_execute(*c, "giving the transaction up", "ROLLBACK");

        is_clear = err == NULL;
    }
    if (is_clear && !pg_conn_is_broken(*c))
        return;
    if (c == &w->target)
        close_target(w);
    else
        pg_conn_close(TAKE(*c));
}

/* ---- the plan ---- */

static const struct copy_source_table **tables_of(const struct copy_worker *w)
{
    const struct copy_source_table **tables =
        arena_alloc(w->scratch, (w->job->n_tables + 1) * sizeof(struct copy_source_table *));

    for (unsigned i = 0; i < w->job->n_tables; i++)
        tables[i] = &w->crew->tables[w->job->tables[i]];
    return tables;
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
    const char *sql = copy_table_lock(w->scratch, tables_of(w), w->job->n_tables);
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
    const struct copy_source_table *const *tables = tables_of(w);
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
    const struct copy_source_table *const *tables = tables_of(w);
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

    TRY(open_source(w));
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
    const struct copy_source_table **tables = tables_of(w);
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
    const struct copy_record what = {.tables = tables_of(w), .n = w->job->n_tables, .gate = gate, .rows = rows};

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
    TRY(commit_target(w));
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
    TRY(copy_table_recorded(w->target, w->scratch, w->crew->options->task, tables_of(w), w->job->n_tables, &recorded));
    if (recorded != 0 && recorded != w->job->n_tables)
        return error_new(ERROR_BUG, "of %u tables copied in one transaction %u are recorded", w->job->n_tables,
                         recorded);
    *out_is_recorded = recorded > 0;
    return NULL;
}

/* TABLE, BUNCH, PART */
MUST_USE static struct error *copy_rows(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct gate gate;
    bool is_recorded = false, is_truncated = false;

    FAULT_POINT("copy.table_begin");
    TRY(open_target(w));
    if (w->job->kind != JOB_PART) {
        TRY(find_recorded(w, &is_recorded));
        if (is_recorded)
            return NULL;
        begin_anew(w);
    }
    TRY(begin_reading(w, &gate, out_end));
    /* Parts of it may be there: what will be run on the target should meet an empty table. */
    if (*out_end == JOB_END_PUT_OFF && w->job->must_empty && w->crew->options->names_are_targets)
        return empty(w, tables_of(w), 1, &is_truncated);
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

/* An earlier try of the parts left rows, under another snapshot. */
MUST_USE static struct error *empty_table(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_source_table *const *tables = tables_of(w);
    bool is_altered_now = false, is_truncated = false;

    (void)out_rows;
    (void)out_end;
    begin_anew(w);
    /* What was renamed has a name that may be another table's on the target. Its parts will put it off. */
    TRY(copy_crew_find_altered(w->crew, w->scratch, tables, 1, &is_altered_now));
    if (is_altered_now)
        return NULL;
    TRY(open_target(w));
    return empty(w, tables, 1, &is_truncated);
}

/* (G2, G3) All parts are committed, all with this one snapshot. */
MUST_USE static struct error *seal_table(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct copy_crew *crew = w->crew;
    bool is_recorded = false;

    (void)out_rows;
    (void)out_end;
    TRY(open_target(w));
    TRY(find_recorded(w, &is_recorded));
    if (is_recorded)
        return NULL;

    pthread_mutex_lock(&crew->snapshot_mutex);
    const struct gate gate = crew->snapshots[w->job->generation].gate;
    pthread_mutex_unlock(&crew->snapshot_mutex);
    TRY(pg_execute(w->target, "beginning a transaction", "BEGIN"));
    TRY(record(w, &gate, &w->job->rows));
    return commit_target(w);
}

static const char *dump_ids(const struct copy_worker *w, const char *before, const char *between, const char *after)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < w->job->n_entries; i++)
        buffer_printf(b, "%s%d", i == 0 ? before : between, w->crew->options->entries[w->job->entries[i]].plan.dump_id);
    buffer_append_text(b, after);
    return arena_strdup(w->scratch, buffer_text(b));
}

MUST_USE static struct error *find_built(struct copy_worker *w, bool *out_is_built)
{
    const char *params[] = {w->crew->options->task, dump_ids(w, "{", ",", "}")};
    char *count;

    *out_is_built = false;
    if (w->job->tries == 0)
        return NULL;
    TRY(pg_query_text(w->target, w->scratch, "asking what was built",
                      "SELECT count(*)::text FROM pgtide.done WHERE task = $1 AND dump_id = ANY ($2::int[])", params,
                      COUNT_OF(params), &count));
    *out_is_built = count != NULL && strtoul(count, NULL, 10) == w->job->n_entries;
    return NULL;
}

/* Neighbours share their prelude. */
MUST_USE static struct error *run_entries(struct copy_worker *w)
{
    const char *prelude = NULL;

    for (unsigned i = 0; i < w->job->n_entries; i++) {
        const struct copy_jobs_entry *e = &w->crew->options->entries[w->job->entries[i]];
        const char *sql = e->sql;

        if (e->prelude != prelude)
            sql = arena_printf(w->scratch, "%s\n%s", e->prelude, e->sql);
        prelude = e->prelude;
        begin_build(w, copy_builds_entry(w->job->entries[i]));
        TRY(pg_execute(w->target, arena_printf(w->scratch, "building %s %s", e->type, e->name), sql));
        copy_builds_credit(w->crew->builds, copy_builds_entry(w->job->entries[i]));
    }
    return NULL;
}

/* Before the transaction, with which it would be forgotten when it fails. */
MUST_USE static struct error *give_memory(struct copy_worker *w)
{
    enum { SERVERS_DEFAULT = 2 };
    const struct copy_jobs_options *o = w->crew->options;
    unsigned parallel = o->parallel_maintenance < 0 ? SERVERS_DEFAULT : (unsigned)o->parallel_maintenance;
    unsigned kb = 0;

    for (unsigned i = 0; i < w->job->n_entries; i++) {
        unsigned needs = copy_plan_build_kb(&o->build_memory, o->entries[w->job->entries[i]].plan.bytes, parallel);
        kb = needs > kb ? needs : kb;
    }
    if (kb == w->build_kb)
        return NULL;
    TRY(pg_execute_format(w->target, "giving index builds memory", "SET maintenance_work_mem = '%ukB'", kb));
    w->build_kb = kb;
    return NULL;
}

/* All entries and their record in one transaction. */
MUST_USE static struct error *build_at_once(struct copy_worker *w)
{
    const char *params[] = {w->crew->options->task, dump_ids(w, "{", ",", "}")};
    struct pg_rows answer;
    bool is_built = false;

    TRY(find_built(w, &is_built));
    if (is_built)
        return NULL;
    TRY(pg_execute(w->target, "beginning a transaction", "BEGIN"));
    TRY(run_entries(w));
    TRY(pg_query(w->target, w->scratch, "recording what was built",
                 "INSERT INTO pgtide.done (task, dump_id) SELECT $1, unnest($2::int[])", params, COUNT_OF(params),
                 &answer));
    FAULT_POINT("copy.index_before_commit");
    return commit_target(w);
}

MUST_USE static struct error *build(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_jobs_options *o = w->crew->options;

    (void)out_rows;
    (void)out_end;
    FAULT_POINT("copy.index_begin");
    TRY(open_target(w));
    TRY(give_memory(w));
    if (o->run_entry == NULL)
        TRY(build_at_once(w));
    for (unsigned i = 0; o->run_entry != NULL && i < w->job->n_entries; i++) {
        begin_build(w, copy_builds_entry(w->job->entries[i]));
        TRY(o->run_entry(o->run_self, w->target, w->job->entries[i]));
    }
    /* The prelude's settings stay after the commit; this one makes the pump take notices for refusals. */
    return pg_execute(w->target, "setting up the session", "SET client_min_messages = error");
}

/* The target has them under the names of the dump: what was put off, or renamed on the source after its copy, it may not find. */
static unsigned tables_to_analyze(struct copy_worker *w, const struct copy_source_table **out)
{
    const struct copy_source_table *const *tables = tables_of(w);
    const bool *put_off = w->crew->options->put_off;
    unsigned n = 0;

    pthread_mutex_lock(&w->crew->plan_mutex);
    for (unsigned i = 0; i < w->job->n_tables; i++)
        if (put_off == NULL || !put_off[w->job->tables[i]])
            out[n++] = tables[i];
    pthread_mutex_unlock(&w->crew->plan_mutex);
    return n;
}

MUST_USE static struct error *analyze_tables(struct copy_worker *w, const struct copy_source_table *const *tables,
                                             unsigned n)
{
    return n == 0
               ? NULL
               : pg_execute(w->target, "gathering statistics on the target", copy_table_analyze(w->scratch, tables, n));
}

MUST_USE static struct error *analyze(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    const struct copy_source_table **tables =
        arena_alloc(w->scratch, (w->job->n_tables + 1) * sizeof(struct copy_source_table *));
    unsigned n = tables_to_analyze(w, tables);

    (void)out_rows;
    (void)out_end;
    TRY(open_target(w));
    if (w->job->n_tables == 1)
        begin_build(w, copy_builds_statistics(w->crew->builds, w->job->tables[0]));
    struct error *err = analyze_tables(w, tables, n);
    if (err == NULL || error_kind(err) != ERROR_CONFIG)
        return err;
    error_free(err);
    for (unsigned i = 0; i < n; i++) {
        err = analyze_tables(w, &tables[i], 1);
        if (err != NULL && error_kind(err) != ERROR_CONFIG)
            return err;
        if (err != NULL)
            log_debug("%s", error_message(err));
        error_free(err);
    }
    return NULL;
}

static struct error *(*const runners[JOB_KIND_COUNT])(struct copy_worker *w, uint64_t *out_rows,
                                                      enum job_end *out_end) = {
    [JOB_TABLE] = copy_rows, [JOB_BUNCH] = copy_rows, [JOB_EMPTY] = empty_table, [JOB_PART] = copy_rows,
    [JOB_SEAL] = seal_table, [JOB_BUILD] = build,     [JOB_ANALYZE] = analyze,
};

/* For people: what the job is about. */
static const char *describe(const struct copy_worker *w)
{
    const struct copy_job *job = w->job;

    if (job->n_entries > 1)
        return arena_printf(w->scratch, "%u indexes and constraints", job->n_entries);
    if (job->n_entries == 1)
        return arena_printf(w->scratch, "%s %s", w->crew->options->entries[job->entries[0]].type,
                            w->crew->options->entries[job->entries[0]].name);
    if (job->n_tables != 1)
        return arena_printf(w->scratch, "%u small tables", job->n_tables);
    const struct copy_source_table *t = &w->crew->tables[job->tables[0]];
    if (job->kind == JOB_PART)
        return arena_printf(w->scratch, "%s.%s, part %u of %u", t->schema, t->name, job->part + 1, job->parts);
    return arena_printf(w->scratch, "%s.%s", t->schema, t->name);
}

static uint64_t expected_bytes(const struct copy_worker *w)
{
    const struct copy_jobs_options *o = w->crew->options;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < w->job->n_tables; i++)
        bytes += o->tables[w->job->tables[i]].plan.bytes;
    for (unsigned i = 0; i < w->job->n_entries; i++)
        bytes += o->entries[w->job->entries[i]].plan.bytes;
    return w->job->kind == JOB_PART ? bytes / w->job->parts : bytes;
}

MUST_USE static struct error *run_job(struct copy_worker *w, uint64_t *out_rows, enum job_end *out_end)
{
    struct progress *progress = w->crew->options->progress;

    *out_end = JOB_END_DONE;
    w->job_rows = 0;
    w->may_be_committed = false;
    progress_item_begin(progress, w->number - 1, describe(w), expected_bytes(w));
    atomic_fetch_add(&w->crew->counters->at_work[work_kind(w->job)], 1);
    struct error *err = runners[w->job->kind](w, out_rows, out_end);
    copy_builds_begin(w->crew->builds, w->number, 0, COPY_NONE);
    atomic_fetch_sub(&w->crew->counters->at_work[work_kind(w->job)], 1);
    progress_item_end(progress, w->number - 1);
    clear_session(w, &w->source); /* its snapshot, too: the source may vacuum */
    if (err != NULL)
        clear_session(w, &w->target);
    return err;
}

/* ---- the loop ---- */

static void ring_all(struct copy_crew *crew)
{
    for (unsigned i = 0; i < crew->n_workers; i++)
        copy_worker_ring(crew->workers[i]);
}

static void credit_builds(const struct copy_worker *w)
{
    struct copy_builds *b = w->crew->builds;

    for (unsigned i = 0; i < w->job->n_entries; i++)
        copy_builds_credit(b, copy_builds_entry(w->job->entries[i]));
    for (unsigned i = 0; w->job->kind == JOB_ANALYZE && i < w->job->n_tables; i++)
        copy_builds_credit(b, copy_builds_statistics(b, w->job->tables[i]));
}

static void job_done(struct copy_worker *w, uint64_t rows)
{
    struct copy_crew *crew = w->crew;
    bool is_copied = w->job->kind == JOB_TABLE || w->job->kind == JOB_BUNCH || w->job->kind == JOB_SEAL;

    if (w->job->kind == JOB_PART)
        atomic_fetch_add(&crew->credits[w->job->tables[0]].rows, rows);
    for (unsigned i = 0; is_copied && i < w->job->n_tables; i++)
        copy_crew_credit_all(crew, w->job->tables[i]);
    if (is_copied && w->job->n_tables > 0)
        log_info("copied %s", describe(w));
    credit_builds(w);
    pthread_mutex_lock(&crew->plan_mutex);
    copy_plan_done(crew->plan, w->job, rows);
    copy_crew_show_counts(crew);
    pthread_mutex_unlock(&crew->plan_mutex);
}

static void job_put_off(struct copy_worker *w)
{
    struct copy_crew *crew = w->crew;

    log_info("table \"%s\" was altered on the source after the structure was dumped: it is copied when the target has "
             "followed",
             describe(w));
    pthread_mutex_lock(&crew->plan_mutex);
    crew->options->put_off[w->job->tables[0]] = true;
    crew->n_put_off++;
    copy_plan_done(crew->plan, w->job, 0);
    copy_crew_show_counts(crew);
    pthread_mutex_unlock(&crew->plan_mutex);
}

static void job_failed(struct copy_worker *w)
{
    struct copy_crew *crew = w->crew;

    atomic_fetch_sub(&crew->counters->rows_copied, w->job_rows);
    pthread_mutex_lock(&crew->plan_mutex);
    if (w->may_be_committed)
        copy_plan_unknown(crew->plan, w->job);
    else
        copy_plan_failed(crew->plan, w->job);
    pthread_mutex_unlock(&crew->plan_mutex);
}

/* Waits and goes on after what passes by itself; anything else ends the run. */
MUST_USE static struct error *judge(struct copy_worker *w, struct error *err)
{
    const struct stop *stop = w->crew->options->stop;

    if (error_kind(err) != ERROR_TRANSIENT) {
        atomic_store(&w->crew->is_given_up, true);
        return error_wrap(err, "copying to the target: %s", describe(w));
    }
    log_warn("%s: trying again: %s", describe(w), error_message(err));
    error_free(err);
    return stop_wait_ms(stop, backoff_next_ms(&w->backoff)) ? stop_check(stop) : NULL;
}

MUST_USE static struct error *work(struct copy_worker *w)
{
    uint64_t rows = 0;
    enum job_end end;
    struct error *err = run_job(w, &rows, &end);

    if (err != NULL) {
        job_failed(w);
        ring_all(w->crew);
        return judge(w, err);
    }
    backoff_reset(&w->backoff);
    if (end == JOB_END_AGAIN)
        job_failed(w);
    else if (end == JOB_END_PUT_OFF)
        job_put_off(w);
    else
        job_done(w, rows);
    ring_all(w->crew);
    return NULL;
}

static enum copy_next next_job(struct copy_worker *w)
{
    enum copy_next next = NEXT_FINISHED;

    pthread_mutex_lock(&w->crew->plan_mutex);
    if (!atomic_load(&w->crew->is_given_up))
        next = copy_plan_next(w->crew->plan, &w->job);
    pthread_mutex_unlock(&w->crew->plan_mutex);
    return next;
}

/* One look at the plan and what follows from it. */
MUST_USE static struct error *step(struct copy_worker *w, bool *out_has_ended)
{
    const struct stop *stop = w->crew->options->stop;

    TRY(stop_check(stop));
    arena_reset(w->scratch);
    switch (next_job(w)) {
    case NEXT_JOB:
        return work(w);
    case NEXT_WAIT:
        wake_wait(w->wake, stop, -1);
        return NULL;
    case NEXT_FINISHED:
        *out_has_ended = true;
        return NULL;
    case NEXT_STUCK:
        break;
    }
    return error_new(ERROR_BUG, "indexes and constraints of the dump depend on each other in a circle");
}

MUST_USE static struct error *loop(struct copy_worker *w)
{
    bool has_ended = false;

    while (!has_ended)
        TRY(step(w, &has_ended));
    return NULL;
}

static struct error *run(void *self)
{
    struct copy_worker *w = self;
    struct error *err = loop(w);

    pg_conn_close(TAKE(w->source));
    pg_conn_close(TAKE(w->target));
    arena_free(TAKE(w->scratch));
    atomic_fetch_sub(&w->crew->running, 1);
    wake_ring(w->crew->ended);
    ring_all(w->crew); /* who waits for a job of ours must not wait for ever */
    return err;
}

struct error *copy_worker_new(struct arena *a, struct copy_crew *crew, unsigned number, struct copy_worker **out_worker)
{
    struct copy_worker *w = ARENA_NEW(a, struct copy_worker);

    w->crew = crew;
    w->number = number;
    TRY(wake_new(&w->wake));
    *out_worker = w;
    return NULL;
}

struct error *copy_worker_start(struct copy_worker *w)
{
    char name[16];

    snprintf(name, sizeof name, "copy %u", w->number);
    w->scratch = arena_new(NULL, "copy worker");
    atomic_fetch_add(&w->crew->running, 1);
    struct error *err = thread_start(name, run, w, &w->thread);
    if (err != NULL) {
        atomic_fetch_sub(&w->crew->running, 1);
        arena_free(TAKE(w->scratch));
    }
    return err;
}

struct error *copy_worker_join(struct copy_worker *w)
{
    return w->thread == NULL ? NULL : thread_join(TAKE(w->thread));
}

void copy_worker_ring(struct copy_worker *w)
{
    wake_ring(w->wake);
}

void copy_worker_free(struct copy_worker *w)
{
    if (w != NULL)
        wake_free(w->wake);
}
