"""Whether the GPUs of a host are fit to be given, from its nvidia-smi; and whether its exporter is
there. Looked at once a minute, before a vessel has its GPUs, and after.

Sources: NVIDIA's nvidia-smi (drivers 470 to 595) and its notes on GPU memory errors. A driver that
does not know a field refuses the whole query, so what not all of them know is asked for by itself.
"""

import contextlib
import csv
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import paramiko

from conductor import cards, probe
from conductor.host import Host
from conductor.said import clean
from drc.errors import EngineFailed, HostUnreachable
from drc.trouble import FATAL, Finding, Kind, uncorrected, xid

CSV = "--format=csv,noheader,nounits"
MEMORY = f"nvidia-smi --query-gpu=uuid,memory.used,ecc.errors.uncorrected.volatile.total {CSV}"
PENDING = f"nvidia-smi --query-gpu=uuid,retired_pages.pending {CSV}"
RECOVERY = f"nvidia-smi --query-gpu=uuid,gpu_recovery_action {CSV}"
REMAPPED = (
    "nvidia-smi --query-remapped-rows=gpu_uuid,remapped_rows.pending,remapped_rows.failure " + CSV
)
CODES = "|".join(map(str, FATAL))
FORM = rf"NVRM: Xid \((PCI:)?([0-9a-fA-F:.]+)\): ({CODES}),"
KERNEL = (
    "{ dmesg || journalctl --dmesg --boot --no-pager; } 2>/dev/null"
    f" | grep -aE '^(\\[ *[0-9]+[.][0-9]+\\]|[^:]+:[0-9]+:[0-9]+ [^ ]+ kernel:) {FORM}'"
    " | tail -n 500"
)
"""Fatal XIDs as far back as the kernel's log goes, where the conductor's user may read it. They
stand at a line's begin: the kernel also tells what programs are called, who may call themselves so.
"""
XID = re.compile(rf"^[^(]*{FORM}", re.MULTILINE)
BUSES = f"nvidia-smi --query-gpu=uuid,pci.bus_id {CSV}"
MISMATCH = "version mismatch"
NEEDED = {
    "Reset": "a reset",
    "Reboot": "a reboot",
    "Drain P2P": "its NVLink peers to be drained",
    "Drain and Reset": "to be drained and reset",
}
"""What gpu_recovery_action asks for."""
EXPORTER = "127.0.0.1:9400"
LEFT_MIB = 1024
"""In use on a GPU that nobody has: a desktop takes less, a program that died leaves more."""
SETTLED = (0.0, 0.3, 1.0, 2.0)  # seconds until the driver has forgotten programs that were killed


