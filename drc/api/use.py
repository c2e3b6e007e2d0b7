"""What GPUs and vessels do: the books, and beside them what Prometheus measured."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from drc import fleet
from drc.api.access import Here, Owner, Routes
from drc.api.context import Context
from drc.api.measured import POINTS, STEP, Measured, Values, use_of
from drc.api.vessels import of_name, read
from drc.db import Row
from drc.errors import MetricsUnreachable

routes = Routes("use")
T = TypeVar("T")


class GpuUse(BaseModel):
    index: int
    uuid: str
    name: str
    model: str
    memory_mib: int
    simulated: bool
    utilisation: float | None
    memory_used_mib: int | None
    power_w: float | None
    temperature_c: float | None


class VesselGpu(GpuUse):
    hours: list[float | None]


class VesselUse(BaseModel):
    measured: bool
    why: str | None
    at: datetime
    gpus: list[VesselGpu]
    step_seconds: int
    cpus: float | None
    cpus_used: float | None
    memory_mib: int | None
    memory_used_mib: int | None
    received_bytes_per_s: float | None
    sent_bytes_per_s: float | None


class FleetGpu(GpuUse):
    ill: str | None
    vessel: str | None
    owner: str | None
    state: str | None


class HostUse(BaseModel):
    host: str
    open: bool
    queues: list[str]
    gpus: list[FleetGpu]


class FleetUse(BaseModel):
    measured: bool
    why: str | None
    at: datetime
    hosts: list[HostUse]


def asked(here: Context, ask: Callable[[Measured], T], otherwise: T) -> tuple[T, bool, str | None]:
    """What was measured, or why nobody knows: the books are shown in any case. `None` where nothing
    is measured at all.
    """
    if here.measured is None:
        return otherwise, False, None
    try:
        return ask(here.measured), True, None
    except MetricsUnreachable as failed:
        return otherwise, False, failed.message


def gpu_view(row: Row, values: Values) -> dict[str, Any]:
    use = use_of(values, row["measured"])
    return {
        **row,
        "utilisation": use.utilisation,
        "memory_used_mib": use.memory_used_mib,
        "power_w": use.power_w,
        "temperature_c": use.temperature_c,
    }


def since(row: Row, points: list[float | None], now: datetime) -> list[float | None]:
    """Without what the GPU did before it was this vessel's, which is nobody else's business."""
    ends = [now - STEP * back for back in range(POINTS - 1, -1, -1)]
    return [
        point if end - STEP >= row["since"] else None
        for end, point in zip(ends, points, strict=True)
    ]


@routes.get("/vessels/{name}/use", "vessels:read")
def of_vessel(name: str, owner: Owner, here: Here) -> VesselUse:
    """What a vessel's GPUs, CPUs, memory and network do now, and its GPUs did in the last 6 h."""
    id = of_name(here, owner, name)
    row, gpus = read(here, id), fleet.list_measured(here.db, id)
    now = fleet.read_now(here.db).replace(microsecond=0)
    names = [gpu["measured"] for gpu in gpus]
    nothing: tuple[Values, dict[str, list[float | None]], dict[str, float]] = {}, {}, {}

    def ask(told: Measured) -> tuple[Values, dict[str, list[float | None]], dict[str, float]]:
        if row["host"] is None:
            return nothing
        whose = row["name"], row["owner"], row["host"]
        return told.of_gpus(names), told.hours(names, now), told.of_vessel(*whose)

    (values, hours, inside), measured, why = asked(here, ask, nothing)
    unknown: list[float | None] = [None] * POINTS
    return VesselUse(
        measured=measured,
        why=why,
        at=now,
        gpus=[
            VesselGpu(
                **gpu_view(gpu, values), hours=since(gpu, hours.get(gpu["measured"], unknown), now)
            )
            for gpu in gpus
        ],
        step_seconds=int(STEP.total_seconds()),
        cpus=row["millicpus"] / 1000 if row["millicpus"] else None,
        cpus_used=inside.get("cpus"),
        memory_mib=row["memory_mib"],
        memory_used_mib=round(inside["memory"] / 2**20) if "memory" in inside else None,
        received_bytes_per_s=inside.get("received"),
        sent_bytes_per_s=inside.get("sent"),
    )


@routes.get("/use", "gpus:read")
def of_fleet(here: Here) -> FleetUse:
    """Every GPU, by host: who holds it, and what it does now."""
    values, measured, why = asked(here, Measured.of_fleet, dict[tuple[str, str], float]())
    hosts: dict[str, HostUse] = {}
    for row in fleet.read_gpus(here.db):
        host = hosts.setdefault(
            row["host"], HostUse(host=row["host"], open=row["open"], queues=row["queues"], gpus=[])
        )
        host.gpus.append(FleetGpu(**gpu_view(row, values)))
    return FleetUse(
        measured=measured, why=why, at=fleet.read_now(here.db), hosts=list(hosts.values())
    )
