"""What waits on the source when a session begins is read by queries, in windows, and the stream goes on behind it.

    writers ──▶ source ── pgtide (--read-backlog query, windows of 60 messages) ──▶ target
"""

from __future__ import annotations

import signal
from typing import Iterator

import pytest

from harness.pgtide import INTERRUPTED, Run
from harness.wait import wait_until
from harness.world import Pair, World

BY_QUERY = ("--read-backlog", "query", "--accept", "all")
WERE_READ, WINDOW, FAILED = "were read by queries", "on by a query", "could not be read by a query"
PEEK = "pg_logical_slot_peek_binary_changes"
ARGUMENTS = "name, pg_lsn, integer, VARIADIC text[]"

TABLES = """
CREATE TABLE t (id integer PRIMARY KEY, v text, big text); CREATE TABLE other (id integer PRIMARY KEY, t_id integer);
CREATE TABLE emptied (id serial PRIMARY KEY, v text); CREATE TABLE bare (v text); ALTER TABLE bare REPLICA IDENTITY FULL;
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
INSERT INTO t SELECT n, 'copied', repeat(md5(n::text), 200) FROM generate_series(1, 200) n; INSERT INTO bare SELECT 'bare' || n FROM generate_series(1, 20) n;
"""


def log_of(pair: Pair) -> str:
    return "".join(path.read_text() for path in pair.pgtide.state_dir.glob("*/log"))


def windows(pair: Pair) -> int:
    return log_of(pair).count(WINDOW)


def backlog(pair: Pair, n: int) -> None:
    """Of everything: small transactions and a large one, undone savepoints, values out of line, DDL, TRUNCATE, messages."""
    low = n * 100_000
    with pair.source.connect(pair.database) as session:
        for k in range(60):
            session.execute(f"INSERT INTO t VALUES ({low + k}, 'small'); UPDATE t SET v = v || {k} WHERE id = {1 + k % 200}")
    pair.on_source(f"""
        INSERT INTO emptied (v) SELECT 'gone' FROM generate_series(1, 300);
        {"TRUNCATE" if pair.source.installation.major > 10 else "DELETE FROM"} emptied; INSERT INTO emptied (v) VALUES ('kept {n}')""")
    pair.on_source(f"ALTER TABLE t ADD COLUMN c{n} integer; INSERT INTO t (id, v, c{n}) VALUES ({low + 90}, 'wide', {n}); UPDATE t SET c{n} = id WHERE id < 50")
    pair.on_source(f"CREATE TABLE made_{n} (id integer PRIMARY KEY, v text); INSERT INTO made_{n} SELECT g, 'made' FROM generate_series(1, 30) g")
    pair.on_source("SELECT pg_logical_emit_message(true, 'app', 'within'); SELECT pg_logical_emit_message(false, 'app', 'outside')")
    with pair.source.connect(pair.database, autocommit=False) as session:
        session.execute(f"INSERT INTO other SELECT {low} + g, g FROM generate_series(1, 2000) g")
        session.execute(f"SAVEPOINT a; DELETE FROM other; INSERT INTO t SELECT {low + 1000} + g FROM generate_series(1, 500) g; ROLLBACK TO a")
        session.execute(f"SAVEPOINT b; UPDATE other SET t_id = 1 WHERE id % 3 = 0; RELEASE b; UPDATE t SET id = -id WHERE id = {low + 5}")
    pair.on_source(f"INSERT INTO t SELECT {low + 5000} + g, 'big', repeat(md5(g::text), 3000) FROM generate_series(1, 20) g")
    pair.on_source(f"UPDATE t SET v = 'its big value stays' WHERE id > {low + 5000}; DELETE FROM bare WHERE v = 'bare{n}'; UPDATE bare SET v = v || '!'")


def interrupt(pair: Pair) -> None:
    assert pair.pgtide.run.interrupt() == INTERRUPTED, pair.pgtide.last_words()


def is_told(pair: Pair) -> bool:
    return bool(pair.source.value("SELECT confirmed_flush_lsn >= pg_current_wal_flush_lsn() FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'"))


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    pair = world.pair(options=BY_QUERY)
    pair.pgtide.environment |= {"PGTIDE_READ_WINDOW": "60", "PGTIDE_LOG": "debug"}
    pair.on_source(TABLES)
    pair.pgtide.follow()
    wait_until(lambda: is_told(pair), 30, "the source is told of all that was spooled")    # --ack target reads a window only if it was
    interrupt(pair)
    yield pair
    pair.assert_small()


def resumed(pair: Pair, faults: str = "", *options: str) -> Run:
    run = pair.pgtide.start(*options, faults=faults)
    if "crash" in faults:
        run.wait()
        assert run.status == -signal.SIGKILL, pair.pgtide.last_words()
        run = pair.pgtide.start(*options)
    return run


def confirmed_before_restart_moves(pair: Pair) -> bool:
    """Whether a new session of the stream would decode much again."""
    return bool(pair.source.value("SELECT confirmed_flush_lsn - restart_lsn > 100000 FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'"))


