"""What nvidia-smi says of a host's cards, as real drivers print it. Formats: APIS.md 4.1."""

import pytest

from conductor.cards import Card, islands, processes, slices
from conductor.cards import parse as parse_both

UUID = "GPU-5d1f7a30-7c4f-4d2b-9c9e-0a4b6f0e1c2"


def parse(said: str) -> list[Card]:
    return parse_both(said)[0]


# Cards --------------------------------------------------------------------------------------------


def test_real_lines_are_read() -> None:
    """Drivers 590 and 595."""
    said = (
        f"0, {UUID}0, NVIDIA H200, 143771, Disabled\n"
        f"1, {UUID}1, NVIDIA H100 80GB HBM3, 81559, Disabled\n"
        f"2, {UUID}2, NVIDIA L40S, 46068, [N/A]\n"
        f"3, {UUID}3, NVIDIA GeForce RTX 4080 SUPER, 16376, [N/A]\n"
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


def test_lines_of_a_driver_from_before_mig_are_read() -> None:
    assert [c["model"] for c in parse(f"0, {UUID}, Tesla V100-SXM2-32GB, 32510\n")] == ["v100"]


@pytest.mark.parametrize(
    "line",
    [
        f"0, {UUID}, NVIDIA H100, [Unknown Error], Disabled",
        f"0, {UUID}, NVIDIA H100, [N/A]",
        f"0, {UUID}, NVIDIA H100, N/A",
        f"0, {UUID}, NVIDIA H100, [Not Supported], [Not Supported]",
        f"0, {UUID}, NVIDIA H100, [Insufficient Permissions]",
        f"0, {UUID}, NVIDIA H100, [GPU requires reset], [GPU requires reset]",
        "0, [Unknown Error], NVIDIA H100, 81559",
        "0, [N/A], NVIDIA H100, 81559",
        f"[N/A], {UUID}, NVIDIA H100, 81559",
        "[Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]",
        "No devices were found",
        "Unable to determine the device handle for GPU0000:01:00.0: Unknown Error",
        'Field "memory.total" is not a valid field to query.',
        "index, uuid, name, memory.total [MiB]",
        f"0, {UUID}, NVIDIA H100",
        f"0, {UUID}, NVIDIA H100, 81559, Disabled, something new",
        "",
        "²",
        f"², {UUID}, NVIDIA H100, 81559",
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
    assert parse_both(said) == ([], [])


@pytest.mark.parametrize(
    ("mode", "is_cut"),
    [("Enabled", True), ("Disabled", False), ("[N/A]", False), ("[Unknown Error]", False)],
)
def test_a_card_is_cut_when_mig_is_on(mode: str, is_cut: bool) -> None:
    whole, cut = parse_both(f"0, {UUID}, NVIDIA A100-SXM4-80GB, 81920, {mode}\n")
    assert [card["uuid"] for card in (cut if is_cut else whole)] == [UUID]
    assert (whole if is_cut else cut) == []


# Slices -------------------------------------------------------------------------------------------

ROW = f"{{}}, {UUID}{{}}, NVIDIA H200, 143771, {{}}\n"
LISTED = f"""\
GPU 0: NVIDIA H200 (UUID: {UUID}0)
  MIG 1c.3g.71gb  Device  0: (UUID: MIG-00000000-0000-0000-0000-000000000000)
  MIG 2c.3g.71gb  Device  1: (UUID: MIG-00000001-0000-0000-0000-000000000001)
  MIG 2g.35gb     Device  2: (UUID: MIG-00000002-0000-0000-0000-000000000002)
  MIG 1g.18gb     Device  3: (UUID: MIG-00000003-0000-0000-0000-000000000003)
GPU 1: NVIDIA H200 (UUID: {UUID}1)
GPU 12: NVIDIA H200 (UUID: {UUID}12)
  MIG 1g.18gb+me  Device  0: (UUID: MIG-00000004-0000-0000-0000-000000000004)
"""
TABLE = """\
+-----------------------------------------------------------------------------------------+
| MIG devices:                                                                            |
+------------------+----------------------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |              Shared Memory-Usage |        Vol|        Shared         |
|      ID  ID  Dev |                Shared BAR1-Usage | SM     Unc| CE ENC  DEC  OFA  JPG |
|                  |                                  |        ECC|                       |
|==================+==================================+===========+=======================|
|  0    1   0   0  |             119MiB / 71424MiB    | 16    N/A |  3   0    3    0    3 |
|                  |               0MiB /  1637MiB    |           |                       |
+------------------+                                  +-----------+-----------------------+
|  0    1   1   1  |                                  | 32    N/A |  3   0    3    0    3 |
|                  |                                  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0    5   0   2  |              44MiB / 33280MiB    | 32    N/A |  2   0    2    0    2 |
|                  |               0MiB / 65535MiB    |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0    9   0   3  |               9MiB / 16384MiB    | 16    N/A |  1   0    1    0    1 |
|                  |                 0MiB / 32767MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
| 12    9   0   0  |               9MiB / 16128MiB    | 16    N/A |  1   0    1    0    1 |
|                  |                 0MiB / 32767MiB  |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
"""


def cut_cards() -> list[Card]:
    whole, cut = parse_both(
        ROW.format(0, 0, "Enabled") + ROW.format(1, 1, "Disabled") + ROW.format(12, 12, "Enabled")
    )
    assert [card["index"] for card in whole] == [1]
    return cut


def test_slices_are_cards_with_a_parent_and_a_profile_in_their_model() -> None:
    found, _ = slices(cut_cards(), LISTED, TABLE)
    told = ("model", "memory_mib", "parent", "instance")
    shown = [(c["uuid"][:12], *(c[name] for name in told)) for c in found]
    assert shown == [
        ("MIG-00000002", "h200-2g.35gb", 33280, f"{UUID}0", 5),
        ("MIG-00000003", "h200-1g.18gb", 16384, f"{UUID}0", 9),
        ("MIG-00000004", "h200-1g.18gb+me", 16128, f"{UUID}12", 9),
    ]
    assert found[0]["name"] == "NVIDIA H200 MIG 2g.35gb"
    assert len({card["index"] for card in found}) == 3
    assert not any(card["simulated"] for card in found)


def test_compute_slices_are_left_out_and_named() -> None:
    _, left_out = slices(cut_cards(), LISTED, TABLE)
    assert left_out == [
        "1c.3g.71gb on GPU 0 shares its memory with others",
        "2c.3g.71gb on GPU 0 shares its memory with others",
    ]


def test_without_the_table_a_slice_has_the_memory_that_its_name_says() -> None:
    """18 GB are 17,166 MiB."""
    found, _ = slices(cut_cards(), LISTED, "No running processes found")
    assert [card["memory_mib"] for card in found] == [33378, 17166, 17166]
    assert {card["instance"] for card in found} == {None}


def test_a_slice_of_a_card_that_is_not_cut_is_none() -> None:
    """The listing is newer than the query: the next look knows more."""
    only_first = [card for card in cut_cards() if card["index"] == 0]
    found, _ = slices(only_first, LISTED, TABLE)
    assert {card["parent"] for card in found} == {f"{UUID}0"}


def test_ids_of_old_drivers_are_taken_as_they_are() -> None:
    """Before driver 470."""
    listed = f"GPU 0: A100 (UUID: {UUID}0)\n  MIG 1g.5gb Device 0: (UUID: MIG-{UUID}0/7/0)\n"
    found, _ = slices(cut_cards(), listed, "")
    assert [card["uuid"] for card in found] == [f"MIG-{UUID}0/7/0"]


@pytest.mark.parametrize(
    "listed", ["", "Insufficient Permissions\n", "GPU 0: NVIDIA H200\n  MIG\n"]
)
def test_a_card_without_slices_gives_nothing(listed: str) -> None:
    assert slices(cut_cards(), listed, TABLE) == ([], [])


# NVLink -------------------------------------------------------------------------------------------

LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks

NIC Legend:

  NIC0: mlx5_0
  NIC1: mlx5_1
"""


def matrix(links: list[str], nics: int = 0) -> str:
    """As `nvidia-smi topo -m` prints it: tabs, legends and all."""
    names = [f"GPU{n}" for n in range(len(links))] + [f"NIC{n}" for n in range(nics)]
    lines = ["\t".join(["", *names, "CPU Affinity", "NUMA Affinity", "GPU NUMA ID"])]
    for n, row in enumerate(links):
        cells = [cell.center(3) for cell in row.split()] + ["NODE"] * nics
        lines.append("\t".join([f"GPU{n}", *cells, "0-31,64-95", "0", "", "N/A"]))
    for nic in range(nics):
        lines.append("\t".join([f"NIC{nic}", *["NODE"] * len(links), *["PIX"] * nics]))
    return "\n".join(lines) + "\n" + LEGEND


def test_pairs_that_bridges_join_are_islands() -> None:
    said = matrix(["X NV4 SYS SYS", "NV4 X SYS SYS", "SYS SYS X NV4", "SYS SYS NV4 X"])
    assert islands(said) == {0: 0, 1: 0, 2: 2, 3: 2}


def test_pairs_need_not_be_neighbours() -> None:
    said = matrix(["X SYS NV4 SYS", "SYS X SYS NV4", "NV4 SYS X SYS", "SYS NV4 SYS X"], nics=2)
    assert islands(said) == {0: 0, 1: 1, 2: 0, 3: 1}


def test_a_switch_makes_one_island() -> None:
    full = [" ".join("X" if n == m else "NV18" for m in range(8)) for n in range(8)]
    assert islands(matrix(full, nics=10)) == dict.fromkeys(range(8), 0)


def test_cards_that_others_join_are_one_island() -> None:
    """A V100 cube mesh: not each has a link to each."""
    said = matrix(["X NV1 SYS SYS", "NV1 X NV2 SYS", "SYS NV2 X NV1", "SYS SYS NV1 X"])
    assert islands(said) == dict.fromkeys(range(4), 0)


def test_a_card_without_a_link_is_an_island_of_its_own() -> None:
    said = matrix(["X NV12 PHB", "NV12 X PHB", "PHB PHB X"], nics=1)
    assert islands(said) == {0: 0, 1: 0, 2: 2}


@pytest.mark.parametrize(
    "said",
    [
        matrix(["X PHB SYS", "PHB X SYS", "SYS SYS X"]),
        matrix(["X PIX", "PIX X"], nics=4),
        matrix(["X"], nics=1),
        "",
        "Failed to initialize NVML: Driver/library version mismatch\n",
        "\tGPU0\tGPU1\n",
        "\tGPU0\tGPU1\nGPU0\t X \n",
    ],
)
def test_without_nvlink_it_does_not_matter(said: str) -> None:
    assert islands(said) == {}


def test_a_head_that_is_underlined_is_read() -> None:
    """As drivers of today print it, to a pipe too."""
    head, rest = matrix(["X NV4", "NV4 X"]).split("\n", 1)
    assert islands(f"\t\x1b[4m{head.lstrip()}\x1b[0m\n{rest}") == {0: 0, 1: 0}


# Who computes -------------------------------------------------------------------------------------


def test_what_a_process_calls_itself_commands_no_terminal() -> None:
    (found,) = processes(f"{UUID}0, 12, \x1b[2J\x07train.py, 100\n")
    assert found == {"gpu": f"{UUID}0", "pid": 12, "program": "[2J train.py", "memory_mib": 100}
