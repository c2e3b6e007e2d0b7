"""Who may do what: permissions, roles, the tokens that carry them, and what one secret yields.

A token is a JWT signed with EdDSA. Its `kid` names the key that signed it, and each key may speak
only for the roles it was made for: a stolen conductor key cannot sign in a person. `drc up` holds
the API's own key file (0600) and signs the first token itself; no route mints one without proof.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from drc.errors import Misconfigured, NotSignedIn

ISSUER = "drc"
AUDIENCE = "drc-api"
LEEWAY = timedelta(seconds=30)  # clocks of one company's machines differ by less

PERMISSIONS: Mapping[str, str] = {
    "vessels:create": "Create vessels of one's own.",
    "vessels:read": "See one's own vessels, their events and logs.",
    "vessels:read:any": "See everybody's vessels.",
    "vessels:extend": "Move the end of one's own vessels' lives.",
    "vessels:stop": "Stop one's own vessels.",
    "vessels:stop:any": "Stop anybody's vessels.",
    "vessels:connect": "Get the address and the Jupyter token of one's own vessels.",
    "vessels:conduct": "Report the steps of vessels' lives, with each attempt's token.",
    "keys:write": "Add and remove one's own SSH public keys.",
    "gpus:read": "See the fleet's GPUs and who holds them.",
    "hosts:read": "See the hosts.",
    "hosts:write": "Add hosts and change them.",
    "hosts:conduct": "Report what a host was found to be.",
    "images:read": "See the images on the hosts, and how builds of them go.",
    "images:write": "Have images made ready on hosts.",
    "queues:write": "Add queues, and say who may use them.",
    "metrics:read": "Read the API's metrics.",
}

_RESEARCHER = frozenset(
    {
        "vessels:create",
        "vessels:read",
        "vessels:extend",
        "vessels:stop",
        "vessels:connect",
        "keys:write",
        "gpus:read",
        "hosts:read",
        "images:read",
        "images:write",
    }
)
ROLES: Mapping[str, frozenset[str]] = {
    "researcher": _RESEARCHER,
    "operator": _RESEARCHER
    | {"vessels:read:any", "vessels:stop:any", "hosts:write", "queues:write", "metrics:read"},
    "conductor": frozenset({"vessels:conduct", "hosts:conduct"}),
    "undertaker": frozenset({"vessels:read:any", "vessels:stop:any"}),
}
SIGNERS: Mapping[str, frozenset[str]] = {
    "api": frozenset({"researcher", "operator"}),
    "conductor": frozenset({"conductor"}),
    "undertaker": frozenset({"undertaker"}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for."""

    subject: str
    roles: tuple[str, ...]
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs tokens with one key. `kid` is the key's name in SIGNERS."""

    kid: str
    key: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """From `<kid>.pem`. Raises Misconfigured when it is missing or not private to its owner."""
        try:
            if path.stat().st_mode & 0o077:
                raise Misconfigured(f"{path} can be read by others.", hint=f"chmod 600 {path}")
            key = load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as failed:
            raise Misconfigured(f"The signing key {path} cannot be read: {failed}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Misconfigured(f"{path} is not an Ed25519 key.")
        return cls(path.stem, key)

    def sign(self, subject: str, roles: list[str], now: datetime, life: timedelta) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "roles": roles,
            "iat": now,
            "exp": now + life,
        }
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers={"kid": self.kid})


class Verifier:
    """Turns a bearer token into a Caller, or raises NotSignedIn with what to do."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self.keys = keys

    @classmethod
    def load(cls, folder: Path) -> "Verifier":
        """From `<kid>.pub` for every kid of SIGNERS. Raises Misconfigured."""
        keys: dict[str, Ed25519PublicKey] = {}
        for kid in SIGNERS:
            try:
                key = load_pem_public_key((folder / f"{kid}.pub").read_bytes())
            except (OSError, ValueError) as failed:
                raise Misconfigured(f"No public key for {kid}: {failed}") from None
            if not isinstance(key, Ed25519PublicKey):
                raise Misconfigured(f"{folder / kid}.pub is not an Ed25519 key.")
            keys[kid] = key
        return cls(keys)

    def verify(self, token: str) -> Caller:
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            if kid not in self.keys:
                raise NotSignedIn("That token was signed by a key this API does not know.")
            claims: dict[str, Any] = jwt.decode(
                token,
                self.keys[kid],
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise NotSignedIn(
                "Your sign-in has run out.", hint="drc up  (on the machine that runs the API)"
            ) from None
        except jwt.InvalidTokenError as failed:
            raise NotSignedIn(f"That token is not valid: {failed}.", hint="drc up") from None
        roles = tuple(role for role in claims.get("roles", []) if role in SIGNERS[kid])
        granted = frozenset[str]().union(*(ROLES[role] for role in roles))
        return Caller(claims["sub"], roles, granted)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What follows from the API's one secret, so that none of it has to be stored anywhere."""

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

    def host_key(self, login: str, name: str) -> Ed25519PrivateKey:
        """The vessel's SSH host key: the same each time its owner comes back to the name."""
        return Ed25519PrivateKey.from_private_bytes(self._derive("hostkey", login, name))


def token_hash(token: str) -> bytes:
    """SHA-256; the token has 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).digest()


def openssh_private(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def openssh_public(key: Ed25519PrivateKey) -> str:
    """`ssh-ed25519 AAAA…`, without a comment."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


_SYSTEM_NAMES = frozenset(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody
    sshd messagebus systemd-network systemd-resolve systemd-timesync polkitd tty disk kmem dialout
    fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff
    users nogroup docker wheel adm admin ubuntu debian jovyan drc
    """.split()
)
"""Accounts and groups of the images that vessels are made from."""


def unix_name(identity: str) -> str:
    """A login for inside vessels from who somebody is: `Ada.Lovelace@x.org` → `ada-lovelace`.

    Names that images use themselves are moved out of the way: `root` becomes `root1`.
    """
    local = identity.rpartition("|")[2].partition("@")[0].lower()
    name = re.sub(r"[^a-z0-9]+", "-", local).strip("-")[:28] or "researcher"
    if not name[0].isalpha():
        name = "u" + name
    return name + "1" if name in _SYSTEM_NAMES else name
