"""The keys of an installation: made once, each readable by the program that needs it only."""

import os
import pwd
import secrets
import socket
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from drc import sshca
from drc.auth import KEY_FILES
from drc.up.state import USER, State

SSHD = """\
# drc's own way to this machine's Docker; written by drc up. The system's sshd is another one.
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_ed25519
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers root
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AllowTcpForwarding local
AllowStreamLocalForwarding local
AllowAgentForwarding no
X11Forwarding no
PermitTTY no
PermitTunnel no
MaxSessions 20
StrictModes yes
SetEnv HOME={folder}
"""
"""The home is elsewhere, so that root's own .bashrc is not run at each command of the conductor."""


def write_private(path: Path, content: bytes, owner: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
    user = pwd.getpwnam(owner)
    os.chown(fresh, user.pw_uid, user.pw_gid)
    fresh.replace(path)


def make_secrets(state: State) -> None:
    """Those that are missing: the signing keys, the SSH authorities', the API's secret and the
    conductor's SSH key.
    """
    for kid in KEY_FILES:
        if not state.path("keys", f"{kid}.pem").exists():
            key = Ed25519PrivateKey.generate()
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            state.path("keys", f"{kid}.pub").write_bytes(public)
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(state.path("keys", f"{kid}.pem"), pem, "root" if kid == "api" else USER)
    if not state.path("keys", "secret").exists():
        write_private(state.path("keys", "secret"), secrets.token_bytes(32), USER)
    for folder, name, owner in (
        ("ssh", "conductor_ed25519", USER),
        ("ssh", "host_ed25519", "root"),
        ("keys", sshca.USER, USER),
        ("keys", sshca.HOST, USER),
    ):
        path = state.path(folder, name)
        if not path.exists():
            made = path.with_name(path.name + ".made")
            for stale in (made, made.with_name(made.name + ".pub")):
                stale.unlink(missing_ok=True)
            subprocess.run(
                [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    f"drc {name}",
                    "-f",
                    str(made),
                ],
                check=True,
            )
            made.with_name(made.name + ".pub").replace(path.with_name(path.name + ".pub"))
            write_private(path, made.read_bytes(), owner)
            made.unlink()


def configure_sshd(state: State, port: int) -> str:
    """Our sshd's files. Returns its host key, to be pinned."""
    folder = state.path("ssh")
    key = (folder / "conductor_ed25519.pub").read_text()
    # no terminal, no agent, no X11; what is left is running a probe and reaching Docker's socket
    (folder / "authorized_keys").write_text(f"restrict,port-forwarding {key}")
    (folder / "authorized_keys").chmod(0o600)
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder))
    return " ".join((folder / "host_ed25519.pub").read_text().split()[:2])


def host_name() -> str:
    name = "".join(
        c if c.isalnum() else "-" for c in socket.gethostname().partition(".")[0].lower()
    )
    return name.strip("-")[:30] or "here"
