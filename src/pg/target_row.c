/* The exact path of pg/target: one change at a time, its answer read, and the rows in its way found. */
#include <inttypes.h>

#include "pg/error.h"
#include "pg/sql.h"
#include "pg/target_ddl.h"
#include "pg/target_session.h"

enum {
    REMOVALS_MAX = 100, /* unique constraints that one row may violate one after the other */
    OID_TEXT = 25,
};

static const char unique_violation[] = "23505";
static const char exclusion_violation[] = "23P01";

/* ---- a question within the transaction ---- */

struct question question_new(struct pg_target *t, struct buffer *sql, unsigned params_max)
{
    statement_params_clear(t->params);
    return (struct question){
        .t = t, .sql = sql, .types = arena_alloc(t->scratch, (params_max + 1UL) * sizeof(uint32_t))};
}

unsigned question_text(struct question *q, const char *text)
{
    statement_params_add_text(q->t->params, text);
    q->types[q->n] = OID_TEXT;
    return ++q->n;
}

static bool is_foreign(const struct column_plan *column, const struct value *v)
{
    return v->state == VALUE_BINARY && column->foreign_type != 0;
}

const char *question_value(struct question *q, const struct column_plan *column, const struct value *v)
{
    statement_params_add(q->t->params, v);
    q->types[q->n] = is_foreign(column, v) ? column->foreign_type : column->type;
    q->n++;
    return arena_printf(q->t->scratch, is_foreign(column, v) ? "$%u::%s" : "$%u", q->n, column->cast);
}

struct error *question_ask(struct question *q, const char *what, PGresult **out_rows)
{
    struct pipe *pipe = q->t->pipe;

    TRY(statement_params_finish(q->t->params));
    pipe_forget(pipe);
    TRY(pipe_send(pipe, buffer_text(q->sql), q->types, q->t->params,
                  (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = what, .keep = true}));
    TRY(pipe_sync(pipe));
    if (pipe_failure(pipe)->is_failure)
        return target_failure(q->t);
    if (out_rows != NULL)
        *out_rows = pipe_result(pipe);
    return NULL;
}

/* ---- one attempt ---- */

enum attempt_outcome {
    ATTEMPT_DONE,
    ATTEMPT_MISSING,
    ATTEMPT_BLOCKED,
};

struct attempt {
    enum attempt_outcome outcome;
    const char *schema; /* BLOCKED */
    const char *constraint;
    const char *detail;
};

static char *copied(struct arena *a, const char *text)
{
    return text == NULL ? NULL : arena_strdup(a, text);
}

MUST_USE static struct error *send_command(struct pg_target *t, const char *sql)
{
    return pipe_send(t->pipe, sql, NULL, NULL, (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = sql});
}

/* The failed statement is undone, the transaction is as good as before it. */
MUST_USE static struct error *undo(struct pg_target *t)
{
    pipe_forget(t->pipe);
    TRY(send_command(t, "ROLLBACK TO SAVEPOINT pgtide_row"));
    TRY(send_command(t, "RELEASE SAVEPOINT pgtide_row"));
    TRY(pipe_sync(t->pipe));
    return pipe_failure(t->pipe)->is_failure ? target_failure(t) : NULL;
}

/* What the server refused: another row's unique value is an outcome, anything else an error. */
MUST_USE static struct error *take_refusal(struct pg_target *t, struct arena *a, struct attempt *out)
{
    const struct pipe_failure *failure = pipe_failure(t->pipe);
    bool is_blocked =
        strcmp(failure->sqlstate, unique_violation) == 0 || strcmp(failure->sqlstate, exclusion_violation) == 0;

    if (!is_blocked)
        return target_failure(t);
    *out = (struct attempt){
        .outcome = ATTEMPT_BLOCKED,
        .schema = copied(a, failure->schema),
        .constraint = copied(a, failure->constraint),
        .detail = copied(a, failure->detail),
    };
    return undo(t);
}

