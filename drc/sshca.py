"""SSH certificates: OpenSSH's own, so that neither vessels nor people's keys have to be told apart.

Two authorities, whose keys are files of the API (0600). `ssh_user_ca` says who somebody is:
vessels believe it beside the keys that were registered. `ssh_host_ca` says which vessel answers:
`~/.ssh/drc` believes it, so that no host key is ever asked about. A `ssh_user_ca-….pub` beside them
is believed too: of the one before, say.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_key,
)

from drc.errors import BadInput, Misconfigured, NotAKey
from drc.secret import openssh_public
from drc.sshkey import PublicKey, parse_public_key

USER, HOST = "ssh_user_ca", "ssh_host_ca"
MAY = ("permit-pty", "permit-port-forwarding", "permit-agent-forwarding", "permit-user-rc")
SERIALS = 0x20  # the section of a revocation list that has them one by one


@dataclass(frozen=True, slots=True)
class Authority:
    kind: SSHCertificateType
    key: Ed25519PrivateKey
    believed: tuple[str, ...]
    """Public keys, its own first, as `ssh-ed25519 AAAA…`."""

    def __repr__(self) -> str:
        return f"Authority({self.believed[0]})"

    @classmethod
    def load(cls, folder: Path, name: str) -> "Authority":
        """Raises Misconfigured when its key is missing, or not private to its owner."""
        path = folder / name
        hint = f"ssh-keygen -t ed25519 -N '' -f {path}"
        try:
            if path.stat().st_mode & 0o077:
                raise Misconfigured(f"{path} can be read by others.", hint=f"chmod 600 {path}")
            key = load_ssh_private_key(path.read_bytes(), None)
            if not isinstance(key, Ed25519PrivateKey):
                raise Misconfigured(f"{path} is not an Ed25519 key.", hint=hint)
            others = [
                parse_public_key(other.read_text()).line
                for other in sorted(folder.glob(f"{name}-*.pub"))
            ]
        except (OSError, ValueError, TypeError, NotAKey) as failed:
            raise Misconfigured(f"The SSH authority {path}: {failed}", hint=hint) from None
        kind = SSHCertificateType.USER if name == USER else SSHCertificateType.HOST
        return cls(kind, key, (openssh_public(key), *others))

    def sign(
        self,
        key: PublicKey,
        principals: Sequence[str],
        begin: datetime,
        end: datetime,
        *,
        serial: int = 0,
        called: str = "",
    ) -> str:
        """A certificate upon a public key, as one line. Raises BadInput for a kind it cannot take.

        `called`: what sshd writes into its log.
        """  # fmt: skip
        if key.kind.startswith("sk-"):
            raise BadInput(
                "A key on a security token gets no certificate here.", hint="drc key add  takes it."
            )
        builder = (
            SSHCertificateBuilder()
            .public_key(load_ssh_public_key(key.line.encode()))  # pyright: ignore[reportArgumentType]
            .type(self.kind)
            .serial(serial)
            .key_id((called or principals[0]).encode())
            .valid_principals([name.encode() for name in principals])
            .valid_after(int(begin.timestamp()))
            .valid_before(int(end.timestamp()))
        )
        if self.kind == SSHCertificateType.USER:
            for what in sorted(MAY):  # the order that sshd insists on
                builder = builder.add_extension(what.encode(), b"")
        return builder.sign(self.key).public_bytes().decode()


def revocation_list(authorities: Sequence[str], serials: Sequence[int], now: datetime) -> bytes:
    """A KRL (OpenSSH's PROTOCOL.krl) that revokes these serials, whichever authority signed them.

    Nothing for none: sshd takes an empty file for an empty list, but refuses everybody without one.
    """
    if not serials:
        return b""
    at = int(now.timestamp())
    body = struct.pack(">8sIQQQ", b"SSHKRL\n\0", 1, at, at, 0) + _string(b"") + _string(b"drc")
    for authority in authorities:
        blob = base64.b64decode(authority.split()[1])
        listed = struct.pack(f">{len(serials)}Q", *sorted(serials))
        section = _string(blob) + _string(b"") + bytes([SERIALS]) + _string(listed)
        body += b"\1" + _string(section)
    return body


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
