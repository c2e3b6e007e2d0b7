"""The real API on a port of its own, and what a test asks of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from drc.api.app import create_app, open_context
from drc.api.context import Context
from drc.auth import PEOPLE, Signer
from drc.client import Client
from drc.config import ApiSettings, Hidden, LoginSettings
from drc.up.postgres import Postgres
from tests.installation import make_keys
from tests.wait import wait_until

HOUR = timedelta(hours=1)


@dataclass
class Remote:
    """An API as those know it who call it, and who have its keys."""

    url: str
    keys: Path

    def token(self, subject: str = "ada", role: str = "researcher", life: timedelta = HOUR) -> str:
        kid = "api" if role in PEOPLE else role
        if kid == role and subject.partition(":")[0] != role:
            subject = f"{role}:{subject}"
        # life < 0: it ran out that long ago
        now = datetime.now(UTC) + min(life, timedelta(0)) * 2
        token = Signer.load(self.keys / f"{kid}.pem").sign(subject, [role], now, abs(life))
        if role in PEOPLE:
            return token
        answer = self.raw("POST", "/v1/login/program", {"proof": token}, token=None)
        return str(answer.json()["access_token"])

    @contextmanager
    def client(self, subject: str = "ada", role: str = "researcher") -> Iterator[Client]:
        """The product's own client, which raises the product's own errors."""
        token = self.token(subject, role)
        client = Client(self.url, lambda: token)
        try:
            yield client
        finally:
            client.close()

    def raw(
        self, method: str, path: str, body: Any = None, *, token: str | None = "", **more: Any
    ) -> httpx.Response:
        """The answer as it is. `token`: ada's when left out; None sends none."""
        token = self.token() if token == "" else token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {})}
        headers |= more.pop("headers", {})
        return httpx.request(
            method,
            self.url + path,
            json=body,
            headers=headers,
            trust_env=False,
            verify=False,
            **more,
        )

    def create(self, name: str, *, subject: str = "ada", **request: Any) -> dict[str, Any]:
        with self.client(subject) as client:
            return client.call("POST", "/v1/vessels", {"name": name, **request})

    def show(self, name: str, *, subject: str = "ada") -> dict[str, Any]:
        with self.client(subject) as client:
            return client.call("GET", f"/v1/vessels/{name}")


@dataclass
class Api(Remote):
    """An API in this process."""

    context: Context
    requests: list[str] = field(default_factory=list[str])
    """Every request that arrived, as `GET /v1/vessels`."""


@dataclass
class Door:
    """A server that listens for the whole session, and hands each request to the test's own API.

    Starting and ending a uvicorn takes 300 ms of its waiting; what is behind the door takes 50.
    """

    url: str
    app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None, f"{scope['path']} came when no test was there"
        await self.app(scope, receive, send)


@contextmanager
def listening(port: int = 0) -> Iterator[Door]:
    # with the protocol's name: else asyncio lets each answer wait 40 ms for the client's ACK
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        door = Door(f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            door, lifespan="off", log_level="error", access_log=False, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="api")
        thread.start()
        wait_until(lambda: server.started, "the API listens")
        try:
            yield door
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


@contextmanager
def serving(
    door: Door,
    postgres: Postgres,
    database: str,
    folder: Path,
    login: LoginSettings = LoginSettings(),
) -> Iterator[Api]:
    """As the role that the API has, with keys as `drc up` makes them; those there are stay."""
    if not (folder / "secret").exists():
        make_keys(folder)
    settings = ApiSettings(
        database_url=Hidden(postgres.url("drc_api", database)),
        keys=folder,
        secret=folder / "secret",
        host="127.0.0.1",
        port=0,
        image="drc/vessel:test",
        migrate_url=None,
        login=login,
    )
    context = open_context(settings)
    api = Api(door.url, folder, context)
    door.app = recording(create_app(context), api.requests)
    try:
        yield api
    finally:
        door.app = None
        for close in context.closers:
            close()


def recording(app: ASGIApp, requests: list[str]) -> ASGIApp:
    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            requests.append(f"{scope['method']} {scope['path']}")
        await app(scope, receive, send)

    return recorded
