"""One thread per process that serves the queue whenever something may have become free."""

import logging
import threading
from collections.abc import Callable

from drc.errors import DrcError

log = logging.getLogger("drc.api.waker")


class Waker:
    def __init__(self) -> None:
        self.rung = threading.Event()
        self.closed = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self, serve: Callable[[], object]) -> None:
        self.thread = threading.Thread(target=self._run, args=[serve], name="waker", daemon=True)
        self.thread.start()

    def ring(self) -> None:
        """Have the queue served; rung while it is, it is served once more."""
        self.rung.set()

    def _run(self, serve: Callable[[], object]) -> None:
        while True:
            self.rung.wait()
            self.rung.clear()
            if self.closed.is_set():
                return
            try:
                serve()
            except DrcError as failed:  # the sweep serves it again
                log.warning("%s", failed)
            except Exception:
                log.exception("serving the queue")

    def close(self) -> None:
        self.closed.set()
        self.rung.set()
        if self.thread is not None:
            self.thread.join(timeout=5)
