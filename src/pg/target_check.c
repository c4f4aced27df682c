/* Deferrable keys: what the server would check at COMMIT if our sessions were no replicas. */
#include "pg/deferred_key.h"
#include "pg/target_session.h"

struct doubted_table {
    struct doubted_table *next;
    uint32_t oid;
    const char *label;
};

void target_check_begin(struct pg_target *t)
{
    if (t->doubted != NULL)
        arena_reset(t->doubts);
    t->doubted = NULL;
    t->alone_with = 0;
}

/* ---- who else writes ---- */

/*
 * What others wrote and have not committed no question finds; who comes after us finds our rows, and waits. So nobody may be in the
 * midst of writing when it is asked. pg_locks is looked at by a statement of its own, because the question must see what they committed.
 */
#define OTHERS_WRITE                                                                                           \
    "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND relation = ANY ($1::text::oid[])" \
    " AND mode = 'RowExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()"                     \
    " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))"

MUST_USE static struct error *assert_alone(struct pg_target *t, const struct table_plan *plan)
{
    static const char sql[] = "SELECT 1 / (NOT " OTHERS_WRITE ")::int";

    statement_params_clear(t->params);
    statement_params_add_text(t->params, plan->deferred.tables);
    TRY(statement_params_finish(t->params));
    return pipe_send(
        t->pipe, sql, NULL, t->params,
        (struct pipe_expect){.rows = PIPE_ANY_COUNT, .what = target_checking, .object = plan->label, .asserts = true});
}

/* Waits for them. A deadlock is the server's to see. */
MUST_USE static struct error *become_alone(struct pg_target *t, const struct table_plan *plan)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    PGresult *rows = NULL;
    struct question q = question_new(t, sql, 1);

    if (t->alone_with == plan->oid)
        return NULL;
    question_text(&q, plan->deferred.tables);
    buffer_append_text(sql, "SELECT " OTHERS_WRITE);
    TRY(question_ask(&q, "looking who writes to the table", &rows));
    if (strcmp(PQgetvalue(rows, 0, 0), "t") == 0) {
        buffer_clear(sql);
        buffer_printf(sql, "LOCK TABLE %s%s IN SHARE MODE", plan->only, plan->name);
        q = question_new(t, sql, 0);
        TRY(question_ask(&q, "waiting for others that write to the table", NULL));
    }
    t->alone_with = plan->oid;
    return NULL;
}

/* ---- many rows ---- */

MUST_USE static struct error *check_key(struct pg_target *t, const struct batch *batch, const struct deferred_key *key)
{
    unsigned n;

    for (unsigned at = 0; at < batch->n_rows && !pipe_failure(t->pipe)->is_failure; at += n) {
        struct statement_input in = {
            .table = batch->table, .op = batch->op, .rows = &batch->rows[at], .check = key, .asserts = true};

        in.n_rows = 1;
        in.shape = statement_check_choose(&in, batch->n_rows - at, &n);
        in.n_rows = n;
        TRY(target_send(t, &in));
    }
    return NULL;
}

struct error *target_check(void *self, const struct batch *batch)
{
    struct pg_target *t = self;
    const struct table_plan *plan = batch->table->handle;

    TRY(target_connected(t));
    arena_reset(t->scratch);
    TRY(assert_alone(t, plan));
    for (unsigned i = 0; i < plan->deferred.n; i++)
        TRY(check_key(t, batch, &plan->deferred.keys[i]));
    return NULL;
}

/* ---- one row ---- */

/* Pairs that exclude each other, of which `a` is the row that the change wrote. */
struct pairs {
    struct pg_target *t;
    const struct row_change *change;
    const struct deferred_key *key;
    struct question question;
    const char *further; /* columns of `a` */
    const char *where;   /* what `a` is */
};

/* A value of the row as it is now. NULL: not known. */
static const struct value *value_now(const struct row_change *change, unsigned column)
{
    const struct value *v = &change->row.row[column];

    if (!change->table->is_written[column])
        return NULL;
    if (v->state != VALUE_UNCHANGED)
        return v;
    /* Without a key on the target the old row came whole. */
    return change->table->mode == TABLE_UNKEYED ? &change->row.key[column] : NULL;
}

static void find_by_key(struct pairs *p)
{
    const struct target_table *table = p->change->table;
    const struct table_plan *plan = table->handle;

    for (unsigned i = 0; i < table->n_key; i++) {
        const struct column_plan *column = &plan->columns[table->key[i]];
        const struct value *v =
            p->change->op == BATCH_UPDATE ? &p->change->row.key[i] : &p->change->row.row[table->key[i]];

        p->further = arena_printf(p->t->scratch, "%s, %s AS pgtide_m%u", p->further, column->name, i + 1);
        p->where = arena_printf(p->t->scratch, "%s%sa.pgtide_m%u %s %s", p->where, i == 0 ? "" : " AND ", i + 1,
                                column->equals == NULL ? "=" : column->equals, question_value(&p->question, column, v));
    }
}

