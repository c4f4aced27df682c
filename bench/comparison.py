"""What it costs to compare two live tables by value, beside the plain hash that everybody writes by hand; and with everything different."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from contenders import Pgtide
from datasets import DATABASE
from measure import Client, Run, measured
from servers import Servers

CASE = "comparison of values, 10 million rows"
HAND = "SELECT count(*), sum(hashtext(t::text)::bigint) FROM compared t"


@dataclass
class Comparison:
    rows: int
    hand: list[float]  # seconds, the slower side, in turns with pgtide's
    equal: list[Run]
    different: Run

    def ratio(self) -> float:
        return statistics.median(run.seconds for run in self.equal) / statistics.median(self.hand)


def hand(servers: Servers) -> float:
    """Of the slower side, each alone."""
    seconds = []
    for cluster in (servers.source, servers.target):
        began = time.monotonic()
        cluster.query(HAND, DATABASE)
        seconds.append(time.monotonic() - began)
    return max(seconds)


def compare(pgtide: Pgtide, client: Client, status: int) -> None:
    process = client.start(pgtide.argv("compare", "--kind", "values", "--json"))
    client.end(process, allowed=(status,))


def measure(servers: Servers, pgtide: Pgtide, size: float, runs: int) -> Comparison:
    rows = int(10_000_000 * size)
    for cluster in (servers.source, servers.target):
        servers.new_database(cluster, DATABASE)
        cluster.execute(f"""
            CREATE TABLE compared (id bigint PRIMARY KEY, v integer, at timestamptz, text text);
            INSERT INTO compared SELECT n, n % 1000, timestamptz '2026-01-01' + n * interval '1 second', md5(n::text) FROM generate_series(1, {rows}) n""", DATABASE)
        cluster.execute("VACUUM ANALYZE", DATABASE)
        cluster.execute("CHECKPOINT")
    found = Comparison(rows, [], [], Run(0, 0, 0, 0, 0))
    for _ in range(runs):
        found.hand.append(hand(servers))
        found.equal.append(measured(servers, lambda client: compare(pgtide, client, 0)))
    servers.target.execute("UPDATE compared SET v = v + 1", DATABASE)
    servers.target.execute("VACUUM ANALYZE compared", DATABASE)
    found.different = measured(servers, lambda client: compare(pgtide, client, 4))
    return found


def table(c: Comparison) -> str:
    middle = statistics.median(run.seconds for run in c.equal)
    return (f"\n{CASE}\n  by hand, the slower side   {statistics.median(c.hand):8.2f} s ({min(c.hand):.2f}–{max(c.hand):.2f})\n"
            f"  pgtide, equal              {middle:8.2f} s, {c.ratio():.2f} times, {max(run.peak_mb for run in c.equal):.0f} MB\n"
            f"  pgtide, {c.rows} rows differ {c.different.seconds:6.2f} s, {c.different.peak_mb:.0f} MB")
