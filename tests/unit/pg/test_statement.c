/* pg/statement and pg/target_cache: the SQL of apply, its parameters, and which statement is which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cursor.h"
#include "pg/statement.h"
#include "pg/target_cache.h"

enum {
    INT4 = 23,
    INT4_ARRAY = 1007,
    INT8 = 20,
    INT8_ARRAY = 1016,
    NUMERIC = 1700,
    NUMERIC_ARRAY = 1231,
    TEXT_OID = 25,
    TEXT_ARRAY = 1009,
    JSON = 114,
    JSON_ARRAY = 199,
};

/* A table (id int4 key, n numeric, note text, doc json), as the resolver would have found it. */
struct fixture {
    struct column_plan columns[4];
    struct table_plan plan;
    bool is_written[4];
    uint16_t key[1];
    struct stream_relation relation;
    struct target_table table;
};

static struct column_plan column(const char *name, uint32_t type, uint32_t array, bool exact)
{
    return (struct column_plan){.name = name,
                                .cast = "pg_catalog.something",
                                .type = type,
                                .array_type = array,
                                .delimiter = ',',
                                .equals = type == JSON ? NULL : "=",
                                .is_exact = exact,
                                .is_unnestable = true,
                                .is_written = true};
}

static void fill(struct fixture *f)
{
    static uint64_t plans;

    *f = (struct fixture){
        .columns = {column("\"id\"", INT4, INT4_ARRAY, true), column("\"n\"", NUMERIC, NUMERIC_ARRAY, false),
                    column("\"note\"", TEXT_OID, TEXT_ARRAY, true), column("\"doc\"", JSON, JSON_ARRAY, false)},
        .is_written = {true, true, true, true},
        .key = {0},
    };
    f->plan = (struct table_plan){
        .id = ++plans, .label = "s.t", .name = "\"s\".\"t\"", .only = "ONLY ", .n_columns = 4, .columns = f->columns};
    f->relation = (struct stream_relation){.n_columns = 4, .name = "t", .schema = "s"};
    f->table = (struct target_table){.relation = &f->relation,
                                     .mode = TABLE_KEYED,
                                     .n_key = 1,
                                     .key = f->key,
                                     .is_written = f->is_written,
                                     .handle = &f->plan};
}

static struct value text(const char *bytes)
{
    return (struct value){.bytes = bytes, .length = (uint32_t)strlen(bytes), .state = VALUE_TEXT};
}

static struct value binary(const char *bytes, uint32_t length)
{
    return (struct value){.bytes = bytes, .length = length, .state = VALUE_BINARY};
}

static const struct value null = {.state = VALUE_NULL};
static const struct value unchanged = {.state = VALUE_UNCHANGED};

static const char *sql_of(struct arena *a, const struct target_table *table, enum batch_op op,
                          enum statement_shape shape, const struct batch_row *rows, unsigned n)
{
    struct statement_input in = {.table = table, .op = op, .shape = shape, .rows = rows, .n_rows = n};
    struct statement_form form = statement_form(a, &in);

    return statement_build(a, &form).text;
}

static void writes_one_row_with_a_parameter_a_value(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), null, text("x"), text("{}")};
    struct batch_row r = {.key = row, .row = row};

    assert_string_equal(sql_of(a, &f.table, BATCH_INSERT, SHAPE_SINGLE, &r, 1),
                        "INSERT INTO \"s\".\"t\" (\"id\", \"n\", \"note\", \"doc\") OVERRIDING SYSTEM VALUE VALUES "
                        "($1, $2, $3, $4)");
    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_SINGLE, &r, 1),
                        "UPDATE ONLY \"s\".\"t\" AS t SET \"n\" = $2, \"note\" = $3, \"doc\" = $4 WHERE t.\"id\" = $1");
    assert_string_equal(sql_of(a, &f.table, BATCH_REKEY, SHAPE_SINGLE, &r, 1),
                        "UPDATE ONLY \"s\".\"t\" AS t SET \"id\" = $2, \"n\" = $3, \"note\" = $4, \"doc\" = $5 WHERE "
                        "t.\"id\" = $1");
    assert_string_equal(sql_of(a, &f.table, BATCH_DELETE, SHAPE_SINGLE, &r, 1),
                        "DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = $1");
}

