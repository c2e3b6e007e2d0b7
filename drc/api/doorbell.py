"""Rings the database's channels after commits, never inside a hot transaction.

A NOTIFY takes a lock that serialises every notifying commit of the cluster, so each process sends
few: the first at once, the rest of a burst together.
"""

import threading

from drc.db import Database
from drc.errors import DatabaseUnreachable

QUIET = 0.01
"""Seconds between two rings of one process. Listeners poll besides, so a lost ring only delays."""


class Doorbell:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.pending: set[str] = set()
        self.rung = threading.Event()
        self.closed = threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self.thread.start()

    def ring(self, *channels: str) -> None:
        with self.lock:
            self.pending.update(channels)
        self.rung.set()

    def _run(self) -> None:
        while not self.closed.is_set():
            self.rung.wait()
            with self.lock:
                channels, self.pending = self.pending, set()
                self.rung.clear()
            for channel in sorted(channels, reverse=True):  # work before events
                try:
                    self.db.ring(channel)
                except DatabaseUnreachable:
                    continue  # whoever listens has lost the database too, and looks when it is back
            self.closed.wait(QUIET)

    def close(self) -> None:
        self.closed.set()
        self.rung.set()
        self.thread.join(timeout=5)
