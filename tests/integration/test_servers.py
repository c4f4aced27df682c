"""Servers that crash and networks that fail: the sync that runs goes on by itself.

    writers ──▶ source ── proxy ── pgtide ── proxy ──▶ target
                  ✂         ✂                  ✂          ✂
"""

from __future__ import annotations

import random
import signal

import pytest

from harness.cluster import Cluster
from harness.load import Mixed
from harness.pgtide import INTERRUPTED, OK, REFUSED
from harness.proxy import Proxy
from harness.wait import let_pass, wait_until
from harness.world import BadPair, Pair, World

SLOW = 1_500_000  # bytes/s: makes the copy of a few MB last
SIDES = ["source", "target"]


@pytest.fixture
def pair(world: World) -> BadPair:
    pair = world.bad_pair()
    pair.fill_shop(scale=10).fill_mixed(rows=20_000)
    return pair


@pytest.fixture
def load(world: World, pair: BadPair, seed: int) -> Mixed:
    return world.mixed(pair.source, pair.database, seed).start()


def server(pair: BadPair, side: str) -> Cluster:
    return {"source": pair.source, "target": pair.target}[side]


def net(pair: BadPair, side: str) -> Proxy:
    return {"source": pair.source_net, "target": pair.target_net}[side]


def start_and_reach_the_copy(pair: BadPair) -> None:
    pair.target_net.throttle(SLOW)
    pair.pgtide.start()
    pair.pgtide.wait_phase("data")
    wait_until(lambda: int(pair.pgtide.status()["rows_copied"]) > 0, 30, "the first rows are copied")


def go_on_and_finish(pair: BadPair, load: Mixed) -> None:
    pair.source_net.throttle(0)
    pair.target_net.throttle(0)
    pair.pgtide.wait_phase("incremental", 90)
    load.run_for(1).stop()
    pair.finish()


@pytest.mark.parametrize("side", SIDES)
def test_a_server_crashes_during_the_copy(pair: BadPair, load: Mixed, side: str):
    start_and_reach_the_copy(pair)
    server(pair, side).crash()
    let_pass(1)
    server(pair, side).start()
    go_on_and_finish(pair, load)


def test_the_target_crashes_while_a_sync_begins(world: World):
    """Before the slot is written down there, and before its roles are read: nothing but that moment is lost."""
    pair = world.pair().fill_shop()
    run = pair.pgtide.start(faults="prepare.spool_reset=wait@1:4000,full.before_roles=wait@1:4000")
    wait_until(lambda: pair.source.query("SELECT FROM pg_replication_slots WHERE NOT active AND confirmed_flush_lsn IS NOT NULL"), 60, "the slot is made")
    pair.target.restart(signal.SIGQUIT)
    wait_until(lambda: pair.target.query("SELECT FROM pg_stat_activity WHERE application_name LIKE 'pgtide % roles'"), 60, "the roles are about to be read")
    pair.target.restart(signal.SIGQUIT)
    pair.pgtide.wait_phase("incremental", 90)
    assert "while the start was prepared, trying again" in run.err and "could not read the target's roles, trying again" in run.err, run.err
    pair.on_source("CREATE TABLE later (id integer PRIMARY KEY); INSERT INTO later VALUES (1)")
    pair.finish()


def wait_at(pair: Pair, point: str) -> None:
    wait_until(lambda: f'waiting at fault point "{point}"' in pair.pgtide.run.err, 60, f"it comes to {point}\n{pair.pgtide.last_words()}", every_s=0.02)


BEGINNING = ["prepare.before_capture", "prepare.after_capture", "prepare.before_slot", "prepare.after_slot", "prepare.spool_reset", "schema.between_sections", "full.before_structure",
             "full.after_structure", "extras.before_large_objects", "copy.after_lock", "copy.after_commit"]


def test_the_source_crashes_in_each_moment_of_a_beginning(world: World, seed: int):
    """Before and after capture, publication, slot, snapshot, dump, structure and the first table: the one sync goes on by itself."""
    pair = world.pair().fill_shop().fill_mixed(rows=500)
    load = world.mixed(pair.source, pair.database, seed).start()
    pair.pgtide.start(faults=",".join(f"{point}=wait@1:1500" for point in BEGINNING))
    for point in BEGINNING:
        wait_at(pair, point)
        pair.source.restart(signal.SIGQUIT)
    pair.pgtide.wait_phase("incremental", 120)
    load.run_for(1).stop()
    pair.finish()


