#include "pg/target.h"

#include <inttypes.h>

#include "base/fault.h"
#include "base/log.h"
#include "pg/error.h"
#include "pg/state.h"
#include "pg/target_ddl.h"
#include "pg/target_session.h"

enum {
    STATEMENTS_MAX = 1000, /* prepared in one session */
    COPY_ROWS_MIN = 1000,  /* below it a statement is cheaper than the round trips that COPY needs */
    COPY_CHUNK = 64 * 1024,
    ASSERTED_ROWS_MAX = 100,
    LARGE_BYTES = 16 * 1024 * 1024,
};

/* ---- the session ---- */

/* Without a session it is rolled back; its backend may be at it still, so its pid is kept for the fence. */
static void give_up(struct pg_target *t)
{
    if (t->conn != NULL)
        t->former_pid = t->pid;
    t->pid = 0;
    pipe_free(TAKE(t->pipe));
    pg_conn_close(TAKE(t->conn));
    t->in_transaction = false;
    t->has_savepoint = false;
}

static const struct {
    int since; /* server version */
    const char *name;
    const char *value;
} settings[] = {
    {0, "synchronous_commit", "off"}, /* a commit that must last asks for it (P3) */
    {120000, "plan_cache_mode", "force_generic_plan"},
    /* Keys are looked up one by one; stale statistics must not turn that into a scan of the table a batch. Ranges are joined: join_sql. */
    {0, "enable_seqscan", "off"},
    {0, "enable_hashjoin", "off"},
    {0, "enable_mergejoin", "off"},
    {110000, "jit", "off"}, /* the costs of what is turned off would start the compiler */
    {140000, "client_connection_check_interval", "'10s'"},
};

MUST_USE static struct error *set_up(struct pg_target *t, struct pg_conn *conn)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    for (size_t i = 0; i < COUNT_OF(settings); i++)
        if (pg_conn_version(conn) >= settings[i].since)
            buffer_printf(sql, "SET %s = %s;", settings[i].name, settings[i].value);
    TRY(pg_execute(conn, "setting up the session", buffer_text(sql)));

    struct error *err = pg_execute(conn, "setting up the session", "SET session_replication_role = replica");
    t->is_replica = err == NULL;
    if (err == NULL || error_kind(err) != ERROR_CONFIG)
        return err;
    log_debug("%s", error_message(err)); /* not permitted: the worker asks pg_target_is_replica */
    error_free(err);
    return NULL;
}

/* Whatever the former backend was sent, COMMIT included, it runs to its end: the position is read when it is gone (P1). */
MUST_USE static struct error *connect_anew(struct pg_target *t)
{
    CLEANUP(pg_conn_close) struct pg_conn *conn = NULL;
    struct pg_connect_options options = {
        .application_name = t->options.application_name, .encoding = t->options.encoding, .stop = t->options.stop};

    TRY(pg_connect(t->options.endpoint, options, &conn));
    if (t->former_pid != 0)
        TRY(state_fence_backend(conn, t->options.task, t->former_pid));
    t->former_pid = 0;
    TRY(set_up(t, conn));
    TRY(pipe_new(conn, &t->pipe));
    t->prepares_open = 0;
    t->largest = 0;
    t->pid = pg_conn_pid(conn); /* libpq forgets it with a lost connection */
    statement_cache_forget(t->cache);
    t->begin = (struct prepared){.name = "begin", .state = PREPARED_NOT};
    t->move = (struct prepared){.name = "move", .state = PREPARED_NOT};
    t->end = (struct prepared){.name = "end", .state = PREPARED_NOT};
    t->join = (struct prepared){.name = "join", .state = PREPARED_NOT};
    t->conn = TAKE(conn);
    return NULL;
}

struct error *target_connected(const struct pg_target *t)
{
    return t->conn == NULL ? error_new(ERROR_TRANSIENT, "the session on the target is lost") : NULL;
}

