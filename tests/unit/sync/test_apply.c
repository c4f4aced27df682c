/* sync/apply, sync/exact: both paths, every shape of a window, every cell of the policy table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/engine.h"
#include "support/expect.h"
#include "support/rows.h"

enum { T = 1, BAG = 2, FULL = 3, LOG = 4, LATE = 5 };

struct bench {
    struct arena *arena;
    struct script *script;
    struct model_target *target;
    struct engine engine;
    struct engine_options options;
    const struct stream_relation *t;    /* key a, unique b, c; refuses the value "bad" */
    const struct stream_relation *bag;  /* no key */
    const struct stream_relation *full; /* key a, replica identity full */
    const struct stream_relation *log;  /* no identity */
    const struct stream_relation *late; /* key a, unique b that is deferrable, c */
};

static void setup(struct bench *b)
{
    const struct model_table tables[] = {
        {.oid = T,
         .name = "t",
         .mode = TABLE_KEYED,
         .n_columns = 3,
         .n_key = 1,
         .unique = 1,
         .generated = -1,
         .refused = "bad"},
        {.oid = BAG, .name = "bag", .mode = TABLE_UNKEYED, .n_columns = 2, .unique = -1, .generated = -1},
        {.oid = FULL, .name = "full", .mode = TABLE_KEYED, .n_columns = 3, .n_key = 1, .unique = -1, .generated = -1},
        {.oid = LOG, .name = "log", .mode = TABLE_INSERTS, .n_columns = 1, .unique = -1, .generated = -1},
        {.oid = LATE,
         .name = "late",
         .mode = TABLE_KEYED,
         .n_columns = 3,
         .n_key = 1,
         .unique = 1,
         .is_deferrable = true,
         .generated = -1},
    };

    *b = (struct bench){.arena = arena_new(NULL, "test")};
    b->script = script_new(b->arena);
    b->target = model_target_new(b->arena);
    for (unsigned i = 0; i < COUNT_OF(tables); i++)
        model_target_add_table(b->target, tables[i]);
    b->t = script_relation(b->script, T, "t", 3, IDENTITY_DEFAULT, 1);
    b->bag = script_relation(b->script, BAG, "bag", 2, IDENTITY_FULL, 2);
    b->full = script_relation(b->script, FULL, "full", 3, IDENTITY_FULL, 3);
    b->log = script_relation(b->script, LOG, "log", 1, IDENTITY_NOTHING, 0);
    b->late = script_relation(b->script, LATE, "late", 3, IDENTITY_DEFAULT, 1);
}

/* The next life of the process. */
static void start(struct bench *b)
{
    engine_end(&b->engine);
    engine_start(&b->engine, b->script, b->target, b->options);
}

static void teardown(struct bench *b)
{
    engine_end(&b->engine);
    arena_free(b->arena);
}

static struct lsn transaction(struct bench *b, uint32_t xid, const struct stream_relation *r, const char *changes)
{
    script_begin(b->script, xid);
    script_changes(b->script, r, changes);
    return script_commit(b->script);
}

static const char *rows(struct bench *b, uint32_t oid)
{
    return model_target_rows(b->arena, b->target, oid);
}

static struct model_calls calls(struct bench *b)
{
    return model_target_calls(b->target);
}

/* P1: one target transaction for many of the source, with the position of the last. */
static void a_window_is_one_target_transaction_with_its_position(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.t, "I1|u1|x I2|u2|x");
    transaction(&b, 2, b.t, "U1|u1|y D2");
    struct lsn end = transaction(&b, 3, b.bag, "I1|a I1|a E1|a");
    expect_ok(engine_run(&b.engine));

    assert_string_equal(rows(&b, T), "1|u1|y");
    assert_string_equal(rows(&b, BAG), "1|a");
    assert_int_equal(model_target_position(b.target).end.value, end.value);
    assert_int_equal(model_target_position(b.target).transactions, 3);
    assert_int_equal(apply_position(b.engine.apply).committed_us, model_target_position(b.target).committed_us);
    assert_int_equal(calls(&b).commits, 1);
    assert_int_equal(calls(&b).rows, 0);
    assert_int_equal(calls(&b).commits_at_once, 1);
    const struct apply_counters n = apply_counters(b.engine.apply);
    assert_int_equal(n.transactions, 3);
    assert_int_equal(n.rows, 7);
    assert_int_equal(n.windows_fast, 1);
    assert_int_equal(n.windows_slow, 0);
    teardown(&b);
}

static void transactions_without_changes_move_the_position_too(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    script_begin(b.script, 1);
    struct lsn end = script_commit(b.script);
    expect_ok(engine_run(&b.engine));
    assert_int_equal(model_target_position(b.target).end.value, end.value);
    assert_int_equal(model_target_position(b.target).transactions, 1);
    teardown(&b);
}

