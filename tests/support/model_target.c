#include "support/model_target.h"

#include <assert.h>

#include "base/buffer.h"
#include "support/rows.h"
#include "sync/division.h"

enum { QUEUE_MAX = 20000, CONFLICTS_MAX = 4096, ROWS_REMOVED_MAX = 64 };

/* Rows are immutable; a state is a list of pointers to them, so that transactions are cheap to copy. */
struct model_rows {
    const struct value **rows;
    size_t n, capacity;
};

struct model_state {
    struct model_rows tables[MODEL_TABLES_MAX];
    struct apply_position position;
    unsigned n_conflicts;
};

struct queued {
    const struct batch *batch;
    const struct target_table *const *tables;
    unsigned n_tables;
    bool is_check;
};

/* A session; the first one is the database, too. */
struct model_target {
    struct model_target *db;
    unsigned lane; /* from 0 */
    unsigned begin_version;
    struct queued *log; /* what was done since begin, when other lanes may commit meanwhile */
    unsigned n_log;
    bool has_rows; /* since begin: done one by one */

    /* The database */
    unsigned version; /* counted up by each commit */
    unsigned n_lanes;
    struct apply_position positions[LANES_MAX];
    struct arena *arena;
    struct model_table tables[MODEL_TABLES_MAX];
    unsigned n_tables;
    struct model_state durable, working, saved;
    bool is_open, has_savepoint;
    bool is_doubted[MODEL_TABLES_MAX];
    bool has_failed; /* the transaction: only rollbacks until then */
    bool is_broken;  /* the session: only rollback and resume */
    struct queued *queue;
    unsigned n_queued;
    struct model_conflict conflicts[CONFLICTS_MAX];
    struct fault *fault;
    void (*committed)(void *self, struct apply_position position);
    void *committed_self;
    struct model_calls calls;
};

static struct queued *queue_of(struct arena *a)
{
    return (void *)arena_bytes(a, QUEUE_MAX * sizeof(struct queued));
}

struct model_target *model_target_new(struct arena *a)
{
    struct model_target *m = ARENA_NEW(a, struct model_target);

    m->db = m;
    m->arena = a;
    m->n_lanes = 1;
    m->queue = queue_of(a);
    m->log = queue_of(a);
    return m;
}

struct model_target *model_target_lane(struct model_target *m, unsigned lane)
{
    struct model_target *session = ARENA_NEW(m->db->arena, struct model_target);

    *session = (struct model_target){
        .db = m->db, .lane = lane, .queue = queue_of(m->db->arena), .log = queue_of(m->db->arena)};
    return session;
}

bool model_target_lanes_are_apart(const struct model_target *m)
{
    for (unsigned i = 1; i < m->db->n_lanes; i++)
        if (!lsn_equal(m->db->positions[i].end, m->db->positions[0].end))
            return true;
    return false;
}

unsigned model_target_n_lanes(const struct model_target *m)
{
    return m->db->n_lanes;
}

void model_target_set_lanes(struct model_target *m, unsigned n)
{
    assert(!model_target_lanes_are_apart(m));
    for (unsigned i = 1; i < n; i++)
        m->positions[i] = m->positions[0];
    m->n_lanes = n;
}

void model_target_add_table(struct model_target *m, struct model_table table)
{
    assert(m->db->n_tables < MODEL_TABLES_MAX);
    m->db->tables[m->db->n_tables++] = table;
}

static unsigned index_of(const struct model_target *m, uint32_t oid)
{
    unsigned i = 0;

    while (i < m->db->n_tables && m->db->tables[i].oid != oid)
        i++;
    return i;
}

static void append_row(struct model_target *m, struct model_rows *t, const struct value *row)
{
    if (t->n == t->capacity) {
        size_t wider = t->capacity == 0 ? 64 : 2 * t->capacity;
        const struct value **rows = (void *)arena_bytes(m->db->arena, wider * sizeof(struct value *));

        if (t->n > 0)
            memcpy(rows, t->rows, t->n * sizeof(struct value *));
        t->rows = rows;
        t->capacity = wider;
    }
    t->rows[t->n++] = row;
}

