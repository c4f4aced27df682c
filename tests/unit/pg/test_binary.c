/* pg/binary: each trap that forces a table to travel as text (PEERS 5.4), and the plain cases that must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/binary.h"
#include "support/expect.h"

enum {
    INT4 = 23,
    INT8 = 20,
    INT4_ARRAY = 1007,
    XML = 142,
    REGCLASS = 2205,
    MOOD = 20001,
    MOODS = 20002,
    PAIR = 20003,
    POSITIVE = 20004,
    HSTORE = 20005,
    SPAN = 20006,
    NO_SEND = 20007
};

#define PLAIN(o, s, n)                                                                             \
    {                                                                                              \
        .oid = (o), .schema = (s), .name = (n), .kind = 'b', .has_send = true, .has_receive = true \
    }
#define BUILTINS                                                                                           \
    PLAIN(INT8, "pg_catalog", "int8"), PLAIN(INT4, "pg_catalog", "int4"), PLAIN(XML, "pg_catalog", "xml"), \
        {.oid = INT4_ARRAY,                                                                                \
         .schema = "pg_catalog",                                                                           \
         .name = "_int4",                                                                                  \
         .kind = 'b',                                                                                      \
         .has_send = true,                                                                                 \
         .has_receive = true,                                                                              \
         .element = INT4},                                                                                 \
        PLAIN(REGCLASS, "pg_catalog", "regclass")

static const uint32_t fields_here[] = {INT4, MOOD}, fields_there[] = {INT4, MOOD + 100};

/* The same types on another server: the oids of user types differ by `shift`. */
#define USER_TYPES(shift, fields_, version)                                                                          \
    {.oid = MOOD + (shift), .schema = "public", .name = "mood", .kind = 'e', .has_send = true, .has_receive = true}, \
        {.oid = MOODS + (shift),                                                                                     \
         .schema = "public",                                                                                         \
         .name = "_mood",                                                                                            \
         .kind = 'b',                                                                                                \
         .has_send = true,                                                                                           \
         .has_receive = true,                                                                                        \
         .element = MOOD + (shift)},                                                                                 \
        {.oid = PAIR + (shift),                                                                                      \
         .schema = "public",                                                                                         \
         .name = "pair",                                                                                             \
         .kind = 'c',                                                                                                \
         .has_send = true,                                                                                           \
         .has_receive = true,                                                                                        \
         .n_fields = 2,                                                                                              \
         .fields = fields_},                                                                                         \
        {.oid = POSITIVE + (shift),                                                                                  \
         .schema = "public",                                                                                         \
         .name = "positive",                                                                                         \
         .kind = 'd',                                                                                                \
         .has_send = true,                                                                                           \
         .has_receive = true,                                                                                        \
         .base = INT4},                                                                                              \
        {.oid = HSTORE + (shift),                                                                                    \
         .schema = "public",                                                                                         \
         .name = "hstore",                                                                                           \
         .kind = 'b',                                                                                                \
         .has_send = true,                                                                                           \
         .has_receive = true,                                                                                        \
         .extension = "hstore",                                                                                      \
         .extension_version = version},                                                                              \
        {.oid = SPAN + (shift),                                                                                      \
         .schema = "public",                                                                                         \
         .name = "span",                                                                                             \
         .kind = 'r',                                                                                                \
         .has_send = true,                                                                                           \
         .has_receive = true,                                                                                        \
         .base = INT4},                                                                                              \
    {                                                                                                                \
        .oid = NO_SEND + (shift), .schema = "public", .name = "opaque", .kind = 'b', .has_receive = true             \
    }

static struct type_facts here[] = {BUILTINS, USER_TYPES(0, fields_here, "1.8")};
static struct type_facts there[] = {BUILTINS, USER_TYPES(100, fields_there, "1.8")};
static struct type_facts newer_extension[] = {BUILTINS, USER_TYPES(100, fields_there, "1.9")};

static int by_oid(const void *left, const void *right)
{
    const struct type_facts *l = left, *r = right;

    return (l->oid > r->oid) - (l->oid < r->oid);
}

static int sort_types(void **state)
{
    (void)state;
    qsort(here, COUNT_OF(here), sizeof *here, by_oid);
    qsort(there, COUNT_OF(there), sizeof *there, by_oid);
    qsort(newer_extension, COUNT_OF(newer_extension), sizeof *newer_extension, by_oid);
    return 0;
}

