"""--type incremental: structure and rows are on the target before; changes are carried, from now on or from where a slot is.

    source ── pg_dump ──▶ target, then source (changes) ── pgtide ──▶ target
"""

from __future__ import annotations

import subprocess

import pytest

from harness.pgtide import FAILED, OK
from harness.world import Pair, World

REFUSED = 3
TYPE = ("--type", "incremental")


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair()
    pair.on_source("""
        CREATE TABLE t (id serial PRIMARY KEY, v text, w integer UNIQUE); INSERT INTO t (v, w) SELECT 'v' || n, n FROM generate_series(1, 1000) n;
        CREATE TABLE p (id integer, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p2 PARTITION OF p DEFAULT; INSERT INTO p SELECT n, 'p' FROM generate_series(1, 300) n;
        CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END';
        CREATE TRIGGER noted BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION noted()""")
    return pair


def bring_over(pair: Pair, *options: str) -> None:
    """As an operator would, by the programs of PostgreSQL."""
    dump = pair.source.installation.program("pg_dump")
    psql = pair.target.installation.program("psql")
    text = subprocess.run([dump, *options, pair.source.dsn(pair.database)], check=True, capture_output=True, timeout=120).stdout
    subprocess.run([psql, "-qX", "-v", "ON_ERROR_STOP=1", pair.target.dsn(pair.database)], input=text, check=True, capture_output=True, timeout=120)


CHANGES = """
    UPDATE t SET v = v || '{0}' WHERE id % 7 = 0; DELETE FROM t WHERE id % 100 = {1}; INSERT INTO t (v, w) SELECT '{0}', 100000 * ({1} + 1) + n FROM generate_series(1, 50) n;
    UPDATE p SET id = id + 1000 WHERE id = 10 + {1}; TRUNCATE p1; INSERT INTO p VALUES (20 + {1}, '{0}')"""


def test_from_now_on(pair: Pair):
    bring_over(pair)
    run = pair.pgtide.follow(*TYPE)
    assert pair.target_value("SELECT count(*) FROM t") == 1000
    pair.on_source(CHANGES.format("first", 1))
    pair.on_source("CREATE TABLE later (id integer PRIMARY KEY); INSERT INTO later SELECT generate_series(1, 10)")
    pair.on_source("ALTER TABLE t ADD COLUMN x integer DEFAULT 5; UPDATE t SET x = id WHERE id < 50")
    pair.pgtide.caught_up()
    run.kill()
    pair.on_source(CHANGES.format("second", 2))
    told = pair.pgtide.start("--type", "full")
    assert told.wait(60) == FAILED and "begun with another --type" in told.err
    pair.pgtide.follow(*TYPE)
    pair.on_source(CHANGES.format("third", 3))
    assert pair.pgtide.call("compare").status == OK
    pair.finish()
    assert pair.source.query("SELECT FROM pg_replication_slots") == []


@pytest.mark.parametrize("plugin", ["pgoutput", "test_decoding"])
def test_from_a_slot_that_somebody_made(pair: Pair, plugin: str):
    pair.on_source("CREATE PUBLICATION theirs FOR ALL TABLES")
    pair.source.execute(f"SELECT pg_create_logical_replication_slot('theirs', '{plugin}')", pair.database)
    bring_over(pair, "--no-publications")
    given = (*TYPE, "--slot", "theirs", *(("--publication", "theirs") if plugin == "pgoutput" else ()))
    for n, text in enumerate(("before", "and then")):
        pair.on_source(CHANGES.format(text, n + 1))
    pair.pgtide.start(*given, faults="full.before_structure=crash@1").wait(60)
    assert pair.pgtide.status()["state"] == "interrupted"
    run = pair.pgtide.follow(*given)
    pair.pgtide.caught_up()
    pair.on_source(CHANGES.format("later", 5))
    pair.pgtide.caught_up()
    run.kill()
    pair.on_source(CHANGES.format("last", 6))
    done = pair.pgtide.sync()
    pair.assert_equal(objects=False)
    assert "\"theirs\" was not made by pgtide and stays" in done.err
    assert pair.source.value("SELECT slot_name FROM pg_replication_slots") == "theirs"


def refused(pair: Pair, *options: str) -> str:
    run = pair.pgtide.start("--until", "caught-up", *TYPE, *options)
    assert run.wait(60) in (FAILED, REFUSED)
    return run.out + run.err


def test_what_is_not_there_is_said(pair: Pair):
    pair.target.execute(f'DROP DATABASE "{pair.database}"')
    assert "the database is not there" in refused(pair)
    pair.target.create_database(pair.database)
    bring_over(pair)
    pair.target.execute("DROP TABLE t", pair.database)
    said = refused(pair)
    assert "1 table is not there" in said and "public.t" in said
    pair.target.execute("CREATE TABLE t (id serial PRIMARY KEY, v text, w integer UNIQUE)", pair.database)
    pair.source.execute("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')", pair.database)
    assert "--publication NAME" in refused(pair, "--slot", "theirs")
    pair.source.execute("SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')", "postgres")
    assert "of database \"postgres\"" in refused(pair, "--slot", "elsewhere", "--publication", "theirs")
    pair.source.execute("SELECT pg_create_physical_replication_slot('physical')")
    assert "a physical one" in refused(pair, "--slot", "physical", "--publication", "theirs")
    pair.source.execute("SELECT pg_create_logical_replication_slot('prepared', 'pgoutput', false, true)", pair.database)
    assert "two_phase" in refused(pair, "--slot", "prepared", "--publication", "theirs")
    assert pair.target.query("SELECT FROM pg_namespace WHERE nspname = 'pgtide'", pair.database) == []
