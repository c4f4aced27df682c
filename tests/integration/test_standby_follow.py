"""A standby of PostgreSQL 16 or later as the source that is followed.

    source ──(streaming)──▶ standby ── pgtide sync ──▶ new
       ▲ load, DDL             (nothing can be written here)
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator

import pytest

from harness.cluster import Cluster, Installation, NotHere
from harness.compare import assert_equal
from harness.pgtide import FAILED, REFUSED
from harness.wait import wait_until
from harness.world import World
from test_standby import APP, compare, item, log_of

DIFFERENT = 4
PATIENT = {"hot_standby_feedback": "on"}
ACCEPTS = ("--accept", "source-ddl")
# Once the snapshot of the slot is imported beside it
ENDED_WATCH = """SELECT pg_terminate_backend(w.pid) FROM pg_stat_activity w WHERE w.application_name ~ ' align$' AND w.state = 'idle in transaction' AND w.query = 'SELECT 1'
    AND EXISTS (SELECT FROM pg_stat_activity i WHERE i.application_name = w.application_name AND i.state = 'idle in transaction' AND i.query LIKE '%pg_export_snapshot()%')"""


@contextmanager
def hastening(primary: Cluster) -> Iterator[None]:
    """A primary writes down every 15 s which transactions run; here all the time, or the tests would take as long."""
    ended = threading.Event()

    def hasten() -> None:
        with primary.connect() as session:
            while not ended.wait(0.2):
                session.execute("SELECT pg_log_standby_snapshot()")

    thread = threading.Thread(target=hasten)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture(name="newer")
def newer_installation(get_installation: Callable[[int], Installation]) -> Installation:
    try:
        newer = get_installation(16)
        newer.dump_programs()
    except NotHere as reason:
        pytest.skip(str(reason))
    return newer


class Three:
    """Primary, its standby, and the target."""

    def __init__(self, world: World, newer: Installation, *options: str, **settings: Any) -> None:
        self.source = world.cluster("source", installation=newer)
        self.target = world.cluster("new", installation=newer)
        self.source.create_database(APP)
        self.target.create_database(APP)
        self.standby = world.standby(self.source, "standby", start=False, primary_slot_name="standby", **(PATIENT | settings))
        self.source.execute("SELECT pg_create_physical_replication_slot('standby')")
        self.standby.start()
        self.pgtide = world.pgtide(self.standby.dsn(APP), self.target.dsn(APP), (*ACCEPTS, *options))
        self.pgtide.environment["PGTIDE_PG_BINDIR"] = str(newer.dump_programs())

    def finish(self) -> None:
        self.standby.replayed(self.source)
        self.pgtide.finish()
        assert_equal(self.source, self.target, APP, objects=False, sequences=False)
        assert not self.standby.query("SELECT slot_name FROM pg_replication_slots")


def test_a_standby_is_followed_through_kills_and_its_own_restart(world: World, newer: Installation):
    three = Three(world, newer, "--publication", "all_of_it", "--jobs", "1")
    source, target, standby, pgtide = three.source, three.target, three.standby, three.pgtide
    bench = world.pgbench(source, APP).initialize(scale=3)
    source.execute("CREATE PUBLICATION all_of_it FOR ALL TABLES; CREATE TABLE keyless (a int, b text); ALTER TABLE keyless REPLICA IDENTITY FULL;"
                   "INSERT INTO keyless SELECT a % 5, 'x' FROM generate_series(1, 50) a; ALTER TABLE pgbench_history REPLICA IDENTITY FULL;"
                   "CREATE SEQUENCE numbers; SELECT nextval('numbers')", APP)
    standby.replayed(source)
    with hastening(source):
        bench.start(clients=2)
        # Killed when some tables are copied, twice: the others get snapshots of other positions, in both ways that there are
        for _ in range(2):
            pgtide.start(faults="copy.after_commit=crash@1").wait()
        assert "temporary slot" not in log_of(pgtide)
        standby.configure(restore_command="false")
        standby.reload()
        wait_until(lambda: standby.value("SHOW restore_command") == "false", 10, "the standby might take WAL from an archive")
        pgtide.follow()
        assert "temporary slot" in log_of(pgtide)
        assert target.value("SELECT count(DISTINCT upto) FROM pgtide.relation", APP) == 3
        pgtide.caught_up()
        pgtide.run.kill()
        source.execute("UPDATE keyless SET b = b || a WHERE a = 3; DELETE FROM keyless WHERE a = 4", APP)
        pgtide.follow()
        standby.crash()
        standby.start()
        pgtide.caught_up()
        assert compare(pgtide, "--kind", "values", "--kind", "rows")["aligned"]
        bench.stop()
        three.finish()
    assert target.value("SELECT last_value FROM numbers", APP) >= 1


def test_a_standby_without_publication_is_told_of_and_its_idle_primary_hangs_nobody(world: World, newer: Installation):
    """test_decoding; the slot that waits says for what; rows rewritten meanwhile; DDL stops it; no cutover; a watch that is killed; a promotion ends it."""
    three = Three(world, newer, hot_standby_feedback="off")
    source, target, standby, pgtide = three.source, three.target, three.standby, three.pgtide
    source.execute("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT a, 'x' FROM generate_series(1, 100) a; CREATE TABLE again AS SELECT 1 AS a;"
                   "CREATE TABLE wide (a int PRIMARY KEY, b text)", APP)
    standby.replayed(source)
    for words in ("hot_standby_feedback is off", "invalidate the slot"):
        assert words in item(pgtide.call("check", "--json"), "source-standby")["reason"]
    assert pgtide.start().wait() == REFUSED
    standby.configure(**PATIENT)
    standby.reload()
    wait_until(lambda: standby.value("SHOW hot_standby_feedback") == "on", 10, "the standby tells its primary")
    check = pgtide.call("check", "--json")
    assert "pg_log_standby_snapshot" in item(check, "source-standby")["reason"] and "event triggers" in item(check, "source-ddl")["reason"]
    pgtide.start("--accept", "replica-identity", faults="copy.table_begin=wait@1:3000")
    wait_until(lambda: "the slot is waiting for the primary" in log_of(pgtide), 40, "it says what it waits for")
    source.execute("SELECT pg_log_standby_snapshot()")
    wait_until(lambda: "dumping" in log_of(pgtide), 30, "the slot is there")
    wait_until(lambda: target.value("SELECT to_regclass('again') IS NOT NULL", APP), 30, "the structure is there", every_s=0.02)
    source.execute("BEGIN; TRUNCATE again; INSERT INTO again VALUES (2), (3); COMMIT; INSERT INTO t VALUES (-1, 'new')", APP)
    pgtide.wait_phase("incremental")
    source.execute("UPDATE t SET b = 'y' WHERE a < 10; DELETE FROM t WHERE a > 90; INSERT INTO again VALUES (4)", APP)
    standby.replayed(source)
    pgtide.caught_up()
    assert_equal(source, target, APP, objects=False)
    assert compare(pgtide, "--kind", "values")["aligned"]
    target.execute("UPDATE t SET b = 'wrong' WHERE a = 5", APP)
    assert compare(pgtide, "--kind", "values", status=DIFFERENT)["aligned"]
    compare(pgtide, "--kind", "values", "--repair")
    assert "could not look at the source" not in log_of(pgtide)

    refused = pgtide.call("cutover", "--yes")
    assert refused.status == REFUSED and "cannot cut over from a standby" in refused.err and "pg_last_wal_replay_lsn" in refused.err, refused
    source.execute("ALTER TABLE wide ADD c int; INSERT INTO wide VALUES (1, 'x', 2)", APP)
    pgtide.run.expect(FAILED)
    assert "wide" in pgtide.run.err and "c" in pgtide.run.err
    target.execute("ALTER TABLE wide ADD c int", APP)
    pgtide.follow("--accept", "replica-identity", faults="standby.imported=wait@1:6000")
    pgtide.caught_up()

    # WAL that may come from an archive has no position at rest: snapshots come by a slot, and one that was not watched all the time is none
    standby.configure(restore_command="/bin/false")
    standby.reload()
    wait_until(lambda: standby.value("SHOW restore_command") == "/bin/false", 10, "the standby has read its settings")
    with hastening(source):
        run = pgtide.begin("compare", "--kind", "values", "--json")
        wait_until(lambda: standby.query(ENDED_WATCH), 30, "the session that watches is ended")
        run.expect(FAILED)
        assert "may have removed rows" in run.err and "hot_standby_feedback" in run.err, run.err
        assert compare(pgtide, "--kind", "values")["aligned"]
        target.execute("UPDATE wide SET b = 'wrong'", APP)
        assert compare(pgtide, "--kind", "values", status=DIFFERENT)["aligned"]
    standby.configure(restore_command="")
    standby.reload()

    # Promoted, the slot goes on; a sync that begins again finds another timeline, and says so
    standby.execute("SELECT pg_promote()")
    standby.execute("INSERT INTO wide VALUES (2, 'promoted', 3)", APP)
    wait_until(lambda: not pgtide.run.is_running or target.value("SELECT count(*) FROM wide", APP) == 2, 60, "it goes on or ends")
    pgtide.run.kill()
    pgtide.start("--accept", "replica-identity").expect(FAILED)
    assert "history broken" in pgtide.run.err and "timeline" in pgtide.run.err
    assert target.query("SELECT a FROM wide ORDER BY a", APP) in ([(1,)], [(1,), (2,)])
    pgtide.stop("--force")
    assert not standby.query("SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'")


def test_a_slot_that_the_standby_invalidated_ends_the_sync_with_the_reason(world: World, newer: Installation):
    three = Three(world, newer, "--publication", "all_of_it")
    source, standby, pgtide = three.source, three.standby, three.pgtide
    source.execute("CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION all_of_it FOR ALL TABLES", APP)
    standby.replayed(source)
    with hastening(source):
        pgtide.follow()
    standby.configure(hot_standby_feedback="off")
    standby.reload()

    def is_over() -> bool:
        source.execute("CREATE TABLE gone (a int); DROP TABLE gone", APP)
        for catalog in ("pg_class", "pg_attribute", "pg_type"):
            source.execute(f"VACUUM {catalog}", APP)
        return not pgtide.run.is_running

    wait_until(is_over, 60, "the primary removed what the slot needed")
    pgtide.run.expect(FAILED)
    assert "history broken" in pgtide.run.err and "hot_standby_feedback" in pgtide.run.err and "catalog" in pgtide.run.err, pgtide.run.err
    pgtide.stop("--force")
