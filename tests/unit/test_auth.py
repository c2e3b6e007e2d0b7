"""Tokens: who they speak for, and every way in which one is refused; and what the secret yields."""

import base64
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from drc.auth import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    PERMISSIONS,
    ROLES,
    SIGNERS,
    Signer,
    Verifier,
    unix_name,
)
from drc.errors import Misconfigured, NotSignedIn
from tests.installation import make_keys

KEYS = {kid: Ed25519PrivateKey.generate() for kid in SIGNERS}
VERIFIER = Verifier({kid: [key.public_key()] for kid, key in KEYS.items()})
HOUR = timedelta(hours=1)
OWN = {"session": KEYS["session"].public_key()}


def now() -> datetime:
    return datetime.now(UTC)


def signed(
    changes: dict[str, Any] | None = None,
    *,
    key: Any = KEYS["api"],
    algorithm: str = "EdDSA",
    headers: dict[str, Any] | None = None,
) -> str:
    """A good token of the API's, but for the changes; a change to None leaves the claim out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "roles": ["operator"],
        "iat": now(),
        "exp": now() + HOUR,
        **(changes or {}),
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "api", **(headers or {})})


def test_a_good_token_speaks_for_its_subject_with_its_roles() -> None:
    token = Signer("api", KEYS["api"]).sign("ada", ["researcher"], now(), HOUR)
    caller = VERIFIER.verify(token)
    assert (caller.subject, caller.roles) == ("ada", ("researcher",))
    assert caller.permissions == ROLES["researcher"]
    assert VERIFIER.verify(signed()).permissions == ROLES["operator"]


def unsigned() -> str:
    """`alg: none`, as a library that trusts the header would take it."""
    parts = (
        {"alg": "none", "kid": "api"},
        jwt.decode(signed(), options={"verify_signature": False}),
    )
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*texts, b""]).decode()


def confused() -> str:
    """HS256 with the public key as its secret; by hand, for PyJWT refuses to make one."""
    pem = KEYS["api"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, body, _ = signed().split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "api"}).encode())
    head = head.rstrip(b"=")
    mac = hmac.digest(pem, head + b"." + body.encode(), "sha256")
    return b".".join([head, body.encode(), base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def tampered() -> str:
    head, body, signature = signed({"roles": ["researcher"]}).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["roles"] = ["operator"]
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


REFUSED = {
    "expired": (signed({"exp": now() - LEEWAY - HOUR}), "has run out"),
    "of nobody's key": (signed(key=Ed25519PrivateKey.generate()), "not valid"),
    "of an unknown kid": (signed(headers={"kid": "mallory"}), "does not know"),
    "with an empty kid": (signed(headers={"kid": ""}), "does not know"),
    "unsigned": (unsigned(), "not valid"),
    "signed with the public key": (confused(), "not valid"),
    "changed": (tampered(), "not valid"),
    "of another key than its kid says": (signed(key=KEYS["conductor"]), "not valid"),
    "without exp": (signed({"exp": None}), "not valid"),
    "without iat": (signed({"iat": None}), "not valid"),
    "without sub": (signed({"sub": None}), "not valid"),
    "without aud": (signed({"aud": None}), "not valid"),
    "without iss": (signed({"iss": None}), "not valid"),
    "for another audience": (signed({"aud": "another"}), "not valid"),
    "of another issuer": (signed({"iss": "https://accounts.example"}), "not valid"),
    "of tomorrow": (signed({"iat": now() + timedelta(days=1)}), "not valid"),
    "no token at all": ("hello", "not valid"),
    "empty": ("", "not valid"),
    "of other letters": ("ü.ü.ü", "not valid"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_a_token_is_refused(which: str) -> None:
    token, problem = REFUSED[which]
    with pytest.raises(NotSignedIn, match=problem) as refused:
        VERIFIER.verify(token)
    assert token not in refused.value.message or not token


@pytest.mark.parametrize("head", ['{"alg":"EdDSA"}', '{"alg":"EdDSA","kid":["api"]}', "[]", "{"])
def test_a_header_without_a_proper_kid_is_refused(head: str) -> None:
    """PyJWT does not make these, so they are made by hand."""
    text = base64.urlsafe_b64encode(head.encode()).rstrip(b"=").decode()
    with pytest.raises(NotSignedIn):
        VERIFIER.verify(text + "." + signed().partition(".")[2])


def test_clocks_may_differ_by_the_leeway() -> None:
    assert VERIFIER.verify(signed({"exp": now() - LEEWAY / 2})).subject == "ada"


@pytest.mark.parametrize("kid", SIGNERS)
@pytest.mark.parametrize("role", ROLES)
def test_a_key_speaks_only_for_the_roles_it_was_made_for(kid: str, role: str) -> None:
    """A stolen conductor key signs in no operator."""
    token = Signer(kid, KEYS[kid]).sign("mallory", [role], now(), HOUR)
    caller = VERIFIER.verify(token)
    if role in SIGNERS[kid]:
        assert caller.permissions == ROLES[role]
    else:
        assert (caller.roles, caller.permissions) == ((), frozenset())


def test_every_role_has_a_signer_and_every_permission_a_role() -> None:
    assert frozenset().union(*SIGNERS.values()) == set(ROLES)
    assert frozenset().union(*ROLES.values()) == set(PERMISSIONS)


def test_keys_are_read_from_a_folder(tmp_path: Path) -> None:
    make_keys(tmp_path)
    token = Signer.load(tmp_path / "undertaker.pem").sign("undertaker", ["undertaker"], now(), HOUR)
    assert Verifier.load(tmp_path, OWN).verify(token).roles == ("undertaker",)


def test_a_signing_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_keys(tmp_path)
    os.chmod(tmp_path / "api.pem", 0o640)
    with pytest.raises(Misconfigured, match="can be read by others") as refused:
        Signer.load(tmp_path / "api.pem")
    assert "chmod 600" in refused.value.hint


def test_a_missing_signing_key_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        Signer.load(tmp_path / "api.pem")


def replace(folder: Path, name: str, key: Ed25519PrivateKey) -> None:
    """As one does while programs run: by a rename."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "fresh").write_bytes(public)
    (folder / "fresh").rename(folder / name)


