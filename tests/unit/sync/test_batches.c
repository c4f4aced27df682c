/* sync/batches: the order within a batch. What goes into which batch is test_window's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/rows.h"
#include "sync/batches.h"

enum { ROWS = 1000, STEP = 617 /* and no divisor of ROWS: each number once */ };

static const struct fold_limits limits = {.batch_rows = 10000, .batch_bytes = SIZE_MAX};
static const uint16_t key_columns[] = {0, 1};
static const bool written[] = {true, true};
static const struct stream_column columns[] = {{.name = "a"}, {.name = "b"}};
static const struct stream_relation relation = {.name = "t", .n_columns = 2, .columns = columns};

static struct target_table table_of(enum lane_rule rule)
{
    return (struct target_table){.relation = &relation,
                                 .mode = TABLE_KEYED,
                                 .n_key = 2,
                                 .key = key_columns,
                                 .is_written = written,
                                 .lane_rule = rule};
}

/* Keys (n / 10, n % 10) in disorder; `sign`: of their format, as in support/rows. */
static const struct batch *batch_of(struct arena *a, const struct target_table *table, enum batch_op op,
                                    const char *sign, unsigned n_rows)
{
    struct batches *b = batches_new(a, table, op, limits, n_rows);
    const struct fold_work *work = NULL;

    for (unsigned i = 0; i < n_rows; i++) {
        unsigned n = i * STEP % ROWS;
        char text[64];

        snprintf(text, sizeof text, "%s%08x|%s%08x", sign, n / 10, sign, n % 10);
        struct value *row = row_from_text(a, text, 2);
        batches_add(b,
                    (struct batch_row){.key = op == BATCH_INSERT ? NULL : row, .row = op == BATCH_DELETE ? NULL : row});
    }
    (void)batches_append(b, &work);
    assert_null(work->next);
    assert_int_equal(work->batch->n_rows, n_rows);
    return work->batch;
}

static bool is_in_order(const struct batch *batch)
{
    for (unsigned i = 1; i < batch->n_rows; i++)
        for (unsigned k = 0; k < 2; k++) {
            int order =
                memcmp(batch->rows[i - 1].key[k].bytes, batch->rows[i].key[k].bytes, batch->rows[i].key[k].length);

            if (order > 0)
                return false;
            if (order < 0)
                break;
        }
    return true;
}

static void rows_that_do_not_depend_on_each_other_come_in_the_order_of_the_key(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    const struct target_table table = table_of(LANE_BY_KEY);
    const struct batch *batch = batch_of(a, &table, BATCH_UPDATE, "#", ROWS);

    (void)state;
    assert_true(is_in_order(batch));
    for (unsigned i = 0; i < ROWS; i++)
        assert_ptr_equal(batch->rows[i].key, batch->rows[i].row); /* a key keeps its row */
    assert_true(is_in_order(batch_of(a, &table, BATCH_DELETE, "#", ROWS)));
    arena_free(a);
}

static void all_others_keep_their_order(void **state)
{
    static const struct {
        enum lane_rule rule;
        enum batch_op op;
        const char *sign;
        unsigned n;
    } cases[] = {
        {LANE_BY_TABLE, BATCH_UPDATE, "#", ROWS}, /* a further unique index: who frees a value comes first */
        {LANE_ALONE, BATCH_DELETE, "#", ROWS},    {LANE_BY_KEY, BATCH_REKEY, "#", ROWS},
        {LANE_BY_KEY, BATCH_UPDATE, "", ROWS},    {LANE_BY_KEY, BATCH_UPDATE, "#", 10},
    };
    struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        const struct target_table table = table_of(cases[i].rule);

        assert_false(is_in_order(batch_of(a, &table, cases[i].op, cases[i].sign, cases[i].n)));
    }
    arena_free(a);
}

/* `n` rows from `first` on, `step` apart, in disorder. */
static bool is_range(struct arena *a, uint32_t type, int64_t first, int64_t step, unsigned n)
{
    const struct stream_column column[] = {{.name = "id", .type = type}, {.name = "b"}};
    const struct stream_relation numbered = {.name = "t", .n_columns = 2, .columns = column};
    struct target_table table = table_of(LANE_BY_KEY);
    unsigned digits = type == 21 ? 4 : type == 23 ? 8 : 16;

    table.relation = &numbered;
    table.n_key = 1;
    struct batches *b = batches_new(a, &table, BATCH_UPDATE, limits, n);
    const struct fold_work *work = NULL;
    for (unsigned i = 0; i < n; i++) {
        char wide[32], text[64];

        snprintf(wide, sizeof wide, "%016llx", (unsigned long long)(first + (int64_t)(i * STEP % n) * step));
        snprintf(text, sizeof text, "#%s|#00", wide + 16 - digits);
        struct value *row = row_from_text(a, text, 2);
        batches_add(b, (struct batch_row){.key = row, .row = row});
    }
    (void)batches_append(b, &work);
    return work->batch->is_range;
}

static void integers_that_lie_close_together_are_a_range(void **state)
{
    static const struct {
        uint32_t type;
        int64_t first, step;
        unsigned n;
        bool is_range;
    } cases[] = {
        {23, 1, 1, 1000, true},
        {20, INT64_C(5000000000), 2, 1000, true},
        {21, 100, 1, 1000, true},
        {23, -5000, 1, 1000, true},
        {20, INT64_MIN, 1, 1000, true},
        {20, INT64_MAX - 999, 1, 1000, true},
        {23, 1, 3, 1000, false},
        {23, -500, 1, 1000, false},                              /* sorted behind the others */
        {20, INT64_MIN, INT64_C(9000000000000000), 1000, false}, /* as far apart as they can be */
        {23, 1, 1, 998, false},
        {2950, 1, 1, 1000, false},
    };
    struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++)
        if (is_range(a, cases[i].type, cases[i].first, cases[i].step, cases[i].n) != cases[i].is_range)
            fail_msg("case %u", i);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_that_do_not_depend_on_each_other_come_in_the_order_of_the_key),
        cmocka_unit_test(all_others_keep_their_order),
        cmocka_unit_test(integers_that_lie_close_together_are_a_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
