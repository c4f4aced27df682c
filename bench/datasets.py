"""What is copied. Each data set is made once on the source and copied by every contender. `size` 1 is what the claims are made with."""

from __future__ import annotations

import subprocess
from typing import Callable

from servers import Servers

DATABASE = "bench"


def pgbench(servers: Servers, size: float) -> None:
    scale = max(1, int(50 * size))
    subprocess.run(["pgbench", "-i", "-q", "-s", str(scale), servers.source.dsn(DATABASE)], check=True, capture_output=True)


def wide(servers: Servers, size: float) -> None:
    """About 2 GB with indexes: wide rows, values out of line, foreign keys."""
    rows = int(900_000 * size)
    servers.source.execute(f"""
        CREATE TABLE customer (id bigint PRIMARY KEY, name text NOT NULL, mail text UNIQUE, born date, balance numeric(14, 2), note text);
        CREATE TABLE purchase (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customer, at timestamptz NOT NULL, amount numeric(14, 2), doc jsonb, comment text);
        CREATE TABLE attachment (id bigint PRIMARY KEY, purchase bigint NOT NULL REFERENCES purchase, body bytea, kind text);
        INSERT INTO customer SELECT n, 'name ' || md5(n::text), md5(n::text) || '@example.org', date '1950-01-01' + (n % 20000)::integer, n * 1.01 % 100000, repeat(md5(n::text), 4)
          FROM generate_series(1, {rows // 3}) n;
        INSERT INTO purchase SELECT n, 1 + n % {rows // 3}, timestamptz '2020-01-01' + n * interval '1 minute', n * 3.17 % 10000,
               jsonb_build_object('n', n, 'tags', jsonb_build_array(md5(n::text), n % 7), 'text', repeat(md5(n::text), 8)), repeat(md5((n * 7)::text), 10)
          FROM generate_series(1, {rows}) n;
        INSERT INTO attachment SELECT n, 1 + n % {rows}, (SELECT string_agg(decode(md5((n * 1000 + i)::text), 'hex'), '') FROM generate_series(1, 200) i), 'kind ' || n % 5
          FROM generate_series(1, {rows // 10}) n;
        CREATE INDEX ON purchase (customer); CREATE INDEX ON purchase (at); CREATE INDEX ON purchase USING gin (doc jsonb_path_ops); CREATE INDEX ON customer (name);
        CREATE INDEX ON attachment (purchase);
        """, DATABASE)


def small(servers: Servers, size: float) -> None:
    """2,000 tables with a key, an index and a few rows."""
    for low in range(0, int(2000 * size), 200):
        servers.source.execute("".join(
            f"CREATE TABLE small_{n} (id integer PRIMARY KEY, a text, b timestamptz DEFAULT now()); CREATE INDEX ON small_{n} (a);"
            f"INSERT INTO small_{n} SELECT i, md5(i::text), '2026-01-01' FROM generate_series(1, 100) i;" for n in range(low, low + 200)), DATABASE)


def narrow(servers: Servers, size: float) -> None:
    """20 million rows of two numbers."""
    servers.source.execute(f"""
        CREATE TABLE narrow (id integer NOT NULL, v integer);
        INSERT INTO narrow SELECT n, n % 1000 FROM generate_series(1, {int(20_000_000 * size)}) n;
        ALTER TABLE narrow ADD PRIMARY KEY (id)""", DATABASE)


DATASETS: dict[str, Callable[[Servers, float], None]] = {"pgbench": pgbench, "wide": wide, "small": small, "narrow": narrow}


def make(servers: Servers, name: str, size: float) -> None:
    servers.new_database(servers.source, DATABASE)
    DATASETS[name](servers, size)
    servers.source.execute("VACUUM ANALYZE", DATABASE)
    servers.source.execute("CHECKPOINT")


def checksums(cluster: object, database: str = DATABASE) -> dict[str, tuple[int, int]]:
    """Rows and the sum of their hashes, by plain SQL."""
    tables = cluster.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1", database)  # type: ignore[attr-defined]
    parts = [f"SELECT '{name}', count(*), coalesce(sum(hashtext(t::text)::bigint), 0) FROM {name} t" for (name,) in tables]
    found = {}
    for low in range(0, len(parts), 100):
        for name, rows, total in cluster.query(" UNION ALL ".join(parts[low:low + 100]), database):  # type: ignore[attr-defined]
            found[name] = (int(rows), int(total))
    return found
