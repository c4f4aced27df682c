#include "worker/compare_repair.h"

#include <errno.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "pg/error.h"
#include "sys/file.h"

enum { BATCH_BYTES = 256 * 1024 };

struct repair {
    FILE *steps[REPAIR_STEP_COUNT]; /* statements, each ended by a NUL */
    uint64_t n;
};

struct error *repair_open(struct repair **out_repair)
{
    CLEANUP(repair_close) struct repair *r = MEMORY_NEW(struct repair);

    for (unsigned i = 0; i < REPAIR_STEP_COUNT; i++) {
        r->steps[i] = tmpfile();
        if (r->steps[i] == NULL)
            return file_error(errno, "could not make a temporary file for the repair");
    }
    *out_repair = TAKE(r);
    return NULL;
}

void repair_close(struct repair *r)
{
    if (r == NULL)
        return;
    for (unsigned i = 0; i < REPAIR_STEP_COUNT; i++)
        if (r->steps[i] != NULL)
            fclose(r->steps[i]);
    free(r);
}

struct error *repair_add(struct repair *r, enum repair_step step, const char *statement)
{
    if (fwrite(statement, strlen(statement) + 1, 1, r->steps[step]) != 1)
        return file_error(errno, "could not write the repair to a temporary file");
    r->n++;
    return NULL;
}

uint64_t repair_n(const struct repair *r)
{
    return r->n;
}

static void result_clear_cleanup_(PGresult **r)
{
    PQclear(*r);
}

/* Each of the statements sent together has touched one row. */
MUST_USE static struct error *execute(struct pg_conn *target, const char *what, const struct buffer *statements)
{
    struct error *err = NULL;

    if (PQsendQuery(pg_conn_handle(target), buffer_text(statements)) != 1)
        return pg_error(pg_conn_handle(target), NULL, what);
    TRY(pg_conn_flush(target));
    for (;;) {
        CLEANUP(result_clear) PGresult *r = NULL;
        struct error *read_err = pg_conn_result(target, &r);

        if (read_err != NULL) {
            error_free(err);
            return read_err;
        }
        if (r == NULL)
            return err;
        if (err != NULL)
            continue;
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            err = pg_error(pg_conn_handle(target), r, what);
        else if (strcmp(PQcmdTuples(r), "1") != 0)
            err = error_new(ERROR_DATA, "%s: a statement touched %s rows instead of one", what, PQcmdTuples(r));
    }
}

MUST_USE static struct error *run_step(FILE *step, struct pg_conn *target, const char *what)
{
    CLEANUP(buffer_free) struct buffer *batch = buffer_new();
    char *statement = NULL;
    size_t room = 0;
    struct error *err = NULL;

    rewind(step);
    while (err == NULL && getdelim(&statement, &room, '\0', step) > 0) {
        buffer_append_text(batch, statement);
        buffer_append_char(batch, ';');
        if (batch->length < BATCH_BYTES)
            continue;
        err = execute(target, what, batch);
        buffer_clear(batch);
    }
    if (err == NULL && ferror(step))
        err = file_error(errno, "could not read the repair back from a temporary file");
    if (err == NULL && batch->length > 0)
        err = execute(target, what, batch);
    free(statement);
    return err;
}

/* Whether it may be set is known by trying. */
MUST_USE static struct error *become_replica(struct pg_conn *target)
{
    struct error *err =
        pg_execute(target, "setting session_replication_role", "SET session_replication_role = replica");

    if (err != NULL && error_kind(err) != ERROR_TRANSIENT && error_kind(err) != ERROR_CANCELLED) {
        error_free(err);
        return NULL;
    }
    return err;
}

MUST_USE static struct error *run_all(struct repair *r, struct pg_conn *target, const char *what)
{
    TRY(pg_execute(target, what, "BEGIN"));
    for (unsigned i = 0; i < REPAIR_STEP_COUNT; i++)
        TRY(run_step(r->steps[i], target, what));
    return pg_execute(target, what, "COMMIT");
}

struct error *repair_run(struct repair *r, struct pg_conn *target, const char *table)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "repair");
    const char *what = arena_printf(scratch, "repairing table \"%s\"", table);

    TRY(become_replica(target));
    struct error *err = run_all(r, target, what);
    if (err == NULL || pg_conn_is_broken(target))
        return err;
    CLEANUP(error_free) struct error *rollback_err = pg_execute(target, what, "ROLLBACK");
    return err; /* the first error says more */
}
