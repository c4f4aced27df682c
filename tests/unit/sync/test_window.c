/* sync/window, sync/fold, sync/batches: many changes made few, and never too few. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/engine.h"
#include "support/expect.h"
#include "support/work_text.h"

enum { T = 1, PAIR = 2, BAG = 3, LOG = 4, FOREIGN = 5, COMPUTED = 6 };

struct bench {
    struct arena *arena;
    struct script *script;
    struct model_target *target;
    struct feeder *feeder;
    struct window *window;
    struct script_reader reader;
    const struct stream_relation *t;        /* key a; b, c */
    const struct stream_relation *pair;     /* key (a, c), which do not stand together; b */
    const struct stream_relation *bag;      /* no key, identity full */
    const struct stream_relation *log;      /* no identity */
    const struct stream_relation *foreign;  /* not part of the task */
    const struct stream_relation *computed; /* key a; b is computed by the target */
};

static void add_tables(struct bench *b)
{
    const struct model_table tables[] = {
        {.oid = T, .name = "t", .mode = TABLE_KEYED, .n_columns = 3, .n_key = 1, .unique = -1, .generated = -1},
        {.oid = PAIR,
         .name = "pair",
         .mode = TABLE_KEYED,
         .n_columns = 3,
         .n_key = 2,
         .key = {0, 2},
         .unique = -1,
         .generated = -1},
        {.oid = BAG, .name = "bag", .mode = TABLE_UNKEYED, .n_columns = 2, .unique = -1, .generated = -1},
        {.oid = LOG, .name = "log", .mode = TABLE_INSERTS, .n_columns = 2, .unique = -1, .generated = -1},
        {.oid = FOREIGN, .name = "foreign", .mode = TABLE_IGNORED, .n_columns = 2, .unique = -1, .generated = -1},
        {.oid = COMPUTED,
         .name = "computed",
         .mode = TABLE_KEYED,
         .n_columns = 3,
         .n_key = 1,
         .unique = -1,
         .generated = 1},
    };

    for (unsigned i = 0; i < COUNT_OF(tables); i++)
        model_target_add_table(b->target, tables[i]);
}

static void setup(struct bench *b, struct window_limits limits)
{
    *b = (struct bench){.arena = arena_new(NULL, "test")};
    b->script = script_new(b->arena);
    b->target = model_target_new(b->arena);
    add_tables(b);
    b->feeder = feeder_new(b->arena, script_decoder(b->script), model_target_resolver(b->target));
    b->window = window_new(b->arena, limits);
    b->t = script_relation(b->script, T, "t", 3, IDENTITY_DEFAULT, 1);
    b->pair = script_relation(b->script, PAIR, "pair", 3, IDENTITY_DEFAULT, 1);
    b->bag = script_relation(b->script, BAG, "bag", 2, IDENTITY_FULL, 2);
    b->log = script_relation(b->script, LOG, "log", 2, IDENTITY_NOTHING, 0);
    b->foreign = script_relation(b->script, FOREIGN, "foreign", 2, IDENTITY_DEFAULT, 1);
    b->computed = script_relation(b->script, COMPUTED, "computed", 3, IDENTITY_DEFAULT, 1);
    b->reader = (struct script_reader){.script = b->script, .visible = SIZE_MAX};
    feeder_restart(b->feeder, script_source(&b->reader), LSN_NONE);
}

static void teardown(struct bench *b)
{
    arena_free(b->arena);
}

/* Reads what the script has, or what fits, into a fresh window and closes it. */
static enum feeder_state fill(struct bench *b)
{
    enum feeder_state state;

    window_reset(b->window);
    expect_ok(feeder_step(b->feeder, b->window, UINT32_MAX, &state));
    window_close(b->window);
    return state;
}

static void one_transaction(struct bench *b, const struct stream_relation *r, const char *changes)
{
    script_begin(b->script, 100);
    script_changes(b->script, r, changes);
    script_commit(b->script);
}

static const char *work(struct bench *b)
{
    return work_text(b->arena, b->window, WINDOW_COMPLETE);
}

static const char *reason(struct bench *b)
{
    return window_part(b->window, WINDOW_COMPLETE).exact_reason;
}

