"""Everything that one test started. Ends it in the reverse order, and shows its logs when the test failed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from .cluster import Cluster, Installation, Templates, debian_folders, give_to_server_user
from .compare import Comparison, assert_equal
from .leftovers import leftovers
from .load import SQL, Mixed, Pgbench
from .pgtide import Pgtide
from .ports import reserve_port
from .proxy import Proxy
from .wait import wait_until

SHOWN = 6000  # characters of each log


@dataclass
class Pair:
    """A source and a target with a database each, and pgtide between them."""

    source: Cluster
    target: Cluster
    pgtide: Pgtide
    database: str

    def fill_shop(self, scale: int = 1) -> "Pair":
        """Roles belong to a cluster and are not part of a database: they are on both sides."""
        for cluster in (self.source, self.target):
            cluster.psql(SQL / "shop_roles.sql")
        self.source.psql(SQL / "shop.sql", database=self.database, scale=scale)
        return self

    def fill_mixed(self, rows: int = 2000) -> "Pair":
        Mixed.prepare(self.source, self.database, rows)
        return self

    def on_source(self, sql: str) -> None:
        self.source.execute(sql, self.database)

    def source_value(self, sql: str) -> Any:
        return self.source.value(sql, self.database)

    def target_value(self, sql: str) -> Any:
        return self.target.value(sql, self.database)

    def assert_equal(self, objects: bool = True, sequences: bool = True) -> Comparison:
        """Sequences are exact after a stop only."""
        return assert_equal(self.source, self.target, self.database, objects=objects, sequences=sequences)

    def finish(self, deadline_s: float = 90) -> Comparison:
        """The ordinary end of a test: caught up, stopped, everything equal, nothing left."""
        self.pgtide.finish(deadline_s)
        found = self.assert_equal()
        self.assert_nothing_left()
        return found

    def assert_small(self, megabytes: int = 256) -> None:
        """No synchronization of this pair took more. A sanitizer's shadow is not ours."""
        if self.pgtide.runs and "PGTIDE_SANITIZED" not in os.environ:
            peak = max(run.peak_memory_mb for run in self.pgtide.runs)
            assert peak < megabytes, f"the process took {peak:.0f} MB"

    def assert_nothing_left(self) -> None:
        """Sessions end a moment after their client."""
        def left() -> list[str]:
            return leftovers(self.source, self.database) + leftovers(self.target, self.database)
        wait_until(lambda: not left(), 10, f"nothing of pgtide is left: {left()}")
        assert not left()


@dataclass
class BadPair(Pair):
    """A pair whose connections pass proxies."""

    source_net: Proxy
    target_net: Proxy


