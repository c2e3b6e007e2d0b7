"""Vessels, for the people who own them."""

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Header, Query, Response

from drc import fleet
from drc.api.access import Calling, Here, Owner, Routes
from drc.api.context import Context
from drc.api.like import repeated
from drc.api.metrics import RESERVATIONS
from drc.api.names import nearest
from drc.api.queue import place, rare_image
from drc.api.shapes import (
    Burial,
    Extension,
    Home,
    Plan,
    Vessel,
    VesselRequest,
    plan_view,
    refuse_saved,
    vessel_view,
)
from drc.api.wishes import hash_of, wish_of
from drc.auth import Caller
from drc.db import Row
from drc.errors import (
    BadInput,
    DrcError,
    Forbidden,
    NameTaken,
    NoSuchVessel,
    NothingFits,
    Refused,
    RequestChanged,
    WrongState,
)
from drc.fleet import EVENTS, WORK, Wish
from drc.machine import check_name, parse_lifetime, show_memory
from drc.plan import Place, waits_for
from drc.secret import openssh_public
from drc.vessel import AGEING, LIVING, LONGEST_LIFETIME, State

routes = Routes("vessels")

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="the same key gives the same vessel for 24 h",
    ),
]


Begins = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f-]{4,36}$",
        description="how the vessel's id begins, where several have borne the name",
    ),
]


def places_for(here: Context, wish: Wish) -> list[Place]:
    return fleet.list_places(here.db, wish.owner_id, rare_image(here, wish))


def view(row: Row, here: Context, position: int | None = None) -> Vessel:
    host_key = openssh_public(here.secrets.host_key(row["owner"], row["name"]))
    return vessel_view(row, host_key, here.vessels.believed, position)


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


def of_name(here: Context, owner: Row, name: str, begins: str | None = None) -> str:
    """The id of the owner's vessel of that name. Another owner's is not there."""
    id = fleet.find_vessel(here.db, owner["id"], name, begins)
    if id is None and begins is not None:
        raise NoSuchVessel(
            f"You have no vessel called {name} whose ID begins with {begins}.",
            hint="drc list --ended  shows the IDs.",
        )
    if id is None:
        near = nearest(name, fleet.list_names(here.db, owner["id"]))
        hint = f"Did you mean {near}?  drc list  shows all." if near else "drc list"
        raise NoSuchVessel(f"You have no vessel called {name}.", hint=hint)
    return id


def alike(here: Context, request: VesselRequest, owner: Row) -> tuple[VesselRequest, str | None]:
    """The request, as that of the vessel that it is to be like, and that one's very image.

    Raises NoSuchVessel, WrongState, BadInput.
    """
    refuse_saved(request.image)
    if request.come_back is not None:
        return come_back(here, request, owner, request.come_back), None
    if request.like is None:
        return request, None
    check_name(request.like)
    row = read(here, of_name(here, owner, request.like))
    return repeated(request, row), None if request.image else row["image_digest"]


def come_back(here: Context, request: VesselRequest, owner: Row, name: str) -> VesselRequest:
    """The request, with what was in an earlier vessel when it ended."""
    if request.like is not None or request.image is not None:
        raise BadInput(f"It begins with what was in {name}.", hint="--from without --like, --image")
    check_name(name)
    saved = fleet.find_saved(here.db, owner["id"], name)
    row = read(here, saved or of_name(here, owner, name))
    if row["save"]:
        raise WrongState(f"What is in {name} is being saved.", hint=f"drc events {name}")
    if saved is None:
        raise WrongState(
            f"What was in {name} was not saved.", hint=f"drc create --like {name}  begins anew."
        )
    return repeated(request, {**row, "image": row["saved_image"]})


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
    RESERVATIONS.labels("shared").inc()
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
    try:
        id = make(here, request, owner, key, caller)
    except Refused:
        # whatever is in the way now: a request that is sent again is answered with what it made
        before = fleet.find_request(here.db, owner["id"], key) if key else None
        if before is None:
            raise
        if before["request_hash"] != hash_of(request):
            raise RequestChanged from None
        response.status_code = 200
        id = str(before["id"])
    return view(read(here, id), here)


def make(here: Context, sent: VesselRequest, owner: Row, key: str | None, caller: Caller) -> str:
    """The id of a new vessel. Raises Refused, where the key was used before too."""
    request, digest = alike(here, sent, owner)
    hashed = hash_of(sent)  # what it is to be like may have changed when it is sent again
    wish = wish_of(request, owner["id"], key, here, caller, digest=digest, request_hash=hashed)
    try:
        if request.share is not None:
            share(here, wish, owner, request.share)
        else:
            here.capacity.check(wish)
            place(here, wish)
    except (NameTaken, RequestChanged):
        raise NameTaken(
            f"You have a living vessel called {wish.name}.",
            hint=f"drc ssh {wish.name}  enters it,  drc stop {wish.name}  ends it.",
        ) from None
    return wish.id