/* F9 */
static void asserts_how_many_rows_there_were(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(buffer_free) struct buffer *plain = buffer_new();
    CLEANUP(buffer_free) struct buffer *asserting = buffer_new();
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), null, text("x"), text("{}")};
    struct batch_row r = {.key = row, .row = row};
    struct statement_input in = {.table = &f.table, .op = BATCH_DELETE, .shape = SHAPE_SINGLE, .rows = &r, .n_rows = 1};

    struct statement_form form = statement_form(a, &in);
    statement_key(plain, &form);
    in.asserts = true;
    form = statement_form(a, &in);
    statement_key(asserting, &form);
    assert_string_equal(statement_build(a, &form).text,
                        "WITH done AS (DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = $1 RETURNING 1) "
                        "SELECT 1 / (count(*) = 1)::int FROM done");
    assert_true(plain->length == asserting->length &&
                memcmp(plain->bytes, asserting->bytes, plain->length) != 0); /* two statements */
    in.shape = SHAPE_UNNEST;
    form = statement_form(a, &in);
    assert_string_equal(statement_build(a, &form).text,
                        "WITH done AS (DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = ANY ($1) RETURNING 1) "
                        "SELECT 1 / (count(*) = cardinality($1))::int FROM done");
}

static void writes_many_rows_with_an_array_a_column(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), null, unchanged, text("{}")};
    struct batch_row rows[] = {{.key = row, .row = row}, {.key = row, .row = row}};

    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_UNNEST, rows, 2),
                        "UPDATE ONLY \"s\".\"t\" AS t SET \"n\" = v.c2, \"doc\" = v.c3 FROM (SELECT unnest($1), "
                        "unnest($2), unnest($3)) AS "
                        "v(c1, c2, c3) WHERE t.\"id\" = v.c1");
    assert_string_equal(sql_of(a, &f.table, BATCH_DELETE, SHAPE_UNNEST, rows, 2),
                        "DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = ANY ($1)");
    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_VALUES, rows, 2),
                        "UPDATE ONLY \"s\".\"t\" AS t SET \"n\" = v.c2, \"doc\" = v.c3 FROM (VALUES ($1, $2, $3), ($4, "
                        "$5, $6)) AS v(c1, c2, c3) WHERE t.\"id\" = v.c1");
}

static void reads_a_range_where_most_of_it_is_meant(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(buffer_free) struct buffer *plain = buffer_new();
    CLEANUP(buffer_free) struct buffer *ranged = buffer_new();
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), null, unchanged, unchanged};
    struct batch_row rows[] = {{.key = row, .row = row}, {.key = row, .row = row}};
    struct statement_input in = {
        .table = &f.table, .op = BATCH_UPDATE, .shape = SHAPE_UNNEST, .rows = rows, .n_rows = 2};
    const char *range = " AND t.\"id\" OPERATOR(pg_catalog.>=) ($1)[1]"
                        " AND t.\"id\" OPERATOR(pg_catalog.<=) ($1)[pg_catalog.cardinality($1)]";

    struct statement_form form = statement_form(a, &in);
    statement_key(plain, &form);
    in.is_range = true;
    form = statement_form(a, &in);
    assert_true(form.is_range);
    statement_key(ranged, &form);
    assert_true(plain->length == ranged->length && memcmp(plain->bytes, ranged->bytes, plain->length) != 0);
    assert_string_equal(statement_build(a, &form).text,
                        arena_printf(a,
                                     "UPDATE ONLY \"s\".\"t\" AS t SET \"n\" = v.c2 FROM (SELECT unnest($1), "
                                     "unnest($2)) AS v(c1, c2) WHERE t.\"id\" = v.c1%s",
                                     range));
    in.op = BATCH_DELETE;
    form = statement_form(a, &in);
    assert_string_equal(statement_build(a, &form).text,
                        arena_printf(a,
                                     "DELETE FROM ONLY \"s\".\"t\" AS t USING (SELECT unnest($1)) AS v(c1) WHERE "
                                     "t.\"id\" = v.c1%s",
                                     range));
    in.shape = SHAPE_VALUES;
    assert_false(statement_form(a, &in).is_range);
}

