/* pg/schema_key: pg_dump's statement for a key becomes two that make the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "pg/schema_key.h"

static void keys_become_an_index_and_a_constraint(void **state)
{
    static const struct {
        const char *statement, *index, *constraint;
    } cases[] = {
        {"ALTER TABLE ONLY shop.orders\n    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);",
         "CREATE UNIQUE INDEX orders_pkey ON shop.orders USING btree (id);",
         "ALTER TABLE ONLY shop.orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_pkey;"},
        {"ALTER TABLE ONLY \"a.b\".\"t (\"\"x\"\")\"\n    ADD CONSTRAINT \"k; (\" UNIQUE (\"id, a\", \"B\");",
         "CREATE UNIQUE INDEX \"k; (\" ON \"a.b\".\"t (\"\"x\"\")\" USING btree (\"id, a\", \"B\");",
         "ALTER TABLE ONLY \"a.b\".\"t (\"\"x\"\")\" ADD CONSTRAINT \"k; (\" UNIQUE USING INDEX \"k; (\";"},
        {"ALTER TABLE ONLY t\n    ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a, b) INCLUDE (c) WITH (fillfactor='70', "
         "deduplicate_items='off') DEFERRABLE INITIALLY DEFERRED;",
         "CREATE UNIQUE INDEX u ON t USING btree (a, b) INCLUDE (c) NULLS NOT DISTINCT WITH (fillfactor='70', "
         "deduplicate_items='off');",
         "ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE INITIALLY DEFERRED;"},
        {"ALTER TABLE ONLY t\n    ADD CONSTRAINT u UNIQUE (include, \"unique\") DEFERRABLE;",
         "CREATE UNIQUE INDEX u ON t USING btree (include, \"unique\");",
         "ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE;"},
    };
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct schema_key key;

        assert_true(schema_key_divide(a, cases[i].statement, &key));
        assert_string_equal(key.index_sql, cases[i].index);
        assert_string_equal(key.constraint_sql, cases[i].constraint);
    }
}

static void what_is_no_such_key_stays_whole(void **state)
{
    static const char *const statements[] = {
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT e EXCLUDE USING gist (r WITH &&);",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT p PRIMARY KEY (id, r WITHOUT OVERLAPS);",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u(id);",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT n NOT NULL a;",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT p PRIMARY KEY (id) USING INDEX TABLESPACE x;",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT p PRIMARY KEY (id); SELECT 1;",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT p PRIMARY KEY (id) WITH (fillfactor='70'",
        "ALTER TABLE ONLY t\n    ADD CONSTRAINT p PRIMARY KEY ();",
        "ALTER TABLE ONLY t CLUSTER ON p;",
        "CREATE UNIQUE INDEX u ON t USING btree (a);",
        "",
    };
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(statements); i++) {
        struct schema_key key;

        if (schema_key_divide(a, statements[i], &key))
            fail_msg("divided: %s", statements[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_become_an_index_and_a_constraint),
        cmocka_unit_test(what_is_no_such_key_stays_whole),
    };

    return cmocka_run_group_tests_name("pg/schema_key", tests, NULL, NULL);
}
