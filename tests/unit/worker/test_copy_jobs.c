/*
 * worker/copy_jobs and pg/copy on two real servers, whatever dies meanwhile.
 *
 * Skipped unless PGTIDE_TEST_SOURCE and PGTIDE_TEST_TARGET name two databases that may be written to by superusers
 * (schemas shop and pgtide are dropped in them). Run everything_is_copied_and_built (PGTIDE_TEST_FILTER) also with
 * PGTIDE_FAULT="NAME=error@N" for the fault points of the copy: what is found in the end is the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pg/catalog.h"
#include "pg/copy.h"
#include "pg/state.h"
#include "sys/thread.h"
#include "worker/copy_jobs.h"

#define TASK "0123456789ab"

enum {
    SMALL_TABLES = 40,
    ENTRIES_MAX = 64,
    WORKERS = 3,
    SPLIT_ABOVE = 2 << 20,
    PART_BYTES = 512 << 10,
    SMALL_BELOW = 200 << 10,
    STRIKES = 15, /* how often sessions are killed */
    STRIKE_MS = 150,
    PACE_MS = 10,
};

static struct arena *arena;
static struct stop *stop;
static struct pg_endpoint *endpoints[2];
static struct pg_conn *source;
static struct pg_conn *target;

/* ---- servers ---- */

