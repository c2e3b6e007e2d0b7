"""What shall become of a vessel: one pure function of facts and the clock."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from drc.vessel import AGEING, State


class Verdict(StrEnum):
    KEEP = "keep"
    BURY = "bury"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one vessel."""

    state: State
    ends_at: datetime


def judge(facts: Facts, now: datetime) -> tuple[Verdict, str]:
    """The verdict and its reason, in words for the owner.

    A vessel is buried at the end of its lifetime; one that ends already, or still waits for GPUs,
    is left alone: its lifetime begins when it is placed.
    """
    if facts.state not in AGEING:
        return Verdict.KEEP, f"it is {facts.state}"
    if now < facts.ends_at:
        return Verdict.KEEP, f"its lifetime ends at {facts.ends_at:%Y-%m-%d %H:%M} UTC"
    return Verdict.BURY, f"its lifetime ended at {facts.ends_at:%Y-%m-%d %H:%M} UTC"
