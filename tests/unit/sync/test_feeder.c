/* sync/feeder: what is taken, what is skipped, where it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/engine.h"
#include "support/expect.h"
#include "support/work_text.h"

enum { T = 1 };

struct bench {
    struct arena *arena;
    struct script *script;
    struct model_target *target;
    struct feeder *feeder;
    struct window *window;
    struct script_reader reader;
    const struct stream_relation *t;
};

static void setup(struct bench *b)
{
    *b = (struct bench){.arena = arena_new(NULL, "test")};
    b->script = script_new(b->arena);
    b->target = model_target_new(b->arena);
    model_target_add_table(
        b->target,
        (struct model_table){
            .oid = T, .name = "t", .mode = TABLE_KEYED, .n_columns = 2, .n_key = 1, .unique = -1, .generated = -1});
    b->feeder = feeder_new(b->arena, script_decoder(b->script), model_target_resolver(b->target));
    b->window = window_new(b->arena, (struct window_limits){0});
    b->t = script_relation(b->script, T, "t", 2, IDENTITY_DEFAULT, 1);
    b->reader = (struct script_reader){.script = b->script, .visible = SIZE_MAX};
    feeder_restart(b->feeder, script_source(&b->reader), LSN_NONE);
}

static void teardown(struct bench *b)
{
    arena_free(b->arena);
}

static void restart_at(struct bench *b, struct lsn position)
{
    b->reader.cursor = 0;
    window_reset(b->window);
    feeder_restart(b->feeder, script_source(&b->reader), position);
}

static enum feeder_state step(struct bench *b, unsigned budget)
{
    enum feeder_state state = FEEDER_IDLE;

    expect_ok(feeder_step(b->feeder, b->window, budget, &state));
    return state;
}

static struct lsn transaction(struct bench *b, uint32_t xid, const char *changes)
{
    script_begin(b->script, xid);
    script_changes(b->script, b->t, changes);
    return script_commit(b->script);
}

static const char *complete_work(struct bench *b)
{
    window_close(b->window);
    return work_text(b->arena, b->window, WINDOW_COMPLETE);
}

/* P2: transaction ids and the order in which transactions began say nothing; only where COMMIT ends does. */
static void transactions_that_end_at_or_before_the_position_are_skipped(void **state)
{
    (void)state;
    struct bench b;
    struct lsn ends[3];

    setup(&b);
    ends[0] = transaction(&b, 728, "I1|a");
    ends[1] = transaction(&b, 727, "I2|a");
    ends[2] = transaction(&b, 730, "I3|a");
    static const char *const left[] = {"t.insert(2|a 3|a)", "t.insert(3|a)", ""};
    for (unsigned i = 0; i < COUNT_OF(ends); i++) {
        restart_at(&b, ends[i]);
        assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
        assert_string_equal(complete_work(&b), left[i]);
    }
    teardown(&b);
}

/* P2: the next transaction's commit record may begin where the last one ended, and must then be taken. */
static void a_commit_record_that_begins_at_the_position_is_not_skipped(void **state)
{
    (void)state;
    struct bench b;
    const struct lsn position = {500}, end = {540};

    setup(&b);
    restart_at(&b, position);
    script_raw(b.script, (struct event){.kind = EVENT_BEGIN, .xid = 1, .commit = position});
    script_insert(b.script, b.t, "1|a");
    script_raw(b.script, (struct event){.kind = EVENT_COMMIT, .commit = position, .end = end});
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
    assert_string_equal(complete_work(&b), "t.insert(1|a)");
    teardown(&b);
}

static void a_transaction_that_was_taken_is_not_taken_again_when_it_is_sent_again(void **state)
{
    (void)state;
    struct bench b;
    const struct event begin = {.kind = EVENT_BEGIN, .xid = 1, .commit = {500}};
    const struct event commit = {.kind = EVENT_COMMIT, .commit = {500}, .end = {540}};

    setup(&b);
    for (unsigned i = 0; i < 2; i++) {
        script_raw(b.script, begin);
        script_insert(b.script, b.t, "1|a");
        script_raw(b.script, commit);
    }
    step(&b, UINT32_MAX);
    assert_string_equal(complete_work(&b), "t.insert(1|a)");
    assert_int_equal(feeder_n_transactions(b.feeder), 1);
    teardown(&b);
}

