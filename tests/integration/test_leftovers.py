"""What `stop` and `slots gc` remove on both servers, what they could not remove, and that they say so (R1).

    source ── pgtide ──▶ target ── pgtide ──▶ third      each test has a database of its own
"""

from __future__ import annotations

import json
import subprocess
from typing import Any, Iterator

import pytest

from harness.cluster import Cluster
from harness.pgtide import FAILED, OK, Pgtide
from harness.wait import wait_until
from harness.world import Pair, World

TABLES = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'one')"


@pytest.fixture(scope="module")
def servers(shared_world: World) -> tuple[Cluster, Cluster]:
    return shared_world.cluster("source"), shared_world.cluster("target")


@pytest.fixture
def pair(shared_world: World, servers: tuple[Cluster, Cluster], request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Of a user that has all rights at first."""
    source, target = servers
    database = request.node.name[5:45]
    for server in servers:
        server.create_database(database)
        server.execute("DROP ROLE IF EXISTS rep; CREATE ROLE rep LOGIN SUPERUSER REPLICATION")
    source.execute(TABLES, database)
    yield Pair(source, target, shared_world.pgtide(source.dsn(database, user="rep"), target.dsn(database)), database)


def named(pair: Pair) -> dict[str, str]:
    status = pair.pgtide.status()
    return {"slot": status["slot"], "publication": status["publication"], "triggers": f"!pgtide_{status['task']}_"}


def left(cluster: Cluster, database: str) -> dict[str, bool]:
    return {
        "slot": bool(cluster.query(f"SELECT FROM pg_replication_slots WHERE database = '{database}'")),
        "publication": bool(cluster.query("SELECT FROM pg_publication", database)),
        "capture": bool(cluster.query("SELECT FROM pg_event_trigger", database)),
        "schema": bool(cluster.query("SELECT FROM pg_namespace WHERE nspname = 'pgtide'", database)),
    }


def leftovers(pgtide: Pgtide, cluster: Cluster, database: str, action: str, *options: str, status: int = OK) -> list[dict[str, Any]]:
    """Of this database; a publication's and a capture's name is not a database's."""
    done = pgtide.slots(action, cluster.dsn(database), "--json", *options)
    assert done.status == status, done
    found: list[dict[str, Any]] = json.loads(done.out)["leftovers"]
    return [leftover for leftover in found if leftover["database"] == database]


def test_each_thing_that_the_user_may_no_longer_remove_is_named(pair: Pair):
    pair.pgtide.follow()
    names = named(pair)
    pair.on_source("REASSIGN OWNED BY rep TO postgres; ALTER ROLE rep NOREPLICATION NOSUPERUSER")
    done = pair.pgtide.call("stop")
    assert done.status == FAILED, done
    said = done.err + pair.pgtide.last_words()
    for words in (names["slot"], "keeps all WAL", "pg_drop_replication_slot", "DROP EVENT TRIGGER", "DROP PUBLICATION"):
        assert words in said, f"{words!r} is not in {said}"
    assert all(left(pair.source, pair.database).values())
    done = pair.pgtide.call("stop", "--force")
    assert done.status == FAILED and all(name in done.err for name in names.values()), done
    assert not left(pair.target, pair.database)["schema"], "the target's part needs no right on the source"
    pair.source.execute("ALTER ROLE rep REPLICATION")
    assert pair.pgtide.call("stop").status == FAILED
    assert left(pair.source, pair.database) == {"slot": False, "publication": True, "capture": True, "schema": True}
    pair.source.execute("ALTER ROLE rep SUPERUSER")
    pair.pgtide.stop()
    pair.assert_nothing_left()


def test_a_slot_that_others_read_stays_and_all_else_goes(pair: Pair):
    pair.pgtide.follow()
    names = named(pair)
    pair.pgtide.run.kill()
    wait_until(lambda: not pair.source_value(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{names['slot']}'"), 30, "the slot is free")
    argv = [pair.source.installation.program("pg_recvlogical"), "-d", pair.source.dsn(pair.database), "--slot", names["slot"], "--start", "-f", "/dev/null",
            "-o", "proto_version=1", "-o", f"publication_names={names['publication']}"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            wait_until(lambda: pair.source_value(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{names['slot']}'"), 30, "the slot is read")
            gc = leftovers(pair.pgtide, pair.source, pair.database, "gc", "--force")
            assert gc and all(leftover["in_use"] and not leftover["removed"] for leftover in gc), gc
            done = pair.pgtide.call("stop", "--force")
            assert done.status == FAILED and names["slot"] in done.err and "pg_recvlogical" in done.err and "not ours" in done.err, done
            assert left(pair.source, pair.database) == {"slot": True, "publication": False, "capture": False, "schema": False}
            assert not left(pair.target, pair.database)["schema"]
        finally:
            other.terminate()
    pair.pgtide.stop("--force")
    pair.assert_nothing_left()


def test_a_target_that_cannot_be_reached_keeps_its_schema_and_it_is_named(shared_world: World, pair: Pair):
    net = shared_world.proxy(pair.target)
    pgtide = shared_world.pgtide(pair.pgtide.source, pair.target.dsn(pair.database, port=net.port))
    pgtide.follow()
    pgtide.run.kill()
    net.refuse()
    done = pgtide.call("stop", "--force", deadline_s=90)
    assert done.status == FAILED and 'schema "pgtide"' in done.err and "target" in done.err, done
    assert not any(left(pair.source, pair.database).values()) and left(pair.target, pair.database)["schema"]
    found = leftovers(pgtide, pair.target, pair.database, "gc")
    assert [(leftover["resumable"], leftover["removed"]) for leftover in found] == [(True, False)], "its folder is here still"
    assert all(leftover["removed"] for leftover in leftovers(pgtide, pair.target, pair.database, "gc", "--force"))
    pair.assert_nothing_left()


def test_a_copy_that_made_nothing_on_the_source_does_not_need_it_to_be_given_up(shared_world: World, pair: Pair):
    net = shared_world.proxy(pair.source)
    pgtide = shared_world.pgtide(pair.source.dsn(pair.database, port=net.port), pair.target.dsn(pair.database))
    pgtide.start("--type", "full", faults="once.copied=crash").wait()
    status = pgtide.status()
    assert status["state"] == "interrupted" and status["slot"] is None, status
    net.refuse()
    pgtide.stop("--force")
    pair.assert_nothing_left()


def test_the_middle_of_a_chain_keeps_what_the_other_sync_needs(shared_world: World, pair: Pair):
    """The schema on the server in the middle holds the state of one and the capture of the other."""
    third = shared_world.cluster("target_third")
    third.create_database(pair.database)
    onward = shared_world.pgtide(pair.target.dsn(pair.database), third.dsn(pair.database))
    pair.pgtide.follow()
    onward.follow()
    pair.on_source("ALTER TABLE t ADD c int; INSERT INTO t VALUES (2, 'two', 2)")
    pair.pgtide.finish()
    pair.target.execute("ALTER TABLE t ADD d int; INSERT INTO t VALUES (3, 'three', 3, 3)", pair.database)
    onward.caught_up()
    assert third.query("SELECT * FROM t ORDER BY a", pair.database) == [(1, "one", None, None), (2, "two", 2, None), (3, "three", 3, 3)]
    onward.run.kill()
    pair.target.execute("DO $$ DECLARE n text; BEGIN FOR n IN SELECT evtname FROM pg_event_trigger LOOP EXECUTE format('DROP EVENT TRIGGER %I', n); END LOOP; END $$",
                        pair.database)
    wait_until(lambda: all(leftover["removed"] for leftover in leftovers(onward, pair.target, pair.database, "gc", "--force")), 30, "the slot is free")
    leftovers(onward, third, pair.database, "gc", "--force")
    for cluster in (pair.target, third):
        assert not any(left(cluster, pair.database).values()), cluster.name
