"""Who copies and who follows. Each is a small plug-in: full() from structure to ANALYZE, and for changes begin() and drain()."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Callable, Optional

from datasets import DATABASE
from measure import Client
from servers import Servers
from harness.wait import wait_until  # servers made it known

JOBS = "2"  # the machine of the claims has two cores


class Contender:
    name = ""

    def __init__(self, servers: Servers, pgtide: Path) -> None:
        self.servers, self.pgtide = servers, pgtide
        self.source, self.target = servers.source.dsn(DATABASE), servers.target.dsn(DATABASE)

    def absent(self) -> Optional[str]:
        """Why it cannot take part."""
        return None

    def prepare(self) -> None:
        """Before the clock runs."""
        self.servers.new_database(self.servers.target, DATABASE)

    def full(self, client: Client) -> None:
        raise NotImplementedError

    def clean(self) -> None:
        """After the clock: what it left on the source."""


class Pgtide(Contender):
    name = "pgtide"

    @property
    def state(self) -> Path:
        return self.servers.folder / "state"

    def argv(self, command: str, *options: str) -> list[str]:
        return [str(self.pgtide), command, self.source, self.target, "--state-dir", str(self.state), *options]

    def prepare(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)
        self.servers.target.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')

    def full(self, client: Client) -> None:
        client.run(self.argv("sync", "--until", "caught-up", "--accept", "all", "--jobs", JOBS, "--quiet"))

    # Changes

    def begin(self) -> None:
        self.prepare()
        following = Client().start(self.argv("sync", "--accept", "all", "--quiet"))
        Client().run(self.argv("wait", "--for", "incremental", "--timeout", "600"))
        following.send_signal(signal.SIGINT)
        Client().end(following, allowed=(0, 130))

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        process = client.start(self.argv("sync", "--accept", "all", "--quiet"))
        wait_for(is_there)
        process.send_signal(signal.SIGINT)
        client.end(process, allowed=(0, 130))

    def follow(self) -> subprocess.Popen[bytes]:
        process = Client().start(self.argv("sync", "--accept", "all", "--quiet"))
        Client().run(self.argv("wait", "--for", "caught-up", "--timeout", "600"))
        return process

    def end(self, process: Optional[subprocess.Popen[bytes]] = None) -> None:
        if process is not None:
            process.send_signal(signal.SIGINT)
            Client().end(process, allowed=(0, 130))
        Client().run(self.argv("stop", "--force"))


class PgDump(Contender):
    name = "pg_dump | pg_restore"

    def full(self, client: Client) -> None:
        folder = self.servers.folder / "dump"
        shutil.rmtree(folder, ignore_errors=True)
        client.run(["pg_dump", "-Fd", "-Z0", "-j", JOBS, "-f", str(folder), self.source])
        client.run(["pg_restore", "-j", JOBS, "-d", self.target, str(folder)])
        client.run(["psql", "-qX", self.target, "-c", "ANALYZE"])
        shutil.rmtree(folder)


class Pgcopydb(Contender):
    name = "pgcopydb"

    def absent(self) -> Optional[str]:
        return None if shutil.which("pgcopydb") else "not installed (apt-get install pgcopydb)"

    def full(self, client: Client) -> None:
        folder = self.servers.folder / "pgcopydb"
        shutil.rmtree(folder, ignore_errors=True)
        client.run(["pgcopydb", "clone", "--source", self.source, "--target", self.target, "--dir", str(folder), "--table-jobs", JOBS, "--index-jobs", JOBS,
                    "--skip-extensions", "--no-role-passwords"])


class Pipe(Contender):
    """No parallelism, no checks, no resume: the least that a copy needs. The limit of item 2."""

    name = "limit: psql | psql, binary"

    def full(self, client: Client) -> None:
        tables = [row[0] for row in self.servers.source.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace", DATABASE)]
        client.run(["bash", "-c", f"pg_dump -s --section=pre-data '{self.source}' | psql -qX '{self.target}'"])
        for name in tables if len(tables) < 50 else ():
            client.run(["bash", "-c", f"psql -qX '{self.source}' -c 'COPY {name} TO STDOUT (FORMAT binary)' | psql -qX '{self.target}' -c 'COPY {name} FROM STDIN (FORMAT binary)'"])
        if len(tables) >= 50:
            client.run(["bash", "-c", f"pg_dump -a '{self.source}' | psql -qX -1 '{self.target}'"])
        client.run(["bash", "-c", f"pg_dump -s --section=post-data '{self.source}' | psql -qX '{self.target}'; psql -qX '{self.target}' -c ANALYZE"])


class Native(Contender):
    """Logical replication of PostgreSQL itself, with its defaults."""

    name = "native replication"

    def restore(self) -> None:
        subprocess.run(["bash", "-c", f"pg_dump -s '{self.source}' | psql -qX '{self.target}'"], check=True, capture_output=True)

    def full(self, client: Client) -> None:
        client.run(["bash", "-c", f"pg_dump -s '{self.source}' | psql -qX '{self.target}'"])
        self.servers.source.execute("CREATE PUBLICATION bench FOR ALL TABLES", DATABASE)
        self.subscribe("copy_data = true")
        wait_for(lambda: not self.servers.target.query("SELECT FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's') LIMIT 1", DATABASE), 0.05)
        client.run(["psql", "-qX", self.target, "-c", "ANALYZE"])

    def subscribe(self, options: str) -> None:
        self.servers.target.execute(f"CREATE SUBSCRIPTION bench CONNECTION 'host=127.0.0.1 port={self.servers.source.port} user=postgres dbname={DATABASE}' "
                                    f"PUBLICATION bench WITH ({options})", DATABASE)

    def clean(self) -> None:
        self.servers.target.execute("DROP SUBSCRIPTION IF EXISTS bench", DATABASE)
        self.servers.source.execute("DROP PUBLICATION IF EXISTS bench", DATABASE)

    # Changes

    def begin(self) -> None:
        self.prepare()
        self.restore()
        subprocess.run(["bash", "-c", f"pg_dump -a '{self.source}' | psql -qX '{self.target}'"], check=True, capture_output=True)
        self.servers.target.execute("ANALYZE", DATABASE)
        self.servers.source.execute("CREATE PUBLICATION bench FOR ALL TABLES", DATABASE)
        self.subscribe("copy_data = false, enabled = false, create_slot = false, slot_name = 'bench'")
        self.servers.source.execute("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')", DATABASE)

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        self.servers.target.execute("ALTER SUBSCRIPTION bench ENABLE", DATABASE)
        wait_for(is_there)

    def follow(self) -> None:
        self.servers.target.execute("ALTER SUBSCRIPTION bench ENABLE", DATABASE)

    def end(self, process: None = None) -> None:
        self.clean()


CONTENDERS = (Pgtide, PgDump, Pgcopydb, Native, Pipe)
FOLLOWERS = (Pgtide, Native)


def wait_for(condition: Callable[[], bool], every_s: float = 0.01, limit_s: float = 900) -> None:
    wait_until(condition, limit_s, "the contender came to its end", every_s=every_s)