/* A1: large transactions are committed whole, and what is before them without them. */
static void a_transaction_larger_than_a_window_is_one_target_transaction(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.limits.rows = 4;
    start(&b);
    struct lsn first = transaction(&b, 1, b.t, "I1|u1|x I2|u2|x");
    transaction(&b, 2, b.t, "U1|u1|a U2|u2|a I3|u3|a I4|u4|a U1|u1|b U2|u2|b U3|u3|b U4|u4|b D1 D2 D3");
    struct lsn last = transaction(&b, 3, b.t, "U4|u4|c");

    enum feeder_state s;
    expect_ok(engine_resume(&b.engine));
    expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_int_equal(s, FEEDER_FULL);
    assert_true(apply_is_open(b.engine.apply));
    assert_int_equal(model_target_position(b.target).end.value, first.value);
    assert_string_equal(rows(&b, T), "1|u1|x 2|u2|x");
    expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_true(apply_is_open(b.engine.apply));
    assert_string_equal(rows(&b, T), "1|u1|x 2|u2|x");
    while (s == FEEDER_FULL)
        expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_false(apply_is_open(b.engine.apply));
    assert_string_equal(rows(&b, T), "4|u4|c");
    assert_int_equal(model_target_position(b.target).end.value, last.value);
    assert_int_equal(model_target_position(b.target).transactions, 3);
    assert_int_equal(apply_counters(b.engine.apply).rows, 14);
    assert_int_equal(apply_counters(b.engine.apply).windows_slow, 0);
    assert_true(calls(&b).savepoints > 0);
    teardown(&b);
}

/* Every way in which transactions can be cut into windows gives the same rows. */
static void the_size_of_windows_does_not_matter(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit < 30; limit++) {
        struct bench b;

        setup(&b);
        b.options.limits.rows = limit;
        start(&b);
        transaction(&b, 1, b.t, "I1|u1|x I2|u2|x I3|u3|x");
        transaction(&b, 2, b.t, "K1>5|u1|x U2|u2|y");
        transaction(&b, 3, b.bag, "I1|a I1|a F1|a>1|b");
        transaction(&b, 4, b.t, "T I7|u7|x K7>8|u7|x I7|u9|x D8");
        transaction(&b, 5, b.t, "U7|u7|z");
        expect_ok(engine_run(&b.engine));
        assert_string_equal(rows(&b, T), "7|u7|z");
        assert_string_equal(rows(&b, BAG), "1|a 1|b");
        assert_int_equal(model_target_position(b.target).transactions, 5);
        assert_int_equal(apply_counters(b.engine.apply).windows_slow, 0);
        teardown(&b);
    }
}

/* F8: a batch cannot swap two unique values, the rows one by one can. */
static void a_swap_of_unique_values_takes_the_exact_path(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.t, "I1|a|x I2|b|x");
    transaction(&b, 2, b.bag, "I1|a");
    transaction(&b, 3, b.t, "U1|tmp|x U2|a|x U1|b|x");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, T), "1|b|x 2|a|x");
    assert_int_equal(apply_counters(b.engine.apply).windows_slow, 0); /* folded into the INSERTs: nothing to swap */
    transaction(&b, 4, b.t, "U1|tmp|x U2|b|x U1|a|x");
    transaction(&b, 5, b.bag, "I2|b");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, T), "1|a|x 2|b|x");
    assert_string_equal(rows(&b, BAG), "1|a 2|b");
    const struct apply_counters n = apply_counters(b.engine.apply);
    assert_int_equal(n.windows_slow, 1);
    assert_int_equal(n.conflicts, 0);
    assert_int_equal(n.transactions, 5);
    assert_non_null(apply_why_slow(b.engine.apply));
    assert_int_equal(calls(&b).commits, 3); /* exact: each source transaction in one of its own */
    teardown(&b);
}

static void only_the_piece_with_the_surprise_is_done_row_by_row(void **state)
{
    enum { PIECE = 10, ROWS = 95 };
    (void)state;
    for (unsigned bad = 1; bad <= ROWS; bad += 7) {
        struct bench b;

        setup(&b);
        b.options.apply =
            (struct apply_options){.pieces_from = 20, .piece_changes = PIECE, .on_conflict = CONFLICT_OVERWRITE};
        model_target_put(b.target, T, arena_printf(b.arena, "%u|theirs|x", bad));
        start(&b);
        script_begin(b.script, 1);
        for (unsigned i = 1; i <= ROWS; i++)
            script_changes(b.script, b.t, arena_printf(b.arena, "I%u|u%u|x", i, i));
        script_commit(b.script);
        expect_ok(engine_run(&b.engine));
        assert_null(strstr(rows(&b, T), "theirs"));
        assert_non_null(strstr(rows(&b, T), "95|u95|x"));
        assert_in_range(calls(&b).rows, 1, PIECE + 1); /* and once more, overwriting */
        assert_int_equal(calls(&b).commits, 1);
        assert_int_equal(apply_counters(b.engine.apply).conflicts, 1);
        assert_int_equal(apply_counters(b.engine.apply).rows, ROWS);
        teardown(&b);
    }
}

static void a_surprise_inside_a_large_transaction_goes_back_to_the_savepoint_only(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.limits.rows = 4;
    start(&b);
    transaction(&b, 1, b.t, "I1|a|x I2|b|x");
    expect_ok(engine_run(&b.engine));
    script_begin(b.script, 2);
    script_changes(b.script, b.bag, "I1|a I2|a I3|a I4|a");
    script_changes(b.script, b.t, "U1|tmp|x U2|a|x U1|b|x");
    script_changes(b.script, b.bag, "I5|a E1|a E2|a E3|a E4|a");
    script_commit(b.script);
    struct lsn end = transaction(&b, 3, b.t, "U1|b|y");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, T), "1|b|y 2|a|x");
    assert_string_equal(rows(&b, BAG), "5|a");
    assert_int_equal(model_target_position(b.target).end.value, end.value);
    assert_int_equal(model_target_position(b.target).transactions, 3);
    assert_int_equal(apply_counters(b.engine.apply).windows_slow, 1);
    assert_int_equal(calls(&b).rows, 4); /* only what came after the savepoint */
    teardown(&b);
}

