"""Breadth of apply: tables that are not alike on both sides, and values of every shape. One synchronization carries all scenarios.

    source ── pgtide ──▶ target, changed after the copy and before the first change that is applied

The scenarios of PostgreSQL's own subscription tests that make sense here are among them, rewritten (001_rep_changes, 002_types,
008_diff_schema, 009_matviews, 010_truncate, 011_generated, 012_collation, 013_partition, 020_messages, 030_origin, 032_subscribe_use_index,
100_bugs); CONTRIBUTING says where the others are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.pgtide import FAILED, OK
from harness.world import Pair, World


@dataclass(frozen=True)
class Shape:
    name: str
    source: str                                            # before the copy
    change: list[str]                                      # each a transaction
    target: str = ""                                       # on the target alone, after the copy
    same: list[str] = field(default_factory=list)          # questions that both sides answer alike
    there: list[tuple[str, Any]] = field(default_factory=list)    # what the target alone says


SHAPES = [
    # 008_diff_schema
    Shape("columns that only the target has keep their defaults and values",
          "CREATE TABLE x1 (a integer PRIMARY KEY, b text, c text); INSERT INTO x1 SELECT n, 'b', 'c' FROM generate_series(1, 6) n",
          ["INSERT INTO x1 VALUES (10, 'new', NULL)", "UPDATE x1 SET b = 'B' WHERE a = 1", "UPDATE x1 SET a = 20 WHERE a = 2",
           "BEGIN; DELETE FROM x1 WHERE a = 3; INSERT INTO x1 VALUES (3, 'again', 'x'); COMMIT", "DELETE FROM x1 WHERE a = 4"],
          "ALTER TABLE x1 ADD d integer DEFAULT 7, ADD e integer GENERATED ALWAYS AS (a * 2) STORED, ADD f timestamptz DEFAULT now(); UPDATE x1 SET d = 100 + a",
          ["SELECT a, b, c FROM x1 ORDER BY a"],
          [("SELECT array_agg(d ORDER BY a) FROM x1 WHERE a IN (1, 10, 20)", [101, 7, 102]), ("SELECT count(*) FROM x1 WHERE e = a * 2 AND f IS NOT NULL", 6)]),

    Shape("types of the target that differ",
          "CREATE TYPE x2e AS ENUM ('a', 'b'); CREATE TABLE x2 (k integer PRIMARY KEY, i integer, t text, ts timestamp, j json, f real, arr integer[], e x2e, v varchar(10), n numeric(10, 2), d date);"
          "INSERT INTO x2 SELECT n, n, n::text, '2024-01-01', '{\"a\": 1}', 1.5, '{1,2}', 'a', 'v', n, '2024-02-03' FROM generate_series(1, 5) n",
          ["INSERT INTO x2 VALUES (6, -6, 'six', '2024-06-06 06:06:06.6', '{\"b\": [1, 2]}', -0.5, '{{1,2},{3,NULL}}', 'b', 'vv', 66.66, 'infinity')", "INSERT INTO x2 (k) VALUES (7)",
           "UPDATE x2 SET i = i * 2, arr = arr || 3, e = 'b' WHERE k < 3", "UPDATE x2 SET k = k + 100 WHERE k = 4", "DELETE FROM x2 WHERE k = 5"],
          "ALTER TABLE x2 ALTER k TYPE bigint, ALTER i TYPE numeric, ALTER t TYPE varchar(500), ALTER ts TYPE timestamp(3), ALTER j TYPE jsonb, ALTER f TYPE float8, ALTER arr TYPE bigint[], ALTER e TYPE text, "
          "ALTER v TYPE text, ALTER n TYPE numeric, ALTER d TYPE timestamp",
          ["SELECT k::text, i::text, t, ts::timestamp(3)::text, j::jsonb::text, f::text, arr::text, e::text, v, n::text, d::timestamp::text FROM x2 ORDER BY k::bigint"]),

    Shape("a key of another type on the target",
          "CREATE TABLE x3 (a text, b smallint, v text, PRIMARY KEY (a, b)); INSERT INTO x3 SELECT n, n, 'v' FROM generate_series(1, 4) n",
          ["UPDATE x3 SET v = 'w' WHERE b = 1", "UPDATE x3 SET b = 9 WHERE b = 2", "DELETE FROM x3 WHERE b = 3", "INSERT INTO x3 VALUES ('é', 5, 'x')"],
          "ALTER TABLE x3 ALTER a TYPE varchar(50), ALTER b TYPE bigint", ["SELECT a, b::text, v FROM x3 ORDER BY b::int"]),

    Shape("triggers that the target enabled for replicas and always fire, ordinary ones do not",
          "CREATE TABLE x4 (a integer PRIMARY KEY, b text); CREATE TABLE x4_audit (what text); INSERT INTO x4 SELECT n, 'old' FROM generate_series(1, 3) n",
          ["INSERT INTO x4 VALUES (4, 'new'), (5, 'new')", "UPDATE x4 SET b = 'upd' WHERE a <= 2", "DELETE FROM x4 WHERE a = 3", "UPDATE x4 SET a = 40 WHERE a = 4"],
          "CREATE FUNCTION x4_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.x4_audit VALUES (TG_NAME || ' ' || TG_OP); RETURN coalesce(NEW, OLD); END $$;"
          "CREATE FUNCTION x4_g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := NEW.b || '+'; RETURN NEW; END $$;"
          "CREATE TRIGGER plain BEFORE INSERT OR UPDATE OR DELETE ON x4 FOR EACH ROW EXECUTE FUNCTION x4_f();"
          "CREATE TRIGGER replica AFTER INSERT OR UPDATE OR DELETE ON x4 FOR EACH ROW EXECUTE FUNCTION x4_f(); ALTER TABLE x4 ENABLE REPLICA TRIGGER replica;"
          "CREATE TRIGGER always BEFORE INSERT OR UPDATE ON x4 FOR EACH ROW EXECUTE FUNCTION x4_g(); ALTER TABLE x4 ENABLE ALWAYS TRIGGER always",
          ["SELECT a FROM x4 ORDER BY a"],
          [("SELECT string_agg(b, ' ' ORDER BY a) FROM x4", "upd+ upd+ new+ new+"),
           ("SELECT string_agg(DISTINCT what, ',' ORDER BY what) FROM x4_audit", "replica DELETE,replica INSERT,replica UPDATE"), ("SELECT count(*) FROM x4_audit", 6)]),

    # 002_types
    Shape("domains, arrays in arrays, composites, ranges, enums",
          "CREATE DOMAIN x5d AS integer CHECK (VALUE > 0); CREATE DOMAIN x5da AS integer[] CHECK (array_length(VALUE, 1) < 5); CREATE DOMAIN x5dd AS x5d CHECK (VALUE < 1000);"
          "CREATE TYPE x5c AS (a integer, b text, c x5d); CREATE TYPE x5cc AS (inner_one x5c, many x5c[], t timestamptz); CREATE DOMAIN x5dc AS x5c CHECK ((VALUE).a > 0);"
          "CREATE TYPE x5e AS ENUM ('one', 'two, 3', '\"quoted\"', 'ü'); CREATE TYPE x5r AS RANGE (subtype = x5e); CREATE TYPE x5fr AS RANGE (subtype = float8);"
          "CREATE TABLE x5 (k x5e, d x5d, da x5da, dd x5dd[], c x5c, cs x5c[], cc x5cc, dc x5dc, e x5e[], r int4range, rs tstzrange[], er x5r, fr x5fr, mr int8multirange, mrs nummultirange[], "
          "b box[], bits varbit[], m money, xs xml, path jsonpath, v tsvector, ip inet[], n numeric, iv interval[], k2 integer, PRIMARY KEY (k, k2))",
          ["INSERT INTO x5 VALUES ('one', 1, '{1,2}', '{1,NULL,999}', '(1,\"a,b\",2)', '{\"(1,x,1)\",NULL,\"(2,\\\"q\\\"\\\"\\\",3)\"}', ROW(ROW(1, NULL, 1), ARRAY[ROW(1, 'y', 2)::x5c], '2024-01-01')::x5cc, '(5,x,1)', "
           "'{one,\"two, 3\",NULL,ü}', '[1,5)', '{\"[2024-01-01,2024-02-01)\",empty}', '[one,ü)', '(-1.5,infinity]', '{[1,3),[7,9)}', '{\"{[1.5,2.5]}\",\"{}\"}', '{(1,1),(0,0);(2,2),(1,1)}', '{101,1}', '12.34', '<a>&lt;</a>', "
           "'$.a[*] ? (@ > 1)', 'a:1 b:2A', '{10.0.0.0/8,::1}', 'NaN', '{1 mon 2 days,-3:00}', 1)",
           "INSERT INTO x5 (k, k2) SELECT 'ü', n FROM generate_series(1, 1500) n",
           "INSERT INTO x5 SELECT 'two, 3', d, da, dd, c, cs, cc, dc, e, r, rs, er, fr, mr, mrs, b, bits, m, xs, path, v, ip, n, iv, g FROM x5, generate_series(1, 40) g WHERE k = 'one'",
           "UPDATE x5 SET da = '[5:7]={1,2,3}', cs = cs || cs, e = e || 'one'::x5e, mr = mr + '{[100,200)}', n = 'Infinity', c.b = 'set' WHERE k = 'two, 3' AND k2 < 20",
           "UPDATE x5 SET k = '\"quoted\"' WHERE k = 'two, 3' AND k2 < 5", "DELETE FROM x5 WHERE k2 BETWEEN 100 AND 1400",
           "ALTER TABLE x5 REPLICA IDENTITY FULL", "UPDATE x5 SET k2 = k2 + 5000 WHERE k2 < 10", "DELETE FROM x5 WHERE k2 = 5003"],
          "", ["SELECT x5::text FROM x5 ORDER BY 1"]),

    Shape("values added to an enum under way",
          "CREATE TYPE x6e AS ENUM ('a'); CREATE TABLE x6 (a integer PRIMARY KEY, e x6e, es x6e[]); INSERT INTO x6 VALUES (1, 'a', '{a}')",
          ["ALTER TYPE x6e ADD VALUE IF NOT EXISTS 'b'", "INSERT INTO x6 VALUES (2, 'b', '{b,a}')", "UPDATE x6 SET e = 'b' WHERE a = 1"],
          "ALTER TYPE x6e ADD VALUE 'b'", ["SELECT a, e::text, es::text FROM x6 ORDER BY a"]),

    Shape("columns dropped and in another order on the target",
          "CREATE TABLE x7 (gone1 integer, a integer PRIMARY KEY, b text, gone2 text, c numeric, d text DEFAULT 'd'); ALTER TABLE x7 DROP gone1, DROP gone2; INSERT INTO x7 VALUES (1, 'b', 3), (2, 'b', 4)",
          ["INSERT INTO x7 VALUES (3, 'three', 3)", "UPDATE x7 SET c = 0, d = 'dd' WHERE a = 1", "UPDATE x7 SET a = 5 WHERE a = 2"],
          "DROP TABLE x7; CREATE TABLE x7 (d text DEFAULT 'other', x integer, c numeric, b text, a integer PRIMARY KEY); ALTER TABLE x7 DROP x; INSERT INTO x7 (a, b, c, d) VALUES (1, 'b', 3, 'd'), (2, 'b', 4, 'd')",
          ["SELECT a, b, c, d FROM x7 ORDER BY a"]),

    # 011_generated
    Shape("generated columns: on the source, on the target, on both with other expressions; identity columns",
          "CREATE TABLE x8 (a integer PRIMARY KEY, two integer GENERATED ALWAYS AS (a + 1) STORED, here integer GENERATED ALWAYS AS (a + 2) STORED, there integer);"
          "CREATE TABLE x8i (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n integer GENERATED ALWAYS AS IDENTITY); INSERT INTO x8 VALUES (1); INSERT INTO x8i (v) VALUES ('a'), ('b'), ('c')",
          ["INSERT INTO x8 (a, there) VALUES (2, 2), (3, 3)", "UPDATE x8 SET a = 30, there = 31 WHERE a = 3", "INSERT INTO x8i (v) VALUES ('d')", "UPDATE x8i SET v = 'B' WHERE v = 'b'",
           "UPDATE x8i SET id = DEFAULT WHERE v = 'c'", "UPDATE x8i SET n = DEFAULT, v = 'A' WHERE v = 'a'", "INSERT INTO x8i (id, v, n) OVERRIDING SYSTEM VALUE VALUES (70, 'z', 71)", "DELETE FROM x8i WHERE v = 'd'"],
          "ALTER TABLE x8 DROP two, DROP here, DROP there; ALTER TABLE x8 ADD two integer GENERATED ALWAYS AS (a * 10) STORED, ADD here integer, ADD there integer GENERATED ALWAYS AS (a * 20) STORED",
          ["SELECT a FROM x8 ORDER BY a", "SELECT id, v, n FROM x8i ORDER BY id"], [("SELECT array_agg(two + there ORDER BY a) FROM x8 WHERE a > 1", [60, 900]), ("SELECT count(here) FROM x8", 0)]),

    # 001_rep_changes, 032_subscribe_use_index
    Shape("every replica identity, changed under way",
          "CREATE TABLE x9d (a integer PRIMARY KEY, b text NOT NULL UNIQUE, c text); CREATE TABLE x9n (a integer, c text); ALTER TABLE x9n REPLICA IDENTITY NOTHING;"
          "CREATE TABLE x9i (a integer PRIMARY KEY, b text NOT NULL UNIQUE, c text); ALTER TABLE x9i REPLICA IDENTITY USING INDEX x9i_b_key; CREATE TABLE x9f (a integer, b text, c json, f float8);"
          "ALTER TABLE x9f REPLICA IDENTITY FULL; CREATE INDEX ON x9f (a); CREATE TABLE x9fk (a integer PRIMARY KEY, b text); ALTER TABLE x9fk REPLICA IDENTITY FULL;"
          "INSERT INTO x9d SELECT n, 'b' || n, 'c' FROM generate_series(1, 10) n; INSERT INTO x9i SELECT * FROM x9d; INSERT INTO x9fk SELECT a, b FROM x9d; INSERT INTO x9f SELECT n % 3, NULLIF(n % 4, 1)::text, '{}', 'NaN' FROM generate_series(1, 20) n",
          ["INSERT INTO x9n SELECT n, 'n' FROM generate_series(1, 5) n", "UPDATE x9i SET c = 'C' WHERE a < 4", "UPDATE x9i SET b = 'key' WHERE a = 4", "UPDATE x9i SET a = 50 WHERE a = 5", "DELETE FROM x9i WHERE a = 6",
           "UPDATE x9fk SET b = 'x' WHERE a < 4", "UPDATE x9fk SET a = 44 WHERE a = 4", "DELETE FROM x9fk WHERE a = 5",
           "UPDATE x9f SET c = '[1]' WHERE ctid = (SELECT min(ctid) FROM x9f WHERE b IS NULL)", "DELETE FROM x9f WHERE ctid = (SELECT min(ctid) FROM x9f WHERE a = 2)", "UPDATE x9f SET f = '-0' WHERE a = 1", "UPDATE x9f SET a = NULL WHERE a = 0",
           "ALTER TABLE x9d REPLICA IDENTITY FULL", "UPDATE x9d SET c = 'full' WHERE a = 1", "ALTER TABLE x9d REPLICA IDENTITY USING INDEX x9d_b_key", "UPDATE x9d SET a = 20, b = 'other' WHERE a = 2",
           "ALTER TABLE x9d REPLICA IDENTITY DEFAULT", "UPDATE x9d SET a = 30 WHERE a = 3", "DELETE FROM x9d WHERE a = 4"],
          "", ["SELECT * FROM x9d ORDER BY a", "SELECT * FROM x9n ORDER BY a", "SELECT * FROM x9i ORDER BY a", "SELECT a, b, c::text, f::text FROM x9f ORDER BY 1, 2, 3, 4", "SELECT * FROM x9fk ORDER BY a"]),

    # 013_partition
    Shape("partitions of another shape on the target: split further, plain, with its own indexes; rows that move",
          "CREATE TABLE y1 (a integer, b text, c integer, PRIMARY KEY (a, c)) PARTITION BY LIST (c); CREATE TABLE y1_1 PARTITION OF y1 FOR VALUES IN (1); CREATE TABLE y1_2 PARTITION OF y1 FOR VALUES IN (2) PARTITION BY RANGE (a);"
          "CREATE TABLE y1_2a PARTITION OF y1_2 FOR VALUES FROM (0) TO (100); CREATE TABLE y1_2b PARTITION OF y1_2 DEFAULT; CREATE TABLE y1_3 (b text, x integer, c integer NOT NULL, a integer NOT NULL); ALTER TABLE y1_3 DROP x;"
          "ALTER TABLE y1 ATTACH PARTITION y1_3 FOR VALUES IN (3); INSERT INTO y1 SELECT n, 'b', 1 + n % 3 FROM generate_series(1, 150) n",
          ["UPDATE y1 SET c = 2 WHERE c = 1 AND a < 20", "BEGIN; UPDATE y1 SET a = a + 200, b = 'moved' WHERE a > 130; UPDATE y1 SET c = 3 WHERE a > 320; DELETE FROM y1 WHERE a BETWEEN 50 AND 60; COMMIT",
           "INSERT INTO y1 SELECT n, 'new', 1 + n % 3 FROM generate_series(1000, 1020) n", "BEGIN; UPDATE y1 SET c = 1 WHERE a = 1001; UPDATE y1 SET c = 3 WHERE a = 1001; UPDATE y1 SET b = 'back', c = 2 WHERE a = 1001; COMMIT",
           "UPDATE y1_3 SET b = 'leaf' WHERE a < 30", "TRUNCATE y1_2b", "INSERT INTO y1 VALUES (5000, 'after', 2)"],
          "ALTER TABLE y1 DETACH PARTITION y1_1; ALTER TABLE y1 DETACH PARTITION y1_3; CREATE TABLE y1_3n (LIKE y1_3 INCLUDING ALL) PARTITION BY HASH (a); CREATE TABLE y1_3n0 PARTITION OF y1_3n FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
          "CREATE TABLE y1_3n1 PARTITION OF y1_3n FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO y1_3n (a, b, c) SELECT a, b, c FROM y1_3; DROP TABLE y1_3; ALTER TABLE y1_3n RENAME TO y1_3; ALTER TABLE y1 ATTACH PARTITION y1_3 FOR VALUES IN (3);"
          "CREATE INDEX ON y1_2a (b)",
          ["SELECT a, b, c FROM y1_1 ORDER BY a", "SELECT a, b, c FROM y1_2 ORDER BY a", "SELECT a, b, c FROM y1_3 ORDER BY a"]),

    # 010_truncate
    Shape("truncates of several tables, with identities and with a partitioned one",
          "CREATE TABLE y2a (a integer PRIMARY KEY, s serial); CREATE TABLE y2b (a integer PRIMARY KEY REFERENCES y2a); CREATE TABLE y2p (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE y2p1 PARTITION OF y2p FOR VALUES FROM (0) TO (10);"
          "CREATE TABLE y2p2 PARTITION OF y2p DEFAULT; INSERT INTO y2a SELECT generate_series(1, 9); INSERT INTO y2b SELECT a FROM y2a; INSERT INTO y2p SELECT generate_series(1, 20)",
          ["TRUNCATE y2a, y2b RESTART IDENTITY", "INSERT INTO y2a VALUES (100), (101)", "BEGIN; INSERT INTO y2a VALUES (102); TRUNCATE y2a CASCADE; INSERT INTO y2a VALUES (103); COMMIT", "TRUNCATE y2p1", "INSERT INTO y2p VALUES (3)",
           "BEGIN; TRUNCATE y2p; INSERT INTO y2p VALUES (4), (40); COMMIT"],
          "", ["SELECT * FROM y2a ORDER BY a", "SELECT * FROM y2b", "SELECT * FROM y2p1", "SELECT * FROM y2p2"]),

    # 100_bugs
    Shape("indexes over functions, deferrable and partial unique constraints, exclusion constraints, not-null domains",
          "CREATE EXTENSION btree_gist; CREATE DOMAIN y3d AS text NOT NULL; CREATE FUNCTION y3f(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT upper($1) $$;"
          "CREATE TABLE y3 (a integer PRIMARY KEY, b text, d y3d, c integer UNIQUE DEFERRABLE INITIALLY DEFERRED, during int4range, EXCLUDE USING gist (during WITH &&)); CREATE UNIQUE INDEX ON y3 (public.y3f(b)) WHERE b <> '';"
          "INSERT INTO y3 SELECT n, 'b' || n, 'd', n, int4range(n * 10, n * 10 + 10) FROM generate_series(1, 10) n",
          ["UPDATE y3 SET c = 11 - c", "BEGIN; UPDATE y3 SET b = 'swap' WHERE a = 1; UPDATE y3 SET b = 'b1' WHERE a = 2; UPDATE y3 SET b = 'b2' WHERE a = 1; COMMIT",
           "BEGIN; UPDATE y3 SET during = int4range(-20, -10) WHERE a = 3; UPDATE y3 SET during = int4range(30, 40) WHERE a = 4; UPDATE y3 SET during = int4range(40, 50) WHERE a = 3; COMMIT",
           "UPDATE y3 SET b = '' WHERE a > 5", "BEGIN; DELETE FROM y3 WHERE a = 7; INSERT INTO y3 VALUES (70, 'b7', 'x', 100, int4range(70, 80)); COMMIT"],
          "", ["SELECT a, b, d, c, during::text FROM y3 ORDER BY a"]),

    Shape("keys that are equal and not the same",
          "CREATE EXTENSION citext; CREATE TABLE y4c (k citext PRIMARY KEY, v text); CREATE TABLE y4n (k numeric PRIMARY KEY, v text); INSERT INTO y4c VALUES ('Abc', 'v'), ('def', 'v'); INSERT INTO y4n VALUES (1.0, 'v'), (2, 'v')",
          ["UPDATE y4c SET k = 'aBC' WHERE k = 'abc'", "UPDATE y4c SET v = 'w' WHERE k = 'ABC'", "BEGIN; DELETE FROM y4c WHERE k = 'DEF'; INSERT INTO y4c VALUES ('DeF', 'x'); UPDATE y4c SET v = 'y' WHERE k = 'def'; COMMIT",
           "UPDATE y4n SET k = 1.000 WHERE k = 1", "BEGIN; DELETE FROM y4n WHERE k = 2; INSERT INTO y4n VALUES (2.00, 'x'); UPDATE y4n SET v = 'y' WHERE k = 2; COMMIT"],
          "", ["SELECT k::text, v FROM y4c ORDER BY 1", "SELECT k::text, v FROM y4n ORDER BY 1"]),

    # 012_collation
    Shape("keys of a collation that takes different texts for equal",
          "CREATE COLLATION y5ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); CREATE TABLE y5 (k text COLLATE y5ci PRIMARY KEY, v integer);"
          "CREATE TABLE y5f (a text COLLATE y5ci, v integer); ALTER TABLE y5f REPLICA IDENTITY FULL; INSERT INTO y5 VALUES ('Bär', 1), ('fox', 1), (U&'A\\0308', 1); INSERT INTO y5f VALUES ('Bär', 1), ('bär', 1), ('fox', 1)",
          ["UPDATE y5 SET v = 2 WHERE k = 'bÄR'", "UPDATE y5 SET k = 'FOX' WHERE k = 'fox'", "BEGIN; DELETE FROM y5 WHERE k = 'bär'; INSERT INTO y5 VALUES ('BÄR', 3); UPDATE y5 SET v = 4 WHERE k = 'bär'; COMMIT",
           "UPDATE y5 SET v = 5 WHERE k = 'ä'", "UPDATE y5f SET v = 2 WHERE a COLLATE \"C\" = 'bär'", "DELETE FROM y5f WHERE a COLLATE \"C\" = 'Bär'"],
          "", ['SELECT k COLLATE "C", v FROM y5 ORDER BY 1', 'SELECT a COLLATE "C", v FROM y5f ORDER BY 1']),

    # 001_rep_changes, 032_subscribe_use_index, 100_bugs
    Shape("an identity by a covering index; all columns with some dropped, computed, large or NULL and no index but partial ones and ones over expressions",
          "CREATE TABLE y6c (gone text, a integer NOT NULL, b text, c text); CREATE UNIQUE INDEX y6c_a ON y6c (a) INCLUDE (b); ALTER TABLE y6c DROP gone; ALTER TABLE y6c REPLICA IDENTITY USING INDEX y6c_a;"
          "CREATE TABLE y6f (gone integer, a integer, b text, big text, twice integer GENERATED ALWAYS AS (a * 2) STORED); ALTER TABLE y6f DROP gone; ALTER TABLE y6f ALTER big SET STORAGE EXTERNAL;"
          "ALTER TABLE y6f REPLICA IDENTITY FULL; CREATE INDEX ON y6f (a) WHERE b IS NOT NULL; CREATE INDEX ON y6f (upper(b)); CREATE INDEX ON y6f USING hash (b);"
          "INSERT INTO y6c SELECT n, 'b' || n, 'c' FROM generate_series(1, 9) n; INSERT INTO y6f SELECT n % 5, NULLIF('b' || n % 3, 'b1'), CASE WHEN n % 2 = 0 THEN repeat(md5(n::text), 300) END FROM generate_series(1, 30) n",
          ["UPDATE y6c SET b = 'B', c = NULL WHERE a < 3", "UPDATE y6c SET a = 40, b = NULL WHERE a = 4", "BEGIN; DELETE FROM y6c WHERE a = 5; INSERT INTO y6c VALUES (5, 'again', 'x'); DELETE FROM y6c WHERE a = 6; COMMIT",
           "UPDATE y6f SET a = a + 10 WHERE ctid = (SELECT min(ctid) FROM y6f WHERE b IS NULL AND big IS NOT NULL)", "UPDATE y6f SET b = 'long' WHERE a = 2", "DELETE FROM y6f WHERE a = 3", "UPDATE y6f SET big = big || '!' WHERE a = 4",
           "BEGIN; INSERT INTO y6f (a) VALUES (NULL), (NULL); DELETE FROM y6f WHERE ctid = (SELECT min(ctid) FROM y6f WHERE a IS NULL); COMMIT"],
          "", ["SELECT * FROM y6c ORDER BY a", "SELECT a, b, md5(big), twice, count(*) FROM y6f GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3"]),

    # 013_partition, 100_bugs
    Shape("partitions that are identified each in its own way",
          "CREATE TABLE y7 (a integer NOT NULL, b text NOT NULL, c text) PARTITION BY LIST (a); CREATE TABLE y7_full PARTITION OF y7 FOR VALUES IN (1); ALTER TABLE y7_full REPLICA IDENTITY FULL;"
          "CREATE TABLE y7_key PARTITION OF y7 (PRIMARY KEY (b)) FOR VALUES IN (2); CREATE TABLE y7_index (c text, b text NOT NULL UNIQUE, a integer NOT NULL); ALTER TABLE y7_index REPLICA IDENTITY USING INDEX y7_index_b_key;"
          "ALTER TABLE y7 ATTACH PARTITION y7_index DEFAULT; INSERT INTO y7 SELECT 1 + n % 4, 'b' || n, 'c' FROM generate_series(1, 24) n",
          ["UPDATE y7 SET c = 'C' WHERE b IN ('b1', 'b2', 'b3', 'b4', 'b5')", "UPDATE y7 SET a = 1 + a % 4 WHERE b IN ('b8', 'b9', 'b10', 'b11')", "BEGIN; UPDATE y7 SET a = 7, b = 'moved' WHERE b = 'b12'; UPDATE y7 SET a = 2 WHERE b = 'moved'; COMMIT",
           "DELETE FROM y7 WHERE b > 'b20'"],
          "", ["SELECT tableoid::regclass::text, * FROM y7 ORDER BY b"]),

    # 009_matviews, 020_messages, 030_origin
    Shape("what the stream has besides rows: views made again, temporary and unlogged tables, messages, changes that came from elsewhere",
          "CREATE TABLE y8 (a integer PRIMARY KEY, b text); CREATE MATERIALIZED VIEW y8m AS SELECT count(*) AS n FROM y8; CREATE UNIQUE INDEX ON y8m (n); CREATE UNLOGGED TABLE y8u (a integer PRIMARY KEY)",
          ["BEGIN; INSERT INTO y8 VALUES (1, 'one'); REFRESH MATERIALIZED VIEW y8m; INSERT INTO y8 VALUES (2, 'two'); COMMIT", "REFRESH MATERIALIZED VIEW CONCURRENTLY y8m",
           "BEGIN; CREATE TEMP TABLE y8t ON COMMIT DROP AS SELECT * FROM y8; INSERT INTO y8 SELECT a + 10, b FROM y8t; COMMIT", "BEGIN; INSERT INTO y8u VALUES (1); INSERT INTO y8 VALUES (3, 'three'); COMMIT",
           "BEGIN; SELECT pg_logical_emit_message(true, 'app', 'inside'); SELECT pg_logical_emit_message(false, 'app', repeat('x', 70000)); INSERT INTO y8 VALUES (4, 'four'); COMMIT",
           "BEGIN; SELECT pg_logical_emit_message(true, 'app', 'undone'); SELECT pg_logical_emit_message(false, '', ''); ROLLBACK", "SELECT pg_logical_emit_message(true, 'pgtide', 'not ours')",
           "SELECT pg_replication_origin_create('elsewhere'); SELECT pg_replication_origin_session_setup('elsewhere'); SELECT pg_replication_origin_xact_setup('0/ABC', now()); INSERT INTO y8 VALUES (5, 'came'); "
           "SELECT pg_replication_origin_session_reset()",
           "BEGIN; SELECT pg_replication_origin_session_setup('elsewhere'); SELECT pg_replication_origin_xact_setup('0/DEF', '2001-01-01'); INSERT INTO y8 VALUES (6, 'later'); UPDATE y8 SET b = 'came too' WHERE a = 1; COMMIT"],
          "", ["SELECT * FROM y8 ORDER BY a"], [("SELECT b FROM y8 WHERE a = 6", "later")]),
]


def test_every_shape(world: World):
    pair = world.pair()
    for shape in SHAPES:
        pair.on_source(shape.source)
    pair.pgtide.follow("--accept", "all")
    for shape in SHAPES:
        if shape.target:
            pair.target.execute(shape.target, pair.database)
    wrong = []
    for shape in SHAPES:
        for change in shape.change:
            pair.on_source(change)
    pair.pgtide.caught_up()
    for shape in SHAPES:
        for question in shape.same:
            ours, theirs = pair.source.query(question, pair.database), pair.target.query(question, pair.database)
            if ours != theirs:
                wrong.append(f"{shape.name}: {question}\n  source {ours}\n  target {theirs}")
        for question, expected in shape.there:
            answer = pair.target_value(question)
            if answer != expected:
                wrong.append(f"{shape.name}: {question}\n  expected {expected}\n  target {answer}")
    assert not wrong, "\n".join(wrong)
    assert pair.pgtide.status()["conflicts"] == 0
    pair.pgtide.stop()


@pytest.mark.parametrize("majors", [(18, 18)], ids=["18"])
def test_keys_without_overlaps_and_computed_columns_that_are_published(world: World, majors: tuple[int, int]):    # 011_generated, 034_temporal
    pair = world.pair(options=("--lanes", "2"))
    pair.on_source("""
        CREATE EXTENSION btree_gist; CREATE TABLE k (id integer, during int4range, v text, PRIMARY KEY (id, during WITHOUT OVERLAPS));
        CREATE TABLE u (id int4range, during datemultirange NOT NULL, v text, UNIQUE (id, during WITHOUT OVERLAPS)); ALTER TABLE u REPLICA IDENTITY FULL;
        CREATE TABLE c (a integer PRIMARY KEY, stored integer GENERATED ALWAYS AS (a * 2) STORED, computed integer GENERATED ALWAYS AS (a * 3) VIRTUAL, b text);
        CREATE PUBLICATION theirs FOR ALL TABLES WITH (publish_generated_columns = stored);
        INSERT INTO k SELECT n % 10, int4range(n, n + 1), 'v' FROM generate_series(1, 100) n; INSERT INTO c (a, b) SELECT n, 'b' FROM generate_series(1, 9) n""")
    pair.pgtide.follow("--publication", "theirs", "--no-ddl")
    pair.on_source("UPDATE k SET v = 'w' WHERE id = 3; DELETE FROM k WHERE id = 4 AND during << int4range(50, 60)")
    pair.on_source("BEGIN; DELETE FROM k WHERE id = 5; INSERT INTO k VALUES (5, '[1,50)', 'wide'); UPDATE k SET during = '[5,45)' WHERE id = 5; INSERT INTO k VALUES (5, '[1,5)', 'before'); COMMIT")
    pair.on_source("UPDATE k SET during = int4range(lower(during) + 1000, upper(during) + 1000) WHERE id = 6; UPDATE k SET id = 60 WHERE id = 6 AND lower(during) > 1050")
    pair.on_source("INSERT INTO u VALUES ('[1,2)', '{[2020-01-01,2021-01-01)}', 'a'), (NULL, '{[2020-01-01,2021-01-01)}', 'n'), ('[2,3)', '{[2020-01-01,2020-02-01),[2020-06-01,2020-07-01)}', 'b')")
    pair.on_source("UPDATE u SET during = '{[2020-03-01,2020-04-01)}' WHERE v = 'b'; INSERT INTO u VALUES ('[2,3)', '{[2020-01-01,2020-02-01)}', 'c'); DELETE FROM u WHERE id IS NULL; UPDATE u SET v = 'A' WHERE v = 'a'")
    pair.on_source("INSERT INTO c (a, b) VALUES (10, 'ten'); UPDATE c SET a = 20 WHERE a = 2; UPDATE c SET b = 'B' WHERE stored > 10; DELETE FROM c WHERE computed = 9")
    # Small transactions that move around in a large window
    assert pair.pgtide.call("pause").status == OK
    with pair.source.connect(pair.database) as session:
        for n in range(300):
            session.execute(f"UPDATE k SET during = int4range(lower(during) + 1, upper(during) + 1), v = '{n}' WHERE id = 3 AND during = (SELECT during FROM k WHERE id = 3 ORDER BY 1 DESC LIMIT 1)")
            session.execute(f"BEGIN; DELETE FROM k WHERE id = 7 AND during = (SELECT during FROM k WHERE id = 7 ORDER BY 1 LIMIT 1); INSERT INTO k VALUES (7, int4range({n * 10 + 200}, {n * 10 + 209}), 'moved'); COMMIT")
            session.execute(f"INSERT INTO k VALUES (8, int4range({n * 5 + 1000}, {n * 5 + 1005}), 'new')")
    assert pair.pgtide.call("resume").status == OK
    pair.pgtide.caught_up()
    pair.assert_equal(objects=False, sequences=False)
    # A key is the same, it does not only overlap
    pair.target.execute("UPDATE k SET during = '[9,11)' WHERE id = 9 AND during = '[9,10)'", pair.database)
    pair.on_source("UPDATE k SET v = 'x' WHERE id = 9")
    assert "there is no such row on the target" in pair.pgtide.run.expect(FAILED, 60).err
    pair.target.execute("UPDATE k SET during = '[9,10)' WHERE id = 9 AND during = '[9,11)'", pair.database)
    pair.pgtide.follow()
    pair.pgtide.finish()
    pair.assert_equal(objects=False)


def test_a_partition_that_the_target_has_not_is_named(world: World):
    pair = world.pair()
    pair.on_source("CREATE TABLE p (a integer PRIMARY KEY) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    pair.pgtide.follow()
    pair.target.execute("DROP TABLE p1", pair.database)
    pair.on_source("INSERT INTO p VALUES (1)")
    assert pair.pgtide.run.wait(60) == FAILED
    assert 'the target has no table "public.p1"' in pair.pgtide.run.err
    pair.target.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)", pair.database)
    pair.pgtide.follow()
    pair.finish()


def test_a_row_that_a_trigger_of_the_target_swallows_is_missed(world: World):    # 003_constraints
    pair = world.pair()
    pair.on_source("CREATE TABLE t (a integer PRIMARY KEY, b text)")
    pair.pgtide.follow()
    pair.target.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.a = 13 THEN NULL ELSE NEW END; END $$;"
                        "CREATE TRIGGER f BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); ALTER TABLE t ENABLE REPLICA TRIGGER f", pair.database)
    pair.on_source("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 20) n")
    run = pair.pgtide.run.expect(FAILED, 60)
    assert "key (a) = (13): the target took it and has no row of it: a trigger" in run.err, run.err
    assert pair.target_value("SELECT count(*) FROM t") == 0
    pair.pgtide.start_command("resume", "--skip-change")
    pair.pgtide.wait_phase("incremental")
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT count(*) FROM t") == 19
    pair.target.execute("ALTER TABLE t DISABLE TRIGGER f", pair.database)
    pair.on_source("UPDATE t SET b = 'y' WHERE a <> 13; DELETE FROM t WHERE a = 13")
    pair.pgtide.caught_up()
    assert pair.target_value("SELECT count(*) FROM t WHERE b = 'y'") == 19
    pair.pgtide.stop()


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_values_of_200_megabytes(world: World, identity: str, is_full: bool):
    megabytes = 200 if is_full else 60
    pair = world.pair()
    pair.on_source(f"CREATE TABLE t (a integer PRIMARY KEY, big text, n integer); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; ALTER TABLE t REPLICA IDENTITY {identity};"
                   f"INSERT INTO t VALUES (1, repeat('copied ', {megabytes}000000 / 7), 0)")
    pair.pgtide.follow()
    pair.on_source(f"INSERT INTO t VALUES (2, repeat('streamed', {megabytes}000000 / 8), 0)")
    pair.on_source("UPDATE t SET n = 1")
    pair.on_source("UPDATE t SET big = reverse(big) WHERE a = 1")
    pair.on_source("UPDATE t SET a = 3 WHERE a = 2")
    pair.finish(240)
