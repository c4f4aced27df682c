#include "worker/compare_repair.h"

#include <errno.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "pg/compare_exchange.h"
#include "pg/error.h"
#include "sys/file.h"

enum { BATCH_BYTES = 256 * 1024 };

enum repair_step {
    REPAIR_DELETE,
    REPAIR_CHANGE, /* UPDATE; REPAIR_AT_ONCE: the stage */
    REPAIR_INSERT,
    REPAIR_STEP_COUNT,
};

struct repair {
    struct repair_way way;
    FILE *steps[REPAIR_STEP_COUNT]; /* statements, each ended by a NUL */
    uint64_t n;
    uint64_t n_staged, n_new; /* REPAIR_AT_ONCE: rows, and those of them that come into the table */
    enum repair_obstacle obstacle;
};

/* On its way to the target. */
struct repair_run {
    struct repair *repair;
    struct pg_conn *target;
    const struct compare_plan *plan;
    const char *what;
    struct arena *arena;
};

/* How many rows a statement touches. */
struct expected {
    uint64_t min, max;
};

struct error *repair_open(struct repair_way way, struct repair **out_repair)
{
    CLEANUP(repair_close) struct repair *r = MEMORY_NEW(struct repair);

    r->way = way;
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

static const char *stage(struct repair *r, struct arena *a, const struct compare_plan *p, char *const *source_cells,
                         char *const *target_cells)
{
    r->n_staged++;
    r->n_new += source_cells != NULL;
    return compare_exchange_stage(a, p, source_cells, target_cells);
}

/* A row only on the source has its turn alone, and then no other one. */
static bool is_for_another_time(const struct repair *r, char *const *target_cells)
{
    return (r->way.order == REPAIR_INSERTIONS && target_cells != NULL) ||
           (r->way.has_insertions && target_cells == NULL);
}

struct error *repair_add(struct repair *r, struct arena *a, const struct compare_plan *p, char *const *source_cells,
                         char *const *target_cells)
{
    bool is_on_both = source_cells != NULL && target_cells != NULL;
    enum repair_step step = REPAIR_CHANGE;
    const char *statement;

    if (is_for_another_time(r, target_cells))
        return NULL;
    if (r->way.order == REPAIR_AT_ONCE && (is_on_both || compare_exchange_takes_all(p))) {
        statement = stage(r, a, p, source_cells, target_cells);
    } else if (is_on_both) {
        statement = compare_plan_update(a, p, source_cells, target_cells);
    } else if (source_cells == NULL) {
        step = REPAIR_DELETE;
        statement = compare_plan_delete(a, p, target_cells);
    } else {
        step = REPAIR_INSERT;
        statement = compare_plan_insert(a, p, source_cells);
    }
    if (fwrite(statement, strlen(statement) + 1, 1, r->steps[step]) != 1)
        return file_error(errno, "could not write the repair to a temporary file");
    r->n++;
    return NULL;
}

uint64_t repair_n(const struct repair *r)
{
    return r->n;
}

enum repair_obstacle repair_obstacle(const struct repair *r)
{
    return r->obstacle;
}

static void result_clear_cleanup_(PGresult **r)
{
    PQclear(*r);
}

static enum repair_obstacle obstacle_in(const PGresult *r)
{
    static const struct {
        const char *sqlstate;
        enum repair_obstacle obstacle;
    } obstacles[] = {
        {"23505", REPAIR_NOT_ONE_BY_ONE},    /* unique */
        {"23P01", REPAIR_NOT_ONE_BY_ONE},    /* exclusion */
        {"428C9", REPAIR_NOT_ONE_BY_ONE},    /* UPDATE of a column that is GENERATED ALWAYS AS IDENTITY */
        {"23503", REPAIR_REFERENCE_MISSING}, /* foreign key, from either end */
        {"23001", REPAIR_REFERENCE_MISSING}, /* RESTRICT, from 18 on */
    };