@pytest.mark.parametrize("kind", ["full+incremental", "full"])
def test_the_session_that_holds_the_snapshot_is_ended(world: World, seed: int, kind: str):
    """Before the dump, while the structure is made, and in the middle of the copy: tables not finished get a new snapshot (G2)."""
    pair = world.pair().fill_shop().fill_mixed(rows=500)
    load = world.mixed(pair.source, pair.database, seed)
    if kind != "full":    # which shows different moments of a source that is written to
        load.start()
    points = ["full.before_roles", "full.after_structure", "copy.table_begin", "copy.after_lock"]
    run = pair.pgtide.start("--type", kind, "--jobs", "2", faults=",".join(f"{point}=wait@{2 if 'copy' in point else 1}:1500" for point in points))
    for n, point in enumerate(points):
        wait_at(pair, point)
        ended = pair.source.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgtide % holder'")
        assert ended or n > 0, "the first one is held"
    if kind == "full":
        run.expect(OK, 90)
        pair.assert_equal()
        pair.assert_nothing_left()
    else:
        pair.pgtide.wait_phase("incremental", 90)
        load.run_for(1).stop()
        pair.finish()
    assert "before everything was copied, going on" in run.err, run.err


class CutOnce:
    """Cuts one connection when the server has answered so often; `n` counts all answers."""

    def __init__(self, proxy: Proxy, at: int = -1) -> None:
        self.n, self._at = 0, at
        proxy.inspect(self._look)

    def _look(self, chunk: bytes) -> bool:
        self.n += 1
        return self.n == self._at


