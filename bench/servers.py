"""The two servers that everything is measured on, and what each side costs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "integration"))

from harness.cluster import Cluster, Templates, give_to_server_user, installation  # noqa: E402
from harness.ports import reserve_port  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")

# As a production server would be set for a migration; durable, unlike those of the tests.
SETTINGS: dict[str, Any] = {
    "shared_buffers": "2GB", "wal_level": "logical", "fsync": "on", "synchronous_commit": "on", "autovacuum": "off", "max_wal_size": "16GB",
    "checkpoint_timeout": "30min", "max_connections": 100, "max_worker_processes": 16, "max_logical_replication_workers": 8,
    "max_sync_workers_per_subscription": 2, "max_replication_slots": 20, "max_wal_senders": 20, "max_locks_per_transaction": 1024,
}


class Servers:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pgtide-bench-"))
        self.folder.chmod(0o755)
        give_to_server_user(self.folder)
        programs = installation(15)
        templates = Templates(self.folder)
        self.source, self.target = (Cluster(name, programs, templates.get(programs, name), self.folder, reserve_port()) for name in ("source", "target"))
        for cluster in (self.source, self.target):
            cluster.configure(**SETTINGS)
            cluster.start()

    def close(self) -> None:
        for cluster in (self.source, self.target):
            cluster.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_database(self, cluster: Cluster, name: str) -> None:
        cluster.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cluster.create_database(name)

    def version(self) -> str:
        return str(self.source.value("SHOW server_version"))


def cpu_seconds(cluster: Cluster) -> float:
    """Of the postmaster, the backends that it has buried and those that live."""
    return _cpu_of(cluster._process.pid)  # pylint: disable=protected-access


def _cpu_of(postmaster: int) -> float:
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        times = [int(field) for field in fields[11:15]]
        if stat.parent.name == str(postmaster):
            ticks += sum(times)
        elif int(fields[1]) == postmaster:
            ticks += sum(times[:2])
    return ticks / TICKS