/* An UPDATE of the source that changed nothing we write still has to find its row. */
static void counts_the_row_when_there_is_nothing_to_set(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), unchanged, unchanged, unchanged};
    struct batch_row rows[] = {{.key = row, .row = row}, {.key = row, .row = row}};

    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_SINGLE, rows, 1),
                        "SELECT FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = $1");
    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_UNNEST, rows, 2),
                        "SELECT FROM ONLY \"s\".\"t\" AS t, (SELECT unnest($1)) AS v(c1) WHERE t.\"id\" = v.c1");
}

/* D7, F13: exactly one row, NULLs by IS NULL, wider equalities narrowed by the text. */
static void finds_a_row_without_key_by_all_its_columns(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    f.table.mode = TABLE_UNKEYED;
    f.table.n_key = 0;
    struct value old[] = {text("1"), text("1.0"), null, text("{}")};
    struct batch_row r = {.key = old};

    assert_string_equal(
        sql_of(a, &f.table, BATCH_DELETE, SHAPE_SINGLE, &r, 1),
        "DELETE FROM ONLY \"s\".\"t\" AS t WHERE (t.tableoid, t.ctid) = (SELECT u.tableoid, u.ctid FROM "
        "ONLY \"s\".\"t\" AS u WHERE u.\"id\" = $1 AND u.\"n\" = $2 AND u.\"n\"::text COLLATE \"C\" = "
        "$2::text AND u.\"note\" IS NULL AND u.\"doc\"::text COLLATE \"C\" = $3::text LIMIT 1)");
}

/* Pain 13, D9: an UPDATE may not set it, so it must not have changed; else the exact path replaces the row. */
static void verifies_identity_columns_that_no_update_may_set(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    f.columns[1].is_always_identity = true;
    f.plan.n_extra = 1;
    f.plan.extra = (const char *const[]){"\"more\""};
    struct value row[] = {text("1"), text("2"), text("x"), unchanged};
    struct batch_row r = {.key = row, .row = row};

    assert_string_equal(sql_of(a, &f.table, BATCH_UPDATE, SHAPE_SINGLE, &r, 1),
                        "UPDATE ONLY \"s\".\"t\" AS t SET \"note\" = $3 WHERE t.\"id\" = $1 AND t.\"n\" = $2");
    assert_string_equal(
        sql_of(a, &f.table, BATCH_UPDATE, SHAPE_REPLACE, &r, 1),
        "WITH old AS (DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = $1 RETURNING t.*) INSERT INTO "
        "\"s\".\"t\" (\"id\", \"n\", \"note\", \"doc\", \"more\") OVERRIDING SYSTEM VALUE SELECT $2, $3, "
        "$4, old.\"doc\", old.\"more\" FROM old");
}

static void never_writes_generated_columns(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    f.columns[0].is_written = false; /* the first one: no comma may be left over (D9) */
    f.is_written[0] = false;
    struct value row[] = {text("1"), null, text("x"), text("{}")};
    struct batch_row r = {.row = row};
    struct batch batch = {.table = &f.table, .op = BATCH_INSERT, .n_rows = 1, .rows = &r};

    assert_string_equal(
        sql_of(a, &f.table, BATCH_INSERT, SHAPE_SINGLE, &r, 1),
        "INSERT INTO \"s\".\"t\" (\"n\", \"note\", \"doc\") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)");
    assert_string_equal(statement_copy_sql(a, &batch, COPY_TEXT),
                        "COPY \"s\".\"t\" (\"n\", \"note\", \"doc\") FROM STDIN");
}

/* A binary int4 for an int8 column travels as what it is. */
static void declares_a_foreign_binary_value_as_what_it_is_and_casts_it(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    fill(&f);
    f.columns[0] = column("\"id\"", INT8, INT8_ARRAY, true);
    f.columns[0].cast = "bigint";
    f.columns[0].foreign_type = INT4;
    f.columns[0].foreign_array_type = INT4_ARRAY;
    struct value in_binary[] = {binary("\0\0\0\1", 4), null, null, null};
    struct value in_text[] = {text("1"), null, null, null};
    struct batch_row rows[] = {{.key = in_binary, .row = in_binary}, {.key = in_binary, .row = in_binary}};
    struct statement_input in = {
        .table = &f.table, .op = BATCH_DELETE, .shape = SHAPE_UNNEST, .rows = rows, .n_rows = 2};
    struct statement_form form = statement_form(a, &in);
    struct statement_sql sql = statement_build(a, &form);

    assert_string_equal(sql.text,
                        "DELETE FROM ONLY \"s\".\"t\" AS t USING (SELECT unnest($1)) AS v(c1) WHERE t.\"id\" = "
                        "v.c1::bigint");
    assert_int_equal(sql.types[0], INT4_ARRAY);
    rows[0].key = rows[1].key = in_text;
    form = statement_form(a, &in);
    sql = statement_build(a, &form);
    assert_string_equal(sql.text, "DELETE FROM ONLY \"s\".\"t\" AS t WHERE t.\"id\" = ANY ($1)");
    assert_int_equal(sql.types[0], INT8_ARRAY);
}

