/* model/selection: the language of rules, and files that hold them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "model/selection.h"
#include "support/expect.h"

#define WHERE "option \"--select\""

/* Parts are separated by commas, as on the command line. */
static struct selection *selection_of(struct arena *a, const char *rules)
{
    struct selection_rules all = {.n = 0};
    struct error *err = selection_add_list(a, &all, rules, WHERE);

    assert_null(err);
    return selection_new(a, &all);
}

static bool takes(struct selection *s, const char *schema, const char *name)
{
    enum selection_verdict verdict = selection_decide(s, schema, name, NULL);

    return verdict == SELECTION_CHOSEN || (verdict == SELECTION_SILENT && selection_takes_silent(s));
}

static struct error *add_file(struct arena *a, const char *file, const char *text, struct selection_rules *out)
{
    *out = (struct selection_rules){.n = 0};
    return selection_add_file(a, out, file, text, strlen(text));
}

static void a_rule_is_a_schema_and_a_name_with_stars(void **state)
{
    static const struct {
        const char *rule, *schema, *name;
        bool takes;
    } cases[] = {
        {"sales.*", "sales", "orders", true},
        {"sales.*", "sales2", "orders", false},
        {"sales.orders", "sales", "orders", true},
        {"sales.orders", "sales", "orders_old", false},
        {"*.orders", "other", "orders", true},
        {"orders", "other", "orders", true},
        {"orders", "orders", "lines", false},
        {"sales.o?ders", "sales", "orders", true},
        {"sales.o?ders", "sales", "oders", false},
        {"sales.*_2*_x", "sales", "a_2024_b_2_x", true},
        {"sales.*_2*_x", "sales", "a_2024_b_2_xy", false},
        {"s*.t", "\xC3\xA9", "t", false},
        {"?.t", "\xC3\xA9", "t", true},
        {"Sales.T", "sales", "t", false},
        {"Sales.T", "Sales", "T", true},
        {"\"a.b\".\"c*d\"", "a.b", "c*d", true},
        {"\"a.b\".\"c*d\"", "a.b", "cxd", false},
        {"\"a.b\".\"c*\"*", "a.b", "c*xyz", true},
        {"\"a.b\".\"c*\"*", "a.b", "cxyz", false},
        {"s.\"say \"\"hi\"\"\"", "s", "say \"hi\"", true},
        {"my schema.my table", "my schema", "my table", true},
        {"s.back\\slash", "s", "back\\slash", true},
        {"s.back\\*", "s", "back\\slash", true},
        {"*", "any", "thing", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena *a = arena_new(NULL, "test");

        if (takes(selection_of(a, cases[i].rule), cases[i].schema, cases[i].name) != cases[i].takes)
            fail_msg("rule %s, relation %s.%s", cases[i].rule, cases[i].schema, cases[i].name);
        arena_free(a);
    }
}

static void the_last_rule_that_matches_decides(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    struct selection *s = selection_of(a, "sales.*,!sales.tmp_*,sales.tmp_keep,!\"a,b\".t,\"a,b\".u");
    (void)state;

    assert_true(takes(s, "sales", "orders"));
    assert_false(takes(s, "sales", "tmp_1"));
    assert_true(takes(s, "sales", "tmp_keep"));
    assert_false(takes(s, "other", "orders"));
    assert_false(takes(s, "a,b", "t"));
    assert_true(takes(s, "a,b", "u"));
    s = selection_of(a, "!sales.tmp_*,sales.*"); /* in this order nothing is left out, and that is said */
    assert_true(takes(s, "sales", "tmp_1"));
    struct selection_complaint *complaints;
    assert_int_equal(selection_complaints(a, s, &complaints), 1);
    assert_string_equal(complaints[0].rule->text, "!sales.tmp_*");
    assert_true(complaints[0].matched);
    arena_free(a);
}

static void rules_that_only_leave_out_leave_the_rest(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    struct selection *s = selection_of(a, "!*.log,!audit.*");
    (void)state;

    assert_true(takes(s, "sales", "orders"));
    assert_false(takes(s, "sales", "log"));
    assert_false(takes(s, "audit", "x"));
    arena_free(a);
}

static void a_rule_that_matched_nothing_is_told(void **state)
{
    struct arena *a = arena_new(NULL, "test");
    struct selection *s = selection_of(a, "sales.orders,sales.ordres,sales.*,!x.*,nothing.*");
    struct selection_complaint *complaints;
    (void)state;

    takes(s, "sales", "orders");
    assert_int_equal(selection_complaints(a, s, &complaints), 3);
    assert_string_equal(complaints[0].rule->text, "sales.ordres");
    assert_string_equal(complaints[1].rule->text, "!x.*");
    assert_false(complaints[1].matched);
    assert_string_equal(complaints[2].rule->text, "nothing.*");
    assert_string_equal(complaints[2].rule->where, WHERE);
    arena_free(a);
}

static void what_is_no_rule_is_refused(void **state)
{
    static const char *const wrong[] = {"", "!", "a.b.c", ".t", "s.", "\"s.t", "a.b,", ",a.b", "\"\".t"};
    struct arena *a = arena_new(NULL, "test");
    (void)state;

    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct selection_rules rules = {.n = 0};
        struct error *err = selection_add_list(a, &rules, wrong[i], WHERE);

        if (err == NULL) {
            fail_msg("taken: %s", wrong[i]);
            return;
        }
        assert_int_equal(error_kind(err), ERROR_USAGE);
        assert_non_null(strstr(error_message(err), WHERE));
        error_free(err);
    }
    arena_free(a);
}

