"""pgtide cutover: from writers at full speed to a target that may be written to, or back.

    writers ──▶ source ── pgtide sync ──▶ target
                  ▲                          ▲
                  └──── pgtide cutover ──────┘
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from harness.cutover import can_write, cutover, is_frozen, report, settings
from harness.pgtide import FAILED, INTERRUPTED, OK, REFUSED, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

DOWNTIME_S = 5.0


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


def states(document: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["state"] for step in document["steps"]}


def items(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in document["checklist"]}


SEQUENCES_BEHIND = """
SELECT string_agg(format('%I.%I: %s', s.schemaname, s.sequencename, s.last_value), ', ')
  FROM pg_sequences s
  JOIN pg_class c ON c.relname = s.sequencename AND c.relnamespace = quote_ident(s.schemaname)::regnamespace
  JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE (xpath('//m/text()', query_to_xml(format('SELECT max(%I) AS m FROM %s', a.attname, a.attrelid::regclass), false, true, '')))[1]::text::bigint
       > coalesce(s.last_value, 0)
"""


def assert_cut_over(pair: Pair) -> None:
    pair.assert_equal()
    pair.assert_nothing_left()
    assert pair.target_value(SEQUENCES_BEHIND) is None


# The whole

def test_writers_at_full_speed_are_cut_over_in_seconds(world: World, pair: Pair):
    pair.fill_shop()
    bench = world.pgbench(pair.source, pair.database).initialize().start(clients=4)
    pair.pgtide.follow()
    let_pass(2)
    document = cutover(pair, "--freeze")
    bench.stop()
    pair.pgtide.run.expect(OK)
    print(f"write downtime {document['write_downtime_seconds']:.2f} s", {s["step"]: s["seconds"] for s in document["steps"]})
    assert document["outcome"] == "completed" and document["source_is_frozen"] and document["position"]
    assert 0 < document["write_downtime_seconds"] < DOWNTIME_S
    assert states(document) == {"analyze": "done", "freeze": "done", "marker": "done", "sequences": "done", "large-objects": "done",
                                "materialized-views": "left-out", "compare": "done", "stop": "done"}
    assert items(document)["sessions"]["result"] == "ALARM" and any("pgbench" in text for text in items(document)["sessions"]["objects"])
    assert_cut_over(pair)
    assert not can_write(pair)
    assert str(pair.target_value("SHOW default_transaction_read_only")) == "off"
    assert pair.pgtide.call("cutover", "--undo").status == OK
    assert can_write(pair) and not is_frozen(pair)
    refused = pair.pgtide.call("cutover", "--freeze", "--yes")    # somebody may have written meanwhile
    assert refused.status == FAILED and "not by a cutover" in refused.err, refused


def test_an_interrupted_sync_is_gone_on_with(pair: Pair):
    pair.fill_shop()
    pair.pgtide.follow()
    pair.pgtide.run.interrupt()
    pair.on_source("INSERT INTO shop.event (kind, subject) VALUES ('while', 'interrupted')")
    document = cutover(pair)
    assert document["outcome"] == "completed" and not document["source_is_frozen"]
    assert_cut_over(pair)
    assert can_write(pair)
    again = cutover(pair)
    assert again["outcome"] == "completed"  # nothing is left to do


def test_large_objects_and_materialized_views_are_of_the_last_moment(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1); CREATE MATERIALIZED VIEW z AS SELECT count(*) AS n FROM t; "
                   "CREATE MATERIALIZED VIEW a AS SELECT n + 1 AS n FROM z; SELECT lo_from_bytea(4711, 'old')")
    pair.pgtide.follow("--accept", "all")
    pair.on_source("INSERT INTO t VALUES (2); SELECT lo_put(4711, 0, 'new'), lo_from_bytea(4712, 'more')")
    pair.on_source("REFRESH MATERIALIZED VIEW z")
    pair.on_source("REFRESH MATERIALIZED VIEW a")
    found = items(cutover(pair, "--dry-run", "--refresh-matviews"))
    assert found["large-objects"]["result"] == "ALARM" and found["materialized-views"]["result"] == "PASSED"
    document = cutover(pair, "--refresh-matviews")
    assert states(document)["materialized-views"] == "done"
    assert pair.target_value("SELECT n FROM a") == 3
    assert bytes(pair.target_value("SELECT lo_get(4711)")) == b"new" and bytes(pair.target_value("SELECT lo_get(4712)")) == b"more"
    assert_cut_over(pair)


# What keeps it from beginning

def test_a_dry_run_changes_nothing(pair: Pair):
    pair.fill_shop()
    pair.pgtide.follow()
    document = cutover(pair, "--dry-run", "--freeze")
    assert document["outcome"] == "not-begun" and set(states(document).values()) == {"planned", "left-out"}
    assert items(document)["delay"]["result"] == "PASSED" and items(document)["sequences"]["result"] == "PASSED"
    assert can_write(pair) and pair.pgtide.phase() == "incremental"
    pair.finish()


def test_without_a_terminal_it_needs_yes(pair: Pair):
    pair.pgtide.follow()
    done = pair.pgtide.call("cutover")
    assert done.status == USAGE and "--yes" in done.err, done
    pair.finish()
    pair.on_source("CREATE TABLE after_the_stop (a integer PRIMARY KEY)")
    done = pair.pgtide.call("cutover", "--freeze", "--yes")    # it said that the application may write to the target
    assert done.status == FAILED and "stopped, and not by a cutover" in done.err and can_write(pair), done


def test_a_pair_that_nobody_knows_is_named(pair: Pair):
    done = pair.pgtide.call("cutover", "--yes")
    assert done.status == FAILED and "nothing is known" in done.err, done


def test_prepared_transactions_refuse_it(world: World):
    pair = world.pair(source_settings={"max_prepared_transactions": 5})
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    with psycopg.connect(pair.source.dsn(pair.database), autocommit=True) as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO t VALUES (1)")
        session.execute("PREPARE TRANSACTION 'later'")
    document = cutover(pair, "--freeze", status=REFUSED)
    assert items(document)["prepared-transactions"]["objects"] == ["later"] and document["outcome"] == "not-begun"
    assert can_write(pair)
    pair.on_source("COMMIT PREPARED 'later'")
    pair.finish()


def test_a_user_who_may_not_freeze_is_told_what_to_grant(world: World, pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY); CREATE ROLE mover LOGIN REPLICATION PASSWORD 'x'; GRANT SELECT ON t TO mover; "
                   "GRANT CREATE ON DATABASE app TO mover; ALTER TABLE t OWNER TO mover")
    pair.target.execute("CREATE ROLE mover LOGIN")
    source = pair.source.dsn(pair.database).replace("postgres@", "mover:x@", 1)
    pgtide = world.pgtide(source, pair.target.dsn(pair.database))
    pgtide.follow("--accept", "all")
    done = pgtide.call("cutover", "--freeze", "--dry-run", "--json")
    assert done.status == REFUSED, done
    assert "GRANT" in items(report(done))["freeze"]["fix"]
    assert pgtide.call("cutover", "--yes").status == OK


# (C2) Who writes behind the marker

def test_a_write_behind_the_marker_makes_it_give_up_and_following_goes_on(world: World, pair: Pair):
    bench = world.pgbench(pair.source, pair.database).initialize().start(clients=2)
    pair.pgtide.follow()
    document = cutover(pair, status=FAILED)
    assert document["outcome"] == "undone" and "behind the marker" in document["error"]
    assert pair.pgtide.phase() == "incremental"
    bench.stop()
    assert cutover(pair)["outcome"] == "completed"
    pair.pgtide.run.expect(OK)
    assert_cut_over(pair)


def test_a_write_between_the_last_look_and_the_stop_is_seen_by_the_sync(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    run = pair.pgtide.begin("cutover", "--yes", "--compare", "none", faults="cutover.before_stop=wait@1:3000")
    wait_until(lambda: "stop: make" in run.out, 20, "the cutover is at its stop")
    let_pass(1.5)  # it has looked
    pair.on_source("INSERT INTO t VALUES (1)")
    run.expect(FAILED)
    assert "behind the marker" in run.err and "the stop is refused" in pair.pgtide.run.err
    assert pair.pgtide.phase() == "incremental"
    pair.finish()


def test_sessions_that_write_all_the_same_wait_for_the_lock_and_do_not_get_between(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    run = pair.pgtide.begin("cutover", "--freeze", "--yes", "--json", faults="cutover.marked=wait@1:2000")
    wait_until(lambda: is_frozen(pair), 20, "the source is frozen")
    let_pass(1)
    with psycopg.connect(pair.source.dsn(pair.database)) as stubborn:
        stubborn.execute("SET default_transaction_read_only = off")
        stubborn.commit()
        stubborn.execute("SET lock_timeout = 500")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            stubborn.execute("INSERT INTO t VALUES (1)")
    run.expect(OK)
    assert_cut_over(pair)


def test_only_chosen_tables_are_compared(pair: Pair):
    """A difference elsewhere is nobody's question; a rule that cannot be read is said before anything is frozen."""
    pair.on_source("CREATE TABLE asked (a integer PRIMARY KEY); INSERT INTO asked VALUES (1); CREATE TABLE other (a integer PRIMARY KEY); INSERT INTO other VALUES (1)")
    pair.pgtide.follow()
    pair.target.execute("DELETE FROM other", pair.database)
    done = pair.pgtide.call("cutover", "--yes", "--compare", '"unbalanced')
    assert done.status == USAGE and can_write(pair), done
    document = cutover(pair, "--freeze", "--compare", "public.as*", "--compare", "!*.nothing")
    assert document["outcome"] == "completed" and "1 table, 1 row," in str(document), document


