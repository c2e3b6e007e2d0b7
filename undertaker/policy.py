"""What an installation thinks of idleness: a file, from the general to the particular.

[default]                       # all vessels
warn_after = 6                  # idle work hours
[queue.big]                     # then what is other for those who asked for a queue,
bury_after = 2
[user."ada@example.org"]        # then for a person,
zone = "America/New_York"
[vessel."ada/bert"]             # then for one vessel
exempt_until = 2026-12-01
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drc.errors import Misconfigured
from undertaker.worktime import Calendar, parse

FOR_EVER = datetime(9000, 1, 1, tzinfo=UTC)
MOST_LOOKS = 10_000  # Prometheus answers with 11,000 points at most
Hours = Annotated[float, Field(gt=0, le=1000)]


class Words(BaseModel):
    """One table of the file; what it leaves out is as in the one above it."""

    model_config = ConfigDict(extra="forbid")
    warn_after: Hours = 6
    bury_after: Hours = 6
    threshold: Annotated[float, Field(ge=0, lt=100)] = 0
    gap_minutes: Annotated[float, Field(ge=0, le=1440)] = 15
    keep_hours: Hours = 12
    most_keeps: Annotated[int, Field(ge=0, le=1000)] = 3
    save: bool = True
    last_call_minutes: Annotated[float, Field(gt=0, le=1440)] = 60
    lifetime_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    exempt: bool = False
    exempt_until: date | datetime | None = None
    zone: str = "UTC"
    hours: dict[str, str] | str = Field(default_factory=lambda: {"mon-fri": "9:00-18:00"})
    holidays: str = ""
    off: list[date] = []


class File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    step_seconds: Annotated[int, Field(ge=1, le=3600)] = 900
    default: dict[str, Any] = {}
    queue: dict[str, dict[str, Any]] = {}
    user: dict[str, dict[str, Any]] = {}
    vessel: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Policy:
    """The rule for one vessel. Spans are of work time, but for `gap`."""

    calendar: Calendar
    warn_after: timedelta = timedelta(hours=6)
    bury_after: timedelta = timedelta(hours=6)
    threshold: float = 0.0
    """Per cent of a GPU, on average, up to which it is idle."""
    gap: timedelta = timedelta(minutes=15)
    """Without samples, for so long, nobody minds."""
    last_call: timedelta = timedelta(hours=1)
    """Ahead of a burial."""
    lifetime: timedelta | None = None
    """Of a vessel, whatever it does and whoever asked for more."""
    step: timedelta = timedelta(minutes=15)
    """How long one look at its GPUs is."""
    keep: timedelta = timedelta(hours=12)
    most_keeps: int = 3
    save: bool = True
    """Whether what is in it, beside its home, is kept when it is buried."""
    exempt: bool = False
    exempt_until: datetime | None = None

    def words(self) -> dict[str, Any]:
        """For the evidence beside a verdict."""
        return {
            "warn_after_h": self.warn_after / timedelta(hours=1),
            "bury_after_h": self.bury_after / timedelta(hours=1),
            "threshold": self.threshold,
            "gap_min": self.gap / timedelta(minutes=1),
            "zone": str(self.calendar.zone),
            "save": self.save,
        }


@dataclass(frozen=True, slots=True)
class Policies:
    file: File = field(default_factory=File)
    made: dict[str, Policy] = field(default_factory=dict[str, Policy])

    @classmethod
    def load(cls, path: Path | None) -> "Policies":
        """Raises Misconfigured with what is wrong and where."""
        if path is None:
            return cls()
        try:
            policies = cls(File.model_validate(tomllib.loads(path.read_text())))
            policies.check()
        except (OSError, ValueError) as failed:
            raise Misconfigured(f"DRC_IDLE_POLICY, {path}: {_short(failed)}") from None
        return policies

    def check(self) -> None:
        """Every table, in words of its own. Raises ValueError."""
        tables: list[tuple[str, Mapping[str, Any]]] = [("default", self.file.default)]
        for kind in ("queue", "user", "vessel"):
            named: Mapping[str, Mapping[str, Any]] = getattr(self.file, kind)
            tables += [(f"{kind}.{name}", table) for name, table in named.items()]
        said: list[Words] = []
        for name, table in tables:
            try:
                said.append(Words.model_validate({**self.file.default, **table}))
                self._policy(said[-1])
            except ValueError as failed:
                raise ValueError(f"[{name}] {_short(failed)}") from None
        # a vessel may be under any of the queues' tables, and a person's, at once
        hours = max(one.warn_after for one in said) + max(one.bury_after for one in said)
        if timedelta(hours=hours) / self.step > MOST_LOOKS:
            raise ValueError(f"step_seconds is too small to look at {hours:g} hours")

    def of(self, *, owner: str, called: str, name: str, queues: Iterable[str]) -> Policy:
        """For a vessel. `called`: what its owner is called, beside the login."""
        said: dict[str, Any] = dict(self.file.default)
        for queue in sorted(queues):
            said |= self.file.queue.get(queue, {})
        for person in (owner, called):
            said |= self.file.user.get(person, {})
        said |= self.file.vessel.get(f"{owner}/{name}", {})
        key = repr(sorted(said.items()))
        if key not in self.made:
            self.made[key] = self._policy(Words.model_validate(said))
        return self.made[key]

    @property
    def step(self) -> timedelta:
        """How long one look at GPUs is."""
        return timedelta(seconds=self.file.step_seconds)

    def _policy(self, said: Words) -> Policy:
        calendar = parse(said.zone, said.hours, said.holidays, frozenset(said.off))
        days = said.lifetime_days
        return Policy(
            calendar=calendar,
            step=self.step,
            last_call=timedelta(minutes=said.last_call_minutes),
            lifetime=timedelta(days=days) if days is not None else None,
            warn_after=timedelta(hours=said.warn_after),
            bury_after=timedelta(hours=said.bury_after),
            threshold=said.threshold,
            gap=timedelta(minutes=said.gap_minutes),
            keep=timedelta(hours=said.keep_hours),
            most_keeps=said.most_keeps,
            save=said.save,
            exempt=said.exempt,
            exempt_until=_instant(said.exempt_until, calendar.zone),
        )


def _instant(said: date | datetime | None, zone: ZoneInfo) -> datetime | None:
    """The end of a day there, or the time as it is."""
    if said is None:
        return None
    if said.year > FOR_EVER.year:  # people write 9999-12-31, which no zone can hold
        return FOR_EVER
    if isinstance(said, datetime):
        return (said if said.tzinfo else said.replace(tzinfo=zone)).astimezone(UTC)
    return datetime.combine(said + timedelta(days=1), time(), zone).astimezone(UTC)


def _short(failed: Exception) -> str:
    if isinstance(failed, ValidationError):
        first = failed.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(failed)
