"""DEFERRABLE unique and exclusion constraints: PostgreSQL does not check them for sessions that apply as replicas, pgtide does.

    source ── pgtide ──▶ target ◀── somebody else writes here, too
"""

from __future__ import annotations

import json

import pytest

from harness.pgtide import FAILED, OK
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

KEYS = 4000
LARGER_THAN_A_WINDOW = 70_000

# By key, by two columns, over a range, in parts, with no other key at all, as the primary key with whole rows, generated, and several at once
TABLES = """
    CREATE TABLE k (id integer PRIMARY KEY, k integer UNIQUE DEFERRABLE INITIALLY DEFERRED, v text);
    CREATE TABLE two (id integer PRIMARY KEY, a text NOT NULL, b numeric, UNIQUE (a, b) DEFERRABLE);
    CREATE TABLE room (id integer PRIMARY KEY, during int4range, kind integer, EXCLUDE USING gist (during WITH &&) WHERE (kind > 0) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE part (id integer, k integer, v text, PRIMARY KEY (id), UNIQUE (id, k) DEFERRABLE) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (2000); CREATE TABLE part_2 PARTITION OF part DEFAULT;
    ALTER TABLE part_1 ADD CONSTRAINT own UNIQUE (k) DEFERRABLE INITIALLY DEFERRED;
    CREATE TABLE bare (k integer UNIQUE DEFERRABLE INITIALLY DEFERRED, v text); ALTER TABLE bare REPLICA IDENTITY FULL;
    CREATE TABLE whole (k integer PRIMARY KEY DEFERRABLE, v text); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE made (id integer PRIMARY KEY, v text, g text GENERATED ALWAYS AS (lower(v)) STORED UNIQUE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE three (id integer PRIMARY KEY, k integer UNIQUE, l integer UNIQUE DEFERRABLE INITIALLY DEFERRED, m uuid UNIQUE DEFERRABLE);
    CREATE TABLE plain (id integer PRIMARY KEY, v text)"""

FILL = """
    INSERT INTO k SELECT n, n, 'x' FROM generate_series(1, %(n)d) n; INSERT INTO two SELECT n, 'a' || n %% 7, n FROM generate_series(1, %(n)d) n;
    INSERT INTO room SELECT n, int4range(10 * n, 10 * n + 10), 1 FROM generate_series(1, 300) n; INSERT INTO part SELECT n, n, 'x' FROM generate_series(1, %(n)d) n;
    INSERT INTO bare SELECT n, 'x' FROM generate_series(1, 300) n; INSERT INTO whole SELECT n, 'x' FROM generate_series(1, 300) n;
    INSERT INTO made SELECT n, 'V' || n FROM generate_series(1, 300) n; INSERT INTO three SELECT n, n, n, md5(n::text)::uuid FROM generate_series(1, 300) n""" % {"n": KEYS}

# Each is legal only because the constraint is looked at in the end. SET CONSTRAINTS for those that are INITIALLY IMMEDIATE.
CHANGES = [
    "UPDATE k SET k = k + 1", "UPDATE k SET k = %d - k" % (2 * KEYS), "UPDATE two SET b = b + 7 WHERE a = 'a3'", "UPDATE room SET during = int4range(lower(during) + 10, upper(during) + 10)",
    "UPDATE part SET k = k + 1", "UPDATE bare SET k = k + 1", "UPDATE whole SET k = k + 1", "UPDATE made SET v = 'V' || id %% 300 + 1".replace("%%", "%"), "UPDATE three SET l = 301 - l, k = k",
    "BEGIN; UPDATE k SET k = (SELECT k FROM k AS o WHERE o.id = 3 - k.id) WHERE id IN (1, 2); COMMIT",
    "BEGIN; INSERT INTO k VALUES (-1, (SELECT k FROM k WHERE id = 5), 'new'); UPDATE k SET k = -5 WHERE id = 5; COMMIT",
    "BEGIN; DELETE FROM k WHERE id = 7; INSERT INTO k SELECT -7, k + 1, 'y' FROM k WHERE id = 8; DELETE FROM k WHERE id = -7; COMMIT",
    "BEGIN; UPDATE part SET id = id + 30000 WHERE id = 10; UPDATE part SET k = 3999999 WHERE id = 11; COMMIT",
    "BEGIN; INSERT INTO bare VALUES (NULL, 'n'), (NULL, 'n'); DELETE FROM bare WHERE k = 9; INSERT INTO bare VALUES (9, 'y'); COMMIT",
    "BEGIN; UPDATE k SET id = -id, k = k + 1 WHERE abs(id) BETWEEN 100 AND 200; UPDATE k SET k = k - 1 WHERE abs(id) BETWEEN 100 AND 200; COMMIT",
]


