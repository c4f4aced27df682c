"""A streaming replica as the source: it is copied and compared (followed: test_standby_follow). As the target: it is compared.

    source ──(streaming)──▶ standby ── pgtide sync --type full ──▶ target ──(streaming)──▶ target_standby
"""

from __future__ import annotations

import json
from typing import Any

from harness.cluster import Cluster
from harness.pgtide import FAILED, OK, REFUSED, Done, Pgtide
from harness.wait import wait_until
from harness.world import World

DIFFERENT, NOT_COMPARED = 4, 5
APP = "app"
PATIENT = {"hot_standby_feedback": "on"}
SUMS = ("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches),"
        "(SELECT coalesce(sum(delta), 0) FROM pgbench_history)")


def log_of(pgtide: Pgtide) -> str:
    return "".join(log.read_text(errors="replace") for log in pgtide.state_dir.glob("*/log"))


def compare(pgtide: Pgtide, *options: str, status: int = OK) -> dict[str, Any]:
    done = pgtide.call("compare", "--json", *options, deadline_s=120)
    assert done.status == status, f"expected {status}: {done}"
    document: dict[str, Any] = json.loads(done.out)
    return document


def notes(document: dict[str, Any]) -> str:
    return "\n".join(document["notes"])


def item(done: Done, name: str) -> dict[str, Any]:
    items: dict[str, dict[str, Any]] = {item["id"]: item for item in json.loads(done.out)["items"]}
    return items[name]


def refuses_to_follow(pgtide: Pgtide, primary: Cluster, why: str) -> None:
    found = item(pgtide.call("check", "--json"), "source-standby")
    assert found["result"] == "FAILED" and "primary" in found["fix"] and "--type full" in found["fix"], found
    for words in ("standby", f"127.0.0.1:{primary.port}", "--type full", "not followed", why):
        assert words in found["reason"], found
    refused = pgtide.call("sync")
    assert refused.status == REFUSED and why in refused.out + refused.err, refused


def test_a_standby_is_copied_under_load_and_compared_on_both_sides(world: World):
    source, target = world.cluster("source", autovacuum="off"), world.cluster("target", autovacuum="off")
    for cluster in (source, target):
        cluster.create_database(APP)
    bench = world.pgbench(source, APP).initialize(scale=2)
    source.execute("CREATE SEQUENCE numbers; SELECT nextval('numbers'); CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM pgbench_accounts;"
                   "SELECT lo_from_bytea(0, 'large')", APP)
    standby = world.standby(source, "standby")
    pgtide = world.pgtide(standby.dsn(APP), target.dsn(APP), ("--type", "full"))
    refuses_to_follow(world.pgtide(standby.dsn(APP), target.dsn(APP)), source, "before PostgreSQL 16")
    assert "hot_standby_feedback is off" in item(pgtide.call("check", "--type", "full", "--json"), "source-standby")["reason"]
    standby.configure(**PATIENT)
    standby.reload()
    wait_until(lambda: standby.value("SHOW hot_standby_feedback") == "on", 10, "the standby tells what it reads")
    found = item(pgtide.call("check", "--type", "full", "--json"), "source-standby")
    assert found["result"] == "PASSED" and f"127.0.0.1:{source.port}" in found["reason"] and "hot_standby_feedback" not in found["reason"], found

    bench.start(clients=2)
    wait_until(lambda: standby.value("SELECT count(*) FROM pgbench_history", APP) > 50, 30, "changes reach the standby")
    pgtide.sync()
    assert len(set(target.query(SUMS, APP)[0])) == 1, "all tables are of one moment"
    assert target.value("SELECT count(*) FROM pgbench_history", APP) > 50
    assert compare(pgtide, "--kind", "accounts")["source_moved"]
    bench.stop()
    wait_until(lambda: source.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == 0, 10, "its sessions have ended")
    source.execute("CHECKPOINT")
    standby.replayed(source)

    # What was written since the copy differs; here nobody follows, so it may be repaired
    document = compare(pgtide, "--kind", "values", status=DIFFERENT)
    assert (document["aligned"], document["source_moved"], document["target_moved"]) == (False, False, False)
    assert "source is a standby" in notes(document) and "target is a standby" not in notes(document)
    compare(pgtide, "--kind", "values", "--repair")
    target_standby = world.standby(target, "target_standby")
    both = world.pgtide(standby.dsn(APP), target_standby.dsn(APP))
    document = compare(both, "--kind", "values", "--kind", "rows", "--kind", "accounts")
    assert "source is a standby" in notes(document) and "target is a standby" in notes(document) and not document["target_moved"]
    assert "Synchronization" not in notes(document)
    target.execute("DELETE FROM pgbench_tellers WHERE tid = 3", APP)
    target_standby.replayed(target)
    forward = world.pgtide(source.dsn(APP), target_standby.dsn(APP))
    assert compare(forward, "--kind", "values", status=DIFFERENT)["entries"]
    refused = forward.call("compare", "--repair")
    assert refused.status == FAILED and "cannot repair" in refused.err and "standby" in refused.err, refused
    refused = forward.call("sync")
    assert refused.status == REFUSED and "the target is a standby" in refused.out, refused