/* A1, A2: the good ones before it are there, nothing of the bad one is, and the error says which and why. */
static void an_error_stops_at_the_exact_transaction(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.t, "I1|u1|x");
    struct lsn end = transaction(&b, 2, b.t, "I2|u2|x");
    transaction(&b, 3, b.t, "I3|u3|x I4|u4|bad");
    transaction(&b, 4, b.t, "I5|u5|x");

    expect_ok(engine_resume(&b.engine));
    enum feeder_state s;
    struct error *err = engine_turn(&b.engine, UINT32_MAX, &s);
    assert_non_null(err);
    assert_int_equal(error_kind(err), ERROR_DATA);
    static const char *const said[] = {"source transaction 3, committed at 0/", "nothing of it was applied",
                                       "INSERT of table \"public.t\", key (a) = (4)", "check constraint \"no_bad\""};
    for (unsigned i = 0; i < COUNT_OF(said); i++)
        assert_non_null(strstr(error_message(err), said[i]));
    error_free(err);
    assert_string_equal(rows(&b, T), "1|u1|x 2|u2|x");
    assert_int_equal(model_target_position(b.target).end.value, end.value);
    assert_false(model_target_is_open(b.target));
    assert_false(apply_is_open(b.engine.apply));

    expect_error(engine_turn(&b.engine, UINT32_MAX, &s), ERROR_BUG, "before the position was asked for");
    expect_error(engine_run(&b.engine), ERROR_DATA, "source transaction 3"); /* again, and again without harm */
    assert_string_equal(rows(&b, T), "1|u1|x 2|u2|x");
    teardown(&b);
}

/* A2 */
static void an_error_at_the_end_of_a_large_transaction_undoes_all_of_it(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.limits.rows = 3;
    start(&b);
    transaction(&b, 1, b.t, "I1|u1|x");
    transaction(&b, 2, b.t, "I2|u2|x I3|u3|x I4|u4|x I5|u5|x I6|u6|x I7|u7|x I8|u8|bad");
    expect_error(engine_run(&b.engine), ERROR_DATA, "source transaction 2");
    assert_string_equal(rows(&b, T), "1|u1|x");
    assert_int_equal(model_target_position(b.target).transactions, 1);
    teardown(&b);
}

static void what_can_never_be_applied_stops_with_its_reason(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.log, "Ia Ib");
    transaction(&b, 2, b.log, "Da");
    struct error *err = engine_run(&b.engine);
    assert_non_null(err);
    assert_non_null(strstr(error_hint_text(err), "REPLICA IDENTITY FULL"));
    expect_error(err, ERROR_DATA, "DELETE of table \"public.log\": the table has no replica identity");
    assert_string_equal(rows(&b, LOG), "a b");
    teardown(&b);
}

static void long_and_binary_keys_are_shown_short_and_in_hexadecimal(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.t, "U#01ff|u|x");
    expect_error(engine_run(&b.engine), ERROR_DATA, "key (a) = (\\x01ff): there is no such row on the target");
    teardown(&b);

    setup(&b);
    start(&b);
    char key[201] = {0};
    memset(key, 'k', 200);
    transaction(&b, 1, b.t, arena_printf(b.arena, "D%s U%s|u|x", key, key));
    expect_error(engine_run(&b.engine), ERROR_DATA, "kkkk... (200 bytes))");
    teardown(&b);
}

struct cell {
    const char *on_target;
    const char *change;
    enum conflict_policy policy;
    const char *rows; /* afterwards; NULL: the task stops */
    int kind;         /* of the conflict recorded; -1: none */
    enum conflict_action action;
    unsigned n_removed;
};

