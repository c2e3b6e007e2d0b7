"""TLS of the API's own: a real certificate, whom the command line trusts, and whom it does not."""

import datetime
import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from drc.config import api_settings
from drc.errors import Misconfigured
from drc.up.postgres import Postgres
from tests.installation import make_keys
from tests.wait import wait_until
from tests.wire.identity import free_port
from tests.wire.served import Remote
from tests.wire.terminal import Terminal
from tests.wire.warm import Warm


def certificate(folder: Path, address: str) -> tuple[Path, Path, Path]:
    """An authority's certificate, and one of its making with its key."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in ("authority", "api")]
    made = [
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(names[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=name == names[0], path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(keys[0], SHA256())
        for name, key in zip(names, keys, strict=True)
    ]
    paths = folder / "authority.pem", folder / "api.crt", folder / "api.key"
    for path, one in zip(paths, made, strict=False):
        path.write_bytes(one.public_bytes(Encoding.PEM))
    key = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    paths[2].write_bytes(key)
    paths[2].chmod(0o600)
    return paths


Serve = Callable[..., "Served"]


class Served(Remote):
    authority: Path


@pytest.fixture
def served(postgres: Postgres, database: str, tmp_path: Path) -> Callable[[str], Iterator[Served]]:
    """The API as a process of its own, as it is installed."""

    @contextmanager
    def serve(address: str) -> Iterator[Served]:
        folder = tmp_path / "keys"
        folder.mkdir()
        make_keys(folder)
        authority, cert, key = certificate(tmp_path, address)
        port = free_port()
        env = {
            "PATH": os.environ["PATH"],
            "DRC_DATABASE_URL": postgres.url("drc_api", database),
            "DRC_KEYS": str(folder),
            "DRC_SECRET": str(folder / "secret"),
            "DRC_HOST": address,
            "DRC_PORT": str(port),
            "DRC_TLS_CERT": str(cert),
            "DRC_TLS_KEY": str(key),
            "DRC_OIDC_ISSUER": "https://id.example.org",
            "DRC_OIDC_CLIENT_ID": "drc",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "drc.api"], env=env, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        api = Served(f"https://{address}:{port}", folder)
        api.authority = authority

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[0].decode()
            try:
                return api.raw("GET", "/health", token=None).status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(answers, "the API answers")
            yield api
        finally:
            process.kill()
            process.communicate()

    return serve


# not on the list of loopback's names, and yet nobody else can reach it
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_who_trusts_its_authority_gets_in_and_who_does_not_is_told_so(
    served: Serve, address: str, tmp_path: Path, warm: Warm
) -> None:
    with served(address) as api:
        home = tmp_path / "home"
        home.mkdir()
        drc = Terminal(home, api.url, api.token("ada"), warm)
        said = drc("list")
        assert (said.status, "does not trust" in said.err) == (4, True)
        assert "DRC_CA_FILE" in said.err
        drc.more = {"DRC_CA_FILE": str(api.authority)}
        assert drc("list").status == 0
        drc.more = {"DRC_CA_FILE": str(tmp_path / "nowhere.pem")}
        said = drc("list")
        assert (said.status, "DRC_CA_FILE" in said.err) == (5, True)
        told = api.raw("GET", "/health", token=None).headers["strict-transport-security"]
        assert told.startswith("max-age=")


def test_what_is_missing_or_wrong_is_a_sentence(tmp_path: Path) -> None:
    authority, cert, key = certificate(tmp_path, "127.0.0.1")
    told = {
        "DRC_DATABASE_URL": "postgresql://x", "DRC_KEYS": "/keys", "DRC_SECRET": "/secret",
        "DRC_HOST": "10.0.0.1", "DRC_TLS_CERT": str(cert), "DRC_TLS_KEY": str(key),
    }  # fmt: skip
    with pytest.raises(Misconfigured, match="nobody who could sign in"):
        api_settings(told)
    told |= {"DRC_OIDC_ISSUER": "https://id.example.org", "DRC_OIDC_CLIENT_ID": "drc"}
    assert api_settings(told).tls == (cert, key)
    with pytest.raises(Misconfigured, match="DRC_TLS_KEY is not set"):
        api_settings({**told, "DRC_TLS_KEY": ""})
    with pytest.raises(Misconfigured, match="no certificate and its key"):
        api_settings({**told, "DRC_TLS_CERT": str(authority)})  # another's
    with pytest.raises(Misconfigured, match="no certificate and its key"):
        api_settings({**told, "DRC_TLS_CERT": str(tmp_path / "nowhere")})
    key.chmod(0o644)
    with pytest.raises(Misconfigured, match="can be read by others"):
        api_settings(told)