static void changes_of_one_row_become_one(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        const char *work; /* NULL: only the exact path */
    } rules[] = {
        {"I1|a|x U1|b|x", "t.insert(1|b|x)"},
        {"I1|a|x U1|b|?", "t.insert(1|b|x)"},
        {"I1|a|x U1|b|? U1|?|z", "t.insert(1|b|z)"},
        {"I1|a|x D1", ""},
        {"I1|a|x D1 I1|c|y", "t.insert(1|c|y)"},
        {"I1|a|x D1 I1|c|y D1", ""},
        {"U1|a|x U1|b|y", "t.update(1|b|y)"},
        {"U1|a|x U1|b|?", "t.update(1|b|x)"},
        {"U1|a|? U1|b|?", "t.update(1|b|?)"},
        {"U1|a|? U1|b|y", "t.update(1|b|y)"},
        {"U1|a|x D1", "t.delete(1)"},
        {"D1 I1|a|x", "t.delete(1) t.insert(1|a|x)"},
        {"D1 I1|a|x U1|b|?", "t.delete(1) t.insert(1|b|x)"},
        {"D1 I1|a|x D1", "t.delete(1)"},
        {"D1 I1|a|x D1 I1|b|y", "t.delete(1) t.insert(1|b|y)"},
        {"I1|a|x I2|a|x D1", "t.insert(2|a|x)"},
        {"I1|a|x I2|b|y U2|c|? D1 I1|d|z I3|e|w", "t.insert(1|d|z 2|c|y 3|e|w)"},
        {"I1|a|x I1|b|y", "t.insert(1|a|x 1|b|y)"}, /* cannot be; the target says so */
        {"U1|a|x I1|b|y", NULL},
        {"D1 U1|a|x", NULL},
        {"D1 D1", NULL},
        {"I1|a|x D1 D1", NULL},
        {"I1|a|x D1 U1|b|y", NULL},
        {"D1 I1|a|x I1|b|y", NULL},
    };

    for (unsigned i = 0; i < COUNT_OF(rules); i++) {
        struct bench b;

        setup(&b, (struct window_limits){0});
        one_transaction(&b, b.t, rules[i].changes);
        assert_int_equal(fill(&b), FEEDER_IDLE);
        if (rules[i].work == NULL)
            assert_non_null(reason(&b));
        else
            assert_string_equal(work(&b), rules[i].work);
        teardown(&b);
    }
}

static void a_changed_key_keeps_its_place_in_the_order(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        const char *work;
    } rules[] = {
        {"K1>2|b|x", "t.rekey(1>2|b|x)"},
        /* keys that nobody else touches share a run, whatever their order */
        {"K1>2|b|x I3|c|y D4", "t.delete(4) t.rekey(1>2|b|x) t.insert(3|c|y)"},
        {"I3|c|y K1>2|b|x", "t.rekey(1>2|b|x) t.insert(3|c|y)"},
        {"K1>2|b|x K3>4|b|x", "t.rekey(1>2|b|x 3>4|b|x)"},
        /* the old key was touched before, or is touched after */
        {"U1|a|x K1>2|b|x", "t.update(1|a|x) t.rekey(1>2|b|x)"},
        {"K1>2|b|x I1|c|y", "t.rekey(1>2|b|x) t.insert(1|c|y)"},
        /* so was the new one, or is */
        {"D2 K1>2|b|x", "t.delete(2) t.rekey(1>2|b|x)"},
        {"K1>2|b|x U2|c|y", "t.rekey(1>2|b|x) t.update(2|c|y)"},
        {"K1>2|b|x D2", "t.rekey(1>2|b|x) t.delete(2)"},
        /* chains */
        {"K1>2|b|x K2>3|b|x", "t.rekey(1>2|b|x) t.rekey(2>3|b|x)"},
        {"K2>3|b|x K1>2|b|x", "t.rekey(2>3|b|x) t.rekey(1>2|b|x)"},
        {"K1>9|a|x K2>1|b|x K9>2|a|x", "t.rekey(1>9|a|x) t.rekey(2>1|b|x) t.rekey(9>2|a|x)"},
        /* an old key that is the new one is no change of key; a key too large to be sent again is taken from the old row */
        {"K1>1|b|x", "t.update(1|b|x)"},
        {"K1>?|b|x", "t.update(1|b|x)"},
        {"F1|a|x>1|b|?", "t.update(1|b|?)"},
        {"F1|a|x>2|b|?", "t.rekey(1>2|b|?)"},
        {"E1|a|x", "t.delete(1)"},
    };

    for (unsigned i = 0; i < COUNT_OF(rules); i++) {
        struct bench b;

        setup(&b, (struct window_limits){0});
        one_transaction(&b, b.t, rules[i].changes);
        fill(&b);
        assert_string_equal(work(&b), rules[i].work);
        teardown(&b);
    }
}