static void succeeds(struct error *err)
{
    if (err != NULL)
        fail_msg("%s", error_message(err));
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void fails(struct error *err, enum error_kind kind, const char *const *words)
{
    assert_non_null(err);
    if (error_kind(err) != kind)
        fail_msg("another kind of error: %s", error_message(err));
    for (; *words != NULL; words++)
        if (strstr(error_message(err), *words) == NULL)
            fail_msg("\"%s\" is not in: %s", *words, error_message(err));
    error_free(err);
}

static struct pg_conn *connect_to(const struct pg_endpoint *e)
{
    static const char *const settings[] = {"client_min_messages", "error", NULL};
    const struct pg_connect_options options = {.application_name = "test", .settings = settings, .stop = stop};
    struct pg_conn *c = NULL;

    succeeds(pg_connect(e, options, &c));
    return c;
}

static void run(struct pg_conn *c, const char *sql)
{
    succeeds(pg_execute(c, sql, sql));
}

static char *ask(struct pg_conn *c, const char *sql)
{
    char *answer = NULL;

    succeeds(pg_query_text(c, arena, sql, sql, NULL, 0, &answer));
    return answer;
}

static const char structure[] =
    "CREATE SCHEMA shop;"
    "CREATE TABLE shop.large (id bigint NOT NULL, name text, amount numeric, at timestamptz, extra jsonb,"
    "    twice bigint GENERATED ALWAYS AS (id * 2) STORED);"
    "CREATE TABLE shop.huge (id bigint NOT NULL, body text);"
    "CREATE TABLE shop.\"odd \"\"name\"\"\" (\"a b\" int, \"é\" text, bits bytea);"
    "CREATE TABLE shop.nothing ();"
    "CREATE TABLE shop.hollow (a int);"
    "CREATE TABLE shop.events (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);"
    "CREATE TABLE shop.events_1 PARTITION OF shop.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');"
    "CREATE TABLE shop.events_2 PARTITION OF shop.events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');"
    "DO $$BEGIN FOR i IN 1..40 LOOP"
    "    EXECUTE format('CREATE TABLE shop.small_%s (id int NOT NULL, t text)', i); END LOOP; END$$;";

static const char rows[] =
    "INSERT INTO shop.large SELECT i, repeat('n', i % 30), i / 7.0, now() - i * interval '1 s', "
    "jsonb_build_object('i', i)"
    "    FROM generate_series(1, 20000) i;"
    "INSERT INTO shop.huge SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 30000) i;"
    "INSERT INTO shop.\"odd \"\"name\"\"\" VALUES (1, E'tab\\t newline\\n \\\\ end', '\\x00ff'), (NULL, '', NULL), (3, "
    "'\\.', '');"
    "INSERT INTO shop.nothing DEFAULT VALUES;"
    "INSERT INTO shop.events SELECT i, '2020-01-01'::date + i % 700 FROM generate_series(1, 30000) i;"
    "DO $$BEGIN FOR i IN 1..40 LOOP"
    "    EXECUTE format('INSERT INTO shop.small_%s SELECT g, g::text FROM generate_series(1, %s) g', i, i * 10); END "
    "LOOP; END$$;";

static void make_databases(void)
{
    run(source, "DROP SCHEMA IF EXISTS shop CASCADE");
    run(target, "DROP SCHEMA IF EXISTS shop CASCADE; DROP SCHEMA IF EXISTS pgtide CASCADE");
    run(source, structure);
    run(source, rows);
    run(target, structure);
    succeeds(state_create(target, &(struct state_task){.task = TASK,
                                                       .source_system = "1",
                                                       .source_timeline = 1,
                                                       .source_database_oid = 5,
                                                       .source_database = "d",
                                                       .version = "0"}));
}

static int open_servers(void **state)
{
    static const char *const names[] = {"PGTIDE_TEST_SOURCE", "PGTIDE_TEST_TARGET"};
    static const char *const sides[] = {"source", "target"};

    (void)state;
    arena = arena_new(NULL, "test");
    if (getenv(names[0]) == NULL || getenv(names[1]) == NULL)
        return 0;
    succeeds(stop_new(&stop));
    for (unsigned i = 0; i < COUNT_OF(names); i++)
        succeeds(pg_endpoint_parse(arena, sides[i], getenv(names[i]), &endpoints[i]));
    source = connect_to(endpoints[0]);
    target = connect_to(endpoints[1]);
    return 0;
}

static int close_servers(void **state)
{
    (void)state;
    pg_conn_close(source);
    pg_conn_close(target);
    stop_free(stop);
    arena_free(arena);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    if (source != NULL)
        make_databases();
    return 0;
}

#define NEEDS_SERVERS()     \
    do {                    \
        (void)state;        \
        if (source == NULL) \
            skip();         \
    } while (0)

/* ---- the pump ---- */

static struct error *pump(const struct copy_statement *statements, unsigned n, struct copy_watch watch,
                          uint64_t *counts)
{
    CLEANUP(pg_conn_close) struct pg_conn *from = connect_to(endpoints[0]);
    CLEANUP(pg_conn_close) struct pg_conn *to = connect_to(endpoints[1]);
    struct copy_outcome outcome = {.rows = counts};

    TRY(pg_execute(to, "beginning", "BEGIN; SET LOCAL client_min_messages = notice"));
    struct error *err = copy_pump(from, to, statements, n, watch, &outcome);
    if (err == NULL)
        return pg_execute(to, "committing", "COMMIT");
    if (!pg_conn_is_broken(to))
        succeeds(pg_execute(to, "rolling back after a failed copy", "ROLLBACK"));
    return err;
}

static struct error *pump_one(const char *out_sql, const char *in_sql)
{
    const struct copy_statement statement = {"shop.large", out_sql, in_sql};
    uint64_t count = 0;

    return pump(&statement, 1, (struct copy_watch){0}, &count);
}

static void count_all(void *self, unsigned index, uint64_t n_rows, uint64_t bytes)
{
    uint64_t *sums = self;

    (void)index;
    sums[0] += n_rows;
    sums[1] += bytes;
}

static void a_list_of_tables_passes_and_is_counted(void **state)
{
    NEEDS_SERVERS();
    const struct copy_statement statements[] = {
        {"shop.hollow", "COPY shop.hollow TO STDOUT (FORMAT binary)", "COPY shop.hollow FROM STDIN (FORMAT binary)"},
        {"shop.huge", "COPY shop.huge TO STDOUT (FORMAT binary)", "COPY shop.huge FROM STDIN (FORMAT binary)"},
        {"shop.nothing", "COPY shop.nothing TO STDOUT", "COPY shop.nothing FROM STDIN"},
        {"shop.events_1", "COPY shop.events_1 TO STDOUT", "COPY shop.events_1 FROM STDIN"},
    };
    uint64_t counts[COUNT_OF(statements)] = {0};
    uint64_t seen[2] = {0, 0};

    succeeds(pump(statements, COUNT_OF(statements), (struct copy_watch){.self = seen, .progress = count_all}, counts));
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 30000);
    assert_int_equal(counts[2], 1);
    assert_int_equal(seen[0], counts[1] + counts[2] + counts[3]);
    assert_true(seen[1] > 30000 * 96);
    assert_string_equal(ask(target, "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM shop.huge t"),
                        ask(source, "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM shop.huge t"));
}