/* One of the rows that are the same in every column. */
static void find_by_row(struct pairs *p)
{
    const struct table_plan *plan = p->change->table->handle;
    CLEANUP(buffer_free) struct buffer *where = buffer_new();

    buffer_printf(where, "(a.pgtide_o, a.pgtide_p) = (SELECT u.tableoid, u.ctid FROM %s AS u WHERE true",
                  p->key->table);
    for (unsigned i = 0; i < plan->n_columns; i++) {
        const struct value *v = value_now(p->change, i);
        const char *column = arena_printf(p->t->scratch, "u.%s", plan->columns[i].name);

        if (v == NULL)
            continue;
        buffer_append_text(where, " AND ");
        if (v->state == VALUE_NULL)
            buffer_printf(where, "%s IS NULL", column);
        else
            statement_append_same(where, &plan->columns[i], column, question_value(&p->question, &plan->columns[i], v));
    }
    buffer_append_text(where, " LIMIT 1)");
    p->where = arena_strdup(p->t->scratch, buffer_text(where));
}

static struct pairs pairs_new(struct pg_target *t, const struct row_change *change, const struct deferred_key *key,
                              struct buffer *sql)
{
    const struct table_plan *plan = change->table->handle;
    struct pairs p = {.t = t, .change = change, .key = key, .further = "", .where = ""};

    arena_reset(t->scratch);
    p.question = question_new(t, sql, plan->n_columns + 1);
    if (change->table->mode == TABLE_KEYED)
        find_by_key(&p);
    else
        find_by_row(&p);
    return p;
}

static void append_pairs(const struct pairs *p)
{
    struct buffer *sql = p->question.sql;

    buffer_append_text(sql, " FROM ");
    deferred_key_append_rows(sql, p->key, p->further);
    buffer_append_text(sql, " AS a");
    deferred_key_append_others(sql, p->key, "");
    buffer_printf(sql, " WHERE %s", p->where);
}

/* Where rows have a key, no other one is the same. */
static void append_all_are_identical(const struct pairs *p)
{
    if (p->change->table->mode == TABLE_KEYED) {
        buffer_append_text(p->question.sql, "false");
        return;
    }
    buffer_printf(p->question.sql,
                  "bool_and((SELECT x::text FROM %s AS x WHERE x.tableoid = b.pgtide_o AND x.ctid = "
                  "b.pgtide_p) IS NOT DISTINCT FROM (SELECT x::text FROM %s AS x WHERE x.tableoid = "
                  "a.pgtide_o AND x.ctid = a.pgtide_p))",
                  p->key->table, p->key->table);
}

MUST_USE static struct error *look(struct pg_target *t, struct arena *a, const struct row_change *change,
                                   const struct deferred_key *key, struct row_result *out)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct pairs p = pairs_new(t, change, key, sql);
    PGresult *rows = NULL;

    buffer_printf(sql, "SELECT count(*), min('Key (' || $%u || ')=(' || concat_ws(', ', %s) || ') is there twice.'), ",
                  question_text(&p.question, key->columns), key->values);
    append_all_are_identical(&p);
    append_pairs(&p);
    TRY(question_ask(&p.question, "looking for rows with the same key", &rows));
    if (strcmp(PQgetvalue(rows, 0, 0), "0") == 0)
        return NULL;
    *out = (struct row_result){.outcome = ROW_DUPLICATE,
                               .constraint = arena_strdup(a, key->name),
                               .detail = arena_strdup(a, PQgetvalue(rows, 0, 1)),
                               .is_identical = strcmp(PQgetvalue(rows, 0, 2), "t") == 0};
    return NULL;
}

/* `side`: a, the row itself, or b, the others. */
MUST_USE static struct error *delete_side(struct pg_target *t, const struct row_change *change,
                                          const struct deferred_key *key, char side, struct removals *removals)
{
    const struct table_plan *plan = change->table->handle;
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct pairs p = pairs_new(t, change, key, sql);
    PGresult *rows = NULL;

    buffer_printf(sql, "DELETE FROM %s AS d WHERE d.ctid = ANY (ARRAY(SELECT %c.pgtide_p", key->table, side);
    append_pairs(&p);
    buffer_printf(sql, ")) AND (d.tableoid, d.ctid) IN (SELECT %c.pgtide_o, %c.pgtide_p", side, side);
    append_pairs(&p);
    buffer_append_text(sql, ") RETURNING ");
    for (unsigned i = 0; i < plan->n_columns; i++)
        buffer_printf(sql, "%sd.%s::text", i == 0 ? "" : ", ", plan->columns[i].name);
    TRY(question_ask(&p.question, "deleting rows with the same key", &rows));
    removals_add(removals, rows, plan->n_columns);
    return NULL;
}

MUST_USE static struct error *check_row(struct pg_target *t, struct arena *a, const struct row_change *change,
                                        enum row_remedy remedy, struct row_result *out)
{
    const struct table_plan *plan = change->table->handle;
    struct row_result result = {.outcome = ROW_DONE};
    struct removals removals = {.arena = a};