static void keys_of_several_columns_are_compared_with_their_lengths_and_states(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.pair, "I1|x|23 I12|x|3 U1|y|23 D12|~|3 I~|x|1 I1|x|~ I#31|x|23");
    fill(&b);
    assert_string_equal(work(&b), "pair.insert(1|y|23 ~|x|1 1|x|~) pair.insert(#31|x|23)");
    teardown(&b);
}

static void rows_of_a_batch_have_the_same_states(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.t, "U1|a|~ U2|b|? U3|~|x U4|c|#00 U5|~|? U6|~|~");
    fill(&b);
    assert_string_equal(work(&b), "t.update(1|a|~ 3|~|x) t.update(2|b|? 5|~|?) t.update(4|c|#00 6|~|~)");
    teardown(&b);
}

static void a_column_that_the_target_computes_does_not_part_batches(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.computed, "U1|?|x U2|b|x U3|#00|x");
    fill(&b);
    assert_string_equal(work(&b), "computed.update(1|?|x 2|b|x 3|#00|x)");
    teardown(&b);
}

static void batches_are_bounded_by_rows_and_bytes(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){.fold = {.batch_rows = 2}});
    one_transaction(&b, b.t, "I1|a|x I2|a|x I3|a|x I4|a|x I5|a|x");
    fill(&b);
    assert_string_equal(work(&b), "t.insert(1|a|x 2|a|x) t.insert(3|a|x 4|a|x) t.insert(5|a|x)");
    teardown(&b);

    setup(&b, (struct window_limits){.fold = {.batch_bytes = 10}});
    one_transaction(&b, b.t, "I1|abc|x I2|abcdefghijkl|x I3|a|x I4|a|x");
    fill(&b);
    assert_string_equal(work(&b), "t.insert(1|abc|x 2|abcdefghijkl|x) t.insert(3|a|x 4|a|x)");
    teardown(&b);
}

static void many_signatures_lose_no_row(void **state)
{
    (void)state;
    struct bench b;
    unsigned rows = 0;

    setup(&b, (struct window_limits){0});
    struct stream_column columns[8] = {0};
    for (unsigned i = 0; i < COUNT_OF(columns); i++)
        columns[i].name = "c";
    const struct stream_relation wide = {
        .oid = 77, .version = 50, .schema = "public", .name = "wide", .n_columns = 8, .columns = columns};
    model_target_add_table(
        b.target, (struct model_table){
                      .oid = 77, .mode = TABLE_KEYED, .n_columns = 8, .n_key = 1, .unique = -1, .generated = -1});
    script_begin(b.script, 100);
    for (unsigned i = 0; i < 1000; i++) {
        char row[64];
        unsigned used = (unsigned)snprintf(row, sizeof row, "%u", i);

        for (unsigned c = 0; c < 7; c++)
            used += (unsigned)snprintf(row + used, sizeof row - used, "|%s", (i >> c & 1) != 0 ? "?" : "v");
        script_update(b.script, &wide, OLD_ABSENT, NULL, row);
    }
    script_commit(b.script);
    fill(&b);
    const struct window_part part = window_part(b.window, WINDOW_COMPLETE);
    for (const struct fold_work *w = part.work; w != NULL; w = w->next)
        rows += w->batch->n_rows;
    assert_int_equal(rows, 1000);
    teardown(&b);
}