static struct buffer *key_of(struct arena *a, const struct target_table *table, enum batch_op op,
                             const struct batch_row *row)
{
    struct statement_input in = {.table = table, .op = op, .shape = SHAPE_SINGLE, .rows = row, .n_rows = 1};
    struct statement_form form = statement_form(a, &in);
    struct buffer *key = buffer_new();

    statement_key(key, &form);
    return key;
}

static bool same_key(struct arena *a, const struct target_table *table, enum batch_op op, const struct batch_row *x,
                     const struct batch_row *y)
{
    CLEANUP(buffer_free) struct buffer *first = key_of(a, table, op, x);
    CLEANUP(buffer_free) struct buffer *second = key_of(a, table, op, y);

    return first->length == second->length && memcmp(first->bytes, second->bytes, first->length) == 0;
}

static void has_one_key_exactly_where_the_sql_is_one(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct fixture f;
    struct fixture other;
    fill(&f);
    fill(&other);
    struct value full[] = {text("1"), text("2"), text("x"), text("{}")};
    struct value nulls[] = {text("1"), null, null, null};
    struct value partial[] = {text("1"), text("2"), unchanged, text("{}")};
    struct batch_row with_all = {.key = full, .row = full};
    struct batch_row with_nulls = {.key = full, .row = nulls};
    struct batch_row with_some = {.key = full, .row = partial};
    CLEANUP(buffer_free) struct buffer *mine = key_of(a, &f.table, BATCH_INSERT, &with_all);
    CLEANUP(buffer_free) struct buffer *theirs = key_of(a, &other.table, BATCH_INSERT, &with_all);

    assert_true(same_key(a, &f.table, BATCH_UPDATE, &with_all, &with_nulls));
    assert_false(same_key(a, &f.table, BATCH_UPDATE, &with_all, &with_some));
    assert_memory_not_equal(mine->bytes, theirs->bytes, mine->length);

    f.table.mode = TABLE_UNKEYED; /* there NULL is in the text: IS NULL */
    with_nulls.key = nulls;
    assert_false(same_key(a, &f.table, BATCH_DELETE, &with_all, &with_nulls));
}

static void encodes_binary_arrays_with_nulls(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(statement_params_free) struct statement_params *params = statement_params_new();
    struct fixture f;
    fill(&f);
    struct value one[] = {binary("\0\0\0\1", 4)};
    struct value none[] = {null};
    struct batch_row rows[] = {{.key = one}, {.key = none}, {.key = one}};
    struct statement_input in = {
        .table = &f.table, .op = BATCH_DELETE, .shape = SHAPE_UNNEST, .rows = rows, .n_rows = 3};
    struct statement_form form = statement_form(a, &in);

    assert_null(statement_bind(&form, params));
    assert_int_equal(params->n, 1);
    assert_int_equal(params->formats[0], 1);
    struct cursor c = cursor_over(params->values[0], (size_t)params->lengths[0]);
    assert_int_equal(cursor_u32(&c), 1); /* dimensions */
    assert_int_equal(cursor_u32(&c), 1); /* has NULLs */
    assert_int_equal(cursor_u32(&c), INT4);
    assert_int_equal(cursor_u32(&c), 3);
    assert_int_equal(cursor_u32(&c), 1); /* lower bound */
    assert_int_equal(cursor_u32(&c), 4);
    assert_int_equal(cursor_u32(&c), 1);
    assert_int_equal(cursor_u32(&c), UINT32_MAX);
    assert_int_equal(cursor_u32(&c), 4);
    assert_int_equal(cursor_u32(&c), 1);
    assert_int_equal(cursor_left(&c), 0);
    assert_false(c.failed);
}

