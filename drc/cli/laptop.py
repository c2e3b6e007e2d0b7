"""What `drc doctor` looks at on one's own machine: programs, files, keys, the token. Facts only.

Nothing is changed, and no program is waited for longer than PATIENCE.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from drc.cli.finding import MISSING, TIMED_OUT, File, Key
from drc.cli.sshconfig import ssh_folder

PATIENCE = 3.0  # seconds
EDITORS = ("code", "cursor", "windsurf", "codium", "zed", "jetbrains")
USUAL_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")
REMOTE_SSH = "ms-vscode-remote.remote-ssh"


@dataclass(frozen=True, slots=True)
class Told:
    """How a program ended, and what it said."""

    status: int
    out: str = ""
    err: str = ""

    @property
    def words(self) -> list[tuple[str, str]]:
        """The first word of each line, and the rest."""
        lines = (line.partition(" ") for line in self.out.splitlines())
        return [(word, value) for word, _, value in lines]


def ask(*line: str) -> Told:
    """Run a program that only looks. It and all that it started are ended after PATIENCE."""
    import signal
    import subprocess

    try:
        # a session of its own: it cannot ask at the terminal, and is ended with its children
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as failed:
        return Told(MISSING, err=str(failed))
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Told(TIMED_OUT)
    return Told(process.returncode, out, err)


def ssh_reads(name: str, *options: str) -> Told:
    """What ssh makes of its whole configuration for a name."""
    return ask("ssh", "-G", *options, name)


def ours_first() -> list[str]:
    """Options that say which keys a vessel is shown: drc's own, where there is one."""
    ours = ssh_folder() / "drc" / "id_ed25519"
    return ["-o", f"IdentityFile={ours}"] if ours.exists() else []


def identities(told: Told) -> list[Path]:
    """The files of keys that ssh would use, and that are there; the usual ones if it is silent."""
    paths = [Path(value).expanduser() for word, value in told.words if word == "identityfile"]
    paths = paths or [ssh_folder() / name for name in USUAL_KEYS]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def keys(paths: list[Path], *, agent: bool) -> list[Key]:
    """The keys in these files, and those of the agent."""
    found = [key for path in paths for key in listed(short(path), "ssh-keygen", "-lf", str(path))]
    if agent:
        known = {key.fingerprint for key in found}
        of_agent = listed("the agent's", "ssh-add", "-l")
        found += [key for key in of_agent if key.fingerprint not in known]
    return found


def listed(name: str, *line: str) -> Iterator[Key]:
    """Keys as OpenSSH's programs list them: `256 SHA256:… ada@laptop (ED25519)`."""
    told = ask(*line)
    for said in told.out.splitlines() if told.status == 0 else []:
        words = said.split()
        if len(words) > 2 and words[1].startswith("SHA256:"):
            yield Key(name if name.startswith("~") else f"{name} {words[2]}", words[1])


def short(path: Path) -> str:
    """With a tilde, as people write it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def files(secret: list[Path]) -> Iterator[File]:
    """Those whose permissions matter to ssh, or to us."""
    mine = (0, os.getuid())
    folder = ssh_folder()
    for path in (folder, folder / "config", folder / "drc" / "config", *secret):
        with suppress(OSError):
            seen = path.stat()
            mode = seen.st_mode & 0o777
            yield File(short(path), mode, is_mine=seen.st_uid in mine, is_secret=path in secret)


def answers(address: str, port: int) -> bool:
    import socket

    try:
        socket.create_connection((address, port), PATIENCE).close()
    except OSError:
        return False
    return True


def editor_of(kind: str, vessel: dict[str, Any]) -> tuple[list[str], str]:
    """An editor's command for a vessel's home (empty: it has none), and the link that opens it."""
    name, home = vessel["name"], vessel["home"]
    if kind == "zed":
        return ["zed", f"ssh://{name}{home}"], f"zed://ssh/{name}{home}"
    if kind == "jetbrains":  # Gateway takes links only, and its own idea of an SSH configuration
        user = vessel["ssh"]["user"]
        where = f"host={name}&port={vessel['ssh']['port']}&user={user}&projectPath={home}"
        return [], f"jetbrains-gateway://connect#type=ssh&deploy=false&{where}"
    scheme = "vscode" if kind == "code" else kind
    link = f"{scheme}://vscode-remote/ssh-remote+{name}{home}"
    return [kind, "--remote", f"ssh-remote+{name}", home], link


def editor() -> tuple[str | None, bool]:
    """Its command, and whether it has Remote SSH. Only VS Code's own comes without."""
    import shutil

    command = next(filter(shutil.which, EDITORS), None)
    if command != "code":
        return command, True
    if any((Path.home() / ".vscode" / "extensions").glob(f"{REMOTE_SSH}-[0-9]*")):
        return command, True
    told = ask("code", "--list-extensions")  # slow, and the only way where it runs elsewhere (WSL)
    return command, REMOTE_SSH in told.out.split()


def other_home() -> str | None:
    """The home that ssh reads, where HOME names another."""
    import pwd

    home = pwd.getpwuid(os.getuid()).pw_dir
    return home if Path(home) != Path.home() else None


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself. Whether that is true, only the API knows."""
    import base64
    import json

    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        return {}
    return cast(dict[str, Any], claims) if isinstance(claims, dict) else {}


def date_of(header: str) -> datetime | None:
    """The instant of an HTTP Date header."""
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return date if date.tzinfo else None
