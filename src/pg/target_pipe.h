/*
 * A libpq session in pipeline mode that reads every answer (D4) and compares it with what was expected.
 *
 * Commands are sent and not waited for. Answers are read while sending, so neither side ever waits for the other to read, and
 * unsent bytes stay below a limit, because libpq moves all of them at each send. pipe_sync waits for all answers. After a
 * command failed the server skips the others up to the next sync; the first failure is kept until pipe_forget.
 *
 * One thread. An error of a function here means that the session is of no more use (or that we were stopped); what the server refuses
 * is no error but a failure to ask for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "pg/conn.h"
#include "pg/statement.h"
#include "pg/target_cache.h"

struct pipe;

/* Enters pipeline mode on an idle session, which stays the caller's and must outlive the pipe. */
MUST_USE struct error *pipe_new(struct pg_conn *c, struct pipe **out_pipe);
void pipe_free(struct pipe *p);
DEFINE_CLEANUP(struct pipe, pipe_free);

#define PIPE_ANY_COUNT UINT64_MAX

struct pipe_expect {
    uint64_t rows;             /* that the command must touch; or PIPE_ANY_COUNT */
    const char *what;          /* "updating", for messages; static */
    const char *object;        /* "public.t" or NULL; must live until the next sync */
    struct prepared *prepared; /* this is the Prepare of it; else NULL */
    bool keep;                 /* its result is for pipe_result */
    bool asserts;              /* the server compares the count itself: division_by_zero is another count */
};

MUST_USE struct error *pipe_prepare(struct pipe *p, struct prepared *prepared, const struct statement_sql *sql,
                                    struct pipe_expect expect);
MUST_USE struct error *pipe_execute(struct pipe *p, const struct prepared *prepared,
                                    const struct statement_params *params, struct pipe_expect expect);

/* Unprepared; params may be NULL. `types` may be NULL: the server infers them. */
MUST_USE struct error *pipe_send(struct pipe *p, const char *sql, const uint32_t *types,
                                 const struct statement_params *params, struct pipe_expect expect);

/* Reads every answer. The server has ended what was skipped after a failure. */
MUST_USE struct error *pipe_sync(struct pipe *p);

struct pipe_failure {
    bool is_failure;
    const char *what;    /* pipe_expect.what of the command */
    bool is_row_change;  /* the command had rows to touch, or asserted their number */
    bool is_count;       /* it worked, but not on as many rows as expected */
    uint64_t rows;       /* then: on how many */
    char sqlstate[6];    /* "" for a count */
    const char *message; /* what was attempted, on what, and why it failed */
    const char *detail;  /* the server's DETAIL, or NULL */
    const char *hint;    /* or NULL */
    const char *schema;  /* of the violated constraint, or NULL */
    const char *constraint;
};

/* The first since pipe_forget. Its texts are good until pipe_forget. */
const struct pipe_failure *pipe_failure(const struct pipe *p);
void pipe_forget(struct pipe *p);

/* The failure as an error of the kind that its SQLSTATE has. */
MUST_USE RETURNS_NONNULL struct error *pipe_failure_error(const struct pipe *p);

/* Of the last command with `keep`, after a sync without failure; NULL when none. Good until the next pipe_forget. */
PGresult *pipe_result(const struct pipe *p);

/*
 * COPY … FROM STDIN outside of the pipeline (it is not allowed inside), with what `encode` makes: called until *out_done,
 * `buffer` cleared before each call. Syncs first; does nothing after a failure. Its own refusal is a failure too.
 */
struct pipe_copy {
    const char *sql;
    void (*encode)(void *self, struct buffer *out, bool *out_done);
    void *self;
    struct pipe_expect expect;
};
MUST_USE struct error *pipe_copy(struct pipe *p, const struct pipe_copy *copy);

/*
 * `work` with the session as an ordinary one, inside the open transaction. Syncs first; does nothing after a failure. After an error
 * of `work` the transaction is only good for a rollback.
 */
MUST_USE struct error *pipe_outside(struct pipe *p, struct error *(*work)(void *self, struct pg_conn *conn),
                                    void *self);
