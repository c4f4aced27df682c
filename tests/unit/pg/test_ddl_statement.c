#include "pg/ddl_statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *find(struct arena *a, const char *text, const char *tag, unsigned nth, const char *object)
{
    const char *why = NULL;
    const char *found = ddl_statement_find(
        a, (struct ddl_statement_wish){.text = text, .tag = tag, .nth = nth, .object = object}, &why);

    assert_true((found == NULL) == (why != NULL));
    return found == NULL ? "" : found;
}

static void one_statement_is_taken_without_what_stands_around_it(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, "/* x; */ -- y\n create /* z */ TABLE t (a text DEFAULT 'a;b') ; ", "CREATE TABLE", 1, "public.t"),
                        "create /* z */ TABLE t (a text DEFAULT 'a;b')");
    assert_string_equal(find(a, "CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "CREATE VIEW", 1, "v"),
                        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1");
    assert_string_equal(find(a, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX", 1, "public.i"),
                        "CREATE UNIQUE INDEX  i ON t (a)");
    assert_string_equal(find(a, "ALTER TABLE p DETACH PARTITION q CONCURRENTLY", "ALTER TABLE", 1, "public.p"),
                        "ALTER TABLE p DETACH PARTITION q ");
    assert_string_equal(find(a, "COMMENT ON TABLE t IS 'CONCURRENTLY'", "COMMENT", 1, "public.t"), "COMMENT ON TABLE t IS 'CONCURRENTLY'");
}

static void the_count_tells_statements_of_one_kind_apart(void **state)
{
    static const char text[] = "CREATE TABLE a (i int); CREATE TABLE x AS SELECT 1; INSERT INTO a VALUES (1); CREATE TABLE b (\"as\" int);"
                               "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; DROP TABLE a";
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, text, "CREATE TABLE", 2, "public.b"), "CREATE TABLE b (\"as\" int)");
    assert_string_equal(find(a, text, "DROP TABLE", 1, "public.a"), "DROP TABLE a");
    assert_string_equal(find(a, text, "CREATE FUNCTION", 1, "public.f()"),
                        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END");
    assert_string_equal(find(a, text, "CREATE TABLE", 3, "public.c"), "");
}

static void the_name_decides_where_the_count_cannot(void **state)
{
    static const char back[] = "SAVEPOINT s; CREATE TABLE never (i int); ROLLBACK TO s; CREATE TABLE \"Kept\" (i int)";
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, back, "CREATE TABLE", 1, "public.\"Kept\""), "CREATE TABLE \"Kept\" (i int)");
    assert_string_equal(find(a, "ALTER TABLE t ADD a int; ALTER TABLE u ADD b int", "ALTER TABLE", 0, "s.u"), "ALTER TABLE u ADD b int");
}

static void nothing_is_guessed(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, "ALTER TABLE t ADD a int; ALTER TABLE t ADD b int", "ALTER TABLE", 0, "public.t"), "");
    assert_string_equal(find(a, "SELECT make_table()", "CREATE TABLE", 1, "public.t"), "");
    assert_string_equal(find(a, "CREATE TABLE t (a text DEFAULT 'open)", "CREATE TABLE", 1, "public.t"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_statement_is_taken_without_what_stands_around_it),
        cmocka_unit_test(the_count_tells_statements_of_one_kind_apart),
        cmocka_unit_test(the_name_decides_where_the_count_cannot),
        cmocka_unit_test(nothing_is_guessed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