    TRY(become_alone(t, plan));
    for (unsigned i = 0; i < plan->deferred.n; i++) {
        const struct deferred_key *key = &plan->deferred.keys[i];
        struct row_result found = {.outcome = ROW_DONE};

        TRY(look(t, a, change, key, &found));
        if (found.outcome == ROW_DONE)
            continue;
        if (result.outcome == ROW_DONE)
            result = found;
        if (remedy != REMEDY_NONE)
            TRY(delete_side(t, change, key, remedy == REMEDY_REMOVE_ROW ? 'a' : 'b', &removals));
    }
    result.n_removed = removals.n;
    result.removed = removals.rows;
    *out = result;
    return NULL;
}

struct error *target_check_row(void *self, struct arena *a, const struct row_change *change, enum row_remedy remedy,
                               struct row_result *out)
{
    struct pg_target *t = self;
    const struct table_plan *plan = change->table->handle;

    TRY(target_connected(t));
    TRY(pipe_sync(t->pipe));
    if (pipe_failure(t->pipe)->is_failure)
        return target_failure(t);
    arena_reset(t->scratch);
    struct error *err = check_row(t, a, change, remedy, out);
    return err == NULL ? NULL : error_wrap(err, "table \"%s\"", plan->label);
}

/* ---- whole tables ---- */

void target_doubt(void *self, const struct target_table *table)
{
    struct pg_target *t = self;
    const struct table_plan *plan = table->handle;

    for (const struct doubted_table *d = t->doubted; d != NULL; d = d->next)
        if (d->oid == plan->oid)
            return;
    struct doubted_table *d = ARENA_NEW(t->doubts, struct doubted_table);
    *d = (struct doubted_table){.next = t->doubted, .oid = plan->oid, .label = arena_strdup(t->doubts, plan->label)};
    t->doubted = d;
}

struct whole_check {
    struct pg_target *t;
    struct arena *arena; /* for `why` */
    const char *why;
};

MUST_USE static struct error *check_whole_key(struct whole_check *w, struct pg_conn *conn, struct arena *a,
                                              const struct doubted_table *d, const struct deferred_key *key)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();
    struct pg_rows rows;

    buffer_printf(sql, "SELECT concat_ws(', ', %s) FROM ", key->values);
    deferred_key_append_rows(sql, key, "");
    buffer_append_text(sql, " AS a");
    deferred_key_append_others(sql, key, "");
    buffer_append_text(sql, " LIMIT 1");
    TRY(pg_query(conn, a, "looking for rows with the same key", buffer_text(sql), NULL, 0, &rows));
    if (rows.n_rows > 0)
        w->why = arena_printf(w->arena, "constraint \"%s\" of table \"%s\" is violated: Key (%s)=(%s) is there twice",
                              key->name, d->label, key->columns, rows.rows[0][0]);
    return NULL;
}

/* Waits for others that write to it, as become_alone does. */
MUST_USE static struct error *lock_if_others_write(struct pg_conn *conn, struct arena *a, uint32_t oid,
                                                   const struct deferred_keys *keys)
{
    const char *params[] = {keys->tables, arena_printf(a, "%u", oid)};
    char *table = NULL;

    TRY(pg_query_text(conn, a, "looking who writes to a table",
                      "SELECT CASE WHEN " OTHERS_WRITE " THEN $2::oid::regclass::text END", params, 2, &table));
    return table == NULL ? NULL
                         : pg_execute_format(conn, "waiting for others that write to a table",
                                             "LOCK TABLE %s IN SHARE MODE", table);
}

/* As its transaction has made it: constraints are looked for anew. */
MUST_USE static struct error *check_whole_table(struct whole_check *w, struct pg_conn *conn, struct arena *a,
                                                const struct doubted_table *d)
{
    struct deferred_keys keys;

    TRY(deferred_keys_read(conn, a, d->oid, &keys));
    if (keys.n > 0)
        TRY(lock_if_others_write(conn, a, d->oid, &keys));
    for (unsigned i = 0; i < keys.n && w->why == NULL; i++)
        TRY(check_whole_key(w, conn, a, d, &keys.keys[i]));
    return NULL;
}

static struct error *check_whole(void *self, struct pg_conn *conn)
{
    struct whole_check *w = self;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "tables in doubt");

    for (const struct doubted_table *d = w->t->doubted; d != NULL && w->why == NULL; d = d->next)
        TRY(check_whole_table(w, conn, a, d));
    return NULL;
}

struct error *target_check_doubted(void *self, struct arena *a, bool *out_as_expected, const char **out_why)
{
    struct pg_target *t = self;
    struct whole_check w = {.t = t, .arena = a};

    TRY(target_connected(t));
    if (t->doubted != NULL)
        TRY(pipe_outside(t->pipe, check_whole, &w));
    *out_as_expected = w.why == NULL;
    if (w.why != NULL)
        *out_why = w.why;
    return NULL;
}
