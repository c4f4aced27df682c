"""pgtide cutover, stop and slots gc when something dies or cannot be reached: repeated, undone, or named (R1).

    source ── pgtide sync ──▶ target, and a cutover or stop that is killed
"""

from __future__ import annotations

import json

import pytest

from harness.cutover import can_write, cutover, is_frozen, settings
from harness.pgtide import FAILED, OK
from harness.wait import wait_until
from harness.world import Pair, World


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


def assert_cut_over(pair: Pair) -> None:
    pair.assert_equal()
    pair.assert_nothing_left()


# (R1) Killed

FROZEN_POINTS = ("freeze.recorded", "freeze.read_only", "freeze.sessions_ended", "freeze.locked", "cutover.marked", "cutover.sequences_set",
                 "cutover.compared", "cutover.before_stop")
LATE_POINTS = ("cutover.stop_asked", "cutover.stopped")


def killed_at(pair: Pair, point: str) -> None:
    pair.pgtide.begin("cutover", "--freeze", "--yes", "--json", faults=f"{point}=crash@1").wait()
    record = next(pair.pgtide.state_dir.glob("*/cutover"), None)
    assert record is not None and json.loads(record.read_text())["is_frozen"], f"nothing was recorded at {point}"


@pytest.fixture
def following(pair: Pair) -> Pair:
    pair.fill_shop()
    pair.pgtide.follow()
    return pair


def test_killed_at_each_step_it_is_repeated(following: Pair):
    for point in FROZEN_POINTS:
        killed_at(following, point)
    assert cutover(following, "--freeze")["outcome"] == "completed"
    following.pgtide.run.expect(OK)
    assert_cut_over(following)
    assert is_frozen(following)
    assert following.pgtide.call("cutover", "--undo").status == OK and settings(following) == ""


def test_killed_at_each_step_it_is_undone(following: Pair):
    for point in FROZEN_POINTS:
        killed_at(following, point)
        assert following.pgtide.call("cutover", "--undo").status == OK
        assert settings(following) == "" and can_write(following), point
    killed_at(following, "cutover.marked")
    assert cutover(following, "--compare", "none")["outcome"] == "completed"  # without --freeze: undone first
    assert settings(following) == "" and can_write(following)


@pytest.mark.parametrize("point", LATE_POINTS)
def test_killed_in_its_last_step_the_end_is_reached_all_the_same(following: Pair, point: str):
    killed_at(following, point)
    following.pgtide.run.expect(OK)
    document = cutover(following, "--freeze")
    assert document["outcome"] == "completed" and document["source_is_frozen"]
    assert_cut_over(following)
    assert not can_write(following)


def test_the_undo_itself_may_be_killed(following: Pair):
    killed_at(following, "freeze.locked")
    following.pgtide.begin("cutover", "--undo", faults="freeze.put_back=crash@1").wait()
    assert following.pgtide.call("cutover", "--undo").status == OK
    assert settings(following) == "" and can_write(following)
    following.finish()


# stop and slots gc

def test_stop_undoes_the_freeze_of_a_cutover_that_died(following: Pair):
    killed_at(following, "cutover.marked")
    following.pgtide.stop()
    assert settings(following) == "" and can_write(following)
    following.assert_nothing_left()


def test_stop_by_force_undoes_it_too(following: Pair):
    killed_at(following, "cutover.marked")
    following.pgtide.run.kill()
    following.pgtide.stop("--force")
    assert settings(following) == "" and can_write(following)
    following.assert_nothing_left()


def test_a_server_that_cannot_be_reached_keeps_what_is_on_it_and_it_is_named(world: World):
    pair = world.bad_pair()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    slot = str(pair.source_value("SELECT slot_name FROM pg_replication_slots"))
    pair.pgtide.run.kill()
    pair.source_net.refuse()
    done = pair.pgtide.call("stop", "--force", deadline_s=90)
    assert done.status == FAILED and slot in done.err and "source" in done.err and "WAL" in done.err, done
    assert not pair.target.query("SELECT 1 FROM pg_namespace WHERE nspname = 'pgtide'", pair.database)
    # From a machine that has the state folder it can still be resumed: --force says that it shall not be
    gc = pair.pgtide.slots("gc", pair.source.dsn(pair.database))
    assert gc.status == OK and slot in gc.out and "resumable" in gc.out, gc
    gc = pair.pgtide.slots("gc", pair.source.dsn(pair.database), "--force")
    assert gc.status == OK and "removed" in gc.out, gc
    pair.assert_nothing_left()


def test_slots_gc_leaves_what_is_in_use_and_says_what_it_could_not_remove(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    done = pair.pgtide.slots("gc", pair.source.dsn(pair.database), "--force")
    assert done.status == OK and "in use" in done.out and "removed" not in done.out, done
    assert pair.pgtide.phase() == "incremental"
    pair.pgtide.run.kill()
    wait_until(lambda: pair.source_value("SELECT count(*) FROM pg_replication_slots WHERE active") == 0, 20, "the slot is free")
    pair.on_source("CREATE ROLE guest LOGIN PASSWORD 'x'")
    guest = pair.source.dsn(pair.database).replace("postgres@", "guest:x@")
    done = pair.pgtide.slots("gc", guest, "--force")
    assert done.status == FAILED and "could not be" in done.out, done
    for server in (pair.source, pair.target):
        done = pair.pgtide.slots("gc", server.dsn(pair.database), "--force")
        assert done.status == OK, done
    pair.assert_nothing_left()
