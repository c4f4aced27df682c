#include "sync/fold.h"

#include "base/hash.h"
#include "sync/batches.h"
#include "sync/keymap.h"

/* What is left of a row's changes. */
enum net_state {
    NET_NOTHING, /* inserted and deleted */
    NET_INSERT,
    NET_UPDATE,
    NET_DELETE,
    NET_REPLACE, /* deleted, then inserted: both are done, in that order */
    NET_REKEY,   /* its key is the old one */
    NET_ARRIVAL, /* the new key of a rekey: keeps others away, is no work */
    NET_IMPOSSIBLE,
    NET_STATE_COUNT,
};

struct net {
    struct net *next;
    struct run *run;
    const struct value *key;
    const struct value *row;
    enum net_state state;
};

struct run {
    struct run *next; /* of all, in the order in which they were opened */
    const struct target_table *table;
    const struct change_truncate *truncate; /* a step of its own instead of rows */
    struct net *first, *last;
    unsigned n_rows;
    bool has_had[NET_STATE_COUNT]; /* spares looking for what never was */
    bool is_indexed;               /* its rows are found by their keys; until then it has nothing but inserts */
};

/* A table of the source, whatever its version. */
struct fold_table {
    uint32_t oid;
    const struct target_table *table; /* of the version seen last */
    struct run *open;                 /* NULL: none */
};

struct fold {
    struct arena *arena;
    struct fold_limits limits;
    struct keymap tables; /* struct fold_table by oid */
    struct keymap rows;   /* struct net by oid and key; one whose run is closed means nothing */
    struct fold_table *latest;
    struct run *first, *last;
    const char *reason;
};

struct fold *fold_new(struct arena *a, struct fold_limits limits)
{
    struct fold *f = ARENA_NEW(a, struct fold);

    f->arena = a;
    f->limits = limits;
    return f;
}

static struct fold_table *find_table(struct fold *f, const struct target_table *table)
{
    uint32_t oid = table->relation->oid;
    uint64_t hash = hash_bytes(&oid, sizeof oid, 0);
    struct keymap_slot *slot;

    keymap_reserve(&f->tables, f->arena, 1);
    for (slot = keymap_first(&f->tables, hash); slot->item != NULL; slot = keymap_next(&f->tables, slot)) {
        struct fold_table *t = slot->item;

        if (t->oid == oid)
            return t;
    }
    struct fold_table *t = ARENA_NEW(f->arena, struct fold_table);
    t->oid = oid;
    t->table = table;
    keymap_put(&f->tables, slot, hash, t);
    return t;
}

/* The table of a change. Another version of it has other columns: what came before must be written before. */
static struct fold_table *table_of(struct fold *f, const struct target_table *table)
{
    if (f->latest == NULL || f->latest->table != table)
        f->latest = find_table(f, table);
    if (f->latest->table != table) {
        f->latest->table = table;
        f->latest->open = NULL;
    }
    return f->latest;
}

static struct run *append_run(struct fold *f, const struct target_table *table, const struct change_truncate *truncate)
{
    struct run *r = ARENA_NEW(f->arena, struct run);

    r->table = table;
    r->truncate = truncate;
    if (f->last == NULL)
        f->first = r;
    else
        f->last->next = r;
    f->last = r;
    return r;
}

static struct net *append_net(struct fold *f, struct fold_table *t, enum net_state state, const struct value *key,
                              const struct value *row)
{
    if (t->open == NULL)
        t->open = append_run(f, t->table, NULL);

    struct run *r = t->open;
    struct net *n = (void *)arena_bytes(f->arena, sizeof *n);
    *n = (struct net){.run = r, .key = key, .row = row, .state = state};
    if (r->last == NULL)
        r->first = n;
    else
        r->last->next = n;
    r->last = n;
    r->n_rows++;
    r->has_had[state] = true;
    r->is_indexed = r->is_indexed || state != NET_INSERT;
    return n;
}

static uint64_t hash_key(uint32_t oid, const struct value *key, unsigned n)
{
    uint64_t hash = oid;

    for (unsigned i = 0; i < n; i++)
        hash = hash_bytes(key[i].bytes, value_has_bytes(&key[i]) ? key[i].length : 0,
                          hash ^ ((uint64_t)key[i].state << 32 | key[i].length));
    return hash;
}

static bool keys_equal(const struct value *a, const struct value *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!value_equal(&a[i], &b[i]))
            return false;
    return true;
}