static void rows_lost_on_the_way_are_noticed(void **state) /* G4 */
{
    NEEDS_SERVERS();
    run(target, "CREATE FUNCTION shop.drop_row() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN RETURN CASE WHEN new.id = 777 THEN NULL ELSE new END; END';"
                "CREATE TRIGGER t BEFORE INSERT ON shop.huge FOR EACH ROW EXECUTE FUNCTION shop.drop_row()");
    fails(pump_one("COPY shop.huge TO STDOUT", "COPY shop.huge FROM STDIN"), ERROR_DATA, WORDS("30000", "29999"));
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.huge"), "0");
}

static void what_the_target_refuses_is_noticed_while_sending(void **state)
{
    NEEDS_SERVERS();
    uint64_t count = 0, seen[2] = {0, 0};
    const struct copy_statement statement = {
        "shop.huge", "COPY (SELECT i, repeat('x', 1000) FROM generate_series(1, 300000) i) TO STDOUT",
        "COPY shop.huge FROM STDIN"};

    run(target, "ALTER TABLE shop.huge ADD CHECK (id <> 100)");
    fails(pump(&statement, 1, (struct copy_watch){.self = seen, .progress = count_all}, &count), ERROR_DATA,
          WORDS("shop.huge", "huge_id_check"));
    assert_true(seen[1] < 100000000); /* of 300 MB */
}

static void what_the_source_refuses_leaves_the_target_usable(void **state)
{
    NEEDS_SERVERS();
    fails(pump_one("COPY (SELECT i, 1 / (i - 50000) FROM generate_series(1, 100000) i) TO STDOUT",
                   "COPY shop.huge FROM STDIN"),
          ERROR_DATA, WORDS("reading", "shop.large", "division by zero"));
    fails(pump_one("COPY shop.missing TO STDOUT", "COPY shop.huge FROM STDIN"), ERROR_CONFIG, WORDS("shop.missing"));
    fails(pump_one("COPY shop.huge TO STDOUT", "COPY shop.missing FROM STDIN"), ERROR_CONFIG, WORDS("shop.missing"));
}

static void notices_of_the_target_do_no_harm(void **state)
{
    NEEDS_SERVERS();
    run(target, "CREATE FUNCTION shop.talk() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN IF new.id % 1000 = 0 THEN RAISE NOTICE ''here''; END IF; RETURN new; END';"
                "CREATE TRIGGER t BEFORE INSERT ON shop.huge FOR EACH ROW EXECUTE FUNCTION shop.talk()");
    succeeds(pump_one("COPY shop.huge TO STDOUT", "COPY shop.huge FROM STDIN"));
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.huge"), "30000");
}

static void a_row_larger_than_all_buffers_passes(void **state)
{
    NEEDS_SERVERS();
    run(source, "INSERT INTO shop.huge SELECT 0, repeat('large', 4000000)");
    succeeds(pump_one("COPY shop.huge TO STDOUT (FORMAT binary)", "COPY shop.huge FROM STDIN (FORMAT binary)"));
    assert_string_equal(ask(target, "SELECT length(body)::text FROM shop.huge WHERE id = 0"), "20000000");
}

static int slow_down(void *self, uint64_t bytes)
{
    (void)self;
    (void)bytes;
    return 30000;
}

static int always_pause(void *self, uint64_t bytes)
{
    (void)self;
    (void)bytes;
    return 1;
}

static void a_copy_that_is_asked_to_pause_each_time_ends(void **state)
{
    NEEDS_SERVERS();
    const struct copy_statement statement = {"shop.huge", "COPY shop.huge TO STDOUT", "COPY shop.huge FROM STDIN"};
    uint64_t count = 0;

    succeeds(pump(&statement, 1, (struct copy_watch){.pace_ms = always_pause}, &count));
    assert_int_equal(count, 30000);
}

static struct error *stop_soon(void *self)
{
    stop_wait_ms(stop, STRIKE_MS);
    stop_request(self);
    return NULL;
}

