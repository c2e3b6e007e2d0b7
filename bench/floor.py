"""The floor: `docker run` of the same image with the same limits, and a stock JupyterLab in it."""

import os
import secrets
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import docker.errors

from bench.tries import first_200, first_ssh
from conductor import wanted
from conductor.work import Work
from drc.config import DEFAULT_IMAGE
from drc.errors import Misconfigured

LABEL = "drc.bench"
STOCK_IMAGE = DEFAULT_IMAGE.replace("drc/vessel", "drc/bench-stock")
LOGIN, UID = "bench", 59999
CPUS, MEMORY_MIB, SHM_MIB = 1, 2048, 1024
BUILD_ARGUMENTS = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip


class Floor:
    """Everything is prepared before the clock runs: the image, the volumes, the keys.

    The images stay, for the next time; containers, volumes and files go with `close`.
    """

    def __init__(self, engine: Any, address: str = "127.0.0.1") -> None:
        self.engine = engine
        self.address = address
        self.token = secrets.token_hex(16)
        self.stack = ExitStack()
        self.stack.callback(self.sweep)
        try:
            self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
            self.sweep()
            self.build_stock_image()
            self.port = free_port()
            self.put_identity()
        except BaseException:
            self.close()
            raise

    def ssh(self) -> tuple[float, float]:
        """(seconds from the call to the first `ssh floor true`, those to the end of docker run)."""
        begun = time.time()
        self.run("floor", DEFAULT_IMAGE, *self.volumes(), "-p", f"{self.address}:{self.port}:22")
        ran = time.time()
        entered = first_ssh(self.command())
        self.remove("floor")
        return entered - begun, ran - begun

    def command(self) -> list[str]:
        """Of an ssh into it."""
        return ["ssh", "-o", "BatchMode=yes", "-F", str(self.folder / "config"), "floor"]

    def jupyter(self) -> float:
        """Seconds from the call to the first 200 of a stock JupyterLab, alone in its container."""
        begun = time.time()
        container = self.run("stock", STOCK_IMAGE, "-e", f"JUPYTER_TOKEN={self.token}")
        pid = self.engine.inspect_container(container)["State"]["Pid"]
        answered = first_200(pid, self.token)
        self.remove("stock")
        return answered - begun

    def run(self, name: str, image: str, *options: str) -> str:
        """`docker run -d` with what a vessel gets. Returns the container's id."""
        log = [f"--log-opt={key}={value}" for key, value in wanted.LOG["config"].items()]
        return docker_cli(
            "run", "-d", "--name", f"drc-bench-{name}", "--label", LABEL,
            f"--cpus={CPUS}", f"--memory={MEMORY_MIB}m", f"--memory-swap={MEMORY_MIB}m",
            f"--shm-size={SHM_MIB}m", f"--pids-limit={wanted.PIDS}",
            "--cap-drop=ALL", *(f"--cap-add={name}" for name in wanted.CAPABILITIES),
            f"--log-driver={wanted.LOG['type']}", *log, *options, image,
        )  # fmt: skip

    def remove(self, name: str) -> None:
        self.engine.remove_container(f"drc-bench-{name}", force=True, v=True)

    def volumes(self) -> list[str]:
        return ["-v", "drc-bench-run:/run/drc", "-v", f"drc-bench-home:/home/{LOGIN}"]

    def build_stock_image(self) -> None:
        """The engine's own cache makes this quick from the second time on."""
        if not self.engine.images(DEFAULT_IMAGE):
            raise Misconfigured(f"The engine has no {DEFAULT_IMAGE}.", hint="drc up  builds it.")
        arguments = [f"--build-arg={name}" for name in BUILD_ARGUMENTS if name in os.environ]
        print(f"building {STOCK_IMAGE}, unless the engine remembers it", flush=True)
        docker_cli(
            "build", "-q", f"--build-arg=BASE={DEFAULT_IMAGE}", *arguments, "-t", STOCK_IMAGE,
            str(Path(__file__).with_name("stock")),
        )  # fmt: skip

    def put_identity(self) -> None:
        """The files that sshd needs, on a volume that every round's container gets."""
        for name in ("host", "user"):
            key = str(self.folder / name)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        host, user = ((self.folder / f"{name}.pub").read_text() for name in ("host", "user"))
        known = {
            "host_key": (self.folder / "host").read_text(),
            "jupyter_token": self.token,
            "authorized_keys": [user.strip()],
            "host_certificate": "",  # the floor has none
            "user_authorities": [],
            "revoked_keys": "",
        }
        work = Work(0, "start", 0, 0, 0, name="floor", login=LOGIN, uid=UID)
        files = wanted.archive(wanted.identity_files(work, known))
        for volume in ("drc-bench-run", "drc-bench-home"):
            self.engine.create_volume(volume, labels={LABEL: ""})
        docker_cli(
            "create", "--name", "drc-bench-files", "--label", LABEL, *self.volumes(), DEFAULT_IMAGE
        )
        self.engine.put_archive("drc-bench-files", "/run/drc", files)
        self.remove("files")
        (self.folder / "known_hosts").write_text(f"floor {host}")
        (self.folder / "config").write_text(
            f"Host floor\n  HostName {self.address}\n  Port {self.port}\n  User {LOGIN}\n"
            f"  HostKeyAlias floor\n  UserKnownHostsFile {self.folder}/known_hosts\n"
            f"  StrictHostKeyChecking yes\n  IdentityFile {self.folder}/user\n"
        )

    def sweep(self) -> None:
        """Away with what is ours on the engine, of this run and of one that was killed."""
        ours = {"label": LABEL}
        for container in self.engine.containers(all=True, filters=ours):
            with suppress(docker.errors.NotFound):
                self.engine.remove_container(container["Id"], force=True, v=True)
        for volume in self.engine.volumes(filters=ours)["Volumes"] or []:
            self.engine.remove_volume(volume["Name"], force=True)

    def close(self) -> None:
        self.stack.close()


def docker_cli(*arguments: str) -> str:
    environ = {**os.environ, "BUILDX_BUILDER": "default"}
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, env=environ)
    if done.returncode:
        raise Misconfigured(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
