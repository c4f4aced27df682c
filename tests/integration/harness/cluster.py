"""Throw-away PostgreSQL servers.

A template is made once per (installation, family) by initdb and copied for each cluster. Copies share their system identifier, as a
restored backup would; clusters of different families do not. A server runs as the unprivileged user `postgres` when we are root and
as ourselves otherwise, on 127.0.0.1 only, without fsync (we test pgtide's durability, not PostgreSQL's: an immediate shutdown loses nothing
that the kernel has), and dies with us.

A server must be started from the main thread: the kernel ends it together with the thread that started it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional, Sequence

import psycopg

from .ports import Port
from .wait import wait_until

SERVER_USER = "postgres"
TOOLS = Path(__file__).resolve().parent.parent.parent.parent / "tools"


class NotHere(Exception):
    """A version that this machine does not have and could not get."""


@dataclass(frozen=True)
class Installation:
    """Where the programs of one PostgreSQL version are. What is not a server's own (psql, pgbench, pg_dump) may be of a newer version."""

    major: int
    bin: Path

    def program(self, name: str) -> str:
        folders = [self.bin, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
        if name in ("pg_dump", "pg_restore"):
            folders = [self.dump_programs()]
        for folder in folders:
            if (folder / name).exists():
                return str(folder / name)
        raise NotHere(f"there is no {name} on this machine")

    def dump_programs(self) -> Path:
        """The folder of a pg_dump that reads this version: it refuses newer servers than itself."""
        if (self.bin / "pg_dump").exists():
            return self.bin
        found = [folder for folder in debian_folders().items() if folder[0] >= self.major and (folder[1] / "pg_dump").exists()]
        return min(found)[1] if found else get_programs(f"client-{max(self.major, 17)}") / "bin"


def debian_folders() -> dict[int, Path]:
    return {int(folder.parent.name): folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()}


_refused: dict[str, str] = {}


@lru_cache
def get_programs(name: str) -> Path:
    """From the cache of tools/servers, which fetches what is not there. What could not be had once is not asked for again: it may be slow to fail."""
    if name in _refused:
        raise NotHere(_refused[name])
    done = subprocess.run([TOOLS / "servers", name], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        _refused[name] = f"PostgreSQL {name} could not be had: {done.stderr.strip()}"
        raise NotHere(_refused[name])
    return Path(done.stdout.strip())


def installation(major: int) -> Installation:
    """PGTIDE_PG_BIN_<major>, Debian's folder, or one fetched by tools/servers. A path that the servers' user can enter."""
    named = os.environ.get(f"PGTIDE_PG_BIN_{major}")
    folder = Path(named) if named else debian_folders().get(major, Path("/nowhere"))
    if not (folder / "postgres").exists():
        folder = get_programs(str(major)) / "bin"
    return Installation(major, folder)


def can_be_entered(installation: Installation) -> bool:
    """By the servers' user: a checkout below root's home folder cannot."""
    return subprocess.run(as_server_user(["test", "-x", installation.bin / "postgres"]), check=False).returncode == 0


def as_server_user(argv: Sequence[str | Path]) -> list[str]:
    """postgres and initdb refuse to be root. QUIT is an immediate shutdown, sent when the thread that started it ends."""
    command = ["setpriv", "--pdeathsig", "QUIT"]
    if os.getuid() == 0:
        user = pwd.getpwnam(SERVER_USER)
        command += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    return command + [str(word) for word in argv]


def give_to_server_user(path: Path) -> None:
    if os.getuid() == 0:
        user = pwd.getpwnam(SERVER_USER)
        os.chown(path, user.pw_uid, user.pw_gid)


class Templates:
    """Data folders fresh from initdb, in `folder`, which the server's user must be able to reach."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, installation: Installation, family: str, encoding: str = "UTF8") -> Path:
        data = self._folder / f"template-{installation.major}-{family}-{encoding}"
        if not data.exists():
            initdb = [installation.bin / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
            subprocess.run(as_server_user([*initdb, "-E", encoding, "--locale=C"]), check=True, capture_output=True)
        return data


SETTINGS: dict[str, Any] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_connections": 60,
    "max_wal_size": "1GB",
    "wal_level": "logical",
    "max_replication_slots": 10,
    "max_wal_senders": 10,
    "autovacuum_naptime": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a/%d ",
    "log_checkpoints": "off",
    "log_disconnections": "off",
    "restart_after_crash": "on",
}


class Cluster:
    def __init__(self, name: str, installation: Installation, template: Path, folder: Path, port: Port) -> None:
        self.name = name
        self.installation = installation
        self.port = port.number
        self.data = folder / f"{name}-data"
        self.log = folder / f"{name}.log"
        self._reservation = port
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._copy(template, self.data)
        self.configure(**SETTINGS, port=self.port)

    # Life

    def start(self, wait: bool = True) -> "Cluster":
        assert self._process is None, f"{self.name} runs"
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                as_server_user([self.installation.bin / "postgres", "-D", self.data]),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        if wait:
            wait_until(self._answers, 60, f"cluster {self.name} accepts connections")
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one, SIGKILL what it says. Returns when the server is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            how = signal.SIGKILL
            raise
        finally:
            # Children can outlive the postmaster by a moment, always when it was killed; a start before they are gone would be refused.
            wait_until(lambda: not _works_in(self.data), 60, f"the backends of {self.name} are gone")
            if how == signal.SIGKILL:
                (self.data / "postmaster.pid").unlink(missing_ok=True)

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def destroy(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.data, ignore_errors=True)
        self._reservation.release()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def backup(self, to: Path) -> None:
        """The data folder as it is; the cluster must be stopped."""
        assert self._process is None
        self._copy(self.data, to)

    def restore(self, backup: Path) -> None:
        assert self._process is None
        shutil.rmtree(self.data)
        self._copy(backup, self.data)

    def replayed(self, primary: "Cluster") -> None:
        """A standby shows what its primary has committed by now."""
        position = primary.value("SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", parameters=[position]), 60, f"{self.name} replays {position}")

    # Settings

    def configure(self, **settings: Any) -> None:
        """In force after the next start or reload."""
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = '{value}'\n")

    def allow_only(self, *lines: str) -> None:
        """Replaces pg_hba.conf and reloads."""
        (self.data / "pg_hba.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
        self.reload()

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    # Use

    def dsn(self, database: str = "postgres", user: str = "postgres", port: Optional[int] = None, **parameters: Any) -> str:
        """A URI; `port` of a proxy instead of our own."""
        options = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}" + (f"?{options}" if options else "")

    def connect(self, database: str = "postgres", **parameters: Any) -> psycopg.Connection[Any]:
        parameters = {"application_name": "test", "client_encoding": "UTF8", "autocommit": True} | parameters
        return psycopg.connect(self.dsn(database), **parameters)

    def query(self, sql: str, database: str = "postgres", parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.connect(database) as session:
            return session.execute(sql, parameters or None).fetchall()

    def value(self, sql: str, database: str = "postgres", parameters: Sequence[Any] = ()) -> Any:
        return self.query(sql, database, parameters)[0][0]

    def execute(self, sql: str, database: str = "postgres") -> None:
        """One or more statements; several are one transaction, as psql -c."""
        with self.connect(database) as session:
            session.execute(sql)

    def create_database(self, name: str, options: str = "") -> None:
        self.execute(f'CREATE DATABASE "{name}" {options}')

    def psql(self, *files: Path, database: str = "postgres", **variables: Any) -> str:
        command: list[str] = [self.installation.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database)]
        for name, value in variables.items():
            command += ["-v", f"{name}={value}"]
        for file in files:
            command += ["-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"psql {[f.name for f in files]} on {self.name}: {done.stderr}"
        return done.stdout

    def copy_database(self, database: str, to: "Cluster") -> None:
        """The native way, pg_dump into psql: the stand-in for pgtide when the tests test themselves."""
        dump = subprocess.run([self.installation.program("pg_dump"), "-d", self.dsn(database)], capture_output=True, check=True)
        done = subprocess.run([to.installation.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to.dsn(database)],
                              input=dump.stdout, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # Ours alone

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"cluster {self.name} ended with {self._process.returncode}:\n{self.log_text()[-4000:]}")
        try:
            self.connect(connect_timeout=5).close()
            return True
        except psycopg.OperationalError:
            return False

    @staticmethod
    def _copy(what: Path, to: Path) -> None:
        subprocess.run(["cp", "-a", "--reflink=auto", str(what), str(to)], check=True)


def _works_in(folder: Path) -> bool:
    """Does any process live in the data folder? Backends outlive a killed postmaster by a moment and hold its shared memory."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                return True
        except OSError:
            continue
    return False