@routes.post("/vessels/plan", "vessels:create")
def plan_(request: VesselRequest, owner: Owner, caller: Calling, here: Here) -> Plan:
    """Which host the vessel would be given now, and why not the others. Nothing is reserved."""
    request, digest = alike(here, request, owner)
    wish = wish_of(request, owner["id"], None, here, caller, digest=digest)
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
def show(name: str, owner: Owner, here: Here, id: Begins = None) -> Vessel:
    """The living vessel of that name, or the last one that bore it."""
    return shown(here, of_name(here, owner, name, id))


@routes.get("/vessels/{name}/jupyter", "vessels:connect")
def jupyter(name: str, owner: Owner, here: Here) -> dict[str, Any]:
    """Where Jupyter listens, and its token. `address`: null where that is inside it only."""
    id = of_name(here, owner, name)
    row = read(here, id)
    address = row["ssh_address"] if row["device"] else None
    return {"address": address, "port": 8888, "token": here.secrets.jupyter_token(id)}


@routes.post("/vessels/{name}/extend", "vessels:extend")
def extend(name: str, request: Extension, owner: Owner, here: Here) -> Vessel:
    """Move the end of a vessel's life; without a word, to at least 7 days from now."""
    by = parse_lifetime(request.by) if request.by is not None else None
    if by is not None and request.until is not None:
        raise BadInput("An end is moved by a span or to a time, not both.", hint="--by or --until")
    if by is not None and not by:
        raise BadInput(f"“{request.by}” moves nothing.", hint="--by 3d")
    id = of_name(here, owner, name)
    if fleet.extend_vessel(here.db, id, owner["id"], by=by, until=request.until) is None:
        known = fleet.read_idle(here.db, id) or {}
        if known.get("lives_until"):
            raise WrongState(
                f"The policy lets {name} live until {known['lives_until']:%Y-%m-%d %H:%M} UTC.",
                hint=f"drc why {name}",
            )
        raise why_not_extended(read(here, id), fleet.read_now(here.db), by, request.until)
    here.doorbell.ring(EVENTS)
    return view(read(here, id), here)


def why_not_extended(
    row: Row, now: datetime, by: timedelta | None, until: datetime | None
) -> DrcError:
    """Why the statement moved nothing."""
    name = row["name"]
    if row["state"] == State.QUEUED:
        return WrongState(f"{name} still waits; its life begins once it has what it waits for.")
    if row["state"] not in AGEING:
        return WrongState(f"{name} is {row['state']}.", hint=f"drc create {name}")
    if (until and until < now) or (by and by < now - row["ends_at"]):
        return BadInput(f"That end of {name} is past.", hint=f"drc stop {name}  ends it now.")
    left = (now + LONGEST_LIFETIME - row["ends_at"]).days
    return BadInput(
        f"A vessel ends at most {LONGEST_LIFETIME.days} days from now.",
        hint=f"drc extend {name} --by {left}d" if left else f"drc show {name}",
    )


def end(
    here: Context, id: str, reason: str, judged: fleet.Judged | None = None, *, save: bool = False
) -> Vessel:
    state = fleet.stop_vessel(here.db, id, reason, judged, save=save)
    row = read(here, id)
    if state is None and row["state"] != "stopping":  # stopping twice is stopping
        if row["state"] in LIVING:
            raise WrongState(f"{row['name']} lives on: that is not so any more.")
        raise WrongState(f"{row['name']} is {row['state']} already.")
    if state is None and save and not row["save"] and not row["saved_image"]:
        raise WrongState(f"{row['name']} ends already, and what is in it is not kept.")
    here.doorbell.ring(WORK, EVENTS)
    return view(row, here)


@routes.post("/vessels/{name}/stop", "vessels:stop")
def stop(name: str, owner: Owner, here: Here, save: bool = False) -> Vessel:
    """End a vessel. Its home stays; its GPUs are free once the host says that it is gone.

    `save`: what else is in it is kept for a month, for `come_back`.
    """
    return end(here, of_name(here, owner, name), "stopped by its owner", save=save)


@routes.post("/vessels-by-id/{id}/stop", "vessels:stop:any")
def stop_any(id: uuid.UUID, why: Burial, caller: Calling, here: Here) -> Vessel:
    """End anybody's vessel, saying why."""
    if not fleet.read_vessels(here.db, id=str(id), ended=True):
        raise NoSuchVessel("There is no such vessel.")
    judged = (why.judged.ends_at, why.judged.kept_until) if why.judged else None
    return end(here, str(id), f"{why.reason} ({caller.called})", judged, save=why.save)
