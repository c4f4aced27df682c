/*
 * sync as a whole: random histories of a source, cut into random windows, with faults and deaths at random places and at every
 * place, end as the source ended, and on the way show at each commit what the source was at one commit.
 *
 * Names the invariants A1 A2 P1 P2 P4 P5 G2. PGTIDE_SEED=n runs one history.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "support/engine.h"
#include "support/expect.h"

enum {
    T,    /* id | unique | value | large; key id; in a third of the histories the unique one is deferrable */
    PAIR, /* k1 | value | k2; key (k1, k2) */
    BAG,  /* value | value; no key */
    TABLES,
};

enum { ROWS_MAX = 400, COMMITS_MAX = 40, IDS = 14, HISTORIES = 300, SWEPT_COMMITS = 15, LIVES_MAX = 60, OPEN_MAX = 5 };

struct source_row {
    unsigned f[4]; /* in T, f[1] == 0 is NULL */
};

struct source_table {
    struct source_row rows[ROWS_MAX];
    unsigned n;
};

struct history {
    struct arena *arena;
    uint64_t random;
    uint64_t seed;
    struct script *script;
    const struct stream_relation *relations[TABLES];
    struct source_table tables[TABLES];

    uint32_t running[OPEN_MAX]; /* transaction ids, of which one commits next */
    uint32_t next_xid;
    unsigned n_commits;
    struct lsn ends[COMMITS_MAX + 1];            /* of the n-th commit */
    const char *states[COMMITS_MAX + 1][TABLES]; /* what the source was after it: the judge */
    struct gate gates[TABLES];
    unsigned seen[TABLES]; /* so many commits are in the table's copy */

    struct model_target *target;
    unsigned windows_slow;
    unsigned windows_divided, n_brought_together;
};

static uint64_t next_random(struct history *h)
{
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random;
}

static unsigned below(struct history *h, unsigned n)
{
    return (unsigned)(next_random(h) % n);
}

static bool one_in(struct history *h, unsigned n)
{
    return below(h, n) == 0;
}

/* In `large_kept` the large value is not sent again. */
static const char *row_text(struct history *h, unsigned table, const struct source_row *r, bool large_kept)
{
    switch (table) {
    case T: {
        const char *unique = r->f[1] == 0 ? "~" : arena_printf(h->arena, "u%u", r->f[1]);
        const char *large = large_kept ? "?" : arena_printf(h->arena, "large%u", r->f[3]);

        return arena_printf(h->arena, "%u|%s|%u|%s", r->f[0], unique, r->f[2], large);
    }
    case PAIR:
        return arena_printf(h->arena, "%u|%u|%u", r->f[0], r->f[1], r->f[2]);
    default:
        return arena_printf(h->arena, "%u|%u", r->f[0], r->f[1]);
    }
}

static const char *key_text(struct history *h, unsigned table, const struct source_row *r)
{
    return table == T ? arena_printf(h->arena, "%u", r->f[0]) : arena_printf(h->arena, "%u|~|%u", r->f[0], r->f[2]);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *table_text(struct history *h, unsigned table)
{
    const struct source_table *t = &h->tables[table];
    const char **texts = (void *)arena_alloc(h->arena, (t->n + 1) * sizeof(char *));
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < t->n; i++)
        texts[i] = row_text(h, table, &t->rows[i], false);
    qsort(texts, t->n, sizeof(char *), compare_texts);
    for (unsigned i = 0; i < t->n; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : " ", texts[i]);
    return arena_strdup(h->arena, buffer_text(b));
}

static bool unique_is_free(const struct source_table *t, unsigned unique)
{
    for (unsigned i = 0; i < t->n; i++)
        if (unique != 0 && t->rows[i].f[1] == unique)
            return false;
    return true;
}

static bool key_is_free(const struct source_table *t, unsigned table, const struct source_row *row)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->rows[i].f[0] == row->f[0] && (table == T || t->rows[i].f[2] == row->f[2]))
            return false;
    return true;
}

