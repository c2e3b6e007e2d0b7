"""What can be wrong with a host or a GPU, how one tells, and what people are to do about it. Pure.

Measurements (Prometheus) let one suspect; a look at the host says what is true:

    host-silent       SSH does not answer           | nothing is given back; comes back by itself
    docker-down       SSH does, its Docker does not |
    driver-mismatch   nvidia-smi and driver differ  | the whole host takes no vessels
    driver-fails      nvidia-smi fails, or hangs    |
    exporter-down     dcgm-exporter does not answer | nobody measures: nobody is buried as idle
    unscraped         it does, yet no samples come  |
    gpu-lost          nvidia-smi lists it no more   |
    gpu-fault         memory, row remap, fatal XID  | given to nobody until it is well
    leftover          somebody computes on it who has it not, or its memory is not free
    program-fault     an XID that a program causes  | its owner is told, nothing else
    container-gone    a vessel's container ended by itself
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    HOST_SILENT = "host-silent"
    DOCKER_DOWN = "docker-down"
    DRIVER_MISMATCH = "driver-mismatch"
    DRIVER_FAILS = "driver-fails"
    EXPORTER_DOWN = "exporter-down"
    UNSCRAPED = "unscraped"
    GPU_LOST = "gpu-lost"
    GPU_FAULT = "gpu-fault"
    LEFTOVER = "leftover"
    PROGRAM_FAULT = "program-fault"
    CONTAINER_GONE = "container-gone"


OF_SILENCE = (Kind.HOST_SILENT, Kind.DOCKER_DOWN)
LOOKED_FOR = tuple(kind for kind in Kind if kind is not Kind.CONTAINER_GONE)
"""By a look that got an answer, which is also the end of silence."""

FATAL = {
    48: "a memory error that could not be corrected",
    62: "its microcontroller halted",
    63: "a memory row that must be remapped, at the next reset",
    64: "a memory row that could not be remapped",
    74: "an NVLink error",
    79: "it has fallen off the bus",
    95: "a memory error that was not contained",
    119: "its system processor does not answer",
    120: "an error of its system processor",
}
"""XIDs after which a GPU must be reset or repaired, and must not be given to anybody."""
HARMLESS = {
    13: "a kernel ran into an exception, often an index out of bounds",
    31: "a kernel touched memory that is not its own",
    43: "a kernel was stopped after an error of its own",
    45: "its work was ended, after another error or by its end",
    94: "a memory error that was contained to the program which met it",
}
"""XIDs that the program on the GPU causes, or that end no more than it.

Source of both: NVIDIA's table of XIDs, docs.nvidia.com/deploy/xid-errors.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: Kind
    detail: str
    uuid: str | None = None
    """The card's; None: it is the host's."""

    @property
    def is_ill(self) -> bool:
        """Whether the GPU is to be given to nobody."""
        return self.kind in (Kind.GPU_FAULT, Kind.LEFTOVER)

    @property
    def ill(self) -> str:
        """As the books call it."""
        return f"{self.kind}: {self.detail}"


def diagnose(health: Mapping[str, Any], books: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What is true of a host that answers.

    `health`: as drc.api.shapes.HealthReport. `books`: rows of read_doubts, one for each card.
    """
    found: list[Finding] = []
    driver, seen = health["driver"], health["gpus"]
    if driver:
        found.append(Finding(Kind(driver), health["driver_said"]))
    unmeasured = 0
    for card in books:
        uuid, signs, here = card["uuid"], card["signs"], seen.get(card["uuid"])
        if here is None and not driver:
            found.append(Finding(Kind.GPU_LOST, "nvidia-smi lists it no more", uuid))
            continue
        told: str = here["fault"] if here else ""
        faults = told.split("; ") if told else []
        faults += suspected(signs)
        if faults:
            found.append(Finding(Kind.GPU_FAULT, "; ".join(dict.fromkeys(faults)), uuid))
        elif signs.get("xid") in HARMLESS:
            found.append(Finding(Kind.PROGRAM_FAULT, xid(signs["xid"]), uuid))
        if here and here["leftover"]:
            found.append(Finding(Kind.LEFTOVER, here["leftover"], uuid))
        unmeasured += "missing" in signs
    if unmeasured and not driver:
        found.append(not_measured(unmeasured, answers=health["exporter"]))
    return found


def suspected(signs: Mapping[str, int]) -> list[str]:
    """The faults that need no look, since the card itself counts them."""
    faults = [xid(signs["xid"])] if signs.get("xid") in FATAL else []
    if "ecc" in signs:
        faults.append(uncorrected(signs["ecc"]))
    if "remap" in signs:
        faults.append("a memory row could not be remapped")
    return faults


def lets_pass(accepted: str | None, found: Finding) -> bool:
    """Whether an operator has let that pass: each of its faults is among those of then.

    What is left over is the same whatever its numbers are, for these change by themselves.
    """
    kind, _, detail = (accepted or "").partition(": ")
    if kind != found.kind:
        return False
    if kind == Kind.LEFTOVER:
        return re.sub("[0-9]+", "", detail) == re.sub("[0-9]+", "", found.detail)
    return {*found.detail.split("; ")} <= {*detail.split("; ")}


def uncorrected(errors: int) -> str:
    return f"{errors} memory error{'s' * (errors != 1)} that could not be corrected"


def xid(code: int) -> str:
    """An XID in words."""
    return f"XID {code}: {FATAL.get(code) or HARMLESS.get(code) or 'see NVIDIA’s table'}"


def not_measured(number: int, *, answers: bool | None) -> Finding:
    gpus = f"{number} GPU" + "s" * (number != 1)
    if answers:
        return Finding(
            Kind.UNSCRAPED, f"its dcgm-exporter answers, but Prometheus has no samples of {gpus}"
        )
    return Finding(Kind.EXPORTER_DOWN, f"its dcgm-exporter does not answer, so {gpus} go unseen")
