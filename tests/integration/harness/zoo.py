"""Statements of every kind on tables of every kind: the vocabulary of random histories, beside plain rows (Mixed).

Some fail, because of what another session does or did: then nothing of their transaction remains, which is as good as any other history.
"""

from __future__ import annotations

import random
from typing import Any, Callable

import psycopg

from .load import Session

SCHEMA = """
CREATE SCHEMA zoo;
CREATE TYPE zoo.kind AS ENUM ('a', 'b'); CREATE SEQUENCE zoo.numbers;
CREATE TYPE zoo.pair AS (n integer, "the text" text); CREATE DOMAIN zoo.positive AS integer CHECK (VALUE > 0); CREATE DOMAIN zoo.pairs AS zoo.pair[];
CREATE TABLE zoo.ident (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer, g integer GENERATED ALWAYS AS (n * 2) STORED, kind zoo.kind);
CREATE TABLE zoo.typed (id serial PRIMARY KEY, d zoo.positive, p zoo.pair, ps zoo.pair[], dps zoo.pairs, r int4range, rs tstzrange[], k zoo.kind, ks zoo.kind[], j jsonb, texts text[], t tsvector, i interval, net inet, x xml, b bit varying);
CREATE TABLE zoo.audit (at bigserial PRIMARY KEY, what text, id integer);
CREATE FUNCTION zoo.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO zoo.audit (what, id) VALUES (TG_OP, CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON zoo.ident FOR EACH ROW EXECUTE FUNCTION zoo.note();
CREATE FUNCTION zoo.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := coalesce(NEW.v, '') || '.'; RETURN NEW; END $$;
CREATE TABLE zoo.parent (id integer PRIMARY KEY, v text); CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON zoo.parent FOR EACH ROW EXECUTE FUNCTION zoo.stamp();
CREATE TABLE zoo.child (id serial PRIMARY KEY, parent integer REFERENCES zoo.parent ON DELETE CASCADE ON UPDATE CASCADE, aunt integer REFERENCES zoo.parent ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE zoo.grandchild (id serial PRIMARY KEY, child integer REFERENCES zoo.child ON DELETE CASCADE);
CREATE VIEW zoo.seen AS SELECT id, v FROM zoo.parent WHERE id > 0;
CREATE VIEW zoo.both AS SELECT p.id, p.v, c.id AS child FROM zoo.parent p JOIN zoo.child c ON c.parent = p.id;
CREATE RULE into_both AS ON INSERT TO zoo.both DO INSTEAD (INSERT INTO zoo.parent VALUES (NEW.id, NEW.v) ON CONFLICT DO NOTHING; INSERT INTO zoo.child (parent) VALUES (NEW.id));
CREATE TABLE zoo.ruled (id integer PRIMARY KEY, v text); CREATE RULE kept AS ON DELETE TO zoo.ruled DO ALSO INSERT INTO zoo.audit (what, id) VALUES ('ruled', OLD.id);
CREATE TABLE zoo.late (id integer PRIMARY KEY, k integer UNIQUE DEFERRABLE INITIALLY DEFERRED, during int4range, EXCLUDE USING gist (during WITH &&) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO zoo.late SELECT n, n, int4range(n, n + 1) FROM generate_series(1, 50) n;
CREATE TABLE zoo.identity (id integer PRIMARY KEY, u integer NOT NULL UNIQUE, v text); INSERT INTO zoo.identity SELECT n, n, 'x' FROM generate_series(1, 50) n;
CREATE TABLE zoo.part (id integer, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE zoo.part_a PARTITION OF zoo.part FOR VALUES IN ('a'); CREATE TABLE zoo.part_rest PARTITION OF zoo.part DEFAULT;
CREATE TABLE zoo.part_b (v text, gone integer, region text NOT NULL, id integer NOT NULL); ALTER TABLE zoo.part_b DROP gone, ADD PRIMARY KEY (id, region); ALTER TABLE zoo.part ATTACH PARTITION zoo.part_b FOR VALUES IN ('b');
CREATE TABLE zoo.mother (id integer PRIMARY KEY, v text); CREATE TABLE zoo.daughter (w integer, PRIMARY KEY (id)) INHERITS (zoo.mother);
CREATE TABLE zoo.wide (id integer PRIMARY KEY, a text, b text, n integer); ALTER TABLE zoo.wide ALTER a SET STORAGE EXTERNAL;
"""

