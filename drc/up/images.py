"""The images that vessels and network containers are made of, built from image/ when missing."""

import hashlib
import importlib.util
import os
import subprocess
from pathlib import Path
from typing import Any

import docker
import docker.errors

from drc import __version__
from drc.config import DEFAULT_IMAGE, NET_IMAGE
from drc.errors import Misconfigured
from drc.up.state import State

BASE = "drc/base:bookworm"


def image_folder() -> Path:
    spec = importlib.util.find_spec("image")
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured("The folder image/ is missing from this installation of drc.")
    return Path(next(iter(spec.submodule_search_locations)))


def recipe() -> str:
    """A hash of all that the images are made from: an upgraded drc builds them anew."""
    digest = hashlib.sha256()
    for file in sorted(image_folder().rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(image_folder())}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def missing(socket: str) -> list[str]:
    """Our images that are not on the engine, or were made by another recipe."""
    client: Any = docker.APIClient(base_url=f"unix://{socket}", version="1.41", timeout=30)
    absent: list[str] = []
    for image in (NET_IMAGE, DEFAULT_IMAGE):
        try:
            found = client.inspect_image(image)
        except docker.errors.NotFound:
            absent.append(image)
            continue
        if (found["Config"].get("Labels") or {}).get("drc.recipe") != recipe():
            absent.append(image)
    client.close()
    return absent


def build(state: State, socket: str) -> None:
    """Build both, as far as their layers are not there yet."""
    env = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "DRC_RECIPE": recipe()}
    command = ["sh", str(image_folder() / "build"), __version__, str(state.path("cache"))]
    if subprocess.run(command, env=env, stdin=subprocess.DEVNULL).returncode:
        raise Misconfigured("The images could not be built; what Docker said stands above.")
