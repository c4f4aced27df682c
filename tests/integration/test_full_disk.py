"""The disk of the state folder is full, a real one: a small tmpfs. The source keeps what has no room here, and nothing is lost.

    source ── pgtide ──▶ target
                │
              spool on 40 MB
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Iterator

import pytest

from harness.pgtide import OK
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

ROOM = 40    # MB; less than a segment of the spool
FULL = "No space left on device"


def mount(folder: Path, options: str) -> bool:
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    pair = world.pair()
    folder = pair.pgtide.state_dir
    folder.mkdir()
    if not mount(folder, f"size={ROOM}m"):
        pytest.skip("no file system can be mounted here: that takes root")
    pair.on_source("CREATE TABLE t (id serial PRIMARY KEY, v text); CREATE TABLE bag (a integer); ALTER TABLE bag REPLICA IDENTITY FULL")
    yield pair
    for run in pair.pgtide.runs:
        run.kill()
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write(pair: Pair, megabytes: int) -> None:
    """In transactions of half a megabyte."""
    with pair.source.connect(pair.database) as session:
        for _ in range(megabytes * 2):
            session.execute("INSERT INTO t (v) SELECT repeat(md5(random()::text), 30) FROM generate_series(1, 500)")
            session.execute("INSERT INTO bag VALUES (1), (1)")


def is_told(pair: Pair) -> bool:
    """The source may forget everything that it has now."""
    position = pair.source_value("SELECT pg_current_wal_flush_lsn()")
    return bool(pair.source.value(f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots"))


def fill(pair: Pair) -> None:
    assert pair.pgtide.call("pause").status == OK
    write(pair, ROOM + 15)
    wait_until(lambda: FULL in pair.pgtide.run.err, 60, "the disk is full")
    assert "Make room" in pair.pgtide.run.err, pair.pgtide.run.err
    assert pair.pgtide.run.is_running and pair.pgtide.state() == "paused"
    assert not is_told(pair), "the source keeps what has no room here"


def test_it_goes_on_when_there_is_room(pair: Pair):
    pair.pgtide.follow()
    fill(pair)
    # Each connection costs the source: it decodes from its restart point on
    begun = pair.source.log_text().count("starting logical decoding for slot")
    let_pass(5)
    assert pair.source.log_text().count("starting logical decoding for slot") <= begun + 1
    subprocess.run(["mount", "-o", f"remount,size={ROOM * 5}m", str(pair.pgtide.state_dir)], check=True)
    wait_until(lambda: is_told(pair), 60, "what had no room is here, while applying is paused")
    assert pair.target_value("SELECT count(*) FROM bag") == 0
    assert pair.pgtide.call("resume").status == OK
    pair.finish()


def test_it_is_killed_with_a_full_disk_and_applying_makes_room(pair: Pair):
    pair.pgtide.follow()
    fill(pair)
    pair.pgtide.run.kill()
    pair.pgtide.start()
    wait_until(lambda: pair.pgtide.state() == "paused", 60, "it goes on, and is paused as it was")
    wait_until(lambda: FULL in pair.pgtide.run.err, 60, "the disk is full still")
    assert pair.pgtide.call("resume").status == OK
    wait_until(lambda: is_told(pair), 90, "what was applied made room for the rest")
    write(pair, ROOM)
    pair.finish()
