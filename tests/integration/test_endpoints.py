"""Test Connection: every way of libpq to say where and who, and the exact cause when it does not come about.

    source (TLS, SCRAM, client certificates; pg_hba by user) ── pgtide ──▶ target (the same)
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
from typing import Any

import pytest

from harness.cluster import Cluster
from harness.pgtide import OK, REFUSED, Done
from harness.ports import reserve_port
from harness.tls import Authority
from harness.world import World

HBA = (
    "hostssl all certain 127.0.0.1/32 cert",
    "hostssl all scrammed 127.0.0.1/32 scram-sha-256",
    "host all unwanted 127.0.0.1/32 reject",
    "host all nobody 127.0.0.1/32 trust",
    "host all,replication postgres 127.0.0.1/32 trust",
)


class Servers:
    """One cluster for all of this file: the target is another database of it."""

    def __init__(self, world: World) -> None:
        self.folder = world.folder
        self.authority = Authority(world.folder)
        self.stranger = Authority(world.folder, "stranger")
        self.cluster = world.cluster("secure", start=False)
        self.authority.secure(self.cluster, "IP:127.0.0.1")
        self.cluster.start()
        self.cluster.execute("CREATE ROLE certain LOGIN SUPERUSER; CREATE ROLE scrammed LOGIN SUPERUSER PASSWORD 'right:pass\\word';"
                             "CREATE ROLE unwanted LOGIN; CREATE ROLE idle NOLOGIN")
        self.cluster.create_database("app")
        self.cluster.execute("CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 100) n", "app")
        self.cluster.allow_only(*HBA)
        self.binary = world.pgtide("", "").binary
        self._n = 0

    def conninfo(self, database: str = "app", **given: Any) -> str:
        words = {"host": "127.0.0.1", "port": self.cluster.port, "dbname": database, "user": "postgres"} | given
        return " ".join(f"{name}='{str(value)}'" for name, value in words.items() if value is not None)

    def call(self, command: str, source: str, target: str, *options: str, **environment: str) -> Done:
        self._n += 1
        argv = [str(self.binary), command, source, target, *options, "--state-dir", str(self.folder / f"state-{self._n}")]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False,
                              env=clean | {"HOME": str(self.folder)} | environment)
        return Done(f"{command} {source} {target}", done.returncode, done.stdout, done.stderr)

    def items(self, source: str, target: str, **environment: str) -> tuple[dict[str, dict[str, Any]], str]:
        done = self.call("check", source, target, "--json", **environment)
        assert done.out, done
        return {item["id"]: item for item in json.loads(done.out)["items"]}, done.out + done.err

    def source(self, conninfo: str, **environment: str) -> dict[str, Any]:
        """What is said about reaching a source."""
        found, said = self.items(conninfo, self.conninfo("copy"), **environment)
        assert "right:pass" not in said and "wrong-9c1" not in said and "geheim" not in said
        return found["source-reachable"] | {"tls": found["source-tls"], "all": found}


@pytest.fixture(scope="module")
def servers(shared_world: World) -> Servers:
    return Servers(shared_world)


def test_a_session_that_comes_about_is_described(servers: Servers):
    found = servers.source(servers.conninfo(sslmode="require"))
    reason = found["reason"]
    assert found["result"] == "PASSED"
    for said in ("PostgreSQL ", "primary", "superuser", "TLSv1.3 with TLS_", "ms a round trip"):
        assert said in reason, reason
    assert "not verified" in found["tls"]["reason"], found["tls"]
    plain = servers.source(servers.conninfo(sslmode="disable"))
    assert "no TLS" in plain["reason"] and "leaves this machine" in plain["tls"]["reason"]


def ways_in(servers: Servers, kind: str) -> tuple[str, dict[str, str]]:
    """Each with the rights of a superuser; a connection string and an environment."""
    authority, port = servers.authority, servers.cluster.port
    if kind == "uri with several hosts and target_session_attrs":
        nobody = reserve_port()
        nobody.release()
        return f"postgresql://postgres@127.0.0.1:{nobody.number},127.0.0.1:{port}/app?target_session_attrs=read-write", {}
    if kind == "verify-full":
        return servers.conninfo(sslmode="verify-full", sslrootcert=authority.root), {}
    if kind in ("client certificate", "client certificate with a protected key"):
        password = "geheim wort" if "protected" in kind else ""
        certificate, key = authority.sign("certain", password=password)
        return servers.conninfo(user="certain", sslmode="verify-ca", sslrootcert=authority.root, sslcert=certificate, sslkey=key,
                                sslpassword=password or None), {}
    if kind == "scram with a password in the uri":
        return f"postgresql://scrammed:right%3Apass%5Cword@127.0.0.1:{port}/app?channel_binding=require", {}
    if kind == "passfile":
        passfile = servers.folder / "passfile"
        passfile.write_text(f"127.0.0.1:{port}:*:scrammed:right\\:pass\\\\word\n", encoding="ascii")
        passfile.chmod(0o600)
        return servers.conninfo(user="scrammed", passfile=passfile), {}
    assert kind == "service file"
    service = servers.folder / "services"
    service.write_text(f"[old]\nhost=127.0.0.1\nport={port}\ndbname=app\nuser=scrammed\npassword=right:pass\\word\nsslmode=require\n", encoding="ascii")
    return "service=old", {"PGSERVICEFILE": str(service)}


@pytest.mark.parametrize("kind", [
    "uri with several hosts and target_session_attrs", "verify-full", "client certificate", "client certificate with a protected key",
    "scram with a password in the uri", "passfile", "service file",
])
def test_all_sessions_use_the_same_way_in(servers: Servers, kind: str):
    """check, the replication session, workers and pg_dump: a sync to its end."""
    source, environment = ways_in(servers, kind)
    assert servers.source(source, **environment)["result"] == "PASSED"
    done = servers.call("sync", source, servers.conninfo("copy"), "--until", "caught-up", **environment)
    assert done.status == OK, done
    assert servers.cluster.value("SELECT count(*) FROM t", "copy") == 100
    servers.cluster.execute("DROP DATABASE copy")
    assert servers.cluster.query("SELECT slot_name FROM pg_replication_slots") == []


@pytest.mark.parametrize("case, said, advice", [
    ("name", "could not translate host name", "address"),
    ("refused", "Connection refused", "listen_addresses"),
    ("hba", "pg_hba.conf rejects", "pg_hba.conf"),
    ("no line", "no pg_hba.conf entry", "pg_hba.conf"),
    ("password", "password authentication failed", ".pgpass"),
    ("no password", "no password supplied", ".pgpass"),
    ("role", "nobody", "role exists"),
    ("database", "\"nothing\" does not exist", "create the database"),
    ("no root", "does not exist", "sslrootcert"),
    ("stranger", "certificate verify failed", "sslrootcert"),
    ("other name", "does not match host name", "certificate"),
    ("no client certificate", "certificate", "sslcert"),
    ("attributes", "hot standby mode", "target_session_attrs"),
])
def test_the_cause_of_a_refusal_is_said_and_what_to_do(servers: Servers, case: str, said: str, advice: str):
    nobody = reserve_port()
    root = servers.authority.root
    strings = {
        "name": {"host": "no-such-host.invalid"},
        "refused": {"port": nobody.number},
        "hba": {"user": "unwanted"},
        "no line": {"user": "idle"},
        "password": {"user": "scrammed", "password": "wrong-9c1"},
        "no password": {"user": "scrammed", "passfile": "/dev/null"},
        "role": {"user": "nobody"},
        "database": {"dbname": "nothing"},
        "no root": {"sslmode": "verify-full", "sslrootcert": servers.folder / "missing.crt"},
        "stranger": {"sslmode": "verify-full", "sslrootcert": servers.stranger.root},
        "other name": {"host": "db.test", "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": root},
        "no client certificate": {"user": "certain", "sslmode": "require"},
        "attributes": {"target_session_attrs": "standby"},
    }
    found = servers.source(servers.conninfo(**strings[case]))
    nobody.release()
    assert found["result"] == "FAILED"
    if case == "name":  # without a network the name service itself does not answer
        advice = "name service"
    assert said in found["reason"], found["reason"]
    assert advice in found["fix"], found["fix"]
    # What needs the source says why it was not looked at; the target was looked at all the same.
    assert found["all"]["source-wal-level"]["reason"] == "not checked because source-reachable failed"
    assert found["all"]["target-reachable"]["result"] == "PASSED"


def test_a_server_that_does_not_answer_is_given_up(servers: Servers):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = servers.source(servers.conninfo(port=silent.getsockname()[1], connect_timeout=2))
    assert found["result"] == "FAILED" and "timed out after 2 s" in found["reason"], found


def test_a_server_without_tls_that_should_have_it(world: World, servers: Servers):
    plain = world.cluster("plain")
    found = servers.source(plain.dsn(sslmode="require"))
    assert found["result"] == "FAILED" and "does not support SSL" in found["reason"] and "ssl" in found["fix"], found


def test_too_many_connections(servers: Servers):
    cluster: Cluster = servers.cluster
    cluster.execute("CREATE ROLE nobody LOGIN CONNECTION LIMIT 0")
    found = servers.source(servers.conninfo(user="nobody"))
    cluster.execute("DROP ROLE nobody")
    assert found["result"] == "FAILED" and "too many connections" in found["reason"] and "connections" in found["fix"], found


def without_options(chunk: bytes, to_client: bool) -> bytes:
    """A pooler's ignore_startup_parameters: the session's settings are swallowed."""
    if to_client or len(chunk) < 9 or struct.unpack("!I", chunk[4:8])[0] != 3 << 16:
        return chunk
    words = chunk[8:].split(b"\0")
    kept = [word for name, value in zip(words[0::2], words[1::2]) if name not in (b"", b"options") for word in (name, value)]
    body = b"\0".join([*kept, b"", b""])
    return struct.pack("!II", len(body) + 8, 3 << 16) + body


def with_another_pid(chunk: bytes, to_client: bool) -> bytes:
    """A pooler tells its clients keys of its own for cancelling (BackendKeyData)."""
    at = chunk.find(b"K\0\0\0\x0c") if to_client else -1
    return chunk if at < 0 else chunk[:at + 5] + struct.pack("!I", 4242424) + chunk[at + 9:]


def test_what_stands_between_pgtide_and_a_server_is_noticed(servers: Servers, world: World):
    other = world.cluster("other", family="secure")  # the same system identifier, as a standby has
    other.create_database("app")
    proxy = world.proxy(servers.cluster)
    conninfo = servers.conninfo(port=proxy.port, sslmode="disable")

    def sessions() -> dict[str, Any]:
        return servers.source(conninfo)["all"]["source-sessions"]

    assert sessions()["result"] == "PASSED"
    proxy.alter(with_another_pid)
    assert sessions()["result"] == "FAILED" and "pooler" in sessions()["reason"]
    proxy.alter(without_options)
    assert sessions()["result"] == "FAILED" and "search_path" in sessions()["reason"], sessions()
    proxy.alter(None)
    proxy.balance(servers.cluster.port, other.port)
    found = sessions()
    assert found["result"] == "FAILED" and "two different servers" in found["reason"], found


def test_a_source_that_takes_no_replication_session(servers: Servers, world: World):
    """As poolers answer to it."""
    proxy = world.proxy(servers.cluster)
    conninfo = servers.conninfo(port=proxy.port, sslmode="disable")
    assert servers.source(conninfo)["all"]["source-replication"]["result"] == "PASSED"
    proxy.alter(lambda chunk, to_client: chunk if to_client else chunk.replace(b"replication\0database", b"replication\0nonsense"))
    found = servers.source(conninfo)["all"]["source-replication"]
    assert found["result"] == "FAILED" and "replication" in found["reason"], found