struct error *target_failure(struct pg_target *t)
{
    /* The server has forgotten our statements (DISCARD ALL, a pooler, a failover): they are prepared anew after resume. */
    if (strcmp(pipe_failure(t->pipe)->sqlstate, "26000") == 0) {
        struct error *err = error_new(ERROR_TRANSIENT, "%s", pipe_failure(t->pipe)->message);

        give_up(t);
        return err;
    }
    return pipe_failure_error(t->pipe);
}

/* One statement whose failure is an error, and its answer. */
MUST_USE static struct error *run(struct pg_target *t, const char *sql, const char *what)
{
    TRY(pipe_send(t->pipe, sql, NULL, NULL, (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = what}));
    TRY(pipe_sync(t->pipe));
    return pipe_failure(t->pipe)->is_failure ? target_failure(t) : NULL;
}

/* ---- the position ---- */

static void add_lane(struct pg_target *t)
{
    statement_params_add_text(t->params, t->options.task);
    statement_params_add_text(t->params, arena_printf(t->scratch, "%u", t->options.lane));
}

static const char read_lane_sql[] =
    "WITH new AS (INSERT INTO pgtide.lane (task, lane, lane_count, end_lsn, transactions, committed_us)"
    "             VALUES ($1::text, $2::int, $3::int, '0/0', 0, 0) ON CONFLICT DO NOTHING"
    "             RETURNING lane_count, end_lsn, transactions, committed_us)"
    " SELECT lane_count::text, end_lsn::text, transactions::text, committed_us::text FROM new"
    " UNION ALL SELECT lane_count::text, end_lsn::text, transactions::text, committed_us::text"
    "             FROM pgtide.lane WHERE task = $1::text AND lane = $2::int";

MUST_USE static struct error *parse_lane(struct pg_target *t, const PGresult *row)
{
    struct apply_position position = {0};

    if (row == NULL || PQntuples(row) != 1 || !lsn_parse(PQgetvalue(row, 0, 1), &position.end))
        return error_new(ERROR_BUG, "the position of lane %u in pgtide.lane is not one row", t->options.lane);
    if (strtoul(PQgetvalue(row, 0, 0), NULL, 10) != t->options.lane_count)
        return error_hint(error_new(ERROR_CONFIG, "this task was begun with --lanes %s, not %u", PQgetvalue(row, 0, 0),
                                    t->options.lane_count),
                          "Start pgtide with that number of lanes: their positions belong together.");
    position.transactions = strtoull(PQgetvalue(row, 0, 2), NULL, 10);
    position.committed_us = strtoll(PQgetvalue(row, 0, 3), NULL, 10);
    t->position = position;
    return NULL;
}

MUST_USE static struct error *read_lane(struct pg_target *t)
{
    struct pipe_expect expect = {.rows = PIPE_ANY_COUNT, .what = "reading the position in table", .keep = true};

    expect.object = "pgtide.lane";
    statement_params_clear(t->params);
    add_lane(t);
    statement_params_add_text(t->params, arena_printf(t->scratch, "%u", t->options.lane_count));
    TRY(statement_params_finish(t->params));
    pipe_forget(t->pipe);
    TRY(pipe_send(t->pipe, read_lane_sql, NULL, t->params, expect));
    TRY(pipe_sync(t->pipe));
    if (pipe_failure(t->pipe)->is_failure)
        return target_failure(t);
    return parse_lane(t, pipe_result(t->pipe));
}

/*
 * The count decides on the server, because COMMIT is on its way already (F9): no row, or a row that is not where this session left
 * it, is a division by zero, and COMMIT is skipped. So two sessions of one lane can never both commit.
 */
static char move_lane_sql[] =
    "WITH moved AS (UPDATE pgtide.lane SET end_lsn = $3::pg_lsn, transactions = $4::int8, committed_us = $5::int8,"
    "                      updated = clock_timestamp()"
    "                WHERE task = $1::text AND lane BETWEEN $2::int AND $7::int AND end_lsn = $6::pg_lsn RETURNING 1)"
    " SELECT 1 / (count(*) = $7::int - $2::int + 1)::int FROM moved";