MUST_USE static struct error *take_count(struct pg_target *t, struct attempt *out)
{
    const struct pipe_failure *failure = pipe_failure(t->pipe);

    if (failure->is_count && failure->rows > 1)
        return pipe_failure_error(t->pipe); /* the target's key is none */
    out->outcome = failure->is_count ? ATTEMPT_MISSING : ATTEMPT_DONE;
    pipe_forget(t->pipe); /* it is told, and no failure of what comes next */
    return NULL;
}

/* A DELETE violates nothing that the transaction could survive, so it goes without a savepoint. */
MUST_USE static struct error *attempt(struct pg_target *t, struct arena *a, const struct row_change *change,
                                      enum statement_shape shape, struct attempt *out)
{
    struct statement_input in = {
        .table = change->table, .op = change->op, .shape = shape, .rows = &change->row, .n_rows = 1};
    bool guarded = change->op != BATCH_DELETE;

    *out = (struct attempt){.outcome = ATTEMPT_DONE};
    arena_reset(t->scratch);
    pipe_forget(t->pipe);
    if (guarded)
        TRY(send_command(t, "SAVEPOINT pgtide_row"));
    TRY(target_send(t, &in));
    if (guarded)
        TRY(send_command(t, "RELEASE SAVEPOINT pgtide_row"));
    TRY(pipe_sync(t->pipe));
    if (pipe_failure(t->pipe)->is_failure && !pipe_failure(t->pipe)->is_count)
        return take_refusal(t, a, out);
    return take_count(t, out);
}

/*
 * An UPDATE must find its row as if it left GENERATED ALWAYS columns alone. When it does not, they may have changed, which no UPDATE
 * may do: then the row is deleted and inserted again, OVERRIDING SYSTEM VALUE.
 */
MUST_USE static struct error *attempt_all_ways(struct pg_target *t, struct arena *a, const struct row_change *change,
                                               struct attempt *out)
{
    const struct table_plan *plan = change->table->handle;
    bool is_update = change->op == BATCH_UPDATE || change->op == BATCH_REKEY;

    TRY(attempt(t, a, change, SHAPE_SINGLE, out));
    if (out->outcome == ATTEMPT_MISSING && is_update && plan->has_always_identity)
        return attempt(t, a, change, SHAPE_REPLACE, out);
    return NULL;
}

/* ---- rows in the way ---- */

/* sql/target_blocking_index.sql */
enum blocking_column {
    BLOCKING_KIND,
    BLOCKING_TABLE,
    BLOCKING_IS_EXCLUSION,
    BLOCKING_NULLS_EQUAL,
    BLOCKING_PREDICATE,
    BLOCKING_TEXT,
    BLOCKING_EQUALS,
};

/* Which rows are in the way of a change, as a condition on one table. */
struct blockers {
    struct pg_target *t;
    const struct row_change *change;
    const char *table; /* quoted; a leaf when the target is partitioned */
    const char *where; /* with the parameters of `question` */
    struct question question;
};

/* Whether the change says what the column will hold. */
static bool is_known(const struct row_change *change, unsigned column)
{
    return change->table->is_written[column] && change->row.row[column].state != VALUE_UNCHANGED;
}

static bool knows_column(const struct row_change *change, const char *name)
{
    for (unsigned i = 0; i < change->table->relation->n_columns; i++)
        if (strcmp(change->table->relation->columns[i].name, name) == 0)
            return is_known(change, i);
    return false;
}

MUST_USE static struct error *find_index(struct pg_target *t, const struct attempt *blocked, PGresult **out_rows)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct question q = question_new(t, sql, 2);

    buffer_append_text(sql, sql_target_blocking_index);
    question_text(&q, blocked->schema == NULL ? "" : blocked->schema);
    question_text(&q, blocked->constraint == NULL ? "" : blocked->constraint);
    return question_ask(&q, "reading the violated constraint", out_rows);
}