static void a_stream_that_would_lose_a_transaction_is_refused(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    restart_at(&b, (struct lsn){510});
    script_raw(b.script, (struct event){.kind = EVENT_BEGIN, .xid = 9, .commit = {500}});
    script_raw(b.script, (struct event){.kind = EVENT_COMMIT, .commit = {500}, .end = {540}});
    expect_error(feeder_step(b.feeder, b.window, UINT32_MAX, &s), ERROR_BUG, "beyond the position");
    teardown(&b);
}

static void a_stream_out_of_order_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct event events[2];
        const char *says;
    } streams[] = {
        {{{.kind = EVENT_BEGIN, .xid = 1, .commit = {5}}, {.kind = EVENT_BEGIN, .xid = 2, .commit = {6}}},
         "transaction 2 begins inside transaction 1"},
        {{{.kind = EVENT_BEGIN, .xid = 1, .commit = {5}}, {.kind = EVENT_COMMIT, .commit = {6}, .end = {7}}},
         "ends as the one at 0/6"},
        {{{.kind = EVENT_ORIGIN}, {.kind = EVENT_COMMIT, .commit = {6}, .end = {7}}}, "outside of a transaction"},
        {{{.kind = EVENT_TYPE}, {.kind = EVENT_INSERT}}, "outside of a transaction"},
    };

    for (unsigned i = 0; i < COUNT_OF(streams); i++) {
        struct bench b;
        enum feeder_state s;

        setup(&b);
        script_raw(b.script, streams[i].events[0]);
        script_raw(b.script, streams[i].events[1]);
        expect_error(feeder_step(b.feeder, b.window, UINT32_MAX, &s), ERROR_BUG, streams[i].says);
        teardown(&b);
    }
}

static void until_takes_what_ends_at_or_before_it_and_nothing_else(void **state)
{
    (void)state;
    struct bench b;
    struct lsn ends[3];

    setup(&b);
    for (uint32_t i = 0; i < 3; i++)
        ends[i] = transaction(&b, i + 1, i == 0 ? "I1|a" : i == 1 ? "I2|a" : "I3|a");
    static const char *const taken[] = {"t.insert(1|a)", "t.insert(1|a 2|a)", "t.insert(1|a 2|a 3|a)"};
    for (unsigned i = 0; i < 3; i++) {
        feeder_set_until(b.feeder, ends[i]);
        restart_at(&b, LSN_NONE);
        assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
        assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
        assert_string_equal(complete_work(&b), taken[i]);
    }
    teardown(&b);
}

static void until_is_reached_by_a_keepalive_or_by_the_position_too(void **state)
{
    (void)state;
    struct bench b;
    struct lsn end, quiet;

    setup(&b);
    end = transaction(&b, 1, "I1|a");
    feeder_set_until(b.feeder, (struct lsn){end.value + 1});
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
    quiet = script_keepalive(b.script);
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);

    restart_at(&b, quiet);
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
    assert_true(window_is_empty(b.window));
    teardown(&b);
}

static void until_may_be_set_to_where_the_stream_already_is(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    transaction(&b, 1, "I1|a");
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
    feeder_set_until(b.feeder, script_lsn(b.script));
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
    teardown(&b);
}

/* A standby's positions may lie where no COMMIT ends; what was refused there must come when the limit is another. */
static void what_until_refused_is_taken_when_it_is_moved_or_lifted(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    struct lsn end = transaction(&b, 1, "I1|a");
    feeder_set_until(b.feeder, (struct lsn){end.value + 1});
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
    struct lsn second = transaction(&b, 2, "I2|a");
    transaction(&b, 3, "I3|a");
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
    feeder_set_until(b.feeder, second);
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_AT_END);
    assert_true(lsn_equal(feeder_position(b.feeder), second));
    feeder_set_until(b.feeder, LSN_NONE);
    assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
    assert_string_equal(complete_work(&b), "t.insert(1|a 2|a 3|a)");
    teardown(&b);
}

