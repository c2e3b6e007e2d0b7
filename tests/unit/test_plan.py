"""Which host, why not the others, and what could never be: every sentence, by one changed field."""

from dataclasses import replace
from typing import Any

import pytest

from drc.errors import NoQueue
from drc.plan import Cards, Need, Place, asked, closed, could_hold, never, plan, waits_for, why_not

A100 = Cards("a100", 81920, whole=True, present=8, free=8)
SMALL_A100 = Cards("a100", 40960, whole=True, present=4, free=4)
RTX = Cards("rtx3090", 24576, whole=True, present=2, free=2)
SLICE = Cards("a100-1g.10gb", 9728, whole=False, present=7, free=7)

GOOD = Place(
    id=1,
    name="gpu1",
    queues=["default"],
    probed=True,
    committed=True,
    cordoned=False,
    ill=None,
    n_gpus=8,
    millicpus=60_000,
    millicpus_free=60_000,
    memory_mib=480_000,
    memory_free_mib=480_000,
    has_home=False,
    home_mib=None,
    has_image=False,
    cards=(A100,),
)
PLAIN = Need(
    queues=["default"],
    gpus=1,
    models=None,
    gpu_memory_mib=0,
    millicpus=None,
    memory_mib=None,
    host_id=None,
)


def host(id: int, *cards: Cards, **changes: Any) -> Place:
    """`millicpus` and `memory_mib` are all free unless it is said otherwise."""
    for size, free in (("millicpus", "millicpus_free"), ("memory_mib", "memory_free_mib")):
        if size in changes:
            changes.setdefault(free, changes[size])
    n_gpus = sum(kind.present for kind in cards)
    return replace(GOOD, id=id, name=f"gpu{id}", cards=cards, n_gpus=n_gpus, **changes)


def asking(**changes: Any) -> Need:
    return replace(PLAIN, **changes)


def taken(places: list[Place], need: Need = PLAIN) -> str | None:
    return next((place.name for place, _, taken in plan(places, need) if taken), None)


# Why it cannot be on a host now ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({"probed": False}, "no conductor has looked at it yet"),
        (
            {"probed": False, "ill": "ssh: no route"},
            "no conductor has looked at it yet: ssh: no route",
        ),
        ({"committed": False}, "it is not committed yet"),
        ({"committed": False, "cordoned": True}, "it is not committed yet"),
        ({"ill": "its Docker does not answer"}, "it is ill: its Docker does not answer"),
        ({"ill": "no driver", "cordoned": True}, "it is ill: no driver"),
        ({"cordoned": True}, "it is cordoned"),
        ({}, None),
    ],
)
def test_why_a_host_takes_no_vessels(place: dict[str, Any], sentence: str | None) -> None:
    assert closed(replace(GOOD, **place)) == sentence
    if sentence:
        assert why_not(replace(GOOD, **place), PLAIN) == sentence
        assert plan([replace(GOOD, **place)], PLAIN) == [
            (replace(GOOD, **place), sentence, False),
        ]


