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
from drc.api.names import invent_name
from drc.api.queue import place, rare_image
from drc.api.shapes import (
    Home,
    Plan,
    Vessel,
    VesselRequest,
    Why,
    check_env,
    check_image,
    plan_view,
    vessel_view,
)
from drc.auth import Caller, openssh_public, token_hash
from drc.db import Row
from drc.errors import (
    BadInput,
    Forbidden,
    NameTaken,
    NoSuchHost,
    NoSuchQueue,
    NoSuchVessel,
    NothingFits,
    RequestChanged,
    Unreachable,
    WrongState,
)
from drc.fleet import EVENTS, WORK, Wish
from drc.machine import check_name, model_key, parse_lifetime, parse_memory, show_memory
from drc.plan import Place, waits_for
from drc.vessel import DEFAULT_LIFETIME, LONGEST_LIFETIME, State

routes = Routes("vessels")

MOST_GPUS = 1024
DEFAULT_QUEUE = "default"
CPUS_WITHOUT_GPU = 2000  # millicpus
MEMORY_WITHOUT_GPU = 4096  # MiB
LOG_PATIENCE = 5.0  # seconds for a conductor to fetch a log

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="the same key gives the same vessel for 24 h",
    ),
]


def usable_queues(here: Context, caller: Caller, names: list[str]) -> list[str]:
    """The queues asked for, sorted. Raises NoSuchQueue, Forbidden."""
    asked = sorted(set(names)) or [DEFAULT_QUEUE]
    users = fleet.read_queues(here.db, asked)
    for name in asked:
        if name not in users:
            raise NoSuchQueue(f"There is no queue called {name}.", hint="drc queue list")
        allowed = users[name]
        if allowed is not None and caller.subject not in allowed:
            who = f"Only {' and '.join(allowed)} may" if allowed else "Nobody may"
            raise Forbidden(f"{who} use the queue {name}.", hint="drc queue list")
    return asked


def host_id_of(here: Context, name: str) -> int:
    id = fleet.find_host(here.db, name)
    if id is None:
        raise NoSuchHost(f"There is no host called {name}.", hint="drc host list")
    return id


def wish_of(
    request: VesselRequest, owner_id: int, key: str | None, here: Context, caller: Caller
) -> Wish:
    """The request in the statement's units. Raises BadInput, NoSuchHost, NoSuchQueue, Forbidden."""
    if not 0 <= request.gpus <= MOST_GPUS:
        raise BadInput(
            f"{request.gpus} is not a number of GPUs that a host can have.",
            hint="--gpus 0 asks for a vessel without one.",
        )
    if request.cpus is not None and not 0.1 <= request.cpus <= 4096:
        raise BadInput(f"{request.cpus:g} is not a number of CPUs that a host can have.")
    if not request.gpus and (request.gpu or request.gpu_memory):
        raise BadInput("No GPU is asked for, but a model or GPU memory is.", hint="--gpus 1")
    if request.share is not None and (request.gpus != 1 or request.gpu or request.gpu_memory):
        raise BadInput(f"Its GPUs are those of {request.share}.", hint="--share without --gpus")
    if request.share is not None and (request.host or request.queue):
        raise BadInput(
            f"It is where {request.share} is.", hint="--share without --host and --queue"
        )
    gpus = request.gpus if request.share is None else 0
    lifetime = parse_lifetime(request.lifetime) if request.lifetime else DEFAULT_LIFETIME
    if not lifetime or lifetime > LONGEST_LIFETIME:
        raise BadInput(
            f"A vessel lives at most {LONGEST_LIFETIME.days} days.", hint="--lifetime 7d"
        )

    def no_gpu(default: int) -> int | None:
        return None if gpus else default

    id = str(uuid.uuid4())
    body = json.dumps(request.model_dump(), sort_keys=True).encode()
    return Wish(
        id=id,
        owner_id=owner_id,
        name=check_name(request.name) if request.name is not None else invent_name(),
        queues=usable_queues(here, caller, request.queue),
        gpus=gpus,
        models=sorted({model_key(model) for model in request.gpu}) or None,
        gpu_memory_mib=parse_memory(request.gpu_memory) if request.gpu_memory else 0,
        millicpus=round(request.cpus * 1000) if request.cpus else no_gpu(CPUS_WITHOUT_GPU),
        memory_mib=parse_memory(request.memory) if request.memory else no_gpu(MEMORY_WITHOUT_GPU),
        host_id=host_id_of(here, request.host) if request.host else None,
        shm_mib=parse_memory(request.shm) if request.shm else None,
        image=check_image(request.image or here.default_image),
        env=check_env(request.env),
        lifetime=lifetime,
        token_hash=token_hash(here.secrets.bespoke_token(id, 1)),
        idempotency_key=key,
        request_hash=hashlib.sha256(body).digest(),
    )


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
