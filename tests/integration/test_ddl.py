"""DDL that is run on the source while it is followed. The verdict is always that both databases are equal, objects and rows.

    source (event triggers) ── pgtide ──▶ target
"""

from __future__ import annotations

import json
from typing import Iterator

import pytest

from harness.compare import assert_equal
from harness.leftovers import leftovers
from harness.pgtide import FAILED, OK
from harness.wait import wait_until
from harness.world import Pair, World

TABLES = """
    CREATE TABLE a (id integer PRIMARY KEY, v text); INSERT INTO a SELECT n, 'a' || n FROM generate_series(1, 100) n;
    CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a, n numeric); INSERT INTO b SELECT n, n, n FROM generate_series(1, 50) n
"""


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    """Two tables, followed."""
    pair = world.pair()
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE owner; CREATE ROLE reader", pair.database)
    pair.on_source(TABLES)
    pair.pgtide.follow()
    yield pair


def each(pair: Pair, *statements: str) -> None:
    """Each in a transaction of its own."""
    for statement in statements:
        pair.on_source(statement)


def test_every_kind_of_statement(pair: Pair):
    each(pair,
         "CREATE SCHEMA s", 'CREATE SCHEMA "S 2" AUTHORIZATION owner CREATE TABLE t (a integer) CREATE VIEW v AS SELECT 1 AS x',
         "CREATE TABLE s.t (id integer PRIMARY KEY, v text DEFAULT 'x', CHECK (id > 0))", "INSERT INTO s.t VALUES (1), (2)",
         "ALTER TABLE s.t ADD COLUMN w integer NOT NULL DEFAULT 7", "UPDATE s.t SET w = 8 WHERE id = 2",
         "ALTER TABLE s.t DROP COLUMN v", "INSERT INTO s.t VALUES (3, 9)", "ALTER TABLE s.t RENAME COLUMN w TO \"w W\"",
         "ALTER TABLE s.t ALTER id TYPE bigint", "INSERT INTO s.t VALUES (5000000000, 1)", "ALTER TABLE s.t ALTER \"w W\" TYPE text USING 'n' || \"w W\"",
         "ALTER TABLE s.t ADD CONSTRAINT u UNIQUE (\"w W\")", "ALTER TABLE s.t ALTER \"w W\" SET STORAGE EXTERNAL",
         "ALTER TABLE s.t RENAME TO \"T t\"", "INSERT INTO s.\"T t\" VALUES (4, 'n4')", "ALTER TABLE s.\"T t\" SET SCHEMA \"S 2\"",
         "INSERT INTO \"S 2\".\"T t\" VALUES (6, 'n6')", "ALTER TABLE a REPLICA IDENTITY FULL", "UPDATE a SET v = 'z' WHERE id = 1",
         "ALTER TABLE b DROP CONSTRAINT b_a_fkey", "ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES a NOT VALID", "ALTER TABLE b VALIDATE CONSTRAINT b_a_fkey",
         "CREATE SEQUENCE q", "ALTER SEQUENCE q INCREMENT 5 OWNED BY a.id", "SELECT nextval('q')", "CREATE INDEX ON a (v)", "ALTER INDEX a_v_idx RENAME TO \"i i\"",
         "CREATE UNIQUE INDEX CONCURRENTLY c ON a (id, v)", "DROP INDEX CONCURRENTLY c", "CREATE INDEX CONCURRENTLY c2 ON a (v) WHERE id > 5",
         "CREATE VIEW v AS SELECT * FROM a", "CREATE OR REPLACE VIEW v AS SELECT *, 1 AS one FROM a", "CREATE MATERIALIZED VIEW m AS SELECT id FROM a WITH NO DATA",
         "CREATE TYPE e AS ENUM ('x', 'y')", "ALTER TABLE a ADD e e", "ALTER TYPE e ADD VALUE 'z' AFTER 'x'", "UPDATE a SET e = 'z' WHERE id < 10",
         "CREATE TYPE c1 AS (x integer, y text)", "ALTER TYPE c1 ADD ATTRIBUTE z integer", "CREATE DOMAIN d AS text CHECK (value <> '')",
         "ALTER DOMAIN d SET DEFAULT 'q'", "CREATE FUNCTION f(x integer) RETURNS integer LANGUAGE sql AS 'SELECT x; SELECT x + 1;'",
         "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$", "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
         "CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION tf()", "ALTER TABLE a DISABLE TRIGGER tr",
         "CREATE TABLE late (a int PRIMARY KEY DEFERRABLE, v text)", "INSERT INTO late SELECT n, 'v' FROM generate_series(1, 9) n", "UPDATE late SET a = 10 - a",
         "CREATE TABLE keyless (a int PRIMARY KEY)", "INSERT INTO keyless SELECT generate_series(1, 9)", "ALTER TABLE keyless DROP CONSTRAINT keyless_pkey", "UPDATE keyless SET a = 1",
         "CREATE UNIQUE INDEX bi ON b (id)", "ALTER TABLE b REPLICA IDENTITY USING INDEX bi", "ALTER TABLE b DROP CONSTRAINT b_pkey", "DROP INDEX bi", "UPDATE b SET n = 5 WHERE id < 5",
         "CREATE DOMAIN dk AS int", "CREATE TABLE dt (k dk PRIMARY KEY, v int)", "INSERT INTO dt VALUES (1, 1)", "DROP DOMAIN dk CASCADE", "UPDATE dt SET v = 2",
         "CREATE TABLE none (a int PRIMARY KEY, b int)", "INSERT INTO none VALUES (1, 1)", "ALTER TABLE none REPLICA IDENTITY NOTHING", "UPDATE none SET b = 2",
         "ALTER TABLE a ENABLE ROW LEVEL SECURITY", "CREATE POLICY po ON a TO reader USING (id < 5)", "ALTER POLICY po ON a USING (id < 6)",
         "CREATE RULE ru AS ON UPDATE TO v DO INSTEAD NOTHING", "COMMENT ON TABLE a IS 'it''s; a \"table\"'", "COMMENT ON COLUMN a.v IS 'v'",
         "GRANT SELECT ON a TO reader", "GRANT UPDATE (v) ON a TO reader", "REVOKE SELECT ON a FROM reader",
         "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader", "CREATE TABLE granted (id integer PRIMARY KEY)",
         "CREATE EXTENSION citext", "CREATE TABLE ci (k citext PRIMARY KEY)", "INSERT INTO ci VALUES ('A')", "CREATE STATISTICS st ON id, v FROM a",
         "CREATE COLLATION co (locale = 'C')", "CREATE AGGREGATE ag (integer) (sfunc = int4pl, stype = integer)", "CREATE CAST (e AS integer) WITH INOUT",
         "DROP VIEW v", "DROP FUNCTION f(integer)", "DROP TABLE granted", "ALTER TABLE a RENAME CONSTRAINT a_pkey TO pk", "ALTER TABLE b OWNER TO owner",
         "CREATE TABLE gone (id integer)", "INSERT INTO gone VALUES (1)", "DROP TABLE gone", "DROP SCHEMA s CASCADE")
    pair.finish()


