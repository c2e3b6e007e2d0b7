"""Reading people's public keys: what is refused, and that a private key is not repeated."""

import base64
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from drc.errors import NotAKey
from drc.sshkey import parse_public_key

ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def public(key: object) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()  # type: ignore[attr-defined]


def private(key: object, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()  # type: ignore[attr-defined]


def of_blob(kind: str, *fields: bytes) -> str:
    """A line whose parts are as somebody forged or damaged them."""
    blob = b"".join(struct.pack(">I", len(field)) + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


GOOD = {
    "ed25519": public(ED25519),
    "rsa": public(rsa.generate_private_key(65537, 2048)),
    "ecdsa": public(ec.generate_private_key(ec.SECP256R1())),
    "a hardware token's": of_blob("sk-ssh-ed25519@openssh.com", bytes(range(32)), b"ssh:"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_public_key_is_kept_without_its_comment(kind: str) -> None:
    key = parse_public_key(f"  {GOOD[kind]} ada@laptop\n")
    assert key.line == GOOD[kind]
    assert key.comment == "ada@laptop"


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(GOOD["ed25519"] + "\n")
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(file)], capture_output=True, text=True, check=True
    )
    assert parse_public_key(GOOD["ed25519"]).fingerprint == said.stdout.split()[1]


@pytest.mark.parametrize(
    ("comment", "kept"),
    [("ada@laptop; rm -rf /", "ada@laptop rm -rf"), ("x" * 100, "x" * 64), ("", "")],
)
def test_a_comment_is_tamed(comment: str, kept: str) -> None:
    assert parse_public_key(f"{GOOD['ed25519']} {comment}").comment.split() == kept.split()


@pytest.mark.parametrize(
    "form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PKCS8"]
)
def test_a_private_key_is_refused_and_nothing_of_it_is_repeated(form: PrivateFormat) -> None:
    text = private(ED25519, form)
    with pytest.raises(NotAKey, match="private key") as refused:
        parse_public_key(text)
    said = refused.value.message + refused.value.hint + repr(refused.value)
    body = [line for line in text.splitlines() if "PRIVATE" not in line]
    assert body
    assert not [line for line in body if line[:12] in said]
    assert ".pub" in refused.value.hint


BLOB = base64.b64decode(GOOD["ed25519"].split()[1])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "found 0 lines"),
        ("\n \n", "found 0 lines"),
        (GOOD["ed25519"] + "\n" + GOOD["rsa"], "found 2 lines"),
        ("hello", "not an OpenSSH public key"),
        ("ssh-ed25519", "not an OpenSSH public key"),
        (of_blob("ssh-dss", b"p" * 129, b"q" * 21, b"g" * 128, b"y" * 128), "not an OpenSSH"),
        ("restrict " + GOOD["ed25519"], "not an OpenSSH public key"),
        ('command="rm -rf /" ' + GOOD["ed25519"], "not an OpenSSH public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none", "found 2 lines"),
        (GOOD["ed25519"][:-3], "base64 text is damaged"),
        ("ssh-ed25519 AAAA…", "base64 text is damaged"),
        ("ssh-ed25519 " + GOOD["rsa"].split()[1], "does not match its type"),
        (of_blob("ssh-ed25519", b"short"), "does not match its type"),
        # cut off at a multiple of four characters, as a terminal's width does: still good base64
        (GOOD["rsa"][:-8], "does not match its type"),
        (GOOD["rsa"].split()[0] + " " + GOOD["rsa"].split()[1][:-4], "does not match its type"),
        ("ssh-ed25519 " + base64.b64encode(BLOB + b"more").decode(), "does not match its type"),
        (public(rsa.generate_private_key(65537, 1024)), "below 2048 bits"),
    ],
)
def test_what_is_no_public_key_is_refused(text: str, problem: str) -> None:
    with pytest.raises(NotAKey, match=problem) as refused:
        parse_public_key(text)
    assert not [word for word in text.split() if len(word) > 30 and word in refused.value.message]
