"""Free TCP ports on 127.0.0.1, reserved by lock files so that parallel test workers never meet."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST = 21000, 31999  # below the range that the kernel hands out by itself


class Port:
    """A reservation: nobody who asks here gets the same number until it is released, or this process ends."""

    def __init__(self, number: int, lock: IO[str]) -> None:
        self.number = number
        self._lock = lock

    def release(self) -> None:
        self._lock.close()


def reserve_port() -> Port:
    folder = Path(tempfile.gettempdir()) / f"pgtide-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for number in random.sample(range(FIRST, LAST + 1), 500):
        lock = open(folder / str(number), "w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", number))
            return Port(number, lock)
        except OSError:
            lock.close()
    raise RuntimeError("could not find a free port")