static void copy_state(struct model_target *m, struct model_state *to, const struct model_state *from)
{
    to->position = from->position;
    to->n_conflicts = from->n_conflicts;
    for (unsigned i = 0; i < m->db->n_tables; i++) {
        to->tables[i].n = 0;
        for (size_t k = 0; k < from->tables[i].n; k++)
            append_row(m, &to->tables[i], from->tables[i].rows[k]);
    }
}

/* All values the model keeps are its own, and as wide as can be, so that a table may gain columns. */
static struct value *own_row(struct model_target *m, const struct value *row, unsigned n)
{
    struct value wide[MODEL_COLUMNS_MAX] = {0};

    memcpy(wide, row, n * sizeof *row);
    return row_copy(m->db->arena, wide, MODEL_COLUMNS_MAX);
}

void model_target_put(struct model_target *m, uint32_t oid, const char *row)
{
    append_row(m, &m->db->durable.tables[index_of(m, oid)], row_from_text(m->db->arena, row, MODEL_COLUMNS_MAX));
}

void model_target_crash(struct model_target *m)
{
    m->is_open = false;
    m->has_savepoint = false;
    m->has_failed = false;
    m->is_broken = false;
    m->n_queued = 0;
}

void model_target_set_fault(struct model_target *m, struct fault *fault)
{
    m->db->fault = fault;
}

void model_target_on_commit(struct model_target *m, void (*committed)(void *self, struct apply_position position),
                            void *self)
{
    m->db->committed = committed;
    m->db->committed_self = self;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *model_target_rows(struct arena *a, const struct model_target *m, uint32_t oid)
{
    const struct model_rows *t = &m->db->durable.tables[index_of(m, oid)];
    char **texts = arena_alloc(a, (t->n + 1) * sizeof(char *));
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (size_t i = 0; i < t->n; i++) {
        buffer_clear(b);
        row_to_text(b, t->rows[i], m->db->tables[index_of(m, oid)].n_columns);
        texts[i] = arena_strdup(a, buffer_text(b));
    }
    qsort(texts, t->n, sizeof(char *), compare_texts);
    buffer_clear(b);
    for (size_t i = 0; i < t->n; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : " ", texts[i]);
    return arena_strdup(a, buffer_text(b));
}

struct apply_position model_target_position(const struct model_target *m)
{
    return m->db->durable.position;
}

unsigned model_target_conflicts(const struct model_target *m, const struct model_conflict **out)
{
    *out = m->db->conflicts;
    return m->db->durable.n_conflicts;
}

struct model_calls model_target_calls(const struct model_target *m)
{
    return m->db->calls;
}

bool model_target_is_open(const struct model_target *m)
{
    return m->is_open;
}

static struct model_rows *rows_of(struct model_target *m, const struct target_table *table)
{
    return &m->working.tables[index_of(m, table->relation->oid)];
}

static const struct model_table *table_of(const struct model_target *m, const struct target_table *table)
{
    return &m->db->tables[index_of(m, table->relation->oid)];
}

static bool matches_key(const struct target_table *table, const struct value *row, const struct value *key)
{
    if (table->mode != TABLE_KEYED) {
        for (unsigned i = 0; i < table->relation->n_columns; i++)
            if (!value_equal(&row[i], &key[i]))
                return false;
        return true;
    }
    for (unsigned i = 0; i < table->n_key; i++)
        if (!value_equal(&row[table->key[i]], &key[i]))
            return false;
    return true;
}

enum { NOT_FOUND = -1 };

static long find_row(const struct model_rows *t, const struct target_table *table, const struct value *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (matches_key(table, t->rows[i], key))
            return (long)i;
    return NOT_FOUND;
}

static void remove_row(struct model_rows *t, size_t i)
{
    memmove(&t->rows[i], &t->rows[i + 1], (t->n - i - 1) * sizeof(struct value *));
    t->n--;
}

static bool collides(const struct model_table *table, const struct target_table *how, const struct value *a,
                     const struct value *b, const char **out_constraint)
{
    bool same_key = how->mode == TABLE_KEYED;

    for (unsigned i = 0; i < how->n_key && same_key; i++)
        same_key = value_equal(&a[how->key[i]], &b[how->key[i]]);
    if (same_key) {
        *out_constraint = "key";
        return true;
    }
    *out_constraint = "unique";
    return table->unique >= 0 && !table->is_deferrable && a[table->unique].state != VALUE_NULL &&
           value_equal(&a[table->unique], &b[table->unique]);
}

/* The row, other than `but`, that keeps this one out. */
static long find_blocker(const struct model_target *m, const struct model_rows *t, const struct target_table *how,
                         const struct value *row, long but, const char **out_constraint)
{
    for (size_t i = 0; i < t->n; i++)
        if ((long)i != but && collides(table_of(m, how), how, t->rows[i], row, out_constraint))
            return (long)i;
    return NOT_FOUND;
}

static bool is_refused(const struct model_table *table, const struct value *row)
{
    for (unsigned i = 0; table->refused != NULL && i < table->n_columns; i++)
        if (row[i].state == VALUE_TEXT && row[i].length == strlen(table->refused) &&
            memcmp(row[i].bytes, table->refused, row[i].length) == 0)
            return true;
    return false;
}

/* The row as it will be: UNCHANGED and what is not written stay. `old` may be NULL. */
static struct value *new_image(struct model_target *m, const struct target_table *how, const struct value *old,
                               const struct value *row)
{
    struct value *image = own_row(m, row, how->relation->n_columns);

    for (unsigned i = 0; i < MODEL_COLUMNS_MAX; i++) {
        bool stays = i >= how->relation->n_columns || !how->is_written[i] || image[i].state == VALUE_UNCHANGED;

        if (stays)
            image[i] = old == NULL ? (struct value){.state = VALUE_NULL} : old[i];
    }
    return image;
}

static bool states_agree(enum value_state a, enum value_state b)
{
    return a == b || (a == VALUE_NULL && b != VALUE_UNCHANGED) || (b == VALUE_NULL && a != VALUE_UNCHANGED);
}

static void check_states(const struct batch *b, unsigned i, unsigned k)
{
    const struct target_table *t = b->table;

    for (unsigned c = 0; b->rows[i].row != NULL && c < t->relation->n_columns; c++)
        assert(!t->is_written[c] || states_agree(b->rows[i].row[c].state, b->rows[k].row[c].state));
    for (unsigned c = 0; b->rows[i].key != NULL && c < t->n_key; c++)
        assert(states_agree(b->rows[i].key[c].state, b->rows[k].key[c].state));
}

static bool keys_equal(const struct value *a, const struct value *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!value_equal(&a[i], &b[i]))
            return false;
    return true;
}