def test_partitions_and_inheritance(pair: Pair):
    each(pair, "CREATE TABLE p (id integer, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
         "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')", "INSERT INTO p VALUES (1, '2020-05-05', 'x')",
         "CREATE TABLE p2 (LIKE p INCLUDING ALL)", "INSERT INTO p2 VALUES (2, '2021-05-05', 'y')",
         "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')", "UPDATE p SET v = v || '!'",
         "UPDATE p SET at = '2021-06-06' WHERE id = 1", "ALTER TABLE p DETACH PARTITION p1", "INSERT INTO p1 VALUES (9, '2020-01-01', 'free')",
         "ALTER TABLE p DETACH PARTITION p2", "INSERT INTO p2 VALUES (10, '2021-01-01', 'free')",
         "CREATE TABLE parent (id integer PRIMARY KEY)", "CREATE TABLE child (x text) INHERITS (parent)", "INSERT INTO child VALUES (1, 'c')",
         "ALTER TABLE child NO INHERIT parent", "UPDATE child SET x = 'd'", "ALTER TABLE child INHERIT parent")
    pair.finish()


def test_statements_and_rows_in_one_transaction(pair: Pair):    # P1
    each(pair, "BEGIN; INSERT INTO a VALUES (1001, 'before'); ALTER TABLE a ADD x integer DEFAULT 3; INSERT INTO a VALUES (1002, 'after', 4);"
         "UPDATE a SET x = 5 WHERE id = 1001; CREATE TABLE n (id integer PRIMARY KEY, t text); INSERT INTO n SELECT g, repeat('n', 10) FROM generate_series(1, 3000) g;"
         "ALTER TABLE n DROP COLUMN t; UPDATE n SET id = id + 10000 WHERE id < 100; TRUNCATE b; ALTER TABLE b ADD y text; INSERT INTO b VALUES (1, 1, 1, 'y'); COMMIT",
         "INSERT INTO n VALUES (1)",
         "BEGIN; SAVEPOINT s; CREATE TABLE never (a integer); ROLLBACK TO s; CREATE TABLE kept (a integer); INSERT INTO kept VALUES (1); ALTER TABLE kept ADD b integer; COMMIT",
         "BEGIN; CREATE TABLE rolled_back (a integer); INSERT INTO rolled_back VALUES (1); ROLLBACK",
         "BEGIN; ALTER TABLE a RENAME TO a2; CREATE TABLE a (other text PRIMARY KEY); INSERT INTO a VALUES ('x'); INSERT INTO a2 VALUES (7777, 'y'); COMMIT",
         "UPDATE a2 SET v = 'renamed' WHERE id < 20")
    pair.finish()


