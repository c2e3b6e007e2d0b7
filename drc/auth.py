"""Who may do what: permissions, roles, and the tokens that carry them.

A token is a JWT signed with EdDSA. Its `kid` names the key that signed it, and each key may speak
only for the roles it was made for: a stolen conductor key cannot sign in a person. Tokens live for
minutes and are signed with the API's own keys (`session` for people, `program`) for whoever proved
who they are: people to an identity provider, or on the API's machine with a token signed with the
key file (`api`, 0600); programs with one signed with theirs.
"""

import contextlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from drc.errors import Misconfigured, NotSignedIn

ISSUER = "drc"
AUDIENCE = "drc-api"
SIGN_IN = "drc login;  on the machine that runs the API: drc up"
LEEWAY = timedelta(seconds=30)  # clocks of one company's machines differ by less

PERMISSIONS: Mapping[str, str] = {
    "self:read": "See who one is signed in as, and what one may do.",
    "vessels:create": "Create vessels of one's own.",
    "vessels:read": "See one's own vessels, their events and logs.",
    "vessels:read:any": "See everybody's vessels.",
    "vessels:extend": "Move the end of one's own vessels' lives.",
    "vessels:stop": "Stop one's own vessels.",
    "vessels:stop:any": "Stop anybody's vessels.",
    "vessels:connect": "Get the address and the Jupyter token of one's own vessels.",
    "certificates:issue": "Have SSH keys certified, which then open one's vessels for hours.",
    "messages:answer": "Pass on what owners answer to messages, by a button say.",
    "vessels:conduct": "Report the steps of vessels' lives, with each attempt's token.",
    "sessions:end": "End all of one's own sessions.",
    "tokens:issue": "Make and revoke tokens of one's own, for scripts.",
    "keys:write": "Add and remove one's own SSH public keys.",
    "gpus:read": "See the fleet's GPUs and who holds them.",
    "hosts:read": "See the hosts.",
    "hosts:write": "Add hosts and change them.",
    "hosts:conduct": "Report what a host was found to be.",
    "hosts:doubt": "Say of which GPUs measurements let one think that they are ill.",
    "images:read": "See the images on the hosts, and how builds of them go.",
    "images:write": "Have images made ready on hosts.",
    "queues:write": "Add queues, and say who may use them.",
    "metrics:read": "Read the API's metrics.",
    "targets:read": "See what Prometheus is to scrape.",
    "audit:read": "Read who did what, and who was refused.",
    "owners:read": "See who has accounts here, and what they are called.",
}

USE_QUEUE = "queues:use:"
"""With a queue's name behind it: what lets somebody into a queue that is not everybody's. Said of
people by name or group (docs/access.md), not of roles."""

_VESSELS_OF_ONES_OWN = frozenset(
    {
        "self:read",
        "vessels:create",
        "vessels:read",
        "vessels:extend",
        "vessels:stop",
        "vessels:connect",
        "certificates:issue",
        "gpus:read",
        "hosts:read",
        "images:read",
    }
)
_RESEARCHER = _VESSELS_OF_ONES_OWN | {
    "sessions:end",
    "tokens:issue",
    "keys:write",
    "images:write",
}
_LEAD = _RESEARCHER | {"vessels:read:any", "vessels:stop:any"}
ROLES: Mapping[str, frozenset[str]] = {
    "service": _VESSELS_OF_ONES_OWN,
    "researcher": _RESEARCHER,
    "lead": _LEAD,
    "operator": _LEAD
    | {
        "hosts:write",
        "queues:write",
        "metrics:read",
        "targets:read",
        "audit:read",
        "owners:read",
    },
    "auditor": frozenset(
        {
            "self:read",
            "sessions:end",
            "audit:read",
            "vessels:read",
            "vessels:read:any",
            "hosts:read",
            "gpus:read",
        }
    ),
    "conductor": frozenset({"vessels:conduct", "hosts:conduct"}),
    "undertaker": frozenset(
        {"vessels:read:any", "vessels:stop:any", "messages:answer", "hosts:doubt"}
    ),
}
PEOPLE = frozenset({"service", "researcher", "lead", "operator", "auditor"})
SIGNERS: Mapping[str, frozenset[str]] = {
    "session": PEOPLE,
    "program": frozenset({"conductor", "undertaker"}),
    "api": PEOPLE,
    "conductor": frozenset({"conductor"}),
    "undertaker": frozenset({"undertaker"}),
}
OF_PEOPLE = ("session", "api")
KEY_FILES = ("api", "conductor", "undertaker")
"""The signers whose keys are files; the others follow from the API's secret."""
PROGRAMS = ("conductor", "undertaker")
"""The signers whose tokens are proofs, and open no route but the one that takes them."""