# Undone

def test_it_is_undone_when_both_sides_differ(pair: Pair):
    pair.fill_shop()
    pair.on_source("ALTER DATABASE app SET default_transaction_read_only = off; ALTER DATABASE app SET work_mem = '5MB'")
    before = settings(pair)
    pair.pgtide.follow()
    pair.target.execute("UPDATE shop.category SET name = name || '!' WHERE id = 1", pair.database)
    document = cutover(pair, "--freeze", status=FAILED)
    assert document["outcome"] == "undone" and states(document)["compare"] == "failed" and "category" in document["error"]
    assert settings(pair) == before and can_write(pair)
    assert pair.pgtide.phase() == "incremental"
    pair.target.execute("UPDATE shop.category SET name = left(name, -1) WHERE id = 1", pair.database)
    assert cutover(pair, "--freeze")["outcome"] == "completed"
    pair.pgtide.call("cutover", "--undo")
    assert settings(pair) == before


def test_it_is_undone_when_it_takes_too_long_or_is_interrupted(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    run = pair.pgtide.begin("cutover", "--freeze", "--yes", "--json", "--max-downtime", "1", faults="cutover.sequences_set=wait@1:1500")
    run.expect(FAILED)
    assert "--max-downtime" in json.loads(run.out)["error"] and not is_frozen(pair)
    run = pair.pgtide.begin("cutover", "--freeze", "--yes", "--json", faults="cutover.sequences_set=wait@1:2000")
    wait_until(lambda: is_frozen(pair), 20, "the source is frozen")
    run.interrupt()
    assert run.status == INTERRUPTED and json.loads(run.out)["outcome"] == "undone"
    assert can_write(pair) and pair.pgtide.phase() == "incremental"
    pair.finish()


def test_it_is_undone_when_the_sync_dies(pair: Pair):
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY)")
    pair.pgtide.follow()
    run = pair.pgtide.begin("cutover", "--freeze", "--yes", "--json", "--compare", "none", faults="cutover.sequences_set=wait@1:1500")
    wait_until(lambda: is_frozen(pair), 20, "the source is frozen")
    pair.pgtide.run.kill()
    run.expect(FAILED)
    assert json.loads(run.out)["outcome"] == "undone" and can_write(pair)
    assert cutover(pair, "--freeze")["outcome"] == "completed"  # goes on with the dead one
    assert_cut_over(pair)
