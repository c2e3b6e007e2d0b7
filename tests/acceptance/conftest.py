"""A fresh copy of the checkout, brought up by `make up` as a new user would, and taken away."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.person import Person

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path("/var/cache/drc-tests")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def copy_checkout(target: Path) -> None:
    """What a clone would have, with the changes that are not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


@pytest.fixture(scope="package")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, str]]:
    """A person for whom `make up` has just ended, and what it said."""
    if os.geteuid() != 0:
        pytest.fail("These tests need root: they bring a whole machine up.")
    clone, home = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("home")
    copy_checkout(clone)
    state = f"/var/lib/drc-acceptance-{os.getpid()}"
    port, sshd_port = free_ports(2)
    person = Person(
        home,
        clone,
        {
            "PATH": f"{state}/venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "STATE": state,
            "DRC_STATE": state,
            "ARGS": f"--port {port} --sshd-port {sshd_port} --ports-from 34000",
            "UV_CACHE_DIR": str(CACHE / "uv"),
            **{key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))},
        },
    )
    before = traces(home)
    try:
        yield person, person.run("make up")
    finally:
        said = person.run("make clean")
        assert not Path(state).exists()
        assert traces(home) == before, said


def traces(home: Path) -> dict[str, set[str]]:
    """What an installation could leave behind: on the engine (but homes), in the person's home."""
    asked = {
        "containers": "docker ps -aq",
        "networks": "docker network ls -q",
        "volumes": "docker volume ls -q | grep -v ^drc-home-",
        "images": "docker image ls -q drc/*",
        "rules": "iptables-save | grep -v '^#' | sed 's/\\[.*//'",
        "files": f"find {home} -type f -not -path '*/.cache/*'",
        "programs": "ps -eo args | grep '[d]rc-acceptance'",
    }
    return {
        what: set(
            subprocess.run(["sh", "-c", line], capture_output=True, text=True).stdout.split("\n")
        )
        for what, line in asked.items()
    }
