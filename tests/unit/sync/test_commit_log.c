/* sync/commit_log: where a snapshot cuts the commit order, and when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/expect.h"
#include "sync/commit_log.h"

static struct lsn at(uint64_t value)
{
    return (struct lsn){value};
}

/* Transactions 11, 12, … end at 110, 120, … */
static struct commit_log *log_of(struct arena *a, unsigned size, unsigned n)
{
    struct commit_log *log = commit_log_new(a, size);

    commit_log_begin(log, at(100));
    for (unsigned i = 1; i <= n; i++)
        commit_log_note(log, 10 + i, at(100 + 10 * i));
    return log;
}

static bool cuts(struct commit_log *log, struct arena *a, const char *snapshot, uint64_t upto, uint64_t *out_cut)
{
    struct snapshot s;
    struct lsn cut = LSN_NONE;

    expect_ok(snapshot_parse(a, snapshot, &s));
    bool is_cut = commit_log_cut(log, &s, at(upto), &cut);
    *out_cut = cut.value;
    return is_cut;
}

static void a_snapshot_that_sees_a_prefix_cuts_behind_its_last(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct commit_log *log = log_of(a, 0, 5);
    uint64_t cut;

    (void)state;
    assert_true(cuts(log, a, "16:16:", 150, &cut));
    assert_int_equal(cut, 150);
    assert_true(cuts(log, a, "14:16:14,15", 150, &cut));
    assert_int_equal(cut, 130);
    assert_true(cuts(log, a, "11:16:11,12,13,14,15", 150, &cut));
    assert_int_equal(cut, 100); /* nothing of what was noted: where it began */
}

static void a_gap_is_no_cut(void **state) /* C1 */
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct commit_log *log = log_of(a, 0, 5);
    uint64_t cut;

    (void)state;
    assert_false(cuts(log, a, "12:16:12", 150, &cut));
    assert_false(cuts(log, a, "11:16:11,14,15", 150, &cut));
}

/* Whatever its xid says: it was committed after the snapshot. Also when ids have gone round. */
static void behind_upto_nothing_is_seen(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct commit_log *log = log_of(a, 0, 5);
    uint64_t cut;

    (void)state;
    assert_true(cuts(log, a, "16:16:", 135, &cut));
    assert_int_equal(cut, 130);
    assert_true(cuts(log, a, "4294967312:4294967312:", 150, &cut)); /* 2^32 + 16 */
    assert_int_equal(cut, 150);
}

static void what_is_older_than_the_log_counts_as_seen(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct commit_log *log = log_of(a, 3, 5);
    uint64_t cut;

    (void)state;
    assert_int_equal(commit_log_last(log).value, 150);
    assert_true(cuts(log, a, "13:16:13,14,15", 150, &cut));
    assert_int_equal(cut, 120);
}

static void waiting_ends_with_the_commit_or_the_time(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct commit_log *log = log_of(a, 0, 2);

    (void)state;
    assert_true(commit_log_wait(log, at(119), 0));
    assert_false(commit_log_wait(log, at(120), 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_that_sees_a_prefix_cuts_behind_its_last),
        cmocka_unit_test(a_gap_is_no_cut),
        cmocka_unit_test(behind_upto_nothing_is_seen),
        cmocka_unit_test(what_is_older_than_the_log_counts_as_seen),
        cmocka_unit_test(waiting_ends_with_the_commit_or_the_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