MUST_USE static struct error *check_index(const struct row_change *change, const struct attempt *blocked,
                                          const PGresult *index)
{
    const char *name = blocked->constraint == NULL ? "" : blocked->constraint;
    const struct table_plan *plan = change->table->handle;

    if (PQntuples(index) == 0)
        return error_new(ERROR_DATA,
                         "table \"%s\": the violated constraint \"%s\" has no index by which the row in "
                         "the way could be found",
                         plan->label, name);
    for (int i = 0; i < PQntuples(index); i++) {
        bool is_column = strcmp(PQgetvalue(index, i, BLOCKING_KIND), "column") == 0;

        if (is_column && !knows_column(change, PQgetvalue(index, i, BLOCKING_TEXT)))
            return error_new(ERROR_DATA,
                             "table \"%s\": the row in the way cannot be found: constraint \"%s\" depends on column "
                             "\"%s\", whose value the source did not send",
                             plan->label, name, PQgetvalue(index, i, BLOCKING_TEXT));
        if (!is_column && PQgetisnull(index, i, BLOCKING_EQUALS))
            return error_new(ERROR_DATA,
                             "table \"%s\": the rows in the way cannot be found: \"%s\" is an exclusion constraint",
                             plan->label, name);
    }
    return NULL;
}

/* `SELECT $1 AS "a", $2 AS "b"`: the row as it will be, for the expressions of an index to be asked about it. */
static const char *new_row_text(struct blockers *b)
{
    const struct table_plan *plan = b->change->table->handle;
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (unsigned i = 0; i < plan->n_columns; i++)
        if (is_known(b->change, i))
            buffer_printf(text, "%s%s AS %s", text->length == 0 ? "SELECT " : ", ",
                          question_value(&b->question, &plan->columns[i], &b->change->row.row[i]),
                          plan->columns[i].name);
    return arena_strdup(b->t->scratch, buffer_text(text));
}

/*
 * Each expression of the index has the value that it has for the new row. Inside of the subselect column names mean the new row,
 * outside the table; check_index made sure that the new row has every column that is named.
 */
static void append_index_match(struct buffer *where, const PGresult *index, int i, const char *new_row)
{
    const char *expression = PQgetvalue(index, i, BLOCKING_TEXT);

    if (strcmp(PQgetvalue(index, i, BLOCKING_NULLS_EQUAL), "true") == 0)
        buffer_printf(where, "(((%s) IS NULL AND (SELECT (%s) FROM (%s) AS pgtide_new) IS NULL) OR ", expression,
                      expression, new_row);
    else
        buffer_append_char(where, '(');
    buffer_printf(where, "(%s) %s (SELECT (%s) FROM (%s) AS pgtide_new))", expression,
                  PQgetvalue(index, i, BLOCKING_EQUALS), expression, new_row);
}

MUST_USE static struct error *find_blockers(struct pg_target *t, const struct row_change *change,
                                            const struct attempt *blocked, struct buffer *sql, struct blockers *out)
{
    const struct table_plan *plan = change->table->handle;
    CLEANUP(buffer_free) struct buffer *where = buffer_new();
    PGresult *index = NULL;

    TRY(find_index(t, blocked, &index));
    TRY(check_index(change, blocked, index));
    *out = (struct blockers){.t = t, .change = change, .question = question_new(t, sql, plan->n_columns)};
    out->table = arena_strdup(t->scratch, PQgetvalue(index, 0, BLOCKING_TABLE));
    const char *new_row = new_row_text(out);
    for (int i = 0; i < PQntuples(index); i++) {
        if (strcmp(PQgetvalue(index, i, BLOCKING_KIND), "expression") != 0)
            continue;
        buffer_append_text(where, where->length == 0 ? "" : " AND ");
        append_index_match(where, index, i, new_row);
    }
    if (!PQgetisnull(index, 0, BLOCKING_PREDICATE))
        buffer_printf(where, " AND (%s)", PQgetvalue(index, 0, BLOCKING_PREDICATE));
    out->where = arena_strdup(t->scratch, buffer_text(where));
    return NULL;
}