static void a_copy_stops_when_asked(void **state)
{
    NEEDS_SERVERS();
    CLEANUP(stop_free) struct stop *own = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *from = NULL;
    CLEANUP(pg_conn_close) struct pg_conn *to = connect_to(endpoints[1]);
    const struct copy_statement statement = {"shop.huge", "COPY shop.huge TO STDOUT", "COPY shop.huge FROM STDIN"};
    uint64_t count = 0;
    struct copy_outcome outcome = {.rows = &count};
    struct thread *thread = NULL;

    succeeds(stop_new(&own));
    succeeds(pg_connect(endpoints[0], (struct pg_connect_options){.application_name = "test", .stop = own}, &from));
    succeeds(thread_start("stop", stop_soon, own, &thread));
    fails(copy_pump(from, to, &statement, 1, (struct copy_watch){.pace_ms = slow_down}, &outcome), ERROR_CANCELLED,
          WORDS("shop.huge"));
    succeeds(thread_join(thread));
}

/* ---- the jobs ---- */

struct fixture {
    struct copy_jobs_table tables[SMALL_TABLES + 16];
    uint32_t n_tables;
    struct copy_jobs_entry entries[ENTRIES_MAX];
    uint32_t n_entries;
    struct progress *progress;
    struct pg_snapshot_holder *holder;
};

static uint32_t place_of(const struct fixture *f, const char *name)
{
    for (uint32_t i = 0; i < f->n_tables; i++)
        if (strcmp(f->tables[i].name, name) == 0)
            return i;
    fail_msg("there is no table %s", name);
    return 0;
}

static void add_table(struct fixture *f, const struct catalog_table *t)
{
    struct copy_jobs_table *table = &f->tables[f->n_tables++];
    const char **columns = arena_alloc(arena, (t->n_columns + 1) * sizeof *columns);
    unsigned n = 0;

    for (unsigned i = 0; i < t->n_columns; i++)
        if (t->columns[i].generated == GENERATED_NOT)
            columns[n++] = t->columns[i].name;
    *table = (struct copy_jobs_table){
        .oid = t->oid,
        .schema = t->schema,
        .name = t->name,
        .n_columns = n,
        .columns = columns,
        .is_binary = t->oid % 2 == 0, /* some of each */
        .is_ours = true,
        .plan = {.bytes = t->heap_bytes + t->toast_bytes,
                 .heap_blocks = (uint32_t)(t->heap_bytes / 8192),
                 .parent = t->is_partition ? 0 : COPY_NONE,
                 .has_rows = true,
                 .can_split = true},
    };
}

static struct copy_jobs_entry *add_entry(struct fixture *f, enum copy_entry_kind kind, const char *table,
                                         const char *sql)
{
    struct copy_jobs_entry *e = &f->entries[f->n_entries++];

    *e = (struct copy_jobs_entry){
        .type = "entry",
        .name = arena_printf(arena, "%u", f->n_entries),
        .prelude = "SET client_min_messages = warning;",
        .sql = sql,
        .plan = {.dump_id = 100 + (int)f->n_entries, .kind = kind, .table = place_of(f, table)},
    };
    return e;
}

static void add_entries(struct fixture *f)
{
    static const int attach_1[] = {104, 105}, attach_2[] = {104, 106};

    add_entry(f, COPY_ENTRY_EXCLUSIVE, "large",
              "ALTER TABLE ONLY shop.large ADD CONSTRAINT large_pk PRIMARY KEY (id);");
    add_entry(f, COPY_ENTRY_SHARED, "large", "CREATE INDEX large_name ON shop.large (name);");
    add_entry(f, COPY_ENTRY_SHARED, "huge", "CREATE UNIQUE INDEX huge_id ON shop.huge (id);");
    add_entry(f, COPY_ENTRY_EXCLUSIVE, "events", "ALTER TABLE ONLY shop.events ADD CONSTRAINT e PRIMARY KEY (id, at);");
    add_entry(f, COPY_ENTRY_EXCLUSIVE, "events_1",
              "ALTER TABLE ONLY shop.events_1 ADD CONSTRAINT e1 PRIMARY KEY (id, at);");
    add_entry(f, COPY_ENTRY_EXCLUSIVE, "events_2",
              "ALTER TABLE ONLY shop.events_2 ADD CONSTRAINT e2 PRIMARY KEY (id, at);");
    for (unsigned i = 1; i <= 2; i++) {
        struct copy_jobs_entry *e = add_entry(f, COPY_ENTRY_ATTACH, "events",
                                              arena_printf(arena, "ALTER INDEX shop.e ATTACH PARTITION shop.e%u;", i));

        e->plan.depends = i == 1 ? attach_1 : attach_2;
        e->plan.n_depends = 2;
    }
    for (unsigned i = 1; i <= SMALL_TABLES; i++)
        add_entry(f, COPY_ENTRY_EXCLUSIVE, arena_printf(arena, "small_%u", i),
                  arena_printf(arena, "ALTER TABLE ONLY shop.small_%u ADD PRIMARY KEY (id);", i));
}

