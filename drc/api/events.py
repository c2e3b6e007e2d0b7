"""What happens to vessels, as it happens: server-sent events."""

from typing import Annotated

from fastapi import Header, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from drc import fleet
from drc.api.access import Calling, Here, Owner, Routes
from drc.api.stream import parse_place
from drc.api.vessels import of_name
from drc.errors import Forbidden

routes = Routes("events")
LIFE = 600.0  # seconds; as long as an access token


@routes.get("/events", "vessels:read", response_class=StreamingResponse)
async def events(
    owner: Owner,
    caller: Calling,
    here: Here,
    vessel: Annotated[str | None, Query(description="of this vessel of yours only")] = None,
    everybody: Annotated[bool, Query(description="needs vessels:read:any")] = False,
    request: Annotated[
        str | None,
        Query(
            pattern="^[A-Za-z0-9-]{4,64}$",
            description="caused by the request whose id begins like that",
        ),
    ] = None,
    after: Annotated[str | None, Query(description="a place; 0-0 is the beginning")] = None,
    follow: Annotated[bool, Query(description="false: end with the last one there is")] = True,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Events from a place on (default: from now), until the client leaves."""
    if everybody and "vessels:read:any" not in caller.permissions:
        raise Forbidden("Following everybody's vessels needs the permission vessels:read:any.")
    place = last_event_id or after
    id = await run_in_threadpool(of_name, here, owner, vessel) if vessel else None
    begin = parse_place(place) if place else await run_in_threadpool(fleet.read_place, here.db)
    whose = None if everybody and not id else owner["id"]
    return StreamingResponse(
        here.stream.follow(begin, whose, id, request=request, on=follow, life=LIFE),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
