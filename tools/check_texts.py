#!/usr/bin/env python3
"""Fail when a file of the repository says what holds on one machine only, sounds unfinished, waits blindly, or is too large."""
import re
import subprocess
import sys
from pathlib import Path

LARGEST_BYTES = 400_000

ANY = re.compile("")

# What must not be there, and in which files. The brackets keep this file from finding itself.
RULES = [
    ("a path of one machine", re.compile(r"(?<![\w.~])/(?:[w]ork|[r]oot|[f]arm)/"), ANY),
    ("the host of a package registry", re.compile(r"deb[.]debian[.]|registry[.]npm|pypi[.]org|[p]ythonhosted|crates[.]io"), ANY),
    ("unfinished", re.compile(r"\b(?:[T]ODO|[F]IXME|[X]XX)\b|(?i:[n]ot implemented|\b[p]laceholder|\b[s]tub(?:s|bed)?\b)"), ANY),
    ("a wait for nothing but time: see harness/wait.py", re.compile(r"\btime[.]sleep\("), re.compile(r"(?<!harness/wait)\.py$")),
]


def files(root):
    """What git has or would add. In an unpacked archive there is no git, and nothing to check that was not checked before."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, capture_output=True, check=False)
    return sorted({root / name for name in found.stdout.decode().split("\0") if name})


def problems(path, root):
    content = path.read_bytes()
    name = path.relative_to(root)
    if len(content) > LARGEST_BYTES:
        yield f"{name}: {len(content)} bytes: generated, or data?"
    if b"\0" in content:
        return
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        for what, rule, where in RULES:
            if where.search(str(name)) and (found := rule.search(line)):
                yield f"{name}:{number}: {what}: {found.group().strip()}"


def main(root):
    checked = [path for path in files(root) if path.is_file()]
    found = [problem for path in checked for problem in problems(path, root)]
    print("\n".join(found) or f"{len(checked)} files, nothing to object to")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