@pytest.mark.parametrize(
    ("place", "need", "sentence"),
    [
        ({}, {"host_id": 2}, "another host was named"),
        ({"cordoned": True}, {"host_id": 2}, "another host was named"),
        ({}, {"queues": ["vision"]}, "it is in queue default, not in vision"),
        (
            {"queues": ["cheap", "slow"]},
            {"queues": ["default", "vision"]},
            "it is in queue cheap, slow, not in default or vision",
        ),
        ({"cordoned": True}, {"models": ["h100"]}, "it is cordoned"),
        ({"cards": ()}, {}, "it has no GPU"),
        ({}, {"models": ["h100"]}, "it has a100, not h100"),
        (
            {"cards": (RTX, A100, SMALL_A100)},
            {"models": ["h100", "l4"]},
            "it has a100, rtx3090, not h100 or l4",
        ),
        ({"cards": (SLICE,)}, {}, "it has only slices, which must be named: a100-1g.10gb"),
        ({"cards": (SLICE,)}, {"models": ["a100"]}, "it has a100-1g.10gb, not a100"),
        ({}, {"gpu_memory_mib": 90_000}, "its cards have 80 GB, not 94 GB"),
        (
            {"cards": (RTX, SMALL_A100)},
            {"gpu_memory_mib": 90_000},
            "its cards have 40 GB, not 94 GB",
        ),
        (
            {"cards": (RTX, A100)},
            {"models": ["rtx3090"], "gpu_memory_mib": 40_000},
            "its cards have 24 GB, not 42 GB",
        ),
        ({}, {"gpus": 9}, "it has 8 × a100, not 9"),
        ({"cards": (RTX, SMALL_A100)}, {"gpus": 5}, "it has 4 × a100, not 5"),
        (
            {"cards": (replace(A100, present=2, free=2), SMALL_A100)},
            {"gpus": 3, "gpu_memory_mib": 50_000},
            "it has 2 × a100, not 3",
        ),
        ({"cards": (replace(A100, free=0),)}, {}, "none of its 8 a100 is free"),
        ({"cards": (replace(A100, free=1),)}, {"gpus": 2}, "only 1 of its 8 a100 is free"),
        (
            {"cards": (replace(A100, free=2), replace(SMALL_A100, free=1))},
            {"gpus": 3},
            "only 2 of its 8 a100 are free",
        ),
        ({"millicpus_free": 5_000}, {}, "only 5 of its CPUs are free, not 7.5"),
        ({"millicpus_free": 5_500}, {"millicpus": 16_000}, "only 5.5 of its CPUs are free, not 16"),
        ({"memory_free_mib": 10_240}, {}, "only 10 GiB of its memory is free, not 58.6 GiB"),
        (
            {"memory_free_mib": 512},
            {"memory_mib": 65_536},
            "only 512 MiB of its memory is free, not 64 GiB",
        ),
        (
            {"cards": (), "millicpus_free": 1_000},
            {"gpus": 0, "millicpus": 2_000, "memory_mib": 4_096},
            "only 1 of its CPUs is free, not 2",
        ),
        (
            {"memory_free_mib": 2_048},
            {"gpus": 0, "millicpus": 2_000, "memory_mib": 4_096},
            "only 2 GiB of its memory is free, not 4 GiB",
        ),
    ],
)
def test_why_a_host_cannot_hold_it_now(
    place: dict[str, Any], need: dict[str, Any], sentence: str
) -> None:
    there = replace(GOOD, **place)
    assert why_not(there, asking(**need)) == sentence
    assert plan([there], asking(**need)) == [(there, sentence, False)]


@pytest.mark.parametrize(
    "need",
    [
        {},
        {"gpus": 8},
        {"models": ["h100", "a100"]},
        {"gpu_memory_mib": 81_920},
        {"queues": ["vision", "default"]},
        {"host_id": 1},
        {"millicpus": 60_000, "memory_mib": 480_000},
        {"gpus": 0, "millicpus": 60_000, "memory_mib": 480_000},
    ],
)
def test_it_fits_where_all_of_it_is_free(need: dict[str, Any]) -> None:
    assert plan([GOOD], asking(**need)) == [(GOOD, None, True)]


# Which of those that fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (host(2, RTX), host(1, SMALL_A100)),  # the least memory
        (host(2, SMALL_A100), host(1, A100)),
        (host(2, replace(RTX, free=1)), host(1, RTX)),  # the fewest cards stranded
        (host(2, RTX), host(1, replace(RTX, present=1, free=1), SMALL_A100, cordoned=True)),
        (host(2, A100, has_home=True), host(1, A100, has_image=True)),  # home, then image
        (host(2, A100, has_image=True), host(1, A100)),
        (host(2, A100, has_home=True), host(1, A100)),
        (host(2, RTX), host(1, A100, has_home=True, has_image=True)),  # but only among equals
        (host(2, replace(A100, free=7)), host(1, A100, has_home=True)),
        (host(1, A100), host(2, A100)),  # and the id at last
        (host(1, A100, has_home=True), host(2, A100, has_home=True, has_image=True)),
        (host(2, A100, RTX), host(1, A100)),  # by the cards it would get
    ],
)
def test_the_better_host_is_taken(better: Place, worse: Place) -> None:
    for places in ([better, worse], [worse, better]):
        assert taken(places) == better.name


def test_a_vessel_without_gpu_goes_where_the_fewest_cards_are() -> None:
    need = asking(gpus=0, millicpus=2_000, memory_mib=4_096)
    assert taken([host(1, A100), host(2, RTX, has_home=True), host(3)], need) == "gpu3"
    assert taken([host(1, replace(A100, free=0)), host(2, RTX)], need) == "gpu2"


def test_those_that_fit_come_first_and_each_host_once() -> None:
    both = host(1, A100, RTX)
    other, shut = host(2, SMALL_A100), host(3, RTX, cordoned=True)
    assert plan([shut, other, both], PLAIN) == [
        (both, None, True),
        (other, None, False),
        (shut, "it is cordoned", False),
    ]


