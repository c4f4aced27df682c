/*
 * pg/target against a real server: skipped unless PGTIDE_TEST_DSN names a database in which this test may do what it
 * likes (it replaces the schemas pgtide, s and t). Rows are read from tables of schema s as the stream would bring them, and written
 * to tables of the same name in schema t.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <sys/socket.h>

#include "pg/state.h"
#include "pg/target.h"
#include "pg/target_session.h"
#include "pg/target_table.h"
#include "support/expect.h"

#define TASK "0123456789ab"

enum {
    FORMAT_TEXT,
    FORMAT_BINARY,
    FORMATS,
};

static struct {
    struct arena *arena;
    struct pg_endpoint *endpoint;
    PGconn *admin;
    struct pg_target *session;
    struct target target;
    uint64_t end; /* of the last commit by commit_next */
} w;              /* the world of one test */

/* ---- the other side ---- */

static PGresult *ask(const char *sql, int format)
{
    PGresult *result = PQexecParams(w.admin, sql, 0, NULL, NULL, NULL, NULL, format);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        print_error("%s\n%s\n", sql, PQresultErrorMessage(result));
    assert_true(PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK);
    return result;
}

static void admin(const char *sql)
{
    PGresult *result = PQexec(w.admin, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        print_error("%s\n%s\n", sql, PQresultErrorMessage(result));
    assert_true(PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK);
    PQclear(result);
}

/* The one value that `sql` gives, in the arena. */
static const char *value_of(const char *sql)
{
    PGresult *result = ask(sql, 0);

    assert_int_equal(PQntuples(result), 1);
    const char *value = PQgetisnull(result, 0, 0) ? "NULL" : arena_strdup(w.arena, PQgetvalue(result, 0, 0));
    PQclear(result);
    return value;
}

static void same(const char *sql, const char *expected)
{
    const char *value = value_of(sql);

    if (strcmp(value, expected) != 0)
        print_error("%s\n", sql);
    assert_string_equal(value, expected);
}

/* Both tables hold the same rows, to the last digit. */
static void mirrored(const char *table)
{
    const char *sql =
        arena_printf(w.arena,
                     "SELECT count(*) FROM ((SELECT x::text FROM s.%s x EXCEPT ALL SELECT x::text FROM t.%s x)"
                     " UNION ALL (SELECT x::text FROM t.%s x EXCEPT ALL SELECT x::text FROM s.%s x)) d",
                     table, table, table, table);
    same(sql, "0");
}

/* A table of schema s as the stream describes it, named as its twin in schema t. */
static struct stream_relation *relation_of(const char *table, enum replica_identity identity)
{
    const char *sql =
        arena_printf(w.arena,
                     "SELECT a.attname, a.atttypid, coalesce(a.attnum = ANY (i.indkey), false) FROM pg_attribute a"
                     "  LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
                     " WHERE a.attrelid = 's.%s'::regclass AND a.attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                     " ORDER BY a.attnum",
                     table);
    PGresult *result = ask(sql, 0);
    struct stream_relation *r = ARENA_NEW(w.arena, struct stream_relation);
    unsigned n = (unsigned)PQntuples(result);
    struct stream_column *columns = arena_alloc(w.arena, (n + 1) * sizeof *columns);

    for (unsigned i = 0; i < n; i++) {
        bool is_key = PQgetvalue(result, (int)i, 2)[0] == 't';

        columns[i].name = arena_strdup(w.arena, PQgetvalue(result, (int)i, 0));
        columns[i].type = (uint32_t)strtoul(PQgetvalue(result, (int)i, 1), NULL, 10);
        columns[i].in_identity = identity == IDENTITY_FULL || (identity != IDENTITY_NOTHING && is_key);
    }
    PQclear(result);
    *r = (struct stream_relation){
        .schema = "t", .name = table, .identity = identity, .n_columns = n, .columns = columns};
    return r;
}

static struct target_table *table_of(const char *table, enum replica_identity identity)
{
    struct target_table *t = NULL;

    expect_ok(w.target.ops->table(w.target.self, w.arena, relation_of(table, identity), &t));
    return t;
}

/* The rows of a query, as values of the stream. */
static struct value **read_rows(const char *sql, int format, unsigned *out_n)
{
    PGresult *result = ask(sql, format);
    int n_columns = PQnfields(result);
    struct value **rows = arena_alloc(w.arena, ((size_t)PQntuples(result) + 1) * sizeof *rows);

    for (int r = 0; r < PQntuples(result); r++) {
        rows[r] = arena_alloc(w.arena, (size_t)n_columns * sizeof(struct value));
        for (int c = 0; c < n_columns; c++) {
            unsigned length = (unsigned)PQgetlength(result, r, c);

            if (PQgetisnull(result, r, c))
                continue;
            rows[r][c].state = format == FORMAT_BINARY ? VALUE_BINARY : VALUE_TEXT;
            rows[r][c].length = length;
            rows[r][c].bytes = memcpy(arena_bytes(w.arena, length + 1), PQgetvalue(result, r, c), length);
        }
    }
    *out_n = (unsigned)PQntuples(result);
    PQclear(result);
    return rows;
}

static struct value text(const char *bytes)
{
    return (struct value){.bytes = bytes, .length = (uint32_t)strlen(bytes), .state = VALUE_TEXT};
}

static const struct value null = {.state = VALUE_NULL};
static const struct value unchanged = {.state = VALUE_UNCHANGED};

/* ---- this side ---- */

static void begin(void)
{
    expect_ok(w.target.ops->begin(w.target.self));
}

static void send_batch(const struct target_table *t, enum batch_op op, struct value *const *rows, unsigned n)
{
    struct batch_row *all = arena_alloc(w.arena, (n + 1) * sizeof *all);

    for (unsigned i = 0; i < n; i++) {
        all[i].row = op == BATCH_DELETE ? NULL : rows[i];
        all[i].key = op == BATCH_INSERT ? NULL : t->mode == TABLE_KEYED ? &rows[i][t->key[0]] : rows[i];
    }
    expect_ok(w.target.ops->batch(w.target.self, &(struct batch){.table = t, .op = op, .n_rows = n, .rows = all}));
}

static void settles(void)
{
    bool good = false;
    const char *why = "";

    expect_ok(w.target.ops->settle(w.target.self, w.arena, &good, &why));
    if (!good)
        print_error("%s\n", why);
    assert_true(good);
}

static const char *does_not_settle(void)
{
    bool good = true;
    const char *why = NULL;

    expect_ok(w.target.ops->settle(w.target.self, w.arena, &good, &why));
    assert_false(good);
    assert_non_null(why);
    return why;
}

static struct apply_position at(uint64_t end)
{
    return (struct apply_position){.end = {end}, .transactions = end / 10, .committed_us = 5};
}

static void commit(uint64_t end)
{
    expect_ok(w.target.ops->commit(w.target.self, at(end), false));
}

static void commit_next(void)
{
    w.end += 10;
    commit(w.end);
}

static void rollback(void)
{
    w.target.ops->rollback(w.target.self);
}

static uint64_t resumes(void)
{
    struct apply_position position;

    expect_ok(w.target.ops->resume(w.target.self, &position));
    return position.end.value;
}

static struct row_result row(const struct target_table *t, enum batch_op op, const struct value *key,
                             const struct value *values, enum row_overwrite overwrite)
{
    struct row_change change = {.table = t, .op = op, .row = {.key = key, .row = values}};
    struct row_result result;

    expect_ok(w.target.ops->row(w.target.self, w.arena, &change, overwrite, &result));
    return result;
}

static struct pg_target *session(void)
{
    return pg_target_new(w.arena, (struct pg_target_options){.endpoint = w.endpoint,
                                                             .application_name = "pgtide " TASK " lane 1",
                                                             .encoding = "UTF8",
                                                             .task = TASK,
                                                             .lane = 1,
                                                             .lane_count = 1});
}

static int open_world(void **state)
{
    const char *dsn = getenv("PGTIDE_TEST_DSN"); /* NOLINT(concurrency-mt-unsafe): there is one thread */

    (void)state;
    if (dsn == NULL)
        return 0;
    w.arena = arena_new(NULL, "test");
    w.admin = PQconnectdb(dsn);
    assert_int_equal(PQstatus(w.admin), CONNECTION_OK);
    admin("SET client_min_messages = error; SET search_path = pg_catalog; SET extra_float_digits = 3;"
          "DROP SCHEMA IF EXISTS s, t, pgtide CASCADE; CREATE SCHEMA s; CREATE SCHEMA t");
    expect_ok(pg_endpoint_parse(w.arena, "target", dsn, &w.endpoint));
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;
    expect_ok(pg_connect(w.endpoint, (struct pg_connect_options){.application_name = "test"}, &c));
    expect_ok(state_create(
        c, &(struct state_task){.task = TASK, .source_system = "1", .source_database = "x", .version = "1"}));
    w.session = session();
    w.end = 0;
    w.target = pg_target_port(w.session);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (w.arena == NULL)
        return 0;
    pg_target_close(w.session);
    PQfinish(w.admin);
    arena_free(TAKE(w.arena));
    return 0;
}

#define NEEDS_SERVER()       \
    do {                     \
        (void)state;         \
        if (w.arena == NULL) \
            skip();          \
    } while (0)

/* ---- every type, every shape ---- */

static const char types_sql[] =
    "CREATE TYPE s.mood AS ENUM ('sad', 'very happy', 'it''s \"so\"');"
    "CREATE DOMAIN s.positive AS int CHECK (VALUE > 0);"
    "CREATE DOMAIN s.name_of AS varchar(40) CHECK (VALUE <> '');"
    "CREATE TABLE s.scalar (id int PRIMARY KEY, a bigint, b text, c numeric(30,10), d timestamptz, e bool, f bytea, g "
    "jsonb,"
    "  h uuid, i s.mood, j s.positive, k int4range, l float8, m inet, n json, o xml, p money, q bpchar(5), r interval,"
    "  u name, v oid, x date, y time, z \"char\", aa box, bb float4, cc smallint, dd varchar(20), ee s.name_of, ff "
    "bit(3),"
    "  gg macaddr, hh tsvector, ii pg_lsn, jj timetz, kk numrange, ll point, mm cidr, nn varbit);"
    "INSERT INTO s.scalar SELECT n, n * 1000000007::bigint, repeat(E'x,\"\\\\{}é\\t\\n' || n, n %% 7), n / 7.0,"
    "  '2020-01-01'::timestamptz + n * interval '1.000001 s', n %% 2 = 0, decode(md5(n::text), 'hex'),"
    "  jsonb_build_object('n', n, 'q', '\"'), md5(n::text)::uuid, (ARRAY['sad', 'very happy', 'it''s \"so\"'])[n %% 3 "
    "+ 1]::s.mood,"
    "  n + 1, int4range(n, n + 5), CASE n %% 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE n / 3.0 END::float8,"
    "  '10.0.0.1/8'::inet + n, json_build_object('a b', n, 'z', null), xmlparse(content '<a>' || n || '</a>'), "
    "n::money,"
    "  'ab' || n %% 10, n * interval '1 month 2 days 3.5 s', 'n' || n, n::oid, '2000-01-01'::date + n, '00:00'::time + "
    "n * interval '1 s',"
    "  chr(65 + n %% 26)::\"char\", box(point(n, n), point(0, -n)), n / 3.0, n %% 30000, 'v' || n, 'd' || n, (n %% "
    "8)::bit(3),"
    "  '08:00:2b:01:02:03', to_tsvector('simple', 'a b c' || n), '0/0'::pg_lsn + n, '12:00+02', numrange(n, n + 0.5),"
    "  point(n, -n), '10.0.0.0/8', (n %% 8)::bit(3)::varbit"
    "  FROM generate_series(1, %d) AS g(n);"
    "INSERT INTO s.scalar (id) VALUES (0);"
    "CREATE TYPE s.pair AS (x int, y text);"
    "CREATE DOMAIN s.ints AS int[];"
    "CREATE TABLE s.nested (id int PRIMARY KEY, a int[], b text[], c s.pair, d s.pair[], e s.mood[], f s.ints, g "
    "int2vector);"
    "INSERT INTO s.nested SELECT n, ARRAY[n, NULL, -n], ARRAY[['a', 'b,\"' || n], ['c\\', NULL]], (n, 'x \"' || "
    "n)::s.pair,"
    "  ARRAY[(n, NULL)::s.pair], ARRAY['sad', 'very happy']::s.mood[], ARRAY[n], '1 2'::int2vector"
    "  FROM generate_series(1, %d) AS g(n);"
    "INSERT INTO s.nested (id) VALUES (0);"
    "CREATE TABLE t.scalar (LIKE s.scalar INCLUDING ALL); CREATE TABLE t.nested (LIKE s.nested INCLUDING ALL);";

static void change_all(const char *table, const char *update, int format)
{
    struct target_table *t = table_of(table, IDENTITY_DEFAULT);
    unsigned n;
    const char *query = arena_printf(w.arena, "SELECT * FROM s.%s ORDER BY id DESC", table);

    assert_int_equal(t->mode, TABLE_KEYED);
    begin();
    struct value **rows = read_rows(query, format, &n);
    send_batch(t, BATCH_INSERT, rows, n);
    settles();
    commit_next();
    mirrored(table);

    admin(update);
    begin();
    struct value **changed = read_rows(query, format, &n);
    send_batch(t, BATCH_UPDATE, changed, n);
    settles();
    commit_next();
    mirrored(table);

    begin();
    send_batch(t, BATCH_DELETE, rows, n);
    settles();
    commit_next();
    same(arena_printf(w.arena, "SELECT count(*) FROM t.%s", table), "0");
}

static void carry_every_type(int n, int format)
{
    resumes();
    admin(arena_printf(w.arena, types_sql, n, n));
    change_all("scalar",
               "UPDATE s.scalar SET a = a + 1, c = c * 2, d = NULL, f = f || '\\x00ff', g = '[]', i = 'sad', l = -0.0,"
               " n = '{\"changed\":  true}', b = b || '!', kk = NULL WHERE id > 0",
               format);
    change_all("nested", "UPDATE s.nested SET a = a || 1, b = NULL, c = NULL, e = NULL, f = '{}' WHERE id > 0", format);
}

static void carries_every_type_one_by_one_as_text(void **state)
{
    NEEDS_SERVER();
    carry_every_type(1, FORMAT_TEXT);
}

static void carries_every_type_one_by_one_in_binary(void **state)
{
    NEEDS_SERVER();
    carry_every_type(1, FORMAT_BINARY);
}

static void carries_every_type_in_sets_as_text(void **state)
{
    NEEDS_SERVER();
    carry_every_type(90, FORMAT_TEXT);
}

static void carries_every_type_in_sets_in_binary(void **state)
{
    NEEDS_SERVER();
    carry_every_type(90, FORMAT_BINARY);
}

static void carries_thousands_of_rows_as_text(void **state)
{
    NEEDS_SERVER();
    carry_every_type(3000, FORMAT_TEXT);
}

static void carries_thousands_of_rows_in_binary(void **state)
{
    NEEDS_SERVER();
    carry_every_type(3000, FORMAT_BINARY);
}

/* Far more than socket buffers and libpq's buffer hold, in one transaction: nobody waits for nobody. */
static void never_blocks_on_large_values(void **state)
{
    NEEDS_SERVER();
    unsigned n;

    resumes();
    admin("CREATE TABLE s.big (id int PRIMARY KEY, v text); CREATE TABLE t.big (LIKE s.big INCLUDING ALL);"
          "INSERT INTO s.big SELECT n, repeat(md5(n::text), 40000) FROM generate_series(1, 40) g(n)");
    struct target_table *t = table_of("big", IDENTITY_DEFAULT);
    struct value **rows = read_rows("SELECT * FROM s.big ORDER BY id", FORMAT_BINARY, &n);
    begin();
    for (unsigned i = 0; i < n; i++)
        send_batch(t, BATCH_INSERT, &rows[i], 1);
    send_batch(t, BATCH_UPDATE, rows, n);
    settles();
    commit(10);
    mirrored("big");
}

static void casts_between_types_of_both_sides(void **state)
{
    NEEDS_SERVER();
    unsigned n;

    resumes();
    admin("CREATE TABLE s.other (id int PRIMARY KEY, v float4, w varchar(5), x int[]);"
          "INSERT INTO s.other SELECT n, n, n::text, ARRAY[n] FROM generate_series(1, 300) g(n);"
          "CREATE TABLE t.other (id bigint PRIMARY KEY, v numeric, w text, x bigint[])");
    struct target_table *t = table_of("other", IDENTITY_DEFAULT);
    for (int format = 0; format < FORMATS; format++) {
        struct value **rows = read_rows("SELECT * FROM s.other ORDER BY id", format, &n);

        begin();
        send_batch(t, BATCH_INSERT, rows, n);
        send_batch(t, BATCH_UPDATE, rows, n);
        settles();
        commit_next();
        mirrored("other");
        begin();
        send_batch(t, BATCH_DELETE, rows, n);
        settles();
        commit_next();
    }
    same("SELECT count(*) FROM t.other", "0");
}

/* ---- counts and refusals ---- */

static struct target_table *small_table(const char *more)
{
    resumes();
    admin(arena_printf(w.arena,
                       "CREATE TABLE s.small (id int PRIMARY KEY, u int UNIQUE, v text %s);"
                       "CREATE TABLE t.small (LIKE s.small INCLUDING ALL);"
                       "INSERT INTO t.small (id, u, v) VALUES (1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')",
                       more));
    return table_of("small", IDENTITY_DEFAULT);
}

static void says_when_a_row_was_not_there(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value there[] = {text("1"), text("10"), text("z")};
    struct value missing[] = {text("9"), text("90"), text("z")};
    struct value *rows[] = {there, missing};

    for (int op = BATCH_UPDATE; op <= BATCH_DELETE; op++) {
        if (op == BATCH_REKEY)
            continue;
        begin();
        send_batch(t, (enum batch_op)op, rows, 2);
        assert_non_null(strstr(does_not_settle(), "touched other rows than expected"));
        rollback();
        begin();
        expect_ok(w.target.ops->savepoint(w.target.self)); /* from here on it is us who count */
        send_batch(t, (enum batch_op)op, rows, 2);
        assert_non_null(strstr(does_not_settle(), "touched 1 rows, expected were 2"));
        rollback();
    }
    assert_int_equal(resumes(), 0);
    same("SELECT string_agg(v, ',' ORDER BY id) FROM t.small", "a,b,c");
}

static enum commit_verdict commit_at_once(uint64_t end, const char **out_why)
{
    enum commit_verdict verdict;

    expect_ok(w.target.ops->commit_at_once(w.target.self, w.arena, at(end), false, &verdict, out_why));
    return verdict;
}

/* P1, P5, F9: every operation, alone and in a set */
static void commits_in_one_go_what_is_as_expected(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value rows_of[][3] = {{text("1"), text("10"), text("z")},
                                 {text("2"), text("20"), text("z")},
                                 {text("4"), text("40"), text("z")},
                                 {text("5"), text("50"), text("z")}};
    struct value key_of_3[] = {text("3")}, moved[] = {text("13"), text("30"), unchanged};
    const char *why = NULL;

    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){rows_of[2]}, 1);
    send_batch(t, BATCH_UPDATE, (struct value *[]){rows_of[0], rows_of[1]}, 2);
    expect_ok(
        w.target.ops->batch(w.target.self, &(struct batch){t, BATCH_REKEY, 1, &(struct batch_row){key_of_3, moved}}));
    assert_int_equal(commit_at_once(10, &why), COMMIT_DONE);
    begin();
    send_batch(t, BATCH_DELETE, (struct value *[]){rows_of[0]}, 1);
    send_batch(t, BATCH_INSERT, (struct value *[]){rows_of[0], rows_of[3]}, 2);
    send_batch(t, BATCH_DELETE, (struct value *[]){rows_of[0], rows_of[1]}, 2);
    assert_int_equal(commit_at_once(20, &why), COMMIT_DONE);
    same("SELECT string_agg(concat(id, v), ',' ORDER BY id) FROM t.small", "4z,5z,13c");
    assert_int_equal(resumes(), 20);
}