static void rows_without_a_key_stay_in_order(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.bag, "I1|a I1|a E1|a F1|a>1|b I2|c I3|d");
    fill(&b);
    assert_string_equal(work(&b), "bag.insert(1|a 1|a) bag.delete(1|a) bag.update(1|b) bag.insert(2|c 3|d)");
    teardown(&b);
}

static void what_has_no_identity_takes_inserts_only(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.log, "I1|a I1|a");
    fill(&b);
    assert_null(reason(&b));
    assert_string_equal(work(&b), "log.insert(1|a 1|a)");
    one_transaction(&b, b.log, "D1");
    fill(&b);
    assert_non_null(strstr(reason(&b), "DELETE of table \"public.log\""));
    assert_non_null(strstr(reason(&b), "no replica identity"));
    teardown(&b);
}

static void what_the_source_did_not_send_is_not_guessed(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.t, "U?|b|x");
    fill(&b);
    assert_non_null(strstr(reason(&b), "did not send the key"));
    one_transaction(&b, b.bag, "U1|b");
    fill(&b);
    assert_non_null(strstr(reason(&b), "whole old row"));
    teardown(&b);
}

static void truncate_parts_what_comes_before_from_what_comes_after(void **state)
{
    (void)state;
    struct bench b;
    struct stream_relation const *both[2];

    setup(&b, (struct window_limits){0});
    both[0] = b.t;
    both[1] = b.bag;
    script_begin(b.script, 1);
    script_changes(b.script, b.t, "I1|a|x");
    script_changes(b.script, b.bag, "I1|a");
    script_changes(b.script, b.pair, "I1|p|1");
    script_truncate(b.script, both, 2);
    script_changes(b.script, b.t, "I1|b|y");
    script_changes(b.script, b.pair, "I2|p|2");
    script_changes(b.script, b.bag, "I2|b");
    script_commit(b.script);
    fill(&b);
    assert_string_equal(work(&b), "t.insert(1|a|x) bag.insert(1|a) pair.insert(1|p|1 2|p|2) truncate(t bag) "
                                  "t.insert(1|b|y) bag.insert(2|b)");
    teardown(&b);
}

static void another_version_of_a_table_begins_a_new_run(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    const struct stream_relation *wider = script_relation(b.script, T, "t", 4, IDENTITY_DEFAULT, 1);
    script_begin(b.script, 1);
    script_changes(b.script, b.t, "I1|a|x U2|a|x");
    script_changes(b.script, wider, "U1|b|?|new U2|b|y|new");
    script_commit(b.script);
    fill(&b);
    assert_string_equal(work(&b), "t.update(2|a|x) t.insert(1|a|x) t.update(1|b|?|new) t.update(2|b|y|new)");
    teardown(&b);
}

static void transactions_of_a_window_fold_into_each_other(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.t, "I1|a|x I2|a|x");
    one_transaction(&b, b.t, "U1|b|x");
    one_transaction(&b, b.t, "D2");
    fill(&b);
    assert_string_equal(work(&b), "t.insert(1|b|x)");
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 3);
    assert_int_equal(window_part(b.window, WINDOW_HEAD).n_transactions, 0);
    assert_int_equal(window_n_changes(b.window), 4);
    teardown(&b);
}

/* A1: what a large transaction changes must not be folded into those before it, which are committed without it. */
static void the_beginning_of_a_large_transaction_is_a_part_of_its_own(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){.rows = 6});
    one_transaction(&b, b.t, "I1|a|x I2|a|x");
    one_transaction(&b, b.t, "U1|b|x U2|b|x U2|b|y U1|c|x U2|c|x I3|a|x");

    assert_int_equal(fill(&b), FEEDER_FULL);
    assert_string_equal(work(&b), "t.insert(1|a|x 2|a|x)");
    assert_string_equal(work_text(b.arena, b.window, WINDOW_HEAD), "t.update(1|b|x 2|b|y)");
    assert_false(window_begins_inside(b.window));
    const struct window_transaction *head = window_transaction(b.window, 1);
    assert_true(head->begins);
    assert_false(head->ends);
    assert_true(lsn_is_none(head->end));

    assert_int_equal(fill(&b), FEEDER_IDLE);
    assert_true(window_begins_inside(b.window));
    assert_string_equal(work(&b), "t.update(1|c|x 2|c|x) t.insert(3|a|x)");
    const struct window_transaction *tail = window_transaction(b.window, 0);
    assert_false(tail->begins);
    assert_true(tail->ends);
    assert_int_equal(tail->xid, 100);
    assert_int_equal(tail->received_us, (int64_t)tail->end.value);
    teardown(&b);
}

