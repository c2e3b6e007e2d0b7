"""One round: every living vessel is judged anew from Prometheus and Postgres, and what follows is
written down, with its evidence, or asked of the API. Nothing is remembered between two rounds but
what stands in the books; so a round may come twice, late, or after a day off.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from drc import fleet
from drc.client import Client
from drc.db import Database, Row
from drc.errors import DrcError, MetricsUnreachable, Refused
from drc.vessel import State
from undertaker import usage
from undertaker.policy import Policies, Policy
from undertaker.usage import Prometheus, Stretch
from undertaker.verdict import Facts, Judgement, Rung, Verdict, by_the_books, judge
from undertaker.worktime import Calendar

FARTHER = 32  # looks of work time that gaps may cost, beside what the rule needs
DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)
RUNGS = {Verdict.WARN: Rung.WARNED, Verdict.CALL: Rung.CALLED, Verdict.KEEP: Rung.ACTIVE}
UNANSWERED = "unanswered"
"""Instead of a verdict, where the API did not hear of a burial."""
KINDS = {Verdict.WARN: "warned", Verdict.CALL: "called"}

log = logging.getLogger("undertaker")


@dataclass(frozen=True, slots=True)
class Case:
    row: Row
    facts: Facts
    policy: Policy
    found: Judgement | None = None
    """None: it must be looked at first."""

    @property
    def gpus(self) -> list[str]:
        return self.row["gpus"]


def run_once(
    db: Database, client: Client, now: datetime, policies: Policies, prometheus: Prometheus | None
) -> Counter[str]:
    """How often each verdict was reached.

    Raises MetricsUnreachable, but not before lifetimes were seen to.
    """
    now = usage.floor(now)
    opened = [open_case(row, policies, now, prometheus) for row in fleet.list_judged(db)]
    done: Counter[str] = Counter()
    try:
        for case in opened:
            if case.found:
                done[settle(db, client, case, case.found, now)] += 1
        doubtful = [case for case in opened if not case.found]
        if prometheus is not None and doubtful:
            judge_by_use(db, client, prometheus, doubtful, now, done)
    finally:
        fleet.note_burials(db)
    return done


def judge_by_use(
    db: Database, client: Client, prometheus: Prometheus, cases: Sequence[Case], now: datetime,
    done: Counter[str],
) -> None:  # fmt: skip
    """Judge and settle those for whom it matters what their GPUs did. Raises MetricsUnreachable;
    what is not known then is written down too.
    """
    left = {case.row["id"]: case for case in cases}
    try:
        for case, found in investigate(prometheus, cases, now):
            more = spark(prometheus, case, now) if found.verdict in KINDS else {}
            done[settle(db, client, case, found, now, more)] += 1
            del left[case.row["id"]]
    except MetricsUnreachable:
        nobody = Judgement(Verdict.STAY, "Prometheus does not answer, so nobody knows what it does")
        for case in left.values():
            settle(db, client, case, nobody, now)
        raise


def open_case(row: Row, policies: Policies, now: datetime, prometheus: Prometheus | None) -> Case:
    """A vessel, judged if the books are enough for that."""
    policy = policies.of(
        owner=row["owner"], called=row["called"], name=row["name"], queues=row["queues"]
    )
    facts = Facts(
        state=State(row["state"]),
        ends_at=row["ends_at"].astimezone(UTC),
        started_at=row["started_at"],
        born_at=row["born_at"],
        gpus=len(row["gpus"]),
        is_seen=prometheus is not None,
        kept_until=row["any_kept_until"],
        kept_at=row["kept_at"],
        rung=Rung(row["rung"]),
        warned_at=row["warned_at"],
        told_at=row["told_at"],
        called_at=row["called_at"],
    )
    return Case(row, facts, policy, by_the_books(facts, policy, now))


def investigate(
    prometheus: Prometheus, cases: Sequence[Case], now: datetime
) -> Iterator[tuple[Case, Judgement]]:
    """With looks at the work time that a warning takes; at all of the time since, for those whom
    that does not clear.
    """
    doubtful: list[Case] = []
    for calendar, span, group in grouped(cases, lambda policy: policy.warn_after + policy.step):
        since = calendar.before(now, span)
        for case, found in look(prometheus, calendar, group, since, now, off=False):
            if is_clear(case, found):
                yield case, found
            else:
                doubtful.append(case)
    for calendar, span, group in grouped(
        doubtful, lambda policy: policy.warn_after + policy.bury_after + FARTHER * policy.step
    ):
        since = calendar.before(now, span)
        yield from look(prometheus, calendar, group, since, now, off=True)


def is_clear(case: Case, found: Judgement) -> bool:
    return (
        case.facts.rung is Rung.ACTIVE
        and found.verdict in (Verdict.KEEP, Verdict.STAY)
        and not found.unknown
    )


def grouped(
    cases: Iterable[Case], span: Callable[[Policy], timedelta]
) -> Iterator[tuple[Calendar, timedelta, list[Case]]]:
    """By calendar, and by how much of its work time must be seen."""
    groups: dict[tuple[Calendar, timedelta], list[Case]] = defaultdict(list)
    for case in cases:
        groups[case.policy.calendar, span(case.policy)].append(case)
    for (calendar, much), group in groups.items():
        yield calendar, much, group


def look(
    prometheus: Prometheus, calendar: Calendar, cases: Sequence[Case], since: datetime,
    now: datetime, *, off: bool,
) -> Iterator[tuple[Case, Judgement]]:  # fmt: skip
    """The cases, judged with what their GPUs did since then."""
    asked = usage.stretches(calendar, since, now, cases[0].policy.step, off=off)
    gpus = sorted({gpu for case in cases for gpu in case.gpus})
    told = {stretch: prometheus.ask(stretch, gpus) for stretch in asked}
    for case in cases:
        seen = usage.looks(asked, case.gpus, told, calendar)
        yield case, judge(case.facts, seen, case.policy, now)


def spark(prometheus: Prometheus, case: Case, now: datetime) -> dict[str, Any]:
    """The last 24 hours of a vessel about which a message goes out: the busiest GPU's per hour."""
    day = Stretch(now - DAY, now, HOUR, is_work=True)
    told = prometheus.ask(day, case.gpus)
    seen = usage.looks([day], case.gpus, {day: told}, case.policy.calendar)
    return {"last_24h": [max((b for b in one.busy if b is not None), default=None) for one in seen]}