/* A2: the server skips COMMIT by itself */
static void nothing_is_committed_in_one_go_when_a_row_was_not_there(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value there[] = {text("1"), text("10"), text("z")}, missing[] = {text("9"), text("90"), text("z")};
    const char *why = NULL;

    for (int op = BATCH_UPDATE; op <= BATCH_DELETE; op++) {
        if (op == BATCH_REKEY)
            continue;
        for (unsigned n = 1; n <= 2; n++) { /* alone, and in a set */
            begin();
            send_batch(t, BATCH_INSERT, (struct value *[]){missing}, 1);
            send_batch(t, BATCH_DELETE, (struct value *[]){missing}, 1);
            send_batch(t, (enum batch_op)op, (struct value *[]){missing, there}, n);
            assert_int_equal(commit_at_once(10, &why), COMMIT_SURPRISED);
            assert_non_null(strstr(why, "\"t.small\" touched other rows than expected"));
            rollback();
        }
    }
    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){there}, 1);
    assert_int_equal(commit_at_once(10, &why), COMMIT_SURPRISED);
    assert_non_null(strstr(why, "small_pkey"));
    rollback();
    assert_int_equal(resumes(), 0);
    same("SELECT string_agg(v, ',' ORDER BY id) FROM t.small", "a,b,c");
}

