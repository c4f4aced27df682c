#include "pg/target_pipe.h"

#include <assert.h>
#include <inttypes.h>

#include "pg/error.h"

enum {
    UNSENT_BYTES_MAX = 512 * 1024,
    SEND_BYTES_MIN = 16 * 1024, /* less goes with what comes after it: each send wakes the server */
};

struct pipe {
    struct pg_conn *conn;
    struct arena *failure_arena;
    struct pipe_failure failure;
    PGresult *kept;
    struct buffer *copy;

    /* What was sent and not answered: a ring. */
    struct pipe_expect *expected;
    unsigned capacity;
    unsigned first;
    unsigned n;
    unsigned syncs; /* sent and not answered */
    size_t unsent;  /* at most; since libpq's buffer was last empty */
};

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

static struct error *broken(struct pipe *p, const char *what)
{
    struct error *err = pg_error(pg_conn_handle(p->conn), NULL, what);

    return error_wrap(err, "%s \"%s\"", pg_endpoint_side(pg_conn_endpoint(p->conn)),
                      pg_endpoint_name(pg_conn_endpoint(p->conn)));
}

struct error *pipe_new(struct pg_conn *c, struct pipe **out_pipe)
{
    if (PQsetnonblocking(pg_conn_handle(c), 1) != 0 || PQenterPipelineMode(pg_conn_handle(c)) != 1)
        return pg_error(pg_conn_handle(c), NULL, "could not enter pipeline mode");

    struct pipe *p = calloc(1, sizeof *p);
    if (p == NULL)
        abort();
    p->conn = c;
    p->failure_arena = arena_new(NULL, "failure of a pipeline");
    p->copy = buffer_new();
    *out_pipe = p;
    return NULL;
}

void pipe_free(struct pipe *p)
{
    if (p == NULL)
        return;
    PQclear(p->kept);
    arena_free(p->failure_arena);
    buffer_free(p->copy);
    free(p->expected);
    free(p);
}

/* ---- answers ---- */

static char *copy_field(struct arena *a, const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);

    return text == NULL ? NULL : arena_strdup(a, text);
}

static const char *describe(struct arena *a, const struct pipe_expect *e)
{
    return e->object == NULL ? e->what : arena_printf(a, "%s \"%s\"", e->what, e->object);
}

static bool is_row_change(const struct pipe_expect *e)
{
    return e->asserts || e->rows != PIPE_ANY_COUNT;
}

static void fail_refused(struct pipe *p, const struct pipe_expect *e, const PGresult *result)
{
    struct arena *a = p->failure_arena;
    CLEANUP(error_free) struct error *err = pg_error(pg_conn_handle(p->conn), result, describe(a, e));
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool is_other_count = e->asserts && e->prepared == NULL && sqlstate != NULL && strcmp(sqlstate, "22012") == 0;

    if (p->failure.is_failure)
        return;
    p->failure = (struct pipe_failure){
        .is_failure = true,
        .what = e->what,
        .is_row_change = is_row_change(e),
        .is_count = is_other_count,
        .message = is_other_count ? arena_printf(a, "%s touched other rows than expected", describe(a, e))
                                  : arena_strdup(a, error_message(err)),
        .detail = copy_field(a, result, PG_DIAG_MESSAGE_DETAIL),
        .hint = copy_field(a, result, PG_DIAG_MESSAGE_HINT),
        .schema = copy_field(a, result, PG_DIAG_SCHEMA_NAME),
        .constraint = copy_field(a, result, PG_DIAG_CONSTRAINT_NAME),
    };
    snprintf(p->failure.sqlstate, sizeof p->failure.sqlstate, "%s", sqlstate == NULL ? "08006" : sqlstate);
}

static void check_count(struct pipe *p, const struct pipe_expect *e, PGresult *result)
{
    uint64_t rows = strtoull(PQcmdTuples(result), NULL, 10);

    if (e->rows == PIPE_ANY_COUNT || e->rows == rows || p->failure.is_failure)
        return;
    p->failure = (struct pipe_failure){
        .is_failure = true,
        .what = e->what,
        .is_row_change = true,
        .is_count = true,
        .rows = rows,
        .message = arena_printf(p->failure_arena, "%s touched %" PRIu64 " rows, expected were %" PRIu64,
                                describe(p->failure_arena, e), rows, e->rows),
    };
}