@pytest.mark.parametrize("side", SIDES)
def test_a_connection_is_lost_within_the_precheck(world: World, side: str):
    """Once a server has answered, what the network does then says nothing about the pair: all is asked again."""
    pair = world.bad_pair().fill_shop()
    proxy = net(pair, side)
    whole = CutOnce(proxy)
    assert pair.pgtide.call("check").status == OK
    assert whole.n > 20
    for at in [8, whole.n // 3, whole.n // 2, whole.n - 3]:
        cut = CutOnce(proxy, at)
        done = pair.pgtide.call("check")
        assert done.status == OK and cut.n > at and "lost within the precheck" in done.err, done
    CutOnce(proxy, whole.n * 2 // 3)
    run = pair.pgtide.sync()
    assert "lost within the precheck" in run.err, run.err
    pair.assert_equal()


@pytest.mark.parametrize("side", SIDES)
def test_a_server_crashes_while_it_is_followed(pair: BadPair, load: Mixed, side: str):
    pair.pgtide.follow()
    for _ in range(2):
        load.run_for(1)
        server(pair, side).crash()
        if side == "target":
            wait_until(lambda: "tried again" in (pair.pgtide.status()["problem"] or ""), 30, "status says that the target is away")
        let_pass(1)
        server(pair, side).start()
    if side == "target":
        wait_until(lambda: pair.pgtide.status()["problem"] is None, 60, "status says nothing of it any more")
    go_on_and_finish(pair, load)


@pytest.mark.parametrize("side", SIDES)
def test_connections_are_cut_during_the_copy(pair: BadPair, load: Mixed, rng: random.Random, side: str):
    start_and_reach_the_copy(pair)
    for _ in range(4):
        net(pair, side).cut()
        let_pass(rng.random())
    go_on_and_finish(pair, load)


def test_connections_are_cut_again_and_again_while_it_follows(pair: BadPair, load: Mixed, rng: random.Random):
    pair.pgtide.follow()
    for _ in range(12):
        net(pair, rng.choice(SIDES)).cut()
        load.run_for(rng.random())
    go_on_and_finish(pair, load)


@pytest.mark.parametrize("side", SIDES)
def test_nobody_answers_for_a_while(pair: BadPair, load: Mixed, side: str):
    pair.pgtide.follow()
    net(pair, side).refuse()
    net(pair, side).cut()
    load.run_for(4)
    net(pair, side).refuse(False)
    go_on_and_finish(pair, load)


@pytest.mark.parametrize("side", SIDES)
def test_the_cable_is_out_for_a_while(pair: BadPair, load: Mixed, side: str):
    """Nothing passes and nobody is told; then it flows again, or all connections turn out to be dead."""
    pair.pgtide.follow()
    net(pair, side).freeze()
    load.run_for(3)
    net(pair, side).thaw()
    load.run_for(1)
    net(pair, side).freeze()
    load.run_for(2)
    net(pair, side).cut()
    net(pair, side).thaw()
    go_on_and_finish(pair, load)


@pytest.mark.parametrize("side", SIDES)
def test_the_server_is_told_that_we_send_no_more_but_still_speaks(pair: BadPair, load: Mixed, side: str):
    pair.pgtide.follow()
    net(pair, side).half_close()
    load.run_for(2)
    go_on_and_finish(pair, load)


def test_a_half_open_connection_to_the_source_is_noticed(pair: BadPair, load: Mixed, is_full: bool):
    """The walsender is gone and we were not told: its silence must tell. The kernel cannot know, something between us answers for the source."""
    if not is_full:
        pytest.skip("takes more than a minute; PGTIDE_FULL=1 runs it")
    pair.pgtide.follow()
    before = pair.source_net.connections
    pair.source_net.lose_server()
    wait_until(lambda: pair.source_net.connections > before, 120, "pgtide connects anew to a source that fell silent")
    go_on_and_finish(pair, load)


def test_a_slow_network_delays_and_changes_nothing(pair: BadPair, load: Mixed):
    pair.pgtide.follow()
    for proxy in (pair.source_net, pair.target_net):
        proxy.delay(0.05)
        proxy.throttle(300_000)
    load.run_for(4)
    for proxy in (pair.source_net, pair.target_net):
        proxy.delay(0)
    go_on_and_finish(pair, load)


@pytest.mark.parametrize("side", SIDES)
def test_a_sync_that_has_begun_waits_for_a_server_that_is_down_or_starting(world: World, side: str):
    """After a power cut all start at the same time. Whoever begins, or checks, is told at once instead."""
    pair = world.pair()
    cluster = {"source": pair.source, "target": pair.target}[side]
    pair.on_source("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.pgtide.follow()
    assert pair.pgtide.run.interrupt() == INTERRUPTED
    pair.on_source("INSERT INTO t VALUES (2)")
    cluster.stop()
    run = pair.pgtide.start()
    wait_until(lambda: "trying again until it works" in run.err, 30, "it has found out")
    assert f'could not connect to the {side} ' in run.err and "Connection refused" in run.err, run.err
    assert pair.pgtide.call("check").status == REFUSED
    other = world.pgtide(pair.pgtide.source, pair.pgtide.target)
    assert "Connection refused" in other.start().expect(REFUSED, 20).out
    # It answers, but takes nobody in
    cluster.configure(hot_standby="off")
    (cluster.data / "standby.signal").touch()
    cluster.start(wait=False)
    wait_until(lambda: "Hot standby mode is disabled" in cluster.log_text() or "is starting up" in cluster.log_text(), 30, "it was asked meanwhile")
    let_pass(1)
    assert run.is_running and pair.pgtide.status()["phase"] == "starting", run.err
    done = pair.pgtide.call("check")
    assert done.status == REFUSED and "57P03" in done.out, done
    cluster.stop()
    (cluster.data / "standby.signal").unlink()
    cluster.start()
    pair.pgtide.wait_phase("incremental", 60)
    assert pair.pgtide.run is run
    # Interrupted while it waits it is as resumable as before
    assert run.interrupt() == INTERRUPTED
    cluster.stop()
    run = pair.pgtide.start()
    wait_until(lambda: "trying again until it works" in run.err, 30, "it has found out")
    assert run.interrupt() == INTERRUPTED
    cluster.start()
    pair.pgtide.follow()
    pair.finish()


def test_who_keeps_us_waiting_is_named(world: World):
    """Somebody's lock on the source or the target: waited for by a check, and by what applies, which both say so."""
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
    with pair.source.connect(pair.database, autocommit=False) as session:
        session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        check = pair.pgtide.begin("check")
        wait_until(lambda: f"held by pid {session.info.backend_pid} (test, idle in transaction" in check.err, 30, "the check says whom it waits for")
        session.rollback()
        check.expect(OK)
    run = pair.pgtide.follow()
    with pair.target.connect(pair.database, autocommit=False) as session:
        session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        pair.on_source("INSERT INTO t VALUES (2)")
        wait_until(lambda: f"held by pid {session.info.backend_pid} (test, idle in transaction" in run.err, 30, "applying says whom it waits for")
        session.rollback()
    pair.finish()