def test_a_schema_is_renamed_before_rows_and_among_them(pair: Pair):
    """Servers before 16 would go on telling of its tables by the former name, which may be another's by then."""
    pair.on_source("CREATE SCHEMA s; CREATE TABLE s.t (id integer PRIMARY KEY); CREATE TABLE s.u (id integer PRIMARY KEY); INSERT INTO s.t VALUES (1); INSERT INTO s.u VALUES (1)")
    pair.pgtide.caught_up()
    pair.on_source("ALTER SCHEMA s RENAME TO s2")
    pair.on_source("INSERT INTO s2.t VALUES (2); INSERT INTO s2.u VALUES (2)")
    pair.on_source("BEGIN; INSERT INTO s2.t VALUES (3); ALTER SCHEMA s2 RENAME TO s3; INSERT INTO s3.t VALUES (4); COMMIT")
    pair.on_source("CREATE SCHEMA s2; CREATE TABLE s2.t (id integer PRIMARY KEY); INSERT INTO s2.t VALUES (5); INSERT INTO s3.t VALUES (6); INSERT INTO s3.u VALUES (6)")
    pair.finish()


def test_a_statement_whose_effect_is_seen_late_is_followed_by_a_savepoint(pair: Pair):
    """After ALTER DOMAIN … DROP the server sets none until something was written: "unprocessed inval messages"."""
    pair.on_source("CREATE DOMAIN positive AS integer CHECK (VALUE > 0); CREATE TABLE of_domain (id integer PRIMARY KEY, d positive); INSERT INTO of_domain VALUES (1, 1), (2, 2)")
    pair.on_source("BEGIN; ALTER DOMAIN positive DROP CONSTRAINT positive_check; UPDATE of_domain SET d = -1 WHERE id = 1; DELETE FROM of_domain WHERE d < 0; ALTER DOMAIN positive ADD CONSTRAINT positive_check CHECK (VALUE > 0); COMMIT")
    pair.on_source("BEGIN; ALTER DOMAIN positive DROP CONSTRAINT positive_check; ALTER DOMAIN positive ADD CONSTRAINT positive_check CHECK (VALUE > 1); COMMIT")
    pair.finish()


def test_a_value_of_a_type_that_has_more_columns_by_then_can_be_left_out(pair: Pair):
    """What was written before the statement and committed after it comes as it was written."""
    pair.on_source("CREATE TYPE two AS (n integer, m integer); CREATE TABLE of_two (id integer PRIMARY KEY, p two)")
    with pair.source.connect(pair.database) as session:
        session.execute("BEGIN; INSERT INTO of_two VALUES (1, ROW(1, 2))")
        pair.on_source("ALTER TYPE two ADD ATTRIBUTE o integer")
        session.execute("COMMIT; INSERT INTO of_two VALUES (2, ROW(1, 2, 3))")
    assert pair.pgtide.run.wait(60) == FAILED
    assert "wrong number of columns" in pair.pgtide.run.err and "--skip-change" in pair.pgtide.run.err, pair.pgtide.run.err
    pair.pgtide.start_command("resume", "--skip-change")
    pair.pgtide.wait_phase("incremental")
    pair.pgtide.caught_up()
    assert pair.target.query("SELECT id FROM of_two", pair.database) == [(2,)]
    assert pair.pgtide.call("compare", "--repair").status == OK
    pair.finish()


def test_many_statements_in_one_string(pair: Pair):
    with pair.source.connect(pair.database) as session:
        session.pgconn.exec_(b"""
            /* ; */ CREATE TABLE m1 (a integer PRIMARY KEY, t text DEFAULT 'a;b'); CREATE TABLE m2 (a integer PRIMARY KEY); -- CREATE TABLE x
            CREATE TABLE IF NOT EXISTS m1 (b integer); INSERT INTO m1 VALUES (1); CREATE TEMP TABLE tm (a integer); DROP TABLE tm;
            CREATE TABLE m3 AS SELECT a, t FROM m1; CREATE TABLE m4 (a integer); ALTER TABLE m1 ADD b integer; ALTER TABLE m2 ADD c text;
            CREATE FUNCTION fa() RETURNS integer BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 ELSE 3 END; END; DROP TABLE IF EXISTS nothing; DROP TABLE m4""")
    assert pair.source_value("SELECT count(*) FROM pg_class WHERE relname IN ('m1', 'm2', 'm3')") == 3
    pair.finish()


