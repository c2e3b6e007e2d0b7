"""Who did what: who acts in a request, for the statements that write it down; what was refused."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from drc import fleet
from drc.api.access import Here, Routes
from drc.api.context import context_of
from drc.db import ACTOR, actor
from drc.errors import BadInput, DrcError, Refused, TooMany

READING = ("GET", "HEAD")
TURNED_AWAY = (401, 403)

routes = Routes("audit")


class Acting:
    """ASGI middleware: whoever asks acts, from their address. access.caller_of adds their name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        address, _ = scope.get("client") or ("", 0)
        before = ACTOR.set({"who": "nobody", "address": address})
        try:
            await self.app(scope, receive, send)
        finally:
            ACTOR.reset(before)


def is_strange() -> bool:
    """Nobody has proved who they are in this request."""
    return "subject" not in actor()


def note_refusal(request: Request, failed: DrcError) -> None:
    """Write down a refusal, but for those of questions that had no answer."""
    if not isinstance(failed, Refused) or isinstance(failed, TooMany):
        return
    if request.method in READING and failed.http_status not in TURNED_AWAY:
        return
    here = context_of(request)
    if is_strange():
        try:
            here.noted_strangers.take(actor().get("address", ""))
        except TooMany:  # a flood of them must not fill the disk
            return
    route: Any = request.scope.get("route")
    extra: dict[str, Any] = getattr(route, "openapi_extra", None) or {}
    needs = extra.get("x-permissions", [])
    path = getattr(route, "path", "")
    fleet.note_refusal(
        here.db,
        action=needs[0] if needs else path.removeprefix("/v1/").partition("/")[0],
        target=" ".join(str(value) for value in request.path_params.values())[:200],
        result=failed.code,
        detail={"route": f"{request.method} {path}", "why": failed.message[:500]},
    )


class Entry(BaseModel):
    id: int
    at: datetime
    who: str
    action: str
    target: str
    result: str
    actor: dict[str, Any]
    detail: dict[str, Any]


Text = Annotated[str | None, Query(max_length=200)]


@routes.get("/audit", "audit:read")
def read(
    here: Here,
    who: Text = None,
    action: Text = None,
    target: Text = None,
    request: Annotated[
        str | None,
        Query(pattern="^[A-Za-z0-9-]{4,64}$", description="how its request's id begins"),
    ] = None,
    refused: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: Annotated[str | None, Query(description="the last entry seen, as `id@at`")] = None,
    count: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Entry]:
    """What was done and what was refused, the latest first."""
    id, at = place(before) if before else (None, None)
    rows = fleet.read_audit(
        here.db, who=who, action=action, target=target, begins=request, refused=refused,
        since=since, until=until, before_id=id, before_at=at, count=count,
    )  # fmt: skip
    return [Entry(**row) for row in rows]


def place(before: str) -> tuple[int, datetime]:
    number, _, at = before.partition("@")
    try:
        return int(number), datetime.fromisoformat(at)
    except ValueError:
        raise BadInput(f"“{before}” is no entry.", hint="Its id, an @, and its time.") from None