def settle(
    db: Database, client: Client, case: Case, found: Judgement, now: datetime,
    more: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Write a verdict down, and do what follows from it. Returns it, or UNANSWERED."""
    row, policy = case.row, case.policy
    remaining, calendar = found.remaining, policy.calendar
    bury_at = calendar.after(now, remaining) if remaining is not None else None
    keep_to = calendar.after(now, policy.keep)
    kind = KINDS.get(found.verdict)
    evidence = {
        "gpus": case.gpus,
        "averages": [round(one, 3) for one in found.averages],
        "looks": found.looks,
        "idle_h": round(found.idle / HOUR, 2),
        "unknown_h": round(found.unknown / HOUR, 2),
        "policy": policy.words(),
        **(more or {}),
    }
    body = {
        "vessel": row["name"],
        "reason": found.reason,
        "zone": str(calendar.zone),
        "bury_at": bury_at.isoformat() if bury_at else None,
        "keep_to": keep_to.isoformat(),
        "keep_h": policy.keep / HOUR,
        "save": policy.save,
        "keeps_left": max(0, policy.most_keeps - row["keeps"]),
        **(more or {}),
    }
    is_first = fleet.write_verdict(
        db, str(row["id"]), rung=RUNGS.get(found.verdict, case.facts.rung), was=case.facts.rung,
        was_warned_at=case.facts.warned_at, kept_until=row["kept_until"],
        verdict=found.verdict, reason=found.reason, evidence=evidence, now=now,
        idle_since=found.idle_since, bury_at=bury_at, keep_to=keep_to,
        most_keeps=policy.most_keeps, lives_until=lives_until(case), is_busy=found.is_busy,
        kind=kind, body=body if kind else None,
    )  # fmt: skip
    if is_first and found.verdict is Verdict.BURY and not bury(client, case, found.reason):
        return UNANSWERED
    if is_first and kind:
        log.info("%s of %s is %s: %s", row["name"], row["owner"], kind, found.reason)
    return found.verdict.value


def lives_until(case: Case) -> datetime | None:
    """The end of its life, where the policy sets one before that in the books."""
    if case.policy.lifetime is None:
        return None
    until = (case.facts.born_at or case.facts.started_at) + case.policy.lifetime
    return until if until < case.facts.ends_at else None


def bury(client: Client, case: Case, reason: str) -> bool:
    """Ask for it, unless somebody moved the end of its life, or kept it, since it was judged.

    Whether there was an answer.
    """
    row, kept = case.row, case.row["kept_until"]
    judged = {
        "ends_at": case.facts.ends_at.isoformat(),
        "kept_until": kept.isoformat() if kept else None,
    }
    try:
        client.call(
            "POST", f"/v1/vessels-by-id/{row['id']}/stop",
            {"reason": reason, "judged": judged, "save": case.policy.save},
        )  # fmt: skip
        log.info("%s of %s: %s", row["name"], row["owner"], reason)
    except Refused as failed:
        log.info("%s of %s: %s", row["name"], row["owner"], failed)  # it ended, or lives on
    except DrcError as failed:  # the next round asks again, and the others are judged now
        log.error("%s of %s could not be buried: %s", row["name"], row["owner"], failed)
        return False
    return True
