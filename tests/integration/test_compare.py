"""`pgtide compare`: equal is equal, one thing that differs is found and nothing else, also while both sides are in full use.

    source ── pgtide sync ──▶ target
        └── pgtide compare ────┘

The verdict of each test on what it did is its own: it corrupts one thing and knows which.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from harness.pgtide import FAILED, OK, USAGE
from harness.wait import let_pass, wait_until
from harness.world import Pair, World

DIFFERENT, NOT_COMPARED = 4, 5


def compare(pair: Pair, *options: str, status: int = OK) -> dict[str, Any]:
    done = pair.pgtide.call("compare", "--json", *options, deadline_s=120)
    assert done.status == status, f"expected {status}: {done}\n{pair.pgtide.last_words()}"
    document: dict[str, Any] = json.loads(done.out)
    return document


def found(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(table or kind of object, which side, identity) of every difference."""
    return [(entry["name"], difference["difference"], difference["identity"]) for entry in document["entries"] for difference in entry["differences"]]


def different_entries(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["kind"], entry["name"]) for entry in document["entries"] if entry["result"] != "equal"]


def on_target(pair: Pair, sql: str) -> None:
    pair.target.execute(sql, pair.database)


def on_both(pair: Pair, sql: str) -> None:
    pair.on_source(sql)
    on_target(pair, sql)


@pytest.fixture
def pair(world: World) -> Pair:
    return world.pair()


# While a sync runs (C1)

def test_under_full_load_every_comparison_is_equal_and_a_changed_row_is_found_and_repaired(world: World, pair: Pair, is_full: bool, rng: random.Random):
    bench = world.pgbench(pair.source, pair.database).initialize(scale=2).start(clients=4)
    pair.pgtide.follow()
    tries, pauses = [], []
    for _ in range(50 if is_full else 8):
        document = compare(pair, "--kind", "values")
        assert document["aligned"] and document["position"], document
        tries.append(document["tries"])
        pauses.append(document["pause_ms"])
    print(f"tries {tries}, pauses {pauses} ms")

    aid = rng.randrange(1, 200_001)
    on_target(pair, f"UPDATE pgbench_accounts SET filler = 'behind our back' WHERE aid = {aid}")
    document = compare(pair, "--kind", "values", status=DIFFERENT)
    assert found(document) == [("public.pgbench_accounts", "different", f'"aid" = \'{aid}\'')]
    columns = document["entries"][0]["differences"][0]["columns"]
    assert [column["name"] for column in columns] == ["filler"] and columns[0]["target"].startswith("behind our back")

    repaired = compare(pair, "--kind", "values", "--repair")
    assert repaired["repair"]["rows"] == 1 and repaired["repair"]["pause_ms"] > 0
    bench.stop()
    pair.finish()


def test_a_writer_that_stays_open_keeps_nobody_waiting(pair: Pair):
    pair.on_source("CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 100) n")
    pair.pgtide.follow()
    with pair.source.connect(pair.database) as writer:
        writer.autocommit = False
        writer.execute("UPDATE t SET b = 1 WHERE a <= 50")
        pair.on_source("UPDATE t SET b = 2 WHERE a > 50")
        document = compare(pair, "--kind", "values")
        assert document["entries"][0]["source_count"] == 100
        writer.commit()
    compare(pair, "--kind", "values")
    pair.finish()


def test_a_sync_killed_while_both_sides_stand_loses_and_doubles_nothing(world: World, pair: Pair):
    bench = world.pgbench(pair.source, pair.database).initialize().start(clients=2)
    pair.pgtide.follow(faults="align.standing=crash@1")
    done = pair.pgtide.call("compare", "--kind", "values", deadline_s=60)
    assert done.status == FAILED, done
    bench.stop()
    wait_until(lambda: not pair.pgtide.run.is_running, 10, "the sync has crashed")
    pair.pgtide.sync()
    pair.assert_equal()


def test_a_comparison_that_dies_lets_the_sync_go_on(world: World, pair: Pair):
    pair.fill_shop()
    pair.pgtide.follow()
    argv = [str(pair.pgtide.binary), "compare", pair.pgtide.source, pair.pgtide.target, "--state-dir", str(pair.pgtide.state_dir)]
    dead = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    let_pass(0.1)
    dead.kill()
    dead.wait(10)
    compare(pair, "--kind", "values")
    pair.finish()


def test_objects_and_values_are_equal_after_a_sync(pair: Pair):
    pair.fill_shop(scale=2).fill_mixed()
    pair.pgtide.sync()
    document = compare(pair, "--kind", "object,rows,values,accounts")
    assert not different_entries(document)
    assert {entry["kind"] for entry in document["entries"]} == {"object", "rows", "values", "accounts"}
    assert len({entry["name"] for entry in document["entries"] if entry["kind"] == "object"}) > 10


# One thing that differs

TABLES = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER away FOREIGN DATA WRAPPER nothing OPTIONS (z 'later', a 'sooner');
CREATE FOREIGN TABLE far (a int) SERVER away OPTIONS (b 'x', a 'y');
CREATE TABLE plain (id bigint PRIMARY KEY, i int, t text, n numeric, f float8, b boolean, m mood, j jsonb, d timestamptz, y bytea, a int[], u uuid, v interval);
INSERT INTO plain SELECT n, n, 'text ' || n, n / 7.0, n / 7.0, n % 2 = 0, 'glad', '{"a": 1}', '2020-01-01 UTC'::timestamptz + n * interval '1 s', decode(md5(n::text), 'hex'),
    ARRAY[n, NULL], md5(n::text)::uuid, n * interval '1 min' FROM generate_series(-300, 700) n;