def test_a_key_is_replaced_while_the_programs_run(tmp_path: Path) -> None:
    """docs/access.md: the new public key beside the old one, then the private one, then no old."""
    make_keys(tmp_path)
    verifier = Verifier.load(tmp_path, OWN)
    signer = Signer.load(tmp_path / "conductor.pem")
    old = signer.sign("c", ["conductor"], now(), HOUR)
    fresh = Ed25519PrivateKey.generate()
    new = Signer("conductor", fresh).sign("c", ["conductor"], now(), HOUR)
    with pytest.raises(NotSignedIn):
        verifier.verify(new)
    replace(tmp_path, "conductor-2.pub", fresh)
    assert verifier.verify(old).roles == verifier.verify(new).roles == ("conductor",)
    pem = fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "conductor.pem").write_bytes(pem)
    assert verifier.verify(signer.again().sign("c", ["conductor"], now(), HOUR)).subject == "c"
    (tmp_path / "conductor-2.pub").rename(tmp_path / "conductor.pub")
    assert verifier.verify(new).roles == ("conductor",)
    with pytest.raises(NotSignedIn):
        verifier.verify(old)


def test_a_damaged_key_that_comes_later_takes_nobodys_away(tmp_path: Path) -> None:
    make_keys(tmp_path)
    verifier = Verifier.load(tmp_path, OWN)
    token = Signer.load(tmp_path / "api.pem").sign("ada", ["operator"], now(), HOUR)
    (tmp_path / "conductor-2.pub").write_text("nothing")
    assert verifier.verify(token).subject == "ada"


def test_a_missing_or_damaged_public_key_is_a_sentence(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "conductor.pub").write_text("nothing")
    with pytest.raises(Misconfigured, match="No public key for conductor"):
        Verifier.load(tmp_path, OWN)
    (tmp_path / "conductor.pub").unlink()
    with pytest.raises(Misconfigured, match="No public key for conductor"):
        Verifier.load(tmp_path, OWN)


def test_a_damaged_signing_key_is_a_sentence(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "api.pem").write_text("nothing")
    with pytest.raises(Misconfigured, match="cannot be read"):
        Signer.load(tmp_path / "api.pem")


@pytest.mark.parametrize(
    ("identity", "login"),
    [
        ("ada", "ada"),
        ("Ada.Lovelace@x.org", "ada-lovelace"),
        ("auth0|ada@x.org", "ada"),
        ("oauth|github|ada", "ada"),
        ("root", "root1"),
        ("admin@x.org", "admin1"),
        ("42", "u42"),
        ("", "researcher"),
        ("--", "researcher"),
        ("Çağrı", "a-r"),
        ("日本", "researcher"),
        ("x" * 60, "x" * 28),
        ("ada; rm -rf /", "ada-rm-rf"),
        ("conductor:gpu1", "conductor-gpu1"),
    ],
)
def test_a_login_is_a_unix_name(identity: str, login: str) -> None:
    assert unix_name(identity) == login