static void check_batch(const struct batch *b)
{
    const struct target_table *t = b->table;

    assert(b->n_rows > 0);
    assert(t->mode == TABLE_KEYED || b->op == BATCH_INSERT || b->n_rows == 1);
    for (unsigned i = 0; i < b->n_rows; i++) {
        assert((b->rows[i].row == NULL) == (b->op == BATCH_DELETE));
        assert((b->rows[i].key == NULL) == (b->op == BATCH_INSERT));
        for (unsigned k = 0; k < i; k++) {
            check_states(b, i, k);
            assert(b->op == BATCH_INSERT || !keys_equal(b->rows[i].key, b->rows[k].key, t->n_key)); /* F8 */
        }
    }
}

/* False: a data error. *count is how many rows were touched. */
static bool run_row_of_batch(struct model_target *m, const struct batch *b, const struct batch_row *r, unsigned *count)
{
    struct model_rows *t = rows_of(m, b->table);
    long at = b->op == BATCH_INSERT ? NOT_FOUND : find_row(t, b->table, r->key);
    const char *constraint;

    if (b->op != BATCH_INSERT && at == NOT_FOUND)
        return true;
    ++*count;
    if (b->op == BATCH_DELETE) {
        remove_row(t, (size_t)at);
        return true;
    }
    const struct value *image = new_image(m, b->table, at == NOT_FOUND ? NULL : t->rows[at], r->row);
    if (is_refused(table_of(m, b->table), image) || find_blocker(m, t, b->table, image, at, &constraint) != NOT_FOUND)
        return false;
    if (at == NOT_FOUND)
        append_row(m, t, image);
    else
        t->rows[at] = image;
    return true;
}