static void take_answer(struct pipe *p, const struct pipe_expect *e, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool worked = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

    if (e->prepared != NULL)
        e->prepared->state = worked ? PREPARED_DONE : PREPARED_NOT;
    if (worked)
        check_count(p, e, result);
    else if (status != PGRES_PIPELINE_ABORTED) /* skipped because of an earlier one */
        fail_refused(p, e, result);
}

/* One result; NULL ends the answer to a command. */
static void take_result(struct pipe *p, PGresult **result)
{
    if (*result == NULL) {
        assert(p->n > 0);
        p->first = (p->first + 1) % p->capacity;
        p->n--;
        return;
    }
    if (PQresultStatus(*result) == PGRES_PIPELINE_SYNC) {
        p->syncs--;
        return;
    }
    assert(p->n > 0);
    const struct pipe_expect *e = &p->expected[p->first];
    take_answer(p, e, *result);
    if (e->keep) {
        PQclear(p->kept);
        p->kept = TAKE(*result);
    }
}

/* What has arrived, without waiting. */
MUST_USE static struct error *read_arrived(struct pipe *p)
{
    PGconn *pg = pg_conn_handle(p->conn);

    while ((p->n > 0 || p->syncs > 0) && !PQisBusy(pg)) {
        CLEANUP(pgresult_clear) PGresult *result = PQgetResult(pg);

        if (PQstatus(pg) != CONNECTION_OK)
            return broken(p, "connection lost");
        if (p->n == 0 && PQresultStatus(result) != PGRES_PIPELINE_SYNC) /* the server ends the session, and says why */
            return pg_error(pg, result, "the target ended the session");
        take_result(p, &result);
    }
    return NULL;
}

/* Until the socket can be read, or (with `for_write`) written; reads. */
MUST_USE static struct error *wait_and_read(struct pipe *p, bool for_write)
{
    bool ready;

    TRY(pg_conn_wait(p->conn, for_write, -1, &ready));
    if (PQconsumeInput(pg_conn_handle(p->conn)) == 0)
        return broken(p, "connection lost");
    return read_arrived(p);
}

/* Sends until at most `allowed` bytes are left with us. */
MUST_USE static struct error *push(struct pipe *p, size_t allowed)
{
    for (;;) {
        int left = PQflush(pg_conn_handle(p->conn));

        if (left < 0)
            return broken(p, "connection lost");
        if (left == 0) {
            p->unsent = 0;
            return NULL;
        }
        if (p->unsent <= allowed)
            return NULL;
        TRY(wait_and_read(p, true));
    }
}

/* ---- commands ---- */

static void expect(struct pipe *p, struct pipe_expect e)
{
    if (p->n == p->capacity) {
        unsigned capacity = p->capacity == 0 ? 64 : p->capacity * 2;
        struct pipe_expect *more = calloc(capacity, sizeof *more);

        if (more == NULL)
            abort();
        for (unsigned i = 0; i < p->n; i++)
            more[i] = p->expected[(p->first + i) % p->capacity];
        free(p->expected);
        p->expected = more;
        p->capacity = capacity;
        p->first = 0;
    }
    p->expected[(p->first + p->n) % p->capacity] = e;
    p->n++;
}

MUST_USE static struct error *sent(struct pipe *p, int done, size_t bytes, struct pipe_expect e)
{
    if (done != 1)
        return broken(p, describe(p->failure_arena, &e));
    expect(p, e);
    p->unsent += bytes;
    return p->unsent < SEND_BYTES_MIN ? NULL : push(p, UNSENT_BYTES_MAX);
}

struct error *pipe_prepare(struct pipe *p, struct prepared *prepared, const struct statement_sql *sql,
                           struct pipe_expect e)
{
    e.rows = PIPE_ANY_COUNT;
    e.prepared = prepared;
    prepared->state = PREPARED_SENT;
    return sent(p, PQsendPrepare(pg_conn_handle(p->conn), prepared->name, sql->text, (int)sql->n_params, sql->types),
                strlen(sql->text), e);
}

struct error *pipe_execute(struct pipe *p, const struct prepared *prepared, const struct statement_params *params,
                           struct pipe_expect e)
{
    return sent(p,
                PQsendQueryPrepared(pg_conn_handle(p->conn), prepared->name, (int)params->n, params->values,
                                    params->lengths, params->formats, 0),
                params->bytes, e);
}

struct error *pipe_send(struct pipe *p, const char *sql, const uint32_t *types, const struct statement_params *params,
                        struct pipe_expect e)
{
    static const struct statement_params none;