static void quotes_every_element_of_a_text_array(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(statement_params_free) struct statement_params *params = statement_params_new();
    struct fixture f;
    fill(&f);
    struct value rows_of[][1] = {{text("NULL")}, {null}, {text("a\"b\\c,{}")}, {text("")}};
    struct batch_row rows[] = {{.key = rows_of[0]}, {.key = rows_of[1]}, {.key = rows_of[2]}, {.key = rows_of[3]}};
    struct statement_input in = {
        .table = &f.table, .op = BATCH_DELETE, .shape = SHAPE_UNNEST, .rows = rows, .n_rows = 4};
    struct statement_form form = statement_form(a, &in);

    assert_null(statement_bind(&form, params));
    assert_int_equal(params->formats[0], 0);
    assert_string_equal(params->values[0], "{\"NULL\",NULL,\"a\\\"b\\\\c,{}\",\"\"}");
}

/* libpq reads text parameters up to a NUL, and the stream's values have none. */
static void ends_text_parameters_with_a_nul(void **state)
{
    (void)state;
    CLEANUP(statement_params_free) struct statement_params *params = statement_params_new();
    struct value part = {.bytes = "abcdef", .length = 3, .state = VALUE_TEXT};

    statement_params_clear(params);
    statement_params_add(params, &part);
    for (int i = 0; i < 1000; i++) /* the buffer moves */
        statement_params_add(params, &part);
    statement_params_add_text(params, NULL);
    assert_null(statement_params_finish(params));
    assert_int_equal(params->n, 1002);
    assert_string_equal(params->values[0], "abc");
    assert_string_equal(params->values[1000], "abc");
    assert_null(params->values[1001]);
}

static void leaves_a_value_that_has_its_nul_where_it_is(void **state)
{
    (void)state;
    CLEANUP(statement_params_free) struct statement_params *params = statement_params_new();
    struct value part = {.bytes = "abc", .length = 3, .state = VALUE_TEXT, .has_nul = true};

    statement_params_clear(params);
    statement_params_add(params, &part);
    assert_null(statement_params_finish(params));
    assert_ptr_equal(params->values[0], part.bytes);
    assert_int_equal(params->lengths[0], 3);
    assert_int_equal(params->formats[0], 0);
}

static void sends_what_cannot_be_unnested_as_lists(void **state) /* F12 */
{
    (void)state;
    struct fixture f;
    fill(&f);
    struct batch batch = {.table = &f.table, .op = BATCH_INSERT};
    unsigned n;

    assert_int_equal(statement_choose(&batch, 5000, &n), SHAPE_UNNEST);
    assert_int_equal(n, 5000);
    f.columns[3].is_unnestable = false;
    assert_int_equal(statement_choose(&batch, 5000, &n), SHAPE_VALUES);
    assert_int_equal(n, 64);
    assert_int_equal(statement_choose(&batch, 63, &n), SHAPE_VALUES);
    assert_int_equal(n, 8);
    assert_int_equal(statement_choose(&batch, 7, &n), SHAPE_SINGLE);
    assert_int_equal(n, 1);
    batch.op = BATCH_DELETE; /* only the key takes part */
    assert_int_equal(statement_choose(&batch, 5000, &n), SHAPE_UNNEST);
    f.table.mode = TABLE_UNKEYED;
    assert_int_equal(statement_choose(&batch, 5000, &n), SHAPE_SINGLE);
}

static enum copy_format format_of(struct fixture *f, const struct value *row)
{
    struct batch_row r = {.row = row};
    struct batch batch = {.table = &f->table, .op = BATCH_INSERT, .n_rows = 1, .rows = &r};

    return statement_copy_format(&batch);
}

static void copies_rows_of_one_format(void **state)
{
    (void)state;
    struct fixture f;
    fill(&f);

    assert_int_equal(format_of(&f, (struct value[]){text("1"), null, text("x"), text("{}")}), COPY_TEXT);
    assert_int_equal(format_of(&f, (struct value[]){binary("\0\0\0\1", 4), null, binary("x", 1), null}), COPY_BINARY);
    assert_int_equal(format_of(&f, (struct value[]){binary("\0\0\0\1", 4), null, text("x"), null}), COPY_IMPOSSIBLE);
    f.columns[0].foreign_type = INT8;
    assert_int_equal(format_of(&f, (struct value[]){binary("\0\0\0\1", 4), null, binary("x", 1), null}),
                     COPY_IMPOSSIBLE);
}

