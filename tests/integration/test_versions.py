"""One database moves from any version to any other: copied, killed, followed, altered, compared and cut over.

    source (10 to 18) ── pgtide ✂ ──▶ target (10 to 18)

By default a sample of the pairs, with PGTIDE_FULL=1 all of them (`make versions`). Servers that this machine does not have are fetched by
tools/servers; where they cannot be had the test is skipped and says why.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import psycopg
import pytest

from harness.load import SQL
from harness.pgtide import OK, REFUSED
from harness.world import Pair, World

DIFFERENT, NOT_COMPARED = 4, 5
MAJORS = range(10, 19)
SAMPLE = ((10, 15), (13, 16), (14, 18), (18, 15))
IS_FULL = os.environ.get("PGTIDE_FULL") == "1"
PAIRS = [(source, target) for source in MAJORS for target in MAJORS] if IS_FULL else SAMPLE
PLAIN_PAIRS = [(major, 18) for major in MAJORS] if IS_FULL else ((10, 15),)
ALONE = [(major, major) for major in (MAJORS if IS_FULL else (10, 18))]
STATEMENTS = Path(__file__).parents[2] / "src" / "pg" / "sql"

# The version that brought it
SHORTEST = 12  # form of a floating point number: before, the texts of the same number are others
ALTER_TYPE_IN_TRANSACTION = 12  # ALTER TYPE … ADD VALUE
STATISTICS_OF_COMMON_VALUES = 12
PUBLIC_IS_THE_DATABASE_OWNERS = 15

# (since, statements): each in a transaction of its own, while it is followed
DDL: tuple[tuple[int, tuple[str, ...]], ...] = (
    (10, ("ALTER TABLE v.keyed ADD COLUMN added integer NOT NULL DEFAULT 7", "UPDATE v.keyed SET added = 8 WHERE id % 2 = 0",
          "ALTER TABLE v.keyed RENAME COLUMN ratio TO \"the ratio\"", "ALTER TABLE v.keyed ALTER \"the ratio\" TYPE numeric(20, 10)", "ALTER TABLE v.two_columns DROP COLUMN v",
          "ALTER TABLE v.two_columns ADD v integer", "UPDATE v.two_columns SET v = 0 WHERE b = 'copied'",
          "CREATE TABLE v.made (id integer PRIMARY KEY, at timestamptz DEFAULT now(), f real)", "INSERT INTO v.made SELECT n, now(), n / 3.0 FROM generate_series(1, 9) n",
          "CREATE TABLE v.made_of AS SELECT id, f FROM v.made WHERE id < 5", "INSERT INTO v.made_of VALUES (10, 0.1)", "UPDATE v.made_of SET f = 0.3 WHERE id = 1",
          "CREATE INDEX made_f ON v.made (f)", "ALTER TYPE v.mood ADD VALUE 'new' BEFORE 'ok'", "UPDATE v.keyed SET mood = (enum_range(NULL::v.mood))[2] WHERE id = 5",
          "CREATE TABLE v.part_3 PARTITION OF v.part (PRIMARY KEY (id, day)) FOR VALUES FROM (20) TO (30)", "INSERT INTO v.part VALUES (1, 25, 'in a new one')",
          "CREATE OR REPLACE FUNCTION v.add(a integer, b integer DEFAULT 2, OUT c integer) LANGUAGE sql IMMUTABLE STRICT AS 'SELECT a + b + 0'",
          "CREATE VIEW v.made_seen AS SELECT m.id FROM v.made m", "DROP VIEW v.simple", "DROP TABLE v.child_of_key", "CREATE SCHEMA fresh CREATE TABLE t (i integer)",
          "DO $$ BEGIN CREATE TABLE v.in_do (i integer PRIMARY KEY); INSERT INTO v.in_do VALUES (1); END $$", "COMMENT ON TABLE v.made IS 'made'",
          "GRANT INSERT ON v.made TO v_reader", "CREATE PUBLICATION made FOR TABLE v.made WITH (publish = 'insert, delete')", "ALTER PUBLICATION v_two ADD TABLE v.two_columns",
          "ALTER PUBLICATION v_two DROP TABLE ONLY v.parent", "COMMENT ON PUBLICATION made IS 'made'", "ALTER PUBLICATION v_two SET (publish = 'update')", "DROP PUBLICATION v_all")),
    (11, ("ALTER TABLE v.hashed ADD extra integer DEFAULT 5", "UPDATE v.hashed SET extra = 6 WHERE id < 5", "CREATE INDEX ON v.hashed (day)",
          "CREATE PROCEDURE v.more() LANGUAGE sql AS 'SELECT 1'", "ALTER TABLE v.listed DETACH PARTITION v.listed_a")),
    (12, ("ALTER TABLE v.computed ADD thrice integer GENERATED ALWAYS AS (a * 3) STORED", "UPDATE v.computed SET t = 'after' WHERE a < 5")),
    (14, ("ALTER TABLE v.multi ADD m2 nummultirange DEFAULT '{[1,2]}'",)),
    (15, ("CREATE TABLE v.nulls_too (a integer, UNIQUE NULLS NOT DISTINCT (a))", "INSERT INTO v.nulls_too VALUES (NULL)")),
    (18, ("ALTER TABLE v.virtual ADD later integer GENERATED ALWAYS AS (b * 2)", "UPDATE v.virtual SET b = 5 WHERE a < 5",
          "ALTER TABLE v.emptied ADD CONSTRAINT t_there NOT NULL t NOT VALID", "ALTER TABLE v.parent VALIDATE CONSTRAINT t_there")),
)


def change(pair: Pair, since: int, n: int) -> None:
    pair.source.psql(SQL / "versions_changes.sql", database=pair.database, since=since, n=n)


def alter(pair: Pair, since: int, introduced: range) -> None:
    for version, statements in DDL:
        for statement in statements if version in introduced and version <= since else ():
            if "ADD VALUE" not in statement or pair.target.installation.major >= ALTER_TYPE_IN_TRANSACTION:
                pair.on_source(statement)


def expected_differences(majors: tuple[int, int]) -> dict[str, str]:
    source, target = majors
    differences = {}
    if (source < SHORTEST) != (target < SHORTEST):
        differences["v.arrays"] = "not compared"  # of user types with floating point numbers inside, which have no common form
    if target < PUBLIC_IS_THE_DATABASE_OWNERS <= source:
        differences |= {"schema": "different", "grant": "different"}  # of schema public, where pg_dump says nothing of what is usual
    if target < STATISTICS_OF_COMMON_VALUES <= source:
        differences["statistics"] = "different"  # all kinds that the older one knows are printed as none
    return differences


def assert_compared(pair: Pair, majors: tuple[int, int]) -> None:
    done = pair.pgtide.call("compare", "--json", deadline_s=120)
    unequal = {entry["name"]: entry for entry in json.loads(done.out)["entries"] if entry["result"] != "equal"}
    for name, result in expected_differences(majors).items():
        entry = unequal.pop(name)
        assert entry["result"] == result and {difference["identity"] for difference in entry["differences"]} <= {"public", "schema public", "v.keyed_statistics"}
    assert not unequal and done.status in (OK, DIFFERENT, NOT_COMPARED), f"{json.dumps(unequal, indent=1)}{done.err}"
    assert (done.status == OK) == (not expected_differences(majors))


@pytest.mark.parametrize("majors", ALONE, ids=lambda majors: majors[0])
def test_each_version_understands_each_statement(world: World, majors: tuple[int, int]):
    server = world.cluster("source")
    server.execute((STATEMENTS / "state.sql").read_text())
    for file in sorted(STATEMENTS.glob("*.sql")):
        text = file.read_text()
        since = re.match(r"-- Since (\d+)\.", text)
        if file.name != "state.sql" and not re.search(r"[a-z]_@", text) and (since is None or majors[0] >= int(since[1])):
            try:
                server.execute(f"PREPARE it AS {text}")
            except psycopg.Error as reason:
                pytest.fail(f"{file.name}: {reason}")


@pytest.mark.parametrize("majors", [(10, 10)], ids=["10"])
def test_a_source_that_sends_no_truncate_is_an_alarm_unless_none_is_wanted(world: World, majors: tuple[int, int]):
    pair = world.pair()
    done = pair.pgtide.call("check", "--json")
    (item,) = [item for item in json.loads(done.out)["items"] if item["id"] == "source-truncate"]
    assert done.status == REFUSED and item["result"] == "ALARM" and "TRUNCATE" in item["reason"]
    done = pair.pgtide.call("check", "--dml", "insert,update,delete")
    assert done.status == OK, done


@pytest.mark.parametrize("majors", PAIRS, ids=lambda majors: f"{majors[0]}-{majors[1]}")
def test_a_database_moves(world: World, majors: tuple[int, int]):
    since = min(majors)
    pair = world.pair(options=("--accept", "all", "--with-publications"))
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE v_reader")
    pair.source.psql(SQL / "versions.sql", database=pair.database, since=since)

    run = pair.pgtide.start(faults="copy.after_commit=crash@4")
    change(pair, since, 1)
    run.wait()
    assert run.status == -signal.SIGKILL, pair.pgtide.last_words()
    pair.pgtide.follow()
    change(pair, since, 2)
    pair.pgtide.run.kill()
    change(pair, since, 3)
    alter(pair, since, range(11, 19))
    pair.pgtide.follow()
    alter(pair, since, range(10, 11))
    pair.pgtide.caught_up()
    assert_compared(pair, majors)
    done = pair.pgtide.call("cutover", "--freeze", "--yes", "--compare", "none", deadline_s=120)
    assert done.status == OK, f"{done}\n{pair.pgtide.last_words()}"
    pair.pgtide.run.expect(OK)
    pair.assert_equal()
    pair.assert_nothing_left()


@pytest.mark.parametrize("majors", PLAIN_PAIRS, ids=lambda majors: f"{majors[0]}-{majors[1]}")
def test_a_database_moves_for_a_user_that_can_make_no_publication(world: World, majors: tuple[int, int]):
    """By test_decoding, whose text is printed by the source's version."""
    since = min(majors)
    pair = world.pair(options=("--accept", "all"))
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE v_reader LOGIN REPLICATION")
    pair.source.psql(SQL / "versions.sql", database=pair.database, since=since)
    pair.on_source('GRANT USAGE ON SCHEMA v, "V 2" TO v_reader; GRANT SELECT ON ALL TABLES IN SCHEMA v, "V 2" TO v_reader; '
                   'GRANT SELECT ON ALL SEQUENCES IN SCHEMA v, "V 2" TO v_reader; GRANT SELECT ON LARGE OBJECT 4711 TO v_reader; '
                   'ALTER TABLE v.keyed DISABLE ROW LEVEL SECURITY')
    pair.pgtide.source = pair.source.dsn(pair.database, user="v_reader")
    pair.pgtide.follow()
    change(pair, since, 1)
    pair.pgtide.run.kill()
    change(pair, since, 2)
    pair.pgtide.follow()
    change(pair, since, 3)
    pair.pgtide.finish()
    pair.assert_equal()
    pair.assert_nothing_left()
