"""Each request has an id: its sender's, or one that is made here; and a line in the log."""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drc import trace
from drc.api import metrics
from drc.db import actor
from drc.log import HEADER, bound, is_request, new_request

OFTEN = ("/health", "/metrics")  # asked by machines, every few seconds

log = logging.getLogger("drc.api.request")


class Identified:
    """ASGI middleware: what is done for a request bears its id, and so does the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        id = scope["request_id"] = request_of(scope)
        begun, status, seconds = time.perf_counter(), 500, 0.0  # a bug's answer passes elsewhere

        async def identified(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - begun
                metrics.observe(scope, status, seconds)
                headers = [*message.get("headers", []), (HEADER.lower().encode(), id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        with bound(request=id), traced(scope):
            try:
                await self.app(scope, receive, identified)
            finally:
                tell(scope, status, seconds or time.perf_counter() - begun)


def traced(scope: Scope) -> AbstractContextManager[None]:
    if scope["path"].removeprefix("/v1") in OFTEN:
        return nullcontext()
    came = dict[bytes, bytes](scope["headers"]).get(trace.HEADER.encode(), b"").decode("latin-1")
    return trace.span(scope["method"], serves=True, after=came)


def request_of(scope: Scope) -> str:
    sent = dict[bytes, bytes](scope["headers"]).get(HEADER.lower().encode(), b"")
    id = sent.decode("latin-1")
    return id if is_request(id) else new_request()


def tell(scope: Scope, status: int, seconds: float) -> None:
    """The route, not the path, in which people's names are; and who asked."""
    route: Any = scope.get("route")
    path = getattr(route, "path", "none")
    trace.note(
        f"{scope['method']} {path}",
        failed=str(status) if status >= 500 else "",
        **{
            "http.request.method": scope["method"],
            "http.route": path,
            "http.response.status_code": status,
        },
    )
    more = {
        "method": scope["method"],
        "route": path,
        "status": status,
        "seconds": f"{seconds:.4f}",
        "who": actor()["who"],
    }
    log.log(logging.DEBUG if path in OFTEN else logging.INFO, "answered", extra={"more": more})
