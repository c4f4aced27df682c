"""The source's side of the stream: names that were given, what may be forgotten when, and what the slot costs the source.

    source (slot, publication, max_slot_wal_keep_size) ── pgtide ──▶ target
"""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from harness.pgtide import FAILED, INTERRUPTED, OK
from harness.wait import wait_until
from harness.world import Pair, World

SLOT = "SELECT slot_name FROM pg_replication_slots"
NO_CONTEXT = {"max_slot_wal_keep_size": "64MB", "min_wal_size": "32MB", "max_wal_size": "48MB"}


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t SELECT n, 'x' FROM generate_series(1, 100) n")
    return pair


def refused(pair: Pair, *options: str) -> str:
    run = pair.pgtide.start("--until", "caught-up", *options)
    assert run.wait(60) != OK
    return run.err


def test_a_given_publication_is_used_and_stays(pair: Pair):
    pair.on_source("CREATE PUBLICATION theirs FOR ALL TABLES")
    pair.pgtide.follow("--publication", "theirs", "--slot", "my_slot_1")
    assert pair.source.value(SLOT) == "my_slot_1"
    assert pair.source_value("SELECT string_agg(pubname, ',') FROM pg_publication") == "theirs"
    pair.on_source("UPDATE t SET b = 'y' WHERE a < 50")
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    assert "was begun with" in refused(pair, "--publication", "other")
    pair.pgtide.follow()
    pair.on_source("DELETE FROM t WHERE a > 90")
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    assert pair.source.query(SLOT) == []
    assert pair.source_value("SELECT string_agg(pubname, ',') FROM pg_publication") == "theirs"


def test_a_publication_that_would_lose_changes_is_refused(pair: Pair):
    pair.on_source("CREATE TABLE u (a integer PRIMARY KEY)")
    assert "does not exist" in refused(pair, "--publication", "theirs")
    pair.on_source("CREATE PUBLICATION theirs FOR TABLE t")
    assert "public.u" in refused(pair, "--publication", "theirs")
    pair.on_source("ALTER PUBLICATION theirs SET TABLE t (a), u")
    assert "some columns" in refused(pair, "--publication", "theirs")
    pair.on_source("ALTER PUBLICATION theirs SET TABLE t WHERE (a > 5), u")
    assert "row filter" in refused(pair, "--publication", "theirs")
    pair.on_source("ALTER PUBLICATION theirs SET TABLE t, u; ALTER PUBLICATION theirs SET (publish = 'insert')")
    assert "kinds of changes" in refused(pair, "--publication", "theirs")
    assert pair.source.query(SLOT) == []


def test_a_given_publication_of_schemas(world: World):    # 013, 025 of PostgreSQL's subscription tests
    pair = world.pair()
    pair.on_source("""
        CREATE SCHEMA s; CREATE TABLE s.p (a integer PRIMARY KEY, b text) PARTITION BY RANGE (a); CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (100);
        CREATE TABLE public.p2 (b text, a integer PRIMARY KEY); ALTER TABLE s.p ATTACH PARTITION public.p2 DEFAULT; INSERT INTO s.p SELECT n, 'b' FROM generate_series(1, 300) n;
        CREATE PUBLICATION theirs FOR TABLES IN SCHEMA s, public WITH (publish_via_partition_root)""")
    assert "publishes partitions as their root" in refused(pair, "--publication", "theirs")
    pair.on_source("ALTER PUBLICATION theirs SET (publish_via_partition_root = false)")
    pair.pgtide.start("--publication", "theirs", faults="full.after_structure=wait@1:1000")
    pair.on_source("UPDATE s.p SET b = 'during' WHERE a % 10 = 0; DELETE FROM s.p WHERE a % 17 = 0; INSERT INTO s.p VALUES (1001, 'during')")
    pair.pgtide.wait_phase("incremental", 60)
    pair.on_source("UPDATE s.p SET a = a + 2000 WHERE a IN (7, 37); UPDATE s.p1 SET b = 'leaf' WHERE a < 5; DELETE FROM p2 WHERE a = 250")
    pair.pgtide.caught_up()
    pair.assert_equal(objects=False)
    pair.target.execute("CREATE TABLE public.late (a integer PRIMARY KEY)", pair.database)
    pair.on_source("CREATE TABLE public.late (a integer PRIMARY KEY)")    # the schema's, so it is in the stream, without DDL that is carried
    pair.on_source("INSERT INTO late VALUES (1)")
    pair.pgtide.finish()
    pair.assert_equal(objects=False)


def test_a_slot_of_somebody_else_is_never_taken(pair: Pair):    # R1
    pair.source.execute("SELECT pg_create_physical_replication_slot('theirs')")
    assert "exists on the source already" in refused(pair, "--slot", "theirs")
    assert "exists on the source already" in refused(pair, "--slot", "theirs")
    assert "cannot be the name" in refused(pair, "--slot", "Not-A-Slot")
    assert pair.source.value(SLOT) == "theirs"


