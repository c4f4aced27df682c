"""The command line contract on a healthy pair.

    source ── pgtide ──▶ target
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from harness.compare import assert_equal
from harness.pgtide import FAILED, FOLLOWING, INTERRUPTED, OK, REFUSED, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


def insert_and_tell_where(pair: Pair, value: int) -> str:
    """The position behind the row's commit."""
    pair.on_source(f"INSERT INTO t VALUES ({value})")
    return str(pair.source_value("SELECT pg_current_wal_insert_lsn()"))


def test_an_empty_target_gets_everything_and_nothing_of_ours_stays(pair: Pair):
    pair.fill_shop().pgtide.sync()
    pair.assert_equal()
    pair.assert_nothing_left()


def test_a_missing_target_database_is_created_like_the_source(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    source.execute("CREATE ROLE shop_owner")
    target.execute("CREATE ROLE shop_owner")
    source.create_database("my shop", "OWNER shop_owner TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    source.execute("CREATE TABLE t (a text PRIMARY KEY); INSERT INTO t VALUES ('größe')", "my shop")
    pgtide = world.pgtide(source.dsn("my%20shop"), target.dsn("my%20shop"))
    pgtide.sync()
    facts = "SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'my shop'"
    assert source.query(facts) == target.query(facts)
    assert_equal(source, target, "my%20shop")


def test_a_target_database_may_have_another_name(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    source.execute("CREATE TABLE t AS SELECT 1 AS a; ALTER TABLE t REPLICA IDENTITY FULL")
    world.pgtide(source.dsn(), target.dsn("elsewhere")).sync()
    assert_equal(source, target, "postgres", "elsewhere")


def test_changes_made_during_the_copy_and_after_it_arrive(world: World, pair: Pair, seed: int):
    pair.fill_shop(scale=5).fill_mixed()
    load = world.mixed(pair.source, pair.database, seed).start()
    pair.pgtide.follow()
    load.run_for(4).stop()
    pair.finish()


def test_tpcb_is_followed(world: World, pair: Pair):
    bench = world.pgbench(pair.source, pair.database).initialize().start(clients=4)
    pair.pgtide.follow()
    let_pass(3)
    bench.stop()
    pair.finish()


def test_until_a_position_everything_before_it_is_applied_and_what_is_applied_has_no_gap(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.pgtide.run.interrupt()
    for value in range(20):
        until = insert_and_tell_where(pair, value)
    for value in range(20, 40):
        insert_and_tell_where(pair, value)
    pair.pgtide.start("--until", until).expect(OK)
    values = [value for (value,) in pair.target.query("SELECT a FROM t ORDER BY 1", pair.database)]
    assert values == list(range(len(values))) and len(values) >= 20
    pair.assert_nothing_left()


def test_until_a_position_in_the_future_waits_for_it(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    future = str(pair.source_value("SELECT pg_current_wal_insert_lsn() + 50000000"))
    pair.pgtide.follow("--until", future)
    insert_and_tell_where(pair, 1)
    pair.on_source("SELECT pg_logical_emit_message(true, 'fill', repeat('x', 30000000)), pg_logical_emit_message(true, 'fill', repeat('x', 30000000))")
    insert_and_tell_where(pair, 2)
    pair.pgtide.run.expect(OK)
    assert pair.target_value("SELECT count(*) FROM t WHERE a = 1") == 1


def test_wait_returns_when_what_was_committed_before_it_is_there(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    for value in range(15):
        pair.on_source(f"INSERT INTO t VALUES ({value})")
        pair.pgtide.caught_up()
        assert pair.target_value("SELECT count(*) FROM t") == value + 1
    pair.finish()


def test_events_are_json_an_event_a_line(pair: Pair):
    events = pair.fill_shop().pgtide.sync("--json").events()
    kinds = [event["event"] for event in events]
    assert {"phase", "progress", "done"} <= set(kinds)
    assert kinds[-1] == "done"
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    order = ["starting", "structure", "data", "index", "catch-up", "objects", "incremental", "stopping", "completed"]
    assert phases == sorted(phases, key=order.index), phases
    for step in ("structure", "data", "index", "objects"):
        shown = [event["steps"][step]["percent"] for event in events if event["event"] == "progress"]
        assert shown == sorted(shown) and shown[-1] == 100, f"{step}: {shown}"


def test_a_pipe_gets_plain_lines(pair: Pair):
    run = pair.fill_shop().pgtide.sync()
    assert run.out.strip() or run.err.strip()
    for text in (run.out, run.err):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), repr(text)


def test_quiet_says_nothing_when_all_is_well(pair: Pair):
    run = pair.pgtide.sync("--quiet")
    assert (run.out, run.err) == ("", "")


@pytest.mark.parametrize("options, named", [
    (("--frobnicate",), "--frobnicate"),
    (("--until", "yesterday"), "yesterday"),
    (("--jobs", "0"), "--jobs"),
    (("--on-conflict", "panic"), "panic"),
    (("extra",), "one more"),  # not repeated: it may be a URI with a password
])
def test_a_wrong_command_line_is_refused_and_named(pair: Pair, options: tuple[str, ...], named: str):
    done = pair.pgtide.call("sync", *options)
    assert done.status == USAGE and named in done.err, done
    assert done.out == ""


def test_a_wrong_uri_is_a_usage_error_without_showing_the_password(world: World):
    done = world.pgtide("postgresql://me:hush@[::1/x", "dbname=x").call("sync")
    assert done.status == USAGE and "source" in done.err, done
    assert "hush" not in done.out + done.err


@pytest.mark.parametrize("command", ["sync", "check", "status", "wait", "stop", "slots"])
def test_every_command_has_help(world: World, command: str):
    pgtide = world.pgtide("dbname=x", "dbname=y")
    done = pgtide.call(command, "--help")
    assert done.status == OK and f"pgtide {command}" in done.out and done.err == "", done


def test_interrupted_and_started_again_it_goes_on_where_it_was(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)")
    pair.pgtide.follow()
    assert pair.pgtide.run.interrupt() == INTERRUPTED
    status = pair.pgtide.status()
    assert status["state"] == "interrupted" and status["tables"]["done"] == status["tables"]["total"] > 0, status
    assert [step["percent"] for step in status["steps"].values()] == [100] * 4 and status["whole"]["percent"] == 100, status    # it said 0 of what was all there
    versions = "SELECT sum(xmin::text::bigint) FROM t"
    copied = pair.target_value(versions)
    pair.on_source("INSERT INTO t VALUES (0)")
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    assert pair.target_value(versions + " WHERE a > 0") == copied  # not copied again
    pair.finish()


def test_sigterm_is_as_good_as_ctrl_c(pair: Pair):
    pair.pgtide.follow()
    pair.pgtide.run.signal(signal.SIGTERM)
    assert pair.pgtide.run.wait(30) == INTERRUPTED
    pair.pgtide.sync()


def test_a_second_sync_of_the_pair_is_refused_and_names_the_first(pair: Pair):
    pair.pgtide.follow()
    done = pair.pgtide.call("sync")
    assert done.status in (FAILED, REFUSED) and str(pair.pgtide.run.pid) in done.err, done
    assert pair.pgtide.run.is_running
    pair.finish()


def test_a_second_sync_with_another_state_folder_is_refused(world: World, pair: Pair):
    pair.pgtide.follow()
    other = world.pgtide(pair.source.dsn(pair.database), pair.target.dsn(pair.database))
    done = other.call("sync")
    assert done.status in (FAILED, REFUSED) and "pgtide" in done.err, done
    assert pair.pgtide.run.is_running
    pair.finish()


def test_status_says_what_is(pair: Pair):
    assert pair.pgtide.status()["state"] == "none"
    pair.fill_shop().pgtide.follow()
    document = pair.pgtide.status()
    assert document["state"] == document["phase"] == FOLLOWING
    assert document["pid"] == pair.pgtide.run.pid
    assert all(step["percent"] == 100 for step in document["steps"].values()), document["steps"]
    assert "postgres@" not in json.dumps(document)
    text = pair.pgtide.call("status")
    assert text.status == OK and "following" in text.out, text
    pair.finish()
    document = pair.pgtide.status()
    assert document["state"] == document["phase"] == "completed"
    assert all(step["percent"] == 100 and step["state"] == "done" for step in document["steps"].values()) and document["whole"]["percent"] == 100, document


def test_wait_waits_for_a_sync_that_does_not_answer_for_a_while(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.pgtide.run.signal(signal.SIGSTOP)    # as on a machine that is short of memory
    pair.on_source("INSERT INTO t VALUES (1)")
    waiting = pair.pgtide.begin("wait", "--for", "caught-up")
    let_pass(6)
    assert waiting.is_running, waiting.err
    pair.pgtide.run.signal(signal.SIGCONT)
    waiting.expect(OK)
    assert pair.target_value("SELECT count(*) FROM t") == 1
    pair.finish()


def test_wait_without_a_running_sync_fails_and_says_so(pair: Pair):
    done = pair.pgtide.call("wait", "--for", "caught-up")
    assert done.status == FAILED and done.err, done


def test_wait_does_not_answer_for_what_was_committed_after_the_sync_had_ended(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.finish()
    pair.on_source("INSERT INTO t VALUES (1)")
    done = pair.pgtide.call("wait", "--for", "caught-up")
    assert done.status == FAILED and "applied up to" in done.err and "pgtide compare" in done.err, done
    done = pair.pgtide.call("wait", "--for", "incremental")
    assert done.status == FAILED and "has ended" in done.err, done


def test_wait_that_saw_the_sync_come_to_its_own_end_is_content(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    run = pair.pgtide.start("--until", "caught-up")
    done = pair.pgtide.call("wait", "--for", "caught-up", "--timeout", "60")
    run.expect(OK, 60)
    assert done.status == OK, done


def test_wait_gives_up_after_its_timeout(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    with pair.target.connect(pair.database) as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE t")
        pair.on_source("INSERT INTO t VALUES (1)")
        done = pair.pgtide.call("wait", "--for", "caught-up", "--timeout", "2")
        assert done.status == FAILED, done
    pair.finish()


def test_stop_without_a_running_sync_applies_the_rest_and_cleans_up(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.pgtide.run.interrupt()
    pair.on_source("INSERT INTO t VALUES (1)")
    pair.pgtide.stop()
    pair.assert_equal()
    pair.assert_nothing_left()


def test_stop_by_force_cleans_up_without_applying(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    pair.pgtide.run.kill()
    pair.on_source("INSERT INTO t VALUES (1)")
    pair.pgtide.stop("--force")
    pair.assert_nothing_left()
    assert pair.target_value("SELECT count(*) FROM t") == 0


def test_after_a_stop_the_same_pair_can_begin_anew(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.pgtide.sync()
    pair.on_source("INSERT INTO t VALUES (2)")
    done = pair.pgtide.call("sync", "--until", "caught-up")
    assert done.status == REFUSED, done  # the target has rows now
    pair.pgtide.sync("--if-not-empty", "truncate")
    pair.assert_equal()


def test_slots_left_behind_are_listed_and_removed_when_nothing_can_resume_them(world: World, pair: Pair):
    uri = pair.source.dsn(pair.database)
    assert pair.pgtide.slots("list", uri).status == OK
    pair.pgtide.follow()
    slot = str(pair.source.value("SELECT slot_name FROM pg_replication_slots"))
    assert slot in pair.pgtide.slots("list", uri).out
    pair.pgtide.slots("gc", uri)
    assert pair.pgtide.run.is_running
    pair.pgtide.run.kill()
    wait_until(lambda: not pair.source.value("SELECT active FROM pg_replication_slots"), 30, "the slot is free")
    pair.pgtide.slots("gc", uri)
    assert pair.source.value("SELECT count(*) FROM pg_replication_slots") == 1  # its state folder is here: it can be resumed
    stranger = world.pgtide(uri, pair.target.dsn(pair.database))
    done = stranger.slots("gc", uri)
    assert done.status == OK and slot in done.out, done
    assert pair.source.value("SELECT count(*) FROM pg_replication_slots") == 0
    assert pair.source.value("SELECT count(*) FROM pg_publication", pair.database) == 0


def test_a_password_is_nowhere_to_be_read(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    for cluster in (source, target):
        cluster.execute("ALTER ROLE postgres PASSWORD 'hush-7f3a'")
        cluster.create_database("app")
    source.execute("CREATE TABLE t (a integer PRIMARY KEY)", "app")
    pgtide = world.pgtide(*(cluster.dsn("app", user="postgres:hush-7f3a") for cluster in (source, target)))
    for cluster in (source, target):
        cluster.allow_only("host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256")
    run = pgtide.follow()
    read = [Path(f"/proc/{run.pid}/cmdline").read_bytes(), Path(f"/proc/{run.pid}/environ").read_bytes()]
    assert run.interrupt() == INTERRUPTED
    read += [path.read_bytes() for path in [*pgtide.state_dir.rglob("*"), run.out_path, run.err_path] if path.is_file()]
    assert not [text for text in read if b"hush-7f3a" in text]
    pgtide.stop()


def test_anything_that_libpq_takes_names_a_server(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    source.execute("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    service = world.folder / "service.conf"
    service.write_text(f"[new]\nhost=127.0.0.1\nport={target.port}\nuser=postgres\ndbname=postgres\n", encoding="ascii")
    pgtide = world.pgtide(f"host=127.0.0.1 port={source.port} user=postgres dbname='postgres'", "service=new")
    done = pgtide.call("sync", "--until", "caught-up", PGSERVICEFILE=str(service))
    assert done.status == OK, done
    assert_equal(source, target, "postgres")


def test_without_secondary_indexes_when_asked(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b integer UNIQUE, c integer); CREATE INDEX t_c ON t (c)")
    pair.pgtide.sync("--no-indexes")
    assert pair.target.query("SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1", pair.database) == [
        ("t_b_key",), ("t_pkey",)]