ROWS = [
    "INSERT INTO zoo.ident (n) SELECT n FROM generate_series(1, {few}) n", "UPDATE zoo.ident SET n = n + 1 WHERE id % {few} = 0", "DELETE FROM zoo.ident WHERE id % {some} = 0",
    "INSERT INTO zoo.ident (id, n) OVERRIDING SYSTEM VALUE VALUES (-{key}, 1) ON CONFLICT (id) DO UPDATE SET n = zoo.ident.n + 1", "UPDATE zoo.ident SET id = DEFAULT WHERE id = (SELECT min(id) FROM zoo.ident)",
    "INSERT INTO zoo.typed (d, p, ps, dps, r, rs, k, ks, j, texts, t, i, net, x, b) SELECT {few}, jsonb_populate_record(NULL::zoo.pair, jsonb_build_object('n', {key}, 'the text', 'a ''\\\\{{,}}(' || g)), ARRAY[NULL, jsonb_populate_record(NULL::zoo.pair, '{{\"the text\": \"\"}}')], ARRAY[jsonb_populate_record(NULL::zoo.pair, '{{\"n\": 5}}')], int4range(g, g + {few}),"
    " ARRAY[tstzrange(now(), NULL), 'empty'], (enum_range(NULL::zoo.kind))[1 + g % cardinality(enum_range(NULL::zoo.kind))], enum_range(NULL::zoo.kind), jsonb_build_object('k', g, 'n', NULL), ARRAY[['a', NULL], ['NULL', '']],"
    " to_tsvector('simple', 'a b c' || g), g * interval '1 month 3 days 04:05:06.7', '10.0.0.1/8', '<a>&amp;</a>', B'101' FROM generate_series(1, {few}) g",
    "UPDATE zoo.typed SET p.n = (p).n + 1, ps[1] = p, r = NULL WHERE id % {few} = 0", "UPDATE zoo.typed SET k = 'a', ks = '{{}}', texts = '{{}}' WHERE id % {some} = 0", "DELETE FROM zoo.typed WHERE id % {some} = 1",
    "INSERT INTO zoo.parent VALUES ({key}, 'x') ON CONFLICT (id) DO UPDATE SET v = zoo.parent.v || EXCLUDED.v", "INSERT INTO zoo.child (parent, aunt) SELECT id, id FROM zoo.parent LIMIT {few}",
    "INSERT INTO zoo.grandchild (child) SELECT id FROM zoo.child LIMIT {few}", "DELETE FROM zoo.parent WHERE id % {some} = 0", "UPDATE zoo.parent SET id = id + 1000 WHERE id = {key} AND NOT EXISTS (SELECT FROM zoo.parent WHERE id = {key} + 1000)",
    "INSERT INTO zoo.seen VALUES ({key}, 'through a view') ON CONFLICT DO NOTHING", "UPDATE zoo.seen SET v = left(v, 5) WHERE id % {few} = 0", "DELETE FROM zoo.seen WHERE id = {key}", "INSERT INTO zoo.both VALUES ({key}, 'by a rule', 0)",
    "INSERT INTO zoo.ruled SELECT n, 'x' FROM generate_series({key}, {key} + {few}) n ON CONFLICT (id) DO UPDATE SET v = 'again'", "DELETE FROM zoo.ruled WHERE id % {few} = 0",
    "UPDATE zoo.late SET k = k + 1, during = int4range(lower(during) + 1, upper(during) + 1)", "UPDATE zoo.late SET k = (SELECT max(k) + min(k) FROM zoo.late) - k",
    "UPDATE zoo.identity SET v = v || '!' WHERE id % {few} = 0", "UPDATE zoo.identity SET u = u + 1000 WHERE id = {key}", "DELETE FROM zoo.identity WHERE id = {key}", "INSERT INTO zoo.identity VALUES ({key}, {key} + 100000, 'n') ON CONFLICT DO NOTHING",
    "INSERT INTO zoo.part SELECT n, (ARRAY['a', 'b', 'c'])[1 + n % 3], 'x' FROM generate_series({key}, {key} + {few}) n ON CONFLICT DO NOTHING", "UPDATE zoo.part SET region = (ARRAY['b', 'c', 'a'])[1 + {few} % 3] WHERE id = {key}",
    "UPDATE zoo.part SET v = v || '!' WHERE id % {few} = 0", "DELETE FROM zoo.part WHERE id % {some} = 2", "INSERT INTO zoo.part_b (id, region, v) VALUES ({key}, 'b', 'direct') ON CONFLICT DO NOTHING",
    "INSERT INTO zoo.mother VALUES ({key}, 'm') ON CONFLICT DO NOTHING", "INSERT INTO zoo.daughter VALUES ({key} + 1000, 'd', 1) ON CONFLICT DO NOTHING", "UPDATE zoo.mother SET v = v || '!'", "DELETE FROM zoo.mother WHERE id % {some} = 0",
    "INSERT INTO zoo.wide (id, a, b, n) SELECT {key}, repeat(md5(random()::text), 200), repeat('b', {some} * 1000), 0 ON CONFLICT (id) DO UPDATE SET n = zoo.wide.n + 1", "UPDATE zoo.wide SET n = n + 1", "UPDATE zoo.wide SET b = repeat('c', 20000) WHERE id = {key}",
    "UPDATE zoo.wide SET id = id + 5000 WHERE id = {key} AND NOT EXISTS (SELECT FROM zoo.wide WHERE id = {key} + 5000)", "TRUNCATE zoo.parent RESTART IDENTITY CASCADE", "TRUNCATE zoo.ident, zoo.audit, zoo.ruled RESTART IDENTITY", "TRUNCATE zoo.part_b",
    "TRUNCATE ONLY zoo.mother", "WITH gone AS (DELETE FROM zoo.wide WHERE id = {key} + 9500 RETURNING id) INSERT INTO zoo.audit (what, id) SELECT 'with', {key}", "UPDATE zoo.ident SET kind = (enum_range(NULL::zoo.kind))[cardinality(enum_range(NULL::zoo.kind))] WHERE id % {few} = 0",
]
MERGE = ("MERGE INTO zoo.identity AS t USING (SELECT n, n + 200000 AS u FROM generate_series({key}, {key} + {few}) n) AS s ON t.id = s.n WHEN MATCHED AND t.id % 2 = 0 THEN UPDATE SET v = 'merged' WHEN MATCHED THEN DELETE "
         "WHEN NOT MATCHED THEN INSERT VALUES (s.n, s.u, 'new')")