/* Why a table with one column cannot travel in binary to a target of that version with those types. */
static const char *why(struct arena *a, struct catalog_column from, struct catalog_column to, struct type_facts *types,
                       int target_version)
{
    struct catalog_table source_table = {.schema = "s", .name = "t", .n_columns = 1, .columns = &from};
    struct catalog_table target_table = {.schema = "s", .name = "t", .n_columns = 1, .columns = &to};
    struct catalog source_catalog = {1, &source_table}, target_catalog = {1, &target_table};
    struct type_list source_types = {COUNT_OF(here), here}, target_types = {COUNT_OF(there), types};
    struct binary_side source = {150000, &source_catalog, &source_types};
    struct binary_side target = {target_version, &target_catalog, &target_types};
    const char *reason;

    binary_choose(a, &source, &target, &reason);
    return reason;
}

static const char *why_type(struct arena *a, uint32_t type, int target_version)
{
    struct catalog_column from = {.name = "c", .type = type};
    struct catalog_column to = {.name = "c", .type = type < 16384 ? type : type + 100};

    return why(a, from, to, there, target_version);
}

static void plain_and_user_types_travel_in_binary(void **state)
{
    static const uint32_t types[] = {INT4, INT8, INT4_ARRAY, MOOD, POSITIVE, HSTORE, SPAN};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
        assert_null(why_type(a, types[i], 100000));
        assert_null(why_type(a, types[i], 150000));
    }
}

static void arrays_and_composites_of_user_types_need_a_target_of_14(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    assert_null(why_type(a, MOODS, 140000));
    assert_null(why_type(a, PAIR, 140000));
    assert_non_null(strstr(why_type(a, MOODS, 130000), "before 14"));
    assert_non_null(strstr(why_type(a, PAIR, 130000), "before 14"));
}

static void what_means_something_else_elsewhere_is_text(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    assert_non_null(strstr(why_type(a, XML, 150000), "no binary form"));
    assert_non_null(strstr(why_type(a, REGCLASS, 150000), "no binary form"));
    assert_non_null(strstr(why_type(a, NO_SEND, 150000), "no binary form"));
}

static void another_version_of_an_extension_is_text(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct catalog_column from = {.name = "c", .type = HSTORE}, to = {.name = "c", .type = HSTORE + 100};

    assert_non_null(strstr(why(a, from, to, newer_extension, 150000), "different versions"));
}

static void another_type_is_text(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct catalog_column from = {.name = "c", .type = INT4}, to = {.name = "c", .type = INT8};

    assert_non_null(strstr(why(a, from, to, there, 150000), "column \"c\": type \"pg_catalog.int4\" on the source is"));
}

static void a_column_or_table_that_is_missing_is_named(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct catalog_column from = {.name = "c", .type = INT4}, to = {.name = "d", .type = INT4};
    struct catalog none = {.n_tables = 0};
    struct catalog_table table = {.schema = "s", .name = "t", .n_columns = 1, .columns = &from};
    struct catalog one = {1, &table};
    struct type_list types = {COUNT_OF(here), here};
    const char *reason;

    assert_string_equal(why(a, from, to, there, 150000), "the target has no column \"c\"");
    binary_choose(a, &(struct binary_side){150000, &one, &types}, &(struct binary_side){150000, &none, &types},
                  &reason);
    assert_string_equal(reason, "the target has no such table");
}

static void generated_columns_do_not_travel(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct catalog_column from = {.name = "c", .type = XML, .generated = GENERATED_STORED},
                          to = {.name = "d", .type = INT4};

    assert_null(why(a, from, to, there, 150000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_user_types_travel_in_binary),
        cmocka_unit_test(arrays_and_composites_of_user_types_need_a_target_of_14),
        cmocka_unit_test(what_means_something_else_elsewhere_is_text),
        cmocka_unit_test(another_version_of_an_extension_is_text),
        cmocka_unit_test(another_type_is_text),
        cmocka_unit_test(a_column_or_table_that_is_missing_is_named),
        cmocka_unit_test(generated_columns_do_not_travel),
    };

    return cmocka_run_group_tests_name("pg/binary", tests, sort_types, NULL);
}