static struct fixture *fixture_new(void)
{
    struct fixture *f = ARENA_NEW(arena, struct fixture);
    struct catalog catalog;

    succeeds(catalog_read(source, arena, &catalog));
    f->tables[f->n_tables++] =
        (struct copy_jobs_table){.schema = "shop", .name = "events", .plan = {.parent = COPY_NONE}};
    for (unsigned i = 0; i < catalog.n_tables; i++)
        if (strcmp(catalog.tables[i].schema, "shop") == 0)
            add_table(f, &catalog.tables[i]);
    add_entries(f);
    f->progress = progress_new(arena);
    const struct pg_connect_options options = {.application_name = "pgtide " TASK " holder", .stop = stop};
    succeeds(pg_snapshot_hold(endpoints[0], options, (struct pg_snapshot_wish){0}, &f->holder));
    return f;
}

static int pace(void *self, uint64_t bytes)
{
    (void)bytes;
    return self == NULL ? 0 : PACE_MS;
}

static struct copy_jobs_options options_of(struct fixture *f, bool is_slow)
{
    return (struct copy_jobs_options){
        .source = endpoints[0],
        .target = endpoints[1],
        .task = TASK,
        .encoding = "UTF8",
        .workers = WORKERS,
        .tables = f->tables,
        .n_tables = f->n_tables,
        .entries = f->entries,
        .n_entries = f->n_entries,
        .holder = TAKE(f->holder),
        .rules = {.split_above = SPLIT_ABOVE, .part_bytes = PART_BYTES, .small_below = SMALL_BELOW},
        .build_memory = {.builders = WORKERS, .each_kb = 64 * 1024},
        .parallel_maintenance = 0,
        .pace_self = is_slow ? f : NULL,
        .pace_ms = pace,
        .progress = f->progress,
        .stop = stop,
    };
}

static struct error *copy(struct fixture *f)
{
    const struct copy_jobs_options options = options_of(f, false);
    struct copy_jobs *jobs = NULL;

    TRY(copy_jobs_start(arena, &options, &jobs));
    return copy_jobs_join(jobs);
}

static const char *sum_of(const struct fixture *f, struct pg_conn *c)
{
    const char *sum = "";

    for (uint32_t i = 0; i < f->n_tables; i++) {
        const struct copy_jobs_table *t = &f->tables[i];

        if (!t->plan.has_rows)
            continue;
        const char *sql = arena_printf(
            arena, "SELECT count(*) || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM %s t",
            pg_quote_name(arena, t->schema, t->name));
        sum = arena_printf(arena, "%s%s %s\n", sum, t->name, ask(c, sql));
    }
    return sum;
}

static void everything_is_there(const struct fixture *f)
{
    struct state found;
    struct progress_counters *counters = progress_counters(f->progress);
    uint32_t n_with_rows = f->n_tables - 1;

    assert_string_equal(sum_of(f, target), sum_of(f, source));
    succeeds(state_read(target, arena, TASK, &found));
    assert_int_equal(found.n_relations, n_with_rows);
    assert_int_equal(found.n_done, f->n_entries);
    assert_string_equal(ask(target, "SELECT sum(rows)::text FROM pgtide.relation"),
                        arena_printf(arena, "%llu", (unsigned long long)atomic_load(&counters->rows_copied)));
    assert_string_equal(ask(target, "SELECT string_agg(indisvalid::text, ' ') FROM pg_index WHERE indexrelid IN "
                                    "('shop.e'::regclass, 'shop.e1'::regclass, 'shop.huge_id'::regclass)"),
                        "true true true");
    assert_string_equal(ask(target, "SELECT (max(reltuples) = 30000)::text FROM pg_class WHERE relname = 'huge'"),
                        "true");
    assert_int_equal(atomic_load(&counters->data.done), atomic_load(&counters->data.total));
    assert_int_equal(atomic_load(&counters->tables_done), n_with_rows);
    assert_int_equal(atomic_load(&counters->index.done), atomic_load(&counters->index.total));
    assert_int_equal(atomic_load(&counters->index.entries_done), f->n_entries);
    for (unsigned i = 0; i < 2; i++)
        assert_string_equal(ask(i == 0 ? source : target, "SELECT count(*)::text FROM pg_stat_activity "
                                                          "WHERE application_name LIKE 'pgtide%'"),
                            "0");
}