/* Every value that the change has is there already, the same and not only equal. */
static void append_identical(struct buffer *sql, const struct blockers *b)
{
    const struct table_plan *plan = b->change->table->handle;
    unsigned param = 0;

    for (unsigned i = 0; i < plan->n_columns; i++) {
        const struct value *v = &b->change->row.row[i];

        if (!is_known(b->change, i))
            continue;
        param++;
        buffer_append_text(sql, " AND ");
        if (v->state == VALUE_NULL)
            buffer_printf(sql, "%s IS NULL", plan->columns[i].name);
        else
            statement_append_same(sql, &plan->columns[i], plan->columns[i].name,
                                  arena_printf(b->t->scratch, is_foreign(&plan->columns[i], v) ? "$%u::%s" : "$%u",
                                               param, plan->columns[i].cast));
    }
}

MUST_USE static struct error *look_for_identical(struct pg_target *t, const struct row_change *change,
                                                 const struct attempt *blocked, bool *out_is_identical)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct blockers b = {.t = t};
    PGresult *rows = NULL;
    struct error *err = find_blockers(t, change, blocked, sql, &b);

    /* What cannot be found cannot be said to be identical; the conflict stays one. */
    if (err != NULL && error_kind(err) == ERROR_DATA) {
        error_free(err);
        *out_is_identical = false;
        return NULL;
    }
    TRY(err);
    buffer_printf(sql, "SELECT FROM ONLY %s WHERE %s", b.table, b.where);
    append_identical(sql, &b);
    TRY(question_ask(&b.question, "comparing the row in the way", &rows));
    *out_is_identical = PQntuples(rows) > 0;
    return NULL;
}

/* ---- removing them ---- */

static void add_removed(struct removals *r, const PGresult *rows, int i, unsigned n_columns)
{
    struct value *row = arena_alloc(r->arena, (n_columns + 1UL) * sizeof *row);

    for (unsigned c = 0; c < n_columns; c++) {
        if (PQgetisnull(rows, i, (int)c))
            continue; /* zeros are a NULL */
        row[c].state = VALUE_TEXT;
        row[c].length = (uint32_t)PQgetlength(rows, i, (int)c);
        row[c].bytes =
            memcpy(arena_bytes(r->arena, row[c].length + 1UL), PQgetvalue(rows, i, (int)c), row[c].length + 1UL);
    }
    if (r->n == r->capacity) {
        const struct value **more = arena_alloc(r->arena, 2 * (r->capacity + 4UL) * sizeof(void *));

        if (r->n > 0)
            memcpy(more, r->rows, r->n * sizeof(void *));
        r->rows = more;
        r->capacity = 2 * (r->capacity + 4);
    }
    r->rows[r->n++] = row;
}

void removals_add(struct removals *r, const PGresult *rows, unsigned n_columns)
{
    for (int i = 0; i < PQntuples(rows); i++)
        add_removed(r, rows, i, n_columns);
}

MUST_USE static struct error *remove_blockers(struct pg_target *t, const struct row_change *change,
                                              const struct attempt *blocked, struct removals *removals)
{
    const struct table_plan *plan = change->table->handle;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct blockers b = {.t = t};
    PGresult *rows = NULL;

    arena_reset(t->scratch);
    TRY(find_blockers(t, change, blocked, sql, &b));
    buffer_printf(sql, "DELETE FROM ONLY %s WHERE %s RETURNING ", b.table, b.where);
    for (unsigned i = 0; i < plan->n_columns; i++)
        buffer_printf(sql, "%s%s::text", i == 0 ? "" : ", ", plan->columns[i].name);
    TRY(question_ask(&b.question, "deleting the row in the way", &rows));
    if (PQntuples(rows) == 0)
        return error_new(ERROR_DATA, "table \"%s\": the row that violates constraint \"%s\" was not found", plan->label,
                         blocked->constraint);
    removals_add(removals, rows, plan->n_columns);
    return NULL;
}

/* ---- the port ---- */

MUST_USE static struct error *overwrite_row(struct pg_target *t, struct arena *a, const struct row_change *change,
                                            struct attempt *tried, struct row_result *out)
{
    struct removals removals = {.arena = a};