def test_one_string_with_transactions_and_savepoints(pair: Pair):
    """What is counted where something is rolled back, and what only looks like a statement of the kind."""
    with pair.source.connect(pair.database) as session:
        for text in ("BEGIN; COMMENT ON TABLE a IS 'one'; COMMIT; BEGIN; COMMENT ON TABLE b IS 'two'; COMMIT", "COMMENT ON COLUMN a.v IS 'v'; COMMIT; COMMENT ON COLUMN b.n IS 'n'",
                     "COMMENT ON TABLE a IS 'never'; ROLLBACK; COMMENT ON COLUMN a.id IS 'id'",
                     "BEGIN; SAVEPOINT x; COMMENT ON TABLE b IS 'never'; SAVEPOINT y; COMMENT ON TABLE b IS 'nor'; ROLLBACK TO x; COMMENT ON COLUMN b.a IS 'a'; COMMIT",
                     "BEGIN; CREATE TABLE sv (a int PRIMARY KEY); SAVEPOINT x; ALTER TABLE sv ADD b int; INSERT INTO sv VALUES (1, 2); ROLLBACK TO x; ALTER TABLE sv ADD b text;"
                     "INSERT INTO sv VALUES (1, 't'); RELEASE x; COMMIT",
                     "COMMENT ON ROLE reader IS 'r'; COMMENT ON DATABASE app IS 'd'; COMMENT ON CONSTRAINT a_pkey ON a IS 'k'",
                     "GRANT owner TO reader; GRANT CONNECT ON DATABASE app TO reader; GRANT SELECT ON a TO reader; REVOKE owner FROM reader; GRANT INSERT ON b TO reader; REVOKE SELECT ON a FROM reader"):
            answer = session.pgconn.exec_(text.encode())
            assert not answer.error_message, answer.error_message
    each(pair, "CREATE FUNCTION thrice() RETURNS void LANGUAGE sql AS 'ALTER TABLE a ADD x1 int; ALTER TABLE a ADD x2 int; SELECT 1; ALTER TABLE a ADD x3 int DEFAULT 7'", "SELECT thrice()",
         "UPDATE a SET x3 = 8 WHERE id < 5")
    pair.finish()


def test_a_long_string_is_told_once_in_a_transaction(pair: Pair):
    """And the statements in it are none the less each the one that it was, over rollbacks, tables made from queries, functions and a kill."""
    said = "/* " + "said " * 2000 + " */"
    strings = ("BEGIN; COMMENT ON TABLE a IS 'one'; COMMENT ON COLUMN a.v IS 'v'; COMMIT; COMMENT ON TABLE b IS 'two'; BEGIN; COMMENT ON COLUMN b.n IS 'never'; ROLLBACK; COMMENT ON COLUMN b.n IS 'n'",
               "BEGIN; SAVEPOINT x; ALTER TABLE a ADD never int; ROLLBACK TO x; ALTER TABLE a ADD w1 int; ALTER TABLE b ADD w2 int; COMMIT",
               "CREATE TABLE l1 AS SELECT 1 AS id; CREATE TABLE l2 AS SELECT id FROM l1; ALTER TABLE l2 ADD PRIMARY KEY (id); SELECT adds(); ALTER TABLE l2 ADD v text; INSERT INTO l2 VALUES (2, 'v'); DROP TABLE l1",
               ";".join(f"CREATE TABLE l_{n} (id int PRIMARY KEY); ALTER TABLE l_{n} ADD c_{n} int" for n in range(40)))
    each(pair, "CREATE FUNCTION adds() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE l1 ADD by_function int; END $$")
    pair.pgtide.caught_up()
    pair.source_value("SELECT pg_create_logical_replication_slot('watch', 'test_decoding')::text")
    with pair.source.connect(pair.database) as session:
        for n, text in enumerate(strings):
            answer = session.pgconn.exec_((text + said).encode())
            assert not answer.error_message, answer.error_message
            if n == 2:
                pair.pgtide.run.kill()
    told = [len(data) > len(said) for (data,) in pair.source.query("SELECT data FROM pg_logical_slot_get_changes('watch', NULL, NULL) WHERE data LIKE 'table pgtide.ddl%INSERT%'", pair.database)]
    pair.source_value("SELECT pg_drop_replication_slot('watch')::text")
    assert (len(told), sum(told)) == (95, 8), "once in each transaction, and again after what a function or a rollback came between"
    pair.pgtide.follow()
    pair.finish()


def test_two_targets_are_told_of_the_same_statements(world: World, pair: Pair):
    other = world.cluster("other")
    for role in ("owner", "reader"):
        other.execute(f"CREATE ROLE {role}")
    second = world.pgtide(pair.source.dsn(pair.database), other.dsn(pair.database))
    second.follow()
    with pair.source.connect(pair.database) as session:
        session.pgconn.exec_(b"CREATE TABLE t1 (id int PRIMARY KEY); CREATE TABLE t2 (id int PRIMARY KEY); CREATE TABLE t3 (id int PRIMARY KEY); DROP TABLE t1; ALTER TABLE t2 ADD v int; CREATE EXTENSION citext")
    pair.pgtide.caught_up()
    second.finish()
    assert_equal(pair.source, other, pair.database)
    pair.finish()