/* Where the counts are not the server's to see to, the two steps remain. */
static void what_is_large_or_has_rules_is_not_committed_in_one_go(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    const char *why = NULL;
    unsigned n;

    admin("INSERT INTO s.small SELECT n, n, 'x' FROM generate_series(1001, 1101) g(n);"
          "CREATE TABLE s.ruled (id int PRIMARY KEY); CREATE TABLE t.ruled (id int PRIMARY KEY);"
          "CREATE RULE also AS ON INSERT TO t.ruled DO ALSO SELECT 1; ALTER TABLE t.ruled ENABLE ALWAYS RULE also");
    struct target_table *ruled = table_of("ruled", IDENTITY_DEFAULT);
    begin();
    struct value **rows = read_rows("SELECT * FROM s.small", FORMAT_BINARY, &n);
    send_batch(t, BATCH_INSERT, rows, n);
    assert_int_equal(commit_at_once(10, &why), COMMIT_NOT_POSSIBLE);
    settles();
    commit(10);
    begin();
    send_batch(ruled, BATCH_INSERT, (struct value *[]){(struct value[]){text("1")}}, 1);
    assert_int_equal(commit_at_once(20, &why), COMMIT_NOT_POSSIBLE);
    settles();
    commit(20);
    same("SELECT count(*) FROM t.ruled", "1");
}

