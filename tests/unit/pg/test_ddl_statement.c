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
    assert_string_equal(
        find(a, "/* x; */ -- y\n create /* z */ TABLE t (a text DEFAULT 'a;b') ; ", "CREATE TABLE", 1, "public.t"),
        "create /* z */ TABLE t (a text DEFAULT 'a;b')");
    assert_string_equal(find(a, "CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "CREATE VIEW", 1, "v"),
                        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1");
    assert_string_equal(find(a, "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX", 1, "public.i"),
                        "CREATE UNIQUE INDEX  i ON t (a)");
    assert_string_equal(find(a, "ALTER TABLE p DETACH PARTITION q CONCURRENTLY", "ALTER TABLE", 1, "public.p"),
                        "ALTER TABLE p DETACH PARTITION q ");
    assert_string_equal(find(a, "COMMENT ON TABLE t IS 'CONCURRENTLY'", "COMMENT", 1, "public.t"),
                        "COMMENT ON TABLE t IS 'CONCURRENTLY'");
}

static void the_count_tells_statements_of_one_kind_apart(void **state)
{
    static const char text[] =
        "CREATE TABLE a (i int); CREATE TABLE x AS SELECT 1; INSERT INTO a VALUES (1); CREATE TABLE b (\"as\" int);"
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END; DROP TABLE a";
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, text, "CREATE TABLE", 2, "public.b"), "CREATE TABLE b (\"as\" int)");
    assert_string_equal(find(a, text, "DROP TABLE", 1, "public.a"), "DROP TABLE a");
    assert_string_equal(find(a, text, "CREATE FUNCTION", 1, "public.f()"),
                        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 END; END");
    assert_string_equal(find(a, text, "CREATE TABLE", 3, "public.c"), "");
}

/* As the server counts: what it rolls back is not counted, what it commits stays counted. */
static void what_was_rolled_back_is_not_counted(void **state)
{
    static const struct {
        const char *text;
        unsigned nth;
        const char *found;
    } cases[] = {
        {"SAVEPOINT s; COMMENT a; ROLLBACK TO s; COMMENT b", 1, "COMMENT b"},
        {"BEGIN; COMMENT a; SAVEPOINT s; COMMENT b; SAVEPOINT \"T\"; COMMENT c; ROLLBACK WORK TO SAVEPOINT s; COMMENT "
         "d; COMMIT",
         2, "COMMENT d"},
        {"BEGIN; COMMENT a; SAVEPOINT s; COMMENT b; RELEASE s; COMMENT c; COMMIT", 3, "COMMENT c"},
        {"COMMENT a; ROLLBACK; COMMENT b", 1, "COMMENT b"},
        {"COMMENT a; COMMIT; COMMENT b; ABORT; COMMENT c", 2, "COMMENT c"},
        {"BEGIN; COMMENT a; END; BEGIN; COMMENT b; COMMIT", 1, "COMMENT a"},
        {"BEGIN; COMMENT a; END; BEGIN; COMMENT b; COMMIT", 2, "COMMENT b"},
        {"COMMENT a; COMMIT; COMMIT PREPARED 'x'; ROLLBACK PREPARED 'y'; COMMENT b", 2, "COMMENT b"},
        {"ROLLBACK TO before_the_string; COMMENT a; COMMENT b", 1, "COMMENT a"},
        {"COMMENT a; RESET ALL; COMMENT b", 1, "COMMENT b"},
    };
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(find(a, cases[i].text, "COMMENT", cases[i].nth, "x"), cases[i].found);
}

/* No event trigger is told of them, so they were not counted. */
static void what_only_begins_like_it_is_not_counted(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a,
                             "GRANT admin TO bob; GRANT CONNECT ON DATABASE d TO bob; GRANT SELECT ON t TO bob; GRANT "
                             "SELECT ON u TO bob",
                             "GRANT", 2, "TABLE"),
                        "GRANT SELECT ON u TO bob");
    assert_string_equal(find(a, "REVOKE admin FROM bob; REVOKE SELECT ON t FROM bob", "REVOKE", 1, "TABLE"),
                        "REVOKE SELECT ON t FROM bob");
    assert_string_equal(find(a, "COMMENT ON ROLE x IS 'r'; COMMENT ON TABLE t IS 't'; COMMENT ON COLUMN t.a IS 'a'",
                             "COMMENT", 1, "public.t"),
                        "COMMENT ON TABLE t IS 't'");
    assert_string_equal(
        find(a, "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int; CREATE OPERATOR === (FUNCTION = f)",
             "CREATE OPERATOR", 1, "public.==="),
        "CREATE OPERATOR === (FUNCTION = f)");
    assert_string_equal(
        find(a, "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int; CREATE OPERATOR === (FUNCTION = f)",
             "CREATE OPERATOR CLASS", 1, "c"),
        "CREATE OPERATOR CLASS c FOR TYPE int USING btree AS STORAGE int");
}