def test_what_runs_beside_a_statement(pair: Pair):
    """Scripts of extensions, other event triggers, temporary objects: none of it is taken for a statement of its own, or comes too early."""
    each(pair, "CREATE EXTENSION hstore", "CREATE TABLE hs (a int PRIMARY KEY, h hstore); INSERT INTO hs VALUES (1, 'a=>1')", "CREATE SCHEMA ext", "ALTER EXTENSION hstore SET SCHEMA ext",
         "UPDATE hs SET h = 'b=>2'", "CREATE EXTENSION earthdistance CASCADE", "DROP EXTENSION hstore CASCADE", "INSERT INTO hs VALUES (2)",
         "CREATE FUNCTION on_end() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP "
         "EXECUTE format('COMMENT ON TABLE %s IS %L', r.object_identity, 'automatic'); EXECUTE format('GRANT SELECT ON %s TO reader', r.object_identity); END LOOP; END $$",
         "CREATE EVENT TRIGGER a_first ON ddl_command_end WHEN tag IN ('CREATE TABLE') EXECUTE FUNCTION on_end()", "CREATE TABLE commented (a int PRIMARY KEY)", "INSERT INTO commented VALUES (1)",
         "DROP EVENT TRIGGER a_first",
         "CREATE TEMP VIEW tv AS SELECT 1; CREATE TEMP SEQUENCE ts; CREATE TABLE between (a int PRIMARY KEY); COMMENT ON VIEW tv IS 'x'; DROP VIEW tv; CREATE TYPE pg_temp.ty AS (a int); DROP TYPE pg_temp.ty; DROP SEQUENCE ts",
         "CREATE TABLE p (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE \"p 1\" PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p SELECT generate_series(1, 9)",
         "ALTER TABLE p DETACH PARTITION \"p 1\" CONCURRENTLY", "DELETE FROM \"p 1\" WHERE a = 5", "ALTER TABLE p ATTACH PARTITION \"p 1\" FOR VALUES FROM (0) TO (10)")
    pair.finish()


def test_the_end_waits_for_who_ran_a_statement_and_nobody_waits_behind_it(pair: Pair):
    with pair.source.connect(pair.database, autocommit=False) as idle, pair.source.connect(pair.database) as other:
        idle.execute("CREATE TABLE late (a int)")
        stop = pair.pgtide.begin("stop")
        wait_until(lambda: not pair.source.query("SELECT FROM pg_event_trigger", pair.database), 30, "the event triggers are gone")
        other.execute("SET statement_timeout = '20s'")
        for n in range(20):
            other.execute(f"CREATE TABLE beside{n} (a int)")
        wait_until(lambda: f"pid {idle.info.backend_pid} (test, idle in transaction)" in pair.pgtide.run.err + pair.pgtide.run.out, 30, "it says whom it waits for")
        idle.rollback()
        stop.expect(OK)
    pair.pgtide.run.expect(OK)
    pair.assert_nothing_left()


def test_inside_of_functions_and_blocks(pair: Pair):
    each(pair, """DO $$ BEGIN CREATE TABLE d1 (id integer PRIMARY KEY, v text); INSERT INTO d1 VALUES (1, 'x'); FOR i IN 1..3 LOOP
                   EXECUTE format('CREATE TABLE %I (a integer PRIMARY KEY)', 'dyn "' || i); EXECUTE format('INSERT INTO %I VALUES (%s)', 'dyn "' || i, i); END LOOP;
                   EXECUTE 'ALTER TABLE d1 ADD w text DEFAULT ''q''; COMMENT ON TABLE d1 IS ''c'''; END $$""",
         "CREATE FUNCTION make(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'CREATE TABLE ' || name || ' (a integer PRIMARY KEY)'; "
         "CREATE TABLE fixed AS SELECT name AS n; END $$", "SELECT make('made')", "INSERT INTO made VALUES (1)",
         "CREATE FUNCTION in_sql() RETURNS void LANGUAGE sql AS 'CREATE TABLE sq1 (a integer); ALTER TABLE sq1 ADD b integer; CREATE TABLE sq2 (x integer)'",
         "SELECT in_sql()", "INSERT INTO sq1 VALUES (1, 2)",
         "CREATE FUNCTION as_owner() RETURNS void SECURITY DEFINER LANGUAGE plpgsql AS 'BEGIN CREATE TABLE of_owner (a integer); END'",
         "GRANT CREATE, USAGE ON SCHEMA public TO owner, reader", "ALTER FUNCTION as_owner() OWNER TO owner", "SET ROLE reader; SELECT as_owner()")
    pair.finish()


