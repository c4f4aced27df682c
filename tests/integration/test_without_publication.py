"""A source user that can make no publication (neither superuser nor owner): changes come through test_decoding.

    source (role reader: REPLICATION, SELECT) ── pgtide ──▶ target
"""

from __future__ import annotations

from typing import Iterator

import pytest

from harness.world import Pair, World

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE TYPE "Odd ]: type" AS (a integer, b text);
CREATE SCHEMA "my schema";
CREATE TABLE "my schema"."Table.of ""quoted"" t" (
    "the key" integer PRIMARY KEY, "new-tuple" text, "x:y[z]" integer[], flags bit varying, is_on boolean,
    n numeric, f double precision, at timestamptz, b bytea, m mood, o "Odd ]: type", os "Odd ]: type"[], j jsonb, big text,
    twice integer GENERATED ALWAYS AS ("the key" * 2) STORED);
CREATE TABLE whole (a integer, b text);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE by_index (a integer, b integer NOT NULL, c text);
CREATE UNIQUE INDEX by_index_b ON by_index (b);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;
CREATE TABLE parted (id integer, k integer, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
"""

ROWS = """
INSERT INTO "my schema"."Table.of ""quoted"" t"
SELECT n, CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN 'null' WHEN 2 THEN 'it''s \\ "q" new-tuple: a[b]:c' ELSE '' END,
       ARRAY[n, NULL], CASE WHEN n % 2 = 0 THEN B'1011' END, n % 3 = 0,
       CASE n % 5 WHEN 0 THEN 'NaN' ELSE n * 1.50 END, CASE n % 5 WHEN 0 THEN '-Infinity' ELSE n / 3.0::double precision END,
       '2020-01-01 00:00:00.123456+02'::timestamptz + n * interval '1 hour', decode(repeat('00ff27', n % 5), 'hex'),
       CASE WHEN n % 2 = 0 THEN 'sad' ELSE 'it''s "ok"' END::mood, (n, 'x''"(),' || n)::"Odd ]: type",
       ARRAY[(n, NULL)::"Odd ]: type"],
       jsonb_build_object('k', n, 'q', 'it''s'), repeat(md5(n::text), 400)
  FROM generate_series({0}, {1}) n;
INSERT INTO whole SELECT n % 7, nullif('b' || n % 3, 'b0') FROM generate_series({0}, {1}) n;
INSERT INTO by_index SELECT n, n, 'c' FROM generate_series({0}, {1}) n;
INSERT INTO parted SELECT n, n % 20 FROM generate_series({0}, {1}) n;
"""

CHANGES = [
    'UPDATE "my schema"."Table.of ""quoted"" t" SET n = n + 1, m = \'sad\' WHERE "the key" % 2 = 0',
    'UPDATE "my schema"."Table.of ""quoted"" t" SET "the key" = "the key" + 100000 WHERE "the key" % 10 = 3',
    'DELETE FROM "my schema"."Table.of ""quoted"" t" WHERE "the key" % 10 = 4',
    "UPDATE whole SET b = 'once' WHERE ctid IN (SELECT ctid FROM whole LIMIT 3)",
    "DELETE FROM whole WHERE ctid IN (SELECT ctid FROM whole LIMIT 5)",
    "UPDATE by_index SET b = b + 100000, c = NULL WHERE a % 3 = 0",
    "DELETE FROM by_index WHERE a % 5 = 0",
    "UPDATE parted SET k = (k + 10) % 20 WHERE id % 2 = 0",
    "BEGIN; INSERT INTO whole VALUES (1, 'kept'); SAVEPOINT s; INSERT INTO whole VALUES (1, 'gone'); ROLLBACK TO s; COMMIT",
    "BEGIN; INSERT INTO whole VALUES (2, 'gone too'); ROLLBACK",
]


def changes(pair: Pair) -> None:
    for change in CHANGES:
        pair.on_source(change)


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    pair = world.pair(source_settings={"max_prepared_transactions": 10})
    pair.on_source(TYPES)
    pair.on_source(ROWS.format(1, 50))
    pair.source.execute("CREATE ROLE reader LOGIN REPLICATION", "postgres")
    pair.on_source("GRANT pg_read_all_data TO reader")
    pair.pgtide.source = pair.source.dsn(pair.database, user="reader")
    pair.pgtide.options = ("--accept", "all")
    yield pair


def slot_plugin(pair: Pair) -> str:
    return str(pair.source_value("SELECT string_agg(plugin, ',') FROM pg_replication_slots"))


def test_every_type_and_kind_of_change_arrives_without_a_publication(pair: Pair):
    pair.pgtide.follow()
    assert slot_plugin(pair) == "test_decoding"
    assert pair.source_value("SELECT count(*) FROM pg_publication") == 0
    pair.on_source(ROWS.format(1001, 1100))
    changes(pair)
    pair.on_source("BEGIN; INSERT INTO whole VALUES (9, 'prepared'); PREPARE TRANSACTION 'p'")
    pair.on_source("COMMIT PREPARED 'p'")
    pair.on_source("TRUNCATE parted")
    pair.on_source("INSERT INTO parted VALUES (1, 1), (2, 12)")
    pair.finish()


def test_what_is_committed_during_the_copy_and_after_a_kill_is_there_once(pair: Pair):    # G2, P1
    pair.pgtide.start(faults="full.after_structure=wait@1:2000")
    pair.on_source(ROWS.format(2001, 2100))
    changes(pair)
    pair.pgtide.wait_phase("incremental", 60)
    pair.pgtide.run.kill()
    pair.on_source(ROWS.format(3001, 3100))
    changes(pair)
    pair.pgtide.follow()
    assert slot_plugin(pair) == "test_decoding"
    pair.on_source(ROWS.format(4001, 4100))
    pair.finish()


def test_a_transaction_larger_than_memory_waits_on_disk(pair: Pair):
    pair.pgtide.follow()
    pair.on_source(ROWS.format(10001, 14000))
    pair.finish()
    assert pair.pgtide.run.peak_memory_mb < 256


def test_a_column_added_on_both_sides_is_followed(pair: Pair):
    pair.pgtide.follow()
    pair.on_source("INSERT INTO by_index VALUES (-1, -1, 'before')")
    pair.pgtide.caught_up()
    for cluster in (pair.target, pair.source):
        cluster.execute("ALTER TABLE by_index ADD COLUMN d integer", pair.database)
    pair.on_source("INSERT INTO by_index VALUES (-2, -2, 'after', 7)")
    pair.on_source("DELETE FROM by_index WHERE b = -1")
    pair.finish()