static void a_name_becomes_a_rule_for_it_alone(void **state)
{
    static const char *const names[] = {"plain", "with space", "do.t",   "st*r",  "q?",
                                        "!bang", "\"quoted\"", "com,ma", "#hash", "b\\s"};
    struct arena *a = arena_new(NULL, "test");
    (void)state;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct selection *s = selection_of(a, selection_exact(a, names[i], names[i]));

        assert_true(takes(s, names[i], names[i]));
        assert_false(takes(s, "with space", "other"));
    }
    arena_free(a);
}

static void files_hold_rules_in_three_ways(void **state)
{
    static const struct {
        const char *file, *text, *rules;
    } cases[] = {
        {"list.txt", "# chosen\nsales.*\r\n\n  !sales.tmp_*  \n\"a.b\".c\n", "sales.*\n!sales.tmp_*\n\"a.b\".c"},
        {"list", "\xEF\xBB\xBFsales.orders", "sales.orders"},
        {"l.csv", "sales,orders\n!sales,tmp_*\n\"my.schema\",\"st*r\"\nsales, lines \n",
         "sales.orders\n!sales.tmp_*\n\"my.schema\".\"st*r\"\nsales.lines"},
        {"l.csv", "id,Table_Name,table_schema\n1,orders,sales\r\n2,\"say \"\"hi\"\"\",s\n",
         "sales.orders\ns.\"say \"\"hi\"\"\""},
        {"l.csv", "# exported\na.b,c*\n", "\"a.b\".c*"},
        {"any",
         " [\"sales.*\", {\"schema\": \"s.x\", \"table\": \"t*\"}, {\"schema\": \"s\", \"name\": \"u\", \"exclude\": "
         "true}]",
         "sales.*\n\"s.x\".\"t*\"\n!s.u"},
    };
    struct arena *a = arena_new(NULL, "test");
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct selection_rules rules;

        assert_null(add_file(a, cases[i].file, cases[i].text, &rules));
        assert_string_equal(selection_text(a, selection_new(a, &rules)), cases[i].rules);
    }
    arena_free(a);
}