def test_tables_made_from_queries(pair: Pair):
    each(pair, "CREATE TABLE q1 AS SELECT id, v COLLATE \"C\" AS c, ARRAY[id] AS r, NULL::numeric(5,2) AS n FROM a", "SELECT * INTO q2 FROM a WHERE id < 0",
         "SELECT id INTO q3 FROM a", "INSERT INTO q3 VALUES (0)", "UPDATE q3 SET id = -id", "DELETE FROM q3 WHERE id < -90",
         "CREATE TABLE q4 (x, y) WITH (fillfactor = 50) AS VALUES (1, 'one'), (2, 'two')", "CREATE TABLE q5 AS SELECT * FROM a WITH NO DATA",
         "CREATE TEMP TABLE q6 AS SELECT * FROM a", "BEGIN; INSERT INTO a VALUES (2000, 'q'); CREATE TABLE q7 AS SELECT * FROM a; DELETE FROM a WHERE id = 2000;"
         "CREATE TABLE q8 AS SELECT * FROM q7; DELETE FROM q7 WHERE id > 50; COMMIT", "CREATE TABLE IF NOT EXISTS q8 AS SELECT 1 AS other",
         "CREATE MATERIALIZED VIEW qm AS SELECT id, v FROM a WITH NO DATA")
    pair.finish()


def test_role_and_search_path(pair: Pair):
    each(pair, "CREATE SCHEMA one; CREATE SCHEMA two; GRANT ALL ON SCHEMA one, two TO owner",
         "SET search_path = one, public; CREATE TABLE t (a integer PRIMARY KEY); SET ROLE owner; CREATE TABLE t2 (a integer PRIMARY KEY)",
         "SET search_path = two; CREATE TABLE t (a integer PRIMARY KEY, at timestamptz DEFAULT '2020-01-02'); INSERT INTO t VALUES (1)",
         "SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; ALTER TABLE two.t ADD d timestamptz DEFAULT '03.02.2020 00:00'")
    assert pair.source_value("SELECT tableowner FROM pg_tables WHERE tablename = 't2'") == "owner"
    pair.finish()


def test_rows_that_a_statement_gives_values(pair: Pair):
    """Each server would compute others: the source's values come."""
    each(pair, "ALTER TABLE a ADD r float8 DEFAULT random()", "ALTER TABLE a ADD s bigserial", "ALTER TABLE a ADD u uuid DEFAULT gen_random_uuid()",
         "ALTER TABLE a ADD g integer GENERATED ALWAYS AS (id * 2) STORED", "INSERT INTO a (id) VALUES (5000)", "ALTER TABLE b ADD at timestamptz DEFAULT now()",
         "CREATE DOMAIN dice AS float8 DEFAULT random(); ALTER TABLE a ADD dice dice",
         "CREATE TABLE bag (x int, c int DEFAULT 3); INSERT INTO bag VALUES (1), (1)", "ALTER TABLE bag ADD d text DEFAULT 'constant'", "ALTER TABLE bag ADD g int GENERATED ALWAYS AS (5) STORED", "ALTER TABLE bag ALTER x TYPE bigint",
         "ALTER TABLE a ALTER v TYPE text USING v || clock_timestamp()", "ALTER TABLE b ALTER n TYPE float8 USING n * random()", "ALTER TABLE a ALTER v TYPE varchar USING v || current_user",
         "SET standard_conforming_strings = off; ALTER TABLE a ALTER v TYPE text USING v || clock_timestamp()",
         "CREATE TABLE new (a serial PRIMARY KEY); INSERT INTO new SELECT generate_series(1, 10); SELECT 1; ALTER TABLE new ADD u uuid DEFAULT gen_random_uuid(); ALTER TABLE new ADD plain int",
         "BEGIN; CREATE TABLE new2 (a serial PRIMARY KEY); INSERT INTO new2 SELECT generate_series(1, 10); SAVEPOINT s; ALTER TABLE new2 ADD u uuid DEFAULT gen_random_uuid(); ROLLBACK TO s;"
         "ALTER TABLE new2 ADD w uuid DEFAULT gen_random_uuid(); COMMIT")
    pair.finish()


def test_two_sessions_alter_one_table(pair: Pair):
    first, second = (pair.source.connect(pair.database, autocommit=False) for _ in range(2))
    first.execute("ALTER TABLE a ADD x integer")
    first.execute("UPDATE a SET x = id")
    second.execute("CREATE TABLE beside (id integer PRIMARY KEY)")
    first.commit()
    second.execute("ALTER TABLE a ADD y integer DEFAULT 1")
    second.execute("INSERT INTO a VALUES (3000, 'both', 1, 2)")
    second.commit()
    pair.finish()


def test_killed_between_statements_and_gone_on(pair: Pair):    # P1: neither lost nor run twice
    each(pair, "CREATE TABLE k (id integer PRIMARY KEY)", "INSERT INTO k VALUES (1)")
    pair.pgtide.run.kill()
    each(pair, "ALTER TABLE k ADD v integer", "INSERT INTO k VALUES (2, 2)", "CREATE TABLE k2 AS SELECT * FROM k", "DROP TABLE b")
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.finish()