static void moves_keys_in_sets_too(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value keys[][1] = {{text("1")}, {text("2")}, {text("3")}};
    struct value rows_of[][3] = {
        {text("11"), text("10"), unchanged}, {text("12"), text("20"), unchanged}, {text("13"), null, unchanged}};
    struct batch_row rows[] = {{keys[0], rows_of[0]}, {keys[1], rows_of[1]}, {keys[2], rows_of[2]}};

    begin();
    expect_ok(w.target.ops->batch(w.target.self, &(struct batch){t, BATCH_REKEY, 3, rows}));
    settles();
    commit(10);
    same("SELECT string_agg(concat(id, '/', u, v), ',' ORDER BY id) FROM t.small", "11/10a,12/20b,13/c");
}

/* Nothing to set, nothing is written, but the row must be there. */
static void counts_rows_that_an_update_leaves_as_they_are(void **state)
{
    NEEDS_SERVER();
    struct value there[][1] = {{text("1")}, {text("2")}};
    struct value missing[] = {text("3")};

    resumes();
    admin("CREATE TABLE s.keys (id int PRIMARY KEY); CREATE TABLE t.keys (id int PRIMARY KEY);"
          "INSERT INTO t.keys VALUES (1), (2)");
    struct target_table *t = table_of("keys", IDENTITY_DEFAULT);
    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){there[0]}, 1);
    send_batch(t, BATCH_UPDATE, (struct value *[]){there[0], there[1]}, 2);
    settles();
    send_batch(t, BATCH_UPDATE, (struct value *[]){there[0], missing}, 2);
    does_not_settle();
    rollback();
}

/* F8: legal one by one, refused in one statement. Then the exact path does it. */
static void refuses_a_swap_in_a_set_and_does_it_row_by_row(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value steps[][3] = {
        {text("1"), text("0"), unchanged}, {text("2"), text("10"), unchanged}, {text("1"), text("20"), unchanged}};
    struct value *swapped[] = {steps[2], steps[1]};

    begin();
    send_batch(t, BATCH_UPDATE, swapped, 2);
    assert_non_null(strstr(does_not_settle(), "small_u_key"));
    rollback();
    begin();
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        assert_int_equal(row(t, BATCH_UPDATE, steps[i], steps[i], ROW_PLAIN).outcome, ROW_DONE);
    commit(10);
    same("SELECT string_agg(u || v, ',' ORDER BY id) FROM t.small", "20a,10b,30c");
}

static void a_failed_copy_is_an_outcome_too(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    unsigned n;

    admin("INSERT INTO s.small SELECT n, n, 'x' FROM generate_series(3, 3000) g(n)");
    begin();
    struct value **rows = read_rows("SELECT * FROM s.small", FORMAT_BINARY, &n);
    send_batch(t, BATCH_INSERT, rows, n);
    assert_non_null(strstr(does_not_settle(), "small_pkey"));
    rollback();
    begin(); /* the session is as good as before */
    struct value ok[] = {text("4"), text("40"), text("d")};
    send_batch(t, BATCH_INSERT, (struct value *[]){ok}, 1);
    settles();
    commit(10);
    same("SELECT count(*) FROM t.small", "4");
}

/* A2 */
static void rolls_back_to_the_savepoint_only(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value rows[][3] = {
        {text("4"), text("40"), null}, {text("5"), text("50"), null}, {text("6"), text("40"), null}};

    begin();
    expect_ok(w.target.ops->savepoint(w.target.self));
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[0]}, 1);
    settles();
    expect_ok(w.target.ops->savepoint(w.target.self));
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[1], rows[2]}, 2);
    does_not_settle();
    expect_ok(w.target.ops->rollback_to_savepoint(w.target.self));
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[1]}, 1);
    settles();
    commit(10);
    same("SELECT string_agg(id::text, ',' ORDER BY id) FROM t.small", "1,2,3,4,5");
}

