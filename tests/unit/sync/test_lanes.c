/* sync/division, sync/lanes: what goes to which lane, what waits for what, and lanes that died apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/engine.h"
#include "support/expect.h"
#include "support/rows.h"
#include "sync/division.h"

enum { T = 1, U = 2, BAG = 3, LANES = 3, KEYS = 30 };

struct bench {
    struct arena *arena;
    struct script *script;
    struct model_target *target;
    struct engine engine;
    struct engine_options options;
    struct fault fault;
    const struct stream_relation *t;   /* by key */
    const struct stream_relation *u;   /* another unique column: whole */
    const struct stream_relation *bag; /* no key: whole */
};

static void setup(struct bench *b)
{
    const struct model_table tables[] = {
        {.oid = T,
         .name = "t",
         .mode = TABLE_KEYED,
         .n_columns = 2,
         .n_key = 1,
         .unique = -1,
         .generated = -1,
         .refused = "bad"},
        {.oid = U, .name = "u", .mode = TABLE_KEYED, .n_columns = 2, .n_key = 1, .unique = 1, .generated = -1},
        {.oid = BAG, .name = "bag", .mode = TABLE_UNKEYED, .n_columns = 2, .unique = -1, .generated = -1},
    };

    *b = (struct bench){.arena = arena_new(NULL, "test")};
    b->script = script_new(b->arena);
    b->target = model_target_new(b->arena);
    for (unsigned i = 0; i < COUNT_OF(tables); i++)
        model_target_add_table(b->target, tables[i]);
    b->t = script_relation(b->script, T, "t", 2, IDENTITY_DEFAULT, 1);
    b->u = script_relation(b->script, U, "u", 2, IDENTITY_DEFAULT, 1);
    b->bag = script_relation(b->script, BAG, "bag", 2, IDENTITY_FULL, 2);
    b->options = (struct engine_options){.lanes = LANES, .limits = {.lane_rows = 1}};
    model_target_set_fault(b->target, &b->fault);
}

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

static void transaction(struct bench *b, uint32_t xid, const struct stream_relation *r, const char *changes)
{
    script_begin(b->script, xid);
    script_changes(b->script, r, changes);
    script_commit(b->script);
}

static void insert_keys(struct bench *b, uint32_t xid, unsigned from, unsigned n)
{
    script_begin(b->script, xid);
    for (unsigned i = from; i < from + n; i++)
        script_changes(b->script, b->t, arena_printf(b->arena, "I%u|x", i));
    script_commit(b->script);
}

static unsigned divided(const struct bench *b)
{
    return (unsigned)apply_counters(b->engine.apply).windows_divided;
}

/* ---- division ---- */

static struct target_table table_of(const struct stream_relation *r, enum table_mode mode, enum lane_rule rule)
{
    static const uint16_t first[] = {0};

    return (struct target_table){
        .relation = r, .mode = mode, .lane_rule = rule, .n_key = mode == TABLE_KEYED, .key = first};
}

static struct change change_of(struct bench *b, const struct target_table *t, enum batch_op op, const char *key,
                               const char *row)
{
    return (struct change){.table = t,
                           .op = op,
                           .key = key == NULL ? NULL : row_from_text(b->arena, key, 2),
                           .new_row = row == NULL ? NULL : row_from_text(b->arena, row, 2)};
}

static void all_changes_of_a_row_go_to_one_lane_and_rows_spread(void **state)
{
    (void)state;
    struct bench b;
    unsigned used[LANES] = {0};

    setup(&b);
    struct target_table t = table_of(b.t, TABLE_KEYED, LANE_BY_KEY);
    for (unsigned i = 0; i < 300; i++) {
        const char *key = arena_printf(b.arena, "%u", i), *row = arena_printf(b.arena, "%u|x", i);
        const struct change changes[] = {
            change_of(&b, &t, BATCH_INSERT, key, row),
            change_of(&b, &t, BATCH_UPDATE, key, arena_printf(b.arena, "%u|other", i)),
            change_of(&b, &t, BATCH_DELETE, key, NULL),
        };
        unsigned lane = 0, other = 0;

        assert_true(division_lane(b.arena, LANES, &changes[0], &lane));
        assert_in_range(lane, 0, LANES - 1);
        for (unsigned k = 1; k < COUNT_OF(changes); k++) {
            assert_true(division_lane(b.arena, LANES, &changes[k], &other));
            assert_int_equal(other, lane);
        }
        used[lane]++;
    }
    for (unsigned i = 0; i < LANES; i++)
        assert_in_range(used[i], 60, 140);
    teardown(&b);
}

