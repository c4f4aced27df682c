"""Changes: a backlog that is drained, and the delay at a steady rate.

A case is a load on the source. The contender is prepared while the source rests, the load runs while nothing is applied, then the clock
starts with the contender and ends when the load's last row is on the target.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from contenders import Contender
from datasets import DATABASE
from measure import Run, measured
from servers import Servers
from harness.wait import let_pass  # servers made it known

TABLES = """
CREATE TABLE tiny (id bigserial PRIMARY KEY, v integer);
CREATE TABLE plain (id integer PRIMARY KEY, a integer, b text);
CREATE TABLE mix (id integer PRIMARY KEY, name text, amount numeric(14, 2), at timestamptz, doc jsonb, body text);
CREATE INDEX ON mix (at);
CREATE TABLE sentinel (id integer PRIMARY KEY);
"""
MIX = """\\set id random(1, 100000)
\\set what random(1, 10)
\\if :what <= 5
UPDATE mix SET amount = amount + 1, at = now() WHERE id = :id;
\\elif :what <= 8
INSERT INTO mix SELECT 100000 + nextval('tiny_id_seq'), md5(:id::text), :id * 1.01, now(), jsonb_build_object('n', :id, 'text', repeat(md5(:id::text), 6)), repeat(md5(:id::text), 30);
\\else
DELETE FROM mix WHERE id = :id;
\\endif
"""
TINY = "INSERT INTO tiny (v) VALUES (1);"


@dataclass(frozen=True)
class Load:
    name: str
    run: Callable[[Servers, float], None]
    before: str = ""  # in the tables beforehand; {n}: rows
    on_target: str = ""  # what brings as many changes to the target's tables from within: the least that applying can cost; {n}: the size's part of a million
    is_read: bool = False  # somebody on the target keeps a snapshot, as a report or a dump does: nothing dead is removed meanwhile


def bench(servers: Servers, *options: str, script: str = "") -> None:
    argv = ["pgbench", "-n", *options]
    if script:
        file = servers.folder / "script.sql"
        file.write_text(script)
        argv += ["-f", str(file)]
    subprocess.run([*argv, servers.source.dsn(DATABASE)], check=True, capture_output=True)


def each(total: float, clients: int = 8) -> tuple[str, ...]:
    return ("-c", str(clients), "-j", "2", "-t", str(max(1, int(total / clients))))


ACCOUNTS = """SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; BEGIN;
UPDATE pgbench_accounts a SET abalance = abalance + 1
  FROM (SELECT DISTINCT 1 + (random() * (SELECT max(aid) - 1 FROM pgbench_accounts))::integer AS aid FROM generate_series(1, {n} / 20) ORDER BY 1) v WHERE a.aid = v.aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) SELECT n, n, n, n, now() FROM generate_series(1, {n} / 20) n; COMMIT"""
PLAIN = "INSERT INTO plain SELECT n, n, md5(n::text) FROM generate_series(1, {n}) n"
LOADS = (
    Load("TPC-B, 50,000 transactions", lambda s, size: bench(s, *each(50_000 * size)), on_target=ACCOUNTS),
    Load("TPC-B, 50,000 transactions, while a report reads the target", lambda s, size: bench(s, *each(50_000 * size)), is_read=True),
    Load("pgbench -N, 150,000 transactions", lambda s, size: bench(s, "-N", *each(150_000 * size))),
    Load("300,000 transactions of one insert", lambda s, size: bench(s, *each(300_000 * size), script=TINY)),
    Load("one transaction of 1,000,000 inserts", lambda s, size: s.source.execute(PLAIN.format(n=int(1_000_000 * size)), DATABASE), on_target=PLAIN),
    Load("one transaction of 1,000,000 updates", lambda s, size: s.source.execute("UPDATE plain SET a = a + 1", DATABASE), before=PLAIN, on_target="UPDATE plain SET a = a + 1"),
    Load("a mix of wide rows, 100,000 transactions", lambda s, size: bench(s, *each(100_000 * size), script=MIX),
         before="INSERT INTO mix SELECT n, md5(n::text), n * 1.01, now(), jsonb_build_object('n', n, 'text', repeat(md5(n::text), 6)), repeat(md5(n::text), 30) FROM generate_series(1, 100000) n"),
)


def prepare(servers: Servers, load: Load, size: float) -> None:
    servers.new_database(servers.source, DATABASE)
    subprocess.run(["pgbench", "-i", "-q", "-s", str(max(1, int(20 * size))), servers.source.dsn(DATABASE)], check=True, capture_output=True)
    servers.source.execute(TABLES, DATABASE)
    # pgbench's history has no key; both contenders follow it as a table of inserts.
    servers.source.execute("ALTER TABLE pgbench_history REPLICA IDENTITY FULL", DATABASE)
    if load.before:
        servers.source.execute(load.before.format(n=int(1_000_000 * size)), DATABASE)
    servers.source.execute("VACUUM ANALYZE", DATABASE)
    servers.source.execute("CHECKPOINT")


def drain(servers: Servers, contender: Contender, load: Load, size: float) -> Run:
    prepare(servers, load, size)
    contender.on_target = load.on_target.format(n=int(1_000_000 * size))
    contender.begin()  # type: ignore[attr-defined]
    load.run(servers, size)
    servers.source.execute("INSERT INTO sentinel VALUES (1)", DATABASE)
    for cluster in (servers.source, servers.target):
        cluster.execute("CHECKPOINT")
    with servers.target.connect(DATABASE) as session, servers.target.connect(DATABASE) as report:
        if load.is_read:
            report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            report.execute("SELECT FROM pgbench_branches")
        run = measured(servers, lambda client: contender.drain(client, lambda: session.execute("SELECT FROM sentinel").rowcount == 1))  # type: ignore[attr-defined]
    return run


def delays(servers: Servers, contender: Contender, rate: int, seconds: int) -> list[float]:
    """Rows of our own among `rate` transactions a second: from the answer to our COMMIT until a reader of the target sees it."""
    load = LOADS[2]
    prepare(servers, load, 0.05)
    contender.begin()  # type: ignore[attr-defined]
    process = contender.follow()  # type: ignore[attr-defined]
    script = servers.folder / "script.sql"
    Path(script).write_text(TINY)
    pgbench = subprocess.Popen(["pgbench", "-n", "-c", "4", "-R", str(rate), "-T", str(seconds), "-f", str(script), servers.source.dsn(DATABASE)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = []
    with servers.source.connect(DATABASE) as source, servers.target.connect(DATABASE) as target:
        n = 0
        while pgbench.poll() is None:
            n += 1
            source.execute("INSERT INTO sentinel VALUES (%s)", (n,))
            committed = time.monotonic()
            while target.execute("SELECT FROM sentinel WHERE id = %s", (n,), prepare=True).rowcount == 0:
                pass
            found.append(time.monotonic() - committed)
            let_pass(0.01)
    pgbench.wait()
    contender.end(process)  # type: ignore[attr-defined]
    return found[len(found) // 10:]  # the first are of connections and caches