/* SPEC, section 6, and A4: what a policy decides is in the log. */
static const struct cell policy_table[] = {
    /* clang-format off */
    /* INSERT, key exists */
    {"1|u|old", "I1|v|new", CONFLICT_ERROR,     NULL,      -1, 0, 0},
    {"1|u|old", "I1|v|new", CONFLICT_IGNORE,    "1|u|old", CONFLICT_INSERT_DUPLICATE, CONFLICT_SKIPPED, 0},
    {"1|u|old", "I1|v|new", CONFLICT_OVERWRITE, "1|v|new", CONFLICT_INSERT_DUPLICATE, CONFLICT_REPLACED, 1},
    /* INSERT, another unique key exists */
    {"2|u|old", "I1|u|new", CONFLICT_ERROR,     NULL,      -1, 0, 0},
    {"2|u|old", "I1|u|new", CONFLICT_IGNORE,    "2|u|old", CONFLICT_INSERT_DUPLICATE, CONFLICT_SKIPPED, 0},
    {"2|u|old", "I1|u|new", CONFLICT_OVERWRITE, "1|u|new", CONFLICT_INSERT_DUPLICATE, CONFLICT_REPLACED, 1},
    /* INSERT, both, of two rows */
    {"1|v|old 2|u|old", "I1|u|new", CONFLICT_OVERWRITE, "1|u|new", CONFLICT_INSERT_DUPLICATE, CONFLICT_REPLACED, 2},
    /* INSERT of a row that is there already */
    {"1|u|new", "I1|u|new", CONFLICT_ERROR,     NULL,      -1, 0, 0},
    {"1|u|new", "I1|u|new", CONFLICT_IGNORE,    "1|u|new", -1, 0, 0},
    {"1|u|new", "I1|u|new", CONFLICT_OVERWRITE, "1|u|new", -1, 0, 0},
    /* UPDATE that hits another row's unique key */
    {"1|v|old 2|u|old", "U1|u|new", CONFLICT_ERROR,     NULL,              -1, 0, 0},
    {"1|v|old 2|u|old", "U1|u|new", CONFLICT_IGNORE,    "1|v|old 2|u|old", CONFLICT_UPDATE_DUPLICATE, CONFLICT_SKIPPED, 0},
    {"1|v|old 2|u|old", "U1|u|new", CONFLICT_OVERWRITE, "1|u|new",         CONFLICT_UPDATE_DUPLICATE, CONFLICT_REPLACED, 1},
    /* so with a change of key */
    {"1|v|old 2|u|old", "K1>2|v|new", CONFLICT_ERROR,     NULL,              -1, 0, 0},
    {"1|v|old 2|u|old", "K1>2|v|new", CONFLICT_IGNORE,    "1|v|old 2|u|old", CONFLICT_UPDATE_DUPLICATE, CONFLICT_SKIPPED, 0},
    {"1|v|old 2|u|old", "K1>2|v|new", CONFLICT_OVERWRITE, "2|v|new",         CONFLICT_UPDATE_DUPLICATE, CONFLICT_REPLACED, 1},
    /* UPDATE, row missing */
    {"2|u|old", "U1|v|new", CONFLICT_ERROR,     NULL,              -1, 0, 0},
    {"2|u|old", "U1|v|new", CONFLICT_IGNORE,    "2|u|old",         CONFLICT_UPDATE_MISSING, CONFLICT_SKIPPED, 0},
    {"2|u|old", "U1|v|new", CONFLICT_OVERWRITE, "1|v|new 2|u|old", CONFLICT_UPDATE_MISSING, CONFLICT_INSERTED, 0},
    {"2|u|old", "K3>1|v|new", CONFLICT_ERROR,     NULL,              -1, 0, 0},
    {"2|u|old", "K3>1|v|new", CONFLICT_IGNORE,    "2|u|old",         CONFLICT_UPDATE_MISSING, CONFLICT_SKIPPED, 0},
    {"2|u|old", "K3>1|v|new", CONFLICT_OVERWRITE, "1|v|new 2|u|old", CONFLICT_UPDATE_MISSING, CONFLICT_INSERTED, 0},
    /* and what would be inserted is blocked, or was not sent whole */
    {"2|u|old", "U1|u|new", CONFLICT_OVERWRITE, "1|u|new", CONFLICT_UPDATE_MISSING, CONFLICT_INSERTED, 1},
    {"2|u|old", "U1|v|?", CONFLICT_OVERWRITE, NULL, -1, 0, 0},
    /* DELETE, row missing */
    {"2|u|old", "D1", CONFLICT_ERROR,     "2|u|old", CONFLICT_DELETE_MISSING, CONFLICT_SKIPPED, 0},
    {"2|u|old", "D1", CONFLICT_IGNORE,    "2|u|old", CONFLICT_DELETE_MISSING, CONFLICT_SKIPPED, 0},
    {"2|u|old", "D1", CONFLICT_OVERWRITE, "2|u|old", CONFLICT_DELETE_MISSING, CONFLICT_SKIPPED, 0},
    /* clang-format on */
};

/* With a deferrable key what is in the way of it is found later than what is in the way of the other: one more conflict. */
static void check_conflict(struct bench *b, const struct cell *cell, uint32_t table)
{
    const struct model_conflict *conflicts;
    unsigned n = model_target_conflicts(b->target, &conflicts);
    bool is_two = table == LATE && (cell->n_removed == 2 || (cell->action == CONFLICT_INSERTED && cell->n_removed > 0));

    assert_int_equal(n, cell->kind == -1 ? 0 : is_two ? 2 : 1);
    assert_int_equal(apply_counters(b->engine.apply).conflicts, n);
    if (cell->kind == -1)
        return;
    assert_int_equal(conflicts[0].kind, cell->kind);
    assert_int_equal(conflicts[0].policy, cell->policy);
    assert_int_equal(conflicts[0].action, cell->action);
    assert_int_equal(conflicts[0].n_removed + (is_two ? conflicts[1].n_removed : 0), cell->n_removed);
    assert_int_equal(conflicts[0].xid, 77);
    assert_int_equal(conflicts[0].oid, table);
}