CREATE TABLE composite (a text, b date, c numeric, v text, PRIMARY KEY (a, b, c));
INSERT INTO composite SELECT 'ä' || n % 7, date '2020-01-01' + n, n / 10.0, 'v' || n FROM generate_series(1, 500) n;
CREATE TABLE uniquely (k text NOT NULL UNIQUE, v text); INSERT INTO uniquely SELECT 'k' || n, NULLIF('v' || n, 'v7') FROM generate_series(1, 500) n;
CREATE TABLE keyless (a int, b text); INSERT INTO keyless SELECT n % 20, 'x' FROM generate_series(1, 500) n; INSERT INTO keyless VALUES (NULL, NULL), (NULL, '');
CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (5); CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT n, n % 10, 'v' || n FROM generate_series(1, 500) n;
CREATE TABLE computed (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS IDENTITY);
INSERT INTO computed (id, a) SELECT n, n FROM generate_series(1, 100) n;
CREATE TABLE "Od""d.name" ("My Id" int PRIMARY KEY, "a,b" text); INSERT INTO "Od""d.name" VALUES (1, E'quo''te \\\\ "and" (comma,)\\nline');
CREATE TABLE empty (id int PRIMARY KEY); CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES;
CREATE SEQUENCE counted; SELECT setval('counted', 42);
CREATE VIEW seen AS SELECT id, t FROM plain WHERE id > 3;
CREATE FUNCTION doubled(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2';
CREATE INDEX plain_t ON plain (t); COMMENT ON TABLE plain IS 'a plain table'; COMMENT ON COLUMN plain.t IS 'a text';
GRANT SELECT ON plain TO PUBLIC; ALTER TABLE plain ADD CONSTRAINT positive CHECK (n > -1000);
CREATE RULE quiet AS ON INSERT TO seen DO INSTEAD NOTHING; CREATE STATISTICS together ON i, t FROM plain;
ALTER TABLE composite ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON composite USING (v <> 'secret');
CREATE TRIGGER same BEFORE UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT lo_from_bytea(4711, 'large');
"""

# SQL that changes one thing on the target; what must be found, exactly
ROWS = {
    "an integer": ("UPDATE plain SET i = i + 1 WHERE id = {id}", ("public.plain", "different", '"id" = \'{id}\'')),
    "a float's last bit": ("UPDATE plain SET f = f * (1 + 2.3e-16) WHERE id = 654", ("public.plain", "different", '"id" = \'654\'')),
    "a null for an empty text": ("UPDATE plain SET t = NULL WHERE id = {id}", ("public.plain", "different", '"id" = \'{id}\'')),
    "a numeric's scale": ("UPDATE plain SET n = n + 0.0000000000000000000000 WHERE id = 3", ("public.plain", "different", '"id" = \'3\'')),
    "a bit of a bytea": ("UPDATE plain SET y = set_bit(y, 5, 1 - get_bit(y, 5)) WHERE id = {id}", ("public.plain", "different", '"id" = \'{id}\'')),
    "a missing row": ("DELETE FROM plain WHERE id = {id}", ("public.plain", "only on source", '"id" = \'{id}\'')),
    "an additional row": ("INSERT INTO plain (id) VALUES (9999)", ("public.plain", "only on target", '"id" = \'9999\'')),
    "a value by a composite key": ("UPDATE composite SET v = 'other' WHERE c = 12.3", ("public.composite", "different", '"a" = \'ä4\' AND "b" = \'2020-05-03\' AND "c" = \'12.3000000000000000\'')),
    "a value by a unique key": ("UPDATE uniquely SET v = '' WHERE k = 'k7'", ("public.uniquely", "different", '"k" = \'k7\'')),
    "one of several equal rows": ("DELETE FROM keyless WHERE ctid = (SELECT ctid FROM keyless WHERE a = 3 LIMIT 1)", ("public.keyless", "only on source", "(3,x)")),
    "a duplicate": ("INSERT INTO keyless VALUES (NULL, '')", ("public.keyless", "only on target", '(,"")')),
    "a row of a partition": ("UPDATE parted SET v = 'other' WHERE id = 17", ("public.parted", "different", '"id" = \'17\' AND "k" = \'7\'')),
    "an odd name": ("""UPDATE "Od""d.name" SET "a,b" = 'other'""", ('public.Od"d.name', "different", '"My Id" = \'1\'')),
    "a row of no columns": ("INSERT INTO no_columns DEFAULT VALUES", ("public.no_columns", "only on target", "()")),
    "a large object": ("SELECT lo_put(4711, 0, 'L')", ("large object", "different", "4711")),
}
OBJECTS = {
    "a sequence's value": ("SELECT nextval('counted')", ("sequence value", "different", '"public"."counted"')),
    "a sequence's step": ("ALTER SEQUENCE counted INCREMENT 5", ("sequence", "different", "public.counted")),
    "an index": ("DROP INDEX plain_t", ("index", "only on source", "public.plain_t")),
    "an index's definition": ("DROP INDEX plain_t; CREATE INDEX plain_t ON plain (t DESC)", ("index", "different", "public.plain_t")),
    "a grant": ("GRANT UPDATE ON plain TO PUBLIC", ("grant", "different", "table public.plain")),
    "a comment": ("COMMENT ON COLUMN plain.t IS 'another text'", ("comment", "different", "table column public.plain.t")),
    "a constraint": ("ALTER TABLE plain DROP CONSTRAINT positive", ("constraint", "only on source", "public.plain positive")),
    "a default": ("ALTER TABLE plain ALTER i SET DEFAULT 5", ("column", "different", "public.plain.i")),
    "a not null": ("ALTER TABLE plain ALTER i SET NOT NULL", ("column", "different", "public.plain.i")),
    "a view": ("CREATE OR REPLACE VIEW seen AS SELECT id, t FROM plain WHERE id > 4", ("view", "different", "public.seen")),
    "a function": ("CREATE OR REPLACE FUNCTION doubled(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 3'", ("function", "different", "public.doubled(integer)")),
    "a trigger that is off": ("ALTER TABLE plain DISABLE TRIGGER same", ("trigger", "different", "public.plain same")),
    "a rule": ("DROP RULE quiet ON seen", ("rule", "only on source", "public.seen quiet")),
    "a policy": ("ALTER POLICY nobody ON composite USING (v <> 'Secret')", ("policy", "different", "public.composite nobody")),
    "row security": ("ALTER TABLE composite FORCE ROW LEVEL SECURITY", ("table", "different", "public.composite")),
    "statistics": ("DROP STATISTICS together", ("statistics", "only on source", "public.together")),
    "a label of an enum": ("ALTER TYPE mood RENAME VALUE 'sad' TO 'bad'", ("type", "different", "public.mood")),
    "an option of a foreign table": ("ALTER FOREIGN TABLE far OPTIONS (SET b 'y')", ("foreign table", "different", "public.far")),
    "an option of a foreign column": ("ALTER FOREIGN TABLE far ALTER a OPTIONS (ADD name 'x')", ("column", "different", "public.far.a")),
    "an option of a foreign server": ("ALTER SERVER away OPTIONS (DROP z)", ("foreign server", "different", "away")),
    "an option of a column": ("ALTER TABLE plain ALTER t SET (n_distinct = 5)", ("column", "different", "public.plain.t")),
    "a setting of a table": ("ALTER TABLE plain SET (fillfactor = 70)", ("table", "different", "public.plain")),
}


def test_each_single_corruption_is_found_and_nothing_else(pair: Pair, rng: random.Random):
    on_both(pair, TABLES)
    assert found(compare(pair)) == []
    corruptions = list((ROWS | OBJECTS).items())
    rng.shuffle(corruptions)
    pristine = "pristine"
    pair.target.execute(f"CREATE DATABASE {pristine} TEMPLATE {pair.database}")
    for name, (sql, expected) in corruptions:
        row = rng.randrange(-300, 600)
        on_target(pair, sql.format(id=row))
        document = compare(pair, status=DIFFERENT)
        wanted = (expected[0], expected[1], expected[2].format(id=row))
        assert found(document) == [wanted], f"{name}: found {found(document)} instead of {wanted}"
        pair.target.execute(f"DROP DATABASE {pair.database}")
        pair.target.execute(f"CREATE DATABASE {pair.database} TEMPLATE {pristine}")


def test_options_are_in_no_order(pair: Pair):
    """A dump writes them sorted, whatever their order was."""
    for cluster, options in ((pair.source, "z 'later', a 'sooner'"), (pair.target, "a 'sooner', z 'later'")):
        cluster.execute(f"CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER away FOREIGN DATA WRAPPER nothing OPTIONS ({options});"
                        f"CREATE FOREIGN TABLE far (a int OPTIONS ({options})) SERVER away OPTIONS ({options})", pair.database)
    assert found(compare(pair)) == []


# SQL that changes what belongs to one large object on the target
LARGE_OBJECTS = ("ALTER LARGE OBJECT {oid} OWNER TO one", "GRANT SELECT ON LARGE OBJECT {oid} TO one", "REVOKE SELECT ON LARGE OBJECT {oid} FROM two",
                 "GRANT SELECT ON LARGE OBJECT {oid} TO two WITH GRANT OPTION", "REVOKE UPDATE ON LARGE OBJECT {oid} FROM CURRENT_USER",
                 "SET ROLE two; GRANT UPDATE ON LARGE OBJECT {oid} TO one; RESET ROLE", "COMMENT ON LARGE OBJECT {oid} IS 'other'", "COMMENT ON LARGE OBJECT {oid} IS NULL",
                 "COMMENT ON LARGE OBJECT {oid} IS 'new'", "SELECT lo_unlink({oid})", "SELECT lo_put({oid}, 1, 'X')")
EVERY = {"REVOKE SELECT": 2, "GRANT SELECT ON LARGE OBJECT {oid} TO two": 2, "SET ROLE": 3, "IS 'other'": 5, "IS NULL": 5}    # only those with oids divisible by it have what is changed


def test_of_many_large_objects_the_one_that_differs_is_found(pair: Pair, rng: random.Random):
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE one; CREATE ROLE two")
        cluster.execute("""DO $$ BEGIN FOR o IN 20001..31000 LOOP PERFORM lo_from_bytea(o, 'large'); END LOOP;
            FOR o IN 20001..31000 LOOP
                IF o % 2 = 0 THEN EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO two', o); END IF;
                IF o % 3 = 0 THEN EXECUTE format('GRANT UPDATE ON LARGE OBJECT %s TO two WITH GRANT OPTION', o); END IF;
                IF o % 5 = 0 THEN EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', o, 'comment ' || o); END IF;
            END LOOP; END $$""", pair.database)
    # What an owner may do anyway is the same whether it is written down or not
    on_target(pair, "GRANT SELECT ON LARGE OBJECT 20003 TO one; REVOKE SELECT ON LARGE OBJECT 20003 FROM one")
    assert pair.target_value("SELECT lomacl IS NOT NULL FROM pg_largeobject_metadata WHERE oid = 20003")
    assert found(compare(pair)) == []
    changed = {}
    for statement in LARGE_OBJECTS:
        step = next((step for words, step in EVERY.items() if words in statement), 1)
        oid = rng.choice([oid for oid in range(20002, 31001) if oid % step == 0 and oid not in changed and (step == 5 or oid % 5 != 0 or "comment" not in statement.lower())])
        on_target(pair, statement.format(oid=oid))
        changed[oid] = statement
    lonely = rng.randrange(31001, 40000)
    on_target(pair, f"SELECT lo_create({lonely})")
    document = compare(pair, status=DIFFERENT)
    of_kind = {kind: {difference["identity"]: difference for entry in document["entries"] if entry["kind"] == kind for difference in entry["differences"]} for kind in ("object", "values")}
    gone, contents = (next(oid for oid, statement in changed.items() if words in statement) for words in ("lo_unlink", "lo_put"))
    assert set(of_kind["object"]) == {str(oid) for oid in changed if oid != contents} | {str(lonely)}
    assert set(of_kind["values"]) == {str(gone), str(contents), str(lonely)}
    assert all(difference["what"] == "large object" for difference in of_kind["object"].values())
    owned = str(next(oid for oid, statement in changed.items() if "OWNER" in statement))
    (definition,) = of_kind["object"][owned]["columns"]
    assert definition["name"] == "definition" and definition["source"].startswith("owner postgres,") and definition["target"].startswith("owner one,")


def test_all_corruptions_of_rows_are_repaired_at_once(pair: Pair, rng: random.Random):
    on_both(pair, TABLES)
    for index, (sql, _) in enumerate(sql for name, sql in ROWS.items() if name != "a large object"):
        on_target(pair, sql.format(id=index * 10))
    on_target(pair, "UPDATE computed SET a = 5 WHERE id = 7; UPDATE plain SET id = id + 10000 WHERE id BETWEEN 100 AND 200")
    document = compare(pair, "--repair", "--kind", "values")
    assert document["result"] == "equal" and document["repair"]["rows"] > 100
    pair.assert_equal()


# Values that a careless hash takes for the same: NULL and what stands for it, numbers that fold to one, what moved between rows.
HASHED = {"i2": ("smallint", ["NULL", "0", "-1", "32767"]), "i4": ("integer", ["NULL", "0", "-1", "2147483647"]),
          "i8": ("bigint", ["NULL", "0", "4294967297", "-1", "9223372036854775807", "-9223372036854775808"]), "b": ("boolean", ["NULL", "false", "true"]),
          "t": ("text", ["NULL", "''", "' '", "'a'", "'A'", "'NULL'"]), "v": ("varchar(9)", ["NULL", "''", "'a '", "'a'"]), "c": ("char(5)", ["NULL", "''", "'a'", "'b'"]),
          "d": ("date", ["NULL", "'epoch'", "'infinity'", "'-infinity'", "'5874897-12-31'", "'2000-01-01'"]),
          "ts": ("timestamp", ["NULL", "'epoch'", "'infinity'", "'-infinity'", "'2026-01-01 00:00:00.000001'", "'294276-12-31 23:59:59.999999'", "'294276-12-31 23:59:59.999998'"]),
          "tz": ("timestamptz", ["NULL", "'epoch'", "'infinity'", "'2026-01-01 00:00:00.000001'", "'2026-01-01 01:11:34.967297'", "'2026-01-01 00:00:00'"]),
          "u": ("uuid", ["NULL", "'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"]),
          "n": ("numeric", ["NULL", "0", "0.0", "0.00"]), "f": ("float8", ["NULL", "0", "'-0'", "'NaN'"]), "iv": ("interval", ["NULL", "'1 mon'", "'30 days'", "'720:00'"]),
          "nr": ("numrange", ["NULL", "'empty'", "'[1,2)'", "'[1,2]'", "'(,2)'"]), "mr": ("int4multirange", ["NULL", "'{}'", "'{[1,2)}'", "'{[1,2),[4,5)}'"]),
          "js": ("json", ["NULL", "'{}'", "'{ }'", "'null'"]), "jb": ("jsonb", ["NULL", "'null'", "'1'", "'1.0'", "'\"1\"'", "'[1]'"]),
          "ia": ("integer[]", ["NULL", "'{}'", "'{NULL}'", "'{1}'", "'[0:0]={1}'", "'{{1}}'"]), "ta": ("text[]", ["'{NULL}'", "'{\"NULL\"}'", "'{\"\"}'", "'{a,b}'", "'{\"a,b\"}'"]),
          "co": ("pair", ["NULL", "ROW(NULL, NULL)", "ROW(NULL, '')", "ROW(1, '')", "ROW(1, NULL)"]), "ca": ("pair[]", ["'{}'", "'{NULL}'", "ARRAY[ROW(NULL, NULL)::pair]", "ARRAY[ROW(1, 'a')::pair]"]),
          "do": ("checked", ["NULL", "''", "'a'"]), "en": ("mood", ["NULL", "'a'", "'A'"]), "ci": ("text COLLATE blind", ["'a'", "'A'"]),
          "bi": ("bit varying", ["NULL", "B''", "B'0'", "B'00'", "B'1'"]), "by": ("bytea", ["NULL", "''", "'\\x00'", "'\\x0000'"]), "mo": ("money", ["NULL", "'0'", "'0.01'", "'-0.01'"]),
          "ip": ("inet", ["NULL", "'10.0.0.1'", "'10.0.0.1/24'", "'::ffff:10.0.0.1'"]), "f4": ("real", ["NULL", "0", "'-0'", "'NaN'", "'1e-45'"]), "pt": ("point", ["NULL", "'(0,0)'", "'(-0,0)'", "'(0,NaN)'"]),
          "tt": ("timetz", ["'00:00+00'", "'01:00+01'", "'24:00+00'"]), "tv": ("tsvector", ["NULL", "''", "'a'", "'a:1'", "'a:1A'"]), "xm": ("xml", ["NULL", "'<a/>'", "'<a></a>'"]),
          "oi": ("oid", ["NULL", "0", "4294967295"]), "ch": ('"char"', ["NULL", "''", "'a'"]), "bp": ("bpchar", ["NULL", "''", "'a'"]), "nu": ("numeric", ["'NaN'", "'Infinity'", "1e100", "1e-100", "-1e-100"])}
TYPES = """CREATE TYPE pair AS (a integer, b text); CREATE DOMAIN checked AS text CHECK (VALUE <> 'z'); CREATE TYPE mood AS ENUM ('a', 'A');
    CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"""


def test_nothing_that_differs_hashes_alike(pair: Pair):
    """One table a pair of values, all at once: in each of them the target has the second value, or two rows changed places."""
    sql, expected = [], []
    on_both(pair, TYPES)
    for column, (type_name, values) in HASHED.items():
        for n, (left, right) in enumerate((left, right) for i, left in enumerate(values) for right in values[i + 1:]):
            sql.append((f"CREATE TABLE {column}_{n} (id integer PRIMARY KEY, filler text, x {type_name}); INSERT INTO {column}_{n} VALUES (1, NULL, {{}}), (2, NULL, {{}})", left, right))
            expected.append(f"public.{column}_{n}")
    pair.on_source(";".join(text.format(left, right) for text, left, right in sql))
    on_target(pair, ";".join(text.format(right, left) for text, left, right in sql))
    many = ", ".join(f"c{n} integer" for n in range(150))
    on_both(pair, f"CREATE TABLE wide (id integer PRIMARY KEY, {many}); INSERT INTO wide (id) VALUES (1), (2)")
    document = compare(pair, "--kind", "values", status=DIFFERENT)
    assert sorted(name for _, name in different_entries(document)) == sorted(expected)
    assert all(entry["different"] == 2 for entry in document["entries"] if entry["result"] != "equal")
    for n in (0, 30, 31, 99, 100, 149):
        on_target(pair, f"UPDATE wide SET c{n} = 0 WHERE id = 2")
        assert ("public.wide", "different", "\"id\" = '2'") in found(compare(pair, "--kind", "values", status=DIFFERENT))
        on_target(pair, f"UPDATE wide SET c{n} = NULL WHERE id = 2")


KEYS = """
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE blind_key (k text COLLATE blind PRIMARY KEY, v int); CREATE TABLE real_key (k float8 PRIMARY KEY, v int); CREATE TABLE late_key (k int PRIMARY KEY DEFERRABLE, v int);
CREATE TABLE above (k int PRIMARY KEY, v int); CREATE TABLE below (PRIMARY KEY (k)) INHERITS (above); CREATE TABLE padded (k char(5) PRIMARY KEY, v int);
CREATE TABLE half (k int UNIQUE, v int); CREATE TABLE part (k int, v int); CREATE UNIQUE INDEX ON part (k) WHERE k > 3;
INSERT INTO blind_key SELECT 'k' || n, n FROM generate_series(1, 9) n; INSERT INTO real_key SELECT n, n FROM generate_series(0, 9) n; INSERT INTO late_key SELECT n, n FROM generate_series(1, 9) n;
INSERT INTO above SELECT n, n FROM generate_series(1, 9) n; INSERT INTO padded SELECT n, n FROM generate_series(1, 9) n;
INSERT INTO half SELECT NULLIF(n, 5), n FROM generate_series(1, 9) n; INSERT INTO half VALUES (NULL, 6); INSERT INTO part SELECT n % 4, n FROM generate_series(1, 9) n
"""
UNPROVEN = """CREATE TABLE unproven (k int, v int); CREATE UNIQUE INDEX ON unproven (k); INSERT INTO unproven VALUES (NULL, 1), (NULL, 2), (NULL, 3), (1, 1), (2, 2);
    ALTER TABLE unproven ADD CONSTRAINT given NOT NULL k NOT VALID"""


@pytest.mark.parametrize("majors", [(15, 15), (18, 18)], ids=lambda majors: majors[0])
def test_keys_of_all_kinds_hide_nothing(pair: Pair, majors: tuple[int, int]):
    on_both(pair, KEYS)
    if majors[0] >= 18:    # not null, it says, and is not
        pair.on_source(UNPROVEN)
        on_target(pair, UNPROVEN.replace("(NULL, 3)", "(NULL, 4)"))
    assert [name for _, name in different_entries(compare(pair, "--kind", "values", status=DIFFERENT if majors[0] >= 18 else OK))] == ["public.unproven"] * (majors[0] >= 18)
    on_target(pair, """UPDATE blind_key SET k = 'K5' WHERE k = 'k5'; UPDATE real_key SET k = '-0' WHERE k = 0; UPDATE late_key SET v = 0 WHERE k = 5; UPDATE padded SET v = 0 WHERE k = '5';
        WITH moved AS (DELETE FROM ONLY above WHERE k = 5 RETURNING *) INSERT INTO below SELECT * FROM moved; UPDATE half SET v = 7 WHERE v = 6 AND k IS NULL; UPDATE part SET v = 0 WHERE v = 5""")
    expected = {"blind_key", "real_key", "late_key", "padded", "above", "below", "half", "part"} | ({"unproven"} if majors[0] >= 18 else set())
    assert {name for _, name in different_entries(compare(pair, "--kind", "values", status=DIFFERENT))} == {f"public.{name}" for name in expected}
    if majors[0] < 18:
        compare(pair, "--kind", "values", "--repair")


def test_the_selects_show_the_row_and_the_repair_script_repairs(pair: Pair, tmp_path: Path):
    on_both(pair, TABLES)
    on_target(pair, "UPDATE composite SET v = 'it''s \\ other' WHERE c = 12.3; DELETE FROM plain WHERE id = 4; INSERT INTO keyless VALUES (77, 'y')")
    document = compare(pair, "--report", str(tmp_path / "repair.sql"), status=DIFFERENT)
    for entry in document["entries"]:
        for difference in entry["differences"]:
            rows = [len(cluster.query(difference[select], pair.database)) for cluster, select in ((pair.source, "select_source"), (pair.target, "select_target"))]
            assert rows == {"different": [1, 1], "only on source": [1, 0], "only on target": [0, 1]}[difference["difference"]]
    on_target(pair, (tmp_path / "repair.sql").read_text())
    compare(pair)


# Shapes

def test_shapes_may_differ_where_values_do_not(pair: Pair):
    pair.on_source("""CREATE TABLE p (id int PRIMARY KEY, a text, b int) PARTITION BY HASH (id); CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p SELECT n, 'a' || n, n FROM generate_series(1, 1000) n;
        CREATE TABLE g (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a + 1) STORED); INSERT INTO g SELECT n, n FROM generate_series(1, 100) n;
        CREATE TABLE w (id int PRIMARY KEY, v int); INSERT INTO w SELECT n, n FROM generate_series(1, 100) n""")
    on_target(pair, """CREATE TABLE p (b int, gone int, id int PRIMARY KEY, a text); ALTER TABLE p DROP COLUMN gone; INSERT INTO p SELECT n, n, 'a' || n FROM generate_series(1, 1000) n;
        CREATE TABLE g (b int, a int, id int PRIMARY KEY); INSERT INTO g SELECT n + 1, n, n FROM generate_series(1, 100) n;
        CREATE TABLE w (id bigint, v bigint); INSERT INTO w SELECT n, n FROM generate_series(1, 100) n""")
    assert found(compare(pair, "--kind", "values")) == []
    on_target(pair, "UPDATE p SET a = 'other' WHERE id = 500; INSERT INTO w VALUES (7, 7)")
    document = compare(pair, "--kind", "values", status=DIFFERENT)
    assert sorted(found(document)) == [("public.p", "different", '"id" = \'500\''), ("public.w", "only on target", '"id" = \'7\'')]
    compare(pair, "--kind", "values", "--repair")


def test_a_missing_column_or_table_is_a_difference(pair: Pair):
    pair.on_source("CREATE TABLE t (a int PRIMARY KEY, b int); CREATE TABLE u (a int)")
    on_target(pair, "CREATE TABLE t (a int PRIMARY KEY)")
    document = compare(pair, "--kind", "rows,values", status=DIFFERENT)
    reasons = {(entry["kind"], entry["name"]): entry["reason"] for entry in document["entries"] if entry["result"] == "different"}
    assert reasons == {("rows", "public.u"): "the table is missing on the target", ("values", "public.u"): "the table is missing on the target",
                       ("values", "public.t"): 'column "b" is missing on the target'}


def test_what_cannot_be_read_is_not_compared_and_the_rest_is(world: World):
    pair = world.pair()
    on_both(pair, "CREATE ROLE reader LOGIN; CREATE TABLE open (a int PRIMARY KEY); CREATE TABLE closed (a int PRIMARY KEY); GRANT SELECT ON open TO reader")
    options = [f"{dsn} user=reader" if "://" not in dsn else dsn.replace("postgres@", "reader@", 1) for dsn in (pair.pgtide.source, pair.pgtide.target)]
    done = world.pgtide(*options).call("compare", "--kind", "values", "--json")
    assert done.status == NOT_COMPARED, done
    entries = {entry["name"]: entry for entry in json.loads(done.out)["entries"]}
    assert entries["public.open"]["result"] == "equal"
    assert entries["public.closed"]["result"] == "not compared" and "permission denied" in entries["public.closed"]["reason"]


def test_other_encodings_hash_the_same_text(world: World):
    source, target = world.cluster("source"), world.cluster("target")
    source.create_database("app", "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    target.create_database("app", "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    pair = Pair(source, target, world.pgtide(source.dsn("app"), target.dsn("app")), "app")
    on_both(pair, "CREATE TABLE t (k text PRIMARY KEY, v text); INSERT INTO t SELECT 'größe ' || n, 'é' FROM generate_series(1, 500) n")
    compare(pair, "--kind", "values")
    on_target(pair, "UPDATE t SET v = 'e' WHERE k = 'größe 17'")
    assert found(compare(pair, "--kind", "values", status=DIFFERENT)) == [("public.t", "different", '"k" = \'größe 17\'')]


# The command

def test_a_limit_of_speed_changes_no_answer(pair: Pair):
    on_both(pair, "CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n; ANALYZE t")
    on_target(pair, "UPDATE t SET b = 'x' WHERE a = 77")
    began = time.monotonic()
    assert found(compare(pair, "--kind", "values", "--max-rate", "16", "--jobs", "1", status=DIFFERENT)) == [("public.t", "different", "\"a\" = '77'")]
    assert time.monotonic() - began > 2, "40 MB at 16 MB a second"


def test_without_a_sync_it_says_whether_a_side_moved(world: World, pair: Pair):
    on_both(pair, "CREATE TABLE t (a int PRIMARY KEY)")
    quiet = compare(pair)
    assert (quiet["aligned"], quiet["source_moved"], quiet["target_moved"]) == (False, False, False)
    world.pgbench(pair.source, pair.database).initialize().start(clients=1)
    busy = compare(pair, "--kind", "accounts")
    assert (busy["source_moved"], busy["target_moved"]) == (True, False)


def test_roles_are_compared(pair: Pair):
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE app LOGIN CONNECTION LIMIT 5; CREATE ROLE readers; GRANT readers TO app; ALTER ROLE app SET work_mem = '8MB'")
    pair.target.execute("CREATE ROLE of_another_database")
    assert not different_entries(compare(pair, "--kind", "accounts"))
    pair.target.execute("ALTER ROLE app CONNECTION LIMIT 6; REVOKE readers FROM app; ALTER ROLE app SET work_mem = '9MB'")
    document = compare(pair, "--kind", "accounts", status=DIFFERENT)
    assert sorted(found(document)) == [("membership", "only on source", "app in readers"), ("role", "different", "app"), ("setting", "different", "app: work_mem")]


OPTIONS = ("ADMIN TRUE, INHERIT TRUE, SET TRUE", "ADMIN FALSE, INHERIT FALSE, SET TRUE", "ADMIN FALSE, INHERIT TRUE, SET FALSE", "ADMIN FALSE, INHERIT TRUE, SET TRUE")


@pytest.mark.parametrize("majors", [(16, 18)], ids=["16-18"])
def test_options_of_memberships_and_rights_on_parameters_are_compared(pair: Pair, majors: tuple[int, int]):
    """One role for each set of options; on the target each gets the one before: no two are the same."""
    for cluster in (pair.source, pair.target):
        cluster.execute("CREATE ROLE staff; CREATE ROLE app; GRANT SET ON PARAMETER log_statement TO app; GRANT ALTER SYSTEM ON PARAMETER work_mem TO app WITH GRANT OPTION")
        for n, options in enumerate(OPTIONS):
            cluster.execute(f"CREATE ROLE m{n}; GRANT staff TO m{n} WITH {options}")
    assert not different_entries(compare(pair, "--kind", "accounts"))
    for n, _ in enumerate(OPTIONS):
        pair.target.execute(f"REVOKE staff FROM m{n}; GRANT staff TO m{n} WITH {OPTIONS[n - 1]}")
        assert found(compare(pair, "--kind", "accounts", status=DIFFERENT)) == [("membership", "different", f"m{n} in staff")]
        pair.target.execute(f"REVOKE staff FROM m{n}; GRANT staff TO m{n} WITH {OPTIONS[n]}")
    pair.target.execute("REVOKE SET ON PARAMETER log_statement FROM app; GRANT SET ON PARAMETER work_mem TO app; GRANT SET ON PARAMETER track_io_timing TO PUBLIC")
    assert sorted(found(compare(pair, "--kind", "accounts", status=DIFFERENT))) == [
        ("parameter", "different", "app on work_mem"), ("parameter", "only on source", "app on log_statement"), ("parameter", "only on target", "public on track_io_timing")]


def test_reports_are_written(pair: Pair, tmp_path: Path):
    on_both(pair, "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT n, '<b>&' FROM generate_series(1, 1000) n")
    on_both(pair, "CREATE TABLE same (a int PRIMARY KEY)")
    pair.on_source("CREATE TABLE missing (a int PRIMARY KEY)")
    on_target(pair, "UPDATE t SET b = '<i>\"x\"'")
    for ending in ("html", "csv", "json"):
        compare(pair, "--kind", "values", "--report", str(tmp_path / f"r.{ending}"), status=DIFFERENT)
    page = (tmp_path / "r.html").read_text()
    assert "&lt;i&gt;&quot;x&quot;" in page and "<i>" not in page and "http" not in page
    assert f"127.0.0.1:{pair.source.port}/app" in page and f"127.0.0.1:{pair.target.port}/app" in page
    assert page.index("public.missing") < page.index("UPDATE ONLY") < page.index("equal: 1 ") < page.index("public.same")
    rows = list(csv.DictReader((tmp_path / "r.csv").open(newline="")))
    assert len(rows) == 1001 and rows[0]["target"] == '<i>"x"' and rows[0]["column"] == "b" and rows[0]["reason"] == ""
    assert (rows[-1]["what"], rows[-1]["difference"], rows[-1]["reason"]) == ("public.missing", "different", "the table is missing on the target")
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["source"] == f"127.0.0.1:{pair.source.port}/app"
    entry = next(entry for entry in document["entries"] if entry["name"] == "public.t")
    assert entry["different"] == 1000 and len(entry["differences"]) == 200
    assert pair.pgtide.call("compare", "--report", str(tmp_path / "r.txt")).status == USAGE
    assert pair.pgtide.call("compare", "--kind", "everything").status == USAGE


def test_an_interrupt_keeps_what_was_found(pair: Pair):
    """The large table comes first; the thread then waits before the next one."""
    on_both(pair, "CREATE TABLE large (a int PRIMARY KEY, pad text); INSERT INTO large SELECT n, repeat('x', 500) FROM generate_series(1, 1000) n; CREATE TABLE small (a int)")
    on_target(pair, "UPDATE large SET pad = '' WHERE a = 77")
    argv = [str(pair.pgtide.binary), "compare", pair.pgtide.source, pair.pgtide.target, "--kind", "values", "--jobs", "1", "--json", "--state-dir", str(pair.pgtide.state_dir)]
    run = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PGTIDE_FAULT": "compare.table=wait@2:6000"})
    let_pass(2.5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=20)
    assert run.returncode == DIFFERENT, (run.returncode, out, err)
    document = json.loads(out)
    assert document["interrupted"] and found(document) == [("public.large", "different", '"a" = \'77\'')]
    assert {entry["name"]: entry["result"] for entry in document["entries"]} == {"public.large": "different", "public.small": "not compared"}


def test_many_differences_take_no_memory(pair: Pair):
    on_both(pair, "CREATE TABLE t (a int PRIMARY KEY, b text)")
    pair.on_source("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 200000) n")
    argv = ["/usr/bin/python3", "-c", "import resource, subprocess, sys; p = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
            "print(p.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
            str(pair.pgtide.binary), "compare", pair.pgtide.source, pair.pgtide.target, "--kind", "values", "--json", "--state-dir", str(pair.pgtide.state_dir)]
    status, kib = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert int(status) == DIFFERENT and int(kib) < 60_000


def test_what_is_truncated_or_written_anew_meanwhile_is_not_compared(world: World):
    """A snapshot sees no row of such a table. Were the target behind, its rows would be differences: no false alarm, and no verdict."""
    pair = world.pair(options=("--accept", "all"))
    pair.on_source("CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT n, repeat('x', 300) FROM generate_series(1, 30000) n;"
                   "CREATE TABLE emptied (id int PRIMARY KEY); CREATE TABLE altered (id int PRIMARY KEY, v int); CREATE TABLE whole (id int) PARTITION BY RANGE (id);"
                   "CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (1000); INSERT INTO emptied SELECT generate_series(1, 9); INSERT INTO altered SELECT n, n FROM generate_series(1, 9) n;"
                   "INSERT INTO whole SELECT generate_series(1, 9)")
    run = pair.pgtide.follow()
    comparison = pair.pgtide.begin("compare", "--kind", "values", "--jobs", "1", "--max-rate", "5", "--json")
    wait_until(lambda: "both sides stand" in run.err, 30, "both sides are looked at")
    pair.pgtide.call("pause")
    for statement in ("TRUNCATE emptied", "ALTER TABLE altered ALTER v TYPE bigint", "TRUNCATE part"):
        pair.on_source(statement)
    comparison.expect(NOT_COMPARED)
    results = {entry["name"]: (entry["result"], entry["reason"]) for entry in json.loads(comparison.out)["entries"]}
    assert results.pop("public.big")[0] == "equal" and {result for result, _ in results.values()} == {"not compared"}, results
    assert all("after the moment of the comparison" in reason for _, reason in results.values()), results
    pair.pgtide.call("resume")
    pair.finish()


def test_many_tables_take_no_more_locks_than_one(world: World):
    """Applications need them."""
    pair = world.pair(source_settings={"max_locks_per_transaction": 10, "max_connections": 20}, target_settings={"max_locks_per_transaction": 10, "max_connections": 20})
    for cluster in (pair.source, pair.target):
        with cluster.connect(pair.database) as session:
            for batch in range(12):
                session.execute("; ".join(f"CREATE TABLE t{n} (id int PRIMARY KEY)" for n in range(batch * 100, batch * 100 + 100)))
    assert compare(pair, "--jobs", "2")["result"] == "equal"
