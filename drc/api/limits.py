"""What one request may weigh and take, how often somebody may ask, and headers for browsers."""

import asyncio
import threading
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drc.api.problems import HEADERS, of_error
from drc.errors import Forbidden, TooLarge, TooMany, TooSlow

LARGEST = 4 * 2**20  # bytes of a body; a vessel's last lines may have 900,000 letters
SLOWEST = 30.0  # seconds for a body to arrive
PER_SECOND = 100.0  # requests of one identity, in the long run
AT_ONCE = 1000  # and in a moment
STRANGERS_PER_SECOND = 5.0  # requests that prove nothing, from one address
STRANGERS_AT_ONCE = 100
NOTED_PER_SECOND = 0.5  # of those that are written down in the audit
NOTED_AT_ONCE = 30
MOST_NAMES = 10_000  # remembered; the longest quiet ones are forgotten

SAFE = ("GET", "HEAD", "OPTIONS")
TLS = (b"strict-transport-security", b"max-age=31536000")


class Budget:
    """A token bucket for each name: it fills at `rate` a second up to `most`."""

    def __init__(self, rate: float, most: int) -> None:
        self.rate = rate
        self.most = most
        self.lock = threading.Lock()
        self.left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Raises TooMany."""
        with self.lock:
            left = self._now(name)
            self.left[name] = max(0.0, left - 1), time.monotonic()
            self.left.move_to_end(name)
            while len(self.left) > MOST_NAMES:
                self.left.popitem(last=False)
        if left < 1:
            raise TooMany

    def _now(self, name: str) -> float:
        left, at = self.left.get(name, (float(self.most), time.monotonic()))
        return min(float(self.most), left + (time.monotonic() - at) * self.rate)


class Guard:
    """ASGI middleware: bodies end in size and time, no other site's page changes anything, and
    every answer has its headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        if scope.get("scheme") == "https":
            more.append(TLS)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        try:
            refuse_other_sites(scope)
            async with asyncio.timeout(SLOWEST):
                body = await whole_body(receive)
        except TimeoutError:
            await of_error(TooSlow())(scope, receive, sending)
        except (TooLarge, Forbidden) as failed:
            await of_error(failed)(scope, receive, sending)
        else:
            await self.app(scope, after(body, receive), sending)


def refuse_other_sites(scope: Scope) -> None:
    """A browser says which site's page asks; what another's would change, it may not. Programs say
    nothing of the kind. Raises Forbidden.

    So a cookie alone, should there be one, changes nothing (CSRF); as Go's CrossOriginProtection.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if scope["method"] in SAFE:
        return
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site in ("same-origin", "none") or (site is None and origin is None):
        return
    if site is None and origin and origin.partition("://")[2] == headers.get(b"host"):
        return
    raise Forbidden("A page of another site asked for that.")


async def whole_body(receive: Receive) -> Message:
    """As one message; of a connection that ended meanwhile, that it did. Raises TooLarge."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise TooLarge
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def after(first: Message, receive: Receive) -> Receive:
    said = False

    async def receiving() -> Message:
        nonlocal said
        if said:
            return await receive()
        said = True
        return first

    return receiving
