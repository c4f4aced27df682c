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

from harness.pgtide import FAILED, INTERRUPTED, OK
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


def test_struck_at(world: World, pair: Pair, seed: int, point: str, strike: str):
    load = world.mixed(pair.source, pair.database, seed).start()
    run = pair.pgtide.start(faults=f"{point}={strike}")
    wait_until(lambda: not run.is_running or pair.pgtide.call("status").status == OK and "incremental" in pair.pgtide.call("status").out, 60,
               "it is struck, or follows")
    load.run_for(1)
    if run.is_running:  # struck by an error that it survived, or not yet: some points lie in the stop
        pair.pgtide.call("stop", deadline_s=90, PGTIDE_FAULT=f"{point}={strike}")
    load.stop()
    if run.is_running:
        run.kill()
    assert run.status is not None
    if strike == "error":
        assert run.status in (OK, FAILED, INTERRUPTED, -9), run.err
    reached = run.status != OK or strike == "error"
    if pair.pgtide.status()["state"] not in ("completed", "none"):
        pair.pgtide.follow()
        pair.pgtide.finish()
    elif run.status != OK:
        pair.pgtide.sync()
    pair.assert_equal()
    pair.assert_nothing_left()
    if not reached:
        pytest.skip(f"{point} is not reached by this scenario")