def test_a_slice_is_only_given_to_who_names_it() -> None:
    cut = host(1, SLICE)
    assert taken([cut]) is None
    assert taken([cut], asking(models=["a100"])) is None
    assert taken([cut], asking(models=["a100-1g.10gb"])) == "gpu1"
    assert taken([cut, host(2, A100)]) == "gpu2"
    assert taken([cut, host(2, A100)], asking(models=["a100", "a100-1g.10gb"])) == "gpu1"


def test_a_host_in_several_queues_is_in_each() -> None:
    there = [host(1, A100, queues=["cheap", "vision"]), host(2, RTX)]
    assert taken(there) == "gpu2"
    assert taken(there, asking(queues=["vision"])) == "gpu1"
    assert taken(there, asking(queues=["default", "vision"])) == "gpu2"
    assert taken(there, asking(queues=["other"])) is None


def test_the_share_of_the_gpus_is_what_it_needs_where_nothing_is_said() -> None:
    half = host(1, A100, millicpus=60_000, millicpus_free=30_000)
    assert taken([half], asking(gpus=4)) == "gpu1"
    assert taken([half], asking(gpus=5)) is None
    assert taken([half], asking(gpus=5, millicpus=30_000)) == "gpu1"


# What it waits for -------------------------------------------------------------------------------

FULL = replace(A100, free=0)


@pytest.mark.parametrize(
    ("places", "need", "sentence"),
    [
        ([], {}, "no host could hold 1 × GPU any more"),
        ([GOOD], {"gpus": 9, "models": ["a100"]}, "no host could hold 9 × a100 any more"),
        (
            [host(1, RTX, millicpus=1_000)],
            {"gpus": 0, "millicpus": 2_000},
            "no host could hold a vessel without GPU any more",
        ),
        ([GOOD], {}, "its turn"),
        ([host(1, FULL), host(2, A100)], {}, "its turn"),
        (
            [host(1, A100, cordoned=True)],
            {},
            "gpu1, the only host for it: it is cordoned",
        ),
        (
            [host(1, A100, ill="no driver"), host(2, RTX, cordoned=True), host(3)],
            {},
            "one of the 2 hosts for it to open",
        ),
        (
            [host(1, FULL)],
            {"gpus": 2, "models": ["a100"]},
            "2 × a100; nearest is gpu1: none of its 8 a100 is free",
        ),
        (
            [host(1, FULL), host(2, replace(A100, free=1)), host(3, replace(RTX, free=0))],
            {"gpus": 2},
            "2 × GPU; nearest is gpu2: only 1 of its 8 a100 is free",
        ),
        (
            [host(1, FULL), host(2, A100, cordoned=True), host(3)],
            {},
            "1 × GPU; nearest is gpu1: none of its 8 a100 is free",
        ),
        (
            [replace(GOOD, memory_free_mib=0)],
            {"memory_mib": 1_024},
            "1 × GPU; nearest is gpu1: only 0 MiB of its memory is free, not 1 GiB",
        ),
    ],
)
def test_what_a_waiting_vessel_waits_for(
    places: list[Place], need: dict[str, Any], sentence: str
) -> None:
    assert waits_for(places, asking(**need)) == sentence


# What could never be -----------------------------------------------------------------------------

FLEET = [
    host(1, A100),
    host(2, SMALL_A100),
    host(3, RTX, millicpus=15_000, memory_mib=60_000),
    host(4, millicpus=1_900, memory_mib=7_000, queues=["cpu", "default"]),
]
SMALLEST = {"gpus": 0, "millicpus": 2_000, "memory_mib": 4_096}
"""A vessel without GPU, by default."""


