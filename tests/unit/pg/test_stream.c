/*
 * pg/publication, pg/slot and pg/stream against a real server with wal_level = logical: skipped unless PGTIDE_TEST_DSN
 * names a database in which this test may do what it likes (it replaces the schema src).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "pg/publication.h"
#include "pg/slot.h"
#include "pg/stream.h"
#include "support/expect.h"

#define NAME "pgtide_0123456789ab"

static struct {
    struct arena *arena;
    struct pg_endpoint *endpoint;
    struct pg_conn *source;
    struct stop *stop;
} w; /* the world of one test */

static void run(const char *sql)
{
    expect_ok(pg_execute(w.source, "test", sql));
}

static const char *value_of(const char *sql)
{
    char *text;

    expect_ok(pg_query_text(w.source, w.arena, "test", sql, NULL, 0, &text));
    return text;
}

static struct pg_conn *session(const char *name, bool replication)
{
    struct pg_conn *c;
    struct pg_connect_options options = {.application_name = name, .replication = replication};

    expect_ok(pg_connect(w.endpoint, options, &c));
    return c;
}

static int open_world(void **state)
{
    const char *dsn = getenv("PGTIDE_TEST_DSN"); /* NOLINT(concurrency-mt-unsafe): there is one thread */

    (void)state;
    if (dsn == NULL)
        return 0;
    w.arena = arena_new(NULL, "test");
    expect_ok(pg_endpoint_parse(w.arena, "source", dsn, &w.endpoint));
    expect_ok(stop_new(&w.stop));
    w.source = session("test", false);
    expect_ok(pg_slot_drop(w.source, NAME));
    expect_ok(pg_publication_drop(w.source, NAME));
    run("SET client_min_messages = error; DROP SCHEMA IF EXISTS src CASCADE; CREATE SCHEMA src;"
        "CREATE TABLE src.a (id int PRIMARY KEY); CREATE TABLE src.\"B b\" (v text)");
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    if (w.arena == NULL)
        return 0;
    expect_ok(pg_slot_drop(w.source, NAME));
    expect_ok(pg_publication_drop(w.source, NAME));
    pg_conn_close(w.source);
    stop_free(w.stop);
    arena_free(TAKE(w.arena));
    return 0;
}

#define NEEDS_SERVER()       \
    do {                     \
        (void)state;         \
        if (w.arena == NULL) \
            skip();          \
    } while (0)

static const struct pg_publication_table two_tables[] = {
    {.schema = "src", .name = "a"},
    {.schema = "src", .name = "B b", .inserts_only = true},
};

static const struct pg_publication_plan all_tables = {.name = NAME, .all_tables = true};
static const struct pg_publication_plan chosen_tables = {.name = NAME, .tables = two_tables, .n_tables = 2};

/* ---- publications ---- */

static void publishes_all_tables_once(void **state)
{
    NEEDS_SERVER();
    struct pg_publication_facts facts;
    const char *oid_sql = "SELECT oid::text FROM pg_publication WHERE pubname = '" NAME "'";

    expect_ok(pg_publication_create(w.source, &all_tables));
    const char *oid = value_of(oid_sql);
    expect_ok(pg_publication_create(w.source, &all_tables)); /* adopted */
    assert_string_equal(value_of(oid_sql), oid);
    expect_ok(pg_publication_read(w.source, NAME, &facts));
    assert_true(facts.exists && facts.all_tables && facts.has_insert && facts.has_update && facts.has_delete &&
                facts.has_truncate && !facts.via_root);
    assert_int_equal(pg_publication_names(w.arena, &all_tables).n, 1);

    run("ALTER PUBLICATION " NAME " SET (publish = 'insert')"); /* not as planned any more */
    expect_ok(pg_publication_create(w.source, &all_tables));
    expect_ok(pg_publication_read(w.source, NAME, &facts));
    assert_true(facts.has_delete);

    expect_ok(pg_publication_drop(w.source, NAME));
    expect_ok(pg_publication_drop(w.source, NAME));
    expect_ok(pg_publication_read(w.source, NAME, &facts));
    assert_false(facts.exists);
}