static void everything_is_copied_and_built(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    succeeds(copy(f));
    everything_is_there(f);
}

static void a_second_run_does_nothing_and_a_third_what_is_missing(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    succeeds(copy(f));
    const char *before = ask(target, "SELECT relfilenode::text FROM pg_class WHERE oid = 'shop.large'::regclass");
    succeeds(copy(f));
    assert_string_equal(ask(target, "SELECT relfilenode::text FROM pg_class WHERE oid = 'shop.large'::regclass"),
                        before);

    /* As an earlier run may leave it: some parts without a record, a small table that was split when it was larger. */
    run(target,
        "DELETE FROM pgtide.relation WHERE table_name IN ('huge', 'small_7');"
        "DELETE FROM pgtide.done WHERE dump_id = 103; DROP INDEX shop.huge_id; DELETE FROM shop.huge WHERE id > 9");
    f->progress = progress_new(arena);
    succeeds(copy(f));
    assert_string_equal(sum_of(f, target), sum_of(f, source));
    assert_string_equal(
        ask(target, "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'shop.huge_id'::regclass"), "true");
}

/* (F11, G3) The snapshot is older than these: it would show nothing of them. */
static void tables_rewritten_after_the_snapshot_get_their_own(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    run(source, "INSERT INTO shop.small_9 SELECT 1000");
    run(source, "TRUNCATE shop.large; INSERT INTO shop.large SELECT i, 'new' FROM generate_series(1, 5000) i");
    run(source, "ALTER TABLE shop.huge ALTER body TYPE varchar");
    run(source, "VACUUM FULL shop.huge");
    run(source, "TRUNCATE shop.small_3");
    run(source, "INSERT INTO shop.small_3 VALUES (1, 'after')");
    succeeds(copy(f));
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.large"), "5000");
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.huge"), "30000");
    assert_string_equal(ask(target, "SELECT string_agg(t, '') FROM shop.small_3"), "after");
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.small_9"),
                        "90"); /* as the shared snapshot saw it */
    assert_string_equal(ask(target, "SELECT count(DISTINCT snapshot)::text FROM pgtide.relation"
                                    " WHERE table_name IN ('large', 'huge', 'small_3', 'small_9')"),
                        "2");
}

static void a_dropped_table_is_named(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    run(source, "DROP TABLE shop.small_5");
    fails(copy(f), ERROR_CONFIG, WORDS("shop.small_5", "dropped or renamed"));
}

static void a_table_under_another_name_is_not_taken_for_it(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    run(source, "ALTER TABLE shop.large RENAME TO other; CREATE TABLE shop.large (LIKE shop.other)");
    fails(copy(f), ERROR_CONFIG, WORDS("shop.large", "dropped or renamed"));
}

/* Others are not made to wait, or to be the victim of a deadlock, by the locks of a bunch. */
static void a_bunch_does_not_wait_for_locks(void **state)
{
    NEEDS_SERVERS();
    CLEANUP(pg_conn_close) struct pg_conn *holder = connect_to(endpoints[0]);
    struct fixture *f = fixture_new();
    const struct copy_jobs_options options = options_of(f, false);
    struct copy_jobs *jobs = NULL;

    run(holder, "BEGIN; LOCK TABLE shop.small_2 IN ACCESS EXCLUSIVE MODE");
    succeeds(copy_jobs_start(arena, &options, &jobs));
    while (strcmp(ask(target, "SELECT count(*)::text FROM pgtide.relation"),
                  arena_printf(arena, "%u", f->n_tables - 2)) != 0)
        stop_wait_ms(stop, PACE_MS);
    assert_false(copy_jobs_ended(jobs));
    run(holder, "ROLLBACK");
    succeeds(copy_jobs_join(jobs));
    everything_is_there(f);
}

