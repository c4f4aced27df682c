"""Every fault point of the sources x {crash, error}: load, strike, restart, compare.

    writers ──▶ source ── pgtide ✂ at one named moment ──▶ target

In a sample of SAMPLE that changes daily, or as --seed says; all of them with PGTIDE_FULL=1. A point that the scenario does not reach is
skipped and says so: a scenario of its own must reach it.
"""

from __future__ import annotations

import os
import random
import re
from datetime import date
from pathlib import Path

import pytest

from harness.pgtide import FOLLOWING, OK
from harness.wait import wait_until
from harness.world import Pair, World

SOURCES = Path(__file__).parent.parent.parent / "src"
POINT = re.compile(r'FAULT_POINT\("([a-z_.]+)"\)')
STRIKES = ("crash", "error")
SAMPLE = 12


def points() -> list[str]:
    found = {name for path in SOURCES.rglob("*.c") for name in POINT.findall(path.read_text(encoding="utf-8"))}
    return sorted(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "strike" not in metafunc.fixturenames:
        return
    cases = [(point, strike) for point in points() for strike in STRIKES]
    if os.environ.get("PGTIDE_FULL") != "1":
        cases = random.Random(metafunc.config.getoption("seed") or date.today().toordinal()).sample(cases, min(SAMPLE, len(cases)))
    metafunc.parametrize("point, strike", cases)


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair().fill_shop(scale=2).fill_mixed(rows=1000)


def test_there_are_fault_points():
    assert len(points()) > 10


def recover(pair: Pair) -> None:
    """The same command again. It follows, or ends by itself when it was struck in its own stop."""
    state = pair.pgtide.state()
    if state == "none":
        pair.pgtide.sync()  # nothing had been made yet
    elif state != "completed":
        again = pair.pgtide.start()
        wait_until(lambda: not again.is_running or pair.pgtide.state() == FOLLOWING, 90, "it follows, or ends the stop")
        if again.is_running:
            pair.pgtide.finish()
        again.expect(OK)


def test_struck_at(world: World, pair: Pair, seed: int, point: str, strike: str):
    load = world.mixed(pair.source, pair.database, seed).start()
    run = pair.pgtide.start(faults=f"{point}={strike}@1")
    wait_until(lambda: not run.is_running or pair.pgtide.state() == FOLLOWING, 60, "it is struck, or follows")
    load.run_for(1).stop()
    if run.is_running:  # some points lie in the stop
        pair.pgtide.call("stop", deadline_s=90)
    run.kill()
    recover(pair)
    pair.assert_equal()
    pair.assert_nothing_left()
    pair.assert_small()
    if strike == "crash" and run.status == OK:
        pytest.skip(f"{point} is not reached by this scenario")
