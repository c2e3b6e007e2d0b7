"""The fleet: its hosts and GPUs."""

from typing import Any

from drc import fleet
from drc.api.access import Calling, Here, Routes
from drc.api.doorbell import WORK
from drc.api.shapes import HostRequest
from drc.errors import BadInput
from drc.machine import parse_simulation

routes = Routes("fleet")


@routes.get("/gpus", "gpus:read")
def gpus(here: Here) -> list[dict[str, Any]]:
    """Every GPU, where it is and who holds it."""
    return fleet.read_gpus(here.db)


@routes.get("/hosts", "hosts:read")
def hosts(caller: Calling, here: Here) -> list[dict[str, Any]]:
    """Every host. How it is reached is shown to those who may change it."""
    rows = fleet.read_hosts(here.db)
    if "hosts:write" not in caller.permissions:
        private = {"ssh_user", "ssh_address", "ssh_port", "address"}
        rows = [{key: row[key] for key in row if key not in private} for row in rows]
    return rows


@routes.post("/hosts", "hosts:write", status_code=202)
def add_host(request: HostRequest, here: Here) -> dict[str, Any]:
    """Add a host, or change how it is reached. A conductor looks at it before it takes vessels."""
    if request.simulate is not None:
        parse_simulation(request.simulate)
    if len(request.ssh_host_key.split()) < 2:
        raise BadInput("The host key is not a public key.", hint="ssh-keyscan HOST")
    id = fleet.add_host(here.db, **request.model_dump())
    here.doorbell.ring(WORK)
    return {"id": id, "name": request.name}