static bool run_batch(struct model_target *m, const struct batch *b)
{
    unsigned count = 0;

    check_batch(b);
    for (unsigned i = 0; i < b->n_rows; i++)
        if (!run_row_of_batch(m, b, &b->rows[i], &count))
            return false;
    return count == b->n_rows;
}

static void run_truncate(struct model_target *m, const struct queued *q)
{
    for (unsigned i = 0; i < q->n_tables; i++)
        rows_of(m, q->tables[i])->n = 0;
}

MUST_USE static struct error *called(struct model_target *m, const char *call)
{
    assert(!m->is_broken);

    struct error *err = fault_maybe(m->db->fault, call);
    m->is_broken = err != NULL;
    return err;
}

static struct error *op_resume(void *self, struct apply_position *out)
{
    struct model_target *m = self;

    model_target_crash(m);
    TRY(called(m, "resume"));
    *out = m->db->positions[m->lane];
    return NULL;
}

static struct error *op_table(void *self, struct arena *a, const struct stream_relation *relation,
                              struct target_table **out)
{
    struct model_target *m = self;
    unsigned index = index_of(m, relation->oid);
    const struct model_table *def = &m->db->tables[index];
    struct target_table *t = ARENA_NEW(a, struct target_table);
    bool *is_written = arena_alloc(a, relation->n_columns);

    TRY(fault_maybe(m->db->fault, "table"));
    m->db->calls.tables++;
    if (index == m->db->n_tables)
        return error_new(ERROR_CONFIG, "the target has no table \"%s.%s\"", relation->schema, relation->name);
    for (unsigned i = 0; i < relation->n_columns; i++)
        is_written[i] = (int)i != def->generated;
    *t = (struct target_table){
        .relation = relation,
        .mode = def->mode,
        .n_key = def->n_key,
        .key = def->key,
        .is_written = is_written,
        .has_other_unique = def->unique >= 0,
        .has_deferred = def->is_deferrable,
        .lane_rule = def->mode == TABLE_KEYED && def->unique < 0 ? LANE_BY_KEY : LANE_BY_TABLE,
        .gate = def->gate,
    };
    *out = t;
    return NULL;
}

static struct error *op_begin(void *self)
{
    struct model_target *m = self;

    TRY(called(m, "begin"));
    assert(!m->is_open);
    m->db->calls.begins++;
    m->is_open = true;
    m->has_failed = false;
    m->has_savepoint = false;
    m->begin_version = m->db->version;
    m->n_log = 0;
    m->has_rows = false;
    memset(m->is_doubted, 0, sizeof m->is_doubted);
    copy_state(m, &m->working, &m->db->durable);
    return NULL;
}

static void enqueue(struct model_target *m, struct queued q)
{
    assert(m->is_open && !m->has_failed && m->n_queued < QUEUE_MAX);
    m->queue[m->n_queued++] = q;
}

static struct error *op_batch(void *self, const struct batch *batch)
{
    struct model_target *m = self;

    TRY(called(m, "batch"));
    m->db->calls.batches++;
    enqueue(m, (struct queued){.batch = batch});
    return NULL;
}

static struct error *op_truncate(void *self, const struct target_table *const *tables, unsigned n,
                                 bool restart_identity)
{
    struct model_target *m = self;

    (void)restart_identity;
    TRY(called(m, "truncate"));
    m->db->calls.truncates++;
    enqueue(m, (struct queued){.tables = tables, .n_tables = n});
    return NULL;
}

/* Another row with the deferrable value of this one. */
static long find_twin(const struct model_target *m, const struct target_table *how, long at)
{
    const struct model_rows *t = &m->working.tables[index_of(m, how->relation->oid)];
    int unique = table_of(m, how)->unique;

    for (size_t i = 0; at != NOT_FOUND && i < t->n; i++)
        if ((long)i != at && t->rows[i][unique].state != VALUE_NULL &&
            value_equal(&t->rows[i][unique], &t->rows[at][unique]))
            return (long)i;
    return NOT_FOUND;
}

