"""Size: many tables, wide tables, long rows, many large objects. pgtide's own memory stays bounded, whatever the database is like.

    source, one database of each kind ── pgtide ──▶ target

CI runs a small sample of each; PGTIDE_SCALE=full (`make scale`) the sizes that issue 3 names. Measured there: minutes, and the highest VmHWM.
"""

from __future__ import annotations

import os
import time

from harness.pgtide import OK
from harness.world import Pair, World

FULL = os.environ.get("PGTIDE_SCALE") == "full"
TABLES = 100_000 if FULL else 2_000
STEP = 20 if FULL else 4  # every so many tables are changed: most of the time is the servers' own
ROW_MB = 500 if FULL else 60
CHANGE_MB = 200 if FULL else 40
OBJECTS = 200_000 if FULL else 3_000
COLUMNS = 1_600
MEMORY_MB = 256  # and one row for each worker or lane
OTHERWISE_MB = 60  # what a few tables take beside their rows
PATIENCE_S = 3_600 if FULL else 240


def told(what: str, pair: Pair, began: float) -> None:
    print(f"{what}: {time.monotonic() - began:.0f} s, peak memory {pair.pgtide.run.peak_memory_mb:.0f} MB")


def test_many_small_tables(world: World):
    """Each with a key, every tenth with a foreign key to its neighbour: catalogs are read as sets, nothing is done a table at a time."""
    settings = {"max_locks_per_transaction": 4096, "shared_buffers": "256MB", "max_wal_size": "8GB", "autovacuum": "off"}
    pair = world.pair(source_settings=settings, target_settings=settings)
    with pair.source.connect(pair.database) as session:
        for first in range(0, TABLES, 1000):
            session.execute(f"""DO $$ BEGIN FOR n IN {first}..{min(first + 1000, TABLES) - 1} LOOP
                EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, v text%s)', n, CASE WHEN n % 10 = 9 THEN format(', r integer REFERENCES t%s', n - 1) ELSE '' END);
                EXECUTE format('INSERT INTO t%s VALUES (1, ''one''), (2, ''two'')', n);
                IF n % 5 = 0 THEN EXECUTE format('CREATE INDEX ON t%s (v)', n); END IF; END LOOP; END $$""")
    began = time.monotonic()
    check = pair.pgtide.call("check", deadline_s=PATIENCE_S)
    print(f"check: {time.monotonic() - began:.0f} s")
    assert check.status == OK, check
    began = time.monotonic()
    pair.pgtide.start()
    pair.pgtide.wait_phase("incremental", PATIENCE_S)
    told(f"{TABLES} tables copied", pair, began)
    with pair.source.connect(pair.database) as session:
        for first in range(0, TABLES, 10 * STEP):
            session.execute(f"""DO $$ BEGIN FOR n IN {first}..{min(first + 10 * STEP, TABLES) - 1} BY {STEP} LOOP
                EXECUTE format('INSERT INTO t%s VALUES (3, ''three'')', n); EXECUTE format('UPDATE t%s SET v = ''changed'' WHERE id = 1', n); END LOOP; END $$""")
    began = time.monotonic()
    pair.pgtide.caught_up(PATIENCE_S)
    told(f"a change of each {STEP}th table applied", pair, began)
    began = time.monotonic()
    assert pair.pgtide.status()["tables"]["done"] == TABLES
    print(f"status: {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    pair.pgtide.stop(deadline_s=PATIENCE_S)
    pair.pgtide.run.expect(OK)
    told("stopped", pair, began)
    sums = "SELECT count(*), sum(rows)::bigint FROM (SELECT (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s WHERE v <> ''one''', oid::regclass), false, true, '')))[1]::text::int AS rows FROM pg_class WHERE relname ~ '^t[0-9]+$' AND relkind = 'r') x"
    counts = []
    for cluster in (pair.source, pair.target):
        with cluster.connect(pair.database) as session:
            counts.append(session.execute(sums).fetchone())
    assert counts == [(TABLES, TABLES + 2 * len(range(0, TABLES, STEP)))] * 2
    for sql in ("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname ~ '^t[0-9]+$'", "SELECT count(*) FROM pg_constraint WHERE convalidated AND conrelid::regclass::text ~ '^t[0-9]+$'"):
        assert pair.source_value(sql) == pair.target_value(sql)
    pair.assert_nothing_left()
    assert pair.pgtide.run.peak_memory_mb < MEMORY_MB


def test_long_rows_and_wide_tables(world: World):
    """Each worker holds a row once while it is copied, changed values a few times; 1,600 columns; no column at all; a table larger than the memory limit in pieces."""
    pair = world.pair(options=("--jobs", "2", "--accept", "all"), source_settings={"max_wal_size": "8GB"}, target_settings={"max_wal_size": "8GB"})
    pair.on_source(f"""
        CREATE TABLE long_bytes (id integer PRIMARY KEY, b bytea); ALTER TABLE long_bytes ALTER b SET STORAGE EXTERNAL;
        CREATE TABLE long_text (id integer PRIMARY KEY, t text); ALTER TABLE long_text ALTER t SET STORAGE EXTERNAL;
        CREATE TABLE no_column (); INSERT INTO no_column DEFAULT VALUES; INSERT INTO no_column DEFAULT VALUES; INSERT INTO no_column SELECT FROM generate_series(1, 1000);
        INSERT INTO long_bytes VALUES (1, convert_to(repeat('0123456789abcdef', {ROW_MB} * 65536), 'UTF8'));
        INSERT INTO long_text VALUES (1, repeat('fedcba9876543210', {ROW_MB} * 65536))""")
    pair.on_source(f"CREATE TABLE wide ({', '.join(f'c{n} integer' for n in range(COLUMNS))}); ALTER TABLE wide ADD PRIMARY KEY (c0)")
    pair.on_source(f"INSERT INTO wide SELECT {', '.join('n' if n == 0 else 'NULL' if n % 3 else 'n + 1' for n in range(COLUMNS))} FROM generate_series(1, 200) n")
    began = time.monotonic()
    pair.pgtide.start()
    pair.pgtide.wait_phase("incremental", PATIENCE_S)
    told(f"rows of {ROW_MB} MB copied", pair, began)
    peak = pair.pgtide.run.peak_memory_mb
    assert peak < OTHERWISE_MB + 2 * ROW_MB * 1.05, peak  # two workers, one row each: twice would be 120 MB more, or 1,000
    pair.on_source(f"INSERT INTO long_bytes VALUES (2, convert_to(repeat('0123456789abcdef', {CHANGE_MB} * 65536), 'UTF8'))")
    pair.on_source(f"INSERT INTO long_text VALUES (2, repeat('fedcba9876543210', {CHANGE_MB} * 65536))")
    pair.on_source(f"UPDATE wide SET c1 = 7, c{COLUMNS - 1} = 8 WHERE c0 % 2 = 0; INSERT INTO wide (c0) VALUES (1000); DELETE FROM wide WHERE c0 = 3; INSERT INTO no_column DEFAULT VALUES")
    pair.on_source("UPDATE long_text SET id = 3 WHERE id = 2")
    began = time.monotonic()
    pair.pgtide.finish(PATIENCE_S)
    told(f"changes of {CHANGE_MB} MB applied", pair, began)
    for table in ("long_bytes", "long_text", "wide", "no_column"):
        sql = f"SELECT count(*)::text || coalesce(sum(hashtext(md5(r::text))::bigint), 0) FROM {table} r" if table in ("wide", "no_column") else \
              f"SELECT string_agg(id || md5({'b' if table == 'long_bytes' else 't'}), ',' ORDER BY id) FROM {table}"
        assert pair.source_value(sql) == pair.target_value(sql), table
    pair.assert_nothing_left()
    assert pair.pgtide.run.peak_memory_mb < MEMORY_MB + 4 * max(ROW_MB, CHANGE_MB)


def test_many_large_objects(world: World):
    pair = world.pair(options=("--accept", "all"), source_settings={"max_locks_per_transaction": 4096}, target_settings={"max_wal_size": "4GB"})
    with pair.source.connect(pair.database) as session:
        for first in range(1, OBJECTS + 1, 2000):
            session.execute(f"SELECT lo_from_bytea(100000 + n, decode(md5(n::text), 'hex')) FROM generate_series({first}, {min(first + 1999, OBJECTS)}) n")
    began = time.monotonic()
    pair.pgtide.sync(deadline_s=PATIENCE_S)
    told(f"{OBJECTS} large objects", pair, began)
    sql = "SELECT count(*)::text || ' ' || sum(hashtext(encode(lo_get(oid), 'hex'))::bigint) FROM pg_largeobject_metadata"
    assert pair.source_value(sql) == pair.target_value(sql)
    assert pair.pgtide.run.peak_memory_mb < MEMORY_MB
