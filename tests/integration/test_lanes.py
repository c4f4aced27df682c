"""Parallel lanes: a window divided by key over several sessions; each window is a barrier, and a death between two commits is made good.

    writers ──▶ source ── pgtide ══ lane 1 … n ══▶ target
"""

from __future__ import annotations

import json
import random

import pytest

from harness.pgtide import FAILED, OK
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

MANY = 60_000


def tables(pair: Pair) -> None:
    """By key, by key with a composite one, whole: another unique index, no key, triggers."""
    pair.on_source("""
        CREATE TABLE one (id integer PRIMARY KEY, v integer, t text); CREATE TABLE two (v integer, a text, b integer, PRIMARY KEY (b, a));
        CREATE TABLE uniq (id integer PRIMARY KEY, u integer UNIQUE); CREATE TABLE bag (a integer, b text); ALTER TABLE bag REPLICA IDENTITY FULL;
        DO $$ BEGIN FOR n IN 0..5 LOOP EXECUTE format('CREATE TABLE bag_%1$s (a integer); ALTER TABLE bag_%1$s REPLICA IDENTITY FULL', n); END LOOP; END $$;
        CREATE TABLE fired (id integer PRIMARY KEY, v integer); CREATE TABLE odd (k numeric PRIMARY KEY, v text);
        CREATE TABLE parted (id integer PRIMARY KEY, v integer) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000); CREATE TABLE parted_2 PARTITION OF parted DEFAULT""")


def write(pair: Pair, low: int, n: int = MANY) -> None:
    """Small transactions, so that there are windows of complete ones; and a row of each table that is written whole."""
    with pair.source.connect(pair.database) as session:
        for at in range(low, low + n, 2000):
            session.execute(f"""
                BEGIN; INSERT INTO one SELECT n, 0, md5(n::text) FROM generate_series({at}, {at + 1999}) n; INSERT INTO two SELECT 0, 'x' || n, n FROM generate_series({at}, {at + 400}) n;
                INSERT INTO parted SELECT n, 0 FROM generate_series({at}, {at + 300}) n; COMMIT;
                BEGIN; UPDATE one SET v = v + 1 WHERE id BETWEEN {at - 500} AND {at + 500}; DELETE FROM one WHERE id BETWEEN {at} AND {at + 100}; UPDATE two SET v = v + 1 WHERE b BETWEEN {at} AND {at + 200};
                INSERT INTO uniq SELECT n, n FROM generate_series({at}, {at + 20}) n; INSERT INTO bag VALUES ({at}, 'x'), ({at}, 'x'); {'; '.join(f'INSERT INTO bag_{n} VALUES ({at}), ({at})' for n in range(6))}; INSERT INTO fired SELECT n, 0 FROM generate_series({at}, {at + 20}) n; COMMIT;
                UPDATE parted SET v = v + 1 WHERE id > {at}""")


def divided(pair: Pair) -> int:
    return int(pair.pgtide.status()["windows_divided"])


def follow(pair: Pair, lanes: int, *options: str, faults: str = "") -> None:
    pair.pgtide.follow("--lanes", str(lanes), *options, faults=faults)


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair()
    tables(pair)
    return pair


def test_a_busy_source_is_applied_by_several_sessions(pair: Pair):
    follow(pair, 4)
    write(pair, 0)
    pair.pgtide.caught_up()
    assert divided(pair) > 0
    status = pair.pgtide.status()
    assert status["windows_slow"] == 0 and status["conflicts"] == 0, status
    lanes = pair.target.query("SELECT DISTINCT lane_count, end_lsn = max(end_lsn) OVER () FROM pgtide.lane", pair.database)
    assert lanes == [(4, True)], "they stand together"
    names = dict(pair.source.query("SELECT oid::bigint, relname FROM pg_class", pair.database))
    rules = {names[oid]: key for oid, key in pair.target.query("SELECT source_oid::bigint, key FROM pgtide.lane_table", pair.database)}
    assert rules["one"] == '"id"' and rules["two"] == '"b", "a"' and rules["uniq"] is None and rules["bag"] is None, rules
    pair.finish()