static void a_failing_entry_is_named_and_the_rest_is_kept(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();

    run(source, "INSERT INTO shop.large SELECT 1");
    pg_snapshot_release(f->holder);
    f = fixture_new();
    fails(copy(f), ERROR_DATA, WORDS("entry 1", "large_pk"));
    run(target, "DELETE FROM shop.large WHERE id = 1 AND name IS NULL");
    f->progress = progress_new(arena);
    succeeds(copy(f));
    assert_string_equal(ask(target, "SELECT count(*)::text FROM pgtide.done"), arena_printf(arena, "%u", f->n_entries));
}

/* Its session was lost: that passes by itself, with another one. */
static void a_snapshot_that_nobody_holds_is_no_error_of_the_data(void **state)
{
    NEEDS_SERVERS();
    CLEANUP(pg_conn_close) struct pg_conn *other = connect_to(endpoints[0]);

    fails(pg_snapshot_import(other, "00000003-0000001B-1"), ERROR_TRANSIENT, WORDS("held the snapshot is lost"));
}

/* Rows whose commit was answered and then forgotten, as by a crash with synchronous_commit = off. */
static void what_the_target_forgets_is_copied_again(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();
    const struct copy_jobs_options options = options_of(f, true);
    struct copy_jobs *jobs = NULL;

    succeeds(copy_jobs_start(arena, &options, &jobs));
    while (strcmp(ask(target, "SELECT count(*)::text FROM pgtide.relation WHERE table_name = 'events_1'"), "0") == 0)
        stop_wait_ms(stop, PACE_MS);
    run(target, "BEGIN; DELETE FROM pgtide.relation WHERE table_name = 'events_1'; TRUNCATE shop.events_1; COMMIT");
    succeeds(copy_jobs_join(jobs));
    assert_string_equal(sum_of(f, target), sum_of(f, source));
}

static struct error *run_entry(void *self, struct pg_conn *c, uint32_t place)
{
    const struct fixture *f = self;

    return pg_execute_format(c, "building", "%s INSERT INTO pgtide.done VALUES ('" TASK "', %d)", f->entries[place].sql,
                             f->entries[place].plan.dump_id);
}

static void entries_may_be_run_by_the_caller(void **state)
{
    NEEDS_SERVERS();
    struct fixture *f = fixture_new();
    struct copy_jobs_options options = options_of(f, false);
    struct copy_jobs *jobs = NULL;

    options.run_entry = run_entry;
    options.run_self = f;
    succeeds(copy_jobs_start(arena, &options, &jobs));
    succeeds(copy_jobs_join(jobs));
    everything_is_there(f);
}

struct striker {
    const struct copy_jobs *jobs;
    const char *pattern; /* of application_name */
    const struct pg_endpoint *endpoint;
};

static struct error *strike(void *self)
{
    const struct striker *s = self;
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "striker");
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;

    TRY(pg_connect(s->endpoint, (struct pg_connect_options){.application_name = "striker", .stop = stop}, &c));
    for (unsigned i = 0; i < STRIKES && !copy_jobs_ended(s->jobs); i++) {
        stop_wait_ms(stop, STRIKE_MS);
        TRY(pg_execute_format(c, "striking",
                              "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                              " WHERE application_name LIKE %s ORDER BY random() LIMIT 2) p",
                              pg_quote_literal(scratch, s->pattern)));
    }
    return NULL;
}

static struct fixture *copy_while_striking(const char *pattern, const struct pg_endpoint *endpoint)
{
    struct fixture *f = fixture_new();
    const struct copy_jobs_options options = options_of(f, true);
    struct striker striker = {.pattern = pattern, .endpoint = endpoint};
    struct copy_jobs *jobs = NULL;
    struct thread *thread = NULL;

    succeeds(copy_jobs_start(arena, &options, &jobs));
    striker.jobs = jobs;
    succeeds(thread_start("striker", strike, &striker, &thread));
    while (!copy_jobs_ended(jobs))
        stop_wait_ms(stop, PACE_MS);
    succeeds(thread_join(thread));
    succeeds(copy_jobs_join(jobs));
    return f;
}

static void survives(const char *pattern, const struct pg_endpoint *endpoint)
{
    everything_is_there(copy_while_striking(pattern, endpoint));
}