class World:
    """Clusters whose name begins with "target" are of the target's version, all others of the source's."""

    def __init__(self, folder: Path, templates: Templates, source: Installation, target: Installation, binary: Callable[[], Path]) -> None:
        self.folder = folder
        self._templates = templates
        self._source = source
        self._target = target
        self._binary = binary
        self._endings: list[Callable[[], Any]] = []
        self._clusters: list[Cluster] = []
        self._pgtides: list[Pgtide] = []
        folder.mkdir()
        give_to_server_user(folder)

    # What a test can have

    def cluster(self, name: str, family: str = "", start: bool = True, encoding: str = "UTF8", installation: Installation | None = None,
                **settings: Any) -> Cluster:
        """Clusters of one family share their system identifier; by default each name is a family."""
        installation = installation or (self._target if name.startswith("target") else self._source)
        template = self._templates.get(installation, family or name, encoding)
        cluster = Cluster(name, installation, template, self.folder, reserve_port())
        cluster.configure(**settings)
        self._clusters.append(cluster)
        self.at_end(cluster.destroy)
        return cluster.start() if start else cluster

    def standby(self, primary: Cluster, name: str, start: bool = True, **settings: Any) -> Cluster:
        """A streaming replica. The primary stands still while its folder is copied, which every version allows and takes no program but the server."""
        was_running = primary.is_running
        primary.stop()
        standby = Cluster(name, primary.installation, primary.data, self.folder, reserve_port())
        if was_running:
            primary.start()
        standby.configure(primary_conninfo=f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}", **settings)
        (standby.data / "standby.signal").touch()
        self._clusters.append(standby)
        self.at_end(standby.destroy)
        return standby.start() if start else standby

    def pair(self, database: str = "app", options: tuple[str, ...] = (), source_settings: dict[str, Any] | None = None,
             target_settings: dict[str, Any] | None = None) -> Pair:
        """An empty database on both sides; pgtide talks to the servers directly."""
        source, target = self._servers(database, source_settings, target_settings)
        return Pair(source, target, self.pgtide(source.dsn(database), target.dsn(database), options), database)

    def bad_pair(self, database: str = "app", options: tuple[str, ...] = (), source_settings: dict[str, Any] | None = None,
                 target_settings: dict[str, Any] | None = None) -> BadPair:
        """The same with a proxy before each server."""
        source, target = self._servers(database, source_settings, target_settings)
        nets = self.proxy(source), self.proxy(target)
        pgtide = self.pgtide(source.dsn(database, port=nets[0].port), target.dsn(database, port=nets[1].port), options)
        return BadPair(source, target, pgtide, database, *nets)

    def _servers(self, database: str, source_settings: dict[str, Any] | None, target_settings: dict[str, Any] | None) -> tuple[Cluster, Cluster]:
        source = self.cluster("source", **(source_settings or {}))
        target = self.cluster("target", **(target_settings or {}))
        for cluster in (source, target):
            cluster.create_database(database)
        return source, target

    def pgtide(self, source: str, target: str, options: tuple[str, ...] = ()) -> Pgtide:
        folder = self.folder / f"pgtide-{len(self._pgtides) + 1}"
        folder.mkdir()
        pgtide = Pgtide(self._binary(), folder, source, target, options)
        if self._source.major > max(debian_folders(), default=0):
            pgtide.environment["PGTIDE_PG_BINDIR"] = str(self._source.dump_programs())
        self._pgtides.append(pgtide)
        self.at_end(lambda: [run.kill() for run in pgtide.runs + pgtide.others])
        return pgtide

    def proxy(self, cluster: Cluster) -> Proxy:
        proxy = Proxy(cluster.port)
        self.at_end(proxy.close)
        return proxy

    def pgbench(self, cluster: Cluster, database: str) -> Pgbench:
        bench = Pgbench(cluster, database, self.folder / "pgbench.log")
        self.at_end(bench.stop)
        return bench

    def mixed(self, cluster: Cluster, database: str, seed: int, threads: int = 3, keys: int = 2000) -> Mixed:
        """Its tables must be there already (Mixed.prepare)."""
        load = Mixed(cluster, database, seed, threads, keys)
        self.at_end(load.stop)
        return load

    def at_end(self, ending: Callable[[], Any]) -> None:
        self._endings.append(ending)

    # Its end

    def close(self) -> None:
        """Everything is ended even when one of the endings fails; then the first failure is raised."""
        failures: list[Exception] = []
        for ending in reversed(self._endings):
            try:
                ending()
            except Exception as failure:  # pylint: disable=broad-except
                failures.append(failure)
        if not os.environ.get("PGTIDE_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        if failures:
            raise failures[0]

    def logs(self) -> list[tuple[str, str]]:
        """Name and end of every log, of the program under test first."""
        found = []
        for pgtide in self._pgtides:
            for run in pgtide.runs + pgtide.others:
                found.append((f"{run.label}: exit status {run.status}, stdout", run.out[-SHOWN:]))
                found.append((f"{run.label}: stderr", run.err[-SHOWN:]))
            for log in sorted(pgtide.state_dir.glob("**/log")):
                found.append((str(log), log.read_text(errors="replace")[-SHOWN:]))
        return found + [(f"PostgreSQL {cluster.name}", cluster.log_text()[-SHOWN:]) for cluster in self._clusters]
