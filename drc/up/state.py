"""The state folder: where one installation keeps everything, and what it made outside of it."""

import fcntl
import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drc.config import login_settings
from drc.errors import Misconfigured

DEFAULT_STATE = Path("/var/lib/drc")
USER = "drc"


@dataclass(slots=True)
class Choices:
    """What `drc up` was told the first time, and keeps to."""

    port: int = 8787
    sshd_port: int = 2287
    ports_from: int = 22000
    docker_socket: str = "/var/run/docker.sock"
    simulate: str = "a100:4"
    berths: int = 2
    metrics: bool = False


@dataclass(slots=True)
class Made:
    """What was made on the machine beside the state folder, to be taken away by a clean."""

    packages: list[str] = field(default_factory=list[str])
    images: list[str] = field(default_factory=list[str])
    user: bool = False
    dockerd: int | None = None
    """The process id of an engine that we started, where there is no systemd to do it."""


@dataclass(frozen=True, slots=True)
class State:
    folder: Path

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def make(self) -> None:
        """The folder and those in it, each readable by whom it must be."""
        private = str(Path("/root"))
        if str(self.folder.resolve()).startswith(private + "/"):
            raise Misconfigured(
                f"{self.folder} lies under /root, which no program but root's can enter.",
                hint="Leave it at /var/lib/drc, or name another with DRC_STATE.",
            )
        for name, mode in (("", 0o755), ("log", 0o755), ("run", 0o755), ("keys", 0o755),
                           ("ssh", 0o755), ("cache", 0o755)):  # fmt: skip
            folder = self.path(name)
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
            folder.chmod(mode)

    @contextmanager
    def locked(self) -> Generator[None]:
        """One `drc up` or `drc down` at a time; a second one waits, and says so."""
        with self.path("run", "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("  Another drc up or down is at work here; waiting for it.", file=sys.stderr)  # noqa: T201
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self, name: str) -> dict[str, object]:
        file = self.path(name)
        return json.loads(file.read_text()) if file.exists() else {}

    def write(self, name: str, value: object) -> None:
        fresh = self.path(name + ".new")
        fresh.write_text(json.dumps(value, indent=2))
        fresh.replace(self.path(name))

    def login(self) -> dict[str, str]:
        """What `login.env` there says of the identity provider: lines like DRC_OIDC_ISSUER=…

        Raises Misconfigured.
        """
        said = self._told("login.env", ("DRC_OIDC_", "DRC_ROLES"), "docs/access.md")
        login_settings(said)
        return said

    def idle(self) -> dict[str, str]:
        """What `idle.env` there says of Prometheus, the policy, and how people are told.

        Raises Misconfigured.
        """
        names = ("DRC_PROMETHEUS_URL", "DRC_IDLE_POLICY", "DRC_SLACK_", "DRC_WEBHOOK_", "DRC_SMTP_")
        return self._told("idle.env", names, "docs/idle.md")

    def tailnet(self) -> dict[str, str]:
        """What `tailnet.env` there says of the tailnet in which vessels have their addresses.

        Raises Misconfigured.
        """
        return self._told("tailnet.env", ("DRC_TAILNET",), "docs/tailscale.md")

    def _told(self, name: str, known: tuple[str, ...], page: str) -> dict[str, str]:
        """The settings in a file of ours, a line each; none where there is no file."""
        file = self.path(name)
        said: dict[str, str] = {}
        lines = file.read_text().splitlines() if file.exists() else []
        for line in filter(None, map(str.strip, lines)):
            setting, equals, value = line.partition("=")
            if equals and setting.startswith(known):
                said[setting] = value.strip("\"'")
            elif not line.startswith("#"):
                raise Misconfigured(
                    f"{file} has the line “{line}”.", hint=f"See {page} for what it may say."
                )
        return said

    def choices(self, **told: object) -> Choices:
        """What was chosen before, changed by what is told now."""
        chosen = {**self.read("choices.json"), **{k: v for k, v in told.items() if v is not None}}
        choices = Choices(**chosen)  # pyright: ignore[reportArgumentType]
        self.write("choices.json", asdict(choices))
        return choices

    def made(self) -> Made:
        return Made(**self.read("made.json"))  # pyright: ignore[reportArgumentType]

    def note(self, made: Made) -> None:
        self.write("made.json", asdict(made))


def is_alive(pid: int | None) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def read_pid(file: Path) -> int | None:
    try:
        pid = int(file.read_text())
    except (OSError, ValueError):
        return None
    return pid if is_alive(pid) else None