/* P4: only between transactions does a keepalive say that everything before it has come. */
static void a_keepalive_counts_between_transactions_only(void **state)
{
    (void)state;
    struct bench b;
    struct lsn between;

    setup(&b);
    script_begin(b.script, 1);
    script_keepalive(b.script);
    script_changes(b.script, b.t, "I1|a");
    script_commit(b.script);
    step(&b, UINT32_MAX);
    assert_true(lsn_is_none(window_upto(b.window)));
    between = script_keepalive(b.script);
    step(&b, UINT32_MAX);
    assert_int_equal(window_upto(b.window).value, between.value);
    teardown(&b);
}

static void the_budget_and_the_state_say_how_far_it_got(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    transaction(&b, 1, "I1|a I2|a");
    b.reader.visible = 3;
    assert_int_equal(step(&b, 2), FEEDER_MORE);
    assert_false(feeder_at_boundary(b.feeder));
    assert_int_equal(step(&b, 2), FEEDER_IDLE);
    assert_false(feeder_at_boundary(b.feeder));
    b.reader.visible = SIZE_MAX;
    assert_int_equal(step(&b, 2), FEEDER_IDLE);
    assert_true(feeder_at_boundary(b.feeder));
    teardown(&b);
}

static void a_table_is_asked_for_once_a_version_and_not_before_its_first_change(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    script_raw(b.script, (struct event){.kind = EVENT_RELATION, .relation = b.t});
    step(&b, UINT32_MAX);
    assert_int_equal(model_target_calls(b.target).tables, 0);
    transaction(&b, 1, "I1|a I2|a T");
    transaction(&b, 2, "I3|a");
    step(&b, UINT32_MAX);
    assert_int_equal(model_target_calls(b.target).tables, 1);
    script_begin(b.script, 3);
    for (unsigned i = 0; i < 100; i++)
        script_changes(b.script, script_relation(b.script, T, "t", 2, IDENTITY_DEFAULT, 1), "U1|b");
    script_commit(b.script);
    step(&b, UINT32_MAX);
    assert_int_equal(model_target_calls(b.target).tables, 101);
    teardown(&b);
}

static void kinds_of_changes_that_are_not_carried_are_not_taken(void **state)
{
    static const struct {
        unsigned dml;
        const char *work;
    } cases[] = {
        {DML_ALL, "t.delete(1) t.update(2|b) truncate(t) t.insert(3|a)"},
        {DML_INSERT, "t.insert(3|a)"},
        {DML_UPDATE, "t.update(2|b)"},
        {DML_DELETE, "t.delete(1)"},
        {DML_TRUNCATE, "truncate(t)"},
        {DML_INSERT | DML_DELETE, "t.delete(1) t.insert(3|a)"},
    };

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct bench b;

        setup(&b);
        feeder_set_dml(b.feeder, cases[i].dml);
        transaction(&b, 1, "D1 U2|b");
        script_begin(b.script, 2);
        script_truncate(b.script, &b.t, 1);
        script_commit(b.script);
        transaction(&b, 3, "I3|a");
        assert_int_equal(step(&b, UINT32_MAX), FEEDER_IDLE);
        assert_string_equal(complete_work(&b), cases[i].work);
        assert_int_equal(feeder_n_transactions(b.feeder), 3);
        teardown(&b);
    }
}

static void the_last_change_of_the_source_is_known_whether_it_is_carried_or_not(void **state) /* C2 */
{
    (void)state;
    struct bench b;
    struct lsn end;

    setup(&b);
    script_begin(b.script, 1);
    script_message(b.script, true, FEEDER_MESSAGE_PREFIX, "mark");
    script_commit(b.script);
    step(&b, UINT32_MAX);
    assert_true(lsn_is_none(feeder_last_change(b.feeder)));
    end = transaction(&b, 2, "I1|a");
    step(&b, UINT32_MAX);
    assert_false(lsn_is_none(feeder_last_change(b.feeder)));
    assert_true(lsn_before(feeder_last_change(b.feeder), end)); /* where the commit record begins */
    feeder_set_dml(b.feeder, DML_INSERT);
    transaction(&b, 3, "D1");
    step(&b, UINT32_MAX);
    assert_false(lsn_before(feeder_last_change(b.feeder), end));
    struct lsn deleted = feeder_last_change(b.feeder);
    script_begin(b.script, 4);
    script_truncate(b.script, &b.t, 1);
    script_commit(b.script);
    script_begin(b.script, 5);
    script_message(b.script, true, FEEDER_MESSAGE_PREFIX, "mark");
    struct lsn marker = script_commit(b.script);
    step(&b, UINT32_MAX);
    assert_true(lsn_before(deleted, feeder_last_change(b.feeder)));
    restart_at(&b, marker);
    step(&b, UINT32_MAX);
    assert_true(lsn_before(deleted, feeder_last_change(b.feeder))); /* not forgotten with the session */
    teardown(&b);
}