log = logging.getLogger("drc.auth")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for."""

    subject: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    name: str = ""
    """What people call them, where that is not the subject: an e-mail address, say."""
    signer: str = ""
    session: str = ""
    expires_at: datetime | None = None

    @property
    def called(self) -> str:
        return self.name or self.subject


def granted(roles: Iterable[str], queues: Iterable[str] = ()) -> frozenset[str]:
    """The permissions of some roles, and those to use some queues, together."""
    uses = {USE_QUEUE + queue for queue in queues}
    return frozenset(uses).union(*(ROLES[role] for role in roles))


def meaning(permission: str) -> str:
    """What it lets somebody do, as a sentence."""
    if permission.startswith(USE_QUEUE):
        return f"Use the queue {permission.removeprefix(USE_QUEUE)}."
    return PERMISSIONS[permission]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs tokens with one key. `kid` is the key's name in SIGNERS."""

    kid: str
    key: Ed25519PrivateKey
    path: Path | None = None

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
        return cls(path.stem, key, path)

    def again(self) -> "Signer":
        """With the key that is in the file now, so that one can be replaced while we run."""
        return Signer.load(self.path) if self.path else self

    def sign(
        self,
        subject: str,
        roles: list[str],
        now: datetime,
        life: timedelta,
        **more: str | list[str],
    ) -> str:
        """`more`: name (what people call them), sid (the session), queues (that they may use)."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "roles": roles,
            "iat": now,
            "exp": now + life,
            **more,
        }
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers={"kid": self.kid})


class Verifier:
    """Turns a bearer token into a Caller, or raises NotSignedIn with what to do."""

    def __init__(
        self, keys: Mapping[str, Sequence[Ed25519PublicKey]], folder: Path | None = None
    ) -> None:
        self.keys = dict(keys)
        self.folder = folder
        self.seen = changed_at(folder)

    @classmethod
    def load(cls, folder: Path, own: Mapping[str, Ed25519PublicKey]) -> "Verifier":
        """Our own keys, and those of a folder, which is read again when files come, go or are
        replaced.

        Raises Misconfigured.
        """
        return cls({**{kid: [key] for kid, key in own.items()}, **read_keys(folder)}, folder)

    def _look_again(self) -> None:
        at = changed_at(self.folder)
        if self.folder is None or at == self.seen:
            return
        self.seen = at
        try:
            self.keys |= read_keys(self.folder)
        except Misconfigured as failed:
            log.error("%s The keys that were there before hold.", failed.message)

    def verify(self, token: str) -> Caller:
        self._look_again()
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            if kid not in self.keys:
                raise NotSignedIn("That token was signed by a key this API does not know.")
            claims = self._claims(token, kid)
        except jwt.ExpiredSignatureError:
            raise NotSignedIn("Your sign-in has run out.", hint=SIGN_IN) from None
        except jwt.InvalidTokenError as failed:
            raise NotSignedIn(f"That token is not valid: {failed}.", hint=SIGN_IN) from None
        roles = tuple(role for role in claims.get("roles", []) if role in SIGNERS[kid])
        return Caller(
            subject=claims["sub"],
            roles=roles,
            permissions=granted(roles, claims.get("queues", []) if kid in OF_PEOPLE else []),
            name=str(claims.get("name", "")),
            signer=kid,
            session=str(claims.get("sid", "")),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )

    def _claims(self, token: str, kid: str) -> dict[str, Any]:
        """Raises jwt.InvalidTokenError."""
        *others, last = self.keys[kid]
        for key in others:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return decoded(token, key)
        return decoded(token, last)


def decoded(token: str, key: Ed25519PublicKey) -> dict[str, Any]:
    """Raises jwt.InvalidTokenError."""
    return jwt.decode(
        token,
        key,
        algorithms=["EdDSA"],
        audience=AUDIENCE,
        issuer=ISSUER,
        leeway=LEEWAY,
        options={"require": ["exp", "iat", "iss", "aud", "sub"]},
    )


def changed_at(folder: Path | None) -> int:
    """When files last came to a folder, went, or were replaced there; in nanoseconds."""
    try:
        return folder.stat().st_mtime_ns if folder else 0
    except OSError:
        return 0


def read_keys(folder: Path) -> dict[str, list[Ed25519PublicKey]]:
    """For each of KEY_FILES what `<kid>.pub` and `<kid>-….pub` hold. Raises Misconfigured."""
    keys: dict[str, list[Ed25519PublicKey]] = {}
    for kid in KEY_FILES:
        keys[kid] = []
        for path in (folder / f"{kid}.pub", *sorted(folder.glob(f"{kid}-*.pub"))):
            try:
                key = load_pem_public_key(path.read_bytes())
            except (OSError, ValueError) as failed:
                raise Misconfigured(f"No public key for {kid}: {failed}") from None
            if not isinstance(key, Ed25519PublicKey):
                raise Misconfigured(f"{path} is not an Ed25519 key.")
            keys[kid].append(key)
    return keys


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
