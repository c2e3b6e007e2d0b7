"""What Prometheus is to scrape, as its HTTP service discovery asks for it."""

import ipaddress
from datetime import timedelta

from pydantic import BaseModel

from drc import fleet
from drc.api.access import Here, Routes
from drc.db import Row
from drc.errors import NoSuchJob

EXPORTER_PORT = 9400
SEEN = timedelta(days=1)  # a program that died is served that long, so that it is seen to be down
PATHS = {"api": "/v1/metrics", "conductor": "/metrics"}

routes = Routes("fleet")


class Group(BaseModel):
    targets: list[str]
    labels: dict[str, str]


@routes.get("/targets/{job}", "targets:read")
def targets(job: str, here: Here) -> list[Group]:
    """The targets of a job, whole: `dcgm`, the exporters on hosts, or `drc`, our own programs."""
    if job == "dcgm":
        return [exporter(row) for row in fleet.list_exporters(here.db)]
    if job == "drc":
        return [program(row) for row in fleet.list_programs(here.db, SEEN)]
    raise NoSuchJob(
        f"There is no job called {job}: there are dcgm and drc.", hint="GET /v1/targets/dcgm"
    )


def exporter(host: Row) -> Group:
    at = host["exporter"] or at_port(host["ssh_address"], EXPORTER_PORT)
    return Group(targets=[at], labels={"host": host["host"]})


def program(row: Row) -> Group:
    labels = {
        "program": row["kind"],
        "name": row["name"],
        "__scheme__": "https" if row["tls"] else "http",
        "__metrics_path__": PATHS[row["kind"]],
    }
    return Group(targets=[row["address"]], labels=labels)


def at_port(address: str, port: int) -> str:
    """`10.0.0.7:9400`, `[fd00::7]:9400`."""
    try:
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]:{port}"
    except ValueError:
        pass  # a name
    return f"{address}:{port}"