    for (unsigned i = 0; tried->outcome == ATTEMPT_BLOCKED; i++) {
        if (i == REMOVALS_MAX)
            return error_new(ERROR_DATA, "rows are still in the way after %u were deleted", removals.n);
        TRY(remove_blockers(t, change, tried, &removals));
        TRY(attempt_all_ways(t, a, change, tried));
    }
    out->n_removed = removals.n;
    out->removed = removals.rows;
    return NULL;
}

MUST_USE static struct error *change_row(struct pg_target *t, struct arena *a, const struct row_change *change,
                                         enum row_overwrite overwrite, struct row_result *out)
{
    static const enum row_outcome outcomes[] = {
        [ATTEMPT_DONE] = ROW_DONE,
        [ATTEMPT_MISSING] = ROW_MISSING,
        [ATTEMPT_BLOCKED] = ROW_DUPLICATE,
    };
    struct attempt tried;
    struct row_result result = {0};

    TRY(attempt_all_ways(t, a, change, &tried));
    if (tried.outcome == ATTEMPT_BLOCKED && overwrite == ROW_OVERWRITE)
        TRY(overwrite_row(t, a, change, &tried, &result));
    result.outcome = outcomes[tried.outcome];
    result.constraint = tried.constraint;
    result.detail = tried.detail;
    if (tried.outcome == ATTEMPT_BLOCKED)
        TRY(look_for_identical(t, change, &tried, &result.is_identical));
    *out = result;
    return NULL;
}

struct error *target_row(void *self, struct arena *a, const struct row_change *change, enum row_overwrite overwrite,
                         struct row_result *out)
{
    struct pg_target *t = self;
    const struct table_plan *plan = change->table->handle;

    TRY(target_connected(t));
    /* What was sent before and not settled, BEGIN for one, must have worked. */
    TRY(pipe_sync(t->pipe));
    if (pipe_failure(t->pipe)->is_failure)
        return target_failure(t);
    struct error *err = change_row(t, a, change, overwrite, out);
    return err == NULL ? NULL : error_wrap(err, "table \"%s\"", plan->label);
}

/* ---- the conflict log ---- */

static const char *const kind_names[CONFLICT_KIND_COUNT] = {
    [CONFLICT_INSERT_DUPLICATE] = "insert-duplicate",
    [CONFLICT_UPDATE_DUPLICATE] = "update-duplicate",
    [CONFLICT_UPDATE_MISSING] = "update-missing",
    [CONFLICT_DELETE_MISSING] = "delete-missing",
    [CONFLICT_REFUSED] = "refused",
};

static const char *const policy_names[] = {
    [CONFLICT_ERROR] = "error",
    [CONFLICT_IGNORE] = "ignore",
    [CONFLICT_OVERWRITE] = "overwrite",
};

static const char *const choice_names[RESUME_CHOICE_COUNT] = {
    [RESUME_AS_IS] = "",
    [RESUME_SKIP_CHANGE] = "resume --skip-change",
    [RESUME_SKIP_TRANSACTION] = "resume --skip-transaction",
    [RESUME_OVERWRITE] = "resume --overwrite",
    [RESUME_REPLACE] = "resume --replace-with",
};

static const char *const action_names[CONFLICT_ACTION_COUNT] = {
    [CONFLICT_SKIPPED] = "skipped",
    [CONFLICT_REPLACED] = "replaced",
    [CONFLICT_INSERTED] = "inserted",
};

/* One member of a row as JSON, made by the server, so that binary values become readable too. */
static void append_member(struct question *q, bool *first, const struct column_plan *column, const struct value *v)
{
    if (v->state == VALUE_UNCHANGED)
        return;
    buffer_printf(q->sql, "%s%s::text AS %s", *first ? "SELECT " : ", ", question_value(q, column, v), column->name);
    *first = false;
}

static const char row_begin[] = "(SELECT row_to_json(r) FROM (";
static const char row_end[] = ") AS r)";

static void append_row(struct question *q, const struct table_plan *plan, const struct value *row)
{
    bool first = true;

    buffer_append_text(q->sql, row_begin);
    for (unsigned i = 0; i < plan->n_columns; i++)
        append_member(q, &first, &plan->columns[i], &row[i]);
    buffer_append_text(q->sql, first ? "SELECT" : "");
    buffer_append_text(q->sql, row_end);
}

