"""What follows from the API's one secret, so that none of it has to be stored anywhere."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from drc.errors import Misconfigured, NotSignedIn

REFRESH = "drc_refresh"
PERSONAL = "drc_pat_"


@dataclass(frozen=True, slots=True)
class Secrets:
    secret: bytes

    def __repr__(self) -> str:
        return "Secrets([REDACTED])"

    @classmethod
    def load(cls, path: Path) -> "Secrets":
        """At least 32 bytes from a file. Raises Misconfigured."""
        try:
            secret = path.read_bytes()
        except OSError as failed:
            raise Misconfigured(f"The API's secret cannot be read: {failed}") from None
        if len(secret) < 32:
            raise Misconfigured(f"{path} holds fewer than 32 bytes.")
        return cls(secret)

    def _derive(self, *parts: str) -> bytes:
        return hmac.digest(self.secret, "\0".join(parts).encode(), "sha256")

    def bespoke_token(self, vessel_id: str, attempt: int) -> str:
        """The one-use token of one attempt; the reservation stores only its hash."""
        return self._derive("attempt", vessel_id, str(attempt)).hex()

    def jupyter_token(self, vessel_id: str) -> str:
        return self._derive("jupyter", vessel_id).hex()

    def access_key(self) -> Ed25519PrivateKey:
        """What people's access tokens are signed with; the same in every process of the API."""
        return Ed25519PrivateKey.from_private_bytes(self._derive("access"))

    def program_key(self) -> Ed25519PrivateKey:
        """Likewise for programs."""
        return Ed25519PrivateKey.from_private_bytes(self._derive("program"))

    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """Of both, by the names that their tokens bear."""
        return {
            "session": self.access_key().public_key(),
            "program": self.program_key().public_key(),
        }

    def refresh_token(self, session_id: str, generation: int) -> str:
        """`drc_refresh_<session>_<generation>_<proof>`: what gets a session its next tokens."""
        proof = self._derive("refresh", session_id, str(generation)).hex()
        return f"{REFRESH}_{session_id}_{generation}_{proof}"

    def read_refresh_token(self, token: str) -> tuple[str, int]:
        """Session and generation. Raises NotSignedIn for one that is none of ours."""
        head, _, rest = token.partition(f"{REFRESH}_")
        session_id, _, rest = rest.partition("_")
        number, _, _ = rest.partition("_")
        if head or not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise NotSignedIn("That is no refresh token.")
        expected = self.refresh_token(session_id, int(number))
        if not hmac.compare_digest(expected.encode(), token.encode(errors="replace")):
            raise NotSignedIn("That is no refresh token.")
        return session_id, int(number)

    def host_key(self, login: str, name: str) -> Ed25519PrivateKey:
        """The vessel's SSH host key: the same each time its owner comes back to the name."""
        return Ed25519PrivateKey.from_private_bytes(self._derive("hostkey", login, name))


def token_hash(token: str) -> bytes:
    """SHA-256; the token has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def new_token() -> str:
    """A personal access token: 256 random bits, and a beginning by which scanners find it."""
    return PERSONAL + secrets.token_urlsafe(32)


def openssh_private(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def openssh_public(key: Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, without a comment."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
