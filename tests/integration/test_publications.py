"""--with-publications: whom the source offers its changes to, the target does, too. pg_dump's words about both sides must be the same.

    source (publications of others, and pgtide's own) ── pgtide ──▶ target (those of others)
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.pgtide import FAILED, OK, REFUSED
from harness.world import Pair, World

WITH = "--with-publications"
TABLES = """
CREATE SCHEMA s; CREATE SCHEMA "s t";
CREATE TABLE a (id integer PRIMARY KEY, b text, c text); CREATE TABLE b (id integer PRIMARY KEY, v text); CREATE TABLE s.c (id integer PRIMARY KEY); CREATE TABLE "s t"."d e" (id integer PRIMARY KEY);
CREATE TABLE p (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
INSERT INTO a SELECT n, 'b', 'c' FROM generate_series(1, 50) n; INSERT INTO b SELECT n FROM generate_series(1, 50) n; INSERT INTO p SELECT n FROM generate_series(1, 50) n;
"""
PUBLICATIONS = """
CREATE PUBLICATION "All of it" FOR ALL TABLES WITH (publish = 'insert, truncate'); COMMENT ON PUBLICATION "All of it" IS 'for "everybody"';
CREATE PUBLICATION parts FOR TABLE a (id, b) WHERE (id > 5), ONLY b; ALTER PUBLICATION parts OWNER TO owner;
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA s, "s t"; CREATE PUBLICATION roots FOR TABLE p WITH (publish = 'insert', publish_via_partition_root = true);
CREATE PUBLICATION empty; CREATE PUBLICATION our_pgtide; COMMENT ON PUBLICATION empty IS 'nothing';
"""


def publications(cluster: Cluster, database: str = "app") -> list[str]:
    """As pg_dump says it, but for what pgtide makes."""
    done = subprocess.run([cluster.installation.program("pg_dump"), "-s", "-d", cluster.dsn(database)], capture_output=True, text=True, check=True)
    return sorted(line for line in done.stdout.splitlines() if re.match("(CREATE|ALTER|COMMENT ON) PUBLICATION ", line) and "pgtide_" not in line)


def prepared(world: World, *options: str, sql: str = PUBLICATIONS) -> Pair:
    pair = world.pair(options=options)
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE owner")
    pair.on_source(TABLES + sql)
    return pair


def objects(pair: Pair, *options: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(pair.pgtide.call("compare", "--kind", "object", "--json", *options).out)["entries"]}


def item(pair: Pair, name: str) -> dict[str, Any]:
    return next(found for found in json.loads(pair.pgtide.call("check", "--json", *pair.pgtide.options).out)["items"] if found["id"] == name)


def left_out(pair: Pair) -> list[tuple[str, str]]:
    (file,) = pair.pgtide.state_dir.glob("*/left-out.sql")
    blocks = [block.split("\n", 1) for block in file.read_text().split("\n-- left out: ")[1:]]
    return [(reason, statement.strip()) for reason, statement in blocks]


WHILE_FOLLOWING = [
    "CREATE PUBLICATION later FOR TABLE a, b", "ALTER PUBLICATION later DROP TABLE a", "ALTER PUBLICATION parts SET TABLE a (id, c), s.c", "ALTER PUBLICATION later SET (publish = 'delete')",
    "ALTER PUBLICATION later OWNER TO owner", "ALTER PUBLICATION later RENAME TO \"later On\"", "COMMENT ON PUBLICATION \"later On\" IS 'x;'", "ALTER PUBLICATION schemas ADD TABLES IN SCHEMA public; ALTER PUBLICATION schemas DROP TABLES IN SCHEMA s",
    "DROP PUBLICATION empty, roots", "DO $$ BEGIN EXECUTE 'ALTER PUBLICATION parts DROP TABLE s.c'; END $$", "CREATE TABLE n (id integer PRIMARY KEY); ALTER PUBLICATION parts ADD TABLE n WHERE (id < 7)", "INSERT INTO n VALUES (1), (9)",
    "BEGIN; CREATE PUBLICATION never; ROLLBACK", "CREATE PUBLICATION short FOR ALL TABLES; DROP PUBLICATION short", "ALTER SCHEMA s RENAME TO s2",
]


def test_they_are_made_followed_and_compared(world: World):
    """Killed in between; what pgtide makes for itself meanwhile is nobody's."""
    pair = prepared(world, WITH)
    assert item(pair, "left-out")["result"] == "PASSED"
    pair.pgtide.start(faults="full.early_object=crash@3").wait()
    pair.on_source("ALTER PUBLICATION parts ADD TABLE s.c; COMMENT ON PUBLICATION parts IS 'meanwhile'")
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    assert publications(pair.source) == publications(pair.target) and len(publications(pair.target)) == 21, publications(pair.target)
    for statement in WHILE_FOLLOWING[:6]:
        pair.on_source(statement)
    pair.pgtide.run.kill()
    for statement in WHILE_FOLLOWING[6:]:
        pair.on_source(statement)
    pair.pgtide.follow()
    pair.pgtide.caught_up()
    assert publications(pair.source) == publications(pair.target), publications(pair.target)
    assert pair.target_value("SELECT count(*) FROM pg_publication WHERE pubname ~ '^pgtide_[0-9a-f]{12}'") == 0
    found = objects(pair)
    assert all(entry["result"] == "equal" for entry in found.values()) and found["publication"]["source_count"] == 5, found
    assert {"publication", "publication table", "publication schema"} <= set(found)
    pair.pgtide.finish()
    assert publications(pair.source) == publications(pair.target)
    pair.target.execute("ALTER PUBLICATION parts SET (publish = 'insert'); ALTER PUBLICATION parts SET TABLE a (id, b, c), n WHERE (id < 8); ALTER PUBLICATION schemas DROP TABLES IN SCHEMA \"s t\"; COMMENT ON PUBLICATION schemas IS 'y'", "app")
    different = {(kind, difference["identity"]) for kind, entry in objects(pair).items() for difference in entry["differences"]}
    assert different == {("publication", "parts"), ("publication table", "parts: public.a"), ("publication table", "parts: public.n"), ("publication schema", 'schemas: "s t"'), ("comment", "publication schemas")}
    assert item(pair, "target-empty")["objects"] and "publication parts" in item(pair, "target-empty")["objects"]


def test_without_the_option_nobody_hears_of_them(world: World):
    """Nor do statements about them, and comments on them, stop it. The option cannot be added later."""
    pair = prepared(world)
    assert "publications (unless --with-publications is given) and subscriptions are not carried: publication \"All of it\", publication empty" in item(pair, "left-out")["reason"]
    pair.pgtide.follow()
    for statement in WHILE_FOLLOWING:
        pair.on_source(statement)
    for statement in ("CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION x WITH (connect = false, slot_name = NONE)", "COMMENT ON SUBSCRIPTION sub IS 'x'", "DROP SUBSCRIPTION sub"):
        pair.on_source(statement)
    pair.pgtide.caught_up()
    assert publications(pair.target) == [] and "publication" not in objects(pair)
    pair.pgtide.run.interrupt()
    assert "was begun without --with-publications" in pair.pgtide.start(WITH).expect(FAILED).err
    pair.pgtide.follow()
    pair.finish()
    assert objects(pair, WITH)["publication"]["result"] == "different"


def test_of_a_selection_those_come_that_name_what_is_selected(world: World):
    pair = prepared(world, WITH, "--select", "public.a,public.p,\"s t\".*", sql=PUBLICATIONS + "CREATE PUBLICATION others FOR TABLE b; COMMENT ON PUBLICATION others IS 'o'; COMMENT ON PUBLICATION parts IS 'p'")
    told = item(pair, "left-out")
    assert told["result"] == "ALARM" and told["objects"] == [
        'publication "All of it": it publishes all tables, and only some are selected', 'schema "s t" of publication schemas: only some tables are selected', "schema s of publication schemas: only some tables are selected",
        "table public.b of publication parts: it is not selected"], told
    assert pair.pgtide.start().wait() == REFUSED
    pair.target.execute("CREATE PUBLICATION roots", "app")
    assert "publication roots: the target has another one of that name" in item(pair, "left-out")["objects"]
    pair.pgtide.follow("--accept", "left-out")
    expected = ["ALTER PUBLICATION parts ADD TABLE ONLY public.a (id, b) WHERE ((id > 5));", "ALTER PUBLICATION parts OWNER TO owner;", "ALTER PUBLICATION roots OWNER TO postgres;", "COMMENT ON PUBLICATION parts IS 'p';"]
    assert [line for line in publications(pair.target) if not line.startswith("CREATE")] == expected
    reasons = {statement: reason for reason, statement in left_out(pair)}
    assert reasons["ALTER PUBLICATION parts ADD TABLE ONLY public.b;"] == "the table is not selected" and "already exists" in reasons["CREATE PUBLICATION roots WITH (publish = 'insert', publish_via_partition_root = true);"]
    assert len(reasons) == 10, reasons
    pair.target.execute("DROP PUBLICATION roots; CREATE PUBLICATION roots FOR TABLE p WITH (publish = 'insert', publish_via_partition_root = true)", "app")
    for statement in ["CREATE PUBLICATION mine FOR TABLE a; ALTER PUBLICATION mine ADD TABLE \"s t\".\"d e\", p", "CREATE PUBLICATION not_mine FOR TABLE b; ALTER PUBLICATION not_mine SET (publish = 'insert')", "ALTER PUBLICATION parts ADD TABLE s.c",
                      "COMMENT ON PUBLICATION not_mine IS 'x'; COMMENT ON PUBLICATION mine IS 'x'", "ALTER PUBLICATION others ADD TABLE s.c; ALTER PUBLICATION others DROP TABLE b", "DROP PUBLICATION not_mine, \"All of it\"",
                      "ALTER PUBLICATION mine DROP TABLE p", "ALTER PUBLICATION parts SET (publish = 'insert, delete')", "DROP PUBLICATION roots"]:
        pair.on_source(statement)
    pair.pgtide.caught_up()
    found = objects(pair)
    assert all(entry["result"] == "equal" for entry in found.values()) and found["publication"]["source_count"] == 2 and found["publication table"]["source_count"] == 3, found
    pair.pgtide.finish()
    pair.assert_nothing_left()


@pytest.mark.parametrize("majors", [(15, 14)], ids=["14"])
def test_what_an_older_target_and_a_plain_user_cannot_have_is_left_out_and_told(world: World, majors: tuple[int, int]):
    pair = prepared(world, WITH, "--accept", "all")
    older = item(pair, "left-out")["objects"]
    assert older == ['schema "s t" of publication schemas: whole schemas cannot be published before PostgreSQL 15', "schema s of publication schemas: whole schemas cannot be published before PostgreSQL 15",
                     "table public.a of publication parts: its columns or rows cannot be chosen before PostgreSQL 15"]
    pair.target.execute("DROP DATABASE app")
    pair.target.execute("CREATE ROLE carrier LOGIN CREATEDB; GRANT owner TO carrier")
    pair.pgtide.target = pair.target.dsn("app", user="carrier")
    told = item(pair, "left-out")
    assert 'publication "All of it": only a superuser may publish all tables' in told["objects"] and "schema s of publication schemas: only a superuser may publish whole schemas" in told["objects"]
    assert "4 publications or parts of them are left out" in told["reason"]
    run = pair.pgtide.sync()
    reasons = {statement.split(" WITH ")[0]: reason for reason, statement in left_out(pair) if "PUBLICATION" in statement}
    assert "must be superuser to create FOR ALL TABLES publication" in reasons['CREATE PUBLICATION "All of it" FOR ALL TABLES'] and reasons["COMMENT ON PUBLICATION \"All of it\" IS 'for \"everybody\"';"] == "its publication was left out"
    assert "syntax error" in reasons["ALTER PUBLICATION schemas ADD TABLES IN SCHEMA s;"] and "syntax error" in reasons["ALTER PUBLICATION parts ADD TABLE ONLY public.a (id, b) WHERE ((id > 5));"]
    assert reasons["ALTER PUBLICATION parts OWNER TO owner;"] == "the role may not own it" and "left out" in run.err
    made = {line.split(" WITH ")[0] for line in publications(pair.target)}
    assert made == {"CREATE PUBLICATION parts", "CREATE PUBLICATION schemas", "CREATE PUBLICATION roots", "CREATE PUBLICATION empty", "CREATE PUBLICATION our_pgtide", "ALTER PUBLICATION parts ADD TABLE ONLY public.b;",
                    "ALTER PUBLICATION roots ADD TABLE ONLY public.p;", "COMMENT ON PUBLICATION empty IS 'nothing';", *(f"ALTER PUBLICATION {name} OWNER TO carrier;" for name in ("parts", "schemas", "roots", "empty", "our_pgtide"))}
    assert pair.pgtide.call("status").status == OK
    pair.assert_nothing_left()