static void write_insert(struct history *h, unsigned table)
{
    struct source_table *t = &h->tables[table];
    unsigned ids = table == PAIR ? 4 : IDS;
    struct source_row row = {{below(h, ids), below(h, 9), table == PAIR ? below(h, 4) : below(h, 5), below(h, 50)}};

    if (table == BAG)
        row = (struct source_row){{below(h, 3), below(h, 2)}};
    if (t->n == ROWS_MAX || (table != BAG && !key_is_free(t, table, &row)) ||
        (table == T && !unique_is_free(t, row.f[1])))
        return;
    t->rows[t->n++] = row;
    script_insert(h->script, h->relations[table], row_text(h, table, &row, false));
}

static void write_delete(struct history *h, unsigned table, unsigned i)
{
    struct source_table *t = &h->tables[table];
    const struct source_row row = t->rows[i];

    t->rows[i] = t->rows[--t->n];
    if (table == BAG)
        script_delete(h->script, h->relations[table], OLD_FULL, row_text(h, table, &row, false));
    else
        script_delete(h->script, h->relations[table], OLD_KEY, key_text(h, table, &row));
}

static void write_update(struct history *h, unsigned table, unsigned i)
{
    struct source_table *t = &h->tables[table];
    struct source_row old = t->rows[i];
    struct source_row *row = &t->rows[i];
    bool large_kept = table == T && one_in(h, 2);
    unsigned unique = below(h, 9);

    row->f[table == T ? 2 : 1] = below(h, 2) + (table == BAG ? 0 : below(h, 50));
    if (table == T && !large_kept)
        row->f[3] = below(h, 50);
    if (table == T && one_in(h, 3) && unique_is_free(t, unique))
        row->f[1] = unique;
    if (table == BAG)
        script_update(h->script, h->relations[table], OLD_FULL, row_text(h, table, &old, false),
                      row_text(h, table, row, false));
    else
        script_update(h->script, h->relations[table], OLD_ABSENT, NULL, row_text(h, table, row, large_kept));
}

static void write_rekey(struct history *h, unsigned table, unsigned i)
{
    struct source_table *t = &h->tables[table];
    struct source_row old = t->rows[i];
    struct source_row row = old;

    row.f[0] = below(h, table == PAIR ? 4 : IDS);
    if (table == BAG || !key_is_free(t, table, &row))
        return;
    t->rows[i] = row;
    script_update(h->script, h->relations[table], OLD_KEY, key_text(h, table, &old),
                  row_text(h, table, &row, table == T && one_in(h, 2)));
}

static void write_one_column(struct history *h, unsigned i, unsigned unique)
{
    struct source_row *row = &h->tables[T].rows[i];

    row->f[1] = unique;
    script_update(h->script, h->relations[T], OLD_ABSENT, NULL, row_text(h, T, row, true));
}

/* Legal row by row, impossible in one batch (F8). */
static void write_swap(struct history *h)
{
    struct source_table *t = &h->tables[T];

    if (t->n < 2)
        return;
    unsigned first = t->rows[0].f[1], second = t->rows[1].f[1];
    write_one_column(h, 0, 0);
    write_one_column(h, 1, first);
    write_one_column(h, 0, second);
}

/* Legal with a deferrable key: the next row has the value until it gets another one. */
static void write_rotation(struct history *h)
{
    const struct source_table *t = &h->tables[T];
    unsigned first = t->n == 0 ? 0 : t->rows[0].f[1];

    for (unsigned i = 0; i < t->n; i++)
        write_one_column(h, i, i + 1 < t->n ? t->rows[i + 1].f[1] : first);
}

static bool is_deferrable(const struct history *h)
{
    return h->seed % 3 == 0;
}

static void write_truncate(struct history *h)
{
    unsigned first = below(h, TABLES);
    unsigned n = 1 + below(h, TABLES - first);

    script_truncate(h->script, &h->relations[first], n);
    for (unsigned i = 0; i < n; i++)
        h->tables[first + i].n = 0;
}

