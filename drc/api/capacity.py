"""What no host could ever hold is refused at once, with what comes nearest, and not queued."""

import time
from dataclasses import dataclass, field

from drc import fleet
from drc.db import Database
from drc.errors import NothingFits
from drc.fleet import Wish
from drc.plan import never

FRESH = 1.0
"""Seconds for which it is remembered that something could hold a shape."""
REMEMBERED = 1000  # shapes


@dataclass(slots=True)
class Capacity:
    db: Database
    known: dict[int, float] = field(default_factory=dict[int, float])

    def check(self, wish: Wish) -> None:
        """Raises NothingFits when no host could hold the wish even if it were empty."""
        now = time.monotonic()
        if now - self.known.get(wish.shape, 0.0) < FRESH:
            return
        if not fleet.could_fit(self.db, wish):
            refusal = never(fleet.list_places(self.db, wish.owner_id, wish.image), wish)
            raise refusal or NothingFits()
        if len(self.known) >= REMEMBERED:
            self.known.clear()
        self.known[wish.shape] = now