/* Each update puts rows into other pages, so into other parts. */
static struct error *move_rows(void *self)
{
    const struct stop *own = self;
    CLEANUP(pg_conn_close) struct pg_conn *c = NULL;

    TRY(pg_connect(endpoints[0], (struct pg_connect_options){.application_name = "mover", .stop = stop}, &c));
    for (unsigned i = 0; !stop_requested(own); i++)
        TRY(pg_execute_format(c, "moving rows", "UPDATE shop.huge SET body = body WHERE id %% 20 = %u", i % 20));
    return NULL;
}

static void parts_share_a_snapshot_though_rows_move_and_snapshots_are_lost(void **state) /* G3 */
{
    NEEDS_SERVERS();
    CLEANUP(stop_free) struct stop *own = NULL;
    struct thread *thread = NULL;

    succeeds(stop_new(&own));
    succeeds(thread_start("mover", move_rows, own, &thread));
    copy_while_striking("pgtide % holder", endpoints[0]); /* a row twice would be refused by the unique index */
    stop_request(own);
    succeeds(thread_join(thread));
    assert_string_equal(ask(target, "SELECT count(*)::text FROM shop.huge"), "30000");
}

static void survives_the_loss_of_sessions_on_the_target(void **state)
{
    NEEDS_SERVERS();
    survives("pgtide % copy%", endpoints[1]);
}

static void survives_the_loss_of_sessions_on_the_source(void **state)
{
    NEEDS_SERVERS();
    survives("pgtide % copy%", endpoints[0]);
}

static void survives_the_loss_of_the_snapshot(void **state) /* G2, G3 */
{
    NEEDS_SERVERS();
    survives("pgtide % holder", endpoints[0]);
}

static void survives_the_loss_of_everything_on_the_source(void **state) /* G2, G3 */
{
    NEEDS_SERVERS();
    survives("pgtide %", endpoints[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_list_of_tables_passes_and_is_counted, begin),
        cmocka_unit_test_setup(rows_lost_on_the_way_are_noticed, begin),
        cmocka_unit_test_setup(what_the_target_refuses_is_noticed_while_sending, begin),
        cmocka_unit_test_setup(what_the_source_refuses_leaves_the_target_usable, begin),
        cmocka_unit_test_setup(notices_of_the_target_do_no_harm, begin),
        cmocka_unit_test_setup(a_row_larger_than_all_buffers_passes, begin),
        cmocka_unit_test_setup(a_copy_that_is_asked_to_pause_each_time_ends, begin),
        cmocka_unit_test_setup(a_copy_stops_when_asked, begin),
        cmocka_unit_test_setup(everything_is_copied_and_built, begin),
        cmocka_unit_test_setup(a_second_run_does_nothing_and_a_third_what_is_missing, begin),
        cmocka_unit_test_setup(tables_rewritten_after_the_snapshot_get_their_own, begin),
        cmocka_unit_test_setup(a_dropped_table_is_named, begin),
        cmocka_unit_test_setup(a_table_under_another_name_is_not_taken_for_it, begin),
        cmocka_unit_test_setup(a_bunch_does_not_wait_for_locks, begin),
        cmocka_unit_test_setup(a_failing_entry_is_named_and_the_rest_is_kept, begin),
        cmocka_unit_test_setup(a_snapshot_that_nobody_holds_is_no_error_of_the_data, begin),
        cmocka_unit_test_setup(what_the_target_forgets_is_copied_again, begin),
        cmocka_unit_test_setup(entries_may_be_run_by_the_caller, begin),
        cmocka_unit_test_setup(survives_the_loss_of_sessions_on_the_target, begin),
        cmocka_unit_test_setup(survives_the_loss_of_sessions_on_the_source, begin),
        cmocka_unit_test_setup(survives_the_loss_of_the_snapshot, begin),
        cmocka_unit_test_setup(parts_share_a_snapshot_though_rows_move_and_snapshots_are_lost, begin),
        cmocka_unit_test_setup(survives_the_loss_of_everything_on_the_source, begin),
    };

    if (getenv("PGTIDE_TEST_FILTER") != NULL)
        cmocka_set_test_filter(getenv("PGTIDE_TEST_FILTER"));
    return cmocka_run_group_tests_name("worker/copy_jobs", tests, open_servers, close_servers);
}