    params = params == NULL ? &none : params;
    return sent(p,
                PQsendQueryParams(pg_conn_handle(p->conn), sql, (int)params->n, types, params->values, params->lengths,
                                  params->formats, 0),
                strlen(sql) + params->bytes, e);
}

struct error *pipe_sync(struct pipe *p)
{
    if (PQpipelineSync(pg_conn_handle(p->conn)) != 1)
        return broken(p, "connection lost");
    p->syncs++;
    TRY(push(p, 0));
    TRY(read_arrived(p));
    while (p->syncs > 0)
        TRY(wait_and_read(p, false));
    return NULL;
}

/* ---- failures ---- */

const struct pipe_failure *pipe_failure(const struct pipe *p)
{
    return &p->failure;
}

void pipe_forget(struct pipe *p)
{
    p->failure = (struct pipe_failure){0};
    arena_reset(p->failure_arena);
    PQclear(TAKE(p->kept));
}

struct error *pipe_failure_error(const struct pipe *p)
{
    const struct pipe_failure *f = &p->failure;
    enum error_kind kind = f->is_count ? ERROR_DATA : pg_error_kind(f->sqlstate);
    struct error *err = error_new(kind, "%s", f->message);

    return f->hint == NULL ? err : error_hint(err, "%s", f->hint);
}

PGresult *pipe_result(const struct pipe *p)
{
    return p->kept;
}

/* ---- COPY ---- */

MUST_USE static struct error *put(struct pipe *p, const struct buffer *bytes)
{
    /* 0: libpq could not make room because the socket is full */
    for (;;) {
        int done = PQputCopyData(pg_conn_handle(p->conn), bytes->bytes, (int)bytes->length);

        if (done < 0)
            return broken(p, "could not send rows");
        if (done == 1)
            break;
        TRY(pg_conn_flush(p->conn));
    }
    return pg_conn_flush(p->conn);
}

MUST_USE static struct error *put_all(struct pipe *p, const struct pipe_copy *copy)
{
    bool done = false;

    while (!done) {
        buffer_clear(p->copy);
        copy->encode(copy->self, p->copy, &done);
        if (p->copy->length > 0)
            TRY(put(p, p->copy));
    }
    if (PQputCopyEnd(pg_conn_handle(p->conn), NULL) != 1)
        return broken(p, "could not end COPY");
    return NULL;
}

/* *out_result is the last one that is not NULL; the first refusal is kept as the failure. */
MUST_USE static struct error *finish_copy(struct pipe *p, const struct pipe_copy *copy)
{
    for (;;) {
        CLEANUP(pgresult_clear) PGresult *result = NULL;

        TRY(pg_conn_result(p->conn, &result));
        if (result == NULL)
            return NULL;
        take_answer(p, &copy->expect, result);
    }
}

MUST_USE static struct error *run_copy(struct pipe *p, const struct pipe_copy *copy)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    if (PQsendQuery(pg_conn_handle(p->conn), copy->sql) != 1)
        return broken(p, "could not begin COPY");
    TRY(pg_conn_result(p->conn, &result));
    if (PQresultStatus(result) == PGRES_COPY_IN)
        TRY(put_all(p, copy));
    else
        take_answer(p, &copy->expect, result);
    return finish_copy(p, copy);
}

struct error *pipe_copy(struct pipe *p, const struct pipe_copy *copy)
{
    PGconn *pg = pg_conn_handle(p->conn);

    TRY(pipe_sync(p));
    if (p->failure.is_failure)
        return NULL;
    if (PQexitPipelineMode(pg) != 1)
        return broken(p, "could not leave pipeline mode");
    TRY(run_copy(p, copy));
    if (PQenterPipelineMode(pg) != 1)
        return broken(p, "could not enter pipeline mode");
    return NULL;
}

struct error *pipe_outside(struct pipe *p, struct error *(*work)(void *self, struct pg_conn *conn), void *self)
{
    PGconn *pg = pg_conn_handle(p->conn);

    TRY(pipe_sync(p));
    if (p->failure.is_failure)
        return NULL;
    if (PQexitPipelineMode(pg) != 1)
        return broken(p, "could not leave pipeline mode");
    struct error *err = work(self, p->conn);
    if (PQenterPipelineMode(pg) == 1)
        return err;
    struct error *lost = broken(p, "could not enter pipeline mode");
    if (err == NULL)
        return lost;
    error_free(lost);
    return err;
}