static void check_cell(const struct cell *cell, uint32_t table)
{
    struct bench b;

    setup(&b);
    b.options.apply.on_conflict = cell->policy;
    char *put = arena_strdup(b.arena, cell->on_target), *rest;
    for (char *row = strtok_r(put, " ", &rest); row != NULL; row = strtok_r(NULL, " ", &rest))
        model_target_put(b.target, table, row);
    start(&b);
    transaction(&b, 77, table == T ? b.t : b.late, cell->change);
    if (cell->rows == NULL) {
        expect_error(engine_run(&b.engine), ERROR_DATA, "source transaction 77");
        assert_string_equal(rows(&b, table), cell->on_target);
    } else {
        expect_ok(engine_run(&b.engine));
        assert_string_equal(rows(&b, table), cell->rows);
    }
    check_conflict(&b, cell, table);
    teardown(&b);
}

static void the_policy_table_holds_cell_by_cell(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(policy_table); i++) {
        check_cell(&policy_table[i], T);
        check_cell(&policy_table[i], LATE);
    }
}

/* What a source may do with deferrable keys within a transaction is no conflict, wherever windows end. */
static void deferrable_keys_count_at_the_end_of_a_transaction(void **state)
{
    (void)state;
    for (unsigned rows_a_window = 1; rows_a_window <= 9; rows_a_window++) {
        struct bench b;

        setup(&b);
        b.options.limits.rows = rows_a_window;
        start(&b);
        transaction(&b, 1, b.late, "I1|a|x I2|b|x I3|c|x");
        expect_ok(engine_run(&b.engine));
        transaction(&b, 2, b.late, "U1|b|x U2|c|x U3|d|x"); /* all one on */
        transaction(&b, 3, b.late, "U1|d|y U3|b|y");        /* a swap */
        transaction(&b, 4, b.late, "I4|d|z U1|a|z");        /* its value while it still has it */
        expect_ok(engine_run(&b.engine));
        assert_string_equal(rows(&b, LATE), "1|a|z 2|c|x 3|b|y 4|d|z");
        assert_int_equal(apply_counters(b.engine.apply).windows_slow, 0);
        assert_int_equal(apply_counters(b.engine.apply).conflicts, 0);
        assert_true(calls(&b).checks > 0);
        teardown(&b);
    }
}

/* A row of somebody else's is met among many of the transaction's; the last that wrote the row is the change that is meant. */
static void a_deferrable_key_that_is_taken_is_a_conflict_of_the_last_change(void **state)
{
    static const struct {
        enum conflict_policy policy;
        const char *rows;
    } cases[] = {
        {CONFLICT_ERROR, "1|a|x 2|b|x 3|c|x 9|d|theirs"},
        {CONFLICT_IGNORE, "1|b|x 2|c|x 3|b2|x 9|d|theirs"}, /* 3 keeps what it had before the change that is left out */
        {CONFLICT_OVERWRITE, "1|b|x 2|c|x 3|d|y"},
    };

    (void)state;
    for (unsigned pieces_from = 1; pieces_from <= 100; pieces_from += 99)
        for (unsigned i = 0; i < COUNT_OF(cases); i++) {
            struct bench b;

            setup(&b);
            b.options.apply.on_conflict = cases[i].policy;
            b.options.apply.pieces_from = pieces_from;
            b.options.apply.piece_changes = 2;
            start(&b);
            transaction(&b, 1, b.late, "I1|a|x I2|b|x I3|c|x");
            expect_ok(engine_run(&b.engine));
            model_target_put(b.target, LATE, "9|d|theirs");
            transaction(&b, 2, b.late, "U1|b|x U2|c|x U3|b2|x U3|d|y");
            if (cases[i].policy == CONFLICT_ERROR) {
                expect_error(engine_run(&b.engine), ERROR_DATA, "by constraint \"deferrable\"");
                assert_int_equal(apply_stopped(b.engine.apply)->place.ordinal, 3);
            } else {
                expect_ok(engine_run(&b.engine));
                assert_int_equal(apply_counters(b.engine.apply).conflicts, 1);
            }
            assert_string_equal(rows(&b, LATE), cases[i].rows);
            teardown(&b);
        }
}

/*
 * What came in parts is read again as a whole. In a transaction larger than a window only what is at hand at its end can be decided
 * about; nothing goes unnoticed.
 */
static void a_deferrable_key_taken_early_in_a_large_transaction_stops_it(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.limits.rows = 2;
    model_target_put(b.target, LATE, "9|b|theirs");
    start(&b);
    transaction(&b, 1, b.late, "I1|a|x I2|b|x I3|c|x I4|d|x I5|e|x I6|f|x");
    expect_error(engine_run(&b.engine), ERROR_TRANSIENT, "is read again as a whole: at its end a value is there twice");
    expect_error(engine_run(&b.engine), ERROR_DATA, "at its end a value is there twice");
    assert_string_equal(rows(&b, LATE), "9|b|theirs");
    const struct apply_decision decision = {apply_stopped(b.engine.apply)->place, {.choice = RESUME_SKIP_TRANSACTION}};
    b.options.apply.decisions = (struct decisions){&decision, 1};
    start(&b);
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, LATE), "9|b|theirs");
    teardown(&b);
}

static void a_missing_row_is_rebuilt_from_the_old_one_where_that_was_sent(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.apply.on_conflict = CONFLICT_OVERWRITE;
    start(&b);
    transaction(&b, 1, b.full, "F1|x|large>1|y|?");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, FULL), "1|y|large");
    teardown(&b);
}

struct asked {
    struct arena *arena;
    const char *answer; /* NULL: the row is gone */
    unsigned n;
    char key;
};

