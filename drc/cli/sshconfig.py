"""`~/.ssh/drc`: what makes plain `ssh bert`, `scp` and editors work, with no drc process running.

    ~/.ssh/drc/config        one Host block per living vessel, rewritten whole
    ~/.ssh/drc/known_hosts   each vessel's host key and who certifies it, so that SSH never asks
    ~/.ssh/drc/certificate   that a key of the person's is theirs, for hours; renewed with the rest
    ~/.ssh/drc/id_ed25519    a key of ours, only where the person had none
    ~/.ssh/config            one line of ours, the first: Include drc/config

Files are replaced whole; a crash leaves the old one.
"""

import fcntl
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INCLUDE = "Include drc/config"
HEADER = "# Written by drc, anew each time a vessel comes or goes. Changes made here are lost.\n"
RENEWED = 4 * 3600  # seconds before a certificate's end from which it is renewed: half of its life
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def ssh_folder() -> Path:
    return Path.home() / ".ssh"


def our_folder() -> Path:
    folder = ssh_folder() / "drc"
    ssh_folder().mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def write_whole(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file in one step; of a symbolic link, what it points to."""
    content = content.encode() if isinstance(content, str) else content
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.drc-{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.chmod(fresh, mode)
    fresh.replace(path)


@contextmanager
def locked() -> Generator[None]:
    """One drc at a time reads the fleet and writes the files."""
    with (our_folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def block(vessel: dict[str, Any], identity: Path, certificate: Path) -> str:
    """The Host block of one vessel whose address is known. It names no file that is not there."""
    ssh = vessel["ssh"]
    lines = [
        f"Host {ssh['alias']}",
        f"    HostName {ssh['address']}",
        f"    Port {ssh['port']}",
        f"    User {ssh['user']}",
        f"    HostKeyAlias {ssh['host_key_alias']}",
        "    UserKnownHostsFile ~/.ssh/drc/known_hosts",
        "    StrictHostKeyChecking yes",
    ]
    if identity.exists():
        lines.append("    IdentityFile ~/.ssh/drc/id_ed25519")
    if certificate.exists():
        lines.append("    CertificateFile ~/.ssh/drc/certificate")
    if ssh["address"] in LOOPBACK:
        # nothing crosses a network here, so the slower post-quantum exchange protects nothing
        lines.append("    KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org")
    return "\n".join(lines) + "\n"


def write_vessels(vessels: Sequence[dict[str, Any]]) -> None:
    """Both files for the living vessels that have an address."""
    placed = sorted((v for v in vessels if v["ssh"]["port"]), key=lambda v: v["name"])
    identity, certified = our_folder() / "id_ed25519", certificate()
    blocks = [block(vessel, identity, certified) for vessel in placed]
    hosts = [line for vessel in placed for line in known_hosts(vessel["ssh"])]
    write_whole(our_folder() / "known_hosts", HEADER + "".join(dict.fromkeys(hosts)))
    write_whole(our_folder() / "config", HEADER + "\n".join(blocks))


def known_hosts(ssh: dict[str, Any]) -> Iterator[str]:
    """Who certifies the vessels of its owner, and its key, for those who read no certificates."""
    alias = ssh["host_key_alias"]
    of_owner = alias.partition(".")[2]
    for authority in ssh["host_authorities"]:
        yield f"@cert-authority *.{of_owner} {authority}\n"
    yield f"{alias} {ssh['host_key']}\n"


def sync() -> None:
    """Bring all of it up to what the API says."""
    from drc.cli.account import get

    with locked():
        renew_certificate()
        write_vessels(get("/v1/vessels"))


def certificate() -> Path:
    return our_folder() / "certificate"


def renew_certificate() -> None:
    """Have a key of the person's certified, if it is time. Who may not goes on without."""
    from drc.cli.account import client
    from drc.errors import Refused

    if seconds_left() > RENEWED:
        return
    (key, *_) = public_keys()
    try:
        signed = client().call("POST", "/v1/certificates", {"key": key.read_text().strip()})
    except Refused:
        return
    line = f"{signed['certificate']} until {signed['expires_at']}\n"
    write_whole(certificate(), line)


def seconds_left() -> float:
    """For which the certificate is good yet: its comment says until when."""
    from datetime import UTC, datetime

    try:
        words = certificate().read_text().split()
        return (datetime.fromisoformat(words[-1]) - datetime.now(UTC)).total_seconds()
    except (OSError, ValueError, IndexError, TypeError):
        return 0


def forget_certificate() -> None:
    certificate().unlink(missing_ok=True)


def words_of(line: bytes) -> list[bytes]:
    """As ssh reads them: a keyword in any case, and perhaps an equals sign behind it."""
    keyword, *values = line.replace(b"=", b" ", 1).split() or [b""]
    return [keyword.lower(), *values]


def is_ours(line: bytes) -> bool:
    return words_of(line) == words_of(INCLUDE.encode())


def is_included() -> bool:
    path = ssh_folder() / "config"
    for line in path.read_bytes().splitlines() if path.exists() else []:
        if words_of(line)[0] in (b"host", b"match"):
            return False  # an Include below this would only count for that host
        if is_ours(line):
            return True
    return False


def include() -> None:
    """Put our line first into ~/.ssh/config; the rest stays as it is, to the byte."""
    path = ssh_folder() / "config"
    ssh_folder().mkdir(mode=0o700, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    write_whole(path, INCLUDE.encode() + b"\n" + before, mode)


def exclude() -> None:
    """Take our line out again; a file that held nothing else goes with it."""
    path = ssh_folder() / "config"
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if not is_ours(line))
    if kept or path.is_symlink():
        write_whole(path, kept, path.stat().st_mode & 0o777)
    else:
        path.unlink()


def offer_include() -> None:
    """Ask once for the Include line; without a terminal it is added, and said."""
    import sys

    import typer

    from drc.cli.look import say

    declined = our_folder() / "no-include"
    if is_included() or declined.exists():
        return
    question = (
        f"May drc add the line “{INCLUDE}” to ~/.ssh/config, so that plain ssh finds vessels?"
    )
    if sys.stdin.isatty() and sys.stderr.isatty() and not typer.confirm(question, True, err=True):
        declined.touch()
        return
    include()
    say(f"  ~/.ssh/config now begins with “{INCLUDE}”.", dim=True)


def command(alias: str) -> list[str]:
    """The ssh command line that enters a vessel."""
    config = [] if is_included() else ["-F", str(our_folder() / "config")]
    return ["ssh", *config, alias]


def public_keys() -> list[Path]:
    """The person's own public keys; one of ours, made now, where there is none."""
    import subprocess

    found = [ssh_folder() / f"id_{kind}.pub" for kind in ("ed25519", "ecdsa", "rsa")]
    found = [path for path in found if path.exists()]
    ours = our_folder() / "id_ed25519"
    if not found and not ours.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drc", "-f", str(ours)],
            check=True,
        )
    return found or [ours.with_suffix(".pub")]
