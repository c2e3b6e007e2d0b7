"""Personal access tokens: for scripts, which cannot click. No stronger than their owner is now."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drc import fleet
from drc.api.access import PERSONAL_SIGNER, Fresh, Here, Owner, Routes
from drc.api.roles import KEY_FILE
from drc.errors import BadInput, Forbidden, NoSuchToken, TokenTaken
from drc.fleet import WORK
from drc.machine import parse_lifetime
from drc.secret import new_token, token_hash

LONGEST = timedelta(days=366)
NEVER = frozenset({"tokens:issue"})  # else one that leaked could be replaced by its thief

routes = Routes("tokens")


class TokenRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    permissions: Annotated[
        list[str] | None, Field(max_length=100, description="all of one's own when left out")
    ] = None
    life: Annotated[str, Field(max_length=20)] = "90d"


class Token(BaseModel):
    name: str
    permissions: list[str]
    made_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    used_from: str | None = None


class NewToken(Token):
    token: Annotated[str, Field(description="shown this once")]


@routes.get("/tokens", "tokens:issue")
def list_(owner: Owner, here: Here) -> list[Token]:
    """One's own tokens."""
    return [Token(**row) for row in fleet.list_tokens(here.db, owner["id"])]


@routes.post("/tokens", "tokens:issue", status_code=201)
def add(request: TokenRequest, owner: Owner, caller: Fresh, here: Here) -> NewToken:
    """Make a token; it is shown this once, and only its hash is kept."""
    if caller.signer == PERSONAL_SIGNER:
        raise Forbidden("A token makes no tokens.", hint="Sign in: drc login")
    mine = caller.permissions - NEVER
    wanted = sorted(mine if request.permissions is None else set(request.permissions))
    beyond = [name for name in wanted if name not in mine]
    if beyond:
        raise Forbidden(
            f"You cannot give a token the permission {beyond[0]}.", hint="drc whoami  lists yours."
        )
    life = parse_lifetime(request.life)
    if not timedelta(0) < life <= LONGEST:
        raise BadInput(f"A token lives for at most {LONGEST.days} days.", hint="90d")
    by_key_file = {KEY_FILE: list(caller.roles)} if caller.signer == "api" else None
    token = new_token()
    try:
        row = fleet.add_token(
            here.db, owner["id"], name=request.name, hash=token_hash(token), permissions=wanted,
            life=life, claims=by_key_file, called=caller.called if by_key_file else None,
        )  # fmt: skip
    except TokenTaken:
        raise TokenTaken(
            f"You have a token called {request.name}.", hint=f"drc token revoke {request.name}"
        ) from None
    return NewToken(**row, token=token)


@routes.delete("/tokens/{name}", "tokens:issue", status_code=204)
def revoke(name: str, owner: Owner, here: Here) -> None:
    """It is good for nothing from now on."""
    if not fleet.revoke_token(here.db, owner["id"], name):
        raise NoSuchToken(f"You have no token called {name}.", hint="drc token list")
    here.doorbell.ring(WORK)
