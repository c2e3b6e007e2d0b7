"""Bringing messages to people, from the queue in Postgres: a dead channel loses none, and what
became of each is written down.

A warning is delivered at least once, for a burial hangs on it: where nobody knows what became of it
the channel is asked, and if it cannot tell it is sent again. All else is sent at most once.
"""

import logging
import time
from datetime import timedelta
from typing import Protocol

from drc import fleet
from drc.db import Database
from drc.errors import DrcError
from undertaker.message import Message

PATIENCE = timedelta(minutes=5)  # in which whoever took a message brings it, or died
LONGEST_WAIT = 60.0  # seconds that a round waits for a channel which said how long
LONGEST_ROUND = 300.0  # seconds; the rest waits for the next
AGAIN = timedelta(minutes=10)

log = logging.getLogger("undertaker.channel")


class NotTaken(DrcError):
    """The channel took nothing, and said so."""

    delay = AGAIN
    is_channel = True
    """Whether it would take nobody's now, and not just this one's."""


class NobodyKnows(DrcError):
    """It may have been taken, or not."""


class Channel(Protocol):
    def send(self, message: Message) -> None:
        """Raises NotTaken, NobodyKnows."""
        ...

    def recipient(self, message: Message) -> str:
        """Whose click on it counts, as the channel calls people; empty: nobody's.

        Raises NotTaken.
        """
        ...

    def has(self, message: Message) -> bool:
        """Whether it was taken earlier, as far as one can tell. Raises NotTaken."""
        ...


def deliver(db: Database, channel: Channel) -> int:
    """Send what is due, for a while. Returns how many were taken. A channel that is down is left
    alone.
    """
    taken, refused = 0, set[int]()
    deadline = time.monotonic() + LONGEST_ROUND
    while time.monotonic() < deadline:
        row = fleet.claim_message(db, PATIENCE)
        if row is None:
            break
        is_unknown, is_stale = row.pop("is_unknown"), row.pop("is_stale")
        message = Message(**row)
        if is_stale:
            finish(db, message, "never", "that is not so any more")
            continue
        if is_unknown and not message.is_certain:
            finish(db, message, "never", "what became of it is not known")
            continue
        try:
            fleet.address_message(db, message.id, channel.recipient(message))
            if not (is_unknown and channel.has(message)):
                channel.send(message)
        except NotTaken as failed:
            finish(db, message, "later", failed.message, failed.delay)
            wait = max(failed.delay.total_seconds(), 1)
            if failed.is_channel and (wait > LONGEST_WAIT or message.id in refused):
                break
            refused.add(message.id)
            if failed.is_channel:
                time.sleep(wait)
        except NobodyKnows as failed:
            outcome = "unknown" if message.is_certain else "never"
            finish(db, message, outcome, failed.message, AGAIN)
            break
        else:
            finish(db, message, "sent", "")
            taken += 1
    return taken


def finish(
    db: Database, message: Message, outcome: str, trouble: str, delay: timedelta = timedelta()
) -> None:
    fleet.finish_message(db, message.id, outcome, delay, trouble)
    if trouble:
        log.warning("message %s (%s): %s", message.id, message.title, trouble)
