"""The fleet: its hosts and GPUs."""

import re
from typing import Annotated, Any, TypeVar

from fastapi import Query

from drc import fleet
from drc.api.access import Calling, Here, Routes
from drc.api.context import Context
from drc.api.shapes import (
    DrainRequest,
    HostKey,
    HostQueues,
    HostRequest,
    HostSettings,
    QueueRequest,
)
from drc.auth import Caller
from drc.db import Row
from drc.errors import HostTaken, NoSuchHost, NoSuchQueue, WrongState
from drc.fleet import EVENTS, WORK
from drc.machine import parse_simulation
from drc.sshkey import parse_public_key

routes = Routes("fleet")
T = TypeVar("T")
MOST = 100_000  # vessels


@routes.get("/gpus", "gpus:read")
def gpus(here: Here) -> list[dict[str, Any]]:
    """Every GPU, where it is and who holds it."""
    return fleet.read_gpus(here.db)


PRIVATE = {
    *("ssh_user", "ssh_address", "ssh_port", "address", "ssh_host_key", "shown_host_key"),
    *("exporter", "job_mapping"),
}


def visible(row: Row, caller: Caller) -> Row:
    """How a host is reached is shown to those who may change it."""
    if "hosts:write" in caller.permissions:
        return row
    return {key: row[key] for key in row if key not in PRIVATE}


@routes.get("/hosts", "hosts:read")
def hosts(caller: Calling, here: Here) -> list[dict[str, Any]]:
    """Every host."""
    return [visible(row, caller) for row in fleet.read_hosts(here.db)]


@routes.get("/hosts/{name}", "hosts:read")
def host(name: str, caller: Calling, here: Here) -> dict[str, Any]:
    """One host, and the GPUs in it."""
    rows = found(fleet.read_hosts(here.db, name), name)
    gpus = [gpu for gpu in fleet.read_gpus(here.db) if gpu["host"] == name]
    return {**visible(rows[0], caller), "gpus": gpus}


def found(moved: T, name: str) -> T:
    if not moved:
        raise NoSuchHost(f"There is no host called {name}.", hint="drc host list")
    return moved


@routes.post("/hosts", "hosts:write", status_code=202)
def add_host(request: HostRequest, here: Here) -> dict[str, Any]:
    """Add a host, or change how it is reached. A conductor looks at it before it takes vessels."""
    if request.simulate is not None:
        parse_simulation(request.simulate)
    key = request.ssh_host_key
    if key is not None and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", key):
        parse_public_key(key)
    if key is None and fleet.find_host(here.db, request.name) is not None:
        raise HostTaken(
            f"There is a host called {request.name} already.",
            hint=f"drc host show {request.name};  drc host set  and  trust  change it.",
        )
    words = request.model_dump()
    words["queues"] = known_queues(here, words.pop("queue"))
    id = fleet.add_host(here.db, **words)
    here.doorbell.ring(WORK)
    return {"id": id, "name": request.name}


def known_queues(here: Context, names: list[str]) -> list[str]:
    """The names, sorted. Raises NoSuchQueue."""
    known = fleet.read_queues(here.db, names)
    for name in names:
        if name not in known:
            raise NoSuchQueue(f"There is no queue called {name}.", hint=f"drc queue add {name}")
    return sorted(known)


@routes.post("/hosts/{name}/queues", "hosts:write", status_code=204)
def move(name: str, request: HostQueues, here: Here) -> None:
    """Put a host into these queues, and no others."""
    found(fleet.set_host_queues(here.db, name, known_queues(here, request.queue)), name)
    here.waker.ring()


@routes.post("/hosts/{name}/set", "hosts:write", status_code=204)
def set_(name: str, request: HostSettings, here: Here) -> None:
    """Say how its GPUs are measured, or whether a reboot closes it."""
    found(fleet.set_host(here.db, name, **request.model_dump(exclude_unset=True)), name)


@routes.get("/queues", "gpus:read")
def queues(here: Here) -> list[dict[str, Any]]:
    """Every queue: who may use it, its hosts and what they have, how many vessels wait."""
    return fleet.list_queues(here.db)


@routes.get("/queues/{name}", "gpus:read")
def queue(name: str, here: Here) -> dict[str, Any]:
    """One queue, and those who wait in it, in their order."""
    rows = [row for row in fleet.list_queues(here.db) if row["name"] == name]
    if not rows:
        raise NoSuchQueue(f"There is no queue called {name}.", hint="drc queue list")
    return {**rows[0], "line": fleet.list_line(here.db, name)}