/* Pain 11: published with all operations, its UPDATE would fail on the source. */
static void publishes_only_inserts_of_tables_without_identity(void **state)
{
    NEEDS_SERVER();
    struct pg_publication_facts facts;
    struct pg_publication_names names = pg_publication_names(w.arena, &chosen_tables);

    expect_ok(pg_publication_create(w.source, &chosen_tables));
    assert_int_equal(names.n, 2);
    assert_string_equal(names.names[1], NAME "_inserts");
    expect_ok(pg_publication_read(w.source, names.names[0], &facts));
    assert_int_equal(facts.n_tables, 1);
    expect_ok(pg_publication_read(w.source, names.names[1], &facts));
    assert_int_equal(facts.n_tables, 1);
    assert_true(facts.has_insert && facts.has_truncate && !facts.has_update && !facts.has_delete);
    run("INSERT INTO src.\"B b\" VALUES ('x'); UPDATE src.\"B b\" SET v = 'y'; DELETE FROM src.\"B b\"");

    run("ALTER PUBLICATION " NAME " ADD TABLE src.\"B b\"");
    expect_ok(pg_publication_create(w.source, &chosen_tables)); /* G1: there is no slot yet, it is made anew */
    expect_ok(pg_publication_read(w.source, NAME, &facts));
    assert_int_equal(facts.n_tables, 1);
    expect_ok(pg_publication_create(w.source, &all_tables)); /* the second one goes */
    expect_ok(pg_publication_read(w.source, names.names[1], &facts));
    assert_false(facts.exists);
}

static void a_publication_that_fails_leaves_nothing(void **state)
{
    NEEDS_SERVER();
    struct pg_publication_facts facts;
    const struct pg_publication_table tables[] = {{.schema = "src", .name = "a"},
                                                  {.schema = "src", .name = "none", .inserts_only = true}};
    const struct pg_publication_plan plan = {.name = NAME, .tables = tables, .n_tables = 2};

    expect_error(pg_publication_create(w.source, &plan), ERROR_CONFIG, "src.none");
    expect_ok(pg_publication_read(w.source, NAME, &facts));
    assert_false(facts.exists);
    assert_string_equal(value_of("SELECT 1::text"), "1"); /* the session is usable */
}

/* ---- slots ---- */

static void make_slot(struct pg_slot_created *out)
{
    CLEANUP(pg_conn_close) struct pg_conn *replication = session("pgtide test", true);
    struct pg_slot_create_options options = {.name = NAME};

    expect_ok(pg_slot_create(replication, w.arena, &options, out));
}

