"""SSH certificates: what the API signs and for whom, and how the command line keeps one."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_identity,
)
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificate

from drc import sshca
from drc.auth import Signer
from drc.db import Database
from drc.errors import Misconfigured
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJ6sLvUzbhS0Vl2uPp9GqgkXbJbzKvVhJq8rXyZ3xQ1"
TOKEN_KEY = (
    "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIKJ6sLvUzbhS0Vl2uPp9"
    "GqgkXbJbzKvVhJq8rXyZ3xQ1AAAABHNzaDo="
)
HOUR = timedelta(hours=1)


def ask(api: Api, key: str = KEY, token: str | None = "") -> httpx.Response:
    return api.raw("POST", "/v1/certificates", {"key": key}, token=token)


def read(answer: httpx.Response) -> SSHCertificate:
    found = load_ssh_public_identity(answer.json()["certificate"].encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    return found


def life(certificate: SSHCertificate) -> timedelta:
    return datetime.fromtimestamp(certificate.valid_before, UTC) - datetime.now(UTC)


@pytest.mark.parametrize("kind", [("ed25519",), ("rsa", "-b", "2048"), ("ecdsa",)])
def test_it_names_its_owner_and_nobody_else_for_eight_hours(
    api: Api, tmp_path: Path, kind: tuple[str, ...]
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", tmp_path / "key"], check=True)
    key = (tmp_path / "key.pub").read_text()
    certificate = read(ask(api, key))
    assert certificate.valid_principals == [b"ada"]
    assert certificate.critical_options == {}
    assert 7.9 * HOUR < life(certificate) <= 8 * HOUR
    line = certificate.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert line == " ".join(key.split()[:2])
    assert read(ask(api, key)).serial != certificate.serial


def test_a_tokens_ends_with_the_token(api: Api) -> None:
    made = api.raw("POST", "/v1/tokens", {"name": "ci", "life": "2h"}).json()
    assert life(read(ask(api, token=made["token"]))) <= 2 * HOUR


def test_a_session_that_has_ended_gets_none(api: Api) -> None:
    """Its access token is good for minutes yet, and a certificate would be for hours."""
    proof = Signer.load(api.keys / "api.pem").sign("ada", ["researcher"], datetime.now(UTC), HOUR)
    tokens = api.raw("POST", "/v1/login", {"id_token": proof}, token=None).json()
    access = tokens["access_token"]
    assert ask(api, token=access).status_code == 201
    api.raw("POST", "/v1/logout", {"refresh_token": tokens["refresh_token"]}, token=None)
    assert ask(api, token=access).status_code == 401


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", "not-a-key"),
        ("hello", "not-a-key"),
        (KEY[:-8], "not-a-key"),
        (f"{KEY}\n{KEY}", "not-a-key"),
        (TOKEN_KEY, "bad-input"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n", "not-a-key"),
    ],
)
def test_what_cannot_be_certified_is_a_sentence(api: Api, key: str, code: str) -> None:
    answer = ask(api, key)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert "secret" not in answer.text


def test_nobody_sees_or_revokes_anothers(api: Api) -> None:
    serial = ask(api).json()["serial"]
    bob = api.token("bob", "operator")
    assert api.raw("GET", "/v1/certificates", token=bob).json() == []
    assert api.raw("DELETE", f"/v1/certificates/{serial}", token=bob).status_code == 404
    api.raw("DELETE", "/v1/certificates", token=bob)
    assert [one["serial"] for one in api.raw("GET", "/v1/certificates").json()] == [serial]
    assert api.raw("DELETE", f"/v1/certificates/{serial}").status_code == 204
    assert api.raw("GET", "/v1/certificates").json() == []
    assert api.raw("DELETE", f"/v1/certificates/{serial}").status_code == 404


def test_signing_and_revoking_are_written_down(api: Api, db: Database) -> None:
    serial = ask(api).json()["serial"]
    api.raw("DELETE", "/v1/certificates")
    entries = run_sql(db, "SELECT who, action, detail FROM audit ORDER BY id")
    said = [(entry["who"], entry["action"], set(entry["detail"])) for entry in entries[-2:]]
    assert said == [
        ("ada", "certificates:issue", {"certificate", "expires_at"}),
        ("ada", "keys:write", {"revoked"}),
    ]
    assert entries[-1]["detail"]["revoked"] == serial


def test_authorities_are_private_files_of_the_api(api: Api, db: Database) -> None:
    path = api.keys / sshca.USER
    secret = path.read_text().splitlines()[3]
    ask(api)
    rows = run_sql(db, "SELECT c::text FROM certificate c") + run_sql(
        db, "SELECT a::text FROM audit a"
    )
    assert secret not in str(rows)
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="read by others"):
        sshca.Authority.load(api.keys, sshca.USER)
    path.unlink()
    with pytest.raises(Misconfigured) as failed:
        sshca.Authority.load(api.keys, sshca.USER)
    assert failed.value.hint.startswith("ssh-keygen -t ed25519")


def test_an_authority_before_this_one_is_believed_too(api: Api, standin: StandIn) -> None:
    (api.keys / f"{sshca.USER}-2025.pub").write_text(f"{KEY} the old one\n")
    again = sshca.Authority.load(api.keys, sshca.USER)
    assert again.believed[1:] == (KEY,)


# The command line ------------------------------------------------------------------------------


@pytest.fixture
def drc_with_vessel(drc: Terminal, standin: StandIn) -> Iterator[Terminal]:
    with standin.at_work():
        said = drc("create", "bert")
        assert said.status == 0, said.err
        yield drc


def files(person: Terminal) -> dict[str, str]:
    folder = person.home / ".ssh" / "drc"
    return {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith(".")}


def numbers(person: Terminal) -> list[str]:
    return [row.split()[0] for row in person("key", "certificates").out.splitlines()[1:]]


def test_drc_fetches_one_and_ssh_reads_it(drc_with_vessel: Terminal) -> None:
    drc = drc_with_vessel
    here = files(drc)
    assert "CertificateFile ~/.ssh/drc/certificate" in here["config"]
    assert here["known_hosts"].splitlines()[1].startswith("@cert-authority *.ada.drc ssh-ed25519 ")
    assert numbers(drc) == ["1"]
    path = drc.home / ".ssh" / "drc" / "certificate"
    told = subprocess.run(["ssh-keygen", "-Lf", path], capture_output=True, text=True, check=True)
    assert "user certificate" in told.stdout


def sync(drc: Terminal) -> None:
    """As anything does that changes the fleet."""
    assert drc("create", "other", "--no-wait").status == 0
    assert drc("stop", "other").status == 0


def test_it_is_renewed_at_half_of_its_life_and_not_before(drc_with_vessel: Terminal) -> None:
    drc = drc_with_vessel
    path = drc.home / ".ssh" / "drc" / "certificate"
    first = path.read_text()
    sync(drc)
    assert path.read_text() == first
    words = first.split()
    soon = datetime.now(UTC) + timedelta(hours=3)
    path.write_text(" ".join([*words[:-1], soon.isoformat()]) + "\n")
    sync(drc)
    assert path.read_text().split()[1] != words[1]
    assert len(numbers(drc)) == 2


@pytest.mark.parametrize("content", ["", "nonsense", "a b until tomorrow", "x until 2026-01-01"])
def test_a_broken_file_is_replaced(drc_with_vessel: Terminal, content: str) -> None:
    path = drc_with_vessel.home / ".ssh" / "drc" / "certificate"
    path.write_text(content)
    sync(drc_with_vessel)
    assert path.read_text().startswith("ssh-ed25519-cert-v01@openssh.com ")


def test_who_may_have_none_goes_on_without(drc: Terminal, api: Api, standin: StandIn) -> None:
    wanted = ["vessels:create", "vessels:read", "vessels:stop", "keys:write"]
    made = api.raw("POST", "/v1/tokens", {"name": "ci", "permissions": wanted}).json()
    drc.token = made["token"]
    with standin.at_work():
        said = drc("create", "bert")
    assert said.status == 0, said.err
    assert "certificate" not in files(drc)
    assert "CertificateFile" not in files(drc)["config"]


def test_revoking_on_the_command_line(drc_with_vessel: Terminal) -> None:
    drc = drc_with_vessel
    assert drc("key", "revoke").status == 1
    assert drc("key", "revoke", "99").status == 1
    said = drc("key", "revoke", "1")
    assert (said.status, said.err) == (0, "1 is revoked.\n")
    assert numbers(drc) == []
    assert "certificate" not in files(drc)
    sync(drc)
    assert len(numbers(drc)) == 1
    assert drc("key", "revoke", "--all").status == 0
    assert numbers(drc) == []
