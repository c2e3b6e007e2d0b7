"""What hardware is called and how much of it there is."""

from datetime import timedelta

import pytest

from drc.errors import BadInput
from drc.machine import (
    KNOWN_MIB,
    check_name,
    model_key,
    parse_lifetime,
    parse_memory,
    parse_simulation,
    show_card,
    show_memory,
)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        # as nvidia-smi prints them
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("A100-PCIE-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA A10", "a10"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA A30", "a30"),
        ("NVIDIA A40", "a40"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40", "l40"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("Tesla P100-PCIE-16GB", "p100"),
        ("NVIDIA RTX A6000", "a6000"),
        ("NVIDIA GeForce RTX 2080 Ti", "rtx2080ti"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA GeForce RTX 4080", "rtx4080"),
        ("NVIDIA GeForce RTX 4080 SUPER", "rtx4080super"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "rtx4070tisuper"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA TITAN V", "titanv"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada"),
        ("NVIDIA GH200 480GB", "gh200"),
        # as people type them
        ("a100", "a100"),
        ("A100", "a100"),
        ("a100-80gb", "a100"),
        ("l40s", "l40s"),
        ("4090", "rtx4090"),
        ("rtx4090", "rtx4090"),
        ("RTX-4090", "rtx4090"),
        ("rtx_4080_super", "rtx4080super"),
        ("4080 super", "rtx4080super"),
        ("rtx a6000", "a6000"),
        ("a6000", "a6000"),
        # what follows no known pattern can still be asked for
        ("Weird Chip 9000!", "weirdchip9000"),
    ],
)
def test_a_model_has_one_spelling(written: str, key: str) -> None:
    assert model_key(written) == key
    assert model_key(key) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NVIDIA A10", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA L40", "NVIDIA L40S"),
        ("NVIDIA GeForce RTX 4080", "NVIDIA GeForce RTX 4080 SUPER"),
        ("NVIDIA RTX A6000", "NVIDIA RTX 6000 Ada Generation"),
        ("NVIDIA A10", "NVIDIA A10G"),
        ("NVIDIA L4", "NVIDIA L40"),
    ],
)
def test_another_chip_is_another_model(one: str, other: str) -> None:
    assert model_key(one) != model_key(other)


@pytest.mark.parametrize("model", KNOWN_MIB)
def test_the_known_models_are_spelt_as_their_key(model: str) -> None:
    assert model_key(model) == model


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("40GB", 40 * 10**9 // 2**20),
        ("40GiB", 40 * 1024),
        ("64gb", 64 * 10**9 // 2**20),
        (" 1.5 TiB ", 1536 * 1024),
        ("512MiB", 512),
        ("500 MB", 476),
        ("1TB", 10**12 // 2**20),
    ],
)
def test_memory_is_read_in_the_unit_it_is_written_in(text: str, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize(
    "text",
    ["40", "lots", "", "GB", "-1GB", "4 0GB", "40G", "40XB", "40B", "0GB", "0.1MB", "2000000TB",
     "40GB each", "1e3GB", "∞GB", "9" * 400 + "GB", "²GB"],
)  # fmt: skip
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"amount of memory|outside") as refused:
        parse_memory(text)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("asked", "reports_mib", "takes"),
    [
        ("80GB", 81559, True),
        ("80GB", 81920, True),
        ("24GB", 24564, True),
        ("24GB", 24576, True),
        ("24GB", 23034, True),
        ("40GB", 40960, True),
        ("48GB", 46068, True),
        ("80GB", 40960, False),
        ("24GB", 16376, False),
        ("80GiB", 81559, False),
        ("48GB", 40960, False),
    ],
)
def test_a_size_on_the_box_takes_the_card_in_it(asked: str, reports_mib: int, takes: bool) -> None:
    assert (parse_memory(asked) <= reports_mib) is takes


@pytest.mark.parametrize(
    ("mib", "shown"),
    [(1, "1 MiB"), (512, "512 MiB"), (1024, "1 GiB"), (5836, "5.7 GiB"), (65536, "64 GiB")],
)
def test_memory_is_shown_as_people_read_it(mib: int, shown: str) -> None:
    assert show_memory(mib) == shown


@pytest.mark.parametrize(
    ("mib", "box"),
    [(81559, "80 GB"), (24564, "24 GB"), (23034, "24 GB"), (46068, "48 GB"), (143771, "141 GB"),
     (15360, "16 GB"), (11264, "11 GB"), (183359, "180 GB"), (409600, "400 GB"), (1024, "1 GB")],
)  # fmt: skip
def test_a_card_is_shown_as_on_its_box(mib: int, box: str) -> None:
    assert show_card(mib) == box


@pytest.mark.parametrize(
    ("text", "life"),
    [
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        (" 2d ", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_lifetime_has_a_unit(text: str, life: timedelta) -> None:
    assert parse_lifetime(text) == life


@pytest.mark.parametrize("text", ["2", "d", "", "forever", "-2d", "1.5h", "2 days", "9" * 30 + "d"])
def test_what_is_no_lifetime_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a lifetime"):
        parse_lifetime(text)


@pytest.mark.parametrize("name", ["a", "bert", "bert-2", "a1", "x" * 40])
def test_a_good_name_is_kept(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("bärt", "letters that SSH"),
        ("ｂert", "letters that SSH"),  # full-width: looks like ASCII, is not
        ("x" * 41, "41 characters"),
        ("Bert", "capital"),
        ("-bert", "begin with a letter"),
        ("bert-", "end with a letter"),
        ("2bert", "begin with a letter"),
        ("", "begin with a letter"),
        ("be rt", "hold a-z"),
        ("be.rt", "hold a-z"),
        ("bert\n", "end with a letter"),
        ("bert\0", "end with a letter"),
        ("../etc", "begin with a letter"),
    ],
)
def test_a_bad_name_is_refused_with_what_is_wrong(name: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem) as refused:
        check_name(name)
    assert "bert-2" in refused.value.hint


def test_a_simulation_names_cards_and_how_many() -> None:
    cards = parse_simulation("A100:2, rtx3090")
    assert cards == [("a100", 81920), ("a100", 81920), ("rtx3090", 24576)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be simulated"),
        ("z9:1", "cannot be simulated"),
        ("a100:x", "cannot be simulated"),
        ("a100:-1", "cannot be simulated"),
        ("a100:²", "cannot be simulated"),
        ("a100:65", "cannot be simulated"),
        ("a100:" + "9" * 5000, "cannot be simulated"),
        ("a100:0", "0 simulated GPUs"),
        ("a100:40,h100:40", "80 simulated GPUs"),
    ],
)
def test_a_simulation_is_bounded(text: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        parse_simulation(text)
