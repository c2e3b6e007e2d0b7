"""What a policy would have done in the past: every round of it, judged with what Prometheus still
knows, on the vessels that there were. Nothing is written down, and nobody is told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from drc import fleet
from drc.db import Database, Row
from drc.vessel import State
from undertaker import usage
from undertaker.policy import Policies, Policy
from undertaker.round import FARTHER, HOUR
from undertaker.usage import Prometheus, Stretch
from undertaker.verdict import Facts, Look, Rung, Verdict, judge

EVERY = timedelta(minutes=30)
FAR = timedelta(days=9999)


@dataclass(frozen=True, slots=True)
class Fate:
    """What would have become of one vessel."""

    name: str
    owner: str
    gpus: int
    held: float
    """GPU-hours that it had, in the time that was looked at."""
    warned: tuple[datetime, ...] = ()
    buried_at: datetime | None = None
    saved: float = 0.0
    """GPU-hours between its burial and its real end."""
    interrupted: float = 0.0
    """Of these, those in which one of its GPUs was used."""


def rehearse(
    db: Database, prometheus: Prometheus, policies: Policies, since: datetime, now: datetime
) -> list[Fate]:
    """The fate of every vessel that held GPUs since then, by when it got them.

    Raises MetricsUnreachable.
    """
    now = usage.floor(now)
    begin = now - ((now - since) // EVERY) * EVERY
    rows = fleet.list_past(db, begin)
    asked = Stretch(begin, now, policies.step, is_work=True)
    told = prometheus.ask(asked, sorted({gpu for row in rows for gpu in row["gpus"]}))
    fates: list[Fate] = []
    for row in rows:
        policy = policies.of(
            owner=row["owner"], called=row["called"], name=row["name"], queues=row["queues"]
        )
        lived = (max(row["from_at"], begin), min(row["until_at"], now))
        looks = [
            look
            for look in usage.looks([asked], row["gpus"], {asked: told}, policy.calendar)
            if look.begin >= lived[0] - policies.step and look.end <= lived[1] + policies.step
        ]
        fates.append(fate(row, policy, looks, lived, now))
    return fates


def fate(
    row: Row, policy: Policy, looks: Sequence[Look], lived: tuple[datetime, datetime],
    now: datetime,
) -> Fate:  # fmt: skip
    """Round by round, as if each message had been delivered at once."""
    gpus = len(row["gpus"])
    found = Fate(row["name"], row["owner"], gpus, gpus * (lived[1] - lived[0]) / HOUR)
    facts = Facts(
        State.RUNNING, ends_at=datetime.now(UTC) + FAR, started_at=row["from_at"], gpus=gpus
    )
    reach = policy.warn_after + policy.bury_after + FARTHER * policy.step
    first, last = 0, -1
    for end, look in enumerate(looks, 1):
        at = look.end
        half_hour = -((at - now) // EVERY)  # counted back from now: a round is the first look at it
        if half_hour == last:
            continue
        last = half_hour
        since = policy.calendar.before(at, reach)
        while looks[first].end < since:
            first += 1
        verdict = judge(facts, looks[first:end], policy, at).verdict
        if verdict is Verdict.KEEP:
            facts = replace(facts, rung=Rung.ACTIVE, warned_at=None, told_at=None, called_at=None)
        elif verdict is Verdict.WARN:
            facts = replace(facts, rung=Rung.WARNED, warned_at=at, told_at=at, called_at=None)
            found = replace(found, warned=(*found.warned, at))
        elif verdict is Verdict.CALL:
            facts = replace(facts, rung=Rung.CALLED, called_at=at)
        elif verdict is Verdict.BURY:
            return replace(
                found, buried_at=at, saved=gpus * (lived[1] - at) / HOUR,
                interrupted=used(looks[end:], policy),
            )  # fmt: skip
    return found


def used(looks: Iterable[Look], policy: Policy) -> float:
    """GPU-hours of GPUs that were not idle."""
    return sum(
        (look.end - look.begin) / HOUR
        for look in looks
        for busy in look.busy
        if busy is not None and busy > policy.threshold
    )


def report(played: Mapping[str, Sequence[Fate]]) -> list[str]:
    """For people, by the policies' names: a line for each vessel that any of them would have told
    something, with what each would have, side by side; and each one's sum.
    """
    names = list(played)
    rows = [("", *names)]
    for each in zip(*played.values(), strict=False):
        if any(one.warned or one.buried_at for one in each):
            title = f"{each[0].owner}/{each[0].name}, {each[0].gpus} GPUs"
            rows.append((title, *map(told, each)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, "", *(f"{name}: {total(fates)}" for name, fates in played.items())]


def told(one: Fate) -> str:
    """What one policy would have done to one vessel."""
    said = f"warned {' '.join(map(show, one.warned))}" if one.warned else "-"
    if one.buried_at:
        said += f", buried {show(one.buried_at)}: {one.saved:.0f} GPU-h saved"
        said += f", {one.interrupted:.1f} of them used" if one.interrupted else ""
    return said


def total(fates: Sequence[Fate]) -> str:
    held, saved = sum(one.held for one in fates), sum(one.saved for one in fates)
    buried = [one for one in fates if one.buried_at]
    share = f" ({saved / held:.0%})" if held else ""
    return (
        f"{len(fates)} vessels, {sum(bool(one.warned) for one in fates)} warned, {len(buried)} "
        f"buried, {sum(bool(one.interrupted) for one in buried)} of them used again later; "
        f"{saved:.0f} of {held:.0f} GPU-hours saved{share}"
    )


def show(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
