"""Finding out what a host is: its engine, CPUs, memory, disk, cards; whose homes it has."""

import contextlib
import shlex
import uuid
from typing import Any

import docker.errors
import requests.exceptions

from conductor import cards, trial, wanted
from conductor.host import Host, translated
from conductor.said import clean
from conductor.wanted import Names
from drc.errors import EngineFailed
from drc.machine import MIB, parse_simulation, show_memory

KEPT_FOR_HOST = 0.05
"""Of CPUs and memory, for the host itself: Docker, sshd, page cache."""
DISK_NEEDED_MIB = 5 * 1024
"""Below this an engine cannot even take an image, and vessels' homes fail in odd ways."""
SMI_TIMEOUT = 20.0
"""Seconds. Without persistence mode the driver takes up to ten to wake its cards."""
NO_PROGRAM = 127
HUNG = (124, 137, -1)  # as timeout(1) says it, or not even that within our own patience


def probe(host: Host, names: Names) -> dict[str, Any]:
    """What the API is told of a host. Raises EngineFailed, HostUnreachable."""
    with translated(host.name):
        engine = host.docker()
        info, version = engine.info(), engine.version()["Version"]
    disk_mib = free_disk(host, info["DockerRootDir"])
    found, left_out = gpus(host)
    if found:
        trial.check_toolkit(host, names, found[0]["uuid"])
    elif host.door.simulate:
        found = simulated(host.door.simulate, info["ID"])
    cpus = int(info["NCPU"])
    promised = int(cpus * 1000 * (1 - KEPT_FOR_HOST))
    if found and found[0]["simulated"]:
        # a demonstration: one CPU per simulated GPU, promised more often than there are CPUs
        promised = max(promised, 1000 * len(found))
    options: list[str] = info.get("SecurityOptions") or []
    return {
        "docker_version": version,
        "cpus": cpus,
        "millicpus": promised,
        "memory_mib": int(info["MemTotal"] / MIB * (1 - KEPT_FOR_HOST)),
        "gpus": found,
        "facts": {
            "system": info.get("OperatingSystem"),
            "kernel": info.get("KernelVersion"),
            "default_runtime": info.get("DefaultRuntime"),
            "cgroup": info.get("CgroupVersion"),
            "userns": any("name=userns" in option for option in options),
            "disk_free_mib": disk_mib,
            "disk_each_mib": trial.limits(host, names).disk_mib,
            "left_out": left_out,
            "driver": driver(host) if found and not found[0]["simulated"] else None,
            "boot": boot(host),
        },
        "homes": homes(host),
        **images(host),
    }


def free_disk(host: Host, root: str) -> int:
    """MiB that the engine may still write. Raises EngineFailed when that is next to nothing."""
    mib = disk_mib(host, root)
    if mib < DISK_NEEDED_MIB:
        raise EngineFailed(
            f"The disk of {host.name} is full: {show_memory(mib)} are free at {root}, and "
            f"{show_memory(DISK_NEEDED_MIB)} are needed.",
            hint=f"On {host.name}: docker system df",
        )
    return mib


def disk_mib(host: Host, root: str) -> int:
    """MiB that are free where the engine writes. Raises EngineFailed."""
    status, said = host.run(f"df -Pk {shlex.quote(root)} || df -Pk /")
    words = said.splitlines()[-1].split() if said.strip() else []
    if status != 0 or len(words) < 4 or not words[3].isdecimal():
        raise EngineFailed(f"df on {host.name} failed ({status}): {said.strip()[:300]}")
    return int(words[3]) // 1024