def fill(pair: Pair) -> None:
    pair.on_source(TABLES)
    pair.on_source(FILL)


@pytest.mark.parametrize("lanes", ["1", "4"])
def test_what_is_legal_in_the_end_is_applied(world: World, lanes: str):
    pair = world.pair()
    fill(pair)
    pair.pgtide.follow("--lanes", lanes)
    for change in CHANGES:
        pair.on_source(change)
    assert pair.pgtide.call("pause").status == OK
    for n, change in enumerate(CHANGES):    # all in one window, among others
        pair.on_source(f"INSERT INTO plain SELECT n, 'x' FROM generate_series({n * 1000}, {n * 1000 + 400}) n")
        pair.on_source(change.replace("(-1, ", f"({-n - 1000}, ").replace("k = -5 ", "k = -6 "))
    pair.pgtide.call("resume")
    pair.pgtide.caught_up()
    # More than a window holds: in its midst a key is there twice
    pair.on_source(f"INSERT INTO k SELECT n, n, 'x' FROM generate_series(1000001, {1000000 + LARGER_THAN_A_WINDOW}) n")
    pair.on_source("UPDATE k SET k = k + 1 WHERE id > 1000000")
    pair.on_source("UPDATE k SET k = -k WHERE id > 1000000")
    pair.pgtide.caught_up(180)
    status = pair.pgtide.status()
    assert status["conflicts"] == 0 and status["windows_slow"] == 0, status
    pair.finish()


# What is in the way on the target, the change of the source, and the key that is there twice then
CONFLICTS = [
    ("INSERT INTO k VALUES (-9, 90000, 'theirs')", "INSERT INTO k VALUES (-10, 90000, 'ours')", "k", 'k_k_key"'),
    ("INSERT INTO two VALUES (-9, 'q', 1.0)", "UPDATE two SET a = 'q', b = 1 WHERE id = 1", "two", 'two_a_b_key"'),
    ("INSERT INTO room VALUES (-9, '[100000,100010)', 1), (-8, '[100010,100020)', 1), (-7, '[100000,100020)', 0)", "UPDATE room SET during = '[100005,100015)' WHERE id = 1", "room", 'room_during_excl"'),
    ("INSERT INTO part VALUES (1999, 90000, 'theirs') ON CONFLICT (id) DO UPDATE SET k = 90000", "UPDATE part SET k = 90000 WHERE id = 5", "part_1", 'own"'),
    ("INSERT INTO bare VALUES (90000, 'theirs')", "UPDATE bare SET k = 90000 WHERE k = 3", "bare", 'bare_k_key"'),
    ("INSERT INTO whole VALUES (90000, 'theirs')", "INSERT INTO whole VALUES (90000, 'ours')", "whole", 'whole_pkey"'),
    ("INSERT INTO made VALUES (-9, 'ZZZ')", "UPDATE made SET v = 'zzz' WHERE id = 1", "made", 'made_g_key"'),
    ("INSERT INTO three VALUES (-9, -9, 90000, NULL), (-8, -8, -8, NULL)", "UPDATE three SET l = 90000, m = m WHERE id = 1", "three", 'three_l_key"'),
]


def contents(pair: Pair, of: str) -> list[list[tuple[object, ...]]]:
    cluster = getattr(pair, of)
    return [cluster.query(f"SELECT * FROM {table} ORDER BY 1, 2", pair.database) for _, _, table, _ in CONFLICTS]


def within_much(change: str, number: int) -> str:
    low = 10_000 * number
    return f"BEGIN; INSERT INTO plain SELECT n, 'x' FROM generate_series({low}, {low + 3000}) n; {change}; UPDATE plain SET v = 'y' WHERE id BETWEEN {low} AND {low + 3000}; COMMIT"


