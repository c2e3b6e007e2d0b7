"""What this machine needs before drc can run on it: packages, a user, an engine."""

import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import docker
import docker.errors
import requests.exceptions

from drc.errors import EngineFailed, Misconfigured
from drc.up.state import USER, Made, State, is_alive, read_pid

DEFAULT_SOCKET = "/var/run/docker.sock"
ENGINE_TIMEOUT = 60.0
POLICY = Path("/usr/sbin/policy-rc.d")


def has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def install(programs: dict[str, str], made: Made) -> list[str]:
    """Install the distribution's packages of programs that are missing. Returns the packages.

    No service that a package brings is started or left enabled: we run our own.
    """
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted(
        {pkg for program, pkg in programs.items() if not shutil.which(program, path=path)}
    )
    if not missing:
        return []
    if not shutil.which("apt-get"):
        raise Misconfigured(
            f"These are missing: {', '.join(missing)}; and there is no apt-get to install them.",
            hint="drc up installs by itself on Debian and Ubuntu only.",
        )
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        ):
            done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode:
            raise Misconfigured(
                f"{', '.join(missing)} could not be installed: {done.stderr.strip()[-800:]}",
                hint="apt-get update && apt-get install " + " ".join(missing),
            )
    finally:
        if ours:
            POLICY.unlink()
    for package, service in (("openssh-server", "ssh"), ("prometheus", "prometheus")):
        if package in missing:  # else it would begin at the next boot, for everybody to reach
            if has_systemd():
                subprocess.run(["systemctl", "disable", "--now", service], capture_output=True)
            subprocess.run(["update-rc.d", service, "disable"], capture_output=True)
    made.packages += missing
    return missing


def add_user(made: Made) -> bool:
    """The user that Postgres, API and conductor run as. True when it was made now."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home",
                   "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", USER]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Misconfigured(
                f"The user {USER} could not be added: {done.stderr.strip()}"
            ) from None
        made.user = True
        return True
    return False


def check_reachable() -> None:
    """The user's programs are this Python: it must be able to run it."""
    command = [sys.executable, "-c", "import drc.api, conductor"]
    done = subprocess.run(
        command, user=USER, group=USER, extra_groups=[], cwd="/", capture_output=True
    )
    if done.returncode:
        raise Misconfigured(
            f"The user {USER} cannot run {sys.executable}: it lies in somebody's private folder.",
            hint="make up  puts the environment into /var/lib/drc.",
        )


def engine_version(socket: str) -> str | None:
    """The engine's version, or None when none answers at the socket."""
    try:
        client = docker.APIClient(base_url=f"unix://{socket}", version="1.41", timeout=10)
        try:
            return client.version()["Version"]
        finally:
            client.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError):
        return None


def start_engine(state: State, socket: str, made: Made) -> str:
    """An engine that answers: the one there is, or the distribution's, started. Its version.

    Raises EngineFailed. One at another socket than the usual is somebody's own to start.
    """
    version = engine_version(socket)
    if version:
        return version
    if socket != DEFAULT_SOCKET:
        raise EngineFailed(
            f"No Docker Engine answers at {socket}.", hint="Start it, or leave out --docker-socket."
        )
    if has_systemd():
        subprocess.run(["systemctl", "enable", "--now", "docker"], capture_output=True)
    elif not is_alive(made.dockerd):
        made.dockerd = spawn_engine(state)
        state.note(made)
    deadline = time.monotonic() + ENGINE_TIMEOUT
    while time.monotonic() < deadline:
        version = engine_version(socket)
        if version:
            return version
        time.sleep(0.1)
    log = state.path("log", "dockerd.log")
    last = log.read_text().strip().splitlines()[-1:] if log.exists() else []
    raise EngineFailed(f"The Docker Engine did not start. {' '.join(last)}", hint=f"See {log}.")


def spawn_engine(state: State) -> int:
    """The distribution's dockerd as a daemon of ours. Its process id."""
    left = Path("/run/docker.pid")
    if left.exists() and read_pid(left) is None:
        left.unlink()  # of an engine that was killed
    with state.path("log", "dockerd.log").open("ab") as log:
        engine = subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
        )  # fmt: skip
    return engine.pid