static struct error *answer(void *self, struct arena *a, const struct row_change *change, const struct value **out_row)
{
    struct asked *asked = self;

    asked->n++;
    asked->key = change->row.key[0].bytes[0];
    *out_row = asked->answer == NULL ? NULL : row_from_text(a, asked->answer, 3);
    return NULL;
}

/* What the stream did not send is fetched from the source, by the row's new key. */
static void a_missing_row_is_completed_from_the_source(void **state)
{
    static const struct {
        const char *change;
        const char *answer;
        const char *rows;
        char key;
        enum conflict_action action;
    } cases[] = {
        {"U1|v|?", "#31|#77|large", "1|v|large", '1', CONFLICT_INSERTED},
        {"K1>2|v|?", "2|v|large", "2|v|large", '2', CONFLICT_INSERTED},
        {"U1|v|?", NULL, "", '1', CONFLICT_SKIPPED},
    };

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct bench b;
        struct asked asked = {.answer = cases[i].answer};
        const struct model_conflict *conflicts;

        setup(&b);
        b.options.apply.on_conflict = CONFLICT_OVERWRITE;
        b.options.apply.source = (struct source_rows){.fetch = answer, .self = &asked};
        start(&b);
        transaction(&b, 1, b.t, cases[i].change);
        expect_ok(engine_run(&b.engine));
        assert_string_equal(rows(&b, T), cases[i].rows);
        assert_int_equal(asked.n, 1);
        assert_int_equal(asked.key, cases[i].key);
        assert_int_equal(model_target_conflicts(b.target, &conflicts), 1);
        assert_int_equal(conflicts[0].kind, CONFLICT_UPDATE_MISSING);
        assert_int_equal(conflicts[0].action, cases[i].action);
        teardown(&b);
    }
}

/* The operator's decisions: each concerns one change of one transaction, wherever windows end. */
static void a_stopped_change_is_decided_about(void **state)
{
    static const struct {
        enum resume_choice choices[2]; /* about changes 2 and 5 of transaction 2 */
        const char *rows;              /* NULL: still stopped */
        unsigned n_conflicts;
    } cases[] = {
        {{RESUME_AS_IS, RESUME_AS_IS}, NULL, 0},
        {{RESUME_SKIP_CHANGE, RESUME_AS_IS}, NULL, 0},
        {{RESUME_SKIP_CHANGE, RESUME_SKIP_CHANGE}, "1|u1|old 3|u3|x 4|u4|x 6|u6|x 9|u9|x", 2},
        {{RESUME_OVERWRITE, RESUME_SKIP_CHANGE}, "1|u5|x 3|u3|x 4|u4|x 6|u6|x 9|u9|x", 2},
        {{RESUME_SKIP_TRANSACTION, RESUME_AS_IS}, "1|u1|old 9|u9|x", 6},
    };

    (void)state;
    for (unsigned rows_a_window = 1; rows_a_window <= 8; rows_a_window++)
        for (unsigned i = 0; i < COUNT_OF(cases); i++) {
            struct bench b;
            const struct model_conflict *conflicts;

            setup(&b);
            b.options.limits.rows = rows_a_window;
            model_target_put(b.target, T, "1|u1|old");
            start(&b);
            transaction(&b, 1, b.bag, "I1|a");
            transaction(&b, 2, b.t, "I3|u3|x I4|u4|x I1|u5|x I6|u6|x U6|u6|x I7|u7|bad");
            transaction(&b, 3, b.t, "I9|u9|x");
            expect_error(engine_run(&b.engine), ERROR_DATA, "key (a) = (1)");
            const struct apply_stop *stop = apply_stopped(b.engine.apply);
            assert_non_null(stop);
            assert_int_equal(stop->place.ordinal, 2);
            assert_int_equal(stop->xid, 2);
            assert_string_equal(stop->statement,
                                "INSERT of table \"public.t\", key (a) = (1), new row (a, b, c) = (1, u5, x)");

            struct apply_decision decisions[] = {{stop->place, {.choice = cases[i].choices[0]}},
                                                 {stop->place, {.choice = cases[i].choices[1]}}};
            decisions[1].place.ordinal = 5;
            b.options.apply.decisions = (struct decisions){decisions, cases[i].choices[1] == RESUME_AS_IS ? 1 : 2};
            start(&b);
            if (cases[i].rows == NULL) {
                expect_error(engine_run(&b.engine), ERROR_DATA, "source transaction 2");
                assert_string_equal(rows(&b, T), "1|u1|old");
            } else {
                expect_ok(engine_run(&b.engine));
                assert_string_equal(rows(&b, T), cases[i].rows);
                assert_null(apply_stopped(b.engine.apply));
            }
            assert_int_equal(model_target_conflicts(b.target, &conflicts), cases[i].n_conflicts);
            assert_string_equal(rows(&b, BAG), "1|a");
            teardown(&b);
        }
}

/* What was in the way was taken away after the decision: it is carried out all the same, though the change would go through. */
static void a_decision_holds_when_its_cause_is_gone(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    model_target_put(b.target, T, "1|u1|old");
    start(&b);
    transaction(&b, 1, b.t, "I1|u5|x I2|u2|x");
    expect_error(engine_run(&b.engine), ERROR_DATA, "key (a) = (1)");
    const struct apply_decision decision = {apply_stopped(b.engine.apply)->place, {.choice = RESUME_SKIP_CHANGE}};
    teardown(&b);

    setup(&b); /* the same source, and a target without that row */
    b.options.apply.decisions = (struct decisions){&decision, 1};
    start(&b);
    transaction(&b, 1, b.t, "I1|u5|x I2|u2|x");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, T), "2|u2|x");
    teardown(&b);
}

