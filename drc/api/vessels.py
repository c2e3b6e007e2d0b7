"""Vessels, for the people who own them."""

import time
import uuid
from typing import Annotated, Any

from fastapi import Header, Query, Response

from drc import fleet
from drc.api.access import Calling, Here, Owner, Routes
from drc.api.context import Context
from drc.api.queue import place, rare_image
from drc.api.shapes import (
    Home,
    Plan,
    Vessel,
    VesselRequest,
    Why,
    plan_view,
    vessel_view,
)
from drc.api.wishes import wish_of
from drc.auth import openssh_public
from drc.db import Row
from drc.errors import (
    Forbidden,
    NameTaken,
    NoSuchVessel,
    NothingFits,
    RequestChanged,
    Unreachable,
    WrongState,
)
from drc.fleet import EVENTS, WORK, Wish
from drc.machine import show_memory
from drc.plan import Place, waits_for
from drc.vessel import State

routes = Routes("vessels")

LOG_PATIENCE = 5.0  # seconds for a conductor to fetch a log

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="the same key gives the same vessel for 24 h",
    ),
]


def places_for(here: Context, wish: Wish) -> list[Place]:
    return fleet.list_places(here.db, wish.owner_id, rare_image(here, wish))


def view(row: Row, here: Context, position: int | None = None) -> Vessel:
    host_key = openssh_public(here.secrets.host_key(row["owner"], row["name"]))
    return vessel_view(row, host_key, position)


def read(here: Context, id: str) -> Row:
    return fleet.read_vessels(here.db, id=id, ended=True)[0]


def shown(here: Context, id: str) -> Vessel:
    """A vessel with its place in line and where its owner's homes are."""
    row = read(here, id)
    waits = row["state"] == State.QUEUED
    vessel = view(row, here, fleet.list_positions(here.db, [id]).get(id) if waits else None)
    wish = fleet.read_request(here.db, id) if waits else None
    if wish:
        vessel.waits_for = waits_for(places_for(here, wish), wish)
    vessel.homes = [
        Home(host=home["host"], mib=home["mib"], is_new=home["made_at"] > row["created_at"])
        for home in fleet.list_homes(here.db, row["owner_id"])
    ]
    return vessel


def of_name(here: Context, owner: Row, name: str) -> str:
    """The id of the owner's vessel of that name. Another owner's is not there."""
    id = fleet.find_vessel(here.db, owner["id"], name)
    if id is None:
        raise NoSuchVessel(f"You have no vessel called {name}.", hint="drc list")
    return id


def share(here: Context, wish: Wish, owner: Row, name: str) -> None:
    """Reserve beside the owner's other vessel. Raises WrongState, NothingFits, NameTaken."""
    lead = read(here, of_name(here, owner, name))
    if lead["shares"] is not None:
        raise WrongState(f"{name} has no GPU of its own.", hint=f"--share {lead['shares']}")
    if not fleet.share_vessel(here.db, wish, str(lead["id"])):
        if not lead["gpus"]:
            raise WrongState(f"{name} has no GPU to share; it is {lead['state']}.")
        raise NothingFits(
            f"{lead['host']} has not {(wish.millicpus or 0) / 1000:g} CPUs and "
            f"{show_memory(wish.memory_mib or 0)} left beside {name}, or takes no vessels now.",
            hint=f"drc host show {lead['host']};  --cpus and --memory ask for less.",
        )
    here.doorbell.ring(WORK, EVENTS)


@routes.post("/vessels", "vessels:create", status_code=201)
def create(
    request: VesselRequest,
    owner: Owner,
    caller: Calling,
    here: Here,
    response: Response,
    key: Key = None,
) -> Vessel:
    """Reserve the best-fitting GPUs, or wait in the queue. `state` says which."""
    wish = wish_of(request, owner["id"], key, here, caller)
    try:
        if request.share is not None:
            share(here, wish, owner, request.share)
        else:
            here.capacity.check(wish)
            place(here, wish)
    except (NameTaken, RequestChanged):
        before = fleet.find_request(here.db, owner["id"], key) if key else None
        if before is None:
            raise NameTaken(
                f"You have a living vessel called {wish.name}.",
                hint=f"drc ssh {wish.name}  enters it,  drc stop {wish.name}  ends it.",
            ) from None
        if before["request_hash"] != wish.request_hash:
            raise RequestChanged from None
        response.status_code = 200
        return view(read(here, str(before["id"])), here)
    return view(read(here, wish.id), here)


