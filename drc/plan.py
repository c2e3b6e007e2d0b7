"""Which host a vessel would be given and why not the others: the statement's conditions, in words.

Pure functions over facts. They say what sql/queries/reserve_vessel.sql does;
tests/database/test_plan.py compares the two over thousands of random fleets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drc.errors import NoQueue, NothingFits
from drc.machine import MIB, show_card, show_memory


@dataclass(frozen=True, slots=True)
class Need:
    """What a vessel asks of a host. None: the host's share per GPU, or any."""

    queues: list[str]
    gpus: int
    models: list[str] | None
    gpu_memory_mib: int
    millicpus: int | None
    memory_mib: int | None
    host_id: int | None


@dataclass(frozen=True, slots=True)
class Cards:
    """The cards of one model and size in a host."""

    model: str
    memory_mib: int
    whole: bool
    """False for slices, which are only given to who names them."""
    present: int
    free: int


@dataclass(frozen=True, slots=True)
class Place:
    """A host, as a place for one owner's vessel."""

    id: int
    name: str
    queues: list[str]
    probed: bool
    committed: bool
    cordoned: bool
    ill: str | None
    n_gpus: int
    millicpus: int
    millicpus_free: int
    memory_mib: int
    memory_free_mib: int
    has_home: bool
    home_mib: int | None
    has_image: bool
    cards: tuple[Cards, ...]


class Verdict(NamedTuple):
    """Of one host: `reason` is None where the vessel fits, and `taken` where it would go."""

    place: Place
    reason: str | None
    taken: bool


class _Option(NamedTuple):
    place: Place
    cards: Cards


NO_CARDS = Cards("none", 0, False, 0, 0)


def asked(need: Need) -> str:
    """`2 × a100 or h100`, `a vessel without GPU`."""
    if not need.gpus:
        return "a vessel without GPU"
    return f"{need.gpus} × {_models(need)}"


def _models(need: Need) -> str:
    return " or ".join(need.models) if need.models else "GPU"


def options(place: Place, need: Need) -> list[_Option]:
    return [_Option(place, cards) for cards in (place.cards if need.gpus else (NO_CARDS,))]


def needed(place: Place, need: Need) -> tuple[int, int]:
    """Millicpus and MiB that the vessel would get there."""
    count = max(place.n_gpus, 1)
    cpus = place.millicpus // count * need.gpus if need.millicpus is None else need.millicpus
    memory = place.memory_mib // count * need.gpus if need.memory_mib is None else need.memory_mib
    return cpus, memory


def _is_of_model(option: _Option, need: Need) -> bool:
    if not need.gpus:
        return True
    return option.cards.model in need.models if need.models else option.cards.whole


def fits(option: _Option, need: Need) -> bool:
    """Whether it can be reserved there now."""
    place, cards = option
    cpus, memory = needed(place, need)
    return (
        closed(place) is None
        and bool(set(place.queues) & set(need.queues))
        and need.host_id in (None, place.id)
        and _is_of_model(option, need)
        and cards.memory_mib >= need.gpu_memory_mib
        and cards.free >= need.gpus
        and place.millicpus_free >= cpus
        and place.memory_free_mib >= memory
    )


def closed(place: Place) -> str | None:
    """Why a host takes no vessels at all."""
    if not place.probed:
        return "no conductor has looked at it yet" + (f": {place.ill}" if place.ill else "")
    if not place.committed:
        return "it is not committed yet"
    if place.ill:
        return f"it is ill: {place.ill}"
    return "it is cordoned" if place.cordoned else None


def order(option: _Option, need: Need) -> tuple[int, int, int, int]:
    """The best fit first: the least memory, the fewest cards stranded, then home and image."""
    place, cards = option
    near = 2 if place.has_home else 1 if place.has_image else 0
    free = cards.free if need.gpus else place.n_gpus
    return cards.memory_mib, free, -near, place.id


def plan(places: Sequence[Place], need: Need) -> list[Verdict]:
    """Every host's verdict: the one that would be taken, others that fit, then the rest."""
    ranked = sorted(
        (option for place in places for option in options(place, need) if fits(option, need)),
        key=lambda option: order(option, need),
    )
    fitting = list(dict.fromkeys(option.place.id for option in ranked))
    by_id = {place.id: place for place in places}
    verdicts = [Verdict(by_id[id], None, n == 0) for n, id in enumerate(fitting)]
    rest = [Verdict(p, why_not(p, need), False) for p in places if p.id not in set(fitting)]
    return verdicts + rest