static void write_something(struct history *h)
{
    unsigned table = below(h, TABLES);
    bool for_lanes = h->seed % 2 == 0; /* half of them: what lanes can divide */
    unsigned what = for_lanes ? 6 + below(h, 66) : below(h, 100);
    unsigned n = h->tables[table].n;

    if (for_lanes && n > 0 && one_in(h, 5))
        what = 99;
    if (is_deferrable(h) && one_in(h, 8))
        write_rotation(h);
    else if (what < 2)
        write_truncate(h);
    else if (what < 6)
        write_swap(h);
    else if (what < 45 || n == 0)
        write_insert(h, table);
    else if (what < 72)
        write_update(h, table, below(h, n));
    else if (what < 85)
        write_rekey(h, table, below(h, n));
    else
        write_delete(h, table, below(h, n));
}

static int compare_xids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* G2: the tables copied now see what is committed now, whatever its transaction id. */
static void copy_tables(struct history *h)
{
    for (unsigned table = 0; table < TABLES; table++) {
        if (h->seen[table] != h->n_commits)
            continue;

        uint64_t *running = arena_alloc(h->arena, OPEN_MAX * sizeof *running);
        for (unsigned i = 0; i < OPEN_MAX; i++)
            running[i] = h->running[i];
        qsort(running, OPEN_MAX, sizeof *running, compare_xids);
        h->gates[table].snapshot =
            (struct snapshot){.xmin = running[0], .xmax = h->next_xid, .running = running, .n_running = OPEN_MAX};
        for (unsigned i = 0; i < h->tables[table].n; i++)
            model_target_put(h->target, table, row_text(h, table, &h->tables[table].rows[i], false));
    }
}

/* The log's position is read some time after the snapshot was taken. */
static void read_positions(struct history *h)
{
    for (unsigned table = 0; table < TABLES; table++)
        if (h->seen[table] + table >= h->n_commits)
            h->gates[table].upto = script_lsn(h->script);
}

static void remember_state(struct history *h)
{
    for (unsigned table = 0; table < TABLES; table++)
        h->states[h->n_commits][table] = table_text(h, table);
    copy_tables(h);
    read_positions(h);
}

/* One of the running transactions commits: not in the order in which they began. */
static void write_transaction(struct history *h)
{
    unsigned which = below(h, OPEN_MAX);
    unsigned n = one_in(h, 8) ? 20 + below(h, 60) : below(h, 6);

    script_begin(h->script, h->running[which]);
    h->running[which] = h->next_xid++;
    for (unsigned i = 0; i < n; i++)
        write_something(h);
    h->ends[++h->n_commits] = script_commit(h->script);
    if (one_in(h, 5))
        script_keepalive(h->script);
    remember_state(h);
}

static void history_make(struct history *h, uint64_t seed, unsigned n_commits)
{
    static const struct model_table defs[TABLES] = {
        [T] = {.oid = T, .name = "t", .mode = TABLE_KEYED, .n_columns = 4, .n_key = 1, .unique = 1, .generated = -1},
        [PAIR] = {.oid = PAIR,
                  .name = "pair",
                  .mode = TABLE_KEYED,
                  .n_columns = 3,
                  .n_key = 2,
                  .key = {0, 2},
                  .unique = -1,
                  .generated = -1},
        [BAG] = {.oid = BAG, .name = "bag", .mode = TABLE_UNKEYED, .n_columns = 2, .unique = -1, .generated = -1},
    };

    *h = (struct history){.arena = arena_new(NULL, "history"), .seed = seed, .random = seed * 0x9E3779B97F4A7C15 + 1};
    h->script = script_new(h->arena);
    h->target = model_target_new(h->arena);
    for (unsigned i = 0; i < TABLES; i++) {
        struct model_table def = defs[i];

        def.gate = &h->gates[i];
        def.is_deferrable = i == T && is_deferrable(h);
        h->seen[i] = below(h, 10);
        model_target_add_table(h->target, def);
        h->relations[i] =
            script_relation(h->script, i, def.name, def.n_columns, i == BAG ? IDENTITY_FULL : IDENTITY_DEFAULT, 1);
    }
    h->next_xid = 100;
    for (unsigned i = 0; i < OPEN_MAX; i++)
        h->running[i] = h->next_xid++;
    remember_state(h);
    while (h->n_commits < n_commits)
        write_transaction(h);
}