static void a_table_that_the_target_lacks_is_named(void **state)
{
    (void)state;
    struct bench b;
    enum feeder_state s;

    setup(&b);
    script_begin(b.script, 1);
    script_changes(b.script, script_relation(b.script, 99, "nowhere", 2, IDENTITY_DEFAULT, 1), "I1|a");
    script_commit(b.script);
    expect_error(feeder_step(b.feeder, b.window, UINT32_MAX, &s), ERROR_CONFIG,
                 "looking for table \"public.nowhere\" on the target");
    teardown(&b);
}

static void our_messages_are_kept_with_their_place_and_others_are_not(void **state)
{
    (void)state;
    struct bench b;

    setup(&b);
    script_message(b.script, false, "pgtide", "first");
    script_message(b.script, false, "somebody", "else");
    script_begin(b.script, 1);
    script_message(b.script, true, "pgtide", "inside");
    script_commit(b.script);
    step(&b, UINT32_MAX);
    const struct window_message *m = window_messages(b.window);
    assert_string_equal(m->content, "first");
    assert_int_equal(m->needs, 0);
    assert_string_equal(m->next->content, "inside");
    assert_int_equal(m->next->needs, 1);
    assert_null(m->next->next);
    teardown(&b);
}

static void a_message_of_a_transaction_applied_before_is_handed_on_again(void **state)
{
    (void)state;
    struct bench b;
    struct lsn end;

    setup(&b);
    script_begin(b.script, 1);
    script_changes(b.script, b.t, "I1|a");
    script_message(b.script, true, "pgtide", "marker");
    end = script_commit(b.script);
    restart_at(&b, end);
    step(&b, UINT32_MAX);
    assert_string_equal(window_messages(b.window)->content, "marker");
    assert_int_equal(window_messages(b.window)->needs, 0);
    assert_string_equal(complete_work(&b), "");
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_that_end_at_or_before_the_position_are_skipped),
        cmocka_unit_test(a_commit_record_that_begins_at_the_position_is_not_skipped),
        cmocka_unit_test(a_transaction_that_was_taken_is_not_taken_again_when_it_is_sent_again),
        cmocka_unit_test(a_stream_that_would_lose_a_transaction_is_refused),
        cmocka_unit_test(a_stream_out_of_order_is_refused),
        cmocka_unit_test(until_takes_what_ends_at_or_before_it_and_nothing_else),
        cmocka_unit_test(until_is_reached_by_a_keepalive_or_by_the_position_too),
        cmocka_unit_test(until_may_be_set_to_where_the_stream_already_is),
        cmocka_unit_test(what_until_refused_is_taken_when_it_is_moved_or_lifted),
        cmocka_unit_test(a_keepalive_counts_between_transactions_only),
        cmocka_unit_test(the_budget_and_the_state_say_how_far_it_got),
        cmocka_unit_test(a_table_is_asked_for_once_a_version_and_not_before_its_first_change),
        cmocka_unit_test(kinds_of_changes_that_are_not_carried_are_not_taken),
        cmocka_unit_test(the_last_change_of_the_source_is_known_whether_it_is_carried_or_not),
        cmocka_unit_test(a_table_that_the_target_lacks_is_named),
        cmocka_unit_test(our_messages_are_kept_with_their_place_and_others_are_not),
        cmocka_unit_test(a_message_of_a_transaction_applied_before_is_handed_on_again),
    };

    return cmocka_run_group_tests_name("sync/feeder", tests, NULL, NULL);
}
