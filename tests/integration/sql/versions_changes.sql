-- Changes of every kind to the tables of versions.sql: psql --set=since=N --set=n=1, 2, … n tells the rounds apart.
\set ON_ERROR_STOP on
SELECT :since >= 11 AS since_11, :since >= 12 AS since_12, :since >= 14 AS since_14, :since >= 15 AS since_15, :since >= 17 AS since_17,
    :since >= 18 AS since_18 \gset
\o /dev/null
SET extra_float_digits = 3;

-- One statement, one transaction
INSERT INTO v.keyed (id, code, price, ratio, big, moods, note)
    SELECT 10000 * :n + g, 10000 * :n + g, g, g / 7.0, CASE WHEN g % 10 = 0 THEN repeat(md5(g::text), 300) END, '{sad}', 'new ' || g FROM generate_series(1, 300) g;
UPDATE v.keyed SET ratio = ratio / 3, price = price + 0.01 WHERE id % 7 = :n;                 -- large values stay as they are
UPDATE v.keyed SET id = id + 500000 WHERE id % 50 = :n AND id BETWEEN 300 AND 499;                        -- keys change
DELETE FROM v.keyed WHERE id % 31 = :n AND id > 150;
UPDATE v.two_columns SET v = v + 1 WHERE a < 5;
UPDATE v.two_columns SET b = b || 'x' WHERE a = :n;
DELETE FROM v.bag WHERE ctid IN (SELECT ctid FROM v.bag WHERE a = :n LIMIT 2);
UPDATE v.bag SET f = f / 3 WHERE ctid = (SELECT ctid FROM v.bag WHERE a <> :n LIMIT 1);
INSERT INTO v.bag VALUES (:n, 'NaN', NULL, NULL), (:n, 'NaN', NULL, NULL), (:n, 1e-300, '[1]', '(0.1,0.2)');
UPDATE v.by_index SET f = f / 3 WHERE id % 2 = 0;
UPDATE v.by_index SET code = code || '!' WHERE id = 10 + :n;
UPDATE v.every_type SET c_f8 = c_f8 / 3, a_f8 = a_f8 || (0.1 + :n)::double precision, c_text = c_text || 'x', a_enum = '{ok}', c_comp = ROW(:n, 'n', 0.1)::v.pair WHERE id > 2;
INSERT INTO v.every_type (id, c_range, c_xml) VALUES (100 + :n, '(0.3,0.4)', '<a/>');
INSERT INTO v.arrays VALUES (100 + :n, ARRAY[ROW(1, 'n', 0.1)::v.pair], '{"[0.3,0.4]"}');
UPDATE v.arrays SET pairs = pairs || ROW(:n, 'x', 0.3)::v.pair;
UPDATE v.part SET val = 'changed' WHERE id < 5;
DELETE FROM v.part WHERE day = :n;
INSERT INTO v.part SELECT g, :n, 'again' FROM generate_series(0, 9) g;
UPDATE v.parent SET t = t || :'n' WHERE id % 3 = 0;
UPDATE "V 2"."Quo""ted" SET "größe ↑" = 'changed ' || :n WHERE "select" = 1;
UPDATE v.booking SET during = '[2024-03-01,2024-03-02)' WHERE room = :n;
SELECT nextval('v.numbers') FROM generate_series(1, 10);

-- Several statements; a unique value goes round; savepoints
BEGIN;
UPDATE v.keyed SET code = -1 WHERE id = 101;
UPDATE v.keyed SET code = 101 WHERE id = 102;
UPDATE v.keyed SET code = 102 WHERE id = 101;
SAVEPOINT one;
DELETE FROM v.keyed WHERE id BETWEEN 200 AND 220;
ROLLBACK TO one;
SAVEPOINT two;
INSERT INTO v.child_of_key SELECT 1000 * :n + g, 101, 1 FROM generate_series(1, 20) g;
RELEASE two;
COMMIT;
BEGIN;
UPDATE v.keyed SET code = -1 WHERE id = 102;
UPDATE v.keyed SET code = 101 WHERE id = 101;
UPDATE v.keyed SET code = 102 WHERE id = 102;
COMMIT;
BEGIN;
INSERT INTO v.two_columns SELECT 'lost', g, g FROM generate_series(1000, 1100) g;
ROLLBACK;
COPY v.two_columns (a, b, v) FROM stdin;
7001	copied	1
7002	copied	2
\.
UPDATE v.two_columns SET a = a + 100 * :n WHERE b = 'copied' AND a < 7100;

\if :since_11
UPDATE v.hashed SET id = id + 1000 * :n WHERE id BETWEEN 20 AND 40;       -- rows move to another partition
UPDATE v.listed SET kind = 'b' || :n WHERE id = 2 + :n;
TRUNCATE v.emptied;
INSERT INTO v.emptied SELECT g, 'n' || :n FROM generate_series(1, 10) g;
\endif
\if :since_12
INSERT INTO v.computed (a, t) SELECT 100 * :n + g, 'n' FROM generate_series(1, 20) g;
UPDATE v.computed SET a = -a WHERE a % 10 = :n;
UPDATE v.collated SET n = n + 1;
\endif
\if :since_14
UPDATE v.multi SET m = m + int4multirange(int4range(100 * :n, 100 * :n + 5)) WHERE id = 1;
\endif
\if :since_15
MERGE INTO v.two_columns t USING (SELECT g AS a, 'merged' AS b FROM generate_series(:n, :n + 5) g) s ON t.a = s.a AND t.b = s.b
    WHEN MATCHED THEN UPDATE SET v = t.v + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.b, s.a, 0);
UPDATE v.nulls SET up = :n WHERE a IS NULL;
UPDATE v.up SET a = NULL WHERE id = :n;
\endif
\if :since_17
INSERT INTO v.identified (day, t) SELECT :n, 'n' FROM generate_series(1, 5);
UPDATE v.identified SET t = 'changed' WHERE day = :n;
\endif
\if :since_18
INSERT INTO v.virtual (a, b) SELECT 100 * :n + g, g FROM generate_series(1, 20) g;
UPDATE v.virtual SET a = -a, b = b + 1 WHERE a % 10 = :n;
UPDATE v.temporal SET during = '[2024-01-01,2024-03-01)', note = 'longer' WHERE room = :n + 1;
\endif
\o
