"""What is wrong with hosts and GPUs: suspected from measurements, found by conductors."""

from typing import Any

from drc import fleet
from drc.api.access import Here, Routes
from drc.api.context import Context
from drc.api.fleetwide import found
from drc.api.shapes import Doubts, HealthReport, SetAside, Trouble
from drc.db import Row
from drc.errors import NoSuchGpu
from drc.fleet import EVENTS, WORK
from drc.trouble import LOOKED_FOR, Finding, Kind, diagnose, lets_pass

routes = Routes("fleet")


@routes.get("/troubles", "hosts:read", response_model=list[Trouble])
def troubles(here: Here) -> list[dict[str, Any]]:
    """What is wrong now, the oldest first; and what was until just now."""
    return fleet.list_troubles(here.db)


@routes.post("/doubts", "hosts:doubt", status_code=204)
def doubts(request: Doubts, here: Here) -> None:
    """All that measurements let one suspect. Hosts of which that is new are looked at."""
    if fleet.write_doubts(here.db, [doubt.model_dump() for doubt in request.found]):
        here.doorbell.ring(WORK)


@routes.post("/conduct/hosts/{id}/health", "hosts:conduct", status_code=204)
def health(id: int, report: HealthReport, here: Here) -> None:
    """What a look at a host that answers found of its health."""
    if fleet.hear_host(here.db, id):
        here.waker.ring()
    books = fleet.read_doubts(here.db, id)
    seen = report.model_dump()
    cards: dict[str, str | None] = dict.fromkeys(
        row["uuid"] for row in books if row["uuid"] in seen["gpus"]
    )
    judge(here, id, LOOKED_FOR, books, diagnose(seen, books), cards)


@routes.post("/conduct/hosts/{id}/gpus", "hosts:conduct")
def aside(id: int, report: SetAside, here: Here) -> list[str]:
    """Cards that a vessel was to have, or had, and that nobody is to be given now. Returns these:
    what an operator let pass keeps none back.
    """
    books = fleet.read_doubts(here.db, id)
    diagnosed = [Finding(Kind(one.kind), one.detail, one.uuid) for one in report.found]
    counts = judge(here, id, (), books, diagnosed, {})
    return list(dict.fromkeys(one.uuid for one in counts if one.uuid))


@routes.post("/hosts/{name}/gpus/{index}/release", "hosts:write")
def release(name: str, index: int, here: Here) -> dict[str, Any]:
    """Let a GPU be given again that was set aside. The same reason does not count any more."""
    found(fleet.find_host(here.db, name), name)
    row = fleet.release_gpu(here.db, name, index)
    if row is None:
        raise NoSuchGpu(
            f"{name} has no GPU {index} that is set aside.", hint=f"drc host show {name}"
        )
    here.waker.ring()
    return row


def judge(
    here: Context,
    id: int,
    kinds: tuple[Kind, ...],
    books: list[Row],
    diagnosed: list[Finding],
    ill: dict[str, str | None],
) -> list[Finding]:
    """Write down what was found, and what of it an operator let pass. Returns the rest.

    `ill`: the cards that were looked at; well, as far as nothing was found of them.
    """
    accepted = {row["uuid"]: row["accepted"] for row in books}
    counts = [one for one in diagnosed if not lets_pass(accepted.get(one.uuid), one)]
    passed = {one.uuid: accepted[one.uuid] for one in diagnosed if one not in counts and one.uuid}
    changed = fleet.judge_gpus(here.db, id, ill | passed | illnesses(counts))
    if any(row["ill"] is None for row in changed):
        here.waker.ring()
    note(here, id, kinds, counts)
    return counts


def illnesses(diagnosed: list[Finding]) -> dict[str, str | None]:
    return {one.uuid: one.ill for one in reversed(diagnosed) if one.uuid and one.is_ill}


def note(here: Context, id: int, kinds: tuple[Kind, ...], diagnosed: list[Finding]) -> None:
    told = [{"kind": one.kind, "uuid": one.uuid, "detail": one.detail} for one in diagnosed]
    if fleet.note_troubles(here.db, id, kinds, told):
        here.doorbell.ring(EVENTS)
