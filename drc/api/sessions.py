"""Signing in and out: a proof of who somebody is, for tokens of ours.

Nothing else needs no token: the proof is the identity provider's ID token, or on the API's own
machine one signed with its key file; a program's is one signed with its key. The words are those
of RFC 6749, section 5.1.
"""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
from pydantic import BaseModel, ConfigDict, Field

from drc import fleet
from drc.api.access import Calling, Here, Owner, Routes, make_owner
from drc.api.context import Context
from drc.api.roles import KEY_FILE
from drc.auth import KEY_FILES, PROGRAMS, Signer, meaning, unix_name
from drc.db import Row, actor
from drc.errors import Forbidden, NotSignedIn
from drc.fleet import WORK

ACCESS_LIFE = timedelta(minutes=10)
PROGRAM_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(days=30)
GRACE = timedelta(seconds=60)  # for which a refresh whose answer was lost may be asked again
ENDED = "You are not signed in any more."

routes = Routes("sessions")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Proof(Strict):
    id_token: Annotated[str, Field(max_length=16_384)]
    nonce: Annotated[str | None, Field(max_length=128)] = None
    client: Annotated[str, Field(pattern=r"^[ -~]{0,100}$", description="who asks, for people")] = (
        ""
    )


class ProgramProof(Strict):
    proof: Annotated[str, Field(max_length=4096)]


class AccessToken(BaseModel):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: Annotated[int, Field(description="seconds")]


class Refresh(Strict):
    refresh_token: Annotated[str, Field(max_length=256)]


class Tokens(AccessToken):
    refresh_token: str


class Door(BaseModel):
    """How one signs in here; without an issuer only the API's own machine can."""

    issuer: str | None
    client_id: str | None
    client_secret: Annotated[
        str | None, Field(description="no secret: of programs on people's own machines")
    ]
    scope: str
    ports: Annotated[list[int], Field(description="of the loopback redirect; empty: any")]


class Ended(BaseModel):
    clients: Annotated[list[str], Field(description="what each session was begun by")]


class Me(BaseModel):
    subject: str
    name: str
    login: str
    roles: list[str]
    permissions: dict[str, str]
    expires_at: datetime | None


@routes.open("GET", "/login")
def door(here: Here) -> Door:
    """Where one proves who one is."""
    told = here.login
    return Door(
        issuer=told.issuer,
        client_id=told.client_id,
        client_secret=told.client_secret,
        scope=told.scope,
        ports=list(told.ports),
    )


@routes.open("POST", "/login", status_code=201)
def begin(proof: Proof, here: Here) -> Tokens:
    """A session for whoever has a proof that was not used before."""
    subject, name, login, claims = read_proof(here, proof)
    actor().update(who=name, subject=subject)
    roles = here.roles.of(claims)
    if not roles:
        raise Forbidden(
            f"{name} has no role here.", hint="Ask whoever runs drc here for one (DRC_ROLES)."
        )
    owner = make_owner(here, subject, login)
    id = str(uuid.uuid4())
    fleet.begin_session(
        here.db, id, owner["id"], claims, name=name, client=proof.client, life=SESSION_LIFE,
        # of what was signed: one signature can be spelled in several ways
        proof=hashlib.sha256(proof.id_token.rpartition(".")[0].encode()).digest(),
    )  # fmt: skip
    return tokens(here, id, 0, subject, name, roles, here.roles.queues(claims))


def read_proof(here: Context, proof: Proof) -> tuple[str, str, str, Row]:
    """Subject, name, login to be offered, and claims. Raises NotSignedIn, ProviderUnreachable."""
    if kid_of(proof.id_token) in KEY_FILES:
        caller = here.verifier.verify(proof.id_token)
        if caller.signer != "api":
            raise NotSignedIn("That token signs nobody in.")
        return (
            caller.subject, caller.called, unix_name(caller.subject),
            {KEY_FILE: list(caller.roles)},
        )  # fmt: skip
    if here.provider is None:
        raise NotSignedIn(
            "This API has no identity provider to sign in with.",
            hint="On its machine: drc up.  Its operator: DRC_OIDC_ISSUER.",
        )
    claims = here.provider.verify(proof.id_token, proof.nonce)
    verified = claims.get("email_verified") is True and isinstance(claims.get("email"), str)
    name = claims["email"] if verified else claims["sub"]
    subject = f"{here.provider.issuer}|{claims['sub']}"
    claims.pop(KEY_FILE, None)  # which is ours to say
    return subject, name, unix_name(name), claims


