"""The API's own round: named limits, and what a process that died between two steps left undone."""

import logging
import threading
from datetime import timedelta

from drc import fleet
from drc.api import drain
from drc.api.context import Context
from drc.api.queue import serve_queue
from drc.errors import DrcError
from drc.fleet import EVENTS, WORK
from drc.vessel import RESERVED_LIMIT, STARTING_LIMIT, State

PAUSE = 5.0  # seconds; every process sweeps, and each step is safe to do twice at once
LAST_ROUND = 2.0  # seconds that a round is waited for when the process ends
REQUEST_AGE = timedelta(hours=24)
SESSION_AGE = timedelta(days=7)  # after its end; what began it has run out long before

log = logging.getLogger("drc.api.sweep")


def run_once(here: Context) -> dict[str, int]:
    """One round. Returns what it did."""
    failed = 0
    for row in fleet.list_overdue(here.db, RESERVED_LIMIT, STARTING_LIMIT):
        seen = State(row["state"])
        if seen == State.RESERVED:
            reason = f"No conductor took it within {RESERVED_LIMIT.seconds} s."
        else:
            reason = f"It did not come up within {STARTING_LIMIT.seconds} s."
        id, attempt = str(row["id"]), row["attempt"]
        failed += fleet.fail_vessel(here.db, id, attempt, reason, seen=seen) is not None
    if failed:
        here.doorbell.ring(WORK, EVENTS)
    if here.announced:
        fleet.announce_program(here.db, here.announced)
    untold = [fleet.note_queued(here.db, id) for id in fleet.list_untold(here.db)]
    if any(untold):
        here.doorbell.ring(EVENTS)
    return {
        "failed": failed,
        "placed": serve_queue(here),
        "forgotten": fleet.forget_requests(here.db, REQUEST_AGE),
        "partitions": fleet.make_audit_partitions(here.db),
        "certificates": fleet.forget_certificates(here.db, SESSION_AGE),
        "programs": fleet.forget_programs(here.db, SESSION_AGE),
        "sessions": fleet.forget_sessions(here.db, SESSION_AGE),
        "drained": drain.run_once(here),  # the last: all else goes on whatever becomes of it
    }


def start(here: Context) -> None:
    """Sweep in the background until the context closes."""
    closed = threading.Event()

    def loop() -> None:
        while True:
            try:
                done = run_once(here)
            except DrcError as failed:
                log.warning("%s", failed)
            except Exception:  # a bug here must not end the sweeping
                log.exception("the sweep failed")
            else:
                if done["failed"] or done["placed"]:
                    log.info("swept: %s", done)
            if closed.wait(PAUSE):
                return

    thread = threading.Thread(target=loop, name="sweep", daemon=True)

    def end() -> None:
        closed.set()
        thread.join(LAST_ROUND)
        withdraw(here)

    thread.start()
    here.closers.insert(0, end)  # while there is a database yet


def withdraw(here: Context) -> None:
    """Nobody is to look for the metrics of this process any more."""
    try:
        if here.announced:
            fleet.withdraw_program(here.db, here.announced)
    except DrcError as failed:
        log.warning("%s", failed)
