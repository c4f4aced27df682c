/* pg/schema_dialect: what pg_dump writes for newer servers, as older ones take it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/schema_dialect.h"

static int set_up(void **state)
{
    *state = arena_new(NULL, "test");
    return 0;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

static void not_null_of_an_inherited_column_is_said_behind_the_table(void **state)
{
    const char *after;

    assert_string_equal(schema_statement_for(
                            *state,
                            "CREATE TABLE s.\"c h\" (\n    NOT NULL id,\n    more text DEFAULT ', NOT NULL x,'::text,\n"
                            "    CONSTRAINT \"a b\" NOT NULL \"I d\" NO INHERIT\n)\nINHERITS (s.p);",
                            170000, &after),
                        "CREATE TABLE s.\"c h\" (\n    more text DEFAULT ', NOT NULL x,'::text)\nINHERITS (s.p);");
    assert_string_equal(after,
                        "ALTER TABLE ONLY s.\"c h\" ALTER COLUMN id SET NOT NULL, ALTER COLUMN \"I d\" SET NOT NULL;");
    assert_string_equal(
        schema_statement_for(*state, "CREATE UNLOGGED TABLE t (\n    NOT NULL id\n)\nINHERITS (p);", 100000, &after),
        "CREATE UNLOGGED TABLE t ()\nINHERITS (p);");
    assert_string_equal(after, "ALTER TABLE ONLY t ALTER COLUMN id SET NOT NULL;");
}

static void a_range_type_names_no_multirange_before_14(void **state)
{
    const char *range =
        "CREATE TYPE v.span AS RANGE (\n    subtype = double precision,\n    multirange_type_name = v.spans\n);";
    const char *after;

    assert_string_equal(schema_statement_for(*state, range, 130000, &after),
                        "CREATE TYPE v.span AS RANGE (\n    subtype = double precision);");
    assert_null(after);
    assert_ptr_equal(schema_statement_for(*state, range, 140000, &after), range);
}

static void what_a_trigger_executes_is_a_procedure_before_11(void **state)
{
    const char *trigger =
        "CREATE CONSTRAINT TRIGGER \"execute function\" AFTER INSERT ON t WHEN ((new.a <> 'EXECUTE FUNCTION'::text)) "
        "EXECUTE FUNCTION s.f('EXECUTE FUNCTION');";
    const char *after;

    assert_string_equal(
        schema_statement_for(*state, trigger, 100000, &after),
        "CREATE CONSTRAINT TRIGGER \"execute function\" AFTER INSERT ON t WHEN ((new.a <> 'EXECUTE FUNCTION'::text)) "
        "EXECUTE PROCEDURE s.f('EXECUTE FUNCTION');");
    assert_null(after);
    assert_ptr_equal(schema_statement_for(*state, trigger, 110000, &after), trigger);
}

static void all_else_stays_as_it_is(void **state)
{
    static const char *const statements[] = {
        ("CREATE TABLE t (\n    id integer NOT NULL,\n    \"not\" numeric(8,2) CONSTRAINT n NOT NULL,\n    CONSTRAINT "
         "c "
         "CHECK ((id > 0))\n);"),
        "CREATE TABLE t (\n);",
        "CREATE VIEW v AS\n SELECT 1;",
        "CREATE TABLE t OF pair;",
        "CREATE TYPE v.pair AS (\n\ta integer,\n\tb text\n);",
        "",
    };
    const char *after;

    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        assert_ptr_equal(schema_statement_for(*state, statements[i], 100000, &after), statements[i]);
        assert_null(after);
    }
    const char *newest = "CREATE TABLE t (\n    NOT NULL id\n)\nINHERITS (p);";
    assert_ptr_equal(schema_statement_for(*state, newest, 180000, &after), newest);
}

static void settings_that_a_server_does_not_know_are_left_out(void **state)
{
    const char *prelude = "SET a = 1;\nSET default_table_access_method = heap;\nSET b = 2;\n";

    assert_string_equal(schema_prelude_for(*state, prelude, 110000), "SET a = 1;\n\nSET b = 2;\n");
    assert_ptr_equal(schema_prelude_for(*state, prelude, 120000), prelude);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(not_null_of_an_inherited_column_is_said_behind_the_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_range_type_names_no_multirange_before_14, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_trigger_executes_is_a_procedure_before_11, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_else_stays_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settings_that_a_server_does_not_know_are_left_out, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