static void escapes_text_for_copy(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *out = buffer_new();
    struct fixture f;
    fill(&f);
    struct value row[] = {text("1"), null, text("a\tb\\N\n\r\b\f\v"), text("")};
    struct batch_row rows[] = {{.row = row}, {.row = row}};
    struct batch batch = {.table = &f.table, .op = BATCH_INSERT, .n_rows = 2, .rows = rows};
    unsigned next = 0;

    statement_copy_encode(out, &batch, COPY_TEXT, &next, 1);
    assert_int_equal(next, 1);
    assert_string_equal(buffer_text(out), "1\t\\N\ta\\tb\\\\N\\n\\r\\b\\f\\v\t\n");
}

static void frames_binary_copy_once(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *out = buffer_new();
    struct fixture f;
    fill(&f);
    struct value row[] = {binary("\0\0\0\1", 4), null, binary("x", 1), null};
    struct batch_row rows[] = {{.row = row}, {.row = row}, {.row = row}};
    struct batch batch = {.table = &f.table, .op = BATCH_INSERT, .n_rows = 3, .rows = rows};
    unsigned next = 0;

    while (next < 3) /* a row at a time */
        statement_copy_encode(out, &batch, COPY_BINARY, &next, out->length + 1);
    const size_t one_row = 2 + 4 + 4 + 4 + 4 + 1 + 4;
    assert_int_equal(out->length, 19 + 3 * one_row + 2);
    assert_memory_equal(out->bytes, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    assert_memory_equal(out->bytes + out->length - 2, "\377\377", 2);
}

static void remembers_statements_by_their_whole_key(void **state) /* D5 */
{
    (void)state;
    CLEANUP(statement_cache_free) struct statement_cache *cache = statement_cache_new(2);
    char evicted[24];
    struct prepared *a = statement_cache_get(cache, "a", 1, evicted);
    struct prepared *b = statement_cache_get(cache, "b", 1, evicted);

    assert_ptr_not_equal(a, b);
    assert_string_not_equal(a->name, b->name);
    a->state = PREPARED_DONE;
    b->state = PREPARED_DONE;
    assert_ptr_equal(statement_cache_get(cache, "a", 1, evicted), a);
    assert_string_equal(evicted, "");

    char name_of_b[24];
    memcpy(name_of_b, b->name, sizeof name_of_b);
    struct prepared *c = statement_cache_get(cache, "c", 1, evicted); /* b was used longest ago */
    assert_string_equal(evicted, name_of_b);
    assert_string_not_equal(c->name, name_of_b);
    assert_int_equal(c->state, PREPARED_NOT);
    assert_int_equal(statement_cache_get(cache, "a", 1, evicted)->state, PREPARED_DONE);
    statement_cache_forget(cache);
    assert_int_equal(statement_cache_get(cache, "a", 1, evicted)->state, PREPARED_NOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_one_row_with_a_parameter_a_value),
        cmocka_unit_test(asserts_how_many_rows_there_were),
        cmocka_unit_test(writes_many_rows_with_an_array_a_column),
        cmocka_unit_test(reads_a_range_where_most_of_it_is_meant),
        cmocka_unit_test(counts_the_row_when_there_is_nothing_to_set),
        cmocka_unit_test(finds_a_row_without_key_by_all_its_columns),
        cmocka_unit_test(verifies_identity_columns_that_no_update_may_set),
        cmocka_unit_test(never_writes_generated_columns),
        cmocka_unit_test(declares_a_foreign_binary_value_as_what_it_is_and_casts_it),
        cmocka_unit_test(has_one_key_exactly_where_the_sql_is_one),
        cmocka_unit_test(encodes_binary_arrays_with_nulls),
        cmocka_unit_test(quotes_every_element_of_a_text_array),
        cmocka_unit_test(ends_text_parameters_with_a_nul),
        cmocka_unit_test(leaves_a_value_that_has_its_nul_where_it_is),
        cmocka_unit_test(sends_what_cannot_be_unnested_as_lists),
        cmocka_unit_test(copies_rows_of_one_format),
        cmocka_unit_test(escapes_text_for_copy),
        cmocka_unit_test(frames_binary_copy_once),
        cmocka_unit_test(remembers_statements_by_their_whole_key),
    };

    return cmocka_run_group_tests_name("pg/statement", tests, NULL, NULL);
}