/* Which lanes a commit moves. */
struct lane_range {
    unsigned first, last;
};

MUST_USE static struct error *bind_move(struct pg_target *t, struct apply_position to, struct lane_range lanes)
{
    statement_params_clear(t->params);
    statement_params_add_text(t->params, t->options.task);
    statement_params_add_text(t->params, arena_printf(t->scratch, "%u", lanes.first));
    statement_params_add_text(t->params, arena_strdup(t->scratch, lsn_format(to.end).text));
    statement_params_add_text(t->params, arena_printf(t->scratch, "%" PRIu64, to.transactions));
    statement_params_add_text(t->params, arena_printf(t->scratch, "%" PRId64, to.committed_us));
    statement_params_add_text(t->params, arena_strdup(t->scratch, lsn_format(t->position.end).text));
    statement_params_add_text(t->params, arena_printf(t->scratch, "%u", lanes.last));
    return statement_params_finish(t->params);
}

/* ---- statements ---- */

const char *target_doing(enum batch_op op)
{
    static const char *const doing[BATCH_OP_COUNT] = {
        [BATCH_INSERT] = "inserting into table",
        [BATCH_UPDATE] = "updating table",
        [BATCH_REKEY] = "updating keys of table",
        [BATCH_DELETE] = "deleting from table",
    };

    return doing[op];
}

const char target_checking[] = "checking deferrable keys of table";

/* The statement of the key in t->key, made known to the server when it is not. */
MUST_USE static struct error *find_prepared(struct pg_target *t, const struct statement_form *form,
                                            struct pipe_expect expect, struct prepared **out)
{
    char evicted[24];
    struct prepared *prepared = statement_cache_get(t->cache, t->key->bytes, t->key->length, evicted);

    /* An answer to Prepare marks the statement that asked: it must come before its place can be another's. */
    if (prepared->state == PREPARED_NOT && ++t->prepares_open == STATEMENTS_MAX / 2) {
        TRY(pipe_sync(t->pipe));
        t->prepares_open = 0;
    }
    if (evicted[0] != '\0')
        TRY(pipe_send(t->pipe, arena_printf(t->scratch, "DEALLOCATE %s", evicted), NULL, NULL,
                      (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = "forgetting a prepared statement"}));
    if (prepared->state == PREPARED_NOT) {
        struct statement_sql sql = statement_build(t->scratch, form);

        TRY(pipe_prepare(t->pipe, prepared, &sql, expect));
    }
    *out = prepared;
    return NULL;
}

/* What each transaction needs is parsed once a session. */
MUST_USE static struct error *send_prepared(struct pg_target *t, struct prepared *prepared, char *sql,
                                            const struct statement_params *params, struct pipe_expect expect)
{
    if (prepared->state == PREPARED_NOT) {
        struct pipe_expect preparing = {.rows = PIPE_ANY_COUNT, .what = expect.what};

        TRY(pipe_prepare(t->pipe, prepared, &(struct statement_sql){.text = sql}, preparing));
    }
    return pipe_execute(t->pipe, prepared, params, expect);
}

static char join_sql[] = "SELECT pg_catalog.set_config('enable_hashjoin', $1::text, false),"
                         " pg_catalog.set_config('enable_nestloop', $2::text, false)";

/* How a statement is planned is decided when it is executed for the first time, and again whenever its table's statistics or columns are new. */
MUST_USE static struct error *set_joins(struct pg_target *t, bool hashed)
{
    statement_params_clear(t->params);
    statement_params_add_text(t->params, hashed ? "on" : "off");
    statement_params_add_text(t->params, hashed ? "off" : "on");
    TRY(statement_params_finish(t->params));
    return send_prepared(t, &t->join, join_sql, t->params,
                         (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = "setting up the session"});
}

