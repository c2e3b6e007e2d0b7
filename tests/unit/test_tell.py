"""What people are told of troubles: one message each, when things have settled."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drc.trouble import Kind
from undertaker.tell import LONGEST_SETTLING, SETTLING, WELL_FOR, WORDS, Due, due, listed, notes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def vessel(name: str, owner: str = "ada", *, living: bool = True) -> dict[str, Any]:
    return {"id": name, "name": name, "owner": owner, "owner_id": ord(owner[0]), "living": living}


def trouble(kind: Kind = Kind.HOST_SILENT, host: str = "gpu7", *vessels: dict[str, Any],
            age: timedelta = SETTLING, **more: Any) -> dict[str, Any]:  # fmt: skip
    is_gpus = kind in (Kind.GPU_LOST, Kind.GPU_FAULT, Kind.LEFTOVER, Kind.PROGRAM_FAULT)
    return {
        "id": id(more), "kind": kind, "host": host, "uuid": "GPU-3" if is_gpus else None,
        "index": 3 if is_gpus else None, "detail": "why", "began_at": NOW - age, "ended_at": None,
        "told_at": None, "returns": 0, "vessels": list(vessels), **more,
    }  # fmt: skip


def told(*troubles: dict[str, Any]) -> list[tuple[int | None, str, str]]:
    return [(note.owner_id, note.kind, note.title) for note in notes(due(troubles, NOW))]


def test_owner_and_operators_get_one_message_each() -> None:
    found = notes(due([trouble(Kind.HOST_SILENT, "gpu7", vessel("bert"))], NOW))
    assert [(note.owner_id, note.title) for note in found] == [
        (None, "gpu7 does not answer"),
        (ord("a"), "Trouble for bert"),
    ]
    assert found[0].lines == [
        "gpu7: why (bert of ada there).",
        "Look at power, network and switch. Nothing there is given away meanwhile. If one never "
        "answers again:  drc host remove --lost gpu7",
    ]
    assert found[1].lines == [
        "gpu7 does not answer: why.",
        "Nothing to do: your GPUs stay yours, and it is there again when its host is.",
    ]


def test_thirty_hosts_behind_a_dead_switch_are_one_message() -> None:
    hosts = [trouble(Kind.HOST_SILENT, f"gpu{n}", vessel(f"v{n}")) for n in range(30)]
    assert told(*hosts) == [
        (None, "trouble", "gpu0, gpu1, gpu2, gpu3, gpu4, gpu5, gpu6 and 23 more do not answer"),
        (ord("a"), "trouble", "Trouble for v0, v1, v2, v3, v4, v5, v6 and 23 more"),
    ]
    lines = notes(due(hosts, NOW))[0].lines
    assert len(lines) == 10
    assert lines[-2:] == ["And 22 more:  drc host troubles", WORDS[Kind.HOST_SILENT].operators]


def test_nobody_is_told_before_things_have_settled_and_not_much_later() -> None:
    old, young = trouble(age=timedelta(minutes=2)), trouble(host="gpu8", age=SECOND)
    assert told(old) == [(None, "trouble", "gpu7 does not answer")]
    assert told(old, young) == []
    old["began_at"] = NOW - LONGEST_SETTLING
    assert told(old, young) == [(None, "trouble", "gpu7 and gpu8 do not answer")]


def test_a_missed_scrape_is_worth_no_word_and_half_an_hour_without_samples_is() -> None:
    assert told(trouble(Kind.UNSCRAPED, age=timedelta(minutes=29))) == []
    assert told(trouble(Kind.UNSCRAPED, age=timedelta(minutes=30))) != []


def test_what_was_over_before_anybody_was_told_is_not_told() -> None:
    brief = trouble(ended_at=NOW - SECOND)
    assert told(brief) == []
    assert due([brief], NOW) == Due([], [], [])
    brief["ended_at"] = NOW - WELL_FOR
    assert due([brief], NOW) == Due([], [], [brief])


def test_one_that_was_told_is_called_over_when_it_has_been_well_for_a_while() -> None:
    over = trouble(Kind.GPU_FAULT, "gpu7", vessel("bert"), told_at=NOW, ended_at=NOW - SECOND)
    assert told(over) == []
    over["ended_at"] = NOW - WELL_FOR
    assert told(over) == [
        (None, "well", "GPU 3 of gpu7 is well again"),
        (ord("a"), "well", "GPU 3 of gpu7, where bert is, is well again"),
    ]


@pytest.mark.parametrize(
    ("was", "on", "is_well"),
    [
        (Kind.HOST_SILENT, Kind.DOCKER_DOWN, False),
        (Kind.DRIVER_MISMATCH, Kind.DRIVER_FAILS, False),
        (Kind.GPU_FAULT, Kind.GPU_LOST, False),
        (Kind.GPU_FAULT, Kind.DRIVER_FAILS, False),
        (Kind.LEFTOVER, Kind.GPU_FAULT, False),
        (Kind.HOST_SILENT, Kind.GPU_FAULT, True),  # of one GPU, which is not the host
        (Kind.GPU_FAULT, Kind.PROGRAM_FAULT, True),
        (Kind.HOST_SILENT, Kind.UNSCRAPED, True),
    ],
)
def test_nothing_is_well_while_something_worse_is_wrong_there(
    was: Kind, on: Kind, is_well: bool
) -> None:
    over = trouble(was, told_at=NOW, ended_at=NOW - WELL_FOR)
    assert bool(due([over, trouble(on, told_at=NOW)], NOW).well) == is_well
    assert due([over, trouble(on, "gpu8", told_at=NOW)], NOW).well == [over]


def test_whose_vessel_has_ended_is_told_nothing_more() -> None:
    assert told(trouble(Kind.GPU_LOST, "gpu7", vessel("bert", living=False))) == [
        (None, "trouble", "GPU 3 of gpu7 is gone from its host")
    ]


def test_a_program_s_own_fault_is_its_owner_s_only() -> None:
    found = notes(due([trouble(Kind.PROGRAM_FAULT, "gpu7", vessel("bert"))], NOW))
    assert [note.owner_id for note in found] == [ord("a")]
    assert "The GPU is well" in found[0].lines[1]


def test_a_vessel_that_ended_by_itself_is_told_once_and_is_never_well_again() -> None:
    ended = trouble(Kind.CONTAINER_GONE, "gpu7", vessel("bert", living=False))
    found = due([ended], NOW)
    assert found == Due([ended], [], [ended])
    (note,) = notes(found)
    assert note.title == "Trouble for bert"
    assert "drc logs bert" in note.lines[1]


def test_each_owner_is_told_of_their_own_vessels() -> None:
    silent = trouble(Kind.HOST_SILENT, "gpu7", vessel("bert"), vessel("otter", "bob"))
    assert [(owner, title) for owner, _, title in told(silent)] == [
        (None, "gpu7 does not answer"), (97, "Trouble for bert"), (98, "Trouble for otter"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_says_whether_anything_must_be_done(kind: Kind) -> None:
    words = WORDS[kind]
    assert words.owner or words.operators
    assert "{}" in words.title
    assert "{}" in words.titles


def test_names_are_listed_as_people_do() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