/* ---- the exact path ---- */

static void tells_what_is_missing_or_in_the_way(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value same_row[] = {text("2"), text("20"), text("b")};
    struct value other_row[] = {text("2"), text("20"), text("B")};
    struct value blocked[] = {text("4"), text("30"), text("d")};
    struct value missing[] = {text("9"), text("90"), text("z")};

    begin();
    struct row_result r = row(t, BATCH_INSERT, NULL, same_row, ROW_PLAIN);
    assert_int_equal(r.outcome, ROW_DUPLICATE);
    assert_string_equal(r.constraint, "small_pkey");
    assert_true(r.is_identical);
    r = row(t, BATCH_INSERT, NULL, other_row, ROW_PLAIN);
    assert_int_equal(r.outcome, ROW_DUPLICATE);
    assert_false(r.is_identical);
    r = row(t, BATCH_INSERT, NULL, blocked, ROW_PLAIN);
    assert_string_equal(r.constraint, "small_u_key");
    assert_non_null(strstr(r.detail, "30"));
    assert_int_equal(row(t, BATCH_UPDATE, missing, missing, ROW_PLAIN).outcome, ROW_MISSING);
    assert_int_equal(row(t, BATCH_DELETE, missing, NULL, ROW_PLAIN).outcome, ROW_MISSING);
    assert_int_equal(row(t, BATCH_REKEY, missing, missing, ROW_PLAIN).outcome, ROW_MISSING);
    assert_int_equal(row(t, BATCH_REKEY, same_row, missing, ROW_PLAIN).outcome, ROW_DONE);
    commit(10); /* none of it broke the transaction */
    same("SELECT string_agg(id || v, ',' ORDER BY id) FROM t.small", "1a,3c,9z");
}

static void overwrites_every_row_that_is_in_the_way(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value twice_blocked[] = {text("1"), text("20"), text("new")};

    admin("CREATE UNIQUE INDEX ON t.small (lower(v)) WHERE id > 0");
    begin();
    struct row_result r = row(t, BATCH_INSERT, NULL, twice_blocked, ROW_OVERWRITE);
    assert_int_equal(r.outcome, ROW_DONE);
    assert_int_equal(r.n_removed, 2);
    assert_memory_equal(r.removed[0][2].bytes, "a", 1);
    assert_memory_equal(r.removed[1][2].bytes, "b", 1);
    struct value same_lower[] = {text("3"), text("30"), text("NEW")};
    r = row(t, BATCH_UPDATE, same_lower, same_lower, ROW_OVERWRITE);
    assert_int_equal(r.outcome, ROW_DONE);
    assert_int_equal(r.n_removed, 1);
    commit(10);
    same("SELECT string_agg(id || v, ',' ORDER BY id) FROM t.small", "3NEW");
}

/* A column that the change does not name must not be taken for any value: that would delete every row. */
static void does_not_guess_which_row_is_in_the_way(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value change[] = {text("1"), text("20"), unchanged};
    struct row_change c = {.table = t, .op = BATCH_UPDATE, .row = {.key = change, .row = change}};
    struct row_result r;

    admin("ALTER TABLE t.small DROP CONSTRAINT small_u_key; CREATE UNIQUE INDEX odd ON t.small (u, (v IS NULL))");
    begin();
    expect_error(w.target.ops->row(w.target.self, w.arena, &c, ROW_OVERWRITE, &r), ERROR_DATA, "did not send");
    rollback();
    same("SELECT count(*) FROM t.small", "3");
}

static void other_refusals_of_a_row_are_data_errors(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value bad[] = {text("4"), text("-5"), text("d")};
    struct row_change c = {.table = t, .op = BATCH_INSERT, .row = {.row = bad}};
    struct row_result r;

    admin("ALTER TABLE t.small ADD CONSTRAINT positive CHECK (u > 0)");
    begin();
    expect_error(w.target.ops->row(w.target.self, w.arena, &c, ROW_PLAIN, &r), ERROR_DATA, "positive");
    rollback();
    assert_int_equal(resumes(), 0);
}

/* A4 */
static void records_a_conflict_with_its_rows_in_the_transaction(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value change[] = {text("2"), text("20"), null};
    struct value gone[] = {text("2"), text("21"), text("it's \"b\"")};
    const struct value *removed[] = {gone};
    struct conflict c = {.kind = CONFLICT_INSERT_DUPLICATE,
                         .policy = CONFLICT_OVERWRITE,
                         .action = CONFLICT_REPLACED,
                         .change = {.table = t, .op = BATCH_INSERT, .row = {.row = change}},
                         .n_removed = 1,
                         .removed = removed,
                         .xid = 4000000000,
                         .commit = {0x1234}};

    begin();
    expect_ok(w.target.ops->conflict(w.target.self, &c));
    rollback();
    same("SELECT count(*) FROM pgtide.conflict", "0");
    begin();
    expect_ok(w.target.ops->conflict(w.target.self, &c));
    c.n_removed = 0;
    c.kind = CONFLICT_DELETE_MISSING;
    c.change.op = BATCH_DELETE;
    c.change.row = (struct batch_row){.key = change};
    expect_ok(w.target.ops->conflict(w.target.self, &c));
    commit(10);
    same("SELECT concat_ws('|', task, table_name, kind, policy, action, key_row, old_row, new_row, lsn, xid)"
         " FROM pgtide.conflict ORDER BY id LIMIT 1",
         TASK "|t.small|insert-duplicate|overwrite|replaced|{\"id\":\"2\"}|[{\"id\":\"2\",\"u\":\"21\",\"v\":\"it's "
              "\\\"b\\\"\"}]|{\"id\":\"2\",\"u\":\"20\",\"v\":null}|0/1234|4000000000");
    same("SELECT concat_ws('|', kind, key_row, old_row, new_row) FROM pgtide.conflict ORDER BY id DESC LIMIT 1",
         "delete-missing|{\"id\":\"2\"}");
}

/* ---- rows without a key ---- */