def test_new_tables_join_a_publication_that_lists_its_tables(world: World):
    """Because one table has no key: it is followed for INSERT only, and all others stay what they are."""
    pair = world.pair()
    pair.on_source(TABLES + "; CREATE TABLE keyless (x integer)")
    pair.pgtide.follow("--accept", "all")
    each(pair, "INSERT INTO keyless VALUES (1)", "CREATE TABLE n1 (id integer PRIMARY KEY, v text); INSERT INTO n1 SELECT n, 'v' FROM generate_series(1, 20) n", "UPDATE n1 SET v = 'w' WHERE id < 5",
         "BEGIN; CREATE TABLE n2 (v text); INSERT INTO n2 VALUES ('a'), ('a'), ('b'); DELETE FROM n2 WHERE v = 'b'; COMMIT", "CREATE TABLE n3 AS SELECT * FROM a WHERE false", "INSERT INTO n3 VALUES (1, 'x')", "UPDATE n3 SET v = 'y'",
         "CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (5)", "UPDATE p SET id = 6",
         "CREATE UNLOGGED TABLE u (id integer)", "CREATE TABLE keyless2 (x integer PRIMARY KEY); INSERT INTO keyless2 VALUES (1); ALTER TABLE keyless2 DROP CONSTRAINT keyless2_pkey; UPDATE keyless2 SET x = 2")
    each(pair, "CREATE TABLE n5 AS SELECT n AS id, repeat('x', n % 5000) AS v FROM generate_series(1, 2000) n", "UPDATE n5 SET v = 'w' WHERE id < 5; DELETE FROM n5 WHERE id = 77",
         "BEGIN; SELECT id, v INTO n6 FROM a WHERE id < 9; UPDATE n6 SET v = 'x' WHERE id = 1; ALTER TABLE n6 ADD w integer DEFAULT 3; CREATE TABLE n7 AS TABLE n6; INSERT INTO n7 VALUES (100, 'z', 1); COMMIT")
    pair.pgtide.caught_up()
    pair.assert_equal(sequences=False)
    each(pair, "CREATE TABLE n4 AS SELECT repeat(md5(n::text), 60) AS v FROM generate_series(1, 40000) n")
    assert pair.pgtide.run.wait(60) == FAILED and "lists its tables" in pair.pgtide.run.err


def test_what_cannot_be_repeated_stops_and_can_be_skipped(pair: Pair):
    pair.target.execute("CREATE TABLE clash (x integer)", pair.database)
    each(pair, "CREATE TABLE clash (id integer PRIMARY KEY)", "INSERT INTO a VALUES (900, 'after')")
    assert pair.pgtide.run.wait(60) == FAILED
    said = pair.pgtide.run.err
    assert "CREATE TABLE of public.clash" in said and "already exists" in said and "--skip-change" in said
    pair.target.execute("DROP TABLE clash; CREATE TABLE clash (id integer PRIMARY KEY)", pair.database)
    pair.pgtide.start_command("resume", "--skip-change")
    wait_until(lambda: pair.target_value("SELECT count(*) FROM a WHERE id = 900") == 1, 60, "the task goes on")
    assert "CREATE TABLE clash" in pair.pgtide.call("conflicts").out    # A4
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.finish()


def test_other_statements_can_be_run_in_the_place_of_one(pair: Pair):
    """Once as a file, once as text, inside a transaction whose other changes are the source's; a choice may be taken back."""
    each(pair, "CREATE TABLE w (v text)", "INSERT INTO w VALUES ('x'), ('y')", "BEGIN; INSERT INTO w VALUES ('z'); ALTER TABLE w ADD id bigserial PRIMARY KEY; INSERT INTO w VALUES ('later'); COMMIT")
    assert pair.pgtide.run.wait(60) == FAILED
    assert "values that each server computes differently" in pair.pgtide.run.err and "--replace-with" in pair.pgtide.run.err
    assert pair.target_value("SELECT count(*) FROM w") == 2, "nothing of its transaction is there"
    assert "for rows" in pair.pgtide.call("resume", "--overwrite").err
    refused = pair.pgtide.call("resume", "--replace-with", "ALTER TABLE w ADD id bigint; COMMIT")
    assert refused.status == FAILED and "ends a transaction" in refused.err
    skipped = pair.pgtide.start_command("resume", "--skip-change")
    assert skipped.wait(60) == FAILED and 'has no column "id"' in skipped.err
    pair.pgtide.start_command("resume", "--replace-with", "ALTER TABLE w ADD id bigserial; UPDATE w SET id = CASE v WHEN 'x' THEN 1 WHEN 'y' THEN 2 ELSE 3 END; ALTER TABLE w ADD PRIMARY KEY (id)")
    wait_until(lambda: pair.target_value("SELECT count(*) FROM w") == 4, 60, "the task goes on")
    (logged,) = json.loads(pair.pgtide.call("conflicts", "--json").out)["conflicts"]
    assert (logged["kind"], logged["policy"], logged["action"]) == ("ddl", "resume --replace-with", "replaced") and "bigserial" in logged["new"]["instead"]    # A4

    each(pair, "CREATE UNLOGGED TABLE dry (a int PRIMARY KEY)", "INSERT INTO dry VALUES (1)", "ALTER TABLE dry SET LOGGED", "INSERT INTO dry VALUES (2)")
    assert pair.pgtide.run.wait(60) == FAILED
    assert "written while it was unlogged" in pair.pgtide.run.err
    instead = pair.pgtide.state_dir / "instead.sql"
    instead.write_text("ALTER TABLE dry SET LOGGED;\nINSERT INTO dry VALUES (1);\n", encoding="utf-8")
    pair.pgtide.start_command("resume", "--replace-with", str(instead))
    wait_until(lambda: pair.target_value("SELECT count(*) FROM dry") == 2, 60, "the task goes on")
    pair.finish()


