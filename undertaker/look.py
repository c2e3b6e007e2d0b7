"""One look at the fleet's health: what is suspected is told to the API, which has it looked at;
what was found is told to people. Like a round, it remembers nothing but what stands in the books.
"""

import logging
from datetime import datetime

from drc import fleet
from drc.client import Client
from drc.db import Database
from drc.prometheus import Prometheus
from undertaker import signs, tell

log = logging.getLogger("undertaker.look")


def suspect(db: Database, client: Client, prometheus: Prometheus) -> int:
    """How many doubts there are. Raises MetricsUnreachable, ApiUnreachable."""
    found = signs.doubts(fleet.list_watched(db), signs.measure(prometheus))
    client.call("POST", "/v1/doubts", {"found": found})
    return len(found)


def inform(db: Database, now: datetime) -> int:
    """Write the messages that are due. Returns how many."""
    due = tell.due(fleet.list_troubles(db), now)
    notes = tell.notes(due)
    if not due.told and not due.well and not due.dropped:
        return 0
    messages = [
        {
            "owner_id": note.owner_id,
            "kind": note.kind,
            "body": {"title": note.title, "lines": note.lines},
        }
        for note in notes
    ]
    over = [t["id"] for t in (*due.well, *due.dropped)]
    if not fleet.tell_troubles(db, [t["id"] for t in due.told], over, messages):
        return 0  # another look did so just now
    for note in notes:
        log.info("%s: %s", note.owner_id or "operators", note.title)
    return len(notes)
