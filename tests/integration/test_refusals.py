"""What cannot work is refused before anything is begun: exit status 3 (1 where nobody could be asked), the cause and its object named.

    source ── pgtide ✋ target
"""

from __future__ import annotations

import json

import psycopg
import pytest

from harness.pgtide import FAILED, OK, REFUSED, Done
from harness.ports import reserve_port
from harness.wait import wait_until
from harness.world import Pair, World


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


def refused(pair: Pair, *named: str, options: tuple[str, ...] = ()) -> Done:
    """By `check` and by `sync` alike; and nothing was made."""
    for command in ("check", "sync"):
        done = pair.pgtide.call(command, *options)
        assert done.status == REFUSED, done
        for name in named:
            assert name in done.out + done.err, f"{name!r} is not named: {done}"
    pair.assert_nothing_left()
    return done


def test_a_healthy_pair_passes_the_check(pair: Pair):
    pair.fill_shop()
    done = pair.pgtide.call("check")
    assert done.status == OK, done
    pair.assert_nothing_left()


def test_a_source_that_writes_no_logical_wal(world: World):
    refused(world.pair(source_settings={"wal_level": "replica"}), "wal_level", "logical")


def test_a_source_without_a_free_replication_slot(world: World):
    pair = world.pair(source_settings={"max_replication_slots": 1})
    pair.source.execute("SELECT pg_create_physical_replication_slot('other')")
    refused(pair, "max_replication_slots")


def test_a_source_without_a_free_wal_sender(world: World):
    pair = world.pair(source_settings={"max_wal_senders": 1})
    with psycopg.connect(pair.source.dsn(replication="true"), autocommit=True) as other:
        other.execute("IDENTIFY_SYSTEM")
        refused(pair, "max_wal_senders")


def test_a_table_that_cannot_be_identified_is_named_and_the_source_goes_on_working(pair: Pair):
    pair.on_source('CREATE TABLE "No Key" (a integer); INSERT INTO "No Key" VALUES (1); CREATE TABLE fine (a integer PRIMARY KEY)')
    refused(pair, "No Key", "REPLICA IDENTITY")
    pair.on_source('UPDATE "No Key" SET a = 2')


def test_a_table_that_cannot_be_identified_can_be_accepted_for_its_inserts(pair: Pair):
    pair.on_source("CREATE TABLE no_key (a integer); INSERT INTO no_key VALUES (1)")
    pair.pgtide.follow("--accept", "all")
    pair.on_source("UPDATE no_key SET a = 2 WHERE false; INSERT INTO no_key VALUES (3)")
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT count(*) FROM no_key") == 2
    pair.on_source("UPDATE no_key SET a = 2; DELETE FROM no_key")  # the source's application is never harmed
    pair.pgtide.caught_up()
    pair.pgtide.stop()
    pair.assert_nothing_left()


def test_a_target_that_is_not_empty(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    pair.target.execute("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (7)", pair.database)
    refused(pair, "t")
    assert pair.target.query("SELECT a FROM t", pair.database) == [(7,)]
    pair.pgtide.sync("--if-not-empty", "truncate")
    assert pair.target.query("SELECT a FROM t", pair.database) == [(1,)]


def test_rows_that_are_there_already_can_be_merged(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'source'), (2, 'source')")
    pair.target.execute("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t VALUES (7, 'target')", pair.database)
    pair.pgtide.sync("--if-not-empty", "merge")
    assert pair.target.query("SELECT a FROM t ORDER BY 1", pair.database) == [(1,), (2,), (7,)]


@pytest.mark.parametrize("statement, named", [
    ("CREATE UNLOGGED TABLE not_logged (a integer PRIMARY KEY)", "not_logged"),
    ("SELECT lo_from_bytea(4711, 'large')", "large object"),
])
def test_what_is_copied_but_not_followed_is_an_alarm_that_can_be_accepted(pair: Pair, statement: str, named: str):
    pair.on_source(f"CREATE TABLE t (a integer PRIMARY KEY); {statement}")
    refused(pair, named)
    pair.pgtide.sync("--accept", "all")


def test_what_only_a_superuser_may_see_is_not_needed_for_a_wrong_password(world: World):
    pair = world.pair()
    pair.source.execute("CREATE ROLE someone LOGIN PASSWORD 'right'")
    pair.source.allow_only("host all postgres 127.0.0.1/32 trust", "host all someone 127.0.0.1/32 scram-sha-256")
    pgtide = world.pgtide(pair.source.dsn(pair.database, user="someone:wrong-9c1"), pair.target.dsn(pair.database))
    done = pgtide.call("sync")
    assert done.status in (FAILED, REFUSED), done
    assert "password authentication failed" in done.out + done.err and "source" in done.out + done.err
    assert "wrong-9c1" not in done.out + done.err


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_cannot_be_reached_is_named(world: World, side: str):
    cluster, nobody = world.cluster("somebody"), reserve_port()
    there, missing = cluster.dsn(), cluster.dsn(port=nobody.number)
    pgtide = world.pgtide(*((missing, there) if side == "source" else (there, missing)))
    done = pgtide.call("sync")
    assert done.status in (FAILED, REFUSED), done
    said = done.out + done.err
    assert str(nobody.number) in said and "refused" in said and side in said, done
    nobody.release()


def test_a_source_database_that_does_not_exist(world: World):
    cluster = world.cluster("somebody")
    done = world.pgtide(cluster.dsn("nothing"), cluster.dsn()).call("sync")
    assert done.status in (FAILED, REFUSED) and "nothing" in done.out + done.err, done


def test_a_source_user_that_may_not_replicate(world: World):
    pair = world.pair()
    pair.source.execute("CREATE ROLE modest LOGIN")
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); GRANT SELECT ON t TO modest")
    pair.pgtide = world.pgtide(pair.source.dsn(pair.database, user="modest"), pair.target.dsn(pair.database))
    done = refused(pair, "REPLICATION")
    assert "ALTER ROLE" in done.out + done.err


