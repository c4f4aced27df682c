#include "sync/batches.h"

#include <stdlib.h>

#include "sync/change.h"

enum {
    OPEN_MAX = 16,       /* batches that rows are compared with */
    FIRST_CAPACITY = 16, /* of a further batch: a rare signature */
    SORTED_FROM = 64,    /* rows: below it there is nothing to gain */
    RANGE_FROM = 1000,
    RANGE_BYTES = 1024 * 1024, /* of values: they are joined within the server's work_mem, 4 MB where nobody set it */
    RANGE_SPARSE =
        2, /* numbers in a range for each row: measured, three are still a gain, but dead versions count as well */
};

/* VALUE_NULL in a signature: all rows had NULL there so far, so either format may still come. */
struct open_batch {
    struct fold_work work; /* first, so that the list of work is made of these */
    struct batch batch;
    struct open_batch *next;
    struct batch_row *rows;
    unsigned capacity;
    size_t bytes;
    uint8_t *row_states;
    uint8_t *key_states;
};

struct batches {
    struct arena *arena;
    const struct target_table *table;
    enum batch_op op;
    struct fold_limits limits;
    unsigned n_rows;
    unsigned n_key; /* values of a row's key */
    struct open_batch *first, *last;
    struct open_batch *open[OPEN_MAX]; /* the one used last comes first */
    unsigned n_open;
};

struct batches *batches_new(struct arena *a, const struct target_table *table, enum batch_op op,
                            struct fold_limits limits, unsigned n_rows)
{
    struct batches *b = ARENA_NEW(a, struct batches);

    *b = (struct batches){
        .arena = a,
        .table = table,
        .op = op,
        .limits = limits,
        .n_rows = n_rows,
        .n_key = table->mode == TABLE_KEYED ? table->n_key : table->relation->n_columns,
    };
    return b;
}

static inline bool state_fits(enum value_state state, uint8_t signature)
{
    return state == signature || (state == VALUE_NULL && signature != VALUE_UNCHANGED) ||
           (signature == VALUE_NULL && state != VALUE_UNCHANGED);
}

static bool key_fits(const struct batches *b, const struct open_batch *o, const struct value *key)
{
    if (key == NULL)
        return true;
    for (unsigned i = 0; i < b->n_key; i++)
        if (!state_fits(key[i].state, o->key_states[i]))
            return false;
    return true;
}

static bool row_fits(const struct batches *b, const struct open_batch *o, const struct value *row)
{
    if (row == NULL)
        return true;
    for (unsigned i = 0; i < b->table->relation->n_columns; i++)
        if (b->table->is_written[i] && !state_fits(row[i].state, o->row_states[i]))
            return false;
    return true;
}

static size_t take_states(uint8_t *states, const struct value *values, unsigned n)
{
    size_t bytes = 0;

    for (unsigned i = 0; values != NULL && i < n; i++) {
        if (values[i].state != VALUE_NULL)
            states[i] = (uint8_t)values[i].state;
        bytes += values[i].length;
    }
    return bytes;
}

static struct open_batch *open_batch_new(struct batches *b)
{
    struct open_batch *o = ARENA_NEW(b->arena, struct open_batch);
    unsigned expected = b->first == NULL ? b->n_rows : FIRST_CAPACITY;

    o->capacity = expected < b->limits.batch_rows ? expected : b->limits.batch_rows;
    o->rows = (void *)arena_bytes(b->arena, o->capacity * sizeof *o->rows);
    o->row_states = arena_alloc(b->arena, b->table->relation->n_columns);
    o->key_states = arena_alloc(b->arena, b->n_key);
    o->batch = (struct batch){.table = b->table, .op = b->op};
    if (b->last == NULL)
        b->first = o;
    else
        b->last->next = o;
    b->last = o;
    return o;
}

static void move_to_front(struct batches *b, struct open_batch *o, unsigned from)
{
    memmove(&b->open[1], &b->open[0], from * sizeof(struct open_batch *));
    b->open[0] = o;
}

/* An open batch that the row fits, now in front. When too many are open, the one not used for longest stays as it is. */
static struct open_batch *batch_for(struct batches *b, struct batch_row row)
{
    for (unsigned i = 0; i < b->n_open; i++) {
        struct open_batch *o = b->open[i];

        if (!row_fits(b, o, row.row) || !key_fits(b, o, row.key))
            continue;
        if (i > 0)
            move_to_front(b, o, i);
        return o;
    }
    if (b->n_open < OPEN_MAX)
        b->n_open++;

