"""What nvidia-smi says of a host's cards, as real drivers print it."""

import pytest

from conductor.cards import Card
from conductor.cards import parse as parse_both
from conductor.probe import simulated

UUID = "GPU-5d1f7a30-7c4f-4d2b-9c9e-0a4b6f0e1c2"


def parse(said: str) -> list[Card]:
    return parse_both(said)[0]


def test_real_lines_are_read() -> None:
    """APIS.md 4.1: drivers 590 and 595."""
    said = (
        f"0, {UUID}0, NVIDIA H200, 143771\n"
        f"1, {UUID}1, NVIDIA H100 80GB HBM3, 81559\n"
        f"2, {UUID}2, NVIDIA L40S, 46068\n"
        f"3, {UUID}3, NVIDIA GeForce RTX 4080 SUPER, 16376\n"
    )
    cards = [(c["index"], c["uuid"], c["model"], c["memory_mib"]) for c in parse(said)]
    assert cards == [
        (0, f"{UUID}0", "h200", 143771),
        (1, f"{UUID}1", "h100", 81559),
        (2, f"{UUID}2", "l40s", 46068),
        (3, f"{UUID}3", "rtx4080super", 16376),
    ]
    assert [c["name"] for c in parse(said)][3] == "NVIDIA GeForce RTX 4080 SUPER"
    assert not any(c["simulated"] for c in parse(said))


@pytest.mark.parametrize(
    "line",
    [
        f"0, {UUID}, NVIDIA H100, [Unknown Error]",
        f"0, {UUID}, NVIDIA H100, [N/A]",
        f"0, {UUID}, NVIDIA H100, N/A",
        f"0, {UUID}, NVIDIA H100, [Not Supported]",
        f"0, {UUID}, NVIDIA H100, [Insufficient Permissions]",
        f"0, {UUID}, NVIDIA H100, [GPU requires reset]",
        "0, [Unknown Error], NVIDIA H100, 81559",
        "0, [N/A], NVIDIA H100, 81559",
        f"[N/A], {UUID}, NVIDIA H100, 81559",
        "[Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]",
        "No devices were found",
        "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
        'Field "memory.total" is not a valid field to query.',
        "index, uuid, name, memory.total [MiB]",
        f"0, {UUID}, NVIDIA H100",
        "",
        "²",
    ],
)
def test_a_card_that_cannot_be_given_is_left_out_and_the_others_stay(line: str) -> None:
    cards = parse(f"{line}\n1, {UUID}1, NVIDIA A10, 23028\n")
    assert [card["index"] for card in cards] == [1]


def test_a_name_may_be_unknown() -> None:
    """Its memory and UUID are enough to give it."""
    card = parse(f"0, {UUID}, [Unknown Error], 81559")[0]
    assert (card["name"], card["model"]) == ("[Unknown Error]", "unknownerror")


@pytest.mark.parametrize("memory", ["143771", "143771 MiB", " 143771"])
def test_memory_is_read_with_and_without_its_unit(memory: str) -> None:
    assert parse(f"0, {UUID}, NVIDIA H200, {memory}")[0]["memory_mib"] == 143771


@pytest.mark.parametrize("said", ["", "\n\n"])
def test_nothing_said_is_no_card(said: str) -> None:
    assert parse(said) == []


def test_simulated_cards_are_the_same_each_time_and_say_so() -> None:
    once, again = simulated("a100:2,rtx3090:1", "ENGINE"), simulated("a100:2,rtx3090:1", "ENGINE")
    assert once == again
    assert [(c["index"], c["model"], c["simulated"]) for c in once] == [
        (0, "a100", True),
        (1, "a100", True),
        (2, "rtx3090", True),
    ]
    assert all(c["uuid"].startswith("SIM-") and "simulated" in c["name"] for c in once)
    elsewhere = {c["uuid"] for c in simulated("a100:2,rtx3090:1", "ANOTHER")}
    assert not elsewhere & {c["uuid"] for c in once}
