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


def test_a_full_copy_ends_by_itself(world: World):
    """Without logical decoding, and with a kill in the middle: finished tables stay."""
    pair = world.pair(source_settings={"wal_level": "replica", "max_replication_slots": 0}, options=("--type", "full", "--populate-matviews")).fill_shop()
    pair.on_source("CREATE SEQUENCE extra; SELECT nextval('extra') FROM generate_series(1, 42); CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one")
    killed = pair.pgtide.start("--jobs", "1", faults="copy.before_commit=crash@3")
    killed.wait(60)
    assert pair.pgtide.status()["state"] == "interrupted" and pair.pgtide.status()["tables"]["done"] > 0
    done = pair.pgtide.start("--json").expect(OK, 90).events()[-1]
    assert done["event"] == "done" and done["compared"] > 10 and done["compared_different"] == 0, done
    assert all(step["percent"] == 100 for step in done["steps"].values()), done["steps"]
    pair.assert_equal()
    pair.assert_nothing_left()
    assert pair.target_value("SELECT count(*) FROM mv") == 1
    assert pair.target_value("SELECT count(*) FROM pg_stat_user_tables WHERE last_analyze IS NULL AND n_live_tup > 0") == 0
    assert pair.pgtide.status()["state"] == "completed"


def test_rows_that_break_a_foreign_key_are_shown_and_stop_nothing(world: World):
    pair = world.pair()
    pair.on_source("""
        CREATE TABLE parent (a integer, b text, PRIMARY KEY (a, b)); INSERT INTO parent VALUES (1, 'x');
        CREATE TABLE whole (id integer PRIMARY KEY, a integer, b text, FOREIGN KEY (a, b) REFERENCES parent MATCH FULL);
        CREATE TABLE "bad Child" (id integer PRIMARY KEY, a integer, b text, CONSTRAINT "to Parent" FOREIGN KEY (a, b) REFERENCES parent);
        CREATE TABLE parts (id integer, a integer, b text, CONSTRAINT parts_fk FOREIGN KEY (a, b) REFERENCES parent) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF parts DEFAULT; ALTER TABLE parts ADD PRIMARY KEY (id);
        CREATE TABLE good (id integer PRIMARY KEY, a integer, b text, FOREIGN KEY (a, b) REFERENCES parent); INSERT INTO good VALUES (1, 1, 'x'), (2, NULL, 'y');
        SET session_replication_role = replica;
        INSERT INTO whole VALUES (1, 1, NULL), (2, 1, 'x'); INSERT INTO "bad Child" VALUES (1, 7, 'gone'), (2, 8, 'gone'), (3, 1, 'x'); INSERT INTO parts VALUES (5, 9, 'gone')""")
    run = pair.pgtide.follow()
    assert status(pair)["broken_foreign_keys"] == 3
    told = run.out + run.err
    for words in ("bad Child to Parent", "2 rows of table public.\"bad Child\"", "(7,gone)", "1 row of table public.whole", "(1,)", "stays NOT VALID", "public.parts", "left out on the target"):
        assert words in told, (words, told)
    found = pair.target_value("SELECT string_agg(conname || ' ' || convalidated, ', ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f'")
    assert found == "good_a_b_fkey true, to Parent false, whole_a_b_fkey false"
    pair.on_source("INSERT INTO good VALUES (3, 1, 'x')")
    pair.pgtide.finish()
    pair.assert_equal(objects=False)
    pair.assert_nothing_left()
