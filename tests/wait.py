"""Waiting for what happens elsewhere: on a condition, with a deadline."""

import threading
import time
from collections.abc import Callable

PATIENCE = 15.0  # seconds; a machine that is busy with other tests is slow, not broken
_never = threading.Event()


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:.0f} s: {what}"
        _never.wait(0.005)