def test_a_standby_has_moved_when_one_of_several_transactions_ends(world: World):
    """Its snapshots need not show that: the end of a transaction between others that run changes no bound of them."""
    source, target = world.cluster("source", autovacuum="off"), world.cluster("target", autovacuum="off")
    for cluster in (source, target):
        cluster.create_database(APP)
        cluster.execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)", APP)
    standby = world.standby(source, "standby")
    pgtide = world.pgtide(standby.dsn(APP), target.dsn(APP))
    with source.connect(APP, autocommit=False) as oldest, source.connect(APP, autocommit=False) as middle:
        for session, key in ((oldest, 1), (middle, 2)):
            session.execute("UPDATE t SET a = -a WHERE a = %s", [key])
        source.execute("UPDATE t SET a = a WHERE a = 3", APP)
        standby.replayed(source)
        bounds = standby.value("SELECT txid_current_snapshot()::text", APP)
        run = pgtide.begin("compare", "--json", "--kind", "values", faults="compare.table=wait@1:8000")
        wait_until(lambda: standby.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgtide compare' AND query LIKE 'SET TRANSACTION SNAPSHOT%'") > 0
                   or not run.is_running, 30, "the comparison has its snapshots", every_s=0.02)
        middle.commit()
        standby.replayed(source)
        assert standby.value("SELECT txid_current_snapshot()::text", APP) == bounds
        assert json.loads(run.expect(OK).out)["source_moved"] is True
        oldest.rollback()


def test_what_a_standby_cancels_is_read_again_and_what_was_rewritten_gets_its_own_snapshot(world: World):
    source, target = world.cluster("source", autovacuum="off"), world.cluster("target")
    source.create_database(APP)
    source.execute("CREATE TABLE big AS SELECT a, md5(a::text) || md5((-a)::text) AS b FROM generate_series(1, 200000) a;"
                   "CREATE TABLE small AS SELECT 1 AS a", APP)
    standby = world.standby(source, "standby", max_standby_streaming_delay="0", **PATIENT)
    slow = ("--type", "full", "--jobs", "1", "--max-rate", "4")

    def copy_until_reading(database: str) -> Pgtide:
        target.create_database(database)
        pgtide = world.pgtide(standby.dsn(APP), target.dsn(database), slow)
        pgtide.start()
        wait_until(lambda: standby.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%%big%%' AND state = 'active'"
                                         " AND application_name LIKE 'pgtide%%'") > 0, 30, "the big table is read", every_s=0.02)
        return pgtide

    pgtide = copy_until_reading("rewritten")
    source.execute("BEGIN; TRUNCATE small; INSERT INTO small VALUES (2), (3); COMMIT", APP)
    pgtide.run.expect(OK)
    assert "rewritten after the snapshot" in log_of(pgtide), log_of(pgtide)
    standby.replayed(source)
    assert compare(pgtide, "--kind", "values")["entries"]

    standby.configure(hot_standby_feedback="off")
    standby.reload()
    wait_until(lambda: not source.value("SELECT backend_xmin IS NOT NULL FROM pg_stat_replication"), 30, "the primary may remove rows")
    pgtide = copy_until_reading("cancelled")
    source.execute("UPDATE big SET b = 'new' WHERE a % 100 = 0", APP)
    source.execute("VACUUM big", APP)
    pgtide.run.expect(OK)
    assert "hot_standby_feedback = on" in log_of(pgtide), log_of(pgtide)
    standby.replayed(source)
    assert compare(pgtide, "--kind", "values")["entries"]


def test_a_sync_from_the_primary_is_named_when_its_standby_is_compared(world: World):
    """Both sides are at one position only as the sync knows them; a repair from anywhere else would come between."""
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    standby = world.standby(pair.source, "standby")
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    standby.replayed(pair.source)
    # An unlogged table has no rows on a standby: it is not compared, and nobody says that it is equal
    pair.source.execute("CREATE UNLOGGED TABLE fast (a int PRIMARY KEY)", APP)
    pair.pgtide.caught_up()
    standby.replayed(pair.source)
    from_standby = world.pgtide(standby.dsn(APP), pair.target.dsn(APP))
    document = compare(from_standby, "--kind", "rows", "--kind", "values", status=NOT_COMPARED)
    fast = [entry for entry in document["entries"] if entry["name"] == "public.fast"]
    assert len(fast) == 2 and all(entry["result"] == "not compared" and "unlogged" in entry["reason"] for entry in fast), fast
    pair.source.execute("DROP TABLE fast", APP)
    pair.pgtide.caught_up()
    standby.replayed(pair.source)
    task = pair.target_value("SELECT task FROM pgtide.task")
    document = compare(from_standby, "--kind", "values")
    assert not document["aligned"] and "source is a standby" in notes(document) and f"Synchronization {task}" in notes(document), document
    assert compare(pair.pgtide, "--kind", "values")["aligned"]
    pair.target.execute("UPDATE t SET b = 'changed' WHERE a = 2", APP)
    refused = from_standby.call("compare", "--repair")
    assert refused.status == FAILED and task in refused.err and "cannot repair" in refused.err, refused
    # Who may not see the synchronization is told that, not that there is none
    pair.target.execute("CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader", APP)
    blind = world.pgtide(standby.dsn(APP), pair.target.dsn(APP, user="reader"))
    document = compare(blind, "--kind", "values", status=DIFFERENT)
    assert "cannot be seen" in notes(document) and "permission denied" in notes(document), document
    refused = blind.call("compare", "--repair")
    assert refused.status == FAILED and "cannot be seen" in refused.err and "cannot repair" in refused.err, refused
    pair.target.execute("DROP OWNED BY reader; DROP ROLE reader", APP)
    pair.pgtide.run.interrupt()
    refused = pair.pgtide.call("compare", "--repair")
    assert refused.status == FAILED and "does not run" in refused.err, refused
    assert pair.target_value("SELECT b FROM t WHERE a = 2") == "changed"
    pair.pgtide.follow()
    compare(pair.pgtide, "--repair")
    pair.finish()