# {c}: a new name. What comes with rows in one statement is one transaction.
STATEMENTS = [
    "ALTER TYPE zoo.kind ADD VALUE 'v{c}'", "ALTER TYPE zoo.kind ADD VALUE 'w{c}' BEFORE 'b'", "ALTER TYPE zoo.kind RENAME VALUE 'b' TO 'b{c}'; ALTER TYPE zoo.kind RENAME VALUE 'b{c}' TO 'b'",
    "ALTER TABLE zoo.wide ADD c{c} integer DEFAULT {few}; UPDATE zoo.wide SET c{c} = n", "ALTER TABLE zoo.wide ADD c{c} float8 DEFAULT random()", "ALTER TABLE zoo.wide ADD c{c} timestamptz NOT NULL DEFAULT clock_timestamp()", "ALTER TABLE zoo.wide ADD c{c} bigint DEFAULT nextval('zoo.numbers')",
    "ALTER TABLE zoo.wide ADD c{c} uuid DEFAULT gen_random_uuid(), ADD d{c} text DEFAULT 'x'", "UPDATE zoo.wide SET n = n + 1; ALTER TABLE zoo.wide RENAME n TO n{c}; UPDATE zoo.wide SET n{c} = n{c} + 1; ALTER TABLE zoo.wide RENAME n{c} TO n; UPDATE zoo.wide SET n = n - 1",
    "ALTER TABLE zoo.wide ALTER n TYPE text USING 'n' || n; UPDATE zoo.wide SET n = n || '0'; ALTER TABLE zoo.wide ALTER n TYPE integer USING substr(n, 2)::bigint % 1000", "ALTER TABLE zoo.wide DROP b; UPDATE zoo.wide SET n = n + 1; ALTER TABLE zoo.wide ADD b text DEFAULT 'again'",
    "ALTER TABLE zoo.wide ALTER n TYPE bigint; INSERT INTO zoo.wide (id, n) VALUES ({key} + 9000, 5000000000) ON CONFLICT DO NOTHING; DELETE FROM zoo.wide WHERE n > 4000000000; ALTER TABLE zoo.wide ALTER n TYPE integer",
    "ALTER TABLE zoo.identity REPLICA IDENTITY FULL", "ALTER TABLE zoo.identity REPLICA IDENTITY DEFAULT", "ALTER TABLE zoo.identity REPLICA IDENTITY USING INDEX identity_u_key", "ALTER TABLE zoo.identity REPLICA IDENTITY NOTHING; INSERT INTO zoo.identity VALUES ({key} + 7000, {key} + 300000, 'n'); ALTER TABLE zoo.identity REPLICA IDENTITY DEFAULT",
    "ALTER TABLE zoo.identity DROP CONSTRAINT identity_pkey; INSERT INTO zoo.identity VALUES ({key} + 20000, {key} + 400000, 'no key'); ALTER TABLE zoo.identity ADD PRIMARY KEY (id)", "ALTER TABLE zoo.identity REPLICA IDENTITY FULL; UPDATE zoo.identity SET v = 'full' WHERE id % 2 = 0; ALTER TABLE zoo.identity REPLICA IDENTITY DEFAULT",
    "ALTER TABLE zoo.part DETACH PARTITION zoo.part_b; INSERT INTO zoo.part_b (id, region, v) VALUES ({key} + 3000, 'b', 'apart') ON CONFLICT DO NOTHING; UPDATE zoo.part_b SET v = v || '?'; ALTER TABLE zoo.part ATTACH PARTITION zoo.part_b FOR VALUES IN ('b')",
    "CREATE TABLE zoo.part_{c} (v text, id integer NOT NULL, region text NOT NULL, PRIMARY KEY (id, region)); INSERT INTO zoo.part_{c} VALUES ('new', {key}, 'p{c}'); ALTER TABLE zoo.part ATTACH PARTITION zoo.part_{c} FOR VALUES IN ('p{c}'); INSERT INTO zoo.part VALUES ({key} + 1, 'p{c}', 'root')",
    "CREATE TABLE zoo.part_{c} PARTITION OF zoo.part FOR VALUES IN ('q{c}') PARTITION BY RANGE (id); CREATE TABLE zoo.part_{c}_1 PARTITION OF zoo.part_{c} DEFAULT; INSERT INTO zoo.part VALUES ({key}, 'q{c}', 'deep')",
    "ALTER TABLE zoo.part ADD c{c} integer DEFAULT 5; UPDATE zoo.part SET c{c} = id; ALTER TABLE zoo.part DROP c{c}", "CREATE TABLE zoo.like_{c} (LIKE zoo.ident INCLUDING ALL); INSERT INTO zoo.like_{c} (n) SELECT n FROM zoo.ident LIMIT {few}",
    "CREATE TABLE zoo.like_{c} (LIKE zoo.typed INCLUDING ALL, extra text); INSERT INTO zoo.like_{c} SELECT * FROM zoo.typed LIMIT {few}", "CREATE TABLE zoo.as_{c} AS SELECT id, p, ks, r FROM zoo.typed LIMIT {some}; DELETE FROM zoo.as_{c} WHERE id % 2 = 0", "SELECT id, v INTO zoo.into_{c} FROM zoo.parent; UPDATE zoo.into_{c} SET v = 'into'",
    "CREATE TABLE zoo.cascade_{c} (id integer PRIMARY KEY REFERENCES zoo.parent ON DELETE CASCADE); INSERT INTO zoo.cascade_{c} SELECT id FROM zoo.parent LIMIT {few}; TRUNCATE zoo.parent CASCADE; DROP TABLE zoo.cascade_{c}",
    "ALTER TABLE zoo.ident DISABLE TRIGGER note; UPDATE zoo.ident SET n = 0 WHERE id % {few} = 0; ALTER TABLE zoo.ident ENABLE TRIGGER note", "CREATE OR REPLACE FUNCTION zoo.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := left(coalesce(NEW.v, '') || '{c}', 20); RETURN NEW; END $$",
    "ALTER DOMAIN zoo.positive DROP CONSTRAINT positive_check; UPDATE zoo.typed SET d = -1 WHERE id % {few} = 0; DELETE FROM zoo.typed WHERE d < 0; ALTER DOMAIN zoo.positive ADD CONSTRAINT positive_check CHECK (VALUE > 0)",
    "ALTER TYPE zoo.pair RENAME ATTRIBUTE n TO m; UPDATE zoo.typed SET p.m = 7 WHERE id % {few} = 0; ALTER TYPE zoo.pair RENAME ATTRIBUTE m TO n", "ALTER TABLE zoo.ident DROP g; UPDATE zoo.ident SET n = n + 1 WHERE id % {few} = 0; ALTER TABLE zoo.ident ADD g integer GENERATED ALWAYS AS (n * 3) STORED",
    "ALTER TABLE zoo.ident ALTER id SET GENERATED BY DEFAULT; INSERT INTO zoo.ident (id, n) VALUES (-{key} - 1000, 0) ON CONFLICT DO NOTHING; ALTER TABLE zoo.ident ALTER id SET GENERATED ALWAYS", "ALTER TABLE zoo.ident ALTER id RESTART WITH {c}00000",
    "SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE zoo.late DROP CONSTRAINT late_k_key; UPDATE zoo.late SET k = 1 WHERE id % 7 = 0; UPDATE zoo.late SET k = -id - {c} * 100; ALTER TABLE zoo.late ADD CONSTRAINT late_k_key UNIQUE (k) DEFERRABLE INITIALLY DEFERRED", "ALTER TABLE zoo.daughter NO INHERIT zoo.mother; INSERT INTO zoo.mother VALUES ({key}, 'alone') ON CONFLICT DO NOTHING; ALTER TABLE zoo.daughter INHERIT zoo.mother",
    "CREATE UNLOGGED TABLE zoo.unlogged_{c} (id integer PRIMARY KEY); DROP TABLE zoo.unlogged_{c}", "CREATE TABLE zoo.born_{c} (id serial PRIMARY KEY, v text); INSERT INTO zoo.born_{c} (v) SELECT 'x' FROM generate_series(1, {few} * 400); ALTER TABLE zoo.born_{c} ADD w integer DEFAULT 3; UPDATE zoo.born_{c} SET w = id; DELETE FROM zoo.born_{c} WHERE id % 3 = 0; CREATE INDEX ON zoo.born_{c} (w)",
    "SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE zoo.child DROP CONSTRAINT child_parent_fkey; UPDATE zoo.child SET parent = -1; DELETE FROM zoo.child WHERE id % 2 = 0; UPDATE zoo.child SET parent = NULL; ALTER TABLE zoo.child ADD CONSTRAINT child_parent_fkey FOREIGN KEY (parent) REFERENCES zoo.parent ON DELETE CASCADE ON UPDATE CASCADE",
    "DO $$ BEGIN EXECUTE 'ALTER TABLE zoo.ruled ADD c{c} integer'; UPDATE zoo.ruled SET c{c} = id; EXECUTE 'ALTER TABLE zoo.ruled DROP c{c}'; END $$", "ALTER TABLE zoo.ruled RENAME TO ruled_{c}; INSERT INTO zoo.ruled_{c} VALUES ({key}, 'renamed') ON CONFLICT DO NOTHING; ALTER TABLE zoo.ruled_{c} RENAME TO ruled",
    "ALTER TABLE zoo.wide CLUSTER ON wide_pkey; CLUSTER zoo.wide", "CREATE MATERIALIZED VIEW zoo.m_{c} AS SELECT id FROM zoo.parent; DROP MATERIALIZED VIEW zoo.m_{c}",
]