def test_what_cannot_be_divided_one_lane_does_alone(pair: Pair):
    """Keys that change, truncates, transactions larger than a window; each among changes that can be divided."""
    follow(pair, 3)
    write(pair, 0, 20_000)
    pair.on_source("""
        UPDATE one SET id = -id WHERE id % 3 = 0; UPDATE two SET b = b + 100000 WHERE b % 2 = 0; TRUNCATE bag; INSERT INTO one SELECT n, 0, 'x' FROM generate_series(100000, 170000) n;
        UPDATE one SET v = 7 WHERE id > 100000; BEGIN; UPDATE uniq SET u = -u; TRUNCATE fired, parted; INSERT INTO fired VALUES (1, 1); COMMIT;
        BEGIN; INSERT INTO odd VALUES (1.0, 'a'); DELETE FROM odd WHERE k = 1; INSERT INTO odd VALUES (1.00, 'b'); UPDATE odd SET v = 'c' WHERE k = 1; COMMIT""")
    write(pair, 20_000, 20_000)
    pair.finish()


def test_triggers_that_fire_see_their_rows_in_order(pair: Pair):
    follow(pair, 4)
    pair.target.execute("CREATE TABLE seen (n serial, id integer); CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen (id) VALUES (NEW.id); RETURN NEW; END';"
                        "CREATE TRIGGER see AFTER INSERT ON fired FOR EACH ROW EXECUTE FUNCTION see(); ALTER TABLE fired ENABLE ALWAYS TRIGGER see", pair.database)
    write(pair, 0, 30_000)
    pair.pgtide.caught_up()
    assert divided(pair) > 0
    assert pair.target_value("SELECT bool_and(id > before) FROM (SELECT id, lag(id, 1, -1) OVER (ORDER BY n) AS before FROM seen) AS s")
    assert pair.source.query("SELECT count(*), sum(id) FROM fired", pair.database) == pair.target.query("SELECT count(*), sum(id) FROM seen", pair.database)
    pair.pgtide.stop()


def apart(pair: Pair) -> bool:
    return bool(pair.target_value("SELECT count(DISTINCT end_lsn) > 1 FROM pgtide.lane"))


def write_until_it_dies(pair: Pair, written: int) -> int:
    """What waits in the spool is read in whole transactions, which can be divided; windows that came too small for that pass without the fault."""
    while pair.pgtide.call("wait", "--for", "caught-up", "--timeout", "60").status == OK:
        assert written < 200_000, "no window was divided"
        assert pair.pgtide.call("pause").status == OK
        write(pair, written, 20_000)
        written += 20_000
        pair.pgtide.call("resume")
    wait_until(lambda: not pair.pgtide.run.is_running, 60, "the fault strikes")
    return written


def die_apart(pair: Pair) -> int:
    """Killed between two commits until lanes stand apart. Says up to where was written."""
    follow(pair, 4, faults="lanes.before_other_commit=crash@2")
    written = write_until_it_dies(pair, 0)
    for tries in range(12):
        if apart(pair):
            break
        pair.pgtide.start("--lanes", "4", faults=f"lanes.before_other_commit=crash@{1 + tries % 3}")
        written = write_until_it_dies(pair, written)
    assert apart(pair), "in none of the tries"
    return written


def assert_applied_once(pair: Pair) -> None:
    """The whole bags went to one lane or another; a window applied twice shows there, where no key would hide it."""
    for n in range(6):
        assert pair.target.query(f"SELECT a, count(*) FROM bag_{n} GROUP BY a HAVING count(*) <> 2", pair.database) == []


@pytest.mark.parametrize("then, dies_again", [(4, 0), (2, 1), (1, 0), (7, 3)])
def test_lanes_that_died_apart_are_brought_together(pair: Pair, then: int, dies_again: int):
    """Then another number of lanes goes on; it may die again while it brings them together, when some are and some are not."""
    low = die_apart(pair)
    # An index made meanwhile would divide the table in another way
    pair.target.execute("CREATE UNIQUE INDEX ON one (id, v)", pair.database)
    if dies_again:
        pair.pgtide.start("--lanes", str(then), faults=f"lanes.recover=crash@{dies_again + 1}").expect(-9)
        # One of the lanes but the first has not done its share (they commit side by side): it need not be the last, the only one left after three.
        assert apart(pair) or dies_again == 3
        if apart(pair):
            pair.pgtide.start("--lanes", "3", faults="lanes.recover=crash@4").expect(-9)
    follow(pair, then)
    write(pair, low, 10_000)
    pair.pgtide.caught_up()
    assert not apart(pair)
    assert pair.target_value("SELECT count(*) FROM pgtide.lane") == then
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    assert_applied_once(pair)


def stopped_at(pair: Pair) -> str:
    return str(json.loads(pair.pgtide.call("conflicts", "--json").out)["stopped"]["statement"])