def test_nothing_is_captured_when_not_wanted(world: World):
    pair = world.pair(options=("--no-ddl",))
    pair.on_source(TABLES)
    pair.pgtide.follow()
    assert not [thing for thing in leftovers(pair.source, pair.database) if "event trigger" in thing]
    pair.on_source("ALTER TABLE b DROP CONSTRAINT b_pkey")  # and the application goes on, after a moment
    wait_until(lambda: pair.source_value("SELECT relreplident = 'f' FROM pg_class WHERE relname = 'b'"), 30, "the table without key is identified")
    pair.on_source("UPDATE b SET n = 9 WHERE id < 9; DELETE FROM b WHERE id = 10")
    pair.pgtide.caught_up()
    pair.assert_equal(objects=False, sequences=False)
    pair.on_source("CREATE TABLE unknown (id integer); INSERT INTO unknown VALUES (1)")
    assert pair.pgtide.run.wait(60) == FAILED    # drift is named, nothing is guessed
    assert "public.unknown" in pair.pgtide.run.err
    pair.on_source("UPDATE unknown SET id = 2")  # it ended before it could look again, and looked once more


def test_without_the_right_to_make_event_triggers_what_changed_is_named(world: World):
    """Nothing is guessed: the task stops, and goes on when the target was changed in the same way, or when it is told to."""
    pair = world.pair()
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE plain LOGIN REPLICATION; GRANT pg_monitor TO plain; ALTER DATABASE app OWNER TO plain; ALTER SCHEMA public OWNER TO plain", pair.database)
    source = pair.pgtide.source
    pair.pgtide.source = pair.source.dsn(pair.database, user="plain")
    plain = "SET ROLE plain; "
    pair.on_source(plain + TABLES + "; CREATE TYPE e AS ENUM ('x'); CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    pair.pgtide.follow("--accept", "all")
    changed = ("ALTER TABLE a ADD x integer DEFAULT 3", "ALTER TABLE a ALTER v TYPE varchar(20)", "ALTER TABLE b DROP n", "ALTER TABLE p DETACH PARTITION p1", "ALTER TYPE e ADD VALUE 'y'")
    pair.on_source(plain + "; ".join(changed[:-1]))
    pair.on_source(plain + changed[-1])
    run = pair.pgtide.run.expect(FAILED, 60)
    for named in ('column "x" of table "public.a" was added (integer)', 'column "v" of table "public.a" was text and is character varying(20) now', 'column "n" of table "public.b" was dropped',
                  'table "public.p1" was a table, below public.p FOR VALUES FROM (0) TO (10) and is a table now', "enum ('x') and is enum ('x', 'y') now"):
        assert named in run.err
    assert pair.pgtide.start("--accept", "all").wait(60) == FAILED, "it stays stopped"
    for statement in changed:
        pair.target.execute(statement, pair.database)
    pair.pgtide.follow("--accept", "all")
    pair.on_source("INSERT INTO a VALUES (1000, 'w', 4); UPDATE a SET x = 5 WHERE id < 10; INSERT INTO p1 VALUES (77)")
    pair.pgtide.caught_up()
    pair.assert_equal(objects=False, sequences=False)

    pair.on_source(plain + "CREATE TABLE apart (id integer PRIMARY KEY); INSERT INTO apart VALUES (1)")
    run = pair.pgtide.run.expect(FAILED, 60)
    assert 'table "public.apart" was created, and publication' in run.err and "--accept structure-drift" in run.err
    pair.pgtide.start("--accept", "structure-drift", "--until", "caught-up").expect(OK, 60)
    assert pair.target_value("SELECT to_regclass('apart')") is None
    pair.on_source("DROP TABLE apart")
    pair.assert_equal()
    pair.assert_nothing_left()
    pair.pgtide.source = source