/* `t->params` are those of the form. */
MUST_USE static struct error *execute(struct pg_target *t, const struct statement_form *form,
                                      const struct prepared *prepared, struct pipe_expect expect)
{
    TRY(statement_bind(form, t->params));
    t->largest = t->params->bytes > t->largest ? t->params->bytes : t->largest;
    return pipe_execute(t->pipe, prepared, t->params, expect);
}

struct error *target_send(struct pg_target *t, const struct statement_input *in)
{
    struct statement_form form = statement_form(t->scratch, in);
    struct pipe_expect expect = {.rows = in->asserts ? PIPE_ANY_COUNT : in->n_rows,
                                 .what = in->check != NULL ? target_checking : target_doing(in->op),
                                 .asserts = in->asserts,
                                 .object = form.plan->label};
    struct prepared *prepared;

    statement_key(t->key, &form);
    TRY(find_prepared(t, &form, expect, &prepared));
    if (!form.is_range)
        return execute(t, &form, prepared, expect);
    TRY(set_joins(t, true));
    TRY(execute(t, &form, prepared, expect));
    return set_joins(t, false);
}

struct copy_run {
    const struct batch *batch;
    enum copy_format format;
    unsigned next;
};

static void copy_encode(void *self, struct buffer *out, bool *out_done)
{
    struct copy_run *run = self;

    statement_copy_encode(out, run->batch, run->format, &run->next, COPY_CHUNK);
    *out_done = run->next == run->batch->n_rows;
}

MUST_USE static struct error *copy_batch(struct pg_target *t, const struct batch *batch, enum copy_format format)
{
    const struct table_plan *plan = batch->table->handle;
    struct copy_run run = {.batch = batch, .format = format};
    struct pipe_copy copy = {
        .sql = statement_copy_sql(t->scratch, batch, format),
        .encode = copy_encode,
        .self = &run,
        .expect = {.rows = batch->n_rows, .what = target_doing(batch->op), .object = plan->label},
    };

    return pipe_copy(t->pipe, &copy);
}

/* ---- the port ---- */

static struct error *target_table(void *self, struct arena *a, const struct stream_relation *relation,
                                  struct target_table **out)
{
    struct pg_target *t = self;

    if (t->resolver == NULL)
        t->resolver = pg_table_resolver_new(
            t->arena, (struct pg_table_resolver_options){.endpoint = t->options.endpoint,
                                                         .encoding = t->options.encoding,
                                                         .application_name = t->options.application_name,
                                                         .stop = t->options.stop});
    return pg_table_resolve(t->resolver, a, relation, out);
}

/* libpq never gives back the memory in which it sent a large value: a session that had one makes place for another. */
MUST_USE static struct error *renew(struct pg_target *t)
{
    give_up(t);
    return connect_anew(t);
}

static char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
static char commit_sql[] = "COMMIT";
static const struct statement_params no_params;

static struct error *target_begin(void *self)
{
    struct pg_target *t = self;

    TRY(target_connected(t));
    if (t->largest > LARGE_BYTES)
        TRY(renew(t));
    pipe_forget(t->pipe);
    t->in_transaction = true;
    t->has_savepoint = false;
    t->asserts_all = true;
    target_check_begin(t);
    return send_prepared(t, &t->begin, begin_sql, &no_params,
                         (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = "beginning a transaction"});
}

/* A lock of another lane's is given up by nobody while that one waits for us, and no deadlock is seen. */
static struct error *target_begin_lane(void *self)
{
    struct pg_target *t = self;

    TRY(target_begin(t));
    return pipe_send(t->pipe, "SET LOCAL lock_timeout = '3s'", NULL, NULL,
                     (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = "beginning a transaction"});
}

/* With many rows the round trip is nothing, and counting costs. Rules forbid changes in WITH. */
static bool may_assert(const struct pg_target *t, const struct batch *batch)
{
    const struct table_plan *plan = batch->table->handle;

    return t->asserts_all && t->is_replica && plan->is_simple && batch->n_rows <= ASSERTED_ROWS_MAX;
}