static void exports_the_snapshot_of_the_new_slot(void **state)
{
    NEEDS_SERVER();
    CLEANUP(pg_conn_close) struct pg_conn *replication = session("pgtide test", true);
    struct pg_slot_create_options options = {.name = NAME};
    struct pg_slot_created slot;

    run("INSERT INTO src.a VALUES (1)");
    expect_ok(pg_slot_create(replication, w.arena, &options, &slot));
    assert_false(lsn_is_none(slot.consistent_point));
    run("INSERT INTO src.a VALUES (2)");
    run(arena_printf(w.arena, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '%s'", slot.snapshot));
    assert_string_equal(value_of("SELECT count(*)::text FROM src.a"), "1");
    run("ROLLBACK");
    expect_error(pg_slot_create(replication, w.arena, &options, &slot), ERROR_CONFIG, NAME);
}

static void keep_text(void *self, const char *transactions)
{
    *(char **)self = arena_strdup(w.arena, transactions);
    run("ROLLBACK"); /* the one it waits for */
}

static void tells_which_transactions_the_slot_waits_for(void **state)
{
    NEEDS_SERVER();
    CLEANUP(pg_conn_close) struct pg_conn *replication = session("pgtide test", true);
    CLEANUP(pg_conn_close) struct pg_conn *observer = session("pgtide observer", false);
    char *told = NULL;
    struct pg_slot_create_options options = {.name = NAME, .observer = observer, .waiting = keep_text, .self = &told};
    struct pg_slot_created slot;

    run("BEGIN; INSERT INTO src.a VALUES (5)");
    expect_ok(pg_slot_create(replication, w.arena, &options, &slot));
    assert_non_null(told);
    assert_non_null(strstr(told, "INSERT INTO src.a VALUES (5)"));
    assert_non_null(strstr(told, arena_printf(w.arena, "pid %d", pg_conn_pid(w.source))));
}

static void reads_and_lists_slots(void **state)
{
    NEEDS_SERVER();
    struct pg_slot_created slot;
    struct pg_slot_facts facts;
    struct pg_slot_facts *all;
    unsigned n;
    bool exists;

    expect_ok(pg_slot_read(w.source, w.arena, NAME, &exists, &facts));
    assert_false(exists);
    make_slot(&slot);
    expect_ok(pg_slot_read(w.source, w.arena, NAME, &exists, &facts));
    assert_true(exists);
    assert_string_equal(facts.plugin, "pgoutput");
    assert_int_equal(facts.confirmed.value, slot.consistent_point.value);
    assert_int_equal(facts.active_pid, 0);
    expect_ok(pg_slot_list(w.source, w.arena, &all, &n));
    assert_int_equal(n, 1);
    assert_string_equal(all[0].name, NAME);
    expect_ok(pg_slot_drop(w.source, NAME));
    expect_ok(pg_slot_list(w.source, w.arena, &all, &n));
    assert_int_equal(n, 0);
}

/* ---- the stream ---- */

static struct pg_stream_options stream_options(const char *name)
{
    static const char *const publications[] = {NAME};

    return (struct pg_stream_options){.endpoint = w.endpoint,
                                      .application_name = name,
                                      .slot = NAME,
                                      .publications = publications,
                                      .n_publications = 1,
                                      .binary = true,
                                      .decoding_work_mem_kb = 131072,
                                      .nap_us = PG_STREAM_NAP_US,
                                      .stop = w.stop};
}

/* The walsender of an earlier stream may need a moment to be gone. */
static struct pg_stream *open_stream(const char *name)
{
    int64_t deadline_us = clock_now_us() + 10000000;
    struct pg_stream *s = NULL;
    struct error *err;

    while ((err = pg_stream_open(stream_options(name), &s)) != NULL && clock_now_us() < deadline_us) {
        assert_int_equal(error_kind(err), ERROR_TRANSIENT);
        error_free(err);
    }
    expect_ok(err);
    return s;
}

/* The next message of the plugin; keepalives are answered. */
static struct stream_message next_message(struct pg_stream *s)
{
    struct stream_message m;

    for (;;) {
        expect_ok(pg_stream_next(s, &m));
        if (m.kind == STREAM_WAL)
            return m;
        if (m.kind == STREAM_KEEPALIVE && m.reply_requested)
            expect_ok(pg_stream_feedback(s, m.end, LSN_NONE, LSN_NONE, false));
        if (m.kind == STREAM_NOTHING)
            expect_ok(pg_stream_wait(s, 10000));
    }
}

/* COMMIT's end, from the plugin's message. */
static struct lsn read_transaction(struct pg_stream *s, const char *kinds)
{
    struct stream_message m = {0};

    for (const char *kind = kinds; *kind != '\0'; kind++) {
        m = next_message(s);
        assert_int_equal(m.bytes[0], *kind);
        assert_true(llabs(m.sent_us - clock_wall_us()) < 60 * 1000000LL);
    }
    struct cursor c = cursor_over(m.bytes, m.length);
    cursor_bytes(&c, 1 + 1 + 8); /* kind, flags, commit */
    return (struct lsn){cursor_u64(&c)};
}

static void streams_changes_and_forgets_what_was_confirmed(void **state)
{
    NEEDS_SERVER();
    struct pg_slot_created slot;
    struct pg_slot_facts facts;
    bool exists;

    expect_ok(pg_publication_create(w.source, &all_tables));
    make_slot(&slot);
    run("INSERT INTO src.a VALUES (1)");
    run("INSERT INTO src.a VALUES (2)");
    struct lsn first;
    int64_t deadline_us = clock_now_us() + 10000000;
    {
        CLEANUP(pg_stream_close) struct pg_stream *s = NULL;

        expect_ok(pg_stream_open(stream_options("pgtide test"), &s));
        first = read_transaction(s, "BRIC");
        read_transaction(s, "BIC");
        expect_ok(pg_stream_feedback(s, first, first, first, true));
        do {
            struct stream_message m;

            expect_ok(pg_stream_next(s, &m));
            expect_ok(pg_stream_wait(s, 10));
            expect_ok(pg_slot_read(w.source, w.arena, NAME, &exists, &facts));
        } while (lsn_before(facts.confirmed, first) && clock_now_us() < deadline_us);
        assert_int_equal(facts.confirmed.value, first.value);
        assert_int_equal(facts.active_pid, pg_stream_backend_pid(s));
    }
    expect_ok(pg_slot_drop(w.source, NAME)); /* its walsender, ours, may still be there */
}

static void sends_again_what_was_not_confirmed(void **state) /* P3 */
{
    NEEDS_SERVER();
    struct pg_slot_created slot;

    expect_ok(pg_publication_create(w.source, &all_tables));
    make_slot(&slot);
    run("INSERT INTO src.a VALUES (1)");
    for (int i = 0; i < 2; i++) {
        CLEANUP(pg_stream_close) struct pg_stream *s = open_stream("pgtide test");

        read_transaction(s, "BRIC");
    }
}

static void waits_no_longer_than_asked_and_stops_when_asked(void **state)
{
    NEEDS_SERVER();
    CLEANUP(pg_stream_close) struct pg_stream *s = NULL;
    struct pg_slot_created slot;
    struct stream_message m = {.kind = STREAM_KEEPALIVE};

    expect_ok(pg_publication_create(w.source, &all_tables));
    make_slot(&slot);
    expect_ok(pg_stream_open(stream_options("pgtide test"), &s));
    for (int i = 0; i < 20; i++) {
        expect_ok(pg_stream_next(s, &m));
        expect_ok(pg_stream_wait(s, 10));
    }
    assert_int_equal(m.kind, STREAM_NOTHING);
    stop_request(w.stop);
    expect_error(pg_stream_wait(s, 10000), ERROR_CANCELLED, "");
    expect_ok(pg_stream_feedback(s, slot.consistent_point, slot.consistent_point, slot.consistent_point, false));
}

static void says_what_is_missing(void **state)
{
    NEEDS_SERVER();
    struct pg_stream *none = NULL;
    struct pg_slot_created slot;
    struct stream_message m;
    struct error *err = NULL;

    expect_error(pg_stream_open(stream_options("pgtide test"), &none), ERROR_CONFIG,
                 "replication slot \"" NAME "\" does not");
    make_slot(&slot);
    run("INSERT INTO src.a VALUES (1)");
    CLEANUP(pg_stream_close) struct pg_stream *s = NULL;
    expect_ok(pg_stream_open(stream_options("pgtide test"), &s));
    while (err == NULL) {
        err = pg_stream_next(s, &m);
        if (err == NULL && m.kind == STREAM_NOTHING)
            err = pg_stream_wait(s, 10000);
    }
    expect_error(err, ERROR_CONFIG, "publication \"" NAME "\" does not exist");
}

static void a_lost_walsender_is_transient(void **state)
{
    NEEDS_SERVER();
    CLEANUP(pg_stream_close) struct pg_stream *s = NULL;
    struct pg_slot_created slot;
    struct stream_message m;
    struct error *err = NULL;

    expect_ok(pg_publication_create(w.source, &all_tables));
    make_slot(&slot);
    expect_ok(pg_stream_open(stream_options("pgtide test"), &s));
    run(arena_printf(w.arena, "SELECT pg_terminate_backend(%d)", pg_stream_backend_pid(s)));
    while (err == NULL) {
        err = pg_stream_next(s, &m);
        if (err == NULL && m.kind == STREAM_NOTHING)
            err = pg_stream_wait(s, 10000);
    }
    assert_int_equal(error_kind(err), ERROR_TRANSIENT);
    error_free(err);
}

static void does_not_end_the_reader_of_somebody_else(void **state)
{
    NEEDS_SERVER();
    CLEANUP(pg_stream_close) struct pg_stream *s = NULL;
    struct pg_slot_created slot;

    expect_ok(pg_publication_create(w.source, &all_tables));
    make_slot(&slot);
    expect_ok(pg_stream_open(stream_options("another tool"), &s));
    expect_error(pg_slot_drop(w.source, NAME), ERROR_CONFIG, "(\"another tool\"), which is not ours");
    pg_stream_close(TAKE(s));
    s = open_stream("pgtide test");
    expect_ok(pg_slot_drop(w.source, NAME)); /* this one is, alive or not */
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(publishes_all_tables_once),
        WITH_WORLD(publishes_only_inserts_of_tables_without_identity),
        WITH_WORLD(a_publication_that_fails_leaves_nothing),
        WITH_WORLD(exports_the_snapshot_of_the_new_slot),
        WITH_WORLD(tells_which_transactions_the_slot_waits_for),
        WITH_WORLD(reads_and_lists_slots),
        WITH_WORLD(streams_changes_and_forgets_what_was_confirmed),
        WITH_WORLD(sends_again_what_was_not_confirmed),
        WITH_WORLD(waits_no_longer_than_asked_and_stops_when_asked),
        WITH_WORLD(says_what_is_missing),
        WITH_WORLD(a_lost_walsender_is_transient),
        WITH_WORLD(does_not_end_the_reader_of_somebody_else),
    };

    return cmocka_run_group_tests_name("pg/stream", tests, NULL, NULL);
}