def said(places: list[Place], need: Need) -> tuple[str, str] | None:
    refusal = never(places, need)
    return (refusal.message, refusal.hint) if refusal else None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gpus": 8},
        {"gpus": 8, "models": ["a100"], "gpu_memory_mib": 76_293},
        {"models": ["h100", "a100"]},
        {"gpus": 2, "models": ["rtx3090"], "millicpus": 15_000, "memory_mib": 60_000},
        SMALLEST,
        {**SMALLEST, "host_id": 3},
        {**SMALLEST, "host_id": 4, "millicpus": 1_000},
        {"host_id": 2, "gpus": 4},
        {"queues": ["cpu", "default"]},
    ],
)
def test_what_an_empty_fleet_could_hold_is_not_refused(changes: dict[str, Any]) -> None:
    assert said(FLEET, asking(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "sentence", "hint"),
    [
        ({"host_id": 9}, "That host is not ready yet.", "drc host list"),
        ({"host_id": 4}, "That host has no GPU.", "--gpus 0 asks for a vessel without one."),
        ({"queues": ["cpu"]}, "No host has a GPU.", "--gpus 0 asks for a vessel without one."),
        (
            {"queues": ["vision"]},
            "No host is in the queue vision.",
            "There are hosts in: cpu, default. drc queue list",
        ),
        (
            {"queues": ["speech", "vision"]},
            "No host is in the queue speech or vision.",
            "There are hosts in: cpu, default. drc queue list",
        ),
        (
            {"queues": ["cpu"], "host_id": 1},
            "That host is not in the queue cpu.",
            "There are hosts in: default. drc queue list",
        ),
        ({"models": ["h100"]}, "No host has any h100.", "There are: a100, rtx3090"),
        (
            {"models": ["h100", "h200"]},
            "No host has any h100 or h200.",
            "There are: a100, rtx3090",
        ),
        ({"models": ["a100"], "host_id": 3}, "That host has no a100.", "There are: rtx3090"),
        (
            {"gpu_memory_mib": 90_000},
            "No GPU has 94 GB of memory.",
            "The largest, a100, has 80 GB.",
        ),
        (
            {"models": ["rtx3090"], "gpu_memory_mib": 40_000},
            "No rtx3090 has 42 GB of memory.",
            "The largest, rtx3090, has 24 GB.",
        ),
        (
            {"gpus": 9},
            "No host has 9 × GPU.",
            "The most in one host are 8 × a100, 80 GB each.",
        ),
        (
            {"gpus": 3, "models": ["rtx3090"]},
            "No host has 3 × rtx3090.",
            "The most in one host are 2 × rtx3090, 24 GB each.",
        ),
        (
            {"gpus": 5, "host_id": 2},
            "That host does not have 5 × GPU.",
            "The most in one host are 4 × a100, 40 GB each.",
        ),
        (
            {"models": ["rtx3090"], "millicpus": 16_000},
            "No host that would do has 16 CPUs.",
            "The most are 15.",
        ),
        (
            {"models": ["rtx3090"], "memory_mib": 65_536},
            "No host that would do has 64 GiB of memory.",
            "The most is 58.6 GiB.",
        ),
        # the default of a vessel without GPU is 2 CPUs; it must not wait for ever for them
        (
            {**SMALLEST, "host_id": 4},
            "No host that would do has 2 CPUs.",
            "The most are 1.9.",
        ),
    ],
)
def test_what_no_host_could_ever_hold_is_refused(
    changes: dict[str, Any], sentence: str, hint: str
) -> None:
    assert said(FLEET, asking(**changes)) == (sentence, hint)
    assert not any(could_hold(place, asking(**changes)) for place in FLEET)


@pytest.mark.parametrize(
    "places", [[], [replace(GOOD, probed=False)], [replace(GOOD, committed=False)]]
)
def test_without_any_host_that_is_ready_it_says_where_to_look(places: list[Place]) -> None:
    assert said(places, PLAIN) == ("No host is ready yet.", "drc host list")


@pytest.mark.parametrize(
    "changes",
    [
        {"cordoned": True},
        {"ill": "no driver"},
        {"cards": (replace(A100, free=0),)},
        {"millicpus_free": 0, "memory_free_mib": 0},
    ],
)
def test_what_may_be_open_or_free_again_is_waited_for(changes: dict[str, Any]) -> None:
    assert said([replace(GOOD, **changes)], PLAIN) is None


def test_a_queue_without_hosts_is_an_error_of_its_own() -> None:
    assert isinstance(never([GOOD], asking(queues=["vision"])), NoQueue)
    assert not isinstance(never([GOOD], asking(gpus=9)), NoQueue)


def test_slices_are_no_answer_to_who_does_not_name_them() -> None:
    assert said([host(1, SLICE)], PLAIN) == (
        "No host has any whole GPU.",
        "There are: a100-1g.10gb",
    )
    assert said([host(1, SLICE)], asking(models=["a100-1g.10gb"])) is None


def test_no_combination_of_two_hosts_counts_as_one() -> None:
    """gpu1 has the GPUs and gpu4 the CPUs; neither has both."""
    places = [host(1, A100, millicpus=8_000), host(4, replace(RTX, present=1), millicpus=99_000)]
    assert said(places, asking(gpus=8, millicpus=16_000)) == (
        "No host that would do has 16 CPUs.",
        "The most are 8.",
    )


@pytest.mark.parametrize(
    ("need", "words"),
    [
        ({"gpus": 0}, "a vessel without GPU"),
        ({"gpus": 1}, "1 × GPU"),
        ({"gpus": 2, "models": ["a100", "h100"]}, "2 × a100 or h100"),
    ],
)
def test_what_is_asked_for_in_words(need: dict[str, Any], words: str) -> None:
    assert asked(asking(**need)) == words
