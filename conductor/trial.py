"""What an engine can do where no API tells: tried, with a container without a file in it."""

import contextlib
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import docker.errors

from conductor.host import Host, explanation, translated, unless_pruning
from conductor.wanted import File, Limits, Names, archive
from drc.errors import EngineFailed

TRIAL = "drc-trial"
LABEL = "drc.trial"
LONGEST = "10m"  # as the engine writes it; after that nobody tries any more
NO_TOOLKIT = ("could not select device driver", "CDI device injection failed")
NO_LIMIT = ("storage-opt", "Storage option")
FULL = ("disk quota exceeded", "no space left on device")
SMALL, LARGE = 2**20, 2**23  # bytes


def check_toolkit(host: Host, names: Names, card: str) -> None:
    """The engine can give a card to a container. Raises EngineFailed when it has no way to.

    A start fails in any case, but before that for want of a device driver.
    """
    request = {"Driver": "", "DeviceIDs": [card], "Capabilities": [["gpu"]]}
    with translated(host.name), _container(host, names, {"DeviceRequests": [request]}) as trial:
        try:
            host.docker().start(trial)
        except docker.errors.APIError as failed:
            words = explanation(failed)
            if any(sign in words for sign in NO_TOOLKIT):
                raise EngineFailed(
                    f"{host.name} has GPUs but no NVIDIA container toolkit, so it cannot give "
                    f"them: {words}",
                    hint="Install nvidia-container-toolkit there, and restart its Docker.",
                ) from failed


def limits(host: Host, names: Names) -> Limits:
    """What the engine takes. Asked once per connection, by one thread while the others wait.

    Raises EngineFailed, HostUnreachable.

    Some engines say that they cannot limit what a container writes, others take the limit and
    forget it (moby/moby#51222), so one is written beyond.
    """
    host.connection()
    with host.trying:
        known = host.limits
        if known is None:
            with translated(host.name):
                cpus = int(host.docker().info()["NCPU"])
                stops = host.disk_mib is not None and _stops_at(host, names, SMALL, LARGE)
            known = host.limits = Limits(cpus, host.disk_mib if stops else None)
    return known


def sweep(host: Host, names: Names, until: str | None = LONGEST) -> int:
    """Take away what trials of ours left that were cut off. Returns how many containers.

    `until`: how old they must be, as the engine writes it; None: it does not matter.
    """
    old = {"label": _label(names)} | ({"until": until} if until else {})
    gone: list[str] = []
    with translated(host.name), unless_pruning():
        engine = host.docker()
        gone = engine.prune_containers(old)["ContainersDeleted"] or []
        engine.prune_images({**old, "dangling": False})
    return len(gone)


def _label(names: Names) -> str:
    return f"{LABEL}={names.installation}"


def _stops_at(host: Host, names: Names, limit: int, much: int) -> bool:
    large = archive([File("large", bytes(much))])
    try:
        with _container(host, names, {"StorageOpt": {"size": str(limit)}}) as trial:
            host.docker().put_archive(trial, "/", large)
    except docker.errors.APIError as failed:
        words = explanation(failed)
        if any(sign in words for sign in FULL):
            return True
        if any(sign in words for sign in NO_LIMIT):
            return False
        raise
    return False


@contextmanager
def _container(host: Host, names: Names, more: dict[str, Any]) -> Generator[str]:
    """One that never runs. `more`: of its HostConfig."""
    engine = host.docker()
    tag = uuid.uuid4().hex[:12]  # another installation may try its own just now
    image = f"{TRIAL}:{tag}"
    answer = engine._post(  # the SDK's own import waits for ever
        engine._url("/images/create"),
        data=archive([File("empty", "")]),
        params={
            "fromSrc": "-",
            "repo": TRIAL,
            "tag": tag,
            "changes": f"LABEL {_label(names)}",
        },
        headers={"Content-Type": "application/tar"},
    )
    engine._raise_for_status(answer)
    body = {
        "Image": image,  # which labels it
        "Cmd": ["/nothing"],
        "HostConfig": {"NetworkMode": "none", **more},
    }
    trial = None
    try:
        trial = engine.create_container_from_config(body)["Id"]
        yield trial
    finally:
        with contextlib.suppress(docker.errors.APIError):
            if trial:
                engine.remove_container(trial, force=True)
            engine.remove_image(image)
