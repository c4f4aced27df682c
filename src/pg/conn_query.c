#include "pg/conn.h"

#include <assert.h>
#include <stdarg.h>

#include "pg/conn_internal.h"
#include "pg/error.h"

enum { TAKEN_COLUMNS_MAX = 32 };

struct error *pg_conn_flush(struct pg_conn *c)
{
    for (;;) {
        int left = PQflush(c->pg);
        bool ready;

        if (left == 0)
            return NULL;
        if (left < 0)
            return pg_conn_lost(c);
        TRY(pg_conn_wait(c, true, -1, &ready));
        if (PQconsumeInput(c->pg) == 0) /* or server and we could both wait for the other to read */
            return pg_conn_lost(c);
    }
}

struct error *pg_conn_result(struct pg_conn *c, PGresult **out_result)
{
    bool ready;

    TRY(pg_conn_flush(c));
    while (PQisBusy(c->pg)) {
        TRY(pg_conn_wait(c, false, -1, &ready));
        if (PQconsumeInput(c->pg) == 0)
            return pg_conn_lost(c);
    }
    *out_result = PQgetResult(c->pg);
    return NULL;
}

static void pgresult_clear_cleanup_(PGresult **result)
{
    PQclear(*result); /* accepts NULL */
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY;
}

static struct error *failed(struct pg_conn *c, const PGresult *result, const char *what)
{
    struct error *err = pg_error(c->pg, result, what);

    if (PQstatus(c->pg) != CONNECTION_OK)
        c->is_broken = true;
    return error_wrap(err, "%s \"%s\"", SIDE(c->endpoint));
}

/* Reads to the end of the command; the last result is the caller's unless an earlier one was an error. */
static struct error *collect(struct pg_conn *c, const char *what, PGresult **out_last)
{
    CLEANUP(error_free) struct error *first = NULL;
    CLEANUP(pgresult_clear) PGresult *last = NULL;

    for (;;) {
        PGresult *next = NULL;
        struct error *err = pg_conn_result(c, &next);

        if (err != NULL)
            return error_wrap(err, "%s", what);
        if (next == NULL)
            break;
        PQclear(last);
        last = next;
        if (is_copy(PQresultStatus(last))) {
            c->is_broken = true; /* reading on would not end */
            return error_new(ERROR_BUG, "%s \"%s\": %s: a COPY where a query was expected", SIDE(c->endpoint), what);
        }
        if (is_error(last) && first == NULL)
            first = failed(c, last, what);
    }
    if (first != NULL)
        return TAKE(first);
    *out_last = TAKE(last);
    return NULL;
}

static struct error *run(struct pg_conn *c, const char *what, const char *sql, const char *const *params,
                         unsigned n_params, PGresult **out_last)
{
    /* Without parameters by the simple protocol: it is all that a walsender knows, and it takes several statements. */
    int sent = n_params == 0 ? PQsendQuery(c->pg, sql)
                             : PQsendQueryParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0);

    if (sent == 0)
        return error_wrap(pg_conn_lost(c), "%s", what);
    return collect(c, what, out_last);
}

/* NOLINTNEXTLINE(readability-function-size): a statement and its parameters belong together */
struct error *pg_query(struct pg_conn *c, struct arena *a, const char *what, const char *sql, const char *const *params,
                       unsigned n_params, struct pg_rows *out_rows)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    TRY(run(c, what, sql, params, n_params, &result));
    struct pg_rows rows = {.n_rows = (unsigned)PQntuples(result), .n_columns = (unsigned)PQnfields(result)};
    char **cells = arena_alloc(a, ((size_t)rows.n_rows * rows.n_columns + 1) * sizeof *cells);

    rows.rows = arena_alloc(a, (rows.n_rows + 1U) * sizeof *rows.rows);
    for (unsigned r = 0; r < rows.n_rows; r++) {
        rows.rows[r] = cells + (size_t)r * rows.n_columns;
        for (unsigned column = 0; column < rows.n_columns; column++)
            if (!PQgetisnull(result, (int)r, (int)column))
                rows.rows[r][column] = arena_strdup(a, PQgetvalue(result, (int)r, (int)column));
    }
    rows.tag = arena_strdup(a, result == NULL ? "" : PQcmdStatus(result));
    *out_rows = rows;
    return NULL;
}

static struct error *take_tuples(const PGresult *result, const struct pg_row_taker *taker)
{
    const char *cells[TAKEN_COLUMNS_MAX] = {NULL};
    int n_columns = PQnfields(result);

    assert(n_columns <= TAKEN_COLUMNS_MAX);
    for (int r = 0; r < PQntuples(result); r++) {
        for (int column = 0; column < n_columns; column++)
            cells[column] = PQgetisnull(result, r, column) ? NULL : PQgetvalue(result, r, column);
        TRY(taker->take(taker->self, cells));
    }
    return NULL;
}

/* NOLINTNEXTLINE(readability-function-size): as pg_query */
struct error *pg_query_each(struct pg_conn *c, const char *what, const char *sql, const char *const *params,
                            unsigned n_params, struct pg_row_taker taker)
{
    CLEANUP(error_free) struct error *first = NULL;

    if (PQsendQueryParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0) == 0 ||
        PQsetSingleRowMode(c->pg) == 0)
        return error_wrap(pg_conn_lost(c), "%s", what);
    for (;;) {
        CLEANUP(pgresult_clear) PGresult *next = NULL;
        struct error *err = pg_conn_result(c, &next);

        if (err != NULL)
            return error_wrap(err, "%s", what);
        if (next == NULL)
            return TAKE(first);
        if (first != NULL)
            continue; /* to the end of the command */
        if (PQresultStatus(next) == PGRES_SINGLE_TUPLE)
            first = take_tuples(next, &taker);
        else if (is_error(next))
            first = failed(c, next, what);
    }
}

/* NOLINTNEXTLINE(readability-function-size): as pg_query */
struct error *pg_query_text(struct pg_conn *c, struct arena *a, const char *what, const char *sql,
                            const char *const *params, unsigned n_params, char **out_text)
{
    struct pg_rows rows = {.n_rows = 0};

    TRY(pg_query(c, a, what, sql, params, n_params, &rows));
    if (rows.n_rows != 1 || rows.n_columns != 1)
        return error_new(ERROR_BUG, "%s \"%s\": %s: expected one value, got %u rows with %u columns", SIDE(c->endpoint),
                         what, rows.n_rows, rows.n_columns);
    *out_text = rows.rows[0][0];
    return NULL;
}

struct error *pg_execute(struct pg_conn *c, const char *what, const char *sql)
{
    CLEANUP(pgresult_clear) PGresult *result = NULL;

    return run(c, what, sql, NULL, 0, &result);
}

struct error *pg_execute_format(struct pg_conn *c, const char *what, const char *fmt, ...)
{
    va_list ap;
    char *sql = NULL;

    va_start(ap, fmt);
    int length = vasprintf(&sql, fmt, ap);
    va_end(ap);
    if (length < 0)
        abort();
    struct error *err = pg_execute(c, what, sql);
    free(sql);
    return err;
}