static struct error *target_batch(void *self, const struct batch *batch)
{
    struct pg_target *t = self;
    unsigned n;

    FAULT_POINT("target.batch");
    TRY(target_connected(t));
    arena_reset(t->scratch);
    enum copy_format format = batch->n_rows < COPY_ROWS_MIN ? COPY_IMPOSSIBLE : statement_copy_format(batch);
    bool asserts = may_assert(t, batch);

    t->asserts_all = t->asserts_all && asserts;
    if (format != COPY_IMPOSSIBLE)
        return copy_batch(t, batch, format);
    /* After a failure the server would only skip the rest. */
    for (unsigned at = 0; at < batch->n_rows && !pipe_failure(t->pipe)->is_failure; at += n) {
        struct statement_input in = {
            .table = batch->table, .op = batch->op, .rows = &batch->rows[at], .asserts = asserts};

        in.shape = statement_choose(batch, batch->n_rows - at, &n);
        in.n_rows = n;
        in.is_range = batch->is_range && n == batch->n_rows;
        TRY(target_send(t, &in));
    }
    return NULL;
}

static struct error *target_truncate(void *self, const struct target_table *const *tables, unsigned n,
                                     bool restart_identity)
{
    struct pg_target *t = self;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    TRY(target_connected(t));
    t->asserts_all = false;
    if (n == 0)
        return NULL;
    /* Never CASCADE: it would empty tables that the source did not name. */
    for (unsigned i = 0; i < n; i++) {
        const struct table_plan *plan = tables[i]->handle;

        buffer_printf(sql, "%s%s%s", i == 0 ? "TRUNCATE " : ", ", plan->only, plan->name);
    }
    buffer_append_text(sql, restart_identity ? " RESTART IDENTITY" : "");
    const struct table_plan *first = tables[0]->handle;
    return pipe_send(t->pipe, buffer_text(sql), NULL, NULL,
                     (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = "truncating table", .object = first->label});
}

static struct error *target_settle(void *self, struct arena *a, bool *out_as_expected, const char **out_why)
{
    struct pg_target *t = self;

    FAULT_POINT("target.settle");
    TRY(target_connected(t));
    TRY(pipe_sync(t->pipe));
    t->prepares_open = 0;
    const struct pipe_failure *failure = pipe_failure(t->pipe);
    *out_as_expected = !failure->is_failure;
    if (!failure->is_failure)
        return NULL;
    if (!failure->is_count && pg_error_kind(failure->sqlstate) != ERROR_DATA)
        return target_failure(t);
    *out_why = arena_strdup(a, failure->message);
    return NULL;
}

static struct error *target_savepoint(void *self)
{
    struct pg_target *t = self;
    struct pipe_expect expect = {.rows = PIPE_ANY_COUNT, .what = "setting a savepoint"};

    TRY(target_connected(t));
    if (t->has_savepoint)
        TRY(pipe_send(t->pipe, "RELEASE SAVEPOINT pgtide", NULL, NULL, expect));
    t->has_savepoint = true;
    t->asserts_all = false;
    return pipe_send(t->pipe, "SAVEPOINT pgtide", NULL, NULL, expect);
}

static struct error *target_rollback_to_savepoint(void *self)
{
    struct pg_target *t = self;

    TRY(target_connected(t));
    TRY(pipe_sync(t->pipe));
    pipe_forget(t->pipe);
    return run(t, "ROLLBACK TO SAVEPOINT pgtide", "rolling back to the savepoint");
}

static const char moving[] = "moving the position";