    struct open_batch *o = open_batch_new(b);
    /* The first row decides: its UNCHANGED columns must be in the signature before it is compared with others. */
    move_to_front(b, o, b->n_open - 1);
    return o;
}

static void close_front(struct batches *b)
{
    b->n_open--;
    memmove(&b->open[0], &b->open[1], b->n_open * sizeof(struct open_batch *));
}

void batches_add(struct batches *b, struct batch_row row)
{
    struct open_batch *o = batch_for(b, row);

    if (o->batch.n_rows == o->capacity) {
        struct batch_row *wider = (void *)arena_bytes(b->arena, (size_t)2 * o->capacity * sizeof *wider);

        memcpy(wider, o->rows, o->capacity * sizeof *wider);
        o->rows = wider;
        o->capacity *= 2;
    }
    o->bytes += take_states(o->row_states, row.row, b->table->relation->n_columns);
    o->bytes += take_states(o->key_states, row.key, b->n_key);
    o->rows[o->batch.n_rows++] = row;
    if (o->batch.n_rows >= b->limits.batch_rows || o->bytes >= b->limits.batch_bytes)
        close_front(b);
}

/* ---- the order within a batch ---- */

struct sortable {
    uint64_t begin; /* of the key's bytes: of numbers, which are sent with the highest byte first, enough */
    struct batch_row row;
};

static uint64_t begin_of(const struct value *key, unsigned n_key)
{
    uint64_t begin = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < n_key; i++)
        for (uint32_t at = 0; value_has_bytes(&key[i]) && at < key[i].length && n < sizeof begin; at++, n++)
            begin = begin << 8 | (unsigned char)key[i].bytes[at];
    return n == 0 ? 0 : begin << 8 * (sizeof begin - n);
}

static int compare_begin(const void *left, const void *right)
{
    const struct sortable *l = left, *r = right;

    return (l->begin > r->begin) - (l->begin < r->begin);
}

/*
 * Rows that do not depend on each other may be found in the order of the index: what two of them have in common is in the processor's cache
 * then. It is no more than that, so the order of text, which is the collation's, is left alone.
 */
static bool is_to_sort(const struct batches *b, const struct open_batch *o)
{
    return b->table->mode == TABLE_KEYED && b->table->lane_rule == LANE_BY_KEY && o->batch.n_rows >= SORTED_FROM &&
           (b->op == BATCH_UPDATE || b->op == BATCH_DELETE) && o->key_states[0] == VALUE_BINARY;
}

static void sort_rows(const struct batches *b, struct open_batch *o)
{
    struct sortable *rows = (void *)arena_bytes(b->arena, o->batch.n_rows * sizeof *rows);

    for (unsigned i = 0; i < o->batch.n_rows; i++)
        rows[i] = (struct sortable){.begin = begin_of(o->rows[i].key, b->n_key), .row = o->rows[i]};
    qsort(rows, o->batch.n_rows, sizeof *rows, compare_begin);
    for (unsigned i = 0; i < o->batch.n_rows; i++)
        o->rows[i] = rows[i].row;
}

/* Of sorted rows. Negative numbers are sorted behind the others, so where both are there is no range. */
static bool is_range(const struct batches *b, const struct open_batch *o)
{
    uint32_t type = b->table->relation->columns[b->table->key[0]].type;
    const struct value *ends[] = {&o->rows[0].key[0], &o->rows[o->batch.n_rows - 1].key[0]};

    if (b->n_key != 1 || !change_is_integer(type) || o->batch.n_rows < RANGE_FROM || o->bytes > RANGE_BYTES)
        return false;
    if (ends[0]->state != VALUE_BINARY || ends[1]->state != VALUE_BINARY)
        return false;
    int64_t first = change_integer(ends[0]), last = change_integer(ends[1]);
    return (first < 0) == (last < 0) && (uint64_t)(last - first) < (uint64_t)RANGE_SPARSE * o->batch.n_rows;
}

const struct fold_work **batches_append(const struct batches *b, const struct fold_work **end)
{
    for (struct open_batch *o = b->first; o != NULL; o = o->next) {
        if (is_to_sort(b, o)) {
            sort_rows(b, o);
            o->batch.is_range = is_range(b, o);
        }
        o->batch.rows = o->rows;
        o->work = (struct fold_work){.batch = &o->batch};
        *end = &o->work;
        end = &o->work.next;
    }
    return end;
}
