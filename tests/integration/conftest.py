"""Fixtures of the integration tests. See harness/__init__.py for what they are made of."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest

from harness.cluster import Installation, Templates, give_to_server_user, installations
from harness.world import World

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pgtide", default=os.environ.get("PGTIDE_BINARY", str(HERE.parent.parent / "build" / "src" / "bin" / "pgtide")),
                     help="the program under test, built with -Dfaults=true (or PGTIDE_BINARY)")
    parser.addoption("--seed", type=int, default=int(os.environ.get("PGTIDE_SEED", "0")), help="0: a new one for every test (or PGTIDE_SEED)")
    parser.addoption("--major", type=int, default=int(os.environ.get("PGTIDE_PG_MAJOR", "15")), help="PostgreSQL version of the clusters")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """On failure, what every process had to say."""
    outcome: Any = yield
    report = outcome.get_result()
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World) and call.when == "call":
        report.sections.extend(world.logs())


MEMORY = Path("/dev/shm")
ROOM = 8 << 30  # bytes; what all clusters of a run have at the same time, with a margin


def fast_folder() -> Path | None:
    """Memory where there is enough: every cluster makes and deletes a thousand files, for which ext4 takes seconds. None: where TMPDIR says."""
    if "TMPDIR" in os.environ or not MEMORY.is_mount():
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > ROOM else None


@pytest.fixture(scope="session")
def workshop() -> Iterator[Path]:
    """A folder with a short name (socket paths are limited) that the servers' user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="pgtide-it-", dir=fast_folder()))
    folder.chmod(0o755)
    give_to_server_user(folder)
    yield folder
    if not os.environ.get("PGTIDE_KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def installation(pytestconfig: pytest.Config) -> Installation:
    major = pytestconfig.getoption("major")
    found = installations()
    assert major in found, f"PostgreSQL {major} is not here; found {sorted(found)}"
    return found[major]


@pytest.fixture(scope="session")
def templates(workshop: Path) -> Templates:
    return Templates(workshop)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return iter(range(1, 1_000_000))


@pytest.fixture
def world(workshop: Path, templates: Templates, installation: Installation, numbers: Iterator[int], pytestconfig: pytest.Config) -> Iterator[World]:
    def binary() -> Path:
        path = Path(pytestconfig.getoption("pgtide")).absolute()
        assert os.access(path, os.X_OK), f"{path} is not there: build it with -Dfaults=true and name it by --pgtide or PGTIDE_BINARY"
        return path

    world = World(workshop / f"t{next(numbers)}", templates, installation, binary)
    yield world
    world.close()


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """Printed: pytest shows it when the test fails; repeat with --seed."""
    number = pytestconfig.getoption("seed") or random.randrange(1, 1_000_000)
    print(f"seed {number}")
    return number


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture(scope="session")
def is_full() -> bool:
    """PGTIDE_FULL=1: long matrices run whole instead of in a sample."""
    return os.environ.get("PGTIDE_FULL") == "1"
