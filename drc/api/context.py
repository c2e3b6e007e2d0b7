"""What one API process holds while it runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request

from drc.api.capacity import Capacity
from drc.api.doorbell import Doorbell
from drc.api.limits import (
    AT_ONCE,
    NOTED_AT_ONCE,
    NOTED_PER_SECOND,
    PER_SECOND,
    STRANGERS_AT_ONCE,
    STRANGERS_PER_SECOND,
    Budget,
)
from drc.api.measured import Measured
from drc.api.provider import Provider
from drc.api.roles import Roles
from drc.api.stream import Stream
from drc.api.waker import Waker
from drc.auth import Verifier
from drc.config import LoginSettings
from drc.db import Database, Row
from drc.fleet import Announced
from drc.secret import Secrets
from drc.sshca import Authority


@dataclass(slots=True)
class Context:
    db: Database
    verifier: Verifier
    secrets: Secrets
    users: Authority
    vessels: Authority
    doorbell: Doorbell
    stream: Stream
    capacity: Capacity
    waker: Waker
    default_image: str
    login: LoginSettings
    roles: Roles
    measured: Measured | None
    provider: Provider | None
    announced: Announced | None = None
    """Where its metrics are; None: nobody is to look for them."""
    callers: Budget = field(default_factory=lambda: Budget(PER_SECOND, AT_ONCE))
    strangers: Budget = field(
        default_factory=lambda: Budget(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE)
    )
    """By address: requests that were refused and had proved nothing."""
    noted_strangers: Budget = field(default_factory=lambda: Budget(NOTED_PER_SECOND, NOTED_AT_ONCE))
    """By address: those of them that are written down."""
    owners: dict[str, Row] = field(default_factory=dict[str, Row])
    """Owners by subject. An owner's row never changes."""
    closers: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])


def context_of(request: Request) -> Context:
    return cast(Context, request.app.state.context)
