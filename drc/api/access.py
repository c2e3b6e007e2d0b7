"""Who calls, and what each route needs: a route without a permission cannot be registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from drc import fleet
from drc.api.context import Context, context_of
from drc.api.problems import RESPONSES
from drc.auth import PERMISSIONS, PROGRAMS, SIGN_IN, Caller, meaning, unix_name
from drc.db import Row, actor
from drc.errors import Forbidden, NotSignedIn
from drc.secret import PERSONAL, token_hash

PERSONAL_SIGNER = "personal"

Here = Annotated[Context, Depends(context_of)]


def caller_of(request: Request, here: Here) -> Caller:
    """Who asks. Raises NotSignedIn, and TooMany for those who ask too often."""
    caller = read_token(request, here)
    actor().update(
        who=caller.called, subject=caller.subject, signer=caller.signer, token=caller.session
    )
    if caller.signer != "program":
        here.callers.take(caller.subject)
    return caller


def read_token(request: Request, here: Context) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn(hint=SIGN_IN)
    if token.startswith(PERSONAL):
        return of_personal(here, token)
    caller = here.verifier.verify(token)
    if caller.signer in PROGRAMS:
        raise NotSignedIn("That is a program's proof, and no token.", hint="POST /v1/login/program")
    return caller


def of_personal(here: Context, token: str) -> Caller:
    """Whom a personal access token speaks for, and those of its permissions that its owner has."""
    row = fleet.use_token(here.db, token_hash(token))
    if row is None:
        raise NotSignedIn(
            "That token was revoked, has run out, or never was.", hint="drc token list"
        )
    claims: Row = row["claims"] or {}
    has = here.roles.permissions(claims)
    return Caller(
        subject=row["subject"],
        roles=(),
        permissions=has & set(row["permissions"]),
        name=row["called"] or "",
        signer=PERSONAL_SIGNER,
        session=row["name"],
        expires_at=row["expires_at"],
    )


def fresh_caller(caller: Annotated[Caller, Depends(caller_of)], here: Here) -> Caller:
    """One whose session goes on: what is made now would outlive it. Raises NotSignedIn."""
    if caller.signer == "session" and fleet.read_session(here.db, caller.session) is None:
        raise NotSignedIn("You are not signed in any more.", hint="drc login")
    return caller


Calling = Annotated[Caller, Depends(caller_of)]
Fresh = Annotated[Caller, Depends(fresh_caller)]


def owner_of(caller: Calling, here: Here) -> Row:
    """The caller's row: id, login, uid. Made when a person is seen for the first time."""
    known = here.owners.get(caller.subject)
    return known or make_owner(here, caller.subject, unix_name(caller.subject))


def make_owner(here: Context, subject: str, login: str) -> Row:
    """The row of a subject, with this login or one like it where it is new. Raises Forbidden."""
    for suffix in ("", *map(str, range(2, 100))):
        owner = fleet.ensure_owner(here.db, subject, login + suffix)
        if owner:
            here.owners[subject] = owner
            return owner
    raise Forbidden(f"A hundred people are called {login} here.")


Owner = Annotated[Row, Depends(owner_of)]


@dataclass(frozen=True, slots=True)
class Needs:
    """The dependency that lets a caller pass who has every one of the permissions."""

    permissions: tuple[str, ...]

    def __call__(self, caller: Calling) -> None:
        missing = [name for name in self.permissions if name not in caller.permissions]
        if missing:
            raise Forbidden(
                f"This needs the permission {missing[0]}: {meaning(missing[0])}",
                hint="Ask whoever runs drc here for a role that has it.",
            )


class Routes:
    """An APIRouter whose every route names the permissions that it needs, or is open to all."""

    def __init__(self, tag: str) -> None:
        self.router = APIRouter(prefix="/v1", tags=[tag], responses=RESPONSES)

    def _add(self, method: str, path: str, permissions: tuple[str, ...], **more: Any) -> Any:
        if not permissions or not set(permissions) <= set(PERMISSIONS):
            raise TypeError(f"{method} {path} must declare permissions out of drc.auth.PERMISSIONS")
        return self.router.api_route(
            path,
            methods=[method],
            dependencies=[Depends(Needs(permissions))],
            openapi_extra={"x-permissions": list(permissions)},
            **more,
        )

    def open(self, method: str, path: str, **more: Any) -> Callable[..., Any]:
        """For those who have no token yet."""
        return self.router.api_route(path, methods=[method], **more)

    def get(self, path: str, *permissions: str, **more: Any) -> Callable[..., Any]:
        return self._add("GET", path, permissions, **more)

    def post(self, path: str, *permissions: str, **more: Any) -> Callable[..., Any]:
        return self._add("POST", path, permissions, **more)

    def delete(self, path: str, *permissions: str, **more: Any) -> Callable[..., Any]:
        return self._add("DELETE", path, permissions, **more)