static void changes_exactly_one_of_equal_rows(void **state) /* D7, F13 */
{
    NEEDS_SERVER();
    static const char *const rows_sql[] = {"SELECT 1, 1.0, NULL::text, '{\"a\":1}'::json, '-0'::float8",
                                           "SELECT 1, 1.00, NULL::text, '{\"a\":1}'::json, '0'::float8"};
    unsigned n;

    resumes();
    admin("CREATE TABLE s.heap (a int, b numeric, c text, d json, e float8); CREATE TABLE t.heap (LIKE s.heap)");
    for (int i = 0; i < 4; i++)
        admin(arena_printf(w.arena, "INSERT INTO t.heap %s", rows_sql[i % 2]));
    struct target_table *t = table_of("heap", IDENTITY_FULL);
    assert_int_equal(t->mode, TABLE_UNKEYED);
    for (int format = 0; format < FORMATS; format++) {
        struct value **old = read_rows(rows_sql[0], format, &n);
        struct value changed[] = {text("2"), text("3.50"), text("x"), unchanged, null};
        struct batch_row r = {.key = old[0], .row = changed};

        begin();
        if (format == FORMAT_TEXT)
            expect_ok(w.target.ops->batch(w.target.self, &(struct batch){t, BATCH_UPDATE, 1, &r}));
        else
            send_batch(t, BATCH_DELETE, old, 1);
        settles();
        commit_next();
    }
    same("SELECT string_agg(concat_ws(' ', a, b, c, d, e), ',' ORDER BY h::text) FROM t.heap h",
         "1 1.00 {\"a\":1} 0,1 1.00 {\"a\":1} 0,2 3.50 x {\"a\":1}");
    begin();
    struct value **gone = read_rows(rows_sql[0], FORMAT_TEXT, &n);
    assert_int_equal(row(t, BATCH_DELETE, gone[0], NULL, ROW_PLAIN).outcome, ROW_MISSING);
    commit_next();
}

/* ---- identity, generated columns, kinds of tables ---- */

static void carries_changes_of_always_identities(void **state) /* pain 13, D9 */
{
    NEEDS_SERVER();
    resumes();
    admin("CREATE TABLE s.ident (id int PRIMARY KEY, g int GENERATED ALWAYS AS IDENTITY, v text);"
          "CREATE TABLE t.ident (LIKE s.ident INCLUDING ALL, extra text DEFAULT 'kept')");
    struct target_table *t = table_of("ident", IDENTITY_DEFAULT);
    struct value inserted[] = {text("1"), text("77"), text("a")};
    struct value updated[] = {text("1"), text("77"), text("b")};
    struct value moved[] = {text("1"), text("78"), unchanged};
    struct value rekeyed[] = {text("2"), text("79"), unchanged};

    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){inserted}, 1);
    send_batch(t, BATCH_UPDATE, (struct value *[]){updated}, 1);
    settles();
    commit(10);
    same("SELECT concat_ws(' ', id, g, v, extra) FROM t.ident", "1 77 b kept");
    admin("UPDATE t.ident SET extra = 'mine'");
    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){moved}, 1);
    does_not_settle();
    rollback();
    begin();
    assert_int_equal(row(t, BATCH_UPDATE, moved, moved, ROW_PLAIN).outcome, ROW_DONE);
    assert_int_equal(row(t, BATCH_REKEY, inserted, rekeyed, ROW_PLAIN).outcome, ROW_DONE);
    assert_int_equal(row(t, BATCH_UPDATE, inserted, inserted, ROW_PLAIN).outcome, ROW_MISSING);
    commit(20);
    same("SELECT concat_ws(' ', id, g, v, extra) FROM t.ident", "2 79 b mine");
}

static void leaves_generated_columns_to_the_target(void **state)
{
    NEEDS_SERVER();
    unsigned n;

    resumes();
    admin("CREATE TABLE s.gen (twice int GENERATED ALWAYS AS (id * 2) STORED, id int PRIMARY KEY, v int);"
          "CREATE TABLE t.gen (LIKE s.gen INCLUDING ALL);"
          "INSERT INTO s.gen (id, v) SELECT n, n FROM generate_series(1, 500) g(n)");
    struct target_table *t = table_of("gen", IDENTITY_DEFAULT);
    begin();
    struct value **rows = read_rows("SELECT id, v FROM s.gen", FORMAT_BINARY, &n);
    send_batch(t, BATCH_INSERT, rows, n);
    settles();
    commit(10);
    mirrored("gen");
}

static void writes_through_the_root_of_a_partitioned_target(void **state)
{
    NEEDS_SERVER();
    unsigned n;

    resumes();
    admin("CREATE TABLE s.part (id int PRIMARY KEY, v int); INSERT INTO s.part SELECT n, n FROM generate_series(1, "
          "300) g(n);"
          "CREATE TABLE t.part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);"
          "CREATE TABLE t.part1 PARTITION OF t.part FOR VALUES FROM (0) TO (100);"
          "CREATE TABLE t.part2 PARTITION OF t.part FOR VALUES FROM (100) TO (1000)");
    struct target_table *t = table_of("part", IDENTITY_DEFAULT);
    struct value **rows = read_rows("SELECT * FROM s.part", FORMAT_BINARY, &n);
    struct value moved[] = {text("999"), text("1")};
    struct batch_row rekey = {.key = (struct value[]){text("1")}, .row = moved};

    begin();
    send_batch(t, BATCH_INSERT, rows, n);
    send_batch(t, BATCH_UPDATE, rows, n);
    expect_ok(w.target.ops->batch(w.target.self, &(struct batch){t, BATCH_REKEY, 1, &rekey}));
    settles();
    struct value again[] = {text("2"), text("7")};
    struct row_result r = row(t, BATCH_INSERT, NULL, again, ROW_OVERWRITE);
    assert_int_equal(r.outcome, ROW_DONE);
    assert_int_equal(r.n_removed, 1);
    commit(10);
    same("SELECT count(*) || ' ' || sum(v) FROM t.part2", "202 40201");
    same("SELECT v FROM t.part1 WHERE id = 2", "7");
}

static void leaves_inheritance_children_alone(void **state)
{
    NEEDS_SERVER();
    resumes();
    admin("CREATE TABLE s.parent (id int PRIMARY KEY, v text); CREATE TABLE t.parent (LIKE s.parent INCLUDING ALL);"
          "CREATE TABLE t.child () INHERITS (t.parent); INSERT INTO t.parent VALUES (1, 'parent');"
          "INSERT INTO t.child VALUES (1, 'child')");
    struct target_table *t = table_of("parent", IDENTITY_DEFAULT);
    struct value changed[] = {text("1"), text("changed")};
    const struct target_table *tables[] = {t};

    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){changed}, 1);
    settles();
    expect_ok(w.target.ops->truncate(w.target.self, tables, 1, false));
    settles();
    commit(10);
    same("SELECT string_agg(v, ',') FROM t.parent", "child");
}

static void truncates_several_tables_at_once(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    admin("CREATE TABLE s.serial (id serial PRIMARY KEY); CREATE TABLE t.serial (id serial PRIMARY KEY REFERENCES "
          "t.small);"
          "INSERT INTO t.serial DEFAULT VALUES");
    const struct target_table *tables[] = {t, table_of("serial", IDENTITY_DEFAULT)};

    begin();
    expect_ok(w.target.ops->truncate(w.target.self, tables, 2, true)); /* one by one the foreign key would refuse */
    settles();
    commit(10);
    same("SELECT count(*) FROM t.small", "0");
    same("SELECT nextval('t.serial_id_seq')", "1");
}

