"""Whether pgtide costs the same a row, a table and a megabyte of backlog when there are many. No peers: their ratios are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator

import changes
import datasets
from contenders import Pgtide
from datasets import DATABASE
from measure import Run, measured
from servers import Servers

MIB = 1 << 20

# 200 rows of some 400 bytes: a transaction of 100 KB, which brings a backlog in minutes.
CHUNK = """\\set at random(1, 1000000000)
INSERT INTO backlog SELECT nextval('backlog_n'), n, repeat(md5(n::text), 10) FROM generate_series(:at, :at + 199) n;
"""


@dataclass
class Point:
    size: float  # in units of the case
    run: Run

    def each(self) -> float:
        return self.run.seconds / self.size


@dataclass(frozen=True)
class Case:
    name: str
    unit: str
    sizes: tuple[float, ...]
    measure: Callable[[Servers, Pgtide, float], Point]


def copy(servers: Servers, pgtide: Pgtide, size: float) -> Point:
    servers.source.execute("VACUUM ANALYZE", DATABASE)
    pgtide.prepare()
    for cluster in (servers.source, servers.target):
        cluster.execute("CHECKPOINT")
    run = measured(servers, pgtide.full)
    pgtide.clean()
    if datasets.checksums(servers.target) != datasets.checksums(servers.source):
        raise RuntimeError("growth: the two sides differ")
    return Point(size, run)


def rows(servers: Servers, pgtide: Pgtide, millions: float) -> Point:
    servers.new_database(servers.source, DATABASE)
    datasets.narrow(servers, millions / 20)
    return copy(servers, pgtide, millions)


def tables(servers: Servers, pgtide: Pgtide, thousands: float) -> Point:
    servers.new_database(servers.source, DATABASE)
    datasets.small(servers, thousands / 2)
    return copy(servers, pgtide, thousands)


def position(servers: Servers) -> int:
    return int(servers.source.value("SELECT pg_current_wal_lsn() - '0/0'"))


def backlog(servers: Servers, pgtide: Pgtide, gigabytes: float) -> Point:
    servers.new_database(servers.source, DATABASE)
    servers.source.execute("CREATE TABLE backlog (id bigint PRIMARY KEY, a bigint, b text); CREATE SEQUENCE backlog_n; CREATE TABLE sentinel (id integer PRIMARY KEY)", DATABASE)
    pgtide.begin()
    began = position(servers)
    while position(servers) - began < gigabytes * 1024 * MIB:
        changes.bench(servers, *changes.each(min(8000, gigabytes * 1500)), script=CHUNK)
    brought = (position(servers) - began) / 1024 / MIB
    servers.source.execute("INSERT INTO sentinel VALUES (1)", DATABASE)
    for cluster in (servers.source, servers.target):
        cluster.execute("CHECKPOINT")
    with servers.target.connect(DATABASE) as session:
        run = measured(servers, lambda client: pgtide.drain(client, lambda: session.execute("SELECT FROM sentinel").rowcount == 1))
    if datasets.checksums(servers.target) != datasets.checksums(servers.source):
        raise RuntimeError("growth: the two sides differ after the backlog")
    pgtide.end()
    return Point(brought, run)


CASES = (
    Case("growth, rows of one narrow table", "million rows", (1, 5, 20), rows),
    Case("growth, small tables", "thousand tables", (0.1, 2, 20), tables),
    Case("growth, backlog of transactions of 200 rows", "GiB of WAL", (1, 10), backlog),
)


def measure(servers: Servers, pgtide: Pgtide, case: Case, size: float) -> Iterator[Point]:
    for units in case.sizes:
        yield case.measure(servers, pgtide, max(units * size, 0.1))


def table(found: dict[str, list[Point]]) -> str:
    lines = []
    for case in CASES:
        if case.name not in found:
            continue
        lines += [f"\n{case.name}", f"  {case.unit:>20}{'seconds':>9}{'s each':>9}{'CPU client / source / target':>31}{'peak MB':>9}"]
        for p in found[case.name]:
            cpu = f"{p.run.cpu_client:.1f} / {p.run.cpu_source:.1f} / {p.run.cpu_target:.1f}"
            lines.append(f"  {p.size:>20.1f}{p.run.seconds:>9.2f}{p.each():>9.2f}{cpu:>31}{p.run.peak_mb:>9.0f}")
    return "\n".join(lines)