/* It must be so in every life of the process: these lanes are a promise to targets in the field. */
static void the_division_does_not_change_between_versions(void **state)
{
    static const unsigned promised[] = {3, 1, 0, 1, 3, 0, 2, 0};

    (void)state;
    struct bench b;

    setup(&b);
    struct target_table t = table_of(b.t, TABLE_KEYED, LANE_BY_KEY);
    for (unsigned i = 0; i < COUNT_OF(promised); i++) {
        const struct change c = change_of(&b, &t, BATCH_INSERT, arena_printf(b.arena, "%u", i), "x|x");
        unsigned lane = 0;

        assert_true(division_lane(b.arena, 4, &c, &lane));
        assert_int_equal(lane, promised[i]);
    }
    teardown(&b);
}

static void a_key_that_changes_its_lane_is_nobodys(void **state)
{
    (void)state;
    struct bench b;
    unsigned same = 0, other = 0;

    setup(&b);
    struct target_table t = table_of(b.t, TABLE_KEYED, LANE_BY_KEY);
    for (unsigned i = 0; i < 100; i++) {
        const char *to = arena_printf(b.arena, "%u", i);
        const struct change from = change_of(&b, &t, BATCH_DELETE, "k", NULL);
        const struct change arrival = change_of(&b, &t, BATCH_INSERT, to, arena_printf(b.arena, "%s|x", to));
        const struct change rekey = change_of(&b, &t, BATCH_REKEY, "k", arena_printf(b.arena, "%s|x", to));
        unsigned old_lane = 0, new_lane = 0, lane = 0;

        assert_true(division_lane(b.arena, LANES, &from, &old_lane));
        assert_true(division_lane(b.arena, LANES, &arrival, &new_lane));
        assert_int_equal(division_lane(b.arena, LANES, &rekey, &lane), old_lane == new_lane);
        same += old_lane == new_lane;
        other += old_lane != new_lane;
    }
    assert_true(same > 0 && other > 0);
    teardown(&b);
}

static void tables_whose_rows_depend_on_each_other_stay_whole(void **state)
{
    (void)state;
    struct bench b;
    unsigned first = 0, lane = 0;

    setup(&b);
    struct target_table whole = table_of(b.u, TABLE_KEYED, LANE_BY_TABLE),
                        alone = table_of(b.u, TABLE_KEYED, LANE_ALONE);
    struct target_table ddl = table_of(b.bag, TABLE_DDL, LANE_BY_TABLE);
    for (unsigned i = 0; i < 50; i++) {
        const struct change c = change_of(&b, &whole, BATCH_DELETE, arena_printf(b.arena, "%u", i), NULL);

        assert_true(division_lane(b.arena, LANES, &c, i == 0 ? &first : &lane));
        assert_int_equal(i == 0 ? first : lane, first);
    }
    const struct change c = change_of(&b, &alone, BATCH_DELETE, "1", NULL);
    const struct change statement = change_of(&b, &ddl, BATCH_INSERT, NULL, "x|x");
    const struct change truncate = {.truncate = NULL};
    assert_false(division_lane(b.arena, LANES, &c, &lane));
    assert_false(division_lane(b.arena, LANES, &statement, &lane));
    assert_false(division_lane(b.arena, LANES, &truncate, &lane));
    teardown(&b);
}

/* ---- lanes ---- */

static void a_window_is_done_by_all_lanes_and_moves_all_positions(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    start(&b);
    insert_keys(&b, 1, 0, KEYS);
    transaction(&b, 2, b.bag, "I1|a I1|a");
    transaction(&b, 3, b.u, "I1|a U1|b");
    expect_ok(engine_run(&b.engine));
    assert_int_equal(divided(&b), 1);
    assert_int_equal(model_target_calls(b.target).commits, LANES);
    assert_false(model_target_lanes_are_apart(b.target));
    assert_int_equal(apply_position(b.engine.apply).transactions, 3);
    assert_string_equal(model_target_rows(b.arena, b.target, BAG), "1|a 1|a");
    assert_string_equal(model_target_rows(b.arena, b.target, U), "1|b");
    teardown(&b);
}

