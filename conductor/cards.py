"""The cards of a host, from what its nvidia-smi prints. Pure functions on text.

Sources of the formats: nvidia-smi of drivers 470 to 595. Its output is not promised to stay as it
is, so every field may be missing: a card without UUID or memory is left out, for nobody could be
given it.
"""

import csv
import io
import re
from typing import Any

from conductor.said import clean
from drc.machine import MIB, model_key

FIELDS = "index,uuid,name,memory.total"
QUERY = f"nvidia-smi --query-gpu={FIELDS},mig.mode.current --format=csv,noheader,nounits"
OLD_QUERY = f"nvidia-smi --query-gpu={FIELDS} --format=csv,noheader,nounits"
"""Drivers before MIG refuse the whole query for the one field that they do not know."""
UNKNOWN_FIELD = "is not a valid field to query"
LIST = "nvidia-smi -L"
TABLE = "nvidia-smi"
DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv,noheader"
TOPOLOGY = "nvidia-smi topo -m"
PROCESSES = (
    "nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory"
    " --format=csv,noheader,nounits"
)

Card = dict[str, Any]
SLICES = 100  # of a card there are fewer: a slice's index is its card's times this, and its own


def parse(said: str) -> tuple[list[Card], list[Card]]:
    """The cards that can be given whole, and those that are cut into slices (MIG mode is on)."""
    whole: list[Card] = []
    cut: list[Card] = []
    for row in csv.reader(io.StringIO(said), skipinitialspace=True):
        if len(row) not in (4, 5) or not row[0].strip().isdecimal() or not row[0].isascii():
            continue
        memory = re.match(r"\d+", row[3])
        if not row[1].startswith("GPU-") or memory is None:
            continue
        card = {
            "uuid": row[1].strip(),
            "index": int(row[0]),
            "name": row[2].strip(),
            "model": model_key(row[2]),
            "memory_mib": int(memory.group()),
            "simulated": False,
        }
        (cut if row[4:] and row[4].strip() == "Enabled" else whole).append(card)
    return whole, cut


def slices(cut: list[Card], listed: str, table: str) -> tuple[list[Card], list[str]]:
    """The MIG slices of cut cards, from `nvidia-smi -L`; and those that cannot be given, and why.

    A slice's memory and its GPU instance stand only in the table of plain `nvidia-smi`; without
    that its profile's name tells the memory, rounded down, and nobody can measure its use.

    A compute slice (`1c.3g.20gb`) shares its memory with its neighbours, which nothing on the host
    can keep apart, so it is given to nobody.
    """
    devices = _devices(table)
    by_index = {card["index"]: card for card in cut}
    found: list[Card] = []
    left_out: list[str] = []
    parent: Card | None = None
    for line in listed.splitlines():
        card = re.match(r"GPU (\d+):", line)
        if card:
            parent = by_index.get(int(card[1]))
        part = re.match(r"\s+MIG\s+(\S+)\s+Device\s+(\d+):\s+\(UUID:\s+(MIG-[^)]+)\)", line)
        if not part or parent is None:
            continue
        profile, number, uuid = part[1], int(part[2]), part[3]
        size = re.match(r"(?:\d+c\.)?\d+g\.(\d+)gb", profile)
        if re.match(r"\d+c\.", profile) or size is None:
            left_out.append(f"{profile} on GPU {parent['index']} shares its memory with others")
            continue
        told = devices.get((parent["index"], number))
        instance, mib = told or (None, int(size[1]) * 10**9 // MIB)
        found.append(
            {
                "uuid": uuid,
                "index": parent["index"] * SLICES + number,
                "name": f"{parent['name']} MIG {profile}",
                "model": f"{parent['model']}-{profile}",
                "memory_mib": mib,
                "simulated": False,
                "parent": parent["uuid"],
                "instance": instance,
            }
        )
    return found, left_out


def card_index(of_slice: int) -> int:
    """The index of the card that a slice is of, from its own."""
    return of_slice // SLICES


def _devices(table: str) -> dict[tuple[int, int], tuple[int, int]]:
    """GPU instance and MiB by GPU and MIG device: rows as `|  0    9   0   3  |   9MiB / 16384MiB`,
    which tell GPU, GPU instance, compute instance, MIG device.
    """
    row = re.compile(r"\|\s+(\d+)\s+(\d+)\s+\d+\s+(\d+)\s+\|\s+\d+MiB\s*/\s*(\d+)MiB")
    return {(int(c[1]), int(c[3])): (int(c[2]), int(c[4])) for c in row.finditer(table)}


def islands(said: str) -> dict[int, int]:
    """Which cards NVLink joins, from `nvidia-smi topo -m`: card index to island, the least in it.

    Empty where no two cards are joined: then it does not matter which ones a vessel gets.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)  # the head is underlined, even for a pipe
    lines = [line.split() for line in plain.splitlines()]
    head: list[str] = next((words for words in lines if words[:1] == ["GPU0"]), list[str]())
    columns = [word for word in head if re.fullmatch(r"GPU\d+", word)]
    joined: dict[int, int] = {int(name[3:]): int(name[3:]) for name in columns}
    any_link = False
    for words in lines:
        if len(words) <= len(columns) or words[0] not in columns or words == head:
            continue
        for column, link in zip(columns, words[1:], strict=False):
            if re.fullmatch(r"NV\d+", link):
                any_link = True
                one, other = joined[int(words[0][3:])], joined[int(column[3:])]
                least = min(one, other)
                joined = {k: least if v in (one, other) else v for k, v in joined.items()}
    return joined if any_link else {}


def processes(said: str) -> list[dict[str, Any]]:
    """Who computes on which card: gpu (UUID), pid, program, memory_mib (None: not told)."""
    found: list[dict[str, Any]] = []
    for row in csv.reader(io.StringIO(said), skipinitialspace=True):
        if len(row) != 4 or not row[0].startswith("GPU-") or not row[1].strip().isdecimal():
            continue
        memory = row[3].strip()
        found.append(
            {
                "gpu": row[0].strip(),
                "pid": int(row[1]),
                "program": clean(row[2])[:200],  # a process names itself
                "memory_mib": int(memory) if memory.isdecimal() else None,
            }
        )
    return found


def containers(told: str) -> dict[int, str]:
    """In which container each process is, from lines of its pid and its /proc/<pid>/cgroup.

    Docker's paths end with the container's id in both versions of cgroups, under either driver.
    """
    found: dict[int, str] = {}
    for line in told.splitlines():
        pid, _, groups = line.partition(" ")
        id = re.search(r"[0-9a-f]{64}", groups)
        if pid.isdecimal() and id:
            found[int(pid)] = id.group()
    return found
