"""The numbered invariants of ARCHITECTURE.md, where they can be seen from outside.

    writers ──▶ source ── proxy ── pgtide (fault points) ── proxy ──▶ target ◀── observer
"""

from __future__ import annotations

import shutil
import threading
from typing import Any

import psycopg
import pytest

from harness.load import Session
from harness.pgtide import FAILED, OK
from harness.wait import let_pass, wait_until
from harness.world import BadPair, Pair, World

SLOT = "SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'"
CONFIRMED = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'"


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


@pytest.fixture
def bad_pair(world: World) -> BadPair:
    return world.bad_pair()


def confirmed_beyond(pair: Pair, lsn: str) -> None:
    wait_until(lambda: pair.source.value(f"{CONFIRMED} AND confirmed_flush_lsn >= '{lsn}'".replace("confirmed_flush_lsn FROM", "count(*) FROM")), 60,
               f"the source was told that everything before {lsn} is safe")


def position(pair: Pair) -> Any:
    return pair.target.query("SELECT lane::text FROM pgtide.lane ORDER BY 1", pair.database)


def broken_history(pair: Pair) -> str:
    """The same command must end with an error that says so, and touch nothing on the target."""
    before = position(pair)
    run = pair.pgtide.start().expect(FAILED, 60)
    assert "history broken" in run.err, run.err
    assert position(pair) == before
    return run.err


# Positions

@pytest.mark.parametrize("moment", ["apply.before_commit", "apply.after_commit", "target.before_commit_sent", "target.after_commit_sent"])
def test_p1_rows_and_position_are_one(world: World, pair: Pair, seed: int, moment: str):
    pair.fill_mixed()
    load = world.mixed(pair.source, pair.database, seed).start()
    pair.pgtide.follow()
    for nth in (1, 3):
        pair.pgtide.run.kill()
        pair.pgtide.start(faults=f"{moment}=crash@{nth}")
        wait_until(lambda: not pair.pgtide.run.is_running, 30, f"{moment} strikes")
        pair.pgtide.follow()
    load.stop()
    pair.finish()


def test_p2_all_rows_of_one_copy_share_a_position_and_none_is_taken_for_another(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer, b text); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.pgtide.follow()
    with pair.source.connect(pair.database) as session, session.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("".join(f"{n % 3}\tsame\n" for n in range(2000)))
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.finish()