static void few_changes_are_done_by_one(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    b.options.limits.lane_rows = KEYS + 1;
    start(&b);
    insert_keys(&b, 1, 0, KEYS);
    expect_ok(engine_run(&b.engine));
    assert_int_equal(divided(&b), 0);
    assert_int_equal(model_target_calls(b.target).commits, 1);
    insert_keys(&b, 2, KEYS, KEYS + 1);
    expect_ok(engine_run(&b.engine));
    assert_int_equal(divided(&b), 1);
    teardown(&b);
}

/* A2: nothing of the window is there until it is done again by one lane, which stops at the exact change. */
static void a_surprise_in_one_lane_undoes_all(void **state)
{
    (void)state;
    for (unsigned bad = 0; bad < KEYS; bad += 3) {
        struct bench b;

        setup(&b);
        start(&b);
        insert_keys(&b, 1, 0, KEYS);
        transaction(&b, 2, b.t, arena_printf(b.arena, "U%u|bad", bad));
        insert_keys(&b, 3, KEYS, KEYS);
        expect_error(engine_run(&b.engine), ERROR_DATA, "source transaction 2");
        assert_int_equal(divided(&b), 0);
        assert_int_equal(model_target_position(b.target).transactions, 1);
        assert_null(strstr(model_target_rows(b.arena, b.target, T), "bad"));
        assert_non_null(strstr(model_target_rows(b.arena, b.target, T), "29|x"));
        assert_null(strstr(model_target_rows(b.arena, b.target, T), "30|x"));
        assert_false(model_target_lanes_are_apart(b.target));
        teardown(&b);
    }
}

/* A lock that one lane waits for while its holder waits at the barrier is a transient error: the next try is by one. */
static void what_failed_divided_is_not_divided_again(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    start(&b);
    insert_keys(&b, 1, 0, KEYS);
    expect_ok(engine_resume(&b.engine));
    b.fault.countdown = 5;
    expect_error(engine_turn(&b.engine, UINT32_MAX, &s), ERROR_TRANSIENT, "");
    b.fault.countdown = 0;
    expect_ok(engine_run(&b.engine));
    assert_int_equal(divided(&b), 0);
    insert_keys(&b, 2, KEYS, KEYS);
    expect_ok(engine_run(&b.engine));
    assert_int_equal(divided(&b), 1);
    teardown(&b);
}

/* P1, P5: whichever call fails, between the commits too, every change is there once at the end, with any number of lanes then. */
static void lanes_that_died_apart_are_brought_together(void **state)
{
    (void)state;
    unsigned apart = 0;

    for (unsigned then = 1; then <= 5; then++)
        for (unsigned nth = 1, struck = 1; struck; nth++) {
            struct bench b;

            setup(&b);
            start(&b);
            insert_keys(&b, 1, 0, KEYS);
            transaction(&b, 2, b.t, "U3|y D4 U5|y I100|z D6");
            transaction(&b, 3, b.u, "I1|a I2|b");
            b.fault.countdown = nth;
            error_free(engine_run(&b.engine));
            struck = b.fault.struck;
            b.fault.countdown = 0;
            apart += model_target_lanes_are_apart(b.target);
            model_target_crash(b.target);
            b.options.lanes = then;
            start(&b);
            expect_ok(engine_run(&b.engine));
            assert_false(model_target_lanes_are_apart(b.target));
            assert_int_equal(model_target_position(b.target).transactions, 3);
            const char *rows = model_target_rows(b.arena, b.target, T);
            assert_non_null(strstr(rows, "100|z"));
            assert_non_null(strstr(rows, "3|y"));
            assert_null(strstr(rows, " 4|x"));
            assert_string_equal(model_target_rows(b.arena, b.target, U), "1|a 2|b");
            teardown(&b);
        }
    assert_true(apart > 5);
}

static bool has_row(struct bench *b, const char *row)
{
    const char *all = arena_printf(b->arena, " %s ", model_target_rows(b->arena, b->target, T));

    return strstr(all, arena_printf(b->arena, " %s ", row)) != NULL;
}

