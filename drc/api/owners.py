"""Whose vessels there are, for whoever writes rules about them elsewhere: a tailnet's policy."""

from typing import Annotated

from pydantic import BaseModel, Field

from drc import fleet
from drc.api.access import Here, Routes

routes = Routes("owners")


class OwnerShown(BaseModel):
    subject: str
    login: Annotated[str, Field(description="inside vessels")]
    uid: int
    called: Annotated[str, Field(description="the e-mail address, where a provider verified one")]


@routes.get("/owners", "owners:read")
def list_(here: Here) -> list[OwnerShown]:
    """Everybody who has had a token here."""
    return [OwnerShown(**row) for row in fleet.list_owners(here.db)]
