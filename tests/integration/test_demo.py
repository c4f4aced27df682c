"""`make demo` is the first thing anybody sees of pgtide."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent.parent.parent / "tools" / "demo"


def test_the_demo_ends_with_both_sides_equal_and_leaves_nothing(pytestconfig: pytest.Config):
    binary = Path(pytestconfig.getoption("pgtide")).absolute()
    shown = subprocess.run([DEMO, binary, "--scale", "1", "--follow", "1"], capture_output=True, text=True, timeout=300, check=False)
    said = shown.stdout + shown.stderr
    assert shown.returncode == 0, said
    assert "All equal." in shown.stdout and "Traceback" not in said, said
    assert "nothing" in shown.stdout.split("left behind on the servers?")[1], said
