"""What shall become of a vessel: one pure function of what is known of it and the clock.

The rule: a vessel whose GPUs were all idle for `warn_after` work hours is warned; after
`bury_after` more, and a last call an hour ahead, it is buried. Activity at any time, of any of its
GPUs, takes it back down. Nobody knowing is not idleness: without samples the clock stands still.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from drc.vessel import AGEING, State
from undertaker.policy import Policy

JITTER = timedelta(minutes=5)  # by which rounds of cron may be apart by less than they should
NONE = timedelta()


class Rung(StrEnum):
    """How far a vessel has come on the way to its burial."""

    ACTIVE = "active"
    WARNED = "warned"
    CALLED = "called"


class Verdict(StrEnum):
    KEEP = "keep"  # it is well, whatever was said before
    STAY = "stay"  # where it is: nobody knows enough
    WARN = "warn"
    CALL = "call"  # for the last time
    BURY = "bury"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the books say of one vessel."""

    state: State
    ends_at: datetime
    started_at: datetime
    """Of it, or of the youngest that shares its GPUs."""
    born_at: datetime | None = None
    """Of itself, where that is earlier."""
    gpus: int = 0
    is_seen: bool = True
    """Whether anybody measures what GPUs do."""
    kept_until: datetime | None = None
    kept_at: datetime | None = None
    """When its owner said so."""
    rung: Rung = Rung.ACTIVE
    warned_at: datetime | None = None
    told_at: datetime | None = None
    """When the warning was delivered."""
    called_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """How busy each of its GPUs was for a while, in per cent on average; None: nobody knows."""

    begin: datetime
    end: datetime
    work: timedelta
    """How much of the while is work time."""
    busy: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    reason: str
    """For its owner, as the rest of a sentence about it."""
    idle_since: datetime | None = None
    idle: timedelta = NONE
    """Work time for which it is known to have been idle."""
    unknown: timedelta = NONE
    """Work time in between of which nobody knows."""
    averages: tuple[float, ...] = field(default=())
    """Of each GPU in the work time since then, in per cent."""
    looks: int = 0
    remaining: timedelta | None = None
    """Idle work time until its burial, once it was warned."""
    is_busy: bool = False


@dataclass(slots=True)
class Streak:
    """The idle time that ends now: what of it is known, and since when."""

    idle: timedelta = NONE
    since_told: timedelta = NONE
    """Of it, since the warning was delivered."""
    unknown: timedelta = NONE
    blind: timedelta = NONE
    """Since the last sample."""
    since: datetime | None = None
    is_open: bool = False
    """Whether it may have begun before what was looked at."""
    busy_at: datetime | None = None
    """The end of the last time that it was busy, as far as was looked."""
    averages: tuple[float, ...] = ()
    looks: int = 0
    was_used: bool = False
    """Since its owner last kept it."""


def judge(facts: Facts, looks: Sequence[Look], policy: Policy, now: datetime) -> Judgement:
    """`looks`: in order of time, without overlaps, the last one ending now."""
    settled = by_the_books(facts, policy, now)
    if settled:
        return settled
    streak = walk(facts, looks, policy, now)
    found = Judgement(
        Verdict.STAY, "", streak.since, streak.idle, streak.unknown, streak.averages, streak.looks
    )
    return climb(facts, policy, now, streak, found)


def by_the_books(facts: Facts, policy: Policy, now: datetime) -> Judgement | None:
    """The verdict, where it does not matter what its GPUs did."""
    if facts.state not in AGEING:
        return Judgement(Verdict.KEEP, f"it is {facts.state}")
    if now >= facts.ends_at:
        return Judgement(Verdict.BURY, f"its lifetime ended at {show(facts.ends_at, policy)}")
    if policy.lifetime and now >= (facts.born_at or facts.started_at) + policy.lifetime:
        days = policy.lifetime / timedelta(days=1)
        return Judgement(Verdict.BURY, f"the policy lets it live for {days:g} days at most")
    excuse = excused(facts, policy, now)
    if excuse:
        return Judgement(Verdict.KEEP, excuse)
    if facts.state == State.UNREACHABLE:
        return Judgement(Verdict.STAY, "its host does not answer, so nobody knows what it does")
    if facts.state != State.RUNNING:
        return Judgement(Verdict.KEEP, f"it is {facts.state}")
    return None


def excused(facts: Facts, policy: Policy, now: datetime) -> str:
    """Why its idleness does not count; empty where it does."""
    if not facts.is_seen:
        return "nobody measures GPUs here (no Prometheus), so only its lifetime counts"
    if not facts.gpus:
        return "it has no GPU, so only its lifetime counts"
    if policy.exempt:
        return "the policy exempts it"
    if policy.exempt_until and now < policy.exempt_until:
        return f"the policy exempts it until {show(policy.exempt_until, policy)}"
    if facts.kept_until and now < facts.kept_until:
        return f"it is kept until {show(facts.kept_until, policy)}"
    return ""