@routes.post("/vessels/plan", "vessels:create")
def plan_(request: VesselRequest, owner: Owner, caller: Calling, here: Here) -> Plan:
    """Which host the vessel would be given now, and why not the others. Nothing is reserved."""
    wish = wish_of(request, owner["id"], None, here, caller)
    places = places_for(here, wish)
    return plan_view(places, wish, fleet.count_alike(here.db, wish))


@routes.get("/vessels/{name}/why-not", "vessels:read")
def why_not(name: str, owner: Owner, here: Here) -> Plan:
    """Of a vessel that waits: for each host, why it is not there."""
    wish = fleet.read_request(here.db, of_name(here, owner, name))
    if wish is None:
        state = read(here, of_name(here, owner, name))["state"]
        raise WrongState(f"{name} does not wait; it is {state}.", hint=f"drc show {name}")
    places = places_for(here, wish)
    ahead = fleet.count_alike(here.db, wish, waits=True)
    return plan_view(places, wish, ahead)


@routes.get("/vessels", "vessels:read")
def list_(
    owner: Owner,
    caller: Calling,
    here: Here,
    everybody: Annotated[bool, Query(description="needs vessels:read:any")] = False,
    ended: bool = False,
) -> list[Vessel]:
    """One's own vessels, or everybody's."""
    if everybody and "vessels:read:any" not in caller.permissions:
        raise Forbidden("Seeing everybody's vessels needs the permission vessels:read:any.")
    rows = fleet.read_vessels(here.db, owner_id=None if everybody else owner["id"], ended=ended)
    waiting = [str(row["id"]) for row in rows if row["state"] == State.QUEUED]
    positions = fleet.list_positions(here.db, waiting) if waiting else {}
    return [view(row, here, positions.get(str(row["id"]))) for row in rows]


@routes.get("/vessels/{name}", "vessels:read")
def show(name: str, owner: Owner, here: Here) -> Vessel:
    """The living vessel of that name, or the last one that bore it."""
    return shown(here, of_name(here, owner, name))


@routes.get("/vessels/{name}/jupyter", "vessels:connect")
def jupyter(name: str, owner: Owner, here: Here) -> dict[str, Any]:
    """Where Jupyter listens inside the vessel, and its token."""
    return {"port": 8888, "token": here.secrets.jupyter_token(of_name(here, owner, name))}


@routes.get("/vessels/{name}/logs", "vessels:read")
def logs(name: str, owner: Owner, here: Here) -> dict[str, Any]:
    """The last lines of the vessel's own log; of one that ended, as they were then."""
    id = of_name(here, owner, name)
    asked_at = fleet.read_now(here.db)
    if not fleet.queue_log(here.db, id):
        return {"log": fleet.read_log(here.db, id) or ""}
    here.doorbell.ring(WORK)
    deadline = time.monotonic() + LOG_PATIENCE
    while time.monotonic() < deadline:
        text = fleet.read_log(here.db, id, after=asked_at)
        if text is not None:
            return {"log": text}
        time.sleep(0.05)
    raise Unreachable(
        f"No conductor fetched the log of {name} within {LOG_PATIENCE:.0f} s.",
        hint=f"drc events {name}",
    )


def end(here: Context, id: str, reason: str) -> Vessel:
    state = fleet.stop_vessel(here.db, id, reason)
    row = read(here, id)
    if state is None and row["state"] != "stopping":  # stopping twice is stopping
        raise WrongState(f"{row['name']} is {row['state']} already.")
    here.doorbell.ring(WORK, EVENTS)
    return view(row, here)


@routes.post("/vessels/{name}/stop", "vessels:stop")
def stop(name: str, owner: Owner, here: Here) -> Vessel:
    """End a vessel. Its home stays; its GPUs are free once the host says that it is gone."""
    return end(here, of_name(here, owner, name), "stopped by its owner")


@routes.post("/vessels-by-id/{id}/stop", "vessels:stop:any")
def stop_any(id: uuid.UUID, why: Why, caller: Calling, here: Here) -> Vessel:
    """End anybody's vessel, saying why."""
    if not fleet.read_vessels(here.db, id=str(id), ended=True):
        raise NoSuchVessel("There is no such vessel.")
    return end(here, str(id), f"{why.reason} ({caller.subject})")