static void a_window_is_full_by_rows_or_by_bytes_and_takes_one_row_that_is_larger(void **state)
{
    (void)state;
    struct bench b;
    char *large;

    setup(&b, (struct window_limits){.bytes = 1000});
    for (unsigned i = 0; i < 50; i++)
        one_transaction(&b, b.t, "U1|a|x");
    assert_int_equal(fill(&b), FEEDER_FULL);
    assert_in_range(window_n_changes(b.window), 1, 10);
    assert_false(window_is_oversized(b.window));
    teardown(&b);

    setup(&b, (struct window_limits){.rows = 10});
    large = arena_alloc(b.arena, 100001);
    memset(large, 'v', 100000);
    script_begin(b.script, 1);
    script_insert(b.script, b.t, arena_printf(b.arena, "1|%s|x", large));
    script_commit(b.script);
    assert_int_equal(fill(&b), FEEDER_IDLE);
    assert_int_equal(window_n_changes(b.window), 1);
    assert_false(window_is_oversized(b.window));
    window_count_bytes(b.window, (size_t)32 * 1024 * 1024); /* twice as much as a window takes */
    assert_true(window_is_oversized(b.window));
    teardown(&b);
}

static void a_window_goes_a_little_further_to_end_between_transactions(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){.rows = 8});
    one_transaction(&b, b.t, "I1|a|x I2|a|x I3|a|x");
    one_transaction(&b, b.t, "I4|a|x I5|a|x I6|a|x I7|a|x");
    one_transaction(&b, b.t, "I8|a|x");
    assert_int_equal(fill(&b), FEEDER_FULL);
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 2);
    assert_int_equal(window_part(b.window, WINDOW_HEAD).n_transactions, 0);
    teardown(&b);
}

static void empty_transactions_fill_a_window_too(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){.rows = 10});
    for (uint32_t i = 0; i < 15; i++) {
        script_begin(b.script, i);
        script_commit(b.script);
    }
    assert_int_equal(fill(&b), FEEDER_FULL);
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 10);
    assert_int_equal(fill(&b), FEEDER_IDLE);
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 5);
    teardown(&b);
}

static void tables_outside_of_the_task_are_dropped(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.foreign, "I1|a D1 T");
    fill(&b);
    assert_string_equal(work(&b), "");
    assert_int_equal(window_n_changes(b.window), 0);
    assert_int_equal(window_n_dropped(b.window), 3);
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 1);
    teardown(&b);
}

/* G2: by transaction id and not by position: 11 and 13 were committed for the snapshot, 12 was running, 15 began after it. */
static void a_gate_lets_through_what_its_snapshot_did_not_see(void **state)
{
    (void)state;
    static const uint64_t running[] = {12};
    static const uint32_t xids[] = {11, 13, 12, 15};
    struct gate gate = {.snapshot = {.xmin = 12, .xmax = 15, .running = running, .n_running = 1}};
    struct bench b;
    const struct stream_relation *gated, *both[2];

    setup(&b, (struct window_limits){0});
    gate.upto = (struct lsn){UINT64_MAX};
    model_target_add_table(b.target, (struct model_table){.oid = 20,
                                                          .name = "gated",
                                                          .mode = TABLE_KEYED,
                                                          .n_columns = 2,
                                                          .n_key = 1,
                                                          .unique = -1,
                                                          .generated = -1,
                                                          .gate = &gate});
    gated = script_relation(b.script, 20, "gated", 2, IDENTITY_DEFAULT, 1);
    both[0] = gated;
    both[1] = b.t;
    for (unsigned i = 0; i < COUNT_OF(xids); i++) {
        script_begin(b.script, xids[i]);
        script_insert(b.script, gated, arena_printf(b.arena, "%u|x", xids[i]));
        script_commit(b.script);
    }
    script_begin(b.script, 11);
    script_truncate(b.script, both, 2);
    script_commit(b.script);
    fill(&b);
    assert_string_equal(work(&b), "gated.insert(12|x 15|x) truncate(t)");
    assert_int_equal(window_n_dropped(b.window), 2);

    /* At and after `upto` nothing can have been seen: ids come round again. */
    gate.upto = script_lsn(b.script);
    script_begin(b.script, 11);
    script_insert(b.script, gated, "11|y");
    script_commit(b.script);
    fill(&b);
    assert_string_equal(work(&b), "gated.insert(11|y)");
    teardown(&b);
}