static void finds_keys_by_their_own_equality(void **state)
{
    NEEDS_SERVER();
    unsigned n;

    resumes();
    if (strcmp(value_of("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'"), "0") == 0)
        skip();
    admin("CREATE SCHEMA IF NOT EXISTS ext; CREATE EXTENSION IF NOT EXISTS citext SCHEMA ext;"
          "CREATE TABLE s.ci (id ext.citext PRIMARY KEY, v text); CREATE TABLE t.ci (LIKE s.ci INCLUDING ALL);"
          "INSERT INTO t.ci SELECT 'Key' || n, 'x' FROM generate_series(1, 300) g(n)");
    struct target_table *t = table_of("ci", IDENTITY_DEFAULT);
    struct value **rows = read_rows("SELECT 'kEY' || n, 'y' FROM generate_series(1, 300) g(n)", FORMAT_TEXT, &n);
    begin();
    send_batch(t, BATCH_UPDATE, rows, n);
    send_batch(t, BATCH_DELETE, rows, 2);
    settles();
    commit(10);
    same("SELECT count(*) || min(v) FROM t.ci", "298y");
}

/* ---- how a table is written ---- */

static void chooses_how_rows_are_found(void **state)
{
    NEEDS_SERVER();
    struct target_table *t;

    resumes();
    admin("CREATE TABLE s.k (a int NOT NULL, b int NOT NULL, c int, PRIMARY KEY (b, a));"
          "CREATE TABLE t.k (LIKE s.k); ALTER TABLE t.k ADD PRIMARY KEY (a, b)");
    t = table_of("k", IDENTITY_DEFAULT);
    assert_int_equal(t->mode, TABLE_KEYED);
    assert_int_equal(t->n_key, 2);
    assert_int_equal(t->key[0], 0); /* in the order of the target's key */
    assert_int_equal(t->key[1], 1);
    assert_false(t->has_other_unique);
    admin("CREATE UNIQUE INDEX ON t.k (c)");
    assert_true(table_of("k", IDENTITY_DEFAULT)->has_other_unique);
    t = table_of("k", IDENTITY_FULL);
    assert_int_equal(t->mode, TABLE_KEYED);
    assert_int_equal(t->n_key, 2);
    assert_int_equal(table_of("k", IDENTITY_NOTHING)->mode, TABLE_INSERTS);

    admin("ALTER TABLE t.k DROP CONSTRAINT k_pkey"); /* what is left may be NULL: no key */
    assert_int_equal(table_of("k", IDENTITY_FULL)->mode, TABLE_UNKEYED);
    struct target_table *none = NULL;
    expect_error(w.target.ops->table(w.target.self, w.arena, relation_of("k", IDENTITY_DEFAULT), &none), ERROR_CONFIG,
                 "no unique index on the columns (a, b)");
}

static void names_what_is_missing_on_the_target(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = NULL;

    resumes();
    admin("CREATE TABLE s.m (id int PRIMARY KEY, \"odd \"\"name\" int)");
    expect_error(w.target.ops->table(w.target.self, w.arena, relation_of("m", IDENTITY_DEFAULT), &t), ERROR_CONFIG,
                 "no table \"t.m\"");
    admin("CREATE TABLE t.m (id int PRIMARY KEY)");
    expect_error(w.target.ops->table(w.target.self, w.arena, relation_of("m", IDENTITY_DEFAULT), &t), ERROR_CONFIG,
                 "no column \"odd \"name\"");
    admin("DROP TABLE t.m; CREATE VIEW t.m AS SELECT 1");
    expect_error(w.target.ops->table(w.target.self, w.arena, relation_of("m", IDENTITY_DEFAULT), &t), ERROR_CONFIG,
                 "not a table");
}

/* ---- positions ---- */

static void commits_rows_and_position_together(void **state) /* P1 */
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value rows[][3] = {{text("4"), text("40"), null}, {text("5"), text("50"), null}};

    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[0]}, 1);
    settles();
    expect_ok(w.target.ops->commit(w.target.self, at(0x100), true));
    same("SELECT concat_ws(' ', end_lsn, transactions, committed_us) FROM pgtide.lane", "0/100 25 5");
    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[1]}, 1);
    settles();
    rollback();
    assert_int_equal(resumes(), 0x100);
    same("SELECT count(*) FROM t.small", "4");
}

/* P1, P5: whoever's view of the position is old cannot commit, whatever it has sent. */
static void a_second_session_of_the_lane_cannot_commit(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    CLEANUP(pg_target_close) struct pg_target *second = session();
    struct target other = pg_target_port(second);
    struct apply_position position;
    struct value rows[][3] = {{text("4"), text("40"), null}, {text("5"), text("50"), null}};
    struct batch_row late = {.row = rows[1]};

    expect_ok(other.ops->resume(other.self, &position));
    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){rows[0]}, 1);
    settles();
    commit(100);
    expect_ok(other.ops->begin(other.self));
    expect_ok(other.ops->batch(other.self, &(struct batch){t, BATCH_INSERT, 1, &late}));
    expect_error(other.ops->commit(other.self, at(100), false), ERROR_CONFIG, "is not 0/0 any more");
    other.ops->rollback(other.self);
    same("SELECT count(*) FROM t.small", "4");
    expect_ok(other.ops->resume(other.self, &position));
    assert_int_equal(position.end.value, 100);
}

/* P5: without a transaction, or in a failed one, the answer is not COMMIT. */
static void a_failed_transaction_does_not_count_as_committed(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value duplicate[] = {text("1"), text("40"), null};

    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){duplicate}, 1);
    struct error *err = w.target.ops->commit(w.target.self, at(100), false);
    assert_non_null(err);
    error_free(err);
    rollback();
    assert_int_equal(resumes(), 0);
}

static void goes_on_after_its_backend_was_ended(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value fourth[] = {text("4"), text("40"), null};
    bool good;
    const char *why;

    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){fourth}, 1);
    admin(arena_printf(w.arena, "SELECT pg_terminate_backend(%d, 5000)", pg_target_backend_pid(w.session)));
    struct error *err = w.target.ops->settle(w.target.self, w.arena, &good, &why);
    assert_non_null(err);
    assert_int_equal(error_kind(err), ERROR_TRANSIENT);
    error_free(err);
    rollback();
    assert_int_equal(resumes(), 0);
    begin();
    send_batch(t, BATCH_INSERT, (struct value *[]){fourth}, 1);
    settles();
    commit(100);
    same("SELECT count(*) FROM t.small", "4");
}