static void the_place_in_the_text_decides_where_it_is_known(void **state)
{
    static const char text[] = "INSERT INTO t VALUES (1); ALTER TABLE t ADD a int; SELECT 1; ALTER TABLE t ADD b int;";
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    const char *why;

    (void)state;
    assert_string_equal(
        ddl_statement_find(
            a, (struct ddl_statement_wish){.text = text, .tag = "ALTER TABLE", .place = 4, .object = "t"}, &why),
        "ALTER TABLE t ADD b int");
    assert_null(ddl_statement_find(
        a, (struct ddl_statement_wish){.text = text, .tag = "ALTER TABLE", .place = 3, .object = "t"}, &why));
}

static void a_statement_that_ends_a_transaction_is_seen(void **state)
{
    (void)state;
    assert_true(ddl_statement_ends_transaction("ALTER TABLE t ADD a int; commit"));
    assert_true(ddl_statement_ends_transaction("/* x */ Start Transaction"));
    assert_true(ddl_statement_ends_transaction("SELECT 'open"));
    assert_false(ddl_statement_ends_transaction(""));
    assert_false(ddl_statement_ends_transaction(
        "COMMENT ON TABLE t IS 'COMMIT; x'; CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END"));
}

static void the_name_decides_where_the_count_cannot(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, "ALTER TABLE t ADD a int; ALTER TABLE u ADD b int", "ALTER TABLE", 0, "s.u"),
                        "ALTER TABLE u ADD b int");
}

static void nothing_is_guessed(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    assert_string_equal(find(a, "ALTER TABLE t ADD a int; ALTER TABLE t ADD b int", "ALTER TABLE", 0, "public.t"), "");
    assert_string_equal(find(a, "SELECT make_table()", "CREATE TABLE", 1, "public.t"), "");
    assert_string_equal(find(a, "CREATE TABLE t (a text DEFAULT 'open)", "CREATE TABLE", 1, "public.t"), "");
}

static void foreign_keys_are_added_without_their_check(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    static const struct {
        const char *statement, *unchecked;
    } cases[] = {
        {"ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q", "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q NOT VALID"},
        {"alter table only s.c add constraint \"x, y\" foreign key (a, b) references q (a, b) on delete set null (b);",
         "alter table only s.c add constraint \"x, y\" foreign key (a, b) references q (a, b) on delete set null (b) "
         "NOT "
         "VALID;"},
        {"ALTER TABLE c ADD x int DEFAULT f(1, 2), ADD FOREIGN KEY (p) REFERENCES q /* , */, DROP y",
         "ALTER TABLE c ADD x int DEFAULT f(1, 2), ADD FOREIGN KEY (p) REFERENCES q NOT VALID /* , */, DROP y"},
        {"ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q NOT VALID", NULL},
        {"ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q NOT ENFORCED", NULL},
        {"ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q NOT DEFERRABLE",
         "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES q NOT DEFERRABLE NOT VALID"},
        {"ALTER TABLE c VALIDATE CONSTRAINT k", ""},
        {"ALTER TABLE c VALIDATE CONSTRAINT k, ADD x int", NULL},
        {"ALTER TABLE c ADD x int CHECK (x <> 'foreign key')", NULL},
        {"CREATE TABLE c (x int, FOREIGN KEY (x) REFERENCES q)", NULL},
        {"ALTER TABLE c ADD x text DEFAULT 'open", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *unchecked = ddl_statement_unchecked(a, cases[i].statement);

        assert_true((unchecked == NULL) == (cases[i].unchecked == NULL));
        if (unchecked != NULL)
            assert_string_equal(unchecked, cases[i].unchecked);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_statement_is_taken_without_what_stands_around_it),
        cmocka_unit_test(the_count_tells_statements_of_one_kind_apart),
        cmocka_unit_test(what_was_rolled_back_is_not_counted),
        cmocka_unit_test(what_only_begins_like_it_is_not_counted),
        cmocka_unit_test(the_place_in_the_text_decides_where_it_is_known),
        cmocka_unit_test(a_statement_that_ends_a_transaction_is_seen),
        cmocka_unit_test(the_name_decides_where_the_count_cannot),
        cmocka_unit_test(nothing_is_guessed),
        cmocka_unit_test(foreign_keys_are_added_without_their_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
