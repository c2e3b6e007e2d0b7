"""Finding out what a host is: its engine, CPUs, memory and GPUs."""

import csv
import io
import re
import uuid
from typing import Any

from conductor.host import Host, translated
from drc.errors import EngineFailed
from drc.machine import model_key, parse_simulation

KEPT_FOR_HOST = 0.05
"""Of CPUs and memory, for the host itself: Docker, sshd, page cache."""

QUERY = "nvidia-smi --query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits"


def probe(host: Host) -> dict[str, Any]:
    """What the API is told of a host. Raises EngineFailed, HostUnreachable."""
    with translated(host.name):
        engine = host.docker()
        info, version = engine.info(), engine.version()["Version"]
    cards = gpus(host)
    if not cards and host.door.simulate:
        cards = simulated(host.door.simulate, info["ID"])
    cpus = int(info["NCPU"])
    promised = int(cpus * 1000 * (1 - KEPT_FOR_HOST))
    if cards and cards[0]["simulated"]:
        # a demonstration: one CPU per simulated GPU, promised more often than there are CPUs
        promised = max(promised, 1000 * len(cards))
    return {
        "docker_version": version,
        "cpus": cpus,
        "millicpus": promised,
        "memory_mib": int(info["MemTotal"] / 2**20 * (1 - KEPT_FOR_HOST)),
        "gpus": cards,
    }


def gpus(host: Host) -> list[dict[str, Any]]:
    status, said = host.run(QUERY, timeout=20)
    if status == 127:
        return []  # no NVIDIA driver: a host without GPUs
    if status != 0:
        raise EngineFailed(f"nvidia-smi on {host.name} failed ({status}): {said.strip()[:300]}")
    return parse(said)


def parse(said: str) -> list[dict[str, Any]]:
    """The cards that nvidia-smi names, leniently: a field in brackets means that it is unknown.

    A card without UUID or memory cannot be given to anybody, and is left out. Source of the
    formats: nvidia-smi of drivers 470 to 595.
    """
    found: list[dict[str, Any]] = []
    for row in csv.reader(io.StringIO(said), skipinitialspace=True):
        if len(row) != 4 or not row[0].strip().isdigit() or not row[1].startswith("GPU-"):
            continue
        memory = re.match(r"\d+", row[3])
        if memory is None:
            continue
        found.append(
            {
                "uuid": row[1].strip(),
                "index": int(row[0]),
                "name": row[2].strip(),
                "model": model_key(row[2]),
                "memory_mib": int(memory.group()),
                "simulated": False,
            }
        )
    return found


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