def test_p3_what_the_source_forgot_survives_a_kill_while_the_target_is_down(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.target.stop()
    pair.on_source("INSERT INTO t SELECT generate_series(1, 500)")
    confirmed_beyond(pair, str(pair.source_value("SELECT pg_current_wal_insert_lsn()")))
    pair.pgtide.run.kill()
    pair.target.start()
    pair.pgtide.follow()
    pair.finish()


def test_p3_with_ack_target_the_source_keeps_what_the_target_has_not_and_the_spool_may_vanish(world: World):
    pair = world.pair(options=("--ack", "target"))
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (0)")
    pair.pgtide.caught_up()
    pair.target.stop()
    pair.on_source("INSERT INTO t SELECT generate_series(1, 500)")
    lsn = str(pair.source_value("SELECT pg_current_wal_insert_lsn()"))
    let_pass(3)
    assert pair.source.value(f"SELECT confirmed_flush_lsn < '{lsn}' FROM pg_replication_slots WHERE slot_name LIKE 'pgtide%'")
    pair.pgtide.run.kill()
    pair.target.start()
    for spool in pair.pgtide.state_dir.glob("*/spool"):
        shutil.rmtree(spool)
    pair.pgtide.follow()
    pair.finish()


def test_p3_a_target_that_forgets_its_last_commits_gets_them_again(pair: Pair):
    """With synchronous_commit off a crash of the target's system loses commits: here an immediate shutdown of a server that has not flushed."""
    pair.target.configure(wal_writer_delay="10s", wal_writer_flush_after="1GB", bgwriter_lru_maxpages=0)
    pair.target.restart()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    for value in range(30):
        pair.on_source(f"INSERT INTO t VALUES ({value})")
    wait_until(lambda: pair.target_value("SELECT count(*) FROM t") == 30, 30, "the rows are applied")
    pair.target.kill()
    pair.target.start()
    pair.finish()


def test_p4_a_keepalive_moves_the_slot_and_never_the_position(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.source.create_database("elsewhere")
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (1)")
    pair.pgtide.caught_up()
    before = position(pair)
    pair.source.execute("CREATE TABLE noise AS SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n", "elsewhere")
    confirmed_beyond(pair, str(pair.source_value("SELECT pg_current_wal_flush_lsn()")))
    assert position(pair) == before
    pair.pgtide.run.kill()
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.finish()


def test_p5_a_commit_whose_answer_was_lost_is_neither_lost_nor_doubled(world: World, bad_pair: BadPair, seed: int):
    bad_pair.fill_mixed()
    load = world.mixed(bad_pair.source, bad_pair.database, seed).start()
    bad_pair.pgtide.follow()
    struck: list[int] = []

    def lose_the_answer(chunk: bytes) -> bool:
        strikes = b"COMMIT\0" in chunk and len(struck) < 6
        if strikes:
            struck.append(len(chunk))
        return strikes

    bad_pair.target_net.inspect(lose_the_answer)
    wait_until(lambda: len(struck) == 6, 60, "six answers to COMMIT are lost")
    load.stop()
    bad_pair.finish()


def start_following_and_interrupt(pair: Pair) -> None:
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.pgtide.caught_up()
    pair.pgtide.run.interrupt()


def test_p6_a_slot_that_was_dropped_and_made_anew_is_not_continued(pair: Pair):
    start_following_and_interrupt(pair)
    slot = pair.source.value(SLOT)
    pair.source.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    pair.on_source("INSERT INTO t VALUES (3)")
    pair.source.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')", pair.database)
    assert slot in broken_history(pair)


def test_p6_a_slot_that_was_dropped_is_not_made_anew(pair: Pair):
    start_following_and_interrupt(pair)
    slot = pair.source.value(SLOT)
    pair.source.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    assert pair.pgtide.status()["state"] == "interrupted"
    assert slot in broken_history(pair)
    assert pair.source.query(SLOT) == []
    document = pair.pgtide.status()
    assert document["state"] == "failed" and "history broken" in document["problem"], "whoever asks later is told, too"
    pair.pgtide.stop("--force")
    pair.assert_nothing_left()


def test_p6_a_slot_that_somebody_else_read_is_not_continued(pair: Pair):
    start_following_and_interrupt(pair)
    pair.on_source("INSERT INTO t VALUES (3)")
    pair.source.execute(f"SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM ({SLOT}) s", pair.database)
    broken_history(pair)


def test_p6_a_slot_that_vanishes_under_a_running_sync_ends_it(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    slot = pair.source.value(SLOT)
    pair.on_source(f"DO $$ BEGIN LOOP PERFORM pg_terminate_backend(active_pid, 1000) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active_pid IS NOT NULL; "
                   f"BEGIN PERFORM pg_drop_replication_slot('{slot}'); RETURN; EXCEPTION WHEN object_in_use THEN NULL; END; END LOOP; END $$")
    pair.on_source("INSERT INTO t VALUES (1)")
    run = pair.pgtide.run.expect(FAILED, 60)
    assert "history broken" in run.err, run.err


def test_p6_a_source_restored_from_an_older_copy_is_not_continued(world: World, pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.pgtide.caught_up()
    pair.pgtide.run.interrupt()
    pair.source.stop()
    pair.source.backup(world.folder / "older")  # has the slot
    pair.source.start()
    pair.pgtide.follow()
    pair.on_source("INSERT INTO t SELECT generate_series(1000, 2000)")
    pair.pgtide.caught_up()
    pair.pgtide.run.interrupt()
    pair.source.stop()
    pair.source.restore(world.folder / "older")
    pair.source.start()
    pair.on_source("INSERT INTO t VALUES (3)")  # another history at positions that we had before
    broken_history(pair)


def test_p6_another_server_under_the_same_address_is_not_continued(world: World, pair: Pair):
    start_following_and_interrupt(pair)
    other = world.cluster("other", start=False)
    pair.source.stop()
    shutil.rmtree(pair.source.data)
    other.backup(pair.source.data)
    pair.source.configure(port=pair.source.port)
    pair.source.start().create_database(pair.database)
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    assert "system identifier" in broken_history(pair)


def test_p6_a_target_restored_from_an_older_copy_is_never_silently_short_of_rows(world: World, pair: Pair):
    start_following_and_interrupt(pair)
    pair.target.stop()
    pair.target.backup(world.folder / "older")
    pair.target.start()
    pair.pgtide.follow()
    for value in range(10, 20):
        pair.on_source(f"INSERT INTO t VALUES ({value})")
        pair.pgtide.caught_up()
    pair.pgtide.run.interrupt()
    pair.target.stop()
    pair.target.restore(world.folder / "older")
    pair.target.start()
    run = pair.pgtide.start("--until", "caught-up")
    if run.wait(60) == OK:  # the spool may still have had it
        pair.assert_equal()
    else:
        assert "history broken" in run.err, run.err


def test_p6_an_emptied_target_is_not_continued(pair: Pair):
    start_following_and_interrupt(pair)
    pair.target.execute(f"DROP DATABASE {pair.database}")
    pair.target.create_database(pair.database)
    run = pair.pgtide.start("--until", "caught-up")
    if run.wait(60) == OK:  # beginning anew, with all rows, is right too
        pair.assert_equal()
    else:
        assert run.err, "it must say why"


# Copy and gates

def test_g1_transactions_that_straddle_the_start_arrive_once(world: World, pair: Pair, seed: int):
    pair.fill_mixed()
    for again in range(3):
        load = world.mixed(pair.source, pair.database, seed + again, threads=6).start()
        load.run_for(0.5)
        pair.pgtide.follow()
        load.stop()
        pair.finish()
        pair.target.execute("DROP DATABASE app WITH (FORCE)")
        pair.target.create_database("app")


def waits_for(pair: Pair, xid: int) -> bool:
    """Slot creation waits for the end of this transaction."""
    return bool(pair.source.value(f"SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid::text = '{xid}'"))


def open_transaction(pair: Pair) -> tuple[Any, int]:
    session = pair.source.connect(pair.database, autocommit=False)
    return session, session.execute("SELECT pg_current_xact_id()::text").fetchone()[0]


def test_g1_a_commit_that_waits_for_a_standby_when_the_slot_is_made_arrives_once(pair: Pair):
    """Its commit record lies before the slot's consistent point, but an ordinary snapshot would not see it. (Newer minor versions wait for it.)"""
    pair.on_source("CREATE TABLE t (a integer); ALTER TABLE t REPLICA IDENTITY FULL")
    first, first_xid = open_transaction(pair)
    pair.pgtide.start()
    wait_until(lambda: waits_for(pair, first_xid), 30, "the slot waits for the first transaction")
    second, second_xid = open_transaction(pair)
    first.rollback()
    wait_until(lambda: waits_for(pair, second_xid), 30, "the slot waits for the second transaction")  # whatever begins from here on is not waited for
    pair.source.configure(synchronous_standby_names="nobody")
    pair.source.reload()
    wait_until(lambda: pair.source.value("SHOW synchronous_standby_names") == "nobody", 10, "commits wait")
    writer = threading.Thread(target=pair.on_source, args=("INSERT INTO t VALUES (1)",))
    writer.start()
    waiting = "SELECT backend_xid::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    waiting_xid = wait_until(lambda: pair.source.query(waiting), 10, "a commit waits")[0][0]
    second.rollback()
    wait_until(lambda: waits_for(pair, waiting_xid) or pair.pgtide.phase() not in ("", "starting", "structure"), 30, "the first snapshot is taken")
    pair.source.configure(synchronous_standby_names="")
    pair.source.reload()
    writer.join(30)
    pair.on_source("INSERT INTO t VALUES (2)")
    pair.pgtide.wait_phase("incremental")
    pair.finish()


def test_g1_ddl_under_way_while_the_slot_is_made_is_decoded_as_it_was(pair: Pair):
    """PostgreSQL does not know that a transaction changed a catalog when it did so before the slot was built half and commits after; what runs
    then is decoded, for ever, with a catalog that is too old: "could not map filenode", or without a column and without a word."""
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); CREATE TABLE u (a integer PRIMARY KEY)")
    first, first_xid = open_transaction(pair)
    pair.pgtide.start()
    wait_until(lambda: waits_for(pair, first_xid), 30, "the slot waits for the first transaction")
    ddl, ddl_xid = open_transaction(pair)
    ddl.execute("TRUNCATE t")
    ddl.execute("ALTER TABLE u ADD COLUMN b text")
    second, second_xid = open_transaction(pair)
    first.rollback()
    wait_until(lambda: waits_for(pair, ddl_xid) or waits_for(pair, second_xid), 30, "the slot waits for the DDL and the second transaction")
    ddl.commit()
    wait_until(lambda: waits_for(pair, second_xid), 30, "the slot waits for the second transaction")
    writer, _ = open_transaction(pair)
    writer.execute("INSERT INTO t VALUES (1)")
    writer.execute("INSERT INTO u VALUES (1, 'seen')")
    second.rollback()
    wait_until(lambda: not waits_for(pair, second_xid), 30, "the slot goes on")
    writer.commit()
    pair.pgtide.wait_phase("incremental")
    assert "DDL was committed" in pair.pgtide.run.err
    pair.finish()


def test_g2_each_table_takes_exactly_the_changes_that_its_copy_has_not_seen(world: World, bad_pair: BadPair, seed: int):
    """Writes to tables that are copied and to those that are not yet; a crash in the middle gives the rest another gate."""
    pair = bad_pair
    pair.fill_shop(scale=10).fill_mixed(rows=10_000)
    load = world.mixed(pair.source, pair.database, seed).start()
    finished = "SELECT count(*) FROM pgtide.relation"
    for _ in range(3):
        pair.target_net.throttle(1_500_000)
        pair.pgtide.start("--jobs", "2")
        pair.pgtide.wait_phase("data")
        had = pair.target_value(finished)
        wait_until(lambda: pair.target_value(finished) > had or not pair.pgtide.phase() == "data", 60, "one more table is copied")
        pair.pgtide.run.kill()
    copies = "SELECT source_oid, relation::text FROM pgtide.relation"
    versions = dict(pair.target.query(copies, pair.database))
    pair.target_net.throttle(0)
    pair.pgtide.follow()
    again = dict(pair.target.query(copies, pair.database))
    assert versions and all(again[name] == row for name, row in versions.items()), "a table that was finished was copied again"
    load.stop()
    pair.finish()


@pytest.mark.parametrize("statement", ["TRUNCATE t", "VACUUM FULL t", "CLUSTER t USING t_pkey", "ALTER TABLE t SET TABLESPACE pg_default; VACUUM FULL t",
                                       "TRUNCATE t; INSERT INTO t VALUES (1, 'new')"])
def test_g3_a_table_rewritten_between_snapshot_and_copy_is_not_taken_for_empty(pair: Pair, statement: str):    # F11
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1000) n; "
                   "ALTER TABLE t CLUSTER ON t_pkey; CREATE TABLE other (a integer PRIMARY KEY); INSERT INTO other VALUES (1)")
    pair.pgtide.start(faults="full.after_structure=wait@1:3000")
    wait_until(lambda: pair.pgtide.phase() == "structure" and pair.target_value("SELECT to_regclass('t')"), 30, "the structure is there and no row yet")
    for part in statement.split("; "):
        pair.on_source(part)
    pair.pgtide.wait_phase("incremental")
    pair.finish()


def test_g4_rows_that_the_target_swallows_fail_the_table(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
    pair.target.execute("""
        CREATE TABLE t (a integer PRIMARY KEY);
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.a % 10 = 0 THEN RETURN NULL; END IF; RETURN NEW; END';
        CREATE TRIGGER swallow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION swallow();
        ALTER TABLE t ENABLE ALWAYS TRIGGER swallow""", pair.database)
    run = pair.pgtide.start("--until", "caught-up", "--if-not-empty", "merge", "--accept", "all")
    assert run.wait(60) != OK and "public.t" in run.err and "100" in run.err and "90" in run.err, run.err
    assert pair.target_value("SELECT count(*) FROM t") == 0


# Apply

def test_a1_an_observer_of_the_target_sees_only_states_that_the_source_had(world: World, pair: Pair, seed: int):
    """Every transfer keeps the sum; the counter and the journal move together. Each look is one statement, so one snapshot."""
    pair.fill_mixed().on_source("CREATE TABLE counter (n bigint PRIMARY KEY); INSERT INTO counter VALUES (0); CREATE TABLE counted (n bigint PRIMARY KEY)")
    total = pair.source_value("SELECT sum(balance) FROM mixed.account")
    pair.pgtide.follow()
    load = world.mixed(pair.source, pair.database, seed).start()
    over = threading.Event()

    def count() -> None:
        with psycopg.connect(pair.source.dsn(pair.database), autocommit=True) as session:
            while not over.is_set():
                session.execute("WITH next AS (UPDATE counter SET n = n + 1 RETURNING n) INSERT INTO counted SELECT n FROM next")

    counting = threading.Thread(target=count)
    counting.start()
    seen: set[int] = set()

    def look(observer: Session) -> bool:
        row = observer.execute("SELECT (SELECT sum(balance) FROM mixed.account), (SELECT n FROM counter), (SELECT count(*) FROM counted), "
                               "(SELECT coalesce(max(n), 0) FROM counted)").fetchone()
        assert row is not None
        assert row[0] == total and row[1] == row[2] == row[3], row
        seen.add(int(row[1]))
        return len(seen) > 20

    try:
        with pair.target.connect(pair.database) as observer:
            wait_until(lambda: look(observer), 90, f"the observer sees changes: {sorted(seen)}", every_s=0.005)
    finally:
        over.set()
        counting.join(30)
        load.stop()
    pair.finish()


def test_a2_after_a_conflict_nothing_of_its_transaction_is_visible_and_nothing_is_lost(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text)")
    pair.pgtide.follow()
    pair.target.execute("INSERT INTO t VALUES (5, 'blocks')", pair.database)
    pair.on_source("INSERT INTO t VALUES (1, 'before')")
    pair.on_source("INSERT INTO t SELECT n, 'with' FROM generate_series(2, 9) n")
    pair.on_source("INSERT INTO t VALUES (10, 'after')")
    run = pair.pgtide.run.expect(FAILED, 60)
    assert "public.t" in run.err and "5" in run.err, run.err
    assert pair.target.query("SELECT a, b FROM t ORDER BY 1", pair.database) == [(1, "before"), (5, "blocks")]
    pair.target.execute("DELETE FROM t WHERE a = 5", pair.database)
    pair.pgtide.follow()
    pair.finish()


@pytest.mark.parametrize("policy, expected", [("ignore", "target"), ("overwrite", "source")])
def test_a4_what_a_policy_decided_is_recorded(world: World, policy: str, expected: str):
    pair = world.pair(options=("--on-conflict", policy))
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text UNIQUE)")
    pair.pgtide.follow()
    pair.target.execute("INSERT INTO t VALUES (1, 'target'), (2, 'blocks')", pair.database)
    pair.on_source("INSERT INTO t VALUES (1, 'source')")
    pair.on_source("INSERT INTO t VALUES (3, 'blocks'), (4, 'fine')")
    pair.pgtide.caught_up()  # in one window with the next two nothing would be left of row 3
    pair.on_source("UPDATE t SET b = 'missing' WHERE a = 3")
    pair.on_source("DELETE FROM t WHERE a = 3")
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT b FROM t WHERE a = 1") == expected
    assert pair.target_value("SELECT count(*) FROM t WHERE a = 4") == 1
    recorded = pair.target.query("SELECT conflict::text FROM pgtide.conflict", pair.database)
    assert len(recorded) >= 2 and any("public" in row[0] and policy in row[0] for row in recorded), recorded
    assert int(pair.pgtide.status()["conflicts"]) == len(recorded)
    pair.pgtide.stop()


def test_a4_by_default_a_missing_row_is_no_reason_to_go_on(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    pair.pgtide.follow()
    pair.target.execute("DELETE FROM t WHERE a = 1", pair.database)
    pair.on_source("UPDATE t SET b = 'changed' WHERE a = 1")
    run = pair.pgtide.run.expect(FAILED, 60)
    assert "public.t" in run.err, run.err
    pair.target.execute("INSERT INTO t VALUES (1, 'x')", pair.database)
    pair.pgtide.follow()
    pair.finish()


# Remote objects

def test_r1_when_every_server_answers_again_nothing_is_left(world: World, bad_pair: BadPair):
    bad_pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    bad_pair.pgtide.follow()
    bad_pair.pgtide.run.interrupt()
    bad_pair.source_net.refuse()
    done = bad_pair.pgtide.call("stop", "--force", deadline_s=120)
    if done.status != OK:
        assert "pgtide_" in done.err, f"what is left must be named: {done}"
    bad_pair.source_net.refuse(False)
    if done.status != OK:
        bad_pair.pgtide.stop("--force")
    bad_pair.pgtide.slots("gc", bad_pair.source.dsn(bad_pair.database), "--force")
    bad_pair.assert_nothing_left()


def test_the_state_folders_are_private(pair: Pair):
    pair.pgtide.follow()
    folders = [path for path in pair.pgtide.state_dir.iterdir() if path.is_dir()]
    assert folders and all(folder.stat().st_mode & 0o077 == 0 for folder in folders)
    pair.finish()