def _fill(rng: random.Random, text: str, number: Any) -> str:
    return text.format(few=rng.randrange(2, 9), some=rng.randrange(9, 30), key=rng.randrange(1, 300), c=number)


def _next(session: Session) -> int:
    return int(session.execute("SELECT nextval('zoo.numbers')").fetchone()[0])    # type: ignore[index]


def _copy_freeze(session: Session, rng: random.Random) -> None:
    """Rows that are frozen in the transaction that emptied their table."""
    session.execute("TRUNCATE zoo.ruled")
    with session.cursor().copy("COPY zoo.ruled FROM STDIN (FREEZE)") as copy:
        for n in range(rng.randrange(300)):
            copy.write_row((n, "frozen"))


def _large(session: Session, rng: random.Random) -> None:
    """A streamed transaction with statements inside."""
    number = _next(session)
    session.execute(f"CREATE TABLE zoo.large_{number} (id integer PRIMARY KEY, v text); INSERT INTO zoo.large_{number} SELECT n, md5(n::text) FROM generate_series(1, 8000) n")
    for _ in range(rng.randrange(3)):
        with session.transaction(force_rollback=rng.random() < 0.4):
            session.execute(_fill(rng, f"ALTER TABLE zoo.large_{number} ADD c{{c}} integer DEFAULT {{few}}; UPDATE zoo.large_{number} SET c{{c}} = id WHERE id % {{few}} = 0", _next(session)))
    session.execute(f"UPDATE zoo.large_{number} SET v = 'x' WHERE id % 2 = 0")
    if rng.random() < 0.5:
        session.execute(f"DROP TABLE zoo.large_{number}")


