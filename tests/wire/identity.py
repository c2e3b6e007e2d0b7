"""A real OpenID provider as a process, a real browser to click through it, and one that lies."""

import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parents[1] / "oidc"
CACHE = Path(os.environ.get("DRC_TEST_CACHE", "/var/cache/drc-tests"))
SILENT = ("--no-sandbox", "--disable-background-networking", "--disable-component-update",
          "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # fmt: skip
"""It speaks to nobody but this machine."""


def installed() -> Path:
    """The provider and what it needs, in a folder that is kept while its lock file stays."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.fail(f"These tests run a provider: apt-get install {program}js npm")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"oidc-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not (folder / "node_modules" / ".package-lock.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True,
                       capture_output=True)  # fmt: skip
    shutil.copy(HERE / "provider.mjs", folder)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def make_jwk() -> dict[str, Any]:
    key = rsa.generate_private_key(65537, 2048)
    made = RSAAlgorithm.to_jwk(key, as_dict=True)
    return {**made, "use": "sig", "alg": "RS256", "kid": os.urandom(4).hex()}


@dataclass
class Provider:
    folder: Path
    """Where its keys are written to."""
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, **settings: Any) -> None:
        """With new keys. `life`: seconds of its ID tokens."""
        program = installed()
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps({"jwks": {"keys": [make_jwk()]}, **settings}))
        self.process = subprocess.Popen(
            ["node", "provider.mjs", str(self.port), str(keys)],
            cwd=program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None
        while self.process.stdout.readline() != b"up\n":
            assert self.process.poll() is None, "the provider did not start"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextmanager
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("These tests click in a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=[*SILENT])
        try:
            yield chromium
        finally:
            chromium.close()


def sign_in(page: Page, name: str) -> int:
    """Say who one is, where that is asked, and agree. Returns the clicks."""
    asked = page.query_selector("[name=login]") is not None
    if asked:
        page.fill("[name=login]", name)
        page.fill("[name=password]", "any")
        page.click("[type=submit]")
    page.click("[type=submit]")
    return 1 + asked


@contextmanager
def keyring(folder: Path) -> Iterator[dict[str, str]]:
    """A desktop's keyring that is open. Gives the environment in which it is found."""
    for program in ("dbus-daemon", "gnome-keyring-daemon"):
        if not shutil.which(program):
            pytest.fail("These tests have a keyring: apt-get install dbus gnome-keyring")
    folder.chmod(0o700)
    env = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"]}
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"], env=env,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert bus.stdout is not None
    try:
        found = {"DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip()}
        rings = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            env={**env, **found}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert rings.stdin is not None
            rings.stdin.write("a password\n")
            rings.stdin.close()
            yield found
        finally:
            rings.kill()
            rings.wait()
    finally:
        bus.kill()
        bus.wait()
        bus.stdout.close()


class Issuer:
    """A provider whose keys the test has, so that it can say anything."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.jwks: dict[str, Any] = {"keys": [self.jwk("good")]}
        self.asked: list[str] = []
        self.jwks_uri = ""
        """Elsewhere than here."""
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                issuer.answer()
                uri = issuer.jwks_uri or f"{issuer.url}/jwks"
                document = {"issuer": issuer.url, "jwks_uri": uri}
                body = json.dumps(issuer.jwks if self.path == "/jwks" else document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def answer(self) -> None:
        """What happens before it does."""

    def jwk(self, kid: str) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "use": "sig", "alg": "RS256", "kid": kid}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Of ada; a change to None leaves the claim out."""
        now = datetime.now(UTC)
        claims = {
            "iss": self.url, "aud": "drc", "sub": "ada-1", "email": "ada@example.org",
            "email_verified": True, "iat": now, "exp": now + timedelta(minutes=5), **changes,
        }  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, *, kid: str = "good", **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.key, "RS256", headers={"kid": kid})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