/* The backend of a lost session holds a lock and waits for another; resume does not read the position before it is gone. */
static void fences_its_former_backend(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value changed[] = {text("1"), text("11"), null};

    admin("BEGIN; SELECT FROM t.small WHERE id = 1 FOR UPDATE");
    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){changed}, 1); /* blocks on the server */
    int pid = pg_target_backend_pid(w.session);
    shutdown(PQsocket(pg_conn_handle(w.session->conn)), SHUT_RDWR);
    rollback();
    assert_int_equal(pg_target_backend_pid(w.session), 0);
    assert_int_equal(resumes(), 0);
    assert_int_not_equal(pg_target_backend_pid(w.session), pid);
    same(arena_printf(w.arena, "SELECT count(*) FROM pg_stat_get_activity(%d)", pid), "0");
    admin("ROLLBACK");
    same("SELECT u FROM t.small WHERE id = 1", "10");
}

static void prepares_anew_what_the_server_forgot(void **state)
{
    NEEDS_SERVER();
    struct target_table *t = small_table("");
    struct value changed[] = {text("1"), text("11"), null};
    bool good;
    const char *why;

    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){changed}, 1);
    settles();
    expect_ok(pipe_send(w.session->pipe, "DEALLOCATE ALL", NULL, NULL, (struct pipe_expect){.rows = PIPE_ANY_COUNT}));
    send_batch(t, BATCH_UPDATE, (struct value *[]){changed}, 1);
    expect_error(w.target.ops->settle(w.target.self, w.arena, &good, &why), ERROR_TRANSIENT, "does not exist");
    assert_int_equal(resumes(), 0);
    begin();
    send_batch(t, BATCH_UPDATE, (struct value *[]){changed}, 1);
    settles();
    commit(100);
    same("SELECT u FROM t.small WHERE id = 1", "11");
}

static void forgets_old_statements(void **state)
{
    NEEDS_SERVER();
    enum { TABLES = 60 };

    resumes();
    for (int i = 0; i < TABLES; i++)
        admin(arena_printf(
            w.arena,
            "CREATE TABLE s.m%d (id int PRIMARY KEY, a int, b int, c int, d int, e int); CREATE TABLE t.m%d (LIKE "
            "s.m%d INCLUDING ALL); INSERT INTO t.m%d VALUES (1, 1, 1, 1, 1, 1)",
            i, i, i, i));
    begin();
    for (int i = 0; i < TABLES; i++) {
        struct target_table *t = table_of(arena_printf(w.arena, "m%d", i), IDENTITY_DEFAULT);

        for (unsigned mask = 1; mask < 32; mask++) {
            struct value *v = arena_alloc(w.arena, 6 * sizeof *v);

            v[0] = text("1");
            for (unsigned c = 0; c < 5; c++)
                v[c + 1] = mask & (1U << c) ? text("2") : unchanged;
            send_batch(t, BATCH_UPDATE, (struct value *[]){v}, 1);
        }
    }
    settles();
    commit(100);
    same("SELECT sum(a + b + c + d + e) FROM t.m59", "10");
    PGresult *n = NULL;
    expect_ok(pipe_send(w.session->pipe, "SELECT count(*) FROM pg_prepared_statements", NULL, NULL,
                        (struct pipe_expect){.rows = PIPE_ANY_COUNT, .keep = true}));
    expect_ok(pipe_sync(w.session->pipe));
    n = pipe_result(w.session->pipe);
    assert_true(strtoul(PQgetvalue(n, 0, 0), NULL, 10) <= 1000);
}

static void refuses_another_number_of_lanes(void **state)
{
    NEEDS_SERVER();
    struct apply_position position;

    resumes();
    w.session->options.lane_count = 2;
    expect_error(w.target.ops->resume(w.target.self, &position), ERROR_CONFIG, "begun with --lanes 1");
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(carries_every_type_one_by_one_as_text),
        WITH_WORLD(carries_every_type_one_by_one_in_binary),
        WITH_WORLD(carries_every_type_in_sets_as_text),
        WITH_WORLD(carries_every_type_in_sets_in_binary),
        WITH_WORLD(carries_thousands_of_rows_as_text),
        WITH_WORLD(carries_thousands_of_rows_in_binary),
        WITH_WORLD(never_blocks_on_large_values),
        WITH_WORLD(casts_between_types_of_both_sides),
        WITH_WORLD(says_when_a_row_was_not_there),
        WITH_WORLD(commits_in_one_go_what_is_as_expected),
        WITH_WORLD(nothing_is_committed_in_one_go_when_a_row_was_not_there),
        WITH_WORLD(what_is_large_or_has_rules_is_not_committed_in_one_go),
        WITH_WORLD(moves_keys_in_sets_too),
        WITH_WORLD(counts_rows_that_an_update_leaves_as_they_are),
        WITH_WORLD(refuses_a_swap_in_a_set_and_does_it_row_by_row),
        WITH_WORLD(a_failed_copy_is_an_outcome_too),
        WITH_WORLD(rolls_back_to_the_savepoint_only),
        WITH_WORLD(tells_what_is_missing_or_in_the_way),
        WITH_WORLD(overwrites_every_row_that_is_in_the_way),
        WITH_WORLD(does_not_guess_which_row_is_in_the_way),
        WITH_WORLD(other_refusals_of_a_row_are_data_errors),
        WITH_WORLD(records_a_conflict_with_its_rows_in_the_transaction),
        WITH_WORLD(changes_exactly_one_of_equal_rows),
        WITH_WORLD(carries_changes_of_always_identities),
        WITH_WORLD(leaves_generated_columns_to_the_target),
        WITH_WORLD(writes_through_the_root_of_a_partitioned_target),
        WITH_WORLD(leaves_inheritance_children_alone),
        WITH_WORLD(truncates_several_tables_at_once),
        WITH_WORLD(finds_keys_by_their_own_equality),
        WITH_WORLD(chooses_how_rows_are_found),
        WITH_WORLD(names_what_is_missing_on_the_target),
        WITH_WORLD(commits_rows_and_position_together),
        WITH_WORLD(a_second_session_of_the_lane_cannot_commit),
        WITH_WORLD(a_failed_transaction_does_not_count_as_committed),
        WITH_WORLD(goes_on_after_its_backend_was_ended),
        WITH_WORLD(fences_its_former_backend),
        WITH_WORLD(prepares_anew_what_the_server_forgot),
        WITH_WORLD(forgets_old_statements),
        WITH_WORLD(refuses_another_number_of_lanes),
    };

    return cmocka_run_group_tests_name("pg/target", tests, NULL, NULL);
}
