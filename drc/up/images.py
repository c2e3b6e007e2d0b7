"""The images that vessels and network containers are made of, built from image/ when missing."""

import os
import subprocess
from typing import Any

import docker
import docker.errors

from drc import __version__
from drc.config import DEFAULT_IMAGE, NET_IMAGE, package_folder
from drc.errors import Misconfigured
from drc.up.content import digest
from drc.up.state import State

BASE = "drc/base:bookworm"


def missing(socket: str) -> list[str]:
    """Our images that are not on the engine, or were made by another recipe."""
    client: Any = docker.APIClient(base_url=f"unix://{socket}", version="1.41", timeout=30)
    absent: list[str] = []
    recipe = digest("image")
    for image in (NET_IMAGE, DEFAULT_IMAGE):
        try:
            found = client.inspect_image(image)
        except docker.errors.NotFound:
            absent.append(image)
            continue
        labels: Any = found["Config"].get("Labels") or {}
        if labels.get("drc.recipe") != recipe:
            absent.append(image)
    client.close()
    return absent


def build(state: State, socket: str) -> None:
    """Build both, as far as their layers are not there yet."""
    env = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DRC_RECIPE": digest("image")}
    command = ["sh", str(package_folder("image") / "build"), __version__, str(state.path("cache"))]
    if subprocess.run(command, env=env, stdin=subprocess.DEVNULL).returncode:
        raise Misconfigured("The images could not be built; what Docker said stands above.")