@pytest.mark.parametrize("lanes, is_large", [("1", False), ("4", True)])
@pytest.mark.parametrize("policy", ["ignore", "overwrite"])
def test_a_policy_decides_about_a_key_that_is_taken(world: World, policy: str, lanes: str, is_large: bool):    # A4
    pair = world.pair()
    fill(pair)
    pair.pgtide.follow("--on-conflict", policy, "--lanes", lanes)
    for theirs, _, _, _ in CONFLICTS:
        # Together with another key their row was valid when it was written, and has become a duplicate with ours
        pair.target.execute(theirs, pair.database)
    before = contents(pair, "target")
    for number, (_, change, _, _) in enumerate(CONFLICTS):
        pair.on_source(within_much(change, number) if is_large else change)
    pair.pgtide.caught_up()
    found = json.loads(pair.pgtide.call("conflicts", "--json").out)["conflicts"]
    assert [c["table"].split(".")[1] for c in reversed(found)] in ([t for _, _, t, _ in CONFLICTS], [t for _, _, t, _ in reversed(CONFLICTS)]), found
    if policy == "ignore":
        assert {c["action"] for c in found} == {"skipped"}
        assert contents(pair, "target") == before
    else:
        assert {c["action"] for c in found} == {"replaced"}
        assert all(c["old"] for c in found), found
        ours, theirs_left = contents(pair, "source"), contents(pair, "target")
        for mine, there, (_, _, table, _) in zip(ours, theirs_left, CONFLICTS):
            extra = [row for row in there if row not in mine]
            assert [row for row in mine if row not in there] == ([mine[-1]] if table == "part_1" else []), table    # theirs had replaced its key
            assert len(extra) == {"room": 1, "three": 1}.get(table, 0), (table, extra)    # those that exclude nothing stay
    query = "SELECT count(*), sum(hashtext(id || v)) FROM plain"
    assert pair.source.query(query, pair.database) == pair.target.query(query, pair.database)
    pair.pgtide.stop()


def test_a_key_that_is_taken_stops_and_is_decided_about(world: World):
    pair = world.pair()
    fill(pair)
    pair.pgtide.follow()
    choices = ["--skip-change", "--overwrite", "--skip-transaction"]
    for number, (theirs, change, table, constraint) in enumerate(CONFLICTS[:6]):
        pair.target.execute(theirs, pair.database)
        pair.on_source(within_much(change, number))
        assert pair.pgtide.run.wait(60) == FAILED, pair.pgtide.last_words()
        stop = json.loads(pair.pgtide.call("conflicts", "--json").out)["stopped"]
        assert f'table "public.{table}"' in stop["statement"] and f'by constraint "{constraint}' in stop["cause"] and "is there twice" in stop["cause"], stop
        pair.pgtide.start_command("resume", choices[number % 3])
        pair.pgtide.wait_phase("incremental")
        pair.pgtide.caught_up()
    assert len(json.loads(pair.pgtide.call("conflicts", "--json").out)["conflicts"]) >= 6
    pair.pgtide.stop()


def test_what_somebody_has_not_committed_yet_is_waited_for(world: World):
    """Their row is not to be seen, and their own check has been made: only the one that commits last could find the other."""
    pair = world.pair()
    fill(pair)
    pair.pgtide.follow("--on-conflict", "overwrite")
    with pair.target.connect(pair.database, autocommit=True) as theirs:
        theirs.execute("BEGIN")
        theirs.execute("INSERT INTO k VALUES (-9, 90000, 'theirs')")
        pair.on_source("INSERT INTO k VALUES (-10, 90000, 'ours')")
        wait_until(lambda: pair.target_value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'pgtide %'") == 1, 30, "it waits")
        let_pass(0.2)
        assert pair.target_value("SELECT count(*) FROM k WHERE k = 90000") == 0
        theirs.execute("COMMIT")
    pair.pgtide.caught_up()
    assert pair.target.query("SELECT id FROM k WHERE k = 90000", pair.database) == [(-10,)]
    # Whoever comes after us waits for us, and is refused
    pair.on_source("INSERT INTO k VALUES (-11, 90001, 'ours')")
    pair.pgtide.caught_up()
    with pytest.raises(Exception, match="k_k_key"):
        pair.target.execute("INSERT INTO k VALUES (-12, 90001, 'theirs')", pair.database)
    pair.finish()