def kid_of(token: str) -> Any:
    """Not to be believed, only to know who is to be asked."""
    try:
        return jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError:
        return None


def tokens(
    here: Context,
    id: str,
    generation: int,
    subject: str,
    name: str,
    roles: list[str],
    queues: list[str],
) -> Tokens:
    signer = Signer("session", here.secrets.access_key())
    access = signer.sign(
        subject, roles, datetime.now(UTC), ACCESS_LIFE, name=name, sid=id, queues=queues
    )
    return Tokens(
        access_token=access,
        expires_in=int(ACCESS_LIFE.total_seconds()),
        refresh_token=here.secrets.refresh_token(id, generation),
    )


@routes.open("POST", "/login/program", status_code=201)
def begin_program(proof: ProgramProof, here: Here) -> AccessToken:
    """A token of minutes for a program that signed a proof with its own key."""
    caller = here.verifier.verify(proof.proof)
    actor().update(who=caller.subject)
    if caller.signer not in PROGRAMS:
        raise NotSignedIn("That is no program's proof.")
    if caller.subject.partition(":")[0] != caller.signer:  # nor is it anybody else in the audit
        raise NotSignedIn(f"A {caller.signer} is called {caller.signer}:NAME.")
    signer = Signer("program", here.secrets.program_key())
    token = signer.sign(caller.subject, list(caller.roles), datetime.now(UTC), PROGRAM_LIFE)
    return AccessToken(access_token=token, expires_in=int(PROGRAM_LIFE.total_seconds()))


@routes.open("POST", "/login/refresh")
def refresh(old: Refresh, here: Here) -> Tokens:
    """The next tokens of a session, with the roles that its owner has now."""
    id, generation = here.secrets.read_refresh_token(old.refresh_token)
    session = fleet.read_session(here.db, id)
    if session is None:
        raise NotSignedIn(ENDED, hint="drc login")
    actor().update(who=session["name"], token=id)
    roles = here.roles.of(session["claims"])
    if not roles:  # before the session moves on, so that it does once there are some again
        raise Forbidden(f"{session['name']} has no role here any more.")
    row = fleet.renew_session(here.db, id, generation, GRACE)
    if row is None:
        raise NotSignedIn(ENDED, hint="drc login")
    if row["ended"]:
        here.doorbell.ring(WORK)
        raise NotSignedIn(
            "An old refresh token of this session was used, so somebody may have a copy of it. "
            "The session is ended.",
            hint="drc login",
        )
    queues = here.roles.queues(session["claims"])
    return tokens(here, id, row["generation"], row["subject"], row["name"], roles, queues)


@routes.open("POST", "/logout", status_code=204)
def end(old: Refresh, here: Here) -> None:
    """End the session that a refresh token is of. Access tokens of it live for minutes yet."""
    id, _ = here.secrets.read_refresh_token(old.refresh_token)
    session = fleet.read_session(here.db, id)
    if session:
        actor().update(who=session["name"], token=id)
    if fleet.end_session(here.db, id, "signed out"):
        here.doorbell.ring(WORK)


@routes.post("/logout/everywhere", "sessions:end")
def end_all(owner: Owner, here: Here) -> Ended:
    """End every session of one's own, this one too: a laptop was lost, say."""
    ended = fleet.end_sessions(here.db, owner["id"], "signed out everywhere")
    here.doorbell.ring(WORK)
    return Ended(clients=[row["client"] for row in ended])


@routes.get("/whoami", "self:read")
def whoami(caller: Calling, owner: Owner) -> Me:
    """Who one is signed in as, and what one may do."""
    return Me(
        subject=caller.subject,
        name=caller.called,
        login=owner["login"],
        roles=list(caller.roles),
        permissions={name: meaning(name) for name in sorted(caller.permissions)},
        expires_at=caller.expires_at,
    )
