"""The fleet: its hosts and GPUs."""

import re
from typing import Any, TypeVar

from drc import fleet
from drc.api.access import Calling, Here, Routes
from drc.api.doorbell import EVENTS, WORK
from drc.api.queue import serve_queue
from drc.api.shapes import HostKey, HostRequest
from drc.auth import Caller
from drc.db import Row
from drc.errors import NoSuchHost
from drc.machine import parse_simulation
from drc.sshkey import parse_public_key

routes = Routes("fleet")
T = TypeVar("T")


@routes.get("/gpus", "gpus:read")
def gpus(here: Here) -> list[dict[str, Any]]:
    """Every GPU, where it is and who holds it."""
    return fleet.read_gpus(here.db)


PRIVATE = {"ssh_user", "ssh_address", "ssh_port", "address", "ssh_host_key", "shown_host_key"}


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
    id = fleet.add_host(here.db, **request.model_dump())
    here.doorbell.ring(WORK)
    return {"id": id, "name": request.name}


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
    serve_queue(here)


@routes.post("/hosts/{name}/cordon", "hosts:write", status_code=204)
def cordon(name: str, here: Here) -> None:
    """No new vessels on it; those that are there stay."""
    found(fleet.cordon_host(here.db, name, True), name)


@routes.post("/hosts/{name}/uncordon", "hosts:write", status_code=204)
def uncordon(name: str, here: Here) -> None:
    found(fleet.cordon_host(here.db, name, False), name)
    serve_queue(here)


@routes.post("/hosts/{name}/drain", "hosts:write", "vessels:stop:any")
def drain(name: str, caller: Calling, here: Here) -> dict[str, Any]:
    """Cordon it, and end the vessels that are on it. Returns their names."""
    found(fleet.cordon_host(here.db, name, True), name)
    rows = [row for row in fleet.read_vessels(here.db) if row["host"] == name]
    reason = f"{name} is drained ({caller.subject})"
    ended = [row for row in rows if fleet.stop_vessel(here.db, str(row["id"]), reason)]
    here.doorbell.ring(WORK, EVENTS)
    return {"vessels": [{"name": row["name"], "owner": row["owner"]} for row in ended]}


@routes.delete("/hosts/{name}", "hosts:write", status_code=204)
def forget(name: str, here: Here) -> None:
    """Take out a host that was never committed."""
    found(fleet.forget_host(here.db, name), name)