/* A row of somebody else's is in the way of what one of them lacks: it stops, and the operator decides about the change. */
static void a_conflict_between_lanes_that_died_apart_is_decided_about(void **state)
{
    static const enum resume_choice choices[] = {RESUME_SKIP_CHANGE, RESUME_OVERWRITE, RESUME_SKIP_TRANSACTION};
    unsigned stopped = 0;

    (void)state;
    for (unsigned nth = 1, struck = 1; struck; nth++) {
        struct bench b;
        unsigned blocked = KEYS;

        setup(&b);
        start(&b);
        insert_keys(&b, 1, 0, KEYS);
        b.fault.countdown = nth;
        error_free(engine_run(&b.engine));
        struck = b.fault.struck;
        b.fault.countdown = 0;
        model_target_crash(b.target);
        for (unsigned i = 0; i < KEYS && model_target_lanes_are_apart(b.target); i++)
            blocked = has_row(&b, arena_printf(b.arena, "%u|x", i)) ? blocked : i;
        if (blocked < KEYS) {
            const char *theirs = arena_printf(b.arena, "%u|theirs", blocked);
            enum resume_choice choice = choices[stopped++ % COUNT_OF(choices)];

            model_target_put(b.target, T, theirs);
            start(&b);
            expect_error(engine_run(&b.engine), ERROR_DATA, "a row is in the way");
            assert_true(b.engine.recovery.is_stopped);
            const struct apply_stop *stop = &b.engine.recovery.stop;
            assert_int_equal(stop->place.ordinal, blocked);
            assert_int_equal(stop->xid, 1);
            const struct apply_decision decision = {stop->place, {.choice = choice}};
            b.options.apply.decisions = (struct decisions){&decision, 1};
            start(&b);
            expect_ok(engine_run(&b.engine));
            assert_false(model_target_lanes_are_apart(b.target));
            assert_int_equal(has_row(&b, theirs), choice != RESUME_OVERWRITE);
            const struct model_conflict *conflicts;
            assert_true(model_target_conflicts(b.target, &conflicts) > 0);
            assert_int_equal(conflicts[0].choice, choice);
        }
        teardown(&b);
    }
    assert_true(stopped >= COUNT_OF(choices));
}

/* Behind by part of a window only, because bringing it together row by row was interrupted: what it has is left out. */
static void a_lane_gets_only_what_it_lacks(void **state)
{
    (void)state;
    struct bench b;
    struct lsn ends[LANES], after_first;
    enum feeder_state s;

    setup(&b);
    script_begin(b.script, 1);
    for (unsigned i = 0; i < KEYS; i++)
        script_changes(b.script, b.t, arena_printf(b.arena, "I%u|x", i));
    after_first = script_commit(b.script);
    transaction(&b, 2, b.t, "U3|y");
    for (unsigned i = 0; i < LANES; i++)
        ends[i] = i == 0 ? LSN_NONE : after_first;

    struct script_reader reader = {.script = b.script, .visible = SIZE_MAX};
    struct feeder *feeder = feeder_new(b.arena, script_decoder(b.script), model_target_resolver(b.target));
    struct window *w = window_new(b.arena, (struct window_limits){.lanes = LANES, .lanes_from = ends});
    feeder_restart(feeder, script_source(&reader), LSN_NONE);
    expect_ok(feeder_step(feeder, w, UINT32_MAX, &s));
    window_close(w);
    const struct window_part part = window_part(w, WINDOW_COMPLETE);
    assert_non_null(part.lane_work);
    assert_non_null(part.lane_work[0]);
    unsigned updates = 0, rows = 0;
    for (unsigned i = 0; i < LANES; i++)
        for (const struct fold_work *work = part.lane_work[i]; work != NULL; work = work->next) {
            if (i > 0)
                assert_int_equal(work->batch->op, BATCH_UPDATE);
            updates += work->batch->op == BATCH_UPDATE;
            rows += work->batch->n_rows;
        }
    assert_true(updates <= 1);
    assert_in_range(rows, 2, KEYS - 2); /* the share of lane 1 and perhaps the one update */
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_changes_of_a_row_go_to_one_lane_and_rows_spread),
        cmocka_unit_test(the_division_does_not_change_between_versions),
        cmocka_unit_test(a_key_that_changes_its_lane_is_nobodys),
        cmocka_unit_test(tables_whose_rows_depend_on_each_other_stay_whole),
        cmocka_unit_test(a_window_is_done_by_all_lanes_and_moves_all_positions),
        cmocka_unit_test(few_changes_are_done_by_one),
        cmocka_unit_test(a_surprise_in_one_lane_undoes_all),
        cmocka_unit_test(what_failed_divided_is_not_divided_again),
        cmocka_unit_test(lanes_that_died_apart_are_brought_together),
        cmocka_unit_test(a_conflict_between_lanes_that_died_apart_is_decided_about),
        cmocka_unit_test(a_lane_gets_only_what_it_lacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