def look(
    host: Host, held: Mapping[str, Sequence[str]], strange: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the API is told of a host's health. `held`: vessels by card; `strange`: processes that
    run in no vessel which has the card they are on. Raises HostUnreachable.
    """
    told = look_at_cards(host, held, strange)
    has_cards = bool(told["gpus"] or told["driver"])  # else its sshd would note a refusal a minute
    exporter = has_cards and answers(host, host.door.exporter or EXPORTER)
    return {"exporter": exporter, **told}


def look_at_cards(
    host: Host, held: Mapping[str, Sequence[str]], strange: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The same without its exporter."""
    told: dict[str, Any] = {"driver": None, "driver_said": "", "gpus": {}}
    try:
        status, said = probe.ask(host, MEMORY)
    except EngineFailed as failed:
        return {**told, "driver": Kind.DRIVER_FAILS, "driver_said": failed.message}
    if status == probe.NO_PROGRAM:
        return told
    if status != 0:
        kind = Kind.DRIVER_MISMATCH if MISMATCH in said else Kind.DRIVER_FAILS
        return {
            **told,
            "driver": kind,
            "driver_said": clean(said.strip())[:300] or f"it ended with {status}",
        }
    there = rows(said)
    faults = {uuid: fault(words) for uuid, words in there.items()}
    faults |= with_xids(host, faults)
    for command, judge in ((PENDING, retired), (RECOVERY, recovery), (REMAPPED, remapped)):
        for uuid, words in rows(optional(host, command)).items():
            if uuid in faults:
                faults[uuid] = "; ".join(filter(None, (faults[uuid], judge(words))))
    told["gpus"] = {
        uuid: {
            "fault": faults[uuid],
            "leftover": leftover(uuid, used(words), held, strange),
        }
        for uuid, words in there.items()
    }
    return told


def with_xids(host: Host, faults: Mapping[str, str]) -> dict[str, str]:
    """Of those after whose XIDs only a reset helps, the faults with these. What was reset since
    looks the same; an operator lets it pass (`drc host release`).
    """
    told = fatal(host.run(KERNEL)[1])
    if not told:
        return {}
    buses = {uuid: bus(words[0]) for uuid, words in rows(optional(host, BUSES)).items()}
    return {
        uuid: "; ".join(
            filter(None, (why, *(xid(code) for code in told.get(buses.get(uuid, ""), ()))))
        )
        for uuid, why in faults.items()
    }


def fatal(kernel: str) -> dict[str, list[int]]:
    """By bus the fatal XIDs that a kernel's log tells, each once, in order."""
    found: dict[str, list[int]] = {}
    for _, place, code in XID.findall(kernel):
        codes = found.setdefault(bus(place), [])
        if int(code) not in codes:
            codes.append(int(code))
    return found


def bus(word: str) -> str:
    """One spelling of `00000000:65:00.0` (nvidia-smi) and `0000:65:00` (the kernel)."""
    return ":".join(part.lstrip("0") or "0" for part in word.lower().partition(".")[0].split(":"))


def optional(host: Host, command: str) -> str:
    """What a query says, or nothing where the driver does not know it."""
    with contextlib.suppress(EngineFailed):
        status, said = probe.ask(host, command)
        return said if status == 0 else ""
    return ""


def rows(said: str) -> dict[str, list[str]]:
    """By card what stands behind its UUID; a card that fails is left out, for it tells no UUID."""
    found: dict[str, list[str]] = {}
    for row in csv.reader(io.StringIO(said), skipinitialspace=True):
        if len(row) > 1 and row[0].startswith("GPU-"):
            found[row[0].strip()] = [word.strip() for word in row[1:]]
    return found


def number(word: str) -> int:
    """0 where it is not told: `[N/A]`, `[Not Supported]`."""
    return int(word) if re.fullmatch("[0-9]+", word) else 0


def used(words: Sequence[str] | None) -> int:
    """MiB, as far as they are told."""
    return number(words[0]) if words else 0


def fault(words: Sequence[str]) -> str:
    """Of memory.used and uncorrected errors."""
    if any("requires reset" in word or "Unknown Error" in word for word in words):
        said = next(word for word in words if "requires" in word or "Unknown" in word)
        return f"nvidia-smi says {clean(said)[:300]}"
    errors = number(words[1]) if len(words) > 1 else 0
    return uncorrected(errors) if errors else ""


def retired(words: Sequence[str]) -> str:
    return "a memory page is retired at the next reset" if words[0] == "Yes" else ""


def recovery(words: Sequence[str]) -> str:
    """`None` on one that is well; a word that no driver has so far counts as well."""
    return f"it needs {NEEDED[words[0]]}, says its driver" if words[0] in NEEDED else ""


def remapped(words: Sequence[str]) -> str:
    pending, failed = (word in ("1", "Yes") for word in (*words, "", "")[:2])
    if failed:
        return "a memory row could not be remapped"
    return "a memory row is remapped at the next reset" if pending else ""


def leftover(
    uuid: str,
    used_mib: int,
    held: Mapping[str, Sequence[str]],
    strange: Iterable[Mapping[str, Any]],
) -> str:
    """Why a GPU that nobody has is not free; empty where it is, or somebody has it."""
    if held.get(uuid):
        return ""
    programs = sorted(
        {f"{one['program']} (pid {one['pid']})" for one in strange if one["gpu"] == uuid}
    )
    if programs:
        return f"{', '.join(programs)} still computes on it"[:300]
    return f"{used_mib} MiB of its memory are in use, by nobody" if used_mib > LEFT_MIB else ""


def answers(host: Host, where: str) -> bool:
    """Whether something listens there, as seen from the host. One that takes too long does not:
    whether the host itself is there is asked by others.
    """
    address, _, port = where.rpartition(":")
    if not port.isdecimal():
        return False
    try:
        host.dial(address.strip("[]"), int(port)).close()
    except (paramiko.ChannelException, HostUnreachable):
        return False
    return True


def check_returned(host: Host, uuids: Sequence[str], shared: Sequence[str]) -> list[Finding]:
    """Why cards cannot be given on after a vessel, whose programs have just been killed.
    `shared`: those that another vessel has as well. Only what is told at once is looked at: the
    GPUs are free when this has ended.
    """
    held = {uuid: ["somebody"] for uuid in shared}
    there, left = dict[str, list[str]](), dict[str, str]()
    for pause in SETTLED:
        time.sleep(pause)
        status, said = probe.ask(host, MEMORY)
        there = rows(said) if status == 0 else {}
        status, said = probe.ask(host, cards.PROCESSES)
        programs = cards.processes(said) if status == 0 else []
        left = {
            uuid: why
            for uuid in uuids
            if (why := leftover(uuid, used(there.get(uuid)), held, programs))
        }
        if not left:
            break
    faults = {uuid: fault(there[uuid]) for uuid in uuids if uuid in there}
    faults |= with_xids(host, faults)
    found = [Finding(Kind.LEFTOVER, why, uuid) for uuid, why in left.items()]
    return found + [Finding(Kind.GPU_FAULT, why, uuid) for uuid, why in faults.items() if why]


def check(host: Host, uuids: Sequence[str]) -> list[Finding]:
    """Why cards cannot be used; one that nvidia-smi does not list cannot either. Nothing where
    the driver does not answer, which is what the looks are for. Raises HostUnreachable.
    """
    seen = look_at_cards(host, {uuid: ["somebody"] for uuid in uuids}, [])
    if seen["driver"] or not seen["gpus"]:
        return []
    unlisted = {"fault": "nvidia-smi does not list it"}
    faults = {uuid: seen["gpus"].get(uuid, unlisted)["fault"] for uuid in uuids}
    return [Finding(Kind.GPU_FAULT, why, uuid) for uuid, why in faults.items() if why]
