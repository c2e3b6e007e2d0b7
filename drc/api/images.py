"""The images on the hosts, and having one made ready for vessels beforehand."""

from drc import fleet
from drc.api.access import Here, Owner, Routes
from drc.api.shapes import Build, Image, ImageRequest, check_image, refuse_saved
from drc.api.wishes import host_id_of
from drc.errors import NoSuchBuild, WrongState
from drc.fleet import WORK

routes = Routes("images")


@routes.get("/images", "images:read")
def list_(here: Here) -> list[Image]:
    """Every image that a host has, as of the last look at it."""
    return [Image(**row) for row in fleet.list_images(here.db)]


@routes.post("/images", "images:write", status_code=202)
def build(request: ImageRequest, owner: Owner, here: Here) -> Build:
    """Have an image brought to a host, and its layer built there if it needs one."""
    refuse_saved(request.image)
    image = check_image(request.image)
    host_id = host_id_of(here, request.host) if request.host is not None else None
    id = fleet.queue_build(here.db, owner["id"], image, host_id)
    if id is None:
        raise WrongState(
            f"{request.host or 'No host'} takes "
            f"{'nothing' if request.host else 'anything'} now, or you have another build going.",
            hint="drc host list",
        )
    here.doorbell.ring(WORK)
    return read(id, here)


@routes.get("/images/builds/{id}", "images:read")
def read(id: int, here: Here) -> Build:
    """How a build goes, and what it said so far."""
    row = fleet.read_build(here.db, id)
    if row is None:
        raise NoSuchBuild
    return Build(**row)
