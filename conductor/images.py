"""Getting an image to a host: from another host that has it, or else from its registry.

drc's own images are in no registry: they are built where drc was installed, and go from there over
the kept connections, engine to engine through the conductor.
"""

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import docker.errors

from conductor.host import Host, explanation, translated, unless_pruning
from conductor.wanted import SAVED, Names
from drc.errors import DrcError, StartFailed

Peers = Callable[[], Iterable[Host]]
"""The hosts that may have an image, asked for once one is missing."""
OURS = "drc/"
DIGEST = "sha256:"
KEPT = "drc/kept"
PREFIX = re.compile(r"(sha256:)?[0-9a-f]{1,64}")
WHOLE = re.compile(r"sha256:[0-9a-f]{64}")
SAVED_FOR = "720h"  # as the engine writes it
COPY_TIMEOUT = 1800.0  # seconds; 10 GB over a slow line
_busy = threading.Lock()
_copying: dict[tuple[int, str], threading.Lock] = {}

log = logging.getLogger("conductor.images")


def find(host: Host, image: str) -> dict[str, Any] | None:
    with translated(host.name):
        try:
            found = host.docker().inspect_image(image)
        except docker.errors.NotFound:
            return None
    return found if is_named(found, image) else None


def ensure(host: Host, image: str, peers: Peers) -> dict[str, Any]:
    """The image on the host, brought there if it must be. Raises StartFailed where none can be had.

    Two vessels that want the same at once wait for one copy.
    """
    found = find(host, image)
    if found:
        return found
    with _busy:
        lock = _copying.setdefault((host.door.id, image), threading.Lock())
    with lock:
        found = find(host, image) or copy(host, image, peers)
        return found or pull(host, image)


def is_named(found: dict[str, Any], image: str) -> bool:
    """Whether that is a name of the image. An engine also finds images by how their id begins,
    which one could guess.
    """
    if not PREFIX.fullmatch(image) or WHOLE.fullmatch(image):
        return True
    names: list[str] = found.get("RepoTags") or []
    return any(name in (image, f"{image}:latest") for name in names)


def copy(host: Host, image: str, peers: Peers) -> dict[str, Any] | None:
    """From the first other host that has it. None when none has."""
    for peer in peers():
        if peer is host:
            continue
        try:
            there = find(peer, image)
            if there is None:
                continue
            log.info("copying %s from %s to %s", image, peer.name, host.name)
            with translated(peer.name):
                engine = peer.docker()
                url = engine._url("/images/{0}/get", image)
                with closing(engine._get(url, stream=True, timeout=COPY_TIMEOUT)) as stream:
                    stream.raise_for_status()
                    _load(host, stream.iter_content(2**20))
        except DrcError as failed:
            log.warning("%s from %s to %s: %s", image, peer.name, host.name, failed)
            continue
        found = find(host, image)
        if found and image.startswith(DIGEST):
            keep(host, image, there.get("RepoTags") or [])
        if found:
            return found
    return None


def keep(host: Host, digest: str, names: list[str]) -> None:
    """Give an image its names, which one that is asked for by its digest comes without.

    Not those that another image has here: theirs is the newer one, as likely as not. Without any
    it would go with the next `docker image prune`.
    """
    free = [name for name in names if find(host, name) is None]
    with translated(host.name):
        for name in free or [f"{KEPT}:{digest.removeprefix(DIGEST)[:16]}"]:
            repository, _, tag = name.rpartition(":")
            host.docker().tag(digest, repository, tag)


def forget_saved(host: Host, names: Names) -> None:
    """Take away what vessels left, after a while, unless another began with it."""
    old = {"label": f"{SAVED}={names.installation}", "until": SAVED_FOR, "dangling": False}
    with translated(host.name), contextlib.suppress(docker.errors.NotFound), unless_pruning():
        host.docker().prune_images(old)


def _load(host: Host, content: Iterable[bytes]) -> None:
    with translated(host.name):
        engine = host.docker()
        answer = engine._post(engine._url("/images/load"), data=content, timeout=COPY_TIMEOUT)
        engine._raise_for_status(answer)


def pull(host: Host, image: str) -> dict[str, Any]:
    """From its registry. Raises StartFailed, EngineFailed.

    Never one of our own names: whoever has that name in a public registry is not us.
    """
    if image.startswith(DIGEST):
        raise StartFailed(
            f"The image {image[:19]} is not on {host.name}, nor on any other host that answers, "
            "and what has no name can be pulled from nowhere. Name one with --image."
        )
    if image.startswith(OURS):
        raise StartFailed(
            f"{image} is not on {host.name}, nor on any other host that answers.",
            hint="docs/images.md says how it is built.",
        )
    name, _, tag = image.partition(":") if "@" not in image else (image, "", "")
    if "/" in tag:  # the colon was a registry's port
        name, tag = image, "latest"
    with translated(host.name):
        engine = host.docker()
        try:
            engine.pull(name, tag=tag or ("latest" if "@" not in name else None))
            return engine.inspect_image(image)
        except docker.errors.APIError as failed:
            raise StartFailed(
                f"There is no image {image} on {host.name}, and it cannot be pulled: "
                f"{explanation(failed)}"
            ) from failed
