"""Vessels, for the people who own them."""

import hashlib
import json
import time
import uuid
from typing import Annotated, Any

from fastapi import Header, Query, Response

from drc import fleet
from drc.api.access import Calling, Here, Owner, Routes
from drc.api.context import Context
from drc.api.doorbell import EVENTS, WORK
from drc.api.names import invent_name
from drc.api.queue import place
from drc.api.shapes import Vessel, VesselRequest, Why, check_env, check_image, vessel_view
from drc.auth import openssh_public, token_hash
from drc.db import Row
from drc.errors import (
    BadInput,
    Forbidden,
    NameTaken,
    NoSuchVessel,
    RequestChanged,
    Unreachable,
    WrongState,
)
from drc.fleet import Wish
from drc.machine import check_name, model_key, parse_lifetime, parse_memory
from drc.vessel import DEFAULT_LIFETIME, LONGEST_LIFETIME

routes = Routes("vessels")

MOST_GPUS = 1024
LOG_PATIENCE = 5.0  # seconds for a conductor to fetch a log

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="the same key gives the same vessel for 24 h",
    ),
]


def wish_of(request: VesselRequest, owner_id: int, key: str | None, here: Context) -> Wish:
    """The request in the statement's units. Raises BadInput."""
    if not 0 <= request.gpus <= MOST_GPUS:
        raise BadInput(
            f"{request.gpus} is not a number of GPUs that a host can have.",
            hint="--gpus 0 asks for a vessel without one.",
        )
    if request.cpus is not None and not 0.1 <= request.cpus <= 4096:
        raise BadInput(f"{request.cpus:g} is not a number of CPUs that a host can have.")
    if not request.gpus and (request.gpu or request.gpu_memory):
        raise BadInput("No GPU is asked for, but a model or GPU memory is.", hint="--gpus 1")
    lifetime = parse_lifetime(request.lifetime) if request.lifetime else DEFAULT_LIFETIME
    if not lifetime or lifetime > LONGEST_LIFETIME:
        raise BadInput(
            f"A vessel lives at most {LONGEST_LIFETIME.days} days.", hint="--lifetime 7d"
        )
    id = str(uuid.uuid4())
    body = json.dumps(request.model_dump(), sort_keys=True).encode()
    return Wish(
        id=id,
        owner_id=owner_id,
        name=check_name(request.name) if request.name is not None else invent_name(),
        gpus=request.gpus,
        models=[model_key(model) for model in request.gpu] or None,
        gpu_memory_mib=parse_memory(request.gpu_memory) if request.gpu_memory else 0,
        millicpus=round(request.cpus * 1000) if request.cpus else None,
        memory_mib=parse_memory(request.memory) if request.memory else None,
        host=request.host,
        shm_mib=parse_memory(request.shm) if request.shm else None,
        image=check_image(request.image or here.default_image),
        env=check_env(request.env),
        lifetime=lifetime,
        token_hash=token_hash(here.secrets.bespoke_token(id, 1)),
        idempotency_key=key,
        request_hash=hashlib.sha256(body).digest(),
    )


def view(row: Row, here: Context) -> Vessel:
    return vessel_view(row, openssh_public(here.secrets.host_key(row["owner"], row["name"])))


def read(here: Context, id: str) -> Row:
    return fleet.read_vessels(here.db, id=id, ended=True)[0]


def of_name(here: Context, owner: Row, name: str) -> str:
    """The id of the owner's vessel of that name. Another owner's is not there."""
    id = fleet.find_vessel(here.db, owner["id"], name)
    if id is None:
        raise NoSuchVessel(f"You have no vessel called {name}.", hint="drc list")
    return id


@routes.post("/vessels", "vessels:create", status_code=201)
def create(
    request: VesselRequest, owner: Owner, here: Here, response: Response, key: Key = None
) -> Vessel:
    """Reserve the best-fitting GPUs, or wait in the queue. `state` says which."""
    wish = wish_of(request, owner["id"], key, here)
    here.capacity.check(wish)
    try:
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
    return [view(row, here) for row in rows]


@routes.get("/vessels/{name}", "vessels:read")
def show(name: str, owner: Owner, here: Here) -> Vessel:
    """The living vessel of that name, or the last one that bore it."""
    return view(read(here, of_name(here, owner, name)), here)


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