def walk(facts: Facts, looks: Sequence[Look], policy: Policy, now: datetime) -> Streak:
    """Back from now, for as long as it was idle."""
    streak = Streak()
    clock = max(at for at in (facts.started_at, facts.kept_until, policy.exempt_until) if at)
    totals, seconds, gap = [0.0] * facts.gpus, 0.0, (NONE, NONE)  # its length, and its work time
    streak.was_used = any(
        is_busy(look, policy) for look in looks if facts.kept_at and look.begin >= facts.kept_at
    )
    streak.is_open = True
    for look in reversed(looks):
        if look.begin < clock:
            streak.is_open = False
            break
        if is_busy(look, policy):
            streak.busy_at, streak.is_open = look.end, False
            break
        if any(busy is None for busy in look.busy):
            gap = gap[0] + (look.end - look.begin), gap[1] + look.work
            continue
        if not streak.looks:
            streak.blind = gap[0]
        bridged = gap[1] if gap[0] <= policy.gap else NONE
        streak.unknown += gap[1] - bridged
        idle = look.work + bridged
        streak.idle += idle
        if facts.told_at and look.begin >= facts.told_at - jitter(policy):
            streak.since_told += idle
        worked = look.work.total_seconds()
        totals = [t + (b or 0) * worked for t, b in zip(totals, look.busy, strict=True)]
        seconds, gap = seconds + worked, (NONE, NONE)
        streak.since = look.begin
        streak.looks += 1
    if not streak.looks:
        streak.blind = gap[0]
    streak.averages = tuple(total / seconds for total in totals) if seconds else ()
    return streak


def is_busy(look: Look, policy: Policy) -> bool:
    return any(busy is not None and busy > policy.threshold for busy in look.busy)


def climb(
    facts: Facts, policy: Policy, now: datetime, streak: Streak, found: Judgement
) -> Judgement:
    """One rung up, back down, or neither."""
    warned = facts.warned_at if facts.rung is not Rung.ACTIVE else None
    if warned and streak.busy_at and streak.busy_at > warned:
        warned = None  # that warning counts no more
    found = replace(found, is_busy=streak.busy_at is not None or streak.was_used)
    if warned is None and streak.busy_at and not streak.idle:
        busy = f"it was busy until {show(streak.busy_at, policy)}"
        return replace(found, verdict=Verdict.KEEP, reason=busy)
    if streak.blind > policy.gap:
        blind = show(now - streak.blind, policy)
        return replace(found, reason=f"there are no samples of it since {blind}")
    longer = " or longer" if streak.is_open else ""
    since = f"idle since {show(streak.since, policy)}{longer}" if streak.since else "not idle yet"
    so_far = f"it is {since}: {hours(streak.idle)} of work time"
    if warned is None and streak.idle < policy.warn_after:
        of = f"{so_far} of {hours(policy.warn_after)}{unknown(streak)}"
        return replace(found, verdict=Verdict.KEEP, reason=of)
    if warned is None:
        why = f"{so_far}{unknown(streak)}"
        return replace(found, verdict=Verdict.WARN, reason=why, remaining=policy.bury_after)
    remaining = max(policy.bury_after - streak.since_told, NONE)
    why = f"it is {since}, and was warned at {show(warned, policy)}{unknown(streak)}"
    if facts.told_at is None:
        why = f"{why}; its owner could not be told yet"
        return replace(found, reason=why, remaining=remaining)
    if facts.rung is Rung.WARNED:
        verdict = Verdict.CALL if remaining <= policy.last_call else Verdict.STAY
        return replace(
            found, verdict=verdict, reason=why, remaining=max(remaining, policy.last_call)
        )
    since_call = policy.calendar.between(facts.called_at or now, now)
    remaining = max(remaining, policy.last_call - since_call)
    verdict = Verdict.BURY if remaining <= jitter(policy) else Verdict.STAY
    return replace(found, verdict=verdict, reason=why, remaining=max(remaining, NONE))


def jitter(policy: Policy) -> timedelta:
    """Less where looks or the last call are short."""
    return min(JITTER, policy.step / 3, policy.last_call / 2)


def unknown(streak: Streak) -> str:
    return f" (and {hours(streak.unknown)} of which nobody knows)" if streak.unknown else ""


def hours(span: timedelta) -> str:
    """`6 h`, `45 min`, `1.5 h`, `20 s`."""
    minutes = span.total_seconds() / 60
    if 0 < minutes < 1:
        return f"{span.total_seconds():.0f} s"
    return f"{minutes:.0f} min" if minutes < 59.5 else f"{round(minutes / 60, 1):g} h"


def show(at: datetime | None, policy: Policy) -> str:
    """An instant on the owner's clock."""
    return f"{at.astimezone(policy.calendar.zone):%a %Y-%m-%d %H:%M %Z}" if at else "some time"