/* Where the key is, or the free slot where it belongs. An item of another version is never compared: its run is closed. */
static struct keymap_slot *find_slot(const struct fold *f, const struct fold_table *t, uint64_t hash,
                                     const struct value *key)
{
    struct keymap_slot *slot = keymap_first(&f->rows, hash);

    for (; slot->item != NULL; slot = keymap_next(&f->rows, slot)) {
        const struct net *n = slot->item;

        if (slot->hash == hash && n->run->table == t->table && keys_equal(n->key, key, t->table->n_key))
            break;
    }
    return slot;
}

/* The net change that the slot holds, if it can still be added to. */
static struct net *live_net(const struct fold_table *t, const struct keymap_slot *slot)
{
    struct net *n = slot->item;

    return n != NULL && n->run == t->open ? n : NULL;
}

static const struct value *merge_rows(struct arena *a, const struct value *earlier, const struct value *later,
                                      unsigned n)
{
    struct value *merged = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (later[i].state != VALUE_UNCHANGED)
            continue;
        if (merged == NULL)
            merged = memcpy(arena_bytes(a, n * sizeof *merged), later, n * sizeof *merged);
        merged[i] = earlier[i];
    }
    return merged == NULL ? later : merged;
}

enum { FOLDED_OPS = BATCH_DELETE + 1 };

static const enum net_state first_state[FOLDED_OPS] = {
    [BATCH_INSERT] = NET_INSERT,
    [BATCH_UPDATE] = NET_UPDATE,
    [BATCH_REKEY] = NET_REKEY,
    [BATCH_DELETE] = NET_DELETE,
};

/* What a row's net change and one more change make together. Rekeys never get here: they close the run. */
static const enum net_state next_state[NET_STATE_COUNT][FOLDED_OPS] = {
    /* clang-format off */
    /*               INSERT          UPDATE          REKEY           DELETE */
    [NET_NOTHING] = {NET_INSERT,     NET_IMPOSSIBLE, NET_IMPOSSIBLE, NET_IMPOSSIBLE},
    [NET_INSERT]  = {NET_IMPOSSIBLE, NET_INSERT,     NET_IMPOSSIBLE, NET_NOTHING},
    [NET_UPDATE]  = {NET_IMPOSSIBLE, NET_UPDATE,     NET_IMPOSSIBLE, NET_DELETE},
    [NET_DELETE]  = {NET_REPLACE,    NET_IMPOSSIBLE, NET_IMPOSSIBLE, NET_IMPOSSIBLE},
    [NET_REPLACE] = {NET_IMPOSSIBLE, NET_REPLACE,    NET_IMPOSSIBLE, NET_DELETE},
    /* clang-format on */
};

static void fold_again(struct fold *f, struct net *n, const struct change *c)
{
    enum net_state next = next_state[n->state][c->op];

    if (next == NET_IMPOSSIBLE) {
        f->reason =
            arena_printf(f->arena, "%s does not fit what came before for the same row", change_describe(f->arena, c));
        return;
    }
    if (c->op == BATCH_UPDATE)
        n->row = merge_rows(f->arena, n->row, c->new_row, c->table->relation->n_columns);
    else
        n->row = c->new_row;
    n->state = next;
    n->run->has_had[next] = true;
}

static void fold_rekey(struct fold *f, struct fold_table *t, const struct change *c)
{
    unsigned n_key = c->table->n_key;
    const struct value *new_key = change_key_of(f->arena, c->table, c->new_row);
    uint64_t old_hash = hash_key(t->oid, c->key, n_key);
    uint64_t new_hash = hash_key(t->oid, new_key, n_key);

    if (live_net(t, find_slot(f, t, old_hash, c->key)) != NULL ||
        live_net(t, find_slot(f, t, new_hash, new_key)) != NULL)
        t->open = NULL;

    struct net *n = append_net(f, t, NET_REKEY, c->key, c->new_row);
    keymap_put(&f->rows, find_slot(f, t, old_hash, c->key), old_hash, n);
    n = append_net(f, t, NET_ARRIVAL, new_key, NULL);
    keymap_put(&f->rows, find_slot(f, t, new_hash, new_key), new_hash, n);
}

/*
 * What a source inserts has different keys until it updates or deletes: a load of nothing but inserts, the most there is of rows, need not
 * be looked through. Should two be the same after all, the target refuses them and the exact path says so.
 */
static bool is_one_more_insert(const struct fold_table *t, const struct change *c)
{
    return c->op == BATCH_INSERT && (t->open == NULL || !t->open->is_indexed);
}

/* Something else comes: now each row must be found. */
static void index_run(struct fold *f, const struct fold_table *t)
{
    struct run *r = t->open;

    if (r == NULL || r->is_indexed)
        return;
    keymap_reserve(&f->rows, f->arena, r->n_rows);
    for (struct net *n = r->first; n != NULL; n = n->next) {
        uint64_t hash = hash_key(t->oid, n->key, t->table->n_key);

        keymap_put(&f->rows, find_slot(f, t, hash, n->key), hash, n);
    }
    r->is_indexed = true;
}