/* Whether the answer says what a lost answer would leave open (P5). */
MUST_USE static struct error *check_committed(struct pg_target *t)
{
    const struct pipe_failure *failure = pipe_failure(t->pipe);
    PGresult *answer = pipe_result(t->pipe);

    if (failure->is_failure && failure->what == moving && strcmp(failure->sqlstate, "22012") == 0)
        return error_hint(error_new(ERROR_CONFIG, "the position of task %s, lane %u is not %s any more",
                                    t->options.task, t->options.lane, lsn_format(t->position.end).text),
                          "Something else moved or removed it in table pgtide.lane of the target: another pgtide with "
                          "the same task? Nothing was committed. Stop that one, then start this one again.");
    if (failure->is_failure)
        return target_failure(t);
    if (answer == NULL || strcmp(PQcmdStatus(answer), "COMMIT") != 0)
        return error_new(ERROR_TRANSIENT, "the target answered %s to COMMIT",
                         answer == NULL ? "nothing" : PQcmdStatus(answer));
    return NULL;
}

/* (P1) The position goes into the transaction, (P5) which counts when COMMIT says COMMIT. */
MUST_USE static struct error *send_commit(struct pg_target *t, struct apply_position position, struct lane_range lanes,
                                          bool durable)
{
    struct pipe_expect expect = {.rows = PIPE_ANY_COUNT, .what = "committing"};

    if (durable)
        TRY(pipe_send(t->pipe, "SET LOCAL synchronous_commit = on", NULL, NULL, expect));
    TRY(bind_move(t, position, lanes));
    expect.what = moving;
    TRY(send_prepared(t, &t->move, move_lane_sql, t->params, expect));
    expect.what = "committing";
    expect.keep = true;
    TRY(send_prepared(t, &t->end, commit_sql, &no_params, expect));
    FAULT_POINT("target.after_commit_sent");
    return pipe_sync(t->pipe);
}

static void note_committed(struct pg_target *t, struct apply_position position)
{
    t->position = position;
    t->in_transaction = false;
    t->has_savepoint = false;
}

MUST_USE static struct error *commit(struct pg_target *t, struct apply_position position, struct lane_range lanes,
                                     bool durable)
{
    FAULT_POINT("target.before_commit_sent");
    TRY(target_connected(t));
    arena_reset(t->scratch);
    TRY(send_commit(t, position, lanes, durable));
    TRY(check_committed(t));
    note_committed(t, position);
    return NULL;
}

static struct error *target_commit(void *self, struct apply_position position, bool durable)
{
    struct pg_target *t = self;

    return commit(t, position, (struct lane_range){1, t->options.lane_count}, durable);
}

/* What a row's change may fail with. 0A000: a rule was made since the table was looked at, and WITH is refused. */
static bool is_surprise(const struct pipe_failure *f)
{
    return f->is_failure && f->is_row_change &&
           (f->is_count || pg_error_kind(f->sqlstate) == ERROR_DATA || strcmp(f->sqlstate, "0A000") == 0);
}

/* (P1, P5) COMMIT goes with the rest: after a count that is wrong the server skips it. */
static struct error *target_commit_at_once(void *self, struct arena *a, struct apply_position position, bool durable,
                                           enum commit_verdict *out_verdict, const char **out_why)
{
    struct pg_target *t = self;

    TRY(target_connected(t));
    *out_verdict = COMMIT_NOT_POSSIBLE;
    if (!t->asserts_all || pipe_failure(t->pipe)->is_failure)
        return NULL;
    FAULT_POINT("target.before_commit_sent");
    arena_reset(t->scratch);
    TRY(send_commit(t, position, (struct lane_range){1, t->options.lane_count}, durable));
    t->prepares_open = 0;
    *out_verdict = is_surprise(pipe_failure(t->pipe)) ? COMMIT_SURPRISED : COMMIT_DONE;
    if (*out_verdict == COMMIT_SURPRISED) {
        *out_why = arena_strdup(a, pipe_failure(t->pipe)->message);
        return NULL;
    }
    TRY(check_committed(t));
    note_committed(t, position);
    return NULL;
}

static struct error *target_commit_lane(void *self, struct apply_position position, bool durable)
{
    struct pg_target *t = self;

