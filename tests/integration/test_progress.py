"""Progress: percentages rise, say what the servers say, end at 100; the time left is about right.

    source ── pgtide ──▶ target, whose pg_stat_progress views the test reads, too

PGTIDE_FULL=1 has two runs of a minute and more, and prints what they said.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import pytest
from harness.pgtide import OK, Run
from harness.wait import wait_until
from harness.world import Pair, World

FULL = os.environ.get("PGTIDE_FULL") == "1"
SLOW = "IF n % 20 = 0 THEN PERFORM pg_sleep(0.012); END IF; RETURN n;"


def slow_index(pair: Pair) -> None:
    """Its function is fast while the source builds it, and slow from then on."""
    define = "CREATE OR REPLACE FUNCTION slow(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN {} END $$"
    pair.on_source(define.format("RETURN n;"))
    pair.on_source("CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t SELECT n, repeat('v', 400) FROM generate_series(1, 8000) n; CREATE INDEX slowly ON t (slow(id))")
    pair.on_source(define.format(SLOW))


def told_by_server(pair: Pair) -> float:
    """How much of the table's pages the target has read for the slow index, and nothing of others."""
    found = pair.target.query("""SELECT blocks_done::float / nullif(blocks_total, 0) FROM pg_stat_progress_create_index
        WHERE relid = to_regclass('t') AND phase LIKE '%scanning table%'""", pair.database)
    return max((row[0] or 0 for row in found), default=0)


def test_an_index_that_takes_long_is_counted_while_it_is_built(world: World):
    pair = world.pair(options=("--jobs", "1"))
    slow_index(pair)
    run = pair.pgtide.start("--json")
    seen: list[tuple[float, dict[str, Any]]] = []

    def look() -> bool:
        before = told_by_server(pair)
        step = pair.pgtide.status().get("steps", {}).get("index") if before > 0 else None
        if step is not None and told_by_server(pair) >= before:
            seen.append((before, step))
        return pair.pgtide.phase() == "incremental"

    wait_until(look, 60, "the slow index is built", every_s=0.05)
    pair.finish()
    assert len(seen) >= 5, seen
    percents = [step["percent"] for _, step in seen]
    assert percents == sorted(percents) and percents[-1] - percents[0] > 5, percents
    first = seen[0][1]["done"]
    for before, step in seen:  # reading the table is half of an index; what was asked a second ago may be behind
        share = (step["done"] - first) / step["total"]
        assert share <= before * 0.5 + 0.1, (before, step)
    last_before, last = seen[-1]
    assert last["percent"] > 100 * (last_before - 0.45) * 0.3, seen[-1]
    judge_percentages(run)


def test_large_objects_are_part_of_the_rows_and_of_their_limit(world: World):
    pair = world.pair(options=("--jobs", "2", "--max-rate", "2", "--accept", "all"))
    pair.on_source("""CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);
        SELECT lo_from_bytea(0, (SELECT string_agg(decode(md5((n * 100000 + i)::text), 'hex'), '') FROM generate_series(1, 16384) i)) FROM generate_series(1, 36) n""")
    events = judge_percentages(pair.pgtide.sync("--json"))
    copying = [event for event in events if event["phase"] == "data" and event["tables"]["done"] == 0]
    percents = {event["steps"]["data"]["percent"] for event in copying}
    assert len(copying) >= 3 and len(percents) >= 3, percents    # 9 MB at 2 MB/s
    assert events[-1]["large_objects"] == {"done": 36, "total": 36} and events[-1]["bytes_copied"] > 36 * 256 * 1024
    assert copying[-1]["whole"]["percent"] > 20, copying[-1]["whole"]


def judge_percentages(run: Run) -> list[dict[str, Any]]:
    events = [event for event in run.events() if event["event"] in ("progress", "done")]
    for step in ("structure", "data", "index", "objects"):
        percents = [event["steps"][step]["percent"] for event in events]
        assert percents == sorted(percents) and percents[-1] == 100, (step, percents)
    percents = [event["whole"]["percent"] for event in events]
    assert percents == sorted(percents) and percents[-1] == 100, percents
    return events


def judge_time_left(events: list[dict[str, Any]]) -> None:
    """Right within a factor of two, after a fifth of the time that the full phase took."""
    def at(event: dict[str, Any]) -> float:
        return datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()

    copying = [event for event in events if event["phase"] in ("data", "index", "objects")]
    began, ended = at(copying[0]), at(events[events.index(copying[-1]) + 1])
    wrong = []
    for event in copying:
        passed, left = at(event) - began, ended - at(event)
        said = event["whole"]["seconds_left"]
        print(f"{passed:5.1f} s passed, {left:5.1f} left, said {said}, {event['whole']['percent']} %, data {event['steps']['data']['percent']}, index {event['steps']['index']['percent']}")
        if passed >= 0.2 * (ended - began) and (said is None or not left / 2 - 2 <= said <= left * 2 + 2):
            wrong.append((passed, left, said))
    assert ended - began >= 55 and not wrong, (ended - began, wrong)


@pytest.mark.skipif(not FULL, reason="takes minutes: PGTIDE_FULL=1")
@pytest.mark.parametrize("rate, scale, jobs", [("30", 60, "1"), ("3", 8, "2")])
def test_the_time_left_of_a_run_of_a_minute_is_right_within_a_factor_of_two(world: World, rate: str, scale: int, jobs: str):
    """Large tables with several indexes and a foreign key, and small ones. Held back a little, so that indexes take as long as rows; and much, so that they take no time."""
    settings = {"max_wal_size": "1GB", "autovacuum": "off"}
    pair = world.pair(options=("--jobs", jobs), target_settings=settings, source_settings=settings)
    pair.on_source(f"""CREATE TABLE parent (id integer PRIMARY KEY, v text);
        INSERT INTO parent SELECT n, md5(n::text) FROM generate_series(1, {scale} * 30000) n;
        CREATE TABLE child (id bigint PRIMARY KEY, parent integer NOT NULL REFERENCES parent, name text, filler text, at timestamptz DEFAULT now());
        ALTER TABLE child DISABLE TRIGGER ALL;
        INSERT INTO child SELECT n, n % ({scale} * 30000) + 1, md5(n::text), repeat('x', 60) FROM generate_series(1, {scale} * 125000) n;
        ALTER TABLE child ENABLE TRIGGER ALL;
        CREATE INDEX ON child (name); CREATE INDEX ON child (parent, at); CREATE INDEX ON child (at, name); CREATE INDEX ON child (md5(name))""")
    for number in range(30):
        pair.on_source(f"CREATE TABLE small_{number} (id integer PRIMARY KEY, v text); INSERT INTO small_{number} SELECT n, repeat('v', 50) FROM generate_series(1, 20000) n")
    run = pair.pgtide.sync("--json", "--max-rate", rate, deadline_s=600).expect(OK)
    judge_time_left(judge_percentages(run))