@routes.post("/queues", "queues:write", status_code=204)
def add_queue(request: QueueRequest, here: Here) -> None:
    """Add a queue, or change who may use one."""
    fleet.add_queue(here.db, request.name, request.users)


@routes.post("/hosts/{name}/probe", "hosts:write", status_code=202)
def probe(name: str, here: Here) -> None:
    """Have a conductor look at it again."""
    found(fleet.probe_host(here.db, name), name)
    here.doorbell.ring(WORK)


@routes.post("/hosts/{name}/trust", "hosts:write", status_code=202)
def trust(name: str, key: HostKey, here: Here) -> None:
    """Pin the key that the host showed, if it is still this one."""
    if not fleet.trust_host(here.db, name, key.ssh_host_key):
        raise NoSuchHost(f"{name} did not show that key.", hint=f"drc host show {name}")
    here.doorbell.ring(WORK)


@routes.post("/hosts/{name}/commit", "hosts:write", status_code=204)
def commit(name: str, here: Here) -> None:
    """Let a host that was looked at take vessels."""
    found(fleet.commit_host(here.db, name), name)
    here.waker.ring()


@routes.post("/hosts/{name}/cordon", "hosts:write", status_code=204)
def cordon(name: str, here: Here) -> None:
    """No new vessels on it; those that are there stay."""
    found(fleet.cordon_host(here.db, name, True), name)


@routes.post("/hosts/{name}/uncordon", "hosts:write", status_code=204)
def uncordon(name: str, here: Here) -> None:
    found(fleet.cordon_host(here.db, name, False), name)
    here.waker.ring()


def on_host(here: Context, name: str) -> list[Row]:
    return [row for row in fleet.read_vessels(here.db, most=MOST) if row["host"] == name]


@routes.post("/hosts/{name}/drain", "hosts:write", "vessels:stop:any")
def drain(name: str, caller: Calling, here: Here) -> dict[str, Any]:
    """Cordon it, and end the vessels that are on it. Returns their names."""
    found(fleet.cordon_host(here.db, name, True), name)
    rows = on_host(here, name)
    reason = f"{name} is drained ({caller.called})"
    ended = [row for row in rows if fleet.stop_vessel(here.db, str(row["id"]), reason)]
    here.doorbell.ring(WORK, EVENTS)
    return {"vessels": [{"name": row["name"], "owner": row["owner"]} for row in ended]}


@routes.post("/hosts/{name}/drain-by", "hosts:write", "vessels:stop:any")
def drain_by(name: str, request: DrainRequest, here: Here) -> dict[str, Any]:
    """Cordon it now, tell the owners of the vessels there, and end these when it is time."""
    told = fleet.drain_host(here.db, name, request.by, request.why, moves=request.moves)
    if told is None:
        found(None, name)
    here.doorbell.ring(EVENTS)
    return {"vessels": [{"name": row["name"], "owner": row["owner"]} for row in told or []]}


@routes.get("/hosts/{name}/history", "hosts:read")
def history(
    name: str, here: Here, most: Annotated[int, Query(ge=1, le=1000)] = 50
) -> list[dict[str, Any]]:
    """What became of it and who changed it, the newest first."""
    found(fleet.find_host(here.db, name), name)
    return fleet.list_history(here.db, name, most)


@routes.delete("/hosts/{name}", "hosts:write", "vessels:stop:any", status_code=202)
def remove(
    name: str,
    caller: Calling,
    here: Here,
    lost: Annotated[bool, Query(description="it will never answer again")] = False,
) -> None:
    """Take out a host without vessels, once a conductor has taken away what drc made there.

    One that was never committed goes at once. One that is lost for good goes at once too: vessels
    on it have failed, and its GPUs are nobody's any more, since they leave with it.
    """
    if fleet.forget_host(here.db, name):
        return
    host = found(fleet.read_hosts(here.db, name), name)[0]
    if lost:
        found(fleet.cordon_host(here.db, name, True), name)
        for row in on_host(here, name):
            id = str(row["id"])
            fleet.fail_vessel(here.db, id, row["attempt"], f"{name} is lost ({caller.called})")
            fleet.bury_vessel(here.db, id, row["attempt"])
        fleet.remove_host(here.db, host["id"])
        here.doorbell.ring(EVENTS)
    elif not fleet.leave_host(here.db, name):
        count = host["vessels"]
        raise WrongState(
            f"{name} has {count} vessel{'s' * (count != 1)}.", hint=f"drc host drain {name}"
        )
    here.doorbell.ring(WORK)
