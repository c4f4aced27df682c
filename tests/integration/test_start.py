"""What a start costs that finds everything there, and what each start looks at again because it is not.

    source ── pgtide, killed and started again ──▶ target
"""

from __future__ import annotations

import re

from harness.cluster import Cluster
from harness.world import Pair, World

LOGGED = {"log_connections": "on"}
FUNCTION = "SELECT prosrc, xmin::text FROM pg_proc WHERE proname LIKE 'on_ddl_%'"


def roles(cluster: Cluster, since: int) -> list[str]:
    """Of pgtide's sessions in the log behind its first `since` characters."""
    return sorted(re.findall(r"connection authorized: .*application_name=pgtide \w+ (.+)", cluster.log_text()[since:]))


def kill(pair: Pair) -> tuple[int, int]:
    pair.pgtide.caught_up()
    pair.pgtide.run.kill()
    return len(pair.source.log_text()), len(pair.target.log_text())


def test_a_start_that_finds_everything_there_asks_for_little(world: World):
    pair = world.pair(source_settings=LOGGED, target_settings=LOGGED).fill_shop()
    pair.pgtide.follow()
    pair.on_source("CREATE TABLE later (id integer PRIMARY KEY, v text); INSERT INTO later SELECT n, 'v' FROM generate_series(1, 100) n")
    pair.on_source("CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v || ''!''; RETURN NEW; END'; CREATE TRIGGER noted BEFORE UPDATE ON later FOR EACH ROW EXECUTE FUNCTION noted()")
    pair.on_source("ALTER TABLE later ENABLE ALWAYS TRIGGER noted")
    first = pair.pgtide.status()
    since = kill(pair)
    fires = pair.target_value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'noted'")
    capture = pair.source.query(FUNCTION, pair.database)
    pair.on_source("UPDATE later SET v = v || n FROM generate_series(1, 100) n WHERE n = id; DELETE FROM later WHERE id % 10 = 0")

    pair.pgtide.follow()
    pair.pgtide.caught_up()
    seen = roles(pair.source, since[0]), roles(pair.target, since[1])
    assert pair.target_value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'noted'") == "O", fires
    # wait --for caught-up has a marker of its own; the resolver is for tables that are met while the lane works
    assert set(seen[0]) <= {"control", "check", "receiver", "marker"} and set(seen[1]) <= {"control", "lane 1", "resolver"}, seen
    assert len(seen[0]) <= 5 and len(seen[1]) <= 3, seen
    again = pair.pgtide.status()
    assert again["tables"]["done"] == again["tables"]["total"] == first["tables"]["total"] and again["whole"]["percent"] == 100, again
    assert all(step["percent"] == 100 and step["state"] == "done" for step in again["steps"].values()), again["steps"]
    assert pair.source.query(FUNCTION, pair.database) == capture  # not written again

    kill(pair)
    body = capture[0][0]
    pair.on_source("DO $$ BEGIN EXECUTE (SELECT format('CREATE OR REPLACE FUNCTION %s() RETURNS event_trigger LANGUAGE plpgsql AS %L; COMMENT ON FUNCTION %s() IS %L', "
                   "oid::regproc, 'BEGIN END', oid::regproc, 'of an older version') FROM pg_proc WHERE proname LIKE 'on_ddl_%'); END $$")
    pair.pgtide.follow()
    assert pair.source.query(FUNCTION, pair.database)[0][0] == body
    pair.on_source("ALTER TABLE later ADD COLUMN w integer DEFAULT 3; INSERT INTO later SELECT 1000, 'new', 4")
    pair.finish()


def test_what_was_broken_is_looked_at_again(world: World):
    pair = world.pair()
    pair.on_source("CREATE TABLE a (id integer PRIMARY KEY); CREATE TABLE b (id integer PRIMARY KEY, a integer); INSERT INTO a VALUES (7); INSERT INTO b VALUES (1, 7);"
                   "ALTER TABLE b ADD CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a")
    pair.on_source("SET session_replication_role = replica; UPDATE b SET a = 8")
    pair.pgtide.follow()
    assert pair.pgtide.status()["broken_foreign_keys"] == 1
    kill(pair)
    pair.pgtide.follow()
    assert pair.pgtide.status()["broken_foreign_keys"] == 1
    pair.on_source("INSERT INTO a VALUES (8)")
    kill(pair)
    pair.pgtide.follow()
    assert pair.pgtide.status()["broken_foreign_keys"] == 0 and pair.target_value("SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'")
    pair.finish()