/* The key of the row that was meant; without a key the whole row. */
static void append_key(struct question *q, const struct row_change *change)
{
    const struct target_table *table = change->table;
    const struct table_plan *plan = table->handle;
    bool first = true;

    if (change->row.key == NULL && (table->mode != TABLE_KEYED || change->row.row == NULL)) {
        buffer_append_text(q->sql, "NULL::json");
        return;
    }
    if (table->mode != TABLE_KEYED) {
        append_row(q, plan, change->row.key);
        return;
    }
    buffer_append_text(q->sql, row_begin);
    for (unsigned i = 0; i < table->n_key; i++) {
        unsigned column = table->key[i];

        append_member(q, &first, &plan->columns[column],
                      change->row.key == NULL ? &change->row.row[column] : &change->row.key[i]);
    }
    buffer_append_text(q->sql, first ? "SELECT" : "");
    buffer_append_text(q->sql, row_end);
}

/* The rows that were deleted; they were read as text. */
static void append_removed(struct question *q, const struct conflict *c)
{
    const struct table_plan *plan = c->change.table->handle;

    if (c->n_removed == 0) {
        buffer_append_text(q->sql, "NULL::json");
        return;
    }
    for (unsigned r = 0; r < c->n_removed; r++) {
        buffer_append_text(q->sql, r == 0 ? "json_build_array(" : ", ");
        append_row(q, plan, c->removed[r]);
    }
    buffer_append_char(q->sql, ')');
}

MUST_USE static struct error *record_conflict(struct pg_target *t, const struct conflict *c, bool with_rows)
{
    const struct table_plan *plan = c->change.table->handle;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    arena_reset(t->scratch);
    struct question q = question_new(t, sql, (2 + c->n_removed) * plan->n_columns + 7);
    const char *texts[] = {
        t->options.task,
        plan->label,
        kind_names[c->kind],
        c->choice == RESUME_AS_IS ? policy_names[c->policy] : choice_names[c->choice],
        action_names[c->action],
        arena_strdup(t->scratch, lsn_format(c->commit).text),
        arena_printf(t->scratch, "%" PRIu32, c->xid),
    };

    buffer_append_text(sql, "INSERT INTO pgtide.conflict (task, table_name, kind, policy, action, lsn, xid, key_row, "
                            "old_row, new_row) SELECT ");
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        buffer_printf(sql, "$%u%s, ", question_text(&q, texts[i]), i == 5 ? "::pg_lsn" : i == 6 ? "::int8" : "");
    if (!with_rows) {
        buffer_append_text(sql, "NULL, NULL, NULL");
        return question_ask(&q, "recording a conflict", NULL);
    }
    append_key(&q, &c->change);
    buffer_append_text(sql, "::text, ");
    append_removed(&q, c);
    buffer_append_text(sql, "::text, ");
    if (c->change.row.row == NULL)
        buffer_append_text(sql, "NULL");
    else
        append_row(&q, plan, c->change.row.row);
    buffer_append_text(sql, "::text");
    return question_ask(&q, "recording a conflict", NULL);
}

/* A value that the target cannot read, and that may be why it is a conflict, must not keep it from being recorded. */
struct error *target_conflict(void *self, const struct conflict *c)
{
    struct pg_target *t = self;

    TRY(target_connected(t));
    arena_reset(t->scratch);
    if (c->change.table->mode == TABLE_DDL)
        return target_ddl_conflict(t, c, choice_names[c->choice]);
    TRY(send_command(t, "SAVEPOINT pgtide_row"));
    struct error *err = record_conflict(t, c, true);
    if (err != NULL && error_kind(err) != ERROR_DATA)
        return err;
    if (err == NULL)
        return send_command(t, "RELEASE SAVEPOINT pgtide_row");
    error_free(err);
    TRY(undo(t));
    return record_conflict(t, c, false);
}
