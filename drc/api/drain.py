"""Hosts whose hour has come: their vessels end, and are created again elsewhere where asked for.

Each step can be repeated, and by several processes: a vessel ends once, and the request for its
successor bears a key made of its id.
"""

import logging

from drc import fleet
from drc.api.context import Context
from drc.api.shapes import VesselRequest
from drc.api.vessels import make
from drc.auth import Caller
from drc.db import Row
from drc.errors import DrcError, NameTaken, Refused
from drc.fleet import EVENTS, WORK

log = logging.getLogger("drc.api.drain")


def run_once(here: Context) -> int:
    """Returns how many vessels it ended, and how many it created again."""
    done = 0
    for row in fleet.list_drained(here.db):
        reason = f"{row['host']} is drained" + (f": {row['why']}" if row["why"] else "")
        id, moves = str(row["id"]), row["moves"]
        done += fleet.stop_vessel(here.db, id, reason, save=moves, moves=moves) is not None
    if done:
        here.doorbell.ring(WORK, EVENTS)
    return done + sum(move(here, row) for row in fleet.list_moving(here.db))


def move(here: Context, row: Row) -> bool:
    """Create it again, as its owner would: with what was in it, if that could be kept, and with
    the home.
    """
    id, how = str(row["id"]), {"come_back" if row["saved"] else "like": row["name"]}
    wish = VesselRequest(name=row["name"], **how, home_from=row["home_on"])
    refused = ""
    owner = {key: row[key] for key in ("subject", "login", "uid")} | {"id": row["owner_id"]}
    try:
        make(here, wish, owner, f"move-{id}", as_owner(here, row))
    except NameTaken as failed:  # they have it elsewhere, by this or by themselves
        log.info("%s of %s is not created again: %s", row["name"], row["login"], failed)
    except Refused as failed:
        log.warning("%s of %s is not created again: %s", row["name"], row["login"], failed)
        refused = failed.message
    except DrcError as failed:
        log.warning("%s of %s: %s", row["name"], row["login"], failed)
        return False  # the next round tries again
    fleet.note_moved(here.db, id, refused)
    here.doorbell.ring(WORK, EVENTS)
    return True


def as_owner(here: Context, row: Row) -> Caller:
    return Caller(
        subject=row["subject"],
        roles=(),
        permissions=here.roles.permissions(row["claims"] or {}),
        name=row["called"],
    )
