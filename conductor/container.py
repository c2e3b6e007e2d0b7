"""Making and starting a container, so that after a crash both can be done again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import docker.errors

from conductor.host import Host, translated
from drc.errors import EngineFailed, StartFailed

BAD_REQUEST = 400
COMMIT_TIMEOUT = 1800.0  # seconds; gigabytes take minutes


def create(host: Host, body: dict[str, Any], name: str) -> str:
    """Make a container, in the place of one that was made before a crash. Returns its id.

    Raises EngineFailed, NotFound.
    """
    with translated(host.name):
        engine = host.docker()
        try:
            return str(engine.create_container_from_config(body, name)["Id"])
        except docker.errors.APIError as failed:
            if failed.status_code != 409:
                raise
            host.remove(name)
            return str(engine.create_container_from_config(body, name)["Id"])


def start(host: Host, name: str) -> None:
    """Raises StartFailed where trying again would not help, EngineFailed where it may."""
    try:
        with translated(host.name):
            host.docker().start(name)
    except EngineFailed as failed:
        if "could not select device driver" in failed.message:
            raise StartFailed(
                f"{host.name} has no NVIDIA container toolkit, so it cannot give GPUs: "
                f"{failed.message}"
            ) from failed
        cause = failed.__cause__
        if isinstance(cause, docker.errors.APIError) and cause.status_code == BAD_REQUEST:
            raise StartFailed(failed.message) from failed  # it has no program to start, say
        raise


def commit(
    engine: Any, name: str, image: str, changes: Iterable[str], labels: Mapping[str, str],
    bare: Iterable[str],
) -> None:  # fmt: skip
    """Make an image of a container, as the SDK's own does, which gives up after a minute.

    `bare`: labels of the container that would be the image's, and of whatever runs that.
    """
    repository, _, tag = image.partition(":")
    words = {**dict.fromkeys(bare, ""), **labels}
    params = {
        "container": name,
        "repo": repository,
        "tag": tag,
        "changes": [*changes, *(f"LABEL {key}={json.dumps(word)}" for key, word in words.items())],
    }
    answer = engine._post_json(
        engine._url("/commit"), data=None, params=params, timeout=COMMIT_TIMEOUT
    )
    engine._raise_for_status(answer)


def last_lines(host: Host, name: str, count: int) -> str | None:
    """What a container said last; None where the engine has nothing to give: it is gone, or dead
    since the engine was killed while it removed it. Raises EngineFailed, HostUnreachable.
    """
    with translated(host.name):
        engine = host.docker()
        try:
            return engine.logs(name, tail=count).decode(errors="replace")
        except docker.errors.APIError:
            return None