/* What the target must be after so many commits: a copied table never goes back to before its copy. */
static const char *expected(const struct history *h, unsigned table, unsigned n_commits)
{
    return h->states[n_commits < h->seen[table] ? h->seen[table] : n_commits][table];
}

/* A1, P1: the rows are those of the source as of the very position that was written with them. */
static void check_commit(void *self, struct apply_position position)
{
    struct history *h = self;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "check");
    unsigned n = 1;

    while (n <= h->n_commits && !lsn_equal(h->ends[n], position.end))
        n++;
    if (n > h->n_commits)
        fail_msg("seed %llu: a position that is no commit's end", (unsigned long long)h->seed);
    assert_int_equal(position.transactions, n);
    for (unsigned table = 0; table < TABLES; table++) {
        const char *is = model_target_rows(a, h->target, table);

        if (strcmp(is, expected(h, table, n)) != 0)
            fail_msg("seed %llu: table %u after commit %u of the source is\n%s\nand should be\n%s",
                     (unsigned long long)h->seed, table, n, is, expected(h, table, n));
    }
}

static void check_end(struct history *h)
{
    const struct model_conflict *conflicts;

    check_commit(h, model_target_position(h->target));
    assert_int_equal(model_target_position(h->target).transactions, h->n_commits);
    assert_int_equal(model_target_conflicts(h->target, &conflicts), 0);
}

static bool is_complete(const struct history *h)
{
    return lsn_equal(model_target_position(h->target).end, h->ends[h->n_commits]);
}

/* Until an error, a sudden death, or the end. */
MUST_USE static struct error *live(struct history *h, struct engine *e)
{
    TRY(engine_resume(e));
    while (!is_complete(h) && !one_in(h, 60)) {
        enum feeder_state state;

        unsigned piece = h->seed % 2 == 0 ? 400 : 60;
        e->reader.visible = e->reader.cursor + below(h, piece); /* the stream comes in pieces */
        TRY(engine_turn(e, 1 + below(h, piece), &state));
        assert_true(apply_upto(e->apply).value >= apply_position(e->apply).end.value); /* P4 */
    }
    return NULL;
}

/* One process: it may get over an error itself, or die of it. */
static void one_life(struct history *h, bool with_faults)
{
    struct fault fault = {0};
    struct engine e;
    struct engine_options options = {.limits = {.lane_rows = 1 + below(h, 4),
                                                .rows = 1 + below(h, h->seed % 2 == 0 ? 300 : 50),
                                                .fold = {.batch_rows = 1 + below(h, 10)}},
                                     .apply = {.pieces_from = 1 + below(h, 10), .piece_changes = 1 + below(h, 6)},
                                     .lanes = below(h, 5),
                                     .fault = &fault};
    bool goes_on = true;

    model_target_crash(h->target);
    model_target_set_fault(h->target, &fault);
    engine_start(&e, h->script, h->target, options);
    while (goes_on) {
        fault = (struct fault){.countdown = with_faults ? 1 + below(h, 300) : 0};
        struct error *err = live(h, &e);

        goes_on = err != NULL && one_in(h, 2);
        if (err != NULL && error_kind(err) != ERROR_TRANSIENT)
            fail_msg("seed %llu: %s", (unsigned long long)h->seed, error_message(err));
        error_free(err);
    }
    h->windows_slow += (unsigned)apply_counters(e.apply).windows_slow;
    h->windows_divided += (unsigned)apply_counters(e.apply).windows_divided;
    h->n_brought_together += e.n_brought_together;
    engine_end(&e);
}

/* How often what is worth testing was met. */
struct tally {
    unsigned windows_slow, windows_divided, n_brought_together;
};

