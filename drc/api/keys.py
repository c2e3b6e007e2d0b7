"""One's own SSH public keys. Adding and removing reaches running vessels within seconds."""

from typing import Any

from fastapi import Response

from drc import fleet
from drc.api.access import Fresh, Here, Owner, Routes
from drc.api.shapes import KeyRequest
from drc.errors import NoSuchKey
from drc.fleet import WORK
from drc.sshkey import parse_public_key

routes = Routes("keys")


@routes.get("/keys", "vessels:read")
def list_(owner: Owner, here: Here) -> list[dict[str, Any]]:
    return fleet.list_keys(here.db, owner["id"])


@routes.post("/keys", "keys:write", status_code=201)
def add(
    request: KeyRequest, owner: Owner, _: Fresh, here: Here, response: Response
) -> dict[str, Any]:
    """201 when the key is new, 200 when it was there."""
    key = parse_public_key(request.key)
    names = {row["name"] for row in fleet.list_keys(here.db, owner["id"])}
    wanted = (request.name or key.comment or key.kind)[:64]
    free = [
        name for name in (wanted, *(f"{wanted}-{n}" for n in range(2, 100))) if name not in names
    ]
    if fleet.add_key(here.db, owner["id"], free[0], key.line, key.fingerprint):
        fleet.queue_keys(here.db, owner["id"])
        here.doorbell.ring(WORK)
    else:
        response.status_code = 200
    return {"name": free[0], "fingerprint": key.fingerprint}


@routes.delete("/keys/{key:path}", "keys:write", status_code=204)
def remove(key: str, owner: Owner, here: Here) -> None:
    """By name or fingerprint."""
    if not fleet.remove_key(here.db, owner["id"], key):
        raise NoSuchKey(f"You have no key called {key}.", hint="drc key list")
    here.doorbell.ring(WORK)
