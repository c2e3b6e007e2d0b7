"""SSH certificates, by plain OpenSSH on vessels that run: who gets in, who does not, from when."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drc import sshca
from drc.auth import Signer
from drc.client import Client
from drc.sshkey import parse_public_key
from tests.host.machine import make_key, until
from tests.host.world import Person, Vessel

HOUR = timedelta(hours=1)


class Laptop:
    """A key that nobody registered, and its certificate."""

    def __init__(self, folder: Path, vessel: Vessel) -> None:
        self.key = folder / "key"
        self.public = make_key(self.key)
        self.certificate = folder / "key-cert.pub"
        self.vessel = vessel

    def certify(self, client: Client) -> dict[str, Any]:
        signed = client.call("POST", "/v1/certificates", {"key": self.public})
        self.certificate.write_text(signed["certificate"] + "\n")
        return signed

    def enters(self, *options: str) -> bool:
        certificate = f"CertificateFile={self.certificate}"
        line = self.vessel.owner.ssh(self.vessel.shown, "true", key=self.key)
        line[1:1] = ["-o", certificate, *options]
        return subprocess.run(line, capture_output=True).returncode == 0


@pytest.fixture
def bert(ada: Person) -> Vessel:
    return ada.create("bert")


@pytest.fixture
def laptop(tmp_path: Path, bert: Vessel) -> Laptop:
    return Laptop(tmp_path, bert)


@pytest.fixture
def session(ada: Person) -> Iterator[tuple[Client, str]]:
    """Ada, signed in as people are: a client, and what ends it."""
    signer = Signer.load(ada.world.folder / "api.pem")
    proof = signer.sign("ada", ["researcher"], datetime.now(UTC), HOUR)
    tokens = ada.client.call_openly("POST", "/v1/login", {"id_token": proof})
    client = Client(ada.world.url, lambda: tokens["access_token"])
    yield client, tokens["refresh_token"]
    client.close()


def test_a_key_that_nobody_registered_enters_once_it_is_certified(
    ada: Person, laptop: Laptop
) -> None:
    assert not laptop.enters()
    laptop.certify(ada.client)
    assert laptop.enters()


def test_nobody_elses_certificate_enters(ada: Person, laptop: Laptop) -> None:
    eve = ada.world.person("eve")
    laptop.certify(eve.client)
    assert not laptop.enters()


def test_an_account_of_an_image_is_not_open_to_its_namesake(ada: Person, laptop: Laptop) -> None:
    """sshd's own rule is that whoever is certified as eve may be the account eve."""
    eve = ada.world.person("eve")
    laptop.vessel.exec("useradd", "-m", "-s", "/bin/bash", "-p", "*", "eve")
    laptop.certify(eve.client)
    assert not laptop.enters("-l", "eve")
    laptop.certify(ada.client)
    assert laptop.enters("-l", "eve")


@pytest.mark.parametrize("authority", ["ours", "of hosts", "a stranger's"])
def test_what_is_no_certificate_of_hers_for_now_does_not_enter(
    ada: Person, laptop: Laptop, tmp_path: Path, authority: str
) -> None:
    folder, name = ada.world.folder, sshca.USER
    if authority == "of hosts":
        name = sshca.HOST
    elif authority == "a stranger's":
        folder = tmp_path
        make_key(folder / name)
    signer = sshca.Authority.load(folder, name)
    now = datetime.now(UTC)

    def enters(principal: str, begin: timedelta, end: timedelta) -> bool:
        key = parse_public_key(laptop.public)
        line = signer.sign(key, [principal], now + begin, now + end, serial=10**6)
        laptop.certificate.write_text(line + "\n")
        return laptop.enters()

    assert enters("ada", -HOUR, HOUR) == (authority == "ours")
    assert not enters("ada", -HOUR, -timedelta(minutes=1))
    assert not enters("ada", HOUR, 2 * HOUR)
    assert not enters("root", -HOUR, HOUR)
    assert not enters("bert.ada.drc", -HOUR, HOUR)


def test_a_vessel_is_known_by_its_certificate_alone(ada: Person, bert: Vessel) -> None:
    line = ada.ssh(bert.shown, "hostname")
    known = ada.ssh_folder / "known_hosts"
    (authority,) = bert.shown["ssh"]["host_authorities"]

    def known_as(pattern: str) -> int:
        known.write_text(f"@cert-authority {pattern} {authority}\n")
        return subprocess.run(line, capture_output=True).returncode

    assert known_as("*.ada.drc") == 0
    assert known_as("*.eve.drc") == 255
    line[1:1] = ["-o", "HostKeyAlias=bert.eve.drc"]
    assert known_as("*.eve.drc") == 255  # whoever has ada's bert cannot pass for eve's
    line[2] = "HostKeyAlias=other.ada.drc"
    assert known_as("*.ada.drc") == 255


def test_a_revocation_reaches_a_vessel_that_runs_and_one_that_comes(
    ada: Person, laptop: Laptop, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Laptop(tmp_path / "other", laptop.vessel)
    serial = laptop.certify(ada.client)["serial"]
    other.certify(ada.client)
    assert laptop.enters()
    ada.call("DELETE", f"/v1/certificates/{serial}")
    until("the revoked one is refused", lambda: not laptop.enters())
    assert other.enters()
    assert laptop.vessel.lets_in(ada.key)
    laptop.vessel = other.vessel = ada.create("later")
    assert not laptop.enters()
    assert other.enters()


@pytest.mark.parametrize("way", ["logout", "everywhere", "a stolen refresh token"])
def test_it_ends_with_the_session_that_asked_for_it(
    laptop: Laptop, session: tuple[Client, str], way: str
) -> None:
    client, refresh = session
    laptop.certify(client)
    assert laptop.enters()
    if way == "logout":
        client.call_openly("POST", "/v1/logout", {"refresh_token": refresh})
    elif way == "everywhere":
        client.call("POST", "/v1/logout/everywhere")
    else:
        tokens = client.call_openly("POST", "/v1/login/refresh", {"refresh_token": refresh})
        client.call_openly("POST", "/v1/login/refresh", {"refresh_token": tokens["refresh_token"]})
        with pytest.raises(Exception, match="ended"):
            client.call_openly("POST", "/v1/login/refresh", {"refresh_token": refresh})
    until("it is refused", lambda: not laptop.enters())


def test_it_ends_with_the_token_that_asked_for_it(ada: Person, laptop: Laptop) -> None:
    made = ada.call("POST", "/v1/tokens", {"name": "ci", "permissions": ["certificates:issue"]})
    script = Client(ada.world.url, lambda: made["token"])
    laptop.certify(script)
    script.close()
    assert laptop.enters()
    ada.call("DELETE", "/v1/tokens/ci")
    until("it is refused", lambda: not laptop.enters())


def test_signing_out_everywhere_reaches_vessels_without_a_session_too(
    ada: Person, laptop: Laptop
) -> None:
    """By a token for scripts, say, when the last session ran out long ago."""
    ada.world.sql("UPDATE session SET ended_at = now() WHERE ended_at IS NULL RETURNING id")
    laptop.certify(ada.client)
    assert laptop.enters()
    ada.call("POST", "/v1/logout/everywhere")
    until("it is refused", lambda: not laptop.enters())


def test_it_ends_with_the_key_that_it_is_upon(ada: Person, laptop: Laptop) -> None:
    added = ada.add_key(laptop.key)
    laptop.certify(ada.client)
    assert laptop.enters()
    ada.call("DELETE", f"/v1/keys/{added['name']}")
    until("neither opens it", lambda: not laptop.enters())