static void fold_keyed(struct fold *f, struct fold_table *t, const struct change *c)
{
    if (is_one_more_insert(t, c)) {
        append_net(f, t, NET_INSERT, c->key, c->new_row);
        return;
    }
    index_run(f, t);
    keymap_reserve(&f->rows, f->arena, 2);
    if (c->op == BATCH_REKEY) {
        fold_rekey(f, t, c);
        return;
    }

    uint64_t hash = hash_key(t->oid, c->key, c->table->n_key);
    struct keymap_slot *slot = find_slot(f, t, hash, c->key);
    struct net *n = live_net(t, slot);

    if (n != NULL && (n->state == NET_REKEY || n->state == NET_ARRIVAL)) {
        t->open = NULL;
        n = NULL;
    }
    if (n != NULL)
        fold_again(f, n, c);
    else
        keymap_put(&f->rows, slot, hash, append_net(f, t, first_state[c->op], c->key, c->new_row));
}

/* Without a key nothing can be said about two rows: inserts go together, all else alone and in order. */
static void fold_unkeyed(struct fold *f, struct fold_table *t, const struct change *c)
{
    if (c->op != BATCH_INSERT)
        t->open = NULL;
    append_net(f, t, first_state[c->op], c->key, c->new_row);
    if (c->op != BATCH_INSERT)
        t->open = NULL;
}

static void fold_truncate(struct fold *f, const struct change *c)
{
    append_run(f, NULL, c->truncate);
    for (unsigned i = 0; i < c->truncate->n_tables; i++)
        table_of(f, c->truncate->tables[i])->open = NULL;
}

void fold_change(struct fold *f, const struct change *c)
{
    if (f->reason != NULL)
        return;
    if (c->refusal != NULL) {
        f->reason = arena_printf(f->arena, "%s: %s", change_describe(f->arena, c), c->refusal);
        return;
    }
    if (c->table != NULL && c->table->mode == TABLE_DDL) {
        f->reason = "a statement of the source's is run";
        return;
    }
    if (c->table == NULL) {
        fold_truncate(f, c);
        return;
    }

    struct fold_table *t = table_of(f, c->table);
    if (c->table->mode == TABLE_KEYED)
        fold_keyed(f, t, c);
    else
        fold_unkeyed(f, t, c);
}

static const bool is_written_by[BATCH_OP_COUNT][NET_STATE_COUNT] = {
    [BATCH_INSERT] = {[NET_INSERT] = true, [NET_REPLACE] = true},
    [BATCH_UPDATE] = {[NET_UPDATE] = true},
    [BATCH_REKEY] = {[NET_REKEY] = true},
    [BATCH_DELETE] = {[NET_DELETE] = true, [NET_REPLACE] = true},
};

static bool may_have(const struct run *r, enum batch_op op)
{
    for (unsigned state = 0; state < NET_STATE_COUNT; state++)
        if (r->has_had[state] && is_written_by[op][state])
            return true;
    return false;
}

static const struct fold_work **append_batches(struct fold *f, const struct run *r, enum batch_op op,
                                               const struct fold_work **end)
{
    struct batches *b = NULL;

    if (!may_have(r, op))
        return end;
    for (const struct net *n = r->first; n != NULL; n = n->next) {
        if (!is_written_by[op][n->state])
            continue;
        if (b == NULL)
            b = batches_new(f->arena, r->table, op, f->limits, r->n_rows);
        batches_add(b, (struct batch_row){
                           .key = op == BATCH_INSERT ? NULL : n->key,
                           .row = op == BATCH_DELETE ? NULL : n->row,
                       });
    }
    return b == NULL ? end : batches_append(b, end);
}

/* Deletes make room for inserts; between them the keys are all different, so the rest is free. */
static const enum batch_op order_in_run[] = {BATCH_DELETE, BATCH_UPDATE, BATCH_REKEY, BATCH_INSERT};

const struct fold_work *fold_finish(struct fold *f, const char **out_reason)
{
    const struct fold_work *first = NULL;
    const struct fold_work **end = &first;

    *out_reason = f->reason;
    if (f->reason != NULL)
        return NULL;
    for (const struct run *r = f->first; r != NULL; r = r->next) {
        if (r->truncate != NULL) {
            struct fold_work *w = ARENA_NEW(f->arena, struct fold_work);

            w->truncate = r->truncate;
            *end = w;
            end = &w->next;
            continue;
        }
        for (unsigned i = 0; i < COUNT_OF(order_in_run); i++)
            end = append_batches(f, r, order_in_run[i], end);
    }
    return first;
}
