"""SSH keys as text: reading people's public keys, and deriving a vessel's own host key."""

import base64
import hashlib
import re
import struct
from dataclasses import dataclass

from drc.errors import NotAKey

KINDS = {
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    kind: str
    blob: bytes
    comment: str

    @property
    def line(self) -> str:
        """Without options and comment: nothing of a pasted line but the key reaches sshd."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return fingerprint(self.blob)


def host_alias(owner: str, vessel: str) -> str:
    """Under which a vessel's host key is known, so that nobody's `bert` passes for another's."""
    return f"{vessel}.{owner}.drc"


def fingerprint(blob: bytes) -> str:
    """`SHA256:` and the unpadded base64 of the hash of a public key's wire form."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return "SHA256:" + digest.rstrip("=")


def parse_public_key(text: str) -> PublicKey:
    """One line of an `id_….pub` file. Raises NotAKey, never repeating the text it was given."""
    if "PRIVATE KEY" in text:
        raise NotAKey(
            "That is a private key. It was not stored or sent on; keep it to yourself.",
            hint="Give the file that ends in .pub.",
        )
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise NotAKey(f"Expected one public key on one line, found {len(lines)} lines.")
    fields = lines[0].split(None, 2)
    if len(fields) < 2 or fields[0] not in KINDS:
        raise NotAKey(
            "That is not an OpenSSH public key.",
            hint="It begins with ssh-ed25519, ssh-rsa or ecdsa-…; see ~/.ssh/*.pub.",
        )
    try:
        blob = base64.b64decode(fields[1], validate=True)
    except ValueError:
        raise NotAKey("The key's base64 text is damaged; copy the whole line.") from None
    parts = _strings(blob)
    if len(parts) < 2 or parts[0] != fields[0].encode() or len(blob) < 51:
        raise NotAKey("The key's content does not match its type; copy the whole line.")
    if fields[0] == "ssh-rsa" and len(blob) < 270:
        raise NotAKey("RSA keys below 2048 bits are refused.", hint="ssh-keygen -t ed25519")
    comment = re.sub(r"[^\w@.+ -]", "", fields[2] if len(fields) > 2 else "").strip()[:64]
    return PublicKey(fields[0], blob, comment)


def _strings(blob: bytes) -> list[bytes]:
    """The strings that a key is made of (RFC 4251 §5); none when they do not add up to it.

    A line that was cut off is often still good base64.
    """
    parts: list[bytes] = []
    while blob:
        length = struct.unpack(">I", blob[:4])[0] if len(blob) >= 4 else len(blob)
        if len(blob) < 4 + length:
            return []
        parts.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return parts