/* Where the row is now that the change wrote. */
static long find_written(struct model_target *m, const struct target_table *how, enum batch_op op,
                         const struct batch_row *r)
{
    struct value key[MODEL_COLUMNS_MAX];

    assert(how->mode == TABLE_KEYED && table_of(m, how)->is_deferrable && op != BATCH_DELETE);
    for (unsigned i = 0; i < how->n_key; i++)
        key[i] = op == BATCH_UPDATE ? r->key[i] : r->row[how->key[i]];
    return find_row(rows_of(m, how), how, key);
}

static bool run_check(struct model_target *m, const struct batch *b)
{
    for (unsigned i = 0; i < b->n_rows; i++)
        if (find_twin(m, b->table, find_written(m, b->table, b->op, &b->rows[i])) != NOT_FOUND)
            return false;
    return true;
}

static struct error *op_check(void *self, const struct batch *batch)
{
    struct model_target *m = self;

    TRY(called(m, "check"));
    m->db->calls.checks++;
    enqueue(m, (struct queued){.batch = batch, .is_check = true});
    return NULL;
}

static struct error *op_check_row(void *self, struct arena *a, const struct row_change *change, enum row_remedy remedy,
                                  struct row_result *out)
{
    struct model_target *m = self;
    long at = find_written(m, change->table, change->op, &change->row), twin;
    const struct value **removed = (void *)arena_alloc(m->db->arena, ROWS_REMOVED_MAX * sizeof(struct value *));

    TRY(called(m, "check row"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    *out = (struct row_result){.outcome = ROW_DONE, .removed = removed};
    while ((twin = find_twin(m, change->table, at)) != NOT_FOUND) {
        long gone = remedy == REMEDY_REMOVE_ROW ? at : twin;

        out->outcome = ROW_DUPLICATE;
        out->constraint = arena_strdup(a, "deferrable");
        if (remedy == REMEDY_NONE)
            return NULL;
        assert(out->n_removed < ROWS_REMOVED_MAX);
        removed[out->n_removed++] = rows_of(m, change->table)->rows[gone];
        remove_row(rows_of(m, change->table), (size_t)gone);
        at = remedy == REMEDY_REMOVE_ROW ? NOT_FOUND : at - (at > gone);
    }
    return NULL;
}

static void op_doubt(void *self, const struct target_table *table)
{
    struct model_target *m = self;

    assert(m->is_open);
    m->is_doubted[index_of(m, table->relation->oid)] = true;
}

static bool has_twins(const struct model_target *m, unsigned table)
{
    const struct model_rows *t = &m->working.tables[table];
    int unique = m->db->tables[table].unique;

    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < i; k++)
            if (t->rows[i][unique].state != VALUE_NULL && value_equal(&t->rows[i][unique], &t->rows[k][unique]))
                return true;
    return false;
}

static struct error *op_check_doubted(void *self, struct arena *a, bool *out_as_expected, const char **out_why)
{
    struct model_target *m = self;

