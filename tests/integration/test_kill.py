"""The process is killed or interrupted again and again, at moments chosen by chance; the same command goes on.

    writers ──▶ source ── pgtide ✂ ──▶ target
"""

from __future__ import annotations

import random
import threading
from typing import Iterator

import pytest

from harness.pgtide import INTERRUPTED, OK, Pgtide
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

ENDED = ("completed", "none")


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    pair = world.pair().fill_shop(scale=10).fill_mixed(rows=20_000)
    yield pair
    pair.assert_small()


def interrupt(pgtide: Pgtide) -> None:
    if pgtide.run.is_running:
        assert pgtide.run.interrupt() == INTERRUPTED, pgtide.last_words()


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_at_any_moment_nothing_is_lost_and_nothing_doubled(world: World, pair: Pair, rng: random.Random, seed: int, is_full: bool, how: str):
    load = world.mixed(pair.source, pair.database, seed).start()
    for _ in range(24 if is_full else 8):
        pair.pgtide.start()
        load.run_for(rng.choice((0.02, 0.2, 1, 3)) * rng.random())
        if how == "killed":
            pair.pgtide.run.kill()
        else:
            interrupt(pair.pgtide)
    pair.pgtide.follow()
    load.run_for(1).stop()
    pair.finish()


def test_killed_as_soon_as_it_follows_it_copies_nothing_again(world: World, pair: Pair, rng: random.Random, seed: int):
    versions = "SELECT sum(xmin::text::bigint), count(*) FROM shop.order_line"
    load = world.mixed(pair.source, pair.database, seed).start()
    pair.pgtide.follow()
    copied = pair.target.query(versions, pair.database)
    for _ in range(4):
        load.run_for(rng.random())
        pair.pgtide.run.kill()
        pair.pgtide.follow()
        assert pair.target.query(versions, pair.database) == copied
    load.stop()
    pair.finish()


def test_killed_while_it_stops_the_next_stop_ends_it(pair: Pair, rng: random.Random):
    pair.pgtide.follow()
    pair.on_source("UPDATE shop.orders SET remark = 'last'; SELECT nextval('shop.number')")
    for _ in range(3):
        sync = pair.pgtide.run
        asking = threading.Thread(target=pair.pgtide.call, args=("stop",))
        asking.start()
        let_pass(rng.random() * 0.3)
        sync.kill()
        asking.join(60)
        if pair.pgtide.status()["state"] in ENDED:
            break
        pair.pgtide.start()
    if pair.pgtide.status()["state"] not in ENDED:
        pair.pgtide.stop()
    pair.assert_equal()
    pair.assert_nothing_left()


def test_a_killed_first_start_leaves_nothing_that_a_stop_does_not_find(world: World, rng: random.Random):
    """(R1) The intent is recorded before anything is made."""
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    for _ in range(5):
        pair.pgtide.start()
        let_pass(rng.random() * 0.4)
        pair.pgtide.run.kill()
    if pair.pgtide.status()["state"] != "none":
        pair.pgtide.stop("--force")
    pair.assert_nothing_left()


def test_interrupted_it_leaves_no_session_and_resumes_at_once(pair: Pair):
    pair.pgtide.follow()
    assert pair.pgtide.run.interrupt(10) == INTERRUPTED
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgtide %'"
    for cluster in (pair.source, pair.target):
        wait_until(lambda: cluster.value(ours) == 0, 10, f"our sessions on {cluster.name} are gone")
    assert pair.source.value("SELECT count(*) FROM pg_replication_slots WHERE NOT active") == 1
    pair.pgtide.follow(deadline_s=20)
    pair.finish()
    assert pair.pgtide.run.status == OK