    return commit(t, position, (struct lane_range){t->options.lane, t->options.lane}, durable);
}

static void target_note_position(void *self, struct apply_position position)
{
    struct pg_target *t = self;

    t->position = position;
}

MUST_USE static struct error *try_rollback(struct pg_target *t)
{
    TRY(pipe_sync(t->pipe));
    pipe_forget(t->pipe);
    t->in_transaction = false;
    t->has_savepoint = false;
    return run(t, "ROLLBACK", "rolling back");
}

static void target_rollback(void *self)
{
    struct pg_target *t = self;

    if (t->conn == NULL)
        return;
    if (pg_conn_is_broken(t->conn)) {
        give_up(t);
        return;
    }
    if (!t->in_transaction)
        return;
    CLEANUP(error_free) struct error *err = try_rollback(t);
    if (err != NULL)
        give_up(t);
}

static struct error *target_resume(void *self, struct apply_position *out)
{
    struct pg_target *t = self;

    FAULT_POINT("target.resume");
    arena_reset(t->scratch);
    target_rollback(t);
    if (t->conn == NULL)
        TRY(connect_anew(t));
    TRY(read_lane(t));
    *out = t->position;
    return NULL;
}

static const struct target_ops ops = {
    .resume = target_resume,
    .table = target_table,
    .begin = target_begin,
    .batch = target_batch,
    .truncate = target_truncate,
    .settle = target_settle,
    .commit_at_once = target_commit_at_once,
    .savepoint = target_savepoint,
    .rollback_to_savepoint = target_rollback_to_savepoint,
    .row = target_row,
    .check = target_check,
    .check_row = target_check_row,
    .doubt = target_doubt,
    .check_doubted = target_check_doubted,
    .ddl = target_ddl,
    .conflict = target_conflict,
    .commit = target_commit,
    .begin_lane = target_begin_lane,
    .commit_lane = target_commit_lane,
    .note_position = target_note_position,
    .rollback = target_rollback,
};

struct pg_target *pg_target_new(struct arena *a, struct pg_target_options options)
{
    struct pg_target *t = ARENA_NEW(a, struct pg_target);

    *t = (struct pg_target){
        .options = options,
        .arena = a,
        .scratch = arena_new(a, "target session"),
        .doubts = arena_new(a, "tables in doubt"),
        .cache = statement_cache_new(STATEMENTS_MAX - 3), /* and those of each transaction */
        .params = statement_params_new(),
        .key = buffer_new(),
    };
    return t;
}

struct target pg_target_port(struct pg_target *t)
{
    return (struct target){.ops = &ops, .self = t};
}

void pg_target_close(struct pg_target *t)
{
    if (t == NULL)
        return;
    give_up(t);
    pg_table_resolver_close(TAKE(t->resolver));
    statement_cache_free(TAKE(t->cache));
    statement_params_free(TAKE(t->params));
    buffer_free(TAKE(t->key));
}

bool pg_target_is_replica(const struct pg_target *t)
{
    return t->is_replica;
}

int pg_target_backend_pid(const struct pg_target *t)
{
    return t->pid;
}

struct inside_question {
    struct arena *arena;
    const struct stream_relation *relation;
    struct target_table *table;
};

static struct error *ask_inside(void *self, struct pg_conn *conn)
{
    struct inside_question *q = self;

    return pg_table_resolve_on(conn, q->arena, q->relation, &q->table);
}

struct error *pg_target_table_inside(struct pg_target *t, struct arena *a, const struct stream_relation *relation,
                                     struct target_table **out)
{
    struct inside_question question = {.arena = a, .relation = relation};

    TRY(target_connected(t));
    TRY(pipe_outside(t->pipe, ask_inside, &question));
    if (question.table == NULL)
        return error_new(ERROR_TRANSIENT, "the transaction in which the target's tables were to be read has failed");
    *out = question.table;
    return NULL;
}