/* A TRUNCATE that was skipped is recorded for each of its tables. */
static void a_truncate_can_be_skipped(void **state)
{
    (void)state;
    struct bench b;
    const struct model_conflict *conflicts;

    setup(&b);
    model_target_put(b.target, T, "1|u1|old");
    start(&b);
    script_begin(b.script, 1);
    const struct stream_relation *both[] = {b.t, b.bag};
    script_truncate(b.script, both, 2);
    script_changes(b.script, b.log, "Dx");
    script_commit(b.script);
    expect_error(engine_run(&b.engine), ERROR_DATA, "no replica identity");
    const struct apply_decision decision = {apply_stopped(b.engine.apply)->place, {.choice = RESUME_SKIP_TRANSACTION}};
    b.options.apply.decisions = (struct decisions){&decision, 1};
    start(&b);
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, T), "1|u1|old");
    assert_int_equal(model_target_conflicts(b.target, &conflicts), 3);
    assert_int_equal(conflicts[1].oid, BAG);
    assert_int_equal(conflicts[1].choice, RESUME_SKIP_TRANSACTION);
    teardown(&b);
}

/* A4: the record of a decision is there if and only if its effect is. */
static void a_decision_that_is_rolled_back_leaves_no_record(void **state)
{
    (void)state;
    struct bench b;
    const struct model_conflict *conflicts;

    setup(&b);
    b.options.apply.on_conflict = CONFLICT_IGNORE;
    start(&b);
    transaction(&b, 1, b.t, "D1");
    transaction(&b, 2, b.t, "D2 I3|u|bad");
    expect_error(engine_run(&b.engine), ERROR_DATA, "no_bad");
    assert_int_equal(model_target_conflicts(b.target, &conflicts), 1);
    assert_int_equal(conflicts[0].xid, 1);
    assert_int_equal(apply_counters(b.engine.apply).conflicts, 1);
    teardown(&b);
}

/* P5: the answer to COMMIT was lost; only the target knows that it was done. */
static void a_commit_whose_answer_was_lost_is_not_done_again(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    transaction(&b, 1, b.bag, "I1|a");
    struct fault fault = {.countdown = 1};
    expect_ok(engine_resume(&b.engine));
    fault.countdown = 5; /* begin, batch, settle, commit, its answer */
    model_target_set_fault(b.target, &fault);
    enum feeder_state s;
    fault.countdown++; /* the table is looked up first */
    expect_error(engine_turn(&b.engine, UINT32_MAX, &s), ERROR_TRANSIENT, "commit, its answer");
    assert_int_equal(apply_counters(b.engine.apply).transactions, 0);
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, BAG), "1|a");
    assert_int_equal(apply_position(b.engine.apply).transactions, 1);
    teardown(&b);
}

/* P4 */
static void a_keepalive_is_shown_and_never_stored(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    struct lsn end = transaction(&b, 1, b.bag, "I1|a");
    struct lsn quiet = script_keepalive(b.script);
    expect_ok(engine_run(&b.engine));
    assert_int_equal(apply_upto(b.engine.apply).value, quiet.value);
    assert_int_equal(apply_position(b.engine.apply).end.value, end.value);
    assert_int_equal(model_target_position(b.target).end.value, end.value);
    assert_int_equal(calls(&b).commits, 1);
    quiet = script_keepalive(b.script);
    enum feeder_state s;
    expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_int_equal(apply_upto(b.engine.apply).value, quiet.value);
    assert_int_equal(calls(&b).commits, 1);
    start(&b);
    expect_ok(engine_resume(&b.engine));
    assert_int_equal(b.engine.resumed.end.value, end.value);
    teardown(&b);
}

struct heard {
    struct bench *b;
    char texts[200];
};

/* What was heard, and how many transactions were committed by then. */
static void hear(void *self, const struct window_message *m)
{
    struct heard *h = self;
    size_t used = strlen(h->texts);

    snprintf(h->texts + used, sizeof h->texts - used, "%s@%d ", m->content,
             (int)model_target_position(h->b->target).transactions);
}

static void messages_are_heard_when_everything_before_them_is_committed(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit < 12; limit++) {
        struct bench b;
        struct heard heard = {.b = &b};

        setup(&b);
        b.options.limits.rows = limit;
        b.options.apply.message = hear;
        b.options.apply.self = &heard;
        start(&b);
        script_message(b.script, false, "pgtide", "first");
        script_begin(b.script, 1);
        script_changes(b.script, b.bag, "I1|a I2|a I3|a");
        script_message(b.script, true, "pgtide", "large");
        script_changes(b.script, b.bag, "I4|a I5|a I6|a");
        script_commit(b.script);
        script_message(b.script, false, "pgtide", "between");
        script_begin(b.script, 2);
        script_message(b.script, true, "pgtide", "marker");
        script_commit(b.script);
        expect_ok(engine_run(&b.engine));
        assert_non_null(strstr(heard.texts, "first@0 large@"));
        assert_null(strstr(heard.texts, "large@0"));
        assert_null(strstr(heard.texts, "between@0"));
        assert_non_null(strstr(heard.texts, "marker@2 "));
        heard.texts[0] = '\0';
        start(&b);
        expect_ok(engine_run(&b.engine));
        assert_string_equal(heard.texts, "first@2 large@2 between@2 marker@2 ");
        teardown(&b);
    }
}