static void errors_in_files_say_where(void **state)
{
    static const struct {
        const char *file, *text, *where;
    } cases[] = {
        {"list.txt", "sales.*\n\na.b.c\n", "\"list.txt\", line 3"},
        {"l.csv", "sales,orders\nalone\n", "\"l.csv\", line 2"},
        {"l.csv", "s,\"two\nlines\"\ns,\n", "\"l.csv\", line 3"},
        {"l.csv", "s,\"t\"x\n", "\"l.csv\", line 1"},
        {"l.csv", "s,\"open\n", "\"l.csv\", line"},
        {"l.json", "[\"a.b\",\n \"c.d\"", "\"l.json\", line 2"},
        {"l.json", "[\"a.b\", 7]", "\"l.json\", entry 2"},
        {"l.json", "[\"a.b.c\"]", "\"l.json\", entry 1"},
        {"l.json", "{\"a\": 1}", "\"l.json\""},
        {"empty", "# nothing\n", "\"empty\" holds no rule"},
    };
    struct arena *a = arena_new(NULL, "test");
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct selection_rules rules;
        struct error *err = add_file(a, cases[i].file, cases[i].text, &rules);

        if (err == NULL)
            fail_msg("taken: %s", cases[i].text);
        assert_int_equal(error_kind(err), ERROR_USAGE);
        if (strstr(error_message(err), cases[i].where) == NULL)
            fail_msg("\"%s\" does not say %s", error_message(err), cases[i].where);
        error_free(err);
    }
    arena_free(a);
}

static void a_hundred_thousand_names_are_looked_up(void **state)
{
    enum { N = 100000 };
    struct arena *a = arena_new(NULL, "test");
    struct selection_rules rules = {.n = 0};
    (void)state;

    for (unsigned i = 0; i < N; i++)
        assert_null(selection_add(a, &rules, arena_printf(a, "s%u.t%u", i % 100, i), "\"list\""));
    struct selection *s = selection_new(a, &rules);
    for (unsigned i = 0; i < N; i++)
        assert_true(takes(s, arena_printf(a, "s%u", i % 100), arena_printf(a, "t%u", i)));
    assert_false(takes(s, "s1", "t100"));
    arena_free(a);
}

static void a_server_is_told_the_same_rules(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct selection_rules rules = {.n = 0}, again = {.n = 0};
    static const struct selection_like expected[] = {
        {false, "sales", "%"},      {true, "sales", "tmp\\_%"}, {false, "%", "a_b"},
        {false, "a.*", "x\\%?\ny"}, {false, "%", "100\\%"},     {false, "back\\\\", "%\\\\_*"},
    };
    struct selection_like *likes = NULL;

    expect_ok(
        selection_add_list(a, &rules, "sales.*,!sales.tmp_*,a?b,\"a.*\".\"x%?\ny\",100%,back\\.*\\?\"*\"", "test"));
    const struct selection *s = selection_new(a, &rules);
    expect_ok(selection_add_text(a, &again, selection_text(a, s), "test"));
    const struct selection *copy = selection_new(a, &again);
    assert_string_equal(selection_text(a, copy), selection_text(a, s));
    assert_int_equal(selection_likes(a, copy, &likes), COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(likes[i].excludes, expected[i].excludes);
        assert_string_equal(likes[i].schema, expected[i].schema);
        assert_string_equal(likes[i].name, expected[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_is_told_the_same_rules),
        cmocka_unit_test(a_rule_is_a_schema_and_a_name_with_stars),
        cmocka_unit_test(the_last_rule_that_matches_decides),
        cmocka_unit_test(rules_that_only_leave_out_leave_the_rest),
        cmocka_unit_test(a_rule_that_matched_nothing_is_told),
        cmocka_unit_test(what_is_no_rule_is_refused),
        cmocka_unit_test(a_name_becomes_a_rule_for_it_alone),
        cmocka_unit_test(files_hold_rules_in_three_ways),
        cmocka_unit_test(errors_in_files_say_where),
        cmocka_unit_test(a_hundred_thousand_names_are_looked_up),
    };

    return cmocka_run_group_tests_name("model/selection", tests, NULL, NULL);
}
