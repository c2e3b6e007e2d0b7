"""`--like`: a request that repeats what an earlier vessel of one's own was asked with."""

from typing import Any

from drc.api.shapes import VesselRequest
from drc.api.wishes import CPUS_WITHOUT_GPU, MEMORY_WITHOUT_GPU
from drc.db import Row

OF_GPUS = ("gpus", "gpu", "gpu_memory")


def repeated(request: VesselRequest, row: Row) -> VesselRequest:
    """The request with what it leaves open as that vessel had it. What it says itself wins.

    `row`: of read_vessels. What was left open then is left open now: the share of a host per GPU is
    the new host's. Lifetime, host and name are not repeated.
    """
    before: dict[str, Any] = {
        "image": row["image"],
        "gpus": row["n_gpus"],
        "gpu": row["models"] or [],
        "gpu_memory": mib(row["gpu_memory_mib"]),
        "cpus": row["wants_millicpus"] and row["wants_millicpus"] / 1000,
        "memory": mib(row["wants_memory_mib"]),
        "shm": mib(row["shm_mib"]),
        "queue": row["queues"],
    }
    said = {name for name in request.model_fields_set if getattr(request, name) not in (None, [])}
    if row["shares"] is not None and not said & {*OF_GPUS, "share", "host", "queue"}:
        before |= {"share": row["shares"], "gpus": 1, "queue": []}
    elif row["shares"] is not None:
        before["gpus"] = 1
    if not row["n_gpus"] and request.gpus and "gpus" in said:  # what was good without one
        if row["wants_millicpus"] == CPUS_WITHOUT_GPU:
            before["cpus"] = None
        if row["wants_memory_mib"] == MEMORY_WITHOUT_GPU:
            before["memory"] = None
    if said & {"gpu", "gpu_memory"} or request.share is not None or not request.gpus:
        before |= {"gpu": [], "gpu_memory": None}
    if request.share is not None:
        before |= {"gpus": 1, "queue": []}
    more = {name: value for name, value in before.items() if name not in said}
    return request.model_copy(update={**more, "env": {**row["env"], **request.env}})


def mib(amount: int | None) -> str | None:
    return f"{amount}MiB" if amount else None
