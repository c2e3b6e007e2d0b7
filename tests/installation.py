"""The keys and the secret of an installation, as `drc up` makes them, owned by whoever tests."""

import os
import secrets
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
from drc.secret import openssh_private


def make_keys(folder: Path) -> None:
    """`<kid>.pem` (0600) and `<kid>.pub` for every signer, the SSH authorities, and `secret`."""
    for kid in KEY_FILES:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_private(folder / f"{kid}.pem", pem)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{kid}.pub").write_bytes(public)
    for name in (sshca.USER, sshca.HOST):
        _write_private(folder / name, openssh_private(Ed25519PrivateKey.generate()).encode())
    _write_private(folder / "secret", secrets.token_bytes(32))


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