def test_whatever_happens_meanwhile_nothing_is_lost_and_nothing_doubled(pair: Pair):
    backlog(pair, 1)
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    assert windows(pair) > 3 and WERE_READ in log_of(pair) and FAILED not in log_of(pair), log_of(pair)
    assert not confirmed_before_restart_moves(pair)
    pair.assert_equal(sequences=False)
    # The process dies, or its session, at each moment that matters; a transaction is open on the source all the while
    with pair.source.connect(pair.database, autocommit=False) as still:
        still.execute("INSERT INTO other VALUES (0, 0)")
        for n, faults in enumerate(("receive.queried=crash@700", "catch_up.read=crash@2", "catch_up.durable=crash@2", "catch_up.advanced=crash@2",
                                    "receive.queried=error@900,stream.open=error@1", "catch_up.durable=error@3"), start=2):
            if pair.pgtide.run.is_running:
                interrupt(pair)
            had = windows(pair)
            backlog(pair, n)
            resumed(pair, faults)
            pair.pgtide.caught_up()
            assert windows(pair) > had + 1, (faults, log_of(pair)[-3000:])
    # The target is away while queries read
    interrupt(pair)
    backlog(pair, 8)
    had = windows(pair)
    run = pair.pgtide.start(faults="receive.queried=wait@100:1000")
    wait_until(lambda: windows(pair) > had, 30, "a window is read")
    pair.target.crash()
    pair.target.start()
    pair.pgtide.caught_up()
    assert run.is_running
    pair.finish()


def test_ack_target_and_a_small_spool_and_a_huge_transaction(pair: Pair):
    backlog(pair, 1)
    pair.pgtide.follow("--ack", "target")    # one window, then the stream
    pair.pgtide.caught_up()
    assert windows(pair) == 1 and WERE_READ in log_of(pair), log_of(pair)
    interrupt(pair)
    backlog(pair, 2)
    pair.on_source("INSERT INTO other SELECT 1000000 + g, g FROM generate_series(1, 40000) g")    # larger than the spool may be
    backlog(pair, 3)
    pair.pgtide.follow("--max-spool", "3MB", "--decoding-work-mem", "64kB")
    pair.pgtide.caught_up()
    pair.finish()


def put_in_its_place(pair: Pair, body: str) -> None:
    """Another function in its place, which waits or fails."""
    pair.on_source(f"""
        ALTER FUNCTION pg_catalog.{PEEK}({ARGUMENTS}) RENAME TO real_peek; SET allow_system_table_mods = on;
        CREATE FUNCTION pg_catalog.{PEEK}(slot name, upto pg_lsn, n integer, VARIADIC options text[], OUT lsn pg_lsn, OUT xid xid, OUT data bytea)
        RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN {body} END $$""")


def mend(pair: Pair) -> None:
    pair.on_source(f"SET allow_system_table_mods = on; DROP FUNCTION pg_catalog.{PEEK}({ARGUMENTS}); ALTER FUNCTION pg_catalog.real_peek({ARGUMENTS}) RENAME TO {PEEK}")


def is_waiting(pair: Pair) -> bool:
    return bool(pair.source.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


def test_a_query_that_fails_or_hangs_is_no_obstacle(world: World):
    pair = world.bad_pair(options=BY_QUERY)
    pair.pgtide.environment |= {"PGTIDE_READ_WINDOW": "60", "PGTIDE_LOG": "debug"}
    pair.on_source(TABLES)
    pair.pgtide.follow()
    for n, (body, word) in enumerate((("RAISE insufficient_privilege;", "42501"), ("RAISE SQLSTATE 'XX000';", "XX000"),
                                      ("RAISE SQLSTATE '53400' USING MESSAGE = 'temporary file size exceeds temp_file_limit';", "53400")), start=1):
        interrupt(pair)
        backlog(pair, n)
        put_in_its_place(pair, body)
        told = log_of(pair).count(FAILED)
        pair.pgtide.follow()
        pair.pgtide.caught_up()
        assert log_of(pair).count(FAILED) == told + 1 and word in log_of(pair), log_of(pair)[-3000:]
        mend(pair)
    # Asked to stop while the source is silent
    interrupt(pair)
    backlog(pair, 4)
    put_in_its_place(pair, "PERFORM pg_sleep(600);")
    pair.pgtide.start()
    wait_until(lambda: is_waiting(pair), 30, "the query waits")
    interrupt(pair)
    wait_until(lambda: not is_waiting(pair), 30, "it was cancelled")
    # The network is cut meanwhile: the next session is the stream's
    pair.pgtide.start()
    wait_until(lambda: is_waiting(pair), 30, "the query waits")
    pair.source_net.cut()
    pair.pgtide.caught_up()
    pair.source.value("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")    # it has nobody left to answer
    mend(pair)
    pair.finish()


def test_never_where_it_is_not_wanted(pair: Pair):
    pair.pgtide.options = ("--accept", "all")
    had = windows(pair)
    backlog(pair, 1)
    pair.pgtide.follow("--read-backlog", "stream")
    pair.pgtide.caught_up()
    interrupt(pair)
    backlog(pair, 2)    # too little
    pair.pgtide.follow("--read-backlog", "auto")
    pair.pgtide.caught_up()
    assert windows(pair) == had
    pair.finish()


@pytest.mark.parametrize("majors", [(10, 15), (13, 15), (18, 18)], ids=lambda majors: f"{majors[0]}-{majors[1]}")
def test_other_versions(pair: Pair, majors: tuple[int, int]):
    """10 cannot advance a slot: one window, then the stream; none where the spool was further than the slot."""
    backlog(pair, 1)
    resumed(pair, "catch_up.durable=crash@1")
    pair.pgtide.caught_up()
    interrupt(pair)
    backlog(pair, 2)
    had = windows(pair)
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    assert windows(pair) - had <= 1 if majors[0] == 10 else windows(pair) - had > 3, log_of(pair)
    assert FAILED not in log_of(pair)
    pair.finish()
