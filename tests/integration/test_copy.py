"""The copy itself: its speed, its progress, what it does about encodings, policies, foreign keys and changes of the structure.

    source ── pgtide ──▶ target
"""

from __future__ import annotations

import json
import time
from typing import Any

from harness.pgtide import FAILED, OK, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

MB = 1024 * 1024


def status(pair: Pair) -> dict[str, Any]:
    done = pair.pgtide.call("status", "--json")
    return json.loads(done.out) if done.status == OK else {}


def fill_rows(pair: Pair, table: str, rows: int, width: int = 1000) -> None:
    pair.on_source(f"CREATE TABLE {table} (id integer PRIMARY KEY, v text); ALTER TABLE {table} ALTER v SET STORAGE EXTERNAL;"
                   f"INSERT INTO {table} SELECT n, repeat(chr(97 + n % 26), {width}) FROM generate_series(1, {rows}) n; ANALYZE {table}")


def test_the_speed_is_limited_and_changed_while_it_runs(world: World):
    pair = world.pair(options=("--jobs", "3"))
    for table in ("one", "two", "three"):
        fill_rows(pair, table, 12_000)
    assert pair.pgtide.call("sync", "--max-rate", "0").status == USAGE
    nobody = pair.pgtide.call("speed", "20")
    assert nobody.status == FAILED and "no sync" in nobody.err, nobody
    pair.pgtide.start("--max-rate", "1")
    wait_until(lambda: status(pair).get("bytes_copied", 0) > MB, 30, "rows are copied")
    before, began = status(pair), time.monotonic()
    assert before["max_rate_mb"] == 1 and before["snapshot_age_seconds"] is not None, before
    let_pass(4)
    after, seconds = status(pair), time.monotonic() - began
    assert 0.5 * seconds * MB < after["bytes_copied"] - before["bytes_copied"] < 1.5 * seconds * MB + MB, (before["bytes_copied"], after["bytes_copied"], seconds)
    assert after["snapshot_age_seconds"] >= 4 and after["phase"] == "data"
    assert "limit" in pair.pgtide.call("status").out
    changed = pair.pgtide.call("speed", "500,off@12:00-13:00", "--json")
    assert changed.status == OK and json.loads(changed.out) == {"max_rate": "500,off@12:00-13:00"}
    pair.pgtide.wait_phase("incremental", 15)
    assert status(pair)["snapshot_age_seconds"] is None
    pair.finish()
