"""Waiting for events with a deadline. The only place of the tests that sleeps."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")


class DeadlineExceeded(AssertionError):
    pass


def wait_until(condition: Callable[[], T], deadline_s: float, what: str, every_s: float = 0.05) -> T:
    """The first true value of `condition`. What it raises is passed on: a condition that cannot come true any more should raise."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise DeadlineExceeded(f"waited {deadline_s:g} s in vain: {what} (last seen: {value!r})")
        time.sleep(every_s)


def let_pass(seconds: float) -> None:
    """For tests whose subject is time itself: load that runs a while, an idle source, a random moment to strike."""
    time.sleep(seconds)