def gpus(host: Host) -> tuple[list[dict[str, Any]], list[str]]:
    """The cards that can be given, and what is left out and why. Raises EngineFailed."""
    status, said = ask(host, cards.QUERY)
    if cards.UNKNOWN_FIELD in said:
        status, said = ask(host, cards.OLD_QUERY)
    if status == NO_PROGRAM:
        return [], []  # no NVIDIA driver: a host without GPUs
    check_status(host, status, said)
    whole, cut = cards.parse(said)
    parts: list[dict[str, Any]] = []
    left_out: list[str] = []
    if cut:
        status, listed = ask(host, cards.LIST)
        check_status(host, status, listed)
        parts, left_out = cards.slices(cut, listed, ask(host, cards.TABLE)[1])
    if len(whole) > 1:
        joined = cards.islands(ask(host, cards.TOPOLOGY)[1])
        for card in whole:
            card["island"] = joined.get(card["index"])
    return whole + parts, left_out


def driver(host: Host) -> str | None:
    status, said = ask(host, cards.DRIVER)
    lines = said.split()
    return clean(lines[0])[:40] if status == 0 and lines else None


def boot(host: Host) -> str | None:
    """Which boot of its machine this is."""
    status, said = host.run("cat /proc/sys/kernel/random/boot_id")
    return clean(said.strip())[:40] if status == 0 else None


def check_status(host: Host, status: int, said: str) -> None:
    if status != 0:
        raise EngineFailed(f"nvidia-smi on {host.name} failed ({status}): {said.strip()[:300]}")


def ask(host: Host, command: str) -> tuple[int, str]:
    """Exit status and output of nvidia-smi. Raises EngineFailed where the driver hangs."""
    status, said = host.run(f"timeout -k 2 {SMI_TIMEOUT:g} {command}", timeout=SMI_TIMEOUT + 5)
    if status in HUNG:
        raise EngineFailed(
            f"nvidia-smi on {host.name} did not answer within {SMI_TIMEOUT:g} s: "
            "its driver hangs, or a card does.",
            hint=f"On {host.name}: dmesg | grep -i xid",
        )
    return status, said


def homes(host: Host) -> list[dict[str, Any]]:
    """Whose homes are there, and how large where the engine tells in time."""
    with translated(host.name):
        engine = host.docker()
        volumes: list[dict[str, Any]] = engine.volumes(filters={"label": wanted.HOME})["Volumes"]
        sized: list[dict[str, Any]] = []
        if volumes:
            with contextlib.suppress(docker.errors.APIError, requests.exceptions.RequestException):
                sized = engine.df()["Volumes"]
    sizes: dict[str, int] = {
        volume["Name"]: (volume.get("UsageData") or {}).get("Size", -1) for volume in sized or []
    }
    found: dict[str, int | None] = {}
    for volume in volumes or []:
        size = sizes.get(volume["Name"], -1)
        found[volume["Labels"][wanted.HOME]] = size // MIB if size >= 0 else None
    return [{"login": login, "mib": mib} for login, mib in found.items()]


def images(host: Host) -> dict[str, Any]:
    """The images there, by every name that they may be asked for with: all, those that vessels
    start from as they are, and our layers with what each was built upon.
    """
    with translated(host.name):
        found: list[dict[str, Any]] = host.docker().images()
    every: set[str] = set()
    ready: set[str] = set()
    layers: dict[str, str] = {}
    for image in found:
        labels: dict[str, str] = image.get("Labels") or {}
        said: list[str] = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        tags = {tag for tag in said if "<none>" not in tag}
        names = tags | {tag.removesuffix(":latest") for tag in tags}
        every |= names
        if labels.get(wanted.VESSEL_IMAGE) == "1":
            ready |= names
        if wanted.BASE in labels:
            layers |= {n: labels[wanted.BASE] for n in names if n.startswith(f"{wanted.LAYER}:")}
    return {"images": sorted(every), "vessel_images": sorted(ready), "layers": layers}


def simulated(spec: str, engine_id: str) -> list[dict[str, Any]]:
    """Cards that exist in the books only, the same ones each time for one engine."""
    return [
        {
            "uuid": f"SIM-{uuid.uuid5(uuid.NAMESPACE_OID, f'{engine_id}/{index}')}",
            "index": index,
            "name": f"simulated {model.upper()}",
            "model": model,
            "memory_mib": memory_mib,
            "simulated": True,
        }
        for index, (model, memory_mib) in enumerate(parse_simulation(spec))
    ]
