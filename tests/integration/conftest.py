"""Fixtures of the integration tests. See harness/__init__.py for what they are made of."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from harness.cluster import Installation, NotHere, Templates, can_be_entered, give_to_server_user, installation
from harness.world import World

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pgtide", default=os.environ.get("PGTIDE_BINARY", str(HERE.parent.parent / "build" / "src" / "bin" / "pgtide")),
                     help="the program under test, built with -Dfaults=true (or PGTIDE_BINARY)")
    parser.addoption("--seed", type=int, default=int(os.environ.get("PGTIDE_SEED", "0")), help="0: a new one for every test (or PGTIDE_SEED)")
    parser.addoption("--major", type=int, default=int(os.environ.get("PGTIDE_PG_MAJOR", "15")), help="PostgreSQL version of the clusters")
    parser.addoption("--source-major", type=int, help="of the source, where it is another one")
    parser.addoption("--target-major", type=int, help="of the target, where it is another one")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """On failure, what every process had to say."""
    outcome: Any = yield
    report = outcome.get_result()
    for name in ("world", "shared_world"):
        world = getattr(item, "funcargs", {}).get(name)
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
def majors(pytestconfig: pytest.Config) -> tuple[int, int]:
    """Versions of source and target; a test may be parametrized with others."""
    major = pytestconfig.getoption("major")
    return pytestconfig.getoption("source_major") or major, pytestconfig.getoption("target_major") or major


@pytest.fixture(scope="session")
def get_installation(workshop: Path) -> Callable[[int], Installation]:
    @lru_cache
    def get(major: int) -> Installation:
        found = installation(major)
        if can_be_entered(found):
            return found
        copy = workshop / f"postgresql-{major}"
        shutil.copytree(found.bin.parent, copy, symlinks=True)
        return Installation(major, copy / "bin")

    return get


@pytest.fixture(scope="session")
def templates(workshop: Path) -> Templates:
    return Templates(workshop)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return iter(range(1, 1_000_000))


def worlds(workshop: Path, templates: Templates, majors: tuple[int, int], get_installation: Callable[[int], Installation], numbers: Iterator[int],
           pytestconfig: pytest.Config) -> Iterator[World]:
    def binary() -> Path:
        path = Path(pytestconfig.getoption("pgtide")).absolute()
        assert os.access(path, os.X_OK), f"{path} is not there: build it with -Dfaults=true and name it by --pgtide or PGTIDE_BINARY"
        return path

    try:
        source, target = (get_installation(major) for major in majors)
        source.dump_programs()
    except NotHere as reason:
        pytest.skip(str(reason))
    world = World(workshop / f"t{next(numbers)}", templates, source, target, binary)
    yield world
    world.close()


world = pytest.fixture(worlds)
shared_world = pytest.fixture(scope="module", name="shared_world")(worlds)  # for the many small tests of a file


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