def test_a_table_that_the_source_user_may_not_read(world: World):
    pair = world.pair()
    pair.source.execute("CREATE ROLE modest LOGIN REPLICATION; GRANT CREATE ON DATABASE app TO modest", pair.database)
    pair.on_source("CREATE TABLE secrets (a integer PRIMARY KEY)")
    pair.pgtide = world.pgtide(pair.source.dsn(pair.database, user="modest"), pair.target.dsn(pair.database))
    refused(pair, "secrets")


def test_a_target_user_that_may_not_create(world: World):
    pair = world.pair()
    pair.target.execute("CREATE ROLE modest LOGIN")
    pair.pgtide = world.pgtide(pair.source.dsn(pair.database), pair.target.dsn(pair.database, user="modest"))
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    refused(pair, "CREATE")
    refused(pair, "GRANT SET ON PARAMETER session_replication_role", options=("--if-not-empty", "merge"))


def test_a_role_that_the_target_lacks(pair: Pair):
    pair.source.execute("CREATE ROLE reader")
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); GRANT SELECT ON t TO reader")
    refused(pair, "reader")


def test_a_target_that_accepts_no_writes(world: World):
    pair = world.pair()
    pair.target.execute("ALTER DATABASE app SET default_transaction_read_only = on")
    done = pair.pgtide.call("sync", "--until", "caught-up")
    assert done.status in (OK, REFUSED, FAILED)
    if done.status != OK:
        assert "read" in done.out + done.err and "only" in done.out + done.err, done


def test_source_and_target_are_one_database(world: World):
    cluster = world.cluster("somebody")
    cluster.execute("CREATE TABLE t (a integer PRIMARY KEY)")
    done = world.pgtide(cluster.dsn(), cluster.dsn()).call("sync", "--if-not-empty", "truncate", "--accept", "all")
    assert done.status in (REFUSED, FAILED) and "same" in done.err + done.out, done


def test_two_databases_of_one_server_are_a_pair(world: World):
    cluster = world.cluster("somebody")
    cluster.execute("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    world.pgtide(cluster.dsn(), cluster.dsn("copy")).sync()
    assert cluster.value("SELECT a FROM t", "copy") == 1


def test_a_transaction_that_is_open_at_the_start_delays_it_and_is_named(pair: Pair):
    """Slot creation waits for it: the operator must not wonder."""
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    with pair.source.connect(pair.database, autocommit=False) as session:
        session.execute("INSERT INTO t VALUES (1)")
        run = pair.pgtide.start()
        pid = str(session.info.backend_pid)
        wait_until(lambda: not run.is_running or pid in run.out + run.err, 20, "it says for whom it waits")
        session.commit()
    if not run.is_running:  # an alarm of the precheck is a fair answer too
        run.expect(REFUSED)
        pair.pgtide.start()
    pair.pgtide.wait_phase("incremental")
    pair.finish()


def test_json_of_a_check_says_the_same(pair: Pair):
    pair.on_source("CREATE TABLE no_key (a integer)")
    done = pair.pgtide.call("check", "--json")
    assert done.status == REFUSED, done
    items = json.loads(done.out)["items"]
    failing = [item for item in items if item["result"] not in ("PASSED", "SKIPPED")]
    assert failing and any("no_key" in str(item) for item in failing), items
