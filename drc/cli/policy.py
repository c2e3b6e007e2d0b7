"""The text of a tailnet's policy: what drc knows of its people, put between drc's own markers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drc.errors import BadInput
from drc.tailnet import owner_tag

PARTS = ("tagOwners", "acls", "tests")
BEGIN = re.compile(r"([ \t]*)// drc: people in (\w+)[ \t]*(\r?\n)")
END = re.compile(r"[ \t]*// drc: end[ \t]*(\r?\n)?")
HINT = "// drc: people in tagOwners … // drc: end;  likewise acls, tests:  drc tailnet policy"
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What people have. What else a policy takes as a source has a colon or a star, or no @."""
LONGEST_ADDRESS = 254  # RFC 5321, without its brackets
CLIENT = "tag:drc"
"""The tag of the OAuth client that gives vessels theirs."""


@dataclass(frozen=True, slots=True)
class Person:
    tag: str
    address: str
    """Their login in the tailnet; empty where what they are called is no address."""


def people_of(owners: Sequence[Mapping[str, Any]], tag: str) -> list[Person]:
    """`owners`: as the API tells of them."""
    return [
        Person(owner_tag(tag, one["login"], one["uid"]), address_of(one["called"]))
        for one in owners
    ]


def address_of(called: str) -> str:
    return called if ADDRESS.fullmatch(called) and len(called) <= LONGEST_ADDRESS else ""


def apart(people: Sequence[Person]) -> dict[str, list[str]]:
    """The parts where everybody reaches their own vessels only."""
    known = [one for one in people if one.address]
    unknown = [f"// {one.tag}: its owner has no address" for one in people if not one.address]
    return {
        "tagOwners": [f"{json.dumps(one.tag)}: {json.dumps([CLIENT])}," for one in people],
        "acls": [*(acl([one.address], one.tag) for one in known), *unknown],
        "tests": [test(one, next_of(known, number)) for number, one in enumerate(known)],
    }


def together(people: Sequence[Person], tag: str) -> dict[str, list[str]]:
    """The parts where everybody reaches all vessels."""
    known = sorted({one.address for one in people if one.address})
    return {
        "tagOwners": [],
        "acls": [acl(known, tag)] if known else [],
        "tests": [test(Person(tag, address), None) for address in known],
    }


def acl(addresses: Sequence[str], tag: str) -> str:
    return line({"action": "accept", "src": addresses, "dst": [f"{tag}:22,8888"]})


def test(person: Person, other: Person | None) -> str:
    """That they reach their own, and nobody else's: the next one's stands for all."""
    accept, deny = [f"{person.tag}:22", f"{person.tag}:8888"], [f"{person.tag}:80"]
    if other is not None:
        deny += [f"{other.tag}:22", f"{other.tag}:8888"]
    return line({"src": person.address, "accept": accept, "deny": deny})


def next_of(people: Sequence[Person], number: int) -> Person | None:
    """The next of somebody else: one person may be two owners."""
    mine = people[number].address.lower()
    others = [*people[number + 1 :], *people[:number]]
    return next((one for one in others if one.address.lower() != mine), None)


def line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + ","


def has_markers(text: str) -> bool:
    return any(BEGIN.fullmatch(each) or END.fullmatch(each) for each in lines_of(text))


def lines_of(text: str) -> list[str]:
    """Each with its end; as HuJSON has lines, no others."""
    return re.split(r"(?<=\n)", text)


def fill(text: str, parts: Mapping[str, Sequence[str]]) -> str:
    """`parts` between their markers, nothing between those of others; what is not between any stays
    to the letter. Raises BadInput where markers are missing, twice or left open.
    """
    filled: list[str] = []
    seen: list[str] = []
    inside = False
    for number, each in enumerate(lines_of(text), 1):
        begin, end = BEGIN.fullmatch(each), END.fullmatch(each)
        if begin:
            name = begin[2]
            if inside or name in seen or name not in PARTS:
                why = "in another part" if inside else "twice" if name in seen else "no part"
                raise BadInput(f"Line {number}: drc's “people in {name}” is {why}.", hint=HINT)
            filled += [each, *(f"{begin[1]}{entry}{begin[3]}" for entry in parts.get(name, ()))]
            seen.append(name)
            inside = True
        elif end:
            if not inside:
                raise BadInput(f"Line {number}: drc's “end” ends nothing.", hint=HINT)
            filled.append(each)
            inside = False
        elif not inside:
            filled.append(each)
    if inside:
        raise BadInput(f"drc's “people in {seen[-1]}” has no end.", hint=HINT)
    missing = [name for name in PARTS if name not in seen and name in parts]
    if missing:
        raise BadInput(f"It has no place for drc's people in {' and '.join(missing)}.", hint=HINT)
    return "".join(filled)


def without_tests(text: str) -> str:
    """What drc ships, for Headscale: it runs tests against the machines that are there."""
    return re.sub(r'\n\t"tests": \[\n.*?\n\t\],\n', "\n", text, flags=re.DOTALL)