def confirmed_is_behind(pair: Pair, lsn: Any) -> bool:
    return bool(pair.source.value(f"SELECT confirmed_flush_lsn < '{lsn}' FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'"))


@pytest.mark.parametrize("ack", ["spool", "target"])
def test_what_the_source_may_forget_while_apply_is_held_up(pair: Pair, ack: str):    # P3
    pair.pgtide.follow("--ack", ack)
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE t")
    pair.on_source("INSERT INTO t SELECT n, 'x' FROM generate_series(1000, 2000) n")
    written = pair.source_value("SELECT pg_current_wal_lsn()")
    wait_until(lambda: pair.pgtide.status()["transactions_received"] > pair.pgtide.status()["transactions_applied"], 30, "it is received")
    if ack == "spool":
        wait_until(lambda: not confirmed_is_behind(pair, written), 30, "the spool is enough")
    else:
        wait_until(lambda: pair.pgtide.status()["spool_bytes"] > 1000, 30, "it is in the spool")
        assert confirmed_is_behind(pair, written)
    lock.rollback()
    lock.close()
    pair.finish()


@pytest.mark.parametrize("ack", ["spool", "target"])
def test_the_source_can_forget_and_shut_down_while_nothing_is_committed(pair: Pair, ack: str):    # P3, P4
    """A walsender lets the server shut down when it was told of all that it has sent, not only of commits."""
    pair.pgtide.follow("--ack", ack)
    pair.on_source("INSERT INTO t VALUES (1000, 'x')")
    pair.pgtide.caught_up()
    for _ in range(2):    # as it follows, and after it went on with nothing to apply
        pair.source.execute("CREATE TABLE elsewhere AS SELECT generate_series(1, 10000) n; DROP TABLE elsewhere; CHECKPOINT")
        written = pair.source_value("SELECT pg_current_wal_flush_lsn()")
        wait_until(lambda: not confirmed_is_behind(pair, written), 30, "the source is told of WAL without a commit for us")    # pylint: disable=cell-var-from-loop
        assert pair.pgtide.run.interrupt() == INTERRUPTED
        pair.pgtide.follow("--ack", ack)
    pair.on_source("INSERT INTO t VALUES (1001, 'x')")
    pair.pgtide.caught_up()
    pair.source.execute("CREATE TABLE elsewhere AS SELECT generate_series(1, 10000) n")
    pair.source.restart()    # within a minute
    pair.finish()


def write_wal(pair: Pair, megabytes: int) -> None:
    for _ in range(megabytes // 4):
        pair.on_source("INSERT INTO t SELECT n, repeat('x', 4000) FROM generate_series(10000, 11000) n; DELETE FROM t WHERE a >= 10000")


def test_a_pgtide_that_is_frozen_holds_up_no_checkpoint(world: World):
    """The checkpointer takes the slot away, and waits for the walsender, which waits in send(): nobody reads, and the kernel of the frozen one says that it lives."""
    source, target = world.cluster("source"), world.cluster("target")
    source.configure(**NO_CONTEXT, wal_sender_timeout=0, statement_timeout="60s")
    source.reload()
    source.create_database("app")
    pair = Pair(source, target, world.pgtide(source.dsn("app", tcp_user_timeout=3000), target.dsn("app")), "app")
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text); ALTER TABLE t ALTER b SET STORAGE PLAIN")
    pair.pgtide.follow()
    pair.pgtide.run.signal(signal.SIGSTOP)
    write_wal(pair, 160)
    source.execute("CHECKPOINT; CHECKPOINT")
    assert source.value("SELECT wal_status FROM pg_replication_slots") in ("lost", None)
    pair.pgtide.run.signal(signal.SIGCONT)
    assert "max_slot_wal_keep_size" in pair.pgtide.run.expect(FAILED, 60).err


def test_the_slots_cost_is_told_and_a_lost_slot_is_a_broken_history(world: World):    # P6
    pair = world.pair(source_settings=NO_CONTEXT)
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text)")
    pair.on_source("ALTER TABLE t ALTER b SET STORAGE PLAIN")
    pair.pgtide.follow("--ack", "target")
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE t")

    def writes_on() -> bool:
        write_wal(pair, 4)
        found = pair.pgtide.status()
        return found["slot_seconds_left"] is not None and found["slot_growth_bytes_per_second"] > 0 and found["slot_room_bytes"] > 0
    wait_until(writes_on, 60, "the time until the limit is told", every_s=0.5)
    assert "its limit is reached in" in pair.pgtide.call("status").out

    def is_lost() -> bool:
        write_wal(pair, 16)
        pair.source.execute("CHECKPOINT")
        return not pair.pgtide.run.is_running
    wait_until(is_lost, 60, "the slot is lost")
    run = pair.pgtide.run.expect(FAILED, 10)
    assert "history broken" in run.err and "max_slot_wal_keep_size" in run.err, run.err
    lock.close()
    assert "history broken" in pair.pgtide.start().expect(FAILED, 60).err
    assert json.loads(pair.pgtide.call("status", "--json").out)["state"] in ("failed", "interrupted")
