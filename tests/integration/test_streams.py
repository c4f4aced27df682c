"""Transactions that come in pieces, prepared ones, and sources and targets that have little patience.

    writers ──▶ source (decoding memory 64 kB) ── pgtide ──▶ target
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.pgtide import FAILED, OK, REFUSED
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

IN_PIECES = "SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots WHERE slot_name LIKE 'pgtide%'"
BROKE = "the change stream broke"
TABLES = """
CREATE TABLE t (id integer PRIMARY KEY, v text); CREATE TABLE small (id serial PRIMARY KEY, v text);
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE moods (id integer PRIMARY KEY, m mood, big text);
"""


def rows(low: int, high: int) -> str:
    return f"INSERT INTO t SELECT n, repeat(md5(n::text), 8) FROM generate_series({low}, {high}) n"


@pytest.fixture
def pair(world: World) -> Pair:
    pair = world.pair(options=("--decoding-work-mem", "64kB", "--accept", "all"), source_settings={"max_prepared_transactions": 10, "wal_sender_timeout": "1s"})
    pair.on_source(TABLES)
    return pair


def session_of(pair: Pair) -> Any:
    return pair.source.connect(pair.database, autocommit=False)


def in_pieces(pair: Pair) -> int:
    """How many transactions were sent while they were in progress. Statistics are told a moment later."""
    return int(pair.source.value(IN_PIECES))


def comes_in_pieces(pair: Pair, had: int = 0) -> None:
    wait_until(lambda: in_pieces(pair) > had, 60, "a transaction in progress is sent")


def test_transactions_in_pieces(pair: Pair):
    """Several at the same time, whole ones between them, savepoints rolled back, tables described and changed within, aborts."""
    pair.pgtide.follow()
    first, second, undone = session_of(pair), session_of(pair), session_of(pair)
    first.execute(rows(1, 3000))
    first.execute("SAVEPOINT a")
    first.execute(rows(3001, 6000))
    first.execute("INSERT INTO moods SELECT n, 'sad', repeat('x', 2000) FROM generate_series(1, 200) n")    # described in what is rolled back
    second.execute("INSERT INTO moods SELECT n, 'ok', repeat('y', 2000) FROM generate_series(1001, 1300) n")
    undone.execute("INSERT INTO moods SELECT n, 'sad', repeat('u', 500) FROM generate_series(9001, 11000) n")
    comes_in_pieces(pair)
    pair.on_source("INSERT INTO small (v) VALUES ('between')")
    pair.pgtide.caught_up()    # nothing in progress is waited for
    assert pair.target_value("SELECT count(*) FROM small") == 1 and pair.target_value("SELECT count(*) FROM t") == 0
    first.execute("ROLLBACK TO a")
    for n in range(300):    # a savepoint a row
        first.execute("SAVEPOINT r")
        first.execute(f"INSERT INTO t VALUES ({10000 + n}, repeat('z', 1000))")
        first.execute("ROLLBACK TO r" if n % 3 == 0 else "RELEASE r")
    first.execute("INSERT INTO moods SELECT n, 'ok', repeat('z', 2000) FROM generate_series(1, 100) n")
    first.execute("ALTER TABLE t ADD COLUMN w integer DEFAULT 7")
    first.execute("INSERT INTO t SELECT n, 'wide', n FROM generate_series(20001, 24000) n")
    first.execute("UPDATE t SET v = v || '!' WHERE id % 2 = 0")
    undone.rollback()
    second.execute("TRUNCATE small")
    second.execute(rows(30001, 30500).replace("INSERT INTO t", "INSERT INTO small (id, v)"))
    second.commit()
    first.commit()
    third = session_of(pair)
    third.execute(rows(40001, 44000).replace("INSERT INTO t", "INSERT INTO t (id, v)"))
    third.execute("SELECT pg_logical_emit_message(true, 'app', repeat('m', 5000))")
    third.execute("PREPARE TRANSACTION 'in pieces'")
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT count(*) FROM t WHERE id > 40000") == 0
    pair.on_source("COMMIT PREPARED 'in pieces'")
    fourth = session_of(pair)
    fourth.execute(rows(50001, 54000).replace("INSERT INTO t", "INSERT INTO t (id, v)"))
    fourth.execute("PREPARE TRANSACTION 'undone'")
    pair.on_source("ROLLBACK PREPARED 'undone'")
    pair.finish()


def test_statements_undone_in_pieces_and_prepared_ones_over_restarts(pair: Pair):    # 017, 019, 021, 023 of PostgreSQL's subscription tests
    """Tables changed and made within savepoints of a transaction in pieces, and not; a prepared one that outlives the source, pgtide and the target."""
    pair.pgtide.follow()
    had = in_pieces(pair)
    with session_of(pair) as session:
        session.execute(rows(1, 2000))
        session.execute("ALTER TABLE t ADD first integer")
        session.execute("INSERT INTO t SELECT n, 'first', n FROM generate_series(2001, 4000) n")
        session.execute("SAVEPOINT a")
        session.execute("ALTER TABLE t ADD never text DEFAULT 'never'; CREATE TABLE never (a integer PRIMARY KEY)")
        session.execute("INSERT INTO t SELECT n, 'never', n, repeat('n', 100) FROM generate_series(4001, 7000) n; INSERT INTO never SELECT generate_series(1, 3000)")
        session.execute("SAVEPOINT b; ALTER TABLE t DROP first; INSERT INTO t SELECT n, 'nor' FROM generate_series(7001, 8000) n; RELEASE b")
        comes_in_pieces(pair, had)
        session.execute("ROLLBACK TO a")
        session.execute("ALTER TABLE t ADD second integer; UPDATE t SET second = id WHERE id % 3 = 0")
        session.execute("SAVEPOINT c; ALTER TABLE t ALTER first TYPE bigint; INSERT INTO t SELECT n, 'wide', n::bigint << 32, n FROM generate_series(4001, 6000) n; RELEASE c")
    pair.pgtide.caught_up()
    # The first is decided after the source's crash, the second after pgtide's, the third is rolled back
    for name, low in (("one", 10_001), ("two", 20_001), ("three", 30_001)):
        session = session_of(pair)
        session.execute(f"INSERT INTO t SELECT n, repeat(md5(n::text), 8), n, n FROM generate_series({low}, {low + 2000}) n")
        session.execute(f"SAVEPOINT s; UPDATE t SET v = 'undone' WHERE id >= {low}; DELETE FROM small; ROLLBACK TO s; DELETE FROM t WHERE id = {low + 5}")
        session.execute(f"PREPARE TRANSACTION '{name}'")
        session.close()
    pair.on_source("INSERT INTO small (v) VALUES ('meanwhile')")
    pair.pgtide.caught_up()
    pair.source.crash()
    pair.source.start()
    pair.on_source("COMMIT PREPARED 'one'")
    pair.pgtide.caught_up()
    assert ids(pair, 10_001, 40_000) == 2000
    pair.pgtide.run.kill()
    pair.target.crash()
    pair.target.start()
    pair.on_source("COMMIT PREPARED 'two'")
    pair.on_source("ROLLBACK PREPARED 'three'")
    pair.pgtide.follow()
    pair.finish()


PIECES = ("--decoding-work-mem", "64kB")
LARGE = "INSERT INTO t SELECT n, 'x' FROM generate_series({}, {}) n"


def ids(pair: Pair, low: int, high: int) -> int:
    return int(pair.target_value(f"SELECT count(*) FROM t WHERE id BETWEEN {low} AND {high}"))


def stops_at(pair: Pair, key: int, low: int, high: int, *choice: str) -> None:
    """It does, with nothing of the transaction applied but what somebody else wrote; then it goes on."""
    run = pair.pgtide.run.expect(FAILED, 90)
    assert f"(id) = ({key})" in run.err and "nothing of it was applied" in run.err, run.err
    assert ids(pair, low, high) == 1
    pair.pgtide.start_command("resume", *choice, *PIECES)
    pair.pgtide.wait_phase("incremental")
    pair.pgtide.caught_up()


def test_a_stop_inside_a_transaction_in_pieces_or_a_prepared_one(pair: Pair):
    pair.pgtide.follow()
    pair.target.execute("INSERT INTO t SELECT unnest('{2500,5500,8500,9003,220000}'::int[]), 'theirs'", pair.database)
    had = in_pieces(pair)
    with session_of(pair) as session:    # in pieces, with something undone: the number of the change counts what is left
        session.execute(rows(1, 1000))
        session.execute("SAVEPOINT a")
        session.execute(rows(1001, 4000))
        comes_in_pieces(pair, had)
        session.execute("ROLLBACK TO a")
        session.execute(rows(1001, 4000))
    stops_at(pair, 2500, 1, 4000, "--skip-change")
    assert ids(pair, 1, 4000) == 4000 and pair.target_value("SELECT v FROM t WHERE id = 2500") == "theirs"
    had = in_pieces(pair)
    with session_of(pair) as session:
        session.execute(rows(5001, 8000))
        comes_in_pieces(pair, had)
        pair.on_source("INSERT INTO small (v) VALUES ('between')")
    pair.on_source("INSERT INTO small (v) VALUES ('after')")
    stops_at(pair, 5500, 5001, 8000, "--skip-transaction")
    assert ids(pair, 5001, 8000) == 1 and pair.target_value("SELECT count(*) FROM small") == 2
    # Prepared: in pieces, and small
    session = session_of(pair)
    session.execute(rows(8001, 9000))
    session.execute("PREPARE TRANSACTION 'one'")
    session.close()
    pair.on_source("INSERT INTO small (v) VALUES ('meanwhile')")
    pair.pgtide.caught_up()
    pair.on_source("COMMIT PREPARED 'one'")
    stops_at(pair, 8500, 8001, 9000, "--overwrite")
    assert ids(pair, 8001, 9000) == 1000 and pair.target_value("SELECT v FROM t WHERE id = 8500") != "theirs"
    session = session_of(pair)
    session.execute(rows(9001, 9005))
    session.execute("PREPARE TRANSACTION 'two'")
    session.close()
    pair.on_source("COMMIT PREPARED 'two'")
    stops_at(pair, 9003, 9001, 9005, "--skip-transaction")
    assert ids(pair, 9001, 9005) == 1
    # Larger than a window: the stop is in a later one than its beginning
    pair.on_source(LARGE.format(100_001, 230_000))
    stops_at(pair, 220_000, 100_001, 230_000, "--skip-change")
    assert ids(pair, 100_001, 230_000) == 130_000 and pair.target_value("SELECT v FROM t WHERE id = 220000") == "theirs"
    assert pair.target.query("SELECT policy FROM pgtide.conflict WHERE kind <> 'transaction' GROUP BY 1 ORDER BY 1", pair.database) != []
    pair.pgtide.stop()


def test_what_is_in_progress_when_pgtide_or_the_source_dies_comes_again(pair: Pair):
    pair.pgtide.follow()
    long = session_of(pair)
    long.execute(rows(1, 4000))
    comes_in_pieces(pair)
    pair.on_source("INSERT INTO small (v) VALUES ('before')")
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    long.execute(rows(4001, 8000))
    pair.pgtide.follow()
    pair.on_source("INSERT INTO small (v) VALUES ('after')")
    long.commit()
    pair.pgtide.caught_up()
    lost, had = session_of(pair), in_pieces(pair)
    lost.execute(rows(10001, 14000))
    comes_in_pieces(pair, had)
    pair.source.crash()
    pair.source.start()
    pair.on_source(rows(10001, 14000))    # the same keys again
    pair.finish()


@pytest.mark.parametrize("strike", ["crash", "error"])
@pytest.mark.parametrize("moment", ["intake.before_commit", "intake.breathe"])
def test_struck_while_a_transaction_in_pieces_is_given_to_the_spool(pair: Pair, moment: str, strike: str):
    run = pair.pgtide.follow(faults=f"{moment}={strike}@1")
    long = session_of(pair)
    long.execute(rows(1, 8000))
    comes_in_pieces(pair)
    long.commit()
    if strike == "crash":
        wait_until(lambda: not run.is_running, 60, "it is struck")
        pair.pgtide.follow()
    else:
        wait_until(lambda: pair.target_value("SELECT count(*) FROM t") == 8000, 60, "the transaction comes again")
        assert BROKE in run.err
    pair.finish()


def test_a_source_without_patience_is_kept_while_the_target_stands_still(pair: Pair):
    """wal_sender_timeout is 1 s; a huge transaction arrives while a lock on the target holds up everything."""
    pair.pgtide.follow()
    pair.on_source("INSERT INTO small (v) VALUES ('first')")
    pair.pgtide.caught_up()
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE small, t")
    pair.on_source("INSERT INTO small (v) VALUES ('held up')")
    pair.on_source(rows(1, 60000))
    let_pass(4)    # four times the source's patience
    confirmed = pair.source.value("SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'")
    assert confirmed < 1_000_000, "the source may forget what is in the spool"
    delay = pair.pgtide.status()["delay_seconds"]
    assert delay > 3, f"the delay grows while nothing can be applied: {delay}"
    lock.rollback()
    lock.close()
    pair.pgtide.caught_up()
    assert BROKE not in pair.pgtide.run.err
    wait_until(lambda: pair.pgtide.status()["delay_seconds"] == 0, 20, "nothing is left to apply")
    pair.finish()


# What the source keeps for us

def held_up(world: World, *options: str, **source_settings: Any) -> tuple[Pair, Any]:
    """Nothing is applied, the spool is full, and the source writes on."""
    pair = world.pair(options=("--max-spool", "1MB", *options), source_settings=source_settings)
    pair.on_source(TABLES)
    pair.pgtide.follow()
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE t")
    for n in range(30):
        pair.on_source(rows(1000 * n + 1, 1000 * n + 1000))
    return pair, lock


def says(pair: Pair, text: str) -> None:
    wait_until(lambda: text in pair.pgtide.run.err, 60, f"it says \"{text}\"")


def test_a_slot_over_its_limit_is_told_and_goes_on(world: World):
    pair, lock = held_up(world, "--max-slot-wal", "2MB")
    says(pair, "more than --max-slot-wal")
    says(pair, "the spool is full")
    assert pair.pgtide.status()["slot_room_bytes"] == 1
    lock.close()
    pair.finish()


def test_a_source_that_gives_up_on_a_full_spool_is_read_again_when_there_is_room(world: World):
    """It sends, and nobody takes it: after tcp_user_timeout it ends the stream (so that nobody frozen holds it up)."""
    pair = world.pair(options=("--max-spool", "1MB"))
    pair.pgtide.source += "?tcp_user_timeout=2000"
    pair.on_source("CREATE TABLE t (id integer PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE PLAIN")
    pair.pgtide.follow()
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE t")
    for n in range(6):
        pair.on_source(f"INSERT INTO t SELECT n, repeat('x', 4000) FROM generate_series({1000 * n + 1}, {1000 * n + 1000}) n")
    says(pair, BROKE)
    compared = pair.pgtide.call("compare")    # its marker comes as little as anything; it is patient for longer than the source
    assert compared.status == FAILED and "did not arrive" in compared.err and "the spool is full (--max-spool)" in compared.err, compared
    assert pair.source_value("SELECT count(*) FROM pg_stat_replication") == 0, "nobody asks it to decode again what there is no room for"
    lock.close()
    pair.finish()


def test_a_slot_over_its_limit_is_dropped_and_the_task_begins_anew(world: World):
    pair, lock = held_up(world, "--max-slot-wal", "2MB", "--on-slot-limit", "drop")
    run = pair.pgtide.run.expect(FAILED, 90)
    assert "history broken" in run.err and "--max-slot-wal" in run.err, run.err
    assert pair.source.query("SELECT FROM pg_replication_slots") == []
    lock.close()
    assert "history broken" in pair.pgtide.start().expect(FAILED).err
    status = pair.pgtide.status()
    assert status["state"] == "failed" and "--max-slot-wal" in status["problem"], status
    pair.pgtide.stop("--force")
    pair.assert_nothing_left()


def test_with_ack_target_a_slot_over_its_limit_may_go_on_from_the_spool(world: World):
    pair = world.pair(options=("--ack", "target", "--max-slot-wal", "2MB", "--on-slot-limit", "spool"))
    pair.on_source(TABLES)
    pair.pgtide.follow()
    lock = pair.target.connect(pair.database, autocommit=False)
    lock.execute("LOCK TABLE t")
    for n in range(30):
        pair.on_source(rows(1000 * n + 1, 1000 * n + 1000))
    position = str(pair.source_value("SELECT pg_current_wal_insert_lsn()"))
    says(pair, "more than --max-slot-wal")
    wait_until(lambda: pair.source.value(f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots"), 60, "the slot moves")
    lock.close()
    pair.finish()


# An apply that stands still, and catches up

FULL = os.environ.get("PGTIDE_FULL") == "1"
SECONDS = float(os.environ.get("PGTIDE_PAUSE_SECONDS", "600" if FULL else "6"))
MB_PER_S = 24


def write_wal(pair: Pair, seconds: float) -> int:
    """About 24 MB of WAL a second, in transactions of a megabyte, as far as the machine can. Returns the bytes written."""
    begin = pair.source_value("SELECT pg_current_wal_insert_lsn()")
    started, written = time.monotonic(), 0
    with pair.source.connect(pair.database) as session:
        while (elapsed := time.monotonic() - started) < seconds:
            if written < elapsed * MB_PER_S * 1e6:
                session.execute("INSERT INTO small (v) SELECT repeat(md5(random()::text), 60) FROM generate_series(1, 500)")
                written = int(session.execute("SELECT pg_current_wal_insert_lsn() - %s", (begin,)).fetchone()[0])    # type: ignore[index]
            else:
                let_pass(0.02)
    return written


def test_a_pause_survives_a_kill(world: World):
    pair = world.pair()
    pair.on_source("CREATE TABLE t (id integer PRIMARY KEY)")
    run = pair.pgtide.follow()
    assert pair.pgtide.call("pause").status == OK
    pair.on_source("INSERT INTO t VALUES (1)")
    run.kill()
    run = pair.pgtide.start()
    wait_until(lambda: pair.pgtide.state() == "paused", 60, "it is paused still")
    assert "paused, as it was before" in run.err
    refused = pair.pgtide.call("compare")
    assert refused.status == FAILED and "applying is paused" in refused.err and "pgtide resume" in refused.err, refused
    refused = pair.pgtide.call("cutover", "--yes")
    assert refused.status == REFUSED and "applying is paused" in refused.out, refused
    assert "applying is paused" in pair.pgtide.call("wait", "--for", "caught-up", "--timeout", "1").err
    position = pair.source_value("SELECT pg_current_wal_flush_lsn()")
    wait_until(lambda: pair.source.value(f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots"), 60, "it receives")
    assert pair.target_value("SELECT count(*) FROM t") == 0
    done = pair.pgtide.call("resume", "--skip-change")
    assert done.status == FAILED and "nothing to decide" in done.err, done
    assert pair.pgtide.call("resume").status == OK
    pair.pgtide.caught_up()
    # A cutover that goes on with it does not wait for what does not come
    assert pair.pgtide.call("pause").status == OK
    run.kill()
    refused = pair.pgtide.call("cutover", "--yes")
    assert refused.status == FAILED and "applying is paused" in refused.err and "pgtide resume" in refused.err, refused
    pair.pgtide.start()
    wait_until(lambda: pair.pgtide.state() == "paused", 60, "it is paused")
    run = pair.pgtide.run
    assert pair.pgtide.call("resume").status == OK
    # Lifted for good; and by a resume without a running sync
    run.kill()
    run = pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.pgtide.caught_up()
    assert pair.pgtide.call("pause").status == OK
    pair.on_source("INSERT INTO t VALUES (3)")
    run.kill()
    pair.pgtide.start_command("resume")
    pair.pgtide.wait_phase("incremental")
    pair.pgtide.caught_up()
    # A stop applies what waits
    assert pair.pgtide.call("pause").status == OK
    pair.on_source("INSERT INTO t VALUES (4)")
    pair.pgtide.run.kill()
    pair.pgtide.stop()
    assert pair.target_value("SELECT count(*) FROM t") == 4


def test_a_paused_target_costs_the_source_nothing_and_catches_up(world: World):
    pair = world.pair(source_settings={"max_wal_size": "256MB", "checkpoint_timeout": "30s"})
    pair.on_source(TABLES)
    run = pair.pgtide.follow()
    assert pair.pgtide.call("pause").status == OK
    assert pair.pgtide.state() == "paused"
    written, most = 0, 0
    for _ in range(max(1, int(SECONDS / 6))):
        written += write_wal(pair, min(6, SECONDS))
        pair.source.execute("CHECKPOINT")    # what a slot needs is only looked at when running transactions are logged: every 15 s, or so
        position = pair.source_value("SELECT pg_current_wal_flush_lsn()")
        wait_until(lambda: pair.source.value(f"SELECT confirmed_flush_lsn >= '{position}' FROM pg_replication_slots"), 60, "the source was told")    # pylint: disable=cell-var-from-loop
        most = max(most, int(pair.source.value("SELECT pg_current_wal_flush_lsn() - restart_lsn FROM pg_replication_slots")))
    status = pair.pgtide.status()
    packed = sum(path.stat().st_size for path in pair.pgtide.state_dir.rglob("*.zst"))
    if status["spool_bytes"] > 8 * 64 * 2**20:
        wait_until(lambda: list(pair.pgtide.state_dir.rglob("*.zst")), 30, "what waits for long is packed")
    assert pair.target_value("SELECT count(*) FROM small") == 0
    assert status["delay_seconds"] > SECONDS / 2 and status["apply_delay_seconds"] > SECONDS / 2, status
    assert status["spool_bytes"] > written / 3, status
    assert most < max(100_000_000, written / 5), f"the source kept {most} of {written} bytes"
    assert pair.pgtide.call("resume").status == OK
    began = time.monotonic()
    pair.pgtide.caught_up(600)
    print(f"{written / 1e6:.0f} MB of WAL in {SECONDS:.0f} s, at most {most / 1e6:.0f} MB kept by the source, spool {status['spool_bytes'] / 1e6:.0f} MB ({packed / 1e6:.0f} MB packed), "
          f"caught up in {time.monotonic() - began:.1f} s, memory {run.peak_memory_mb:.0f} MB")
    assert run.peak_memory_mb < 256 or "PGTIDE_SANITIZED" in os.environ    # a sanitizer's shadow is not ours
    wait_until(lambda: pair.pgtide.status()["delay_seconds"] == 0, 20, "nothing is left to apply")
    assert "runs already" in pair.pgtide.call("resume").err
    pair.finish()


def folder_bytes(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        try:
            sizes += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue    # removed meanwhile
    return sizes


@pytest.mark.skipif(not FULL, reason="takes minutes: PGTIDE_FULL=1")
def test_a_huge_transaction_takes_bounded_memory_on_both_sides(world: World):
    """PGTIDE_HUGE_MB of rows (1000) in one transaction, at the default --decoding-work-mem."""
    megabytes = int(os.environ.get("PGTIDE_HUGE_MB", "1000"))
    pair = world.pair(source_settings={"max_wal_size": "4GB"}, target_settings={"max_wal_size": "4GB"})
    pair.on_source(TABLES)
    run = pair.pgtide.follow()
    writer = threading.Thread(target=pair.on_source, args=(rows(1, megabytes * 4000),))
    began = time.monotonic()
    writer.start()
    on_source, held = 0, 0
    while writer.is_alive():
        on_source = max(on_source, folder_bytes(pair.source.data / "pg_replslot"))
        held = max(held, folder_bytes(pair.pgtide.state_dir))
        let_pass(0.2)
    committed = time.monotonic()
    delays: list[tuple[float, float]] = []    # how long ago the commit was, and what was said
    while pair.target_value("SELECT count(*) FROM t") == 0:
        age, delay = time.monotonic() - committed, pair.pgtide.status()["delay_seconds"]
        if pair.target_value("SELECT count(*) FROM t") == 0:    # still: the answer was about it
            delays.append((age, delay))
        on_source = max(on_source, folder_bytes(pair.source.data / "pg_replslot"))
        held = max(held, folder_bytes(pair.pgtide.state_dir))
        let_pass(0.2)
    print(f"{megabytes} MB committed in {committed - began:.1f} s, applied {time.monotonic() - committed:.1f} s after its commit, delays seen {delays[::10]}, "
          f"at most {on_source / 1e6:.0f} MB spilled by the source, {held / 1e6:.0f} MB here, memory {run.peak_memory_mb:.0f} MB")
    assert run.peak_memory_mb < 256 and on_source < 50_000_000
    assert max(delay for _, delay in delays) > 1
    short = [(age, delay) for age, delay in delays if delay < age - 3]    # its commit is looked for each second
    assert not short, f"the delay is at least as long as it waits: {short}"
    falls = [(before, after) for before, after in zip(delays, delays[1:]) if before[1] < before[0] + 2 and after[1] < before[1] - 1]
    assert not falls, f"the delay only grows until it is applied; a heartbeat before it may have waited longer: {falls}"
    pair.finish(300)


def test_the_source_s_timeline_changed(world: World):
    """It failed over, or was taken back from a backup and ran on: P6."""
    pair = world.pair()
    pair.on_source(TABLES)
    pair.pgtide.follow()
    pair.on_source("INSERT INTO small (v) VALUES ('before')")
    pair.pgtide.caught_up()
    pair.pgtide.run.interrupt()
    pair.source.stop()
    (pair.source.data / "standby.signal").touch()
    pair.source.start()
    pair.source.value("SELECT pg_promote()")
    pair.on_source("INSERT INTO small (v) VALUES ('after')")
    run = pair.pgtide.start().expect(FAILED)
    assert "history broken" in run.err and "timeline" in run.err, run.err
    assert pair.target_value("SELECT count(*) FROM small") == 1