@pytest.mark.parametrize("policy", ["error", "overwrite"])
def test_a_conflict_met_while_lanes_are_brought_together(pair: Pair, policy: str):
    """Somebody writes to the target while lanes stand apart: the policy or the operator decides, as for any other row."""
    die_apart(pair)
    known = {row for (row,) in pair.target.query("SELECT id FROM one", pair.database)}
    missing = [row for (row,) in pair.source.query("SELECT id FROM one ORDER BY id", pair.database) if row not in known][:20]
    assert missing, "some lane has not done its share"
    pair.target.execute("INSERT INTO one SELECT id, -1, 'mine' FROM unnest(ARRAY[%s]) id" % ", ".join(map(str, missing)), pair.database)
    if policy == "error":
        run = pair.pgtide.start("--lanes", "2").expect(FAILED)
        assert "a row is in the way" in run.err and "bringing lanes together" in run.err and "--skip-change" in run.err, run.err
        # One decision after the other, each about the change that it names; the last for all that are left
        first = stopped_at(pair)
        pair.pgtide.start_command("resume", "--overwrite", "--lanes", "2").expect(FAILED)
        assert stopped_at(pair) != first
        assert apart(pair)
        pair.target.execute("DELETE FROM one WHERE v = -1 AND id <> %d" % int(first.split("(id) = (")[1].split(")")[0]), pair.database)
        pair.pgtide.start_command("resume", "--lanes", "2")
        pair.pgtide.wait_phase("incremental")
        pair.pgtide.caught_up()
        assert pair.target.query("SELECT policy FROM pgtide.conflict", pair.database) == [("resume --overwrite",)]
        pair.pgtide.finish()
        pair.assert_equal()
        assert_applied_once(pair)
        return
    follow(pair, 2, "--on-conflict", "overwrite")
    pair.pgtide.caught_up()
    assert pair.pgtide.status()["conflicts"] == len(missing)
    assert len(pair.target.query("SELECT FROM pgtide.conflict", pair.database)) == len(missing)
    pair.pgtide.finish()
    pair.assert_equal()
    assert_applied_once(pair)


def test_killed_at_any_moment_with_changing_numbers_of_lanes(world: World, pair: Pair, rng: random.Random, seed: int, is_full: bool):
    pair.fill_mixed()
    load = world.mixed(pair.source, pair.database, seed).start()
    for turn in range(30 if is_full else 6):
        pair.pgtide.start("--lanes", str(rng.choice([1, 2, 3, 5])))
        write(pair, turn * 10_000, 10_000)
        let_pass(rng.random())
        pair.pgtide.run.kill()
    load.stop()
    follow(pair, 4)
    pair.finish()


def test_a_conflict_is_decided_the_same_with_lanes(pair: Pair):
    pair.pgtide.follow("--lanes", "4", "--on-conflict", "overwrite")
    pair.target.execute("INSERT INTO one VALUES (700, 7, 'theirs')", pair.database)
    write(pair, 0, 10_000)
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT count(*) FROM pgtide.conflict") == 1
    assert pair.target_value("SELECT t FROM one WHERE id = 700") != "theirs"
    pair.finish()


def test_a_lock_between_lanes_is_given_up(pair: Pair):
    """An index that somebody makes while lanes run: a lane waits for another, which waits at the barrier."""
    follow(pair, 4)
    pair.on_source("INSERT INTO one SELECT n, n, 'x' FROM generate_series(1, 3000) n")
    pair.pgtide.caught_up()
    pair.target.execute("CREATE UNIQUE INDEX ON one (v)", pair.database)
    for _ in range(3):
        # A value goes from row to row: of one lane, then of another
        pair.on_source("BEGIN; UPDATE one SET v = -v; UPDATE one SET v = 3001 + v; COMMIT; INSERT INTO two SELECT 0, 'y', coalesce(max(b), 0) + 1 FROM two")
    pair.pgtide.caught_up()
    pair.pgtide.finish()
    pair.assert_equal(objects=False)


def test_the_last_commit_becomes_durable_although_nothing_follows(world: World):    # P3
    """Else a source that must keep WAL until it is on the target's disk would keep it, and wait with its shutdown, for ever."""
    pair = world.pair(options=("--ack", "target"))
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    for n in range(5):
        pair.on_source(f"INSERT INTO t VALUES ({n})")
        let_pass(0.05)
    committed = pair.source_value("SELECT pg_current_wal_lsn()::text")
    wait_until(lambda: pair.source.value(f"SELECT confirmed_flush_lsn >= '{committed}' FROM pg_replication_slots"), 10, "the slot is confirmed")
    pair.finish()
