"""Who copies and who follows. Each is a small plug-in: full() from structure to ANALYZE, and for changes begin() and drain()."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Callable, Optional

from datasets import DATABASE
from measure import Client
from servers import Servers, give_to_server_user
from harness.wait import wait_until  # servers made it known

JOBS = "2"  # the machine of the claims has two cores


class Contender:
    name = ""
    is_probe = False  # a limit: it measures a part of the work, and leaves the target unlike the source
    on_target = ""  # of the load in hand, see changes.Load

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
        client.done()
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

    def begin_with_slot(self) -> None:
        self.prepare()
        self.restore()
        subprocess.run(["bash", "-c", f"pg_dump -a '{self.source}' | psql -qX '{self.target}'"], check=True, capture_output=True)
        self.servers.target.execute("ANALYZE", DATABASE)
        self.servers.source.execute("CREATE PUBLICATION bench FOR ALL TABLES", DATABASE)
        self.servers.source.execute("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')", DATABASE)

    def begin(self) -> None:
        self.begin_with_slot()
        self.subscribe("copy_data = false, enabled = false, create_slot = false, slot_name = 'bench'")

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        self.servers.target.execute("ALTER SUBSCRIPTION bench ENABLE", DATABASE)
        wait_for(is_there)

    def follow(self) -> None:
        self.servers.target.execute("ALTER SUBSCRIPTION bench ENABLE", DATABASE)

    def end(self, process: None = None) -> None:
        self.clean()


class Relay(Native):
    """The least between two servers: one thread of C that inserts what comes (relay.c). The limit of the delay."""

    name = "limit: a bare relay"
    options: tuple[str, ...] = ()

    def begin(self) -> None:
        self.begin_with_slot()

    def follow(self) -> subprocess.Popen[bytes]:  # type: ignore[override]
        program = self.servers.folder / "relay"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpq"], check=True, capture_output=True, text=True).stdout.split()
        subprocess.run(["cc", "-O2", "-o", str(program), str(Path(__file__).with_name("relay.c")), *flags], check=True)
        return Client().start([str(program), self.source, self.target, "bench", "bench", *self.options])

    def end(self, process: Optional[subprocess.Popen[bytes]] = None) -> None:  # type: ignore[override]
        assert process is not None
        process.terminate()
        Client().end(process, allowed=(-signal.SIGTERM,))
        wait_for(lambda: not self.servers.source.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'bench'"))
        self.servers.source.execute("SELECT pg_drop_replication_slot('bench'); DROP PUBLICATION bench", DATABASE)


class RelayWithPosition(Relay):
    """The same with its position in each transaction of the target, as whoever may be killed needs it."""

    name = "limit: a relay with a position"
    options = ("position",)


class Part(Contender):
    """One part of a copy alone, the parts before it done while no clock runs."""

    is_probe = True

    def tables(self) -> list[str]:
        return [str(row[0]) for row in self.servers.source.query("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace", DATABASE)]

    @staticmethod
    def shell(script: str) -> list[str]:
        return ["bash", "-o", "pipefail", "-c", script]

    def structure(self) -> str:
        return f"pg_dump -s --section=pre-data '{self.source}' | psql -qX -v ON_ERROR_STOP=1 '{self.target}'"

    def filled(self) -> str:
        return "\n".join(f"psql -qX '{self.source}' -c 'COPY {name} TO STDOUT (FORMAT binary)' | psql -qX '{self.target}' -c 'COPY {name} FROM STDIN (FORMAT binary)'" for name in self.tables())


class CopyOut(Part):
    name = "limit: COPY out alone"

    def full(self, client: Client) -> None:
        statements = "".join(f"COPY {name} TO STDOUT (FORMAT binary);\n" for name in self.tables())
        script = self.servers.folder / "out.sql"
        script.write_text(statements)
        client.run(self.shell(f"psql -qX -v ON_ERROR_STOP=1 '{self.source}' -f '{script}' >/dev/null"))


class CopyIn(Part):
    """From files of the target's machine: nothing is sent."""

    name = "limit: COPY in alone"

    @property
    def folder(self) -> Path:
        return self.servers.folder / "binary"

    def prepare(self) -> None:
        super().prepare()
        Client().run(self.shell(self.structure()))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        give_to_server_user(self.folder)
        self.servers.source.execute("".join(f"COPY {name} TO '{self.folder}/{n}' (FORMAT binary);" for n, name in enumerate(self.tables())), DATABASE)

    def full(self, client: Client) -> None:
        for n, name in enumerate(self.tables()):
            self.servers.target.execute(f"COPY {name} FROM '{self.folder}/{n}' (FORMAT binary)", DATABASE)

    def clean(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Indexes(Part):
    name = "limit: index builds alone"

    def prepare(self) -> None:
        super().prepare()
        Client().run(self.shell(self.structure()))
        Client().run(self.shell(self.filled()))

    def full(self, client: Client) -> None:
        client.run(self.shell(f"pg_dump -s --section=post-data '{self.source}' | psql -qX -v ON_ERROR_STOP=1 '{self.target}'"))


class Decoding(Contender):
    """The source decodes and nothing is applied. logical_decoding_work_mem is 1 GB: the best there is."""

    is_probe = True
    OPTIONS = "-c logical_decoding_work_mem=1GB -c work_mem=2GB"

    def begin(self) -> None:
        self.servers.source.execute("CREATE PUBLICATION bench FOR ALL TABLES", DATABASE)
        self.servers.source.execute("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')", DATABASE)

    def end(self, process: None = None) -> None:
        self.servers.source.execute("SELECT pg_drop_replication_slot('bench'); DROP PUBLICATION bench", DATABASE)


class Received(Decoding):
    """Each message is read when it comes."""

    name = "limit: pg_recvlogical"

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        end = self.servers.source.value("SELECT pg_current_wal_insert_lsn()", DATABASE)
        client.run(["pg_recvlogical", "-d", self.source, "--slot=bench", "--start", "-f", "/dev/null", f"--endpos={end}", "--no-loop", "-o", "proto_version=1", "-o", "publication_names=bench"],
                   PGOPTIONS=self.OPTIONS)


class Decoded(Decoding):
    """Within the server: nothing is sent."""

    name = "limit: decoding alone"

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        client.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", self.source, "-c",
                    "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('bench', NULL, NULL, 'proto_version', '1', 'publication_names', 'bench')"], PGOPTIONS=self.OPTIONS)


class OnTarget(Native):
    """As many changes made on the target from within: nothing is decoded, sent or looked at."""

    name = "limit: the target's part alone"
    is_probe = True

    def begin(self) -> None:
        self.begin_with_slot()

    def drain(self, client: Client, is_there: Callable[[], bool]) -> None:
        client.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", self.target, "-c", self.on_target])

    def end(self, process: None = None) -> None:
        self.servers.source.execute("SELECT pg_drop_replication_slot('bench'); DROP PUBLICATION bench", DATABASE)


CONTENDERS = (Pgtide, PgDump, Pgcopydb, Native, Pipe, CopyOut, CopyIn, Indexes)
FOLLOWERS = (Pgtide, Native, Received, Decoded, OnTarget)
STEADY = (Pgtide, Native, Relay, RelayWithPosition)


def wait_for(condition: Callable[[], bool], every_s: float = 0.005, limit_s: float = 900) -> None:
    wait_until(condition, limit_s, "the contender came to its end", every_s=every_s)