static void only_the_last_commit_of_a_window_waits_for_the_disk(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    model_target_put(b.target, T, "9|u|x");
    b.options.apply.on_conflict = CONFLICT_IGNORE;
    start(&b);
    transaction(&b, 1, b.t, "I1|a|x");
    transaction(&b, 2, b.t, "I9|b|x");
    transaction(&b, 3, b.t, "I3|c|x");
    expect_ok(engine_resume(&b.engine));
    struct window *w = b.engine.windows[0];
    expect_ok(feeder_step(b.engine.feeder, w, UINT32_MAX, &s));
    expect_ok(apply_window(b.engine.apply, w, true));
    assert_int_equal(calls(&b).commits, 3);
    assert_int_equal(calls(&b).durable_commits, 1);
    teardown(&b);
}

static void windows_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    b.options.limits.rows = 2;
    start(&b);
    transaction(&b, 1, b.bag, "I1|a I2|a I3|a I4|a");
    expect_ok(engine_resume(&b.engine));
    expect_ok(feeder_step(b.engine.feeder, b.engine.windows[0], UINT32_MAX, &s));
    expect_ok(feeder_step(b.engine.feeder, b.engine.windows[1], UINT32_MAX, &s));
    expect_error(apply_window(b.engine.apply, b.engine.windows[1], false), ERROR_BUG, "begins inside a transaction");

    expect_ok(engine_resume(&b.engine));
    expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_true(apply_is_open(b.engine.apply));
    window_reset(b.engine.windows[0]);
    window_begin(b.engine.windows[0], 2, (struct lsn){1}, 0, false);
    expect_error(apply_window(b.engine.apply, b.engine.windows[0], false), ERROR_BUG, "does not go on with");
    assert_false(model_target_is_open(b.target));
    teardown(&b);
}

static void stopping_inside_a_transaction_leaves_nothing_of_it(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    b.options.limits.rows = 2;
    start(&b);
    transaction(&b, 1, b.bag, "I1|a I2|a I3|a I4|a");
    expect_ok(engine_resume(&b.engine));
    expect_ok(engine_turn(&b.engine, UINT32_MAX, &s));
    assert_true(model_target_is_open(b.target));
    apply_abandon(b.engine.apply);
    assert_false(model_target_is_open(b.target));
    assert_string_equal(rows(&b, BAG), "");
    expect_ok(engine_run(&b.engine));
    assert_string_equal(rows(&b, BAG), "1|a 2|a 3|a 4|a");
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_is_one_target_transaction_with_its_position),
        cmocka_unit_test(transactions_without_changes_move_the_position_too),
        cmocka_unit_test(a_transaction_larger_than_a_window_is_one_target_transaction),
        cmocka_unit_test(the_size_of_windows_does_not_matter),
        cmocka_unit_test(a_swap_of_unique_values_takes_the_exact_path),
        cmocka_unit_test(only_the_piece_with_the_surprise_is_done_row_by_row),
        cmocka_unit_test(a_surprise_inside_a_large_transaction_goes_back_to_the_savepoint_only),
        cmocka_unit_test(an_error_stops_at_the_exact_transaction),
        cmocka_unit_test(an_error_at_the_end_of_a_large_transaction_undoes_all_of_it),
        cmocka_unit_test(what_can_never_be_applied_stops_with_its_reason),
        cmocka_unit_test(long_and_binary_keys_are_shown_short_and_in_hexadecimal),
        cmocka_unit_test(the_policy_table_holds_cell_by_cell),
        cmocka_unit_test(deferrable_keys_count_at_the_end_of_a_transaction),
        cmocka_unit_test(a_deferrable_key_that_is_taken_is_a_conflict_of_the_last_change),
        cmocka_unit_test(a_deferrable_key_taken_early_in_a_large_transaction_stops_it),
        cmocka_unit_test(a_missing_row_is_rebuilt_from_the_old_one_where_that_was_sent),
        cmocka_unit_test(a_decision_that_is_rolled_back_leaves_no_record),
        cmocka_unit_test(a_missing_row_is_completed_from_the_source),
        cmocka_unit_test(a_stopped_change_is_decided_about),
        cmocka_unit_test(a_decision_holds_when_its_cause_is_gone),
        cmocka_unit_test(a_truncate_can_be_skipped),
        cmocka_unit_test(a_commit_whose_answer_was_lost_is_not_done_again),
        cmocka_unit_test(a_keepalive_is_shown_and_never_stored),
        cmocka_unit_test(messages_are_heard_when_everything_before_them_is_committed),
        cmocka_unit_test(only_the_last_commit_of_a_window_waits_for_the_disk),
        cmocka_unit_test(windows_that_do_not_fit_together_are_refused),
        cmocka_unit_test(stopping_inside_a_transaction_leaves_nothing_of_it),
    };

    return cmocka_run_group_tests_name("sync/apply", tests, NULL, NULL);
}