    TRY(called(m, "check doubted"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    *out_as_expected = true;
    for (unsigned i = 0; i < m->db->n_tables; i++)
        *out_as_expected = *out_as_expected && !(m->is_doubted[i] && has_twins(m, i));
    if (!*out_as_expected)
        *out_why = arena_strdup(a, "a value is there twice");
    return NULL;
}

static struct error *op_settle(void *self, struct arena *a, bool *out_as_expected, const char **out_why)
{
    struct model_target *m = self;

    TRY(called(m, "settle"));
    assert(m->is_open && !m->has_failed);
    for (unsigned i = 0; i < m->n_queued && !m->has_failed; i++) {
        if (m->queue[i].is_check)
            m->has_failed = !run_check(m, m->queue[i].batch);
        else if (m->queue[i].batch == NULL)
            run_truncate(m, &m->queue[i]);
        else
            m->has_failed = !run_batch(m, m->queue[i].batch);
        if (m->db->n_lanes > 1 && !m->queue[i].is_check)
            m->log[m->n_log++] = m->queue[i];
    }
    m->n_queued = 0;
    *out_as_expected = !m->has_failed;
    if (m->has_failed)
        *out_why = arena_strdup(a, "a batch did not touch the rows it has");
    return NULL;
}

static struct error *op_savepoint(void *self)
{
    struct model_target *m = self;

    TRY(called(m, "savepoint"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    m->db->calls.savepoints++;
    m->has_savepoint = true;
    copy_state(m, &m->saved, &m->working);
    return NULL;
}

static struct error *op_rollback_to_savepoint(void *self)
{
    struct model_target *m = self;

    TRY(called(m, "rollback to savepoint"));
    assert(m->is_open && m->has_savepoint);
    m->has_failed = false;
    m->n_queued = 0;
    copy_state(m, &m->working, &m->saved);
    return NULL;
}

static void remove_blockers(struct model_target *m, const struct target_table *table, const struct value *image,
                            long *at, struct row_result *out)
{
    struct model_rows *t = rows_of(m, table);
    const struct value **removed = (void *)arena_alloc(m->db->arena, (t->n + 1) * sizeof(struct value *));
    const char *constraint;
    long blocker;

    while ((blocker = find_blocker(m, t, table, image, *at, &constraint)) != NOT_FOUND) {
        removed[out->n_removed++] = t->rows[blocker];
        remove_row(t, (size_t)blocker);
        *at -= *at > blocker;
    }
    out->removed = removed;
}

static struct error *op_row(void *self, struct arena *a, const struct row_change *change, enum row_overwrite overwrite,
                            struct row_result *out)
{
    struct model_target *m = self;
    const struct target_table *table = change->table;
    struct model_rows *t = rows_of(m, table);
    long at = change->op == BATCH_INSERT ? NOT_FOUND : find_row(t, table, change->row.key);
    const char *constraint;

    TRY(called(m, "row"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    m->db->calls.rows++;
    m->has_rows = true;
    *out = (struct row_result){.outcome = ROW_DONE};
    if (change->op != BATCH_INSERT && at == NOT_FOUND) {
        out->outcome = ROW_MISSING;
        return NULL;
    }
    if (change->op == BATCH_DELETE) {
        remove_row(t, (size_t)at);
        return NULL;
    }

    const struct value *image = new_image(m, table, at == NOT_FOUND ? NULL : t->rows[at], change->row.row);
    if (is_refused(table_of(m, table), image))
        return error_new(ERROR_DATA, "new row for relation \"%s\" violates check constraint \"no_%s\"",
                         table->relation->name, table_of(m, table)->refused);
    if (overwrite == ROW_OVERWRITE)
        remove_blockers(m, table, image, &at, out);
    long blocker = find_blocker(m, t, table, image, at, &constraint);
    if (blocker != NOT_FOUND) {
        out->outcome = ROW_DUPLICATE;
        out->constraint = arena_strdup(a, constraint);
        out->is_identical = true;
        for (unsigned i = 0; i < MODEL_COLUMNS_MAX; i++)
            out->is_identical = out->is_identical && value_equal(&image[i], &t->rows[blocker][i]);
        return NULL;
    }
    if (at == NOT_FOUND)
        append_row(m, t, image);
    else
        t->rows[at] = image;
    return NULL;
}

static struct error *op_conflict(void *self, const struct conflict *c)
{
    struct model_target *m = self;

    TRY(called(m, "conflict"));
    assert(m->is_open && !m->has_failed && m->working.n_conflicts < CONFLICTS_MAX);
    m->db->conflicts[m->working.n_conflicts++] = (struct model_conflict){
        .oid = c->change.table->relation->oid,
        .kind = c->kind,
        .policy = c->policy,
        .action = c->action,
        .choice = c->choice,
        .xid = c->xid,
        .n_removed = c->n_removed,
    };
    return NULL;
}

static void make_durable(struct model_target *m, bool durable)
{
    m->db->calls.commits++;
    m->db->calls.durable_commits += durable;
    m->db->version++;
    for (unsigned i = 0; i < m->db->n_tables; i++) /* as the server would at COMMIT if we were no replicas */
        assert(!m->db->tables[i].is_deferrable || !has_twins(m, i));
    copy_state(m, &m->db->durable, &m->working);
    m->is_open = false;
}

static struct error *op_commit(void *self, struct apply_position position, bool durable)
{
    struct model_target *m = self;

    TRY(called(m, "commit, before it was done"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    assert(m->begin_version == m->db->version); /* lane 1 is alone */
    for (unsigned i = 0; i < m->db->n_lanes; i++) {
        assert(m->db->positions[i].end.value <= position.end.value);
        m->db->positions[i] = position;
    }
    m->working.position = position;
    make_durable(m, durable);
    if (m->db->committed != NULL)
        m->db->committed(m->db->committed_self, position);
    return called(m, "commit, its answer"); /* (P5) it is done, and nobody knows */
}

/* Small ones only, so that both ways are met. */
static struct error *op_commit_at_once(void *self, struct arena *a, struct apply_position position, bool durable,
                                       enum commit_verdict *out_verdict, const char **out_why)
{
    struct model_target *m = self;
    bool as_expected;

    *out_verdict = COMMIT_NOT_POSSIBLE;
    for (unsigned i = 0; i < m->n_queued; i++)
        if (m->queue[i].batch == NULL || m->n_queued > 3)
            return NULL;
    TRY(op_settle(m, a, &as_expected, out_why));
    *out_verdict = as_expected ? COMMIT_DONE : COMMIT_SURPRISED;
    m->db->calls.commits_at_once += as_expected;
    return as_expected ? op_commit(m, position, durable) : NULL;
}

/* Whether other lanes committed meanwhile must make no difference: the shares do not depend on each other. */
static void do_again(struct model_target *m)
{
    assert(!m->has_rows);
    copy_state(m, &m->working, &m->db->durable);
    for (unsigned i = 0; i < m->n_log; i++)
        assert(m->log[i].batch != NULL && run_batch(m, m->log[i].batch));
}

static struct error *op_commit_lane(void *self, struct apply_position position, bool durable)
{
    struct model_target *m = self;

    TRY(called(m, "commit of a lane, before it was done"));
    assert(m->is_open && !m->has_failed && m->n_queued == 0);
    assert(m->db->positions[m->lane].end.value < position.end.value);
    if (m->begin_version != m->db->version)
        do_again(m);
    m->db->positions[m->lane] = position;
    m->working.position = model_target_lanes_are_apart(m) ? m->db->durable.position : position;
    make_durable(m, durable);
    if (m->db->committed != NULL && !model_target_lanes_are_apart(m))
        m->db->committed(m->db->committed_self, position);
    return called(m, "commit of a lane, its answer");
}

static void op_note_position(void *self, struct apply_position position)
{
    const struct model_target *m = self;

    assert(lsn_equal(m->db->positions[m->lane].end, position.end));
}

static void op_rollback(void *self)
{
    struct model_target *m = self;

    m->is_open = false;
    m->has_savepoint = false;
    m->has_failed = false;
    m->n_queued = 0;
}

struct target model_target(struct model_target *m)
{
    static const struct target_ops ops = {
        .resume = op_resume,
        .table = op_table,
        .begin = op_begin,
        .batch = op_batch,
        .truncate = op_truncate,
        .settle = op_settle,
        .commit_at_once = op_commit_at_once,
        .savepoint = op_savepoint,
        .rollback_to_savepoint = op_rollback_to_savepoint,
        .row = op_row,
        .check = op_check,
        .check_row = op_check_row,
        .doubt = op_doubt,
        .check_doubted = op_check_doubted,
        .conflict = op_conflict,
        .commit = op_commit,
        .begin_lane = op_begin,
        .commit_lane = op_commit_lane,
        .note_position = op_note_position,
        .rollback = op_rollback,
    };

    return (struct target){&ops, m};
}

struct table_resolver model_target_resolver(struct model_target *m)
{
    return (struct table_resolver){.table = op_table, .self = m};
}