def write_rows(session: Session, rng: random.Random) -> None:
    rows = ROWS + [MERGE] * (session.info.server_version >= 150000)
    for deed in rng.choices(rows, k=rng.choice([1, 1, 2, 5])):
        with session.transaction(force_rollback=rng.random() < 0.1):
            session.execute(_fill(rng, deed, 0))


def write_statements(session: Session, rng: random.Random) -> None:
    for deed in rng.choices(STATEMENTS, k=rng.choice([1, 1, 2])):
        with session.transaction(force_rollback=rng.random() < 0.15):
            session.execute(_fill(rng, deed, _next(session)))


DEEDS: dict[Callable[[Session, random.Random], None], int] = {write_rows: 12, write_statements: 4, _copy_freeze: 1, _large: 1}


def write(session: Session, rng: random.Random, may_alter: bool = True) -> None:
    """One transaction; committed, rolled back, or prepared and then the one or the other."""
    deeds = DEEDS if may_alter else {write_rows: 1}
    name = f"zoo {rng.getrandbits(48)}"
    session.execute("BEGIN")
    try:
        for deed in rng.choices(list(deeds), list(deeds.values()), k=rng.choice([1, 1, 1, 3])):
            deed(session, rng)
        end = rng.choices(["COMMIT", "ROLLBACK", f"PREPARE TRANSACTION '{name}'"], [8, 1, 1])[0]
        session.execute(end)
        if end.startswith("PREPARE"):
            session.execute(f"{'COMMIT' if rng.random() < 0.7 else 'ROLLBACK'} PREPARED '{name}'")
    except psycopg.Error:
        if session.closed:
            raise
        session.execute("ROLLBACK")