    for (size_t i = 0; i < COUNT_OF(obstacles); i++)
        if (pg_result_is(r, obstacles[i].sqlstate))
            return obstacles[i].obstacle;
    return REPAIR_NO_OBSTACLE;
}

MUST_USE static struct error *failure(struct repair_run *run, const PGresult *r)
{
    run->repair->obstacle = obstacle_in(r);
    return pg_error(pg_conn_handle(run->target), r, run->what);
}

static bool is_as_expected(PGresult *r, const struct expected *expected)
{
    uint64_t n = strtoull(PQcmdTuples(r), NULL, 10);

    return n >= expected->min && n <= expected->max;
}

/* Each of the statements sent together has touched so many rows. */
MUST_USE static struct error *execute(struct repair_run *run, const char *statements, struct expected expected)
{
    struct error *err = NULL;

    if (PQsendQuery(pg_conn_handle(run->target), statements) != 1)
        return pg_error(pg_conn_handle(run->target), NULL, run->what);
    TRY(pg_conn_flush(run->target));
    for (;;) {
        CLEANUP(result_clear) PGresult *r = NULL;
        struct error *read_err = pg_conn_result(run->target, &r);

        if (read_err != NULL) {
            error_free(err);
            return read_err;
        }
        if (r == NULL)
            return err;
        if (err != NULL)
            continue;
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            err = failure(run, r);
        else if (!is_as_expected(r, &expected))
            err = error_new(ERROR_DATA, "%s: a statement touched %s rows instead of %" PRIu64, run->what,
                            PQcmdTuples(r), expected.max);
    }
}

MUST_USE static struct error *run_step(struct repair_run *run, FILE *step, struct expected expected)
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
        err = execute(run, buffer_text(batch), expected);
        buffer_clear(batch);
    }
    if (err == NULL && ferror(step))
        err = file_error(errno, "could not read the repair back from a temporary file");
    if (err == NULL && batch->length > 0)
        err = execute(run, buffer_text(batch), expected);
    free(statement);
    return err;
}

static const struct expected one_row = {.min = 1, .max = 1}, no_row = {0};

MUST_USE static struct error *exchange_rows(struct repair_run *run, struct expected staged)
{
    const struct repair *r = run->repair;
    const struct expected all_new = {.min = r->n_new, .max = r->n_new};

    if (r->n_staged == 0)
        return NULL;
    TRY(pg_execute(run->target, run->what, compare_exchange_prepare(run->arena, run->plan)));
    TRY(run_step(run, r->steps[REPAIR_CHANGE], staged));
    TRY(pg_execute(run->target, run->what, compare_exchange_measure(run->arena)));
    return execute(run, compare_exchange_fill(run->arena, run->plan), all_new);
}

/* Whether it may be set is known by trying. */
MUST_USE static struct error *become_replica(struct pg_conn *target, bool *out_is_replica)
{
    struct error *err =
        pg_execute(target, "setting session_replication_role", "SET session_replication_role = replica");

    *out_is_replica = err == NULL;
    if (err != NULL && error_kind(err) != ERROR_TRANSIENT && error_kind(err) != ERROR_CANCELLED) {
        error_free(err);
        return NULL;
    }
    return err;
}

/* Where foreign keys act, what another table's repair has deleted may have taken rows of this one with it. */
MUST_USE static struct error *run_all(struct repair_run *run, bool is_replica)
{
    const struct repair *r = run->repair;
    const struct expected deleted = {.min = is_replica ? 1 : 0, .max = 1};

    TRY(pg_execute(run->target, run->what, "BEGIN"));
    TRY(run_step(run, r->steps[REPAIR_DELETE], deleted));
    if (r->way.order == REPAIR_AT_ONCE)
        TRY(exchange_rows(run, deleted));
    else
        TRY(run_step(run, r->steps[REPAIR_CHANGE], one_row));
    TRY(run_step(run, r->steps[REPAIR_INSERT], one_row));
    return execute(run, "COMMIT", no_row); /* what is deferred speaks here */
}

struct error *repair_run(struct repair *r, struct pg_conn *target, const struct compare_plan *plan)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "repair");
    struct repair_run run = {.repair = r, .target = target, .plan = plan, .arena = scratch};
    bool is_replica;

    run.what = arena_printf(scratch, "repairing table \"%s\"", plan->title);
    TRY(become_replica(target, &is_replica));
    if (r->way.order == REPAIR_AT_ONCE && !is_replica)
        TRY(compare_exchange_check(target, plan));
    struct error *err = run_all(&run, is_replica);
    if (err == NULL || pg_conn_is_broken(target))
        return err;
    CLEANUP(error_free) struct error *rollback_err = pg_execute(target, run.what, "ROLLBACK");
    return err; /* the first error says more */
}
