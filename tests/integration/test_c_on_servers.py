"""The C tests that need servers: what pg and worker promise of their own, on real clusters.

Beside the binary under test (tests/unit in the same build folder); they skip themselves when no server is named to them.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.world import World

MODERATE = {"max_replication_slots": 10, "max_wal_senders": 10}


@pytest.fixture
def unit_tests(pytestconfig: pytest.Config) -> Path:
    return Path(pytestconfig.getoption("pgtide")).absolute().resolve().parent.parent.parent / "tests" / "unit"


def run(path: Path, **environment: str) -> None:
    assert path.exists(), f"{path} was not built"
    ran = subprocess.run([path], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-8000:]
    assert "SKIPPED" not in ran.stdout + ran.stderr, "it did not take the server it was given"


@pytest.mark.parametrize("program", ["test_pg_target", "test_pg_stream"])
def test_sessions_of_one_server(world: World, unit_tests: Path, program: str):
    server = world.cluster("server", wal_level="logical", **MODERATE)
    run(unit_tests / program, PGTIDE_TEST_DSN=server.dsn())


def test_the_copy_between_two_servers(world: World, unit_tests: Path):
    source = world.cluster("source", wal_level="logical", **MODERATE)
    target = world.cluster("target", family="target")
    run(unit_tests / "test_worker_copy_jobs", PGTIDE_TEST_SOURCE=source.dsn(), PGTIDE_TEST_TARGET=target.dsn())