static void many_rows_find_their_keys_while_the_table_grows(void **state)
{
    (void)state;
    struct bench b;
    enum { ROWS = 5000 };
    unsigned n = 0;

    setup(&b, (struct window_limits){0});
    script_begin(b.script, 1);
    for (unsigned i = 0; i < ROWS; i++)
        script_insert(b.script, b.t, arena_printf(b.arena, "%u|a|x", i));
    for (unsigned i = 0; i < ROWS; i += 2)
        script_delete(b.script, b.t, OLD_KEY, arena_printf(b.arena, "%u", i));
    script_commit(b.script);
    fill(&b);
    const struct window_part part = window_part(b.window, WINDOW_COMPLETE);
    for (const struct fold_work *w = part.work; w != NULL; w = w->next) {
        assert_int_equal(w->batch->op, BATCH_INSERT);
        n += w->batch->n_rows;
    }
    assert_int_equal(n, ROWS / 2);
    teardown(&b);
}

static void a_window_is_as_good_as_new_after_a_reset(void **state)
{
    (void)state;
    struct bench b;

    setup(&b, (struct window_limits){0});
    one_transaction(&b, b.log, "D1");
    fill(&b);
    assert_false(window_is_empty(b.window));
    window_reset(b.window);
    assert_true(window_is_empty(b.window));
    assert_false(window_is_full(b.window));
    window_close(b.window);
    assert_null(reason(&b));
    assert_int_equal(window_part(b.window, WINDOW_COMPLETE).n_transactions, 0);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_of_one_row_become_one),
        cmocka_unit_test(a_changed_key_keeps_its_place_in_the_order),
        cmocka_unit_test(keys_of_several_columns_are_compared_with_their_lengths_and_states),
        cmocka_unit_test(rows_of_a_batch_have_the_same_states),
        cmocka_unit_test(a_column_that_the_target_computes_does_not_part_batches),
        cmocka_unit_test(batches_are_bounded_by_rows_and_bytes),
        cmocka_unit_test(many_signatures_lose_no_row),
        cmocka_unit_test(rows_without_a_key_stay_in_order),
        cmocka_unit_test(what_has_no_identity_takes_inserts_only),
        cmocka_unit_test(what_the_source_did_not_send_is_not_guessed),
        cmocka_unit_test(truncate_parts_what_comes_before_from_what_comes_after),
        cmocka_unit_test(another_version_of_a_table_begins_a_new_run),
        cmocka_unit_test(transactions_of_a_window_fold_into_each_other),
        cmocka_unit_test(the_beginning_of_a_large_transaction_is_a_part_of_its_own),
        cmocka_unit_test(a_window_is_full_by_rows_or_by_bytes_and_takes_one_row_that_is_larger),
        cmocka_unit_test(a_window_goes_a_little_further_to_end_between_transactions),
        cmocka_unit_test(empty_transactions_fill_a_window_too),
        cmocka_unit_test(tables_outside_of_the_task_are_dropped),
        cmocka_unit_test(a_gate_lets_through_what_its_snapshot_did_not_see),
        cmocka_unit_test(many_rows_find_their_keys_while_the_table_grows),
        cmocka_unit_test(a_window_is_as_good_as_new_after_a_reset),
    };

    return cmocka_run_group_tests_name("sync/window", tests, NULL, NULL);
}