static void run_history(uint64_t seed, struct tally *tally)
{
    struct history h;
    unsigned lives = 0;

    history_make(&h, seed, COMMITS_MAX);
    model_target_on_commit(h.target, check_commit, &h);
    while (!is_complete(&h))
        one_life(&h, lives++ < LIVES_MAX);
    check_end(&h);
    tally->windows_slow += h.windows_slow;
    tally->windows_divided += h.windows_divided;
    tally->n_brought_together += h.n_brought_together;
    arena_free(h.arena);
}

static void random_histories_with_random_deaths_end_as_the_source_did(void **state)
{
    (void)state;
    const char *seed = getenv("PGTIDE_SEED"); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    struct tally tally = {0};

    if (seed != NULL) {
        run_history(strtoull(seed, NULL, 10), &tally);
        return;
    }
    for (uint64_t n = 1; n <= HISTORIES; n++)
        run_history(n, &tally);
    print_message("%u windows slow, %u divided, lanes apart %u times\n", tally.windows_slow, tally.windows_divided,
                  tally.n_brought_together);
    assert_true(tally.windows_slow > HISTORIES);           /* both paths were taken, */
    assert_true(tally.windows_divided > HISTORIES);        /* by several lanes too, */
    assert_true(tally.n_brought_together > HISTORIES / 4); /* and some of them died apart */
}

/* A short history, run once with a fault in the nth call; what is left is done by the same process or by the next one. */
static void run_swept(uint64_t seed, unsigned lanes, unsigned nth, bool dies, bool *out_struck, bool *out_both_paths)
{
    struct fault fault = {.countdown = nth};
    struct engine_options options = {.limits = {.rows = 25, .lane_rows = 1},
                                     .apply = {.pieces_from = 3, .piece_changes = 2},
                                     .lanes = lanes,
                                     .fault = &fault};
    struct history h;
    struct engine e;

    history_make(&h, seed, SWEPT_COMMITS);
    model_target_on_commit(h.target, check_commit, &h);
    model_target_set_fault(h.target, &fault);
    engine_start(&e, h.script, h.target, options);
    struct error *err = engine_run(&e);
    assert_int_equal(err != NULL, fault.struck);
    error_free(err);
    *out_struck = fault.struck;
    *out_both_paths = apply_counters(e.apply).windows_slow > 0 && apply_counters(e.apply).windows_fast > 0 &&
                      (lanes == 1 || apply_counters(e.apply).windows_divided > 0);
    fault.countdown = 0;
    if (dies) {
        engine_end(&e);
        model_target_crash(h.target);
        engine_start(&e, h.script, h.target, options);
    }
    expect_ok(engine_run(&e));
    check_end(&h);
    assert_int_equal(apply_position(e.apply).transactions, SWEPT_COMMITS);
    engine_end(&e);
    arena_free(h.arena);
}

/* Whatever call fails, whenever: the process gets over it, or the next one does. */
static void sweep(uint64_t seed, unsigned lanes, bool dies)
{
    bool struck = true, both_paths = false;
    unsigned nth = 0;

    while (!both_paths)
        run_swept(++seed, lanes, 0, false, &struck, &both_paths);
    do
        run_swept(seed, lanes, ++nth, dies, &struck, &both_paths);
    while (struck);
    assert_true(both_paths);
    assert_true(nth > 100); /* the loop did reach past the last call */
}

static void survives_a_fault_in_any_call(void **state) /* A1 A2 P1 P2 P5 G2 */
{
    (void)state;
    sweep(100, 1, false);
    sweep(100, 3, false);
}

static void survives_dying_at_any_call(void **state) /* A1 A2 P1 P2 P5 G2 */
{
    (void)state;
    sweep(200, 1, true);
    sweep(200, 3, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_with_random_deaths_end_as_the_source_did),
        cmocka_unit_test(survives_a_fault_in_any_call),
        cmocka_unit_test(survives_dying_at_any_call),
    };

    return cmocka_run_group_tests_name("sync/histories", tests, NULL, NULL);
}