def why_not(place: Place, need: Need) -> str:
    """The first reason, from the general to the particular, why a host cannot hold it now."""
    if need.host_id not in (None, place.id):
        return "another host was named"
    if not set(place.queues) & set(need.queues):
        return f"it is in queue {', '.join(place.queues)}, not in {' or '.join(need.queues)}"
    shut = closed(place)
    if shut:
        return shut
    left = options(place, need)
    if need.gpus:
        if not left:
            return "it has no GPU"
        left = [option for option in left if _is_of_model(option, need)]
        if not left:
            there = ", ".join(sorted({cards.model for cards in place.cards}))
            if not need.models:
                return f"it has only slices, which must be named: {there}"
            return f"it has {there}, not {_models(need)}"
        biggest = max(option.cards.memory_mib for option in left)
        left = [option for option in left if option.cards.memory_mib >= need.gpu_memory_mib]
        if not left:
            return f"its cards have {show_card(biggest)}, not {_gb(need)}"
        best = max(left, key=lambda option: option.cards.present).cards
        left = [option for option in left if option.cards.present >= need.gpus]
        if not left:
            return f"it has {best.present} × {best.model}, not {need.gpus}"
        best = max(left, key=lambda option: option.cards.free).cards
        if best.free < need.gpus:
            if not best.free:
                return f"none of its {best.present} {best.model} is free"
            verb = "is" if best.free == 1 else "are"
            return f"only {best.free} of its {best.present} {best.model} {verb} free"
    cpus, memory = needed(place, need)
    if place.millicpus_free < cpus:
        free = max(place.millicpus_free, 0) / 1000
        return f"only {free:g} of its CPUs {'is' if free == 1 else 'are'} free, not {cpus / 1000:g}"
    if place.memory_free_mib < memory:
        free, asked_for = max(place.memory_free_mib, 0), show_memory(memory)
        shown = show_memory(free) if show_memory(free) != asked_for else f"{free} MiB"
        return f"only {shown} of its memory is free, not {asked_for}"
    return "it fits"


def waits_for(places: Sequence[Place], need: Need) -> str:
    """What a waiting vessel waits for, by the host that could hold it and is nearest to it."""
    able = [place for place in places if could_hold(place, need)]
    if not able:
        return f"no host could hold {asked(need)} any more"
    shut = [place for place in able if closed(place)]
    if len(shut) == len(able):
        return f"{shut[0].name}, the only host for it: {closed(shut[0])}" if len(shut) == 1 else (
            f"one of the {len(shut)} hosts for it to open"
        )  # fmt: skip

    if any(fits(option, need) for place in able for option in options(place, need)):
        return "its turn"

    def lacks(place: Place) -> tuple[bool, int]:
        free = [
            option.cards.free
            for option in options(place, need)
            if _is_of_model(option, need) and option.cards.memory_mib >= need.gpu_memory_mib
        ]
        return closed(place) is not None, max(need.gpus - max(free, default=0), 0)

    nearest = min(able, key=lacks)
    return f"{asked(need)}; nearest is {nearest.name}: {why_not(nearest, need)}"


def could_hold(place: Place, need: Need) -> bool:
    return never([place], need) is None


def never(places: Iterable[Place], need: Need) -> NothingFits | None:
    """The first reason that no host could ever hold it, and what comes nearest.

    A cordoned or ill host counts: it may be open again.
    """
    who = "That host" if need.host_id else "No host"
    known = [place for place in places if place.probed and place.committed]
    if not known:
        return NothingFits("No host is ready yet.", hint="drc host list")
    named = [place for place in known if need.host_id in (None, place.id)]
    if not named:
        return NothingFits("That host is not ready yet.", hint="drc host list")
    there = [place for place in named if set(place.queues) & set(need.queues)]
    if not there:
        queues = sorted({queue for place in named for queue in place.queues})
        return NoQueue(
            f"{who} is {'not ' if need.host_id else ''}in the queue {' or '.join(need.queues)}.",
            hint=f"There are hosts in: {', '.join(queues)}. drc queue list",
        )
    left = [option for place in there for option in options(place, need)]
    if need.gpus:
        models = sorted({option.cards.model for option in left})
        if not left:
            has = "has no" if need.host_id else "has a"
            return NothingFits(f"{who} {has} GPU.", hint="--gpus 0 asks for a vessel without one.")
        left = [option for option in left if _is_of_model(option, need)]
        if not left:
            what = _models(need) if need.models else "whole GPU"
            has = "has no" if need.host_id else "has any"
            return NothingFits(f"{who} {has} {what}.", hint="There are: " + ", ".join(models))
        largest = max(left, key=lambda option: option.cards.memory_mib).cards
        left = [option for option in left if option.cards.memory_mib >= need.gpu_memory_mib]
        if not left:
            return NothingFits(
                f"No {_models(need)} has {_gb(need)} of memory.",
                hint=f"The largest, {largest.model}, has {show_card(largest.memory_mib)}.",
            )
        most = max(left, key=lambda option: option.cards.present).cards
        left = [option for option in left if option.cards.present >= need.gpus]
        if not left:
            has = "does not have" if need.host_id else "has"
            return NothingFits(
                f"{who} {has} {asked(need)}.",
                hint=f"The most in one host are {most.present} × {most.model}, "
                f"{show_card(most.memory_mib)} each.",
            )
    cpus = max(option.place.millicpus for option in left)
    left = [option for option in left if option.place.millicpus >= (need.millicpus or 0)]
    if not left:
        return NothingFits(
            f"No host that would do has {(need.millicpus or 0) / 1000:g} CPUs.",
            hint=f"The most are {cpus / 1000:g}.",
        )
    memory = max(option.place.memory_mib for option in left)
    if memory < (need.memory_mib or 0):
        return NothingFits(
            f"No host that would do has {show_memory(need.memory_mib or 0)} of memory.",
            hint=f"The most is {show_memory(memory)}.",
        )
    return None


def _gb(need: Need) -> str:
    return f"{need.gpu_memory_mib * MIB / 1e9:.0f} GB"
