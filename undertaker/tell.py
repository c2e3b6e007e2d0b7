"""What people are told of what is wrong: one message each, saying whether anything must be done.

Pure: from rows of list_troubles and the clock. What comes together is one message, as of thirty
hosts behind a dead switch; what comes and goes is one trouble.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from drc.trouble import OF_SILENCE, Kind

SETTLING = timedelta(minutes=1)
"""After the last thing that went wrong, until people are told."""
LONGEST_SETTLING = timedelta(minutes=3)
PATIENT = {Kind.UNSCRAPED: timedelta(minutes=30)}
"""How long one lasts before it is worth a word. A missed scrape is not."""
WELL_FOR = timedelta(minutes=10)
"""Before it is called over."""
WORSE = {*OF_SILENCE, Kind.DRIVER_MISMATCH, Kind.DRIVER_FAILS,
         Kind.GPU_LOST, Kind.GPU_FAULT, Kind.LEFTOVER}  # fmt: skip
"""While one of these is on, nothing at its place is called well: one may hide the other."""
MOST_NAMES = 8

Trouble = Mapping[str, Any]
"""A row of list_troubles."""


@dataclass(frozen=True, slots=True)
class Words:
    title: str
    titles: str
    """Of several."""
    owner: str
    """What the owner of a vessel is to do; empty: owners are not told."""
    operators: str
    """What operators are to do; empty: they are not told."""


AGAIN = "drc stop {vessel}  then  drc create {vessel} --like {vessel}"
SAVE = "Save your work and create it again elsewhere:  drc stop --save {vessel}"
WORDS: Mapping[Kind, Words] = {
    Kind.HOST_SILENT: Words(
        "{} does not answer",
        "{} do not answer",
        "Nothing to do: your GPUs stay yours, and it is there again when its host is.",
        "Look at power, network and switch. Nothing there is given away meanwhile. If one never "
        "answers again:  drc host remove --lost HOST",
    ),
    Kind.DOCKER_DOWN: Words(
        "Docker on {} does not answer",
        "Docker does not answer on {}",
        "Nothing to do: your GPUs stay yours, and you may still be able to work in it.",
        "On the host:  systemctl status docker",
    ),
    Kind.DRIVER_MISMATCH: Words(
        "The NVIDIA driver of {} was changed without a reboot",
        "NVIDIA drivers were changed without a reboot: {}",
        f"What runs goes on; nothing new gets a GPU there until a reboot. {SAVE}",
        "Reboot when its vessels are done:  drc host drain HOST",
    ),
    Kind.DRIVER_FAILS: Words(
        "The NVIDIA driver of {} fails",
        "NVIDIA drivers fail: {}",
        f"Its GPUs do not answer. {SAVE}",
        "On the host:  dmesg | grep -i xid   It takes no new vessels meanwhile.",
    ),
    Kind.EXPORTER_DOWN: Words(
        "Nobody measures the GPUs of {}",
        "Nobody measures the GPUs of {}",
        "Nothing to do: what nobody measures is not buried as idle.",
        "On the host:  systemctl status dcgm-exporter",
    ),
    Kind.UNSCRAPED: Words(
        "Prometheus does not hear {}",
        "Prometheus does not hear {}",
        "",
        "Look at Prometheus' targets: it does not reach an exporter that answers us.",
    ),
    Kind.GPU_LOST: Words(
        "{} is gone from its host",
        "{} are gone from their hosts",
        f"Programs on it have failed. For another GPU:  {AGAIN}",
        "Reboot the host; if that does not help, reseat or replace the card.",
    ),
    Kind.GPU_FAULT: Words(
        "{} is ill",
        "{} are ill",
        f"What it computes may be wrong from now on. For another GPU:  {AGAIN}",
        "Nobody new is given it. Reset it or reboot the host once it is free; if you know better:  "
        "drc host release HOST GPU",
    ),
    Kind.LEFTOVER: Words(
        "{} is not free",
        "{} are not free",
        "",
        "Nobody new is given it. On the host:  nvidia-smi   shows what to end.",
    ),
    Kind.PROGRAM_FAULT: Words(
        "A program failed on {}",
        "Programs failed on {}",
        "The GPU is well: the cause is in the program. compute-sanitizer finds where.",
        "",
    ),
    Kind.CONTAINER_GONE: Words(
        "A vessel ended by itself on {}",
        "Vessels ended by themselves on {}",
        "Its home is untouched. Its last lines:  drc logs {vessel}   To have it back:  "
        "drc create {vessel} --like {vessel}",
        "",
    ),
}
WELL = "Nothing needs to be done."


@dataclass(frozen=True, slots=True)
class Note:
    """A message that is to be written. `owner_id` None: to the operators."""

    owner_id: int | None
    kind: str
    """trouble or well."""
    title: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Due:
    """Troubles to be told now; that were told and are over; that are over without a word."""

    told: list[Trouble]
    well: list[Trouble]
    dropped: list[Trouble]


def due(troubles: Sequence[Trouble], now: datetime) -> Due:
    """`troubles`: those that were not called over yet."""
    fresh = [t for t in troubles if not t["told_at"] and not t["ended_at"]]
    fresh = [t for t in fresh if now - t["began_at"] >= PATIENT.get(Kind(t["kind"]), timedelta())]
    ages = [now - t["began_at"] for t in fresh]
    if ages and min(ages) < SETTLING and max(ages) < LONGEST_SETTLING:
        fresh = []
    on = [t for t in troubles if not t["ended_at"] and Kind(t["kind"]) in WORSE]
    worse = {(t["host"], t["uuid"]) for t in on}
    ended = [t for t in troubles if t["ended_at"] and now - t["ended_at"] >= WELL_FOR]
    ended = [t for t in ended if not worse & {(t["host"], None), (t["host"], t["uuid"])}]
    once = [t for t in fresh if t["kind"] == Kind.CONTAINER_GONE]
    return Due(
        told=fresh,
        well=[t for t in ended if t["told_at"]],
        dropped=[t for t in ended if not t["told_at"]] + once,
    )


def notes(found: Due) -> list[Note]:
    """For each whom it concerns, one about all that is new and one about all that is over."""
    told: list[Note] = []
    for kind, troubles in (("trouble", found.told), ("well", found.well)):
        ours = [t for t in troubles if WORDS[Kind(t["kind"])].operators]
        if ours:
            told.append(Note(None, kind, *(as_trouble if kind == "trouble" else as_well)(ours)))
        for owner_id, theirs in by_owner(troubles).items():
            told.append(Note(owner_id, kind, *for_owner(kind, theirs)))
    return told


def as_trouble(troubles: Sequence[Trouble]) -> tuple[str, list[str]]:
    """Title and lines, for operators."""
    groups: dict[Kind, list[Trouble]] = {}
    for trouble in troubles:
        groups.setdefault(Kind(trouble["kind"]), []).append(trouble)
    titles, lines = list[str](), list[str]()
    for kind, some in groups.items():
        where = [place(trouble) for trouble in some]
        words = WORDS[kind]
        titles.append((words.title if len(some) == 1 else words.titles).format(listed(where)))
        lines += [f"{place(t)}: {t['detail']}{held(t)}." for t in some[:MOST_NAMES]]
        if len(some) > MOST_NAMES:
            lines.append(f"And {len(some) - MOST_NAMES} more:  drc host troubles")
        lines.append(command(words.operators, some))
    return "; ".join(titles), lines


def command(words: str, troubles: Sequence[Trouble]) -> str:
    """As it can be typed, where it is about one host or GPU."""
    if len(troubles) != 1:
        return words
    one = troubles[0]
    return words.replace("HOST GPU", f"{one['host']} {one['index']}").replace("HOST", one["host"])


def as_well(troubles: Sequence[Trouble]) -> tuple[str, list[str]]:
    where = list(dict.fromkeys(place(trouble) for trouble in troubles))
    lines = [f"{place(t)}: {t['detail']}; over at {t['ended_at']:%H:%M} UTC." for t in troubles]
    return f"{listed(where)} {be(where)} well again", [*lines[:MOST_NAMES], WELL]


def by_owner(troubles: Iterable[Trouble]) -> dict[int, list[tuple[Trouble, list[str]]]]:
    """For each owner the troubles that concern them, and the names of their vessels in each."""
    found: dict[int, list[tuple[Trouble, list[str]]]] = {}
    for trouble in troubles:
        if not WORDS[Kind(trouble["kind"])].owner:
            continue
        names: dict[int, list[str]] = {}
        for vessel in trouble["vessels"]:
            if vessel["living"] or trouble["kind"] == Kind.CONTAINER_GONE:
                names.setdefault(vessel["owner_id"], []).append(vessel["name"])
        for owner_id, some in names.items():
            found.setdefault(owner_id, []).append((trouble, some))
    return found


def for_owner(kind: str, troubles: Sequence[tuple[Trouble, list[str]]]) -> tuple[str, list[str]]:
    names = list(dict.fromkeys(name for _, some in troubles for name in some))
    if kind == "well":
        where = list(dict.fromkeys(place(trouble) for trouble, _ in troubles))
        return f"{listed(where)}, where {listed(names)} {be(names)}, {be(where)} well again", [WELL]
    lines: list[str] = []
    for trouble, some in troubles:
        words = WORDS[Kind(trouble["kind"])]
        lines.append(f"{words.title.format(place(trouble))}: {trouble['detail']}.")
        lines.append(words.owner.replace("{vessel}", some[0]))
    return f"Trouble for {listed(names)}", list(dict.fromkeys(lines))


def be(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def place(trouble: Trouble) -> str:
    """`gpu7`, or `GPU 3 of gpu7`."""
    host: str = trouble["host"]
    return host if trouble["uuid"] is None else f"GPU {trouble['index']} of {host}"


def held(trouble: Trouble) -> str:
    who = [f"{vessel['name']} of {vessel['owner']}" for vessel in trouble["vessels"]]
    return f" ({listed(who)} there)" if who else ""


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, and no more than MOST_NAMES of them."""
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
