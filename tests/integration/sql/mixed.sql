-- Tables of the random writer (harness/load.py): one for each way in which a change can be awkward.
-- psql --set=rows=2000 --file=mixed.sql
SET client_min_messages = warning;
BEGIN;
CREATE SCHEMA mixed;

CREATE TABLE mixed.keyed (
    id bigint PRIMARY KEY, small smallint, gone integer, txt text, big text, num numeric, j jsonb, arr integer[], ts timestamptz,
    len integer GENERATED ALWAYS AS (length(big)) STORED
);
ALTER TABLE mixed.keyed DROP COLUMN gone;
ALTER TABLE mixed.keyed ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE INDEX keyed_txt ON mixed.keyed (txt text_pattern_ops);

CREATE TABLE mixed.pair (val integer NOT NULL, b text, a integer, PRIMARY KEY (a, b));

CREATE TABLE mixed.uniq (id integer PRIMARY KEY, code integer NOT NULL UNIQUE, note text);

CREATE TABLE mixed.bag (a integer, b text, f double precision, j json);
ALTER TABLE mixed.bag REPLICA IDENTITY FULL;

CREATE SEQUENCE mixed.by_index_id;
CREATE TABLE mixed.by_index (id integer NOT NULL, code text NOT NULL, val integer);
CREATE UNIQUE INDEX by_index_code ON mixed.by_index (code);
ALTER TABLE mixed.by_index REPLICA IDENTITY USING INDEX by_index_code;

CREATE TABLE mixed.part (id integer, day integer, val text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE mixed.part_1 PARTITION OF mixed.part FOR VALUES FROM (0) TO (10);
CREATE TABLE mixed.part_2 PARTITION OF mixed.part FOR VALUES FROM (10) TO (20) PARTITION BY HASH (id);
CREATE TABLE mixed.part_2a PARTITION OF mixed.part_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE mixed.part_2b PARTITION OF mixed.part_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE mixed.part_rest PARTITION OF mixed.part DEFAULT;

CREATE TABLE mixed.journal (n bigint GENERATED ALWAYS AS IDENTITY, what text);
ALTER TABLE mixed.journal REPLICA IDENTITY FULL;

CREATE TABLE mixed.account (id integer PRIMARY KEY, balance bigint NOT NULL);

INSERT INTO mixed.keyed (id, small, txt, big, num, j, arr)
    SELECT n, n % 9, 'row ' || n, CASE WHEN n % 5 = 0 THEN repeat(md5(n::text), 200) END, n / 3.0, '{"a": 1}', ARRAY[n, NULL]
    FROM generate_series(0, :rows - 1) n;
INSERT INTO mixed.pair SELECT n, 'b' || n / 20, n % 20 FROM generate_series(0, :rows / 2) n;
INSERT INTO mixed.uniq SELECT n, n, 'first' FROM generate_series(0, 99) n;
INSERT INTO mixed.bag SELECT n % 5, 'x', 0.1 + n % 5, '{"a" : 1}' FROM generate_series(1, 200) n;
INSERT INTO mixed.by_index SELECT nextval('mixed.by_index_id'), 'c' || n, 0 FROM generate_series(1, 100) n;
INSERT INTO mixed.part SELECT n, n % 30, 'part' FROM generate_series(0, :rows / 2) n;
INSERT INTO mixed.journal (what) SELECT 'first' FROM generate_series(1, :rows) n;
INSERT INTO mixed.account SELECT n, 1000 FROM generate_series(0, 49) n;
COMMIT;
ANALYZE;
